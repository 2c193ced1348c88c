import assert from "node:assert/strict";
import { test } from "node:test";

import { Members } from "../../../web/js/members.js";
import { PrivateLog } from "../../../web/js/private-log.js";

test("comings and goings change the list, and what does not add up is asked for again", () => {
  const members = new Members();
  members.list({ clientIds: ["bob", "Alice"], count: 2, truncated: false });
  assert.deepEqual(members.sorted, ["Alice", "bob"]);
  members.change({ joined: ["carol"], left: ["bob"], count: 2 });
  assert.deepEqual(members.sorted, ["Alice", "carol"]);
  assert.equal(members.isStale, false);
  members.change({ joined: [], left: [], count: 70 });
  assert.equal(members.isStale, true);
});

test("a list that the server cut short is not asked for again and again", () => {
  const members = new Members();
  members.list({ clientIds: ["a", "b"], count: 5_000, truncated: true });
  assert.equal(members.isStale, false);
  members.change({ joined: [], left: ["a"], count: 1 });
  assert.equal(members.isStale, true);
});

test("a private message that comes twice is shown once", () => {
  const log = new PrivateLog();
  const frame = { clientId: "bob", Message: "psst", to: "alice", at: 1, id: "a" };
  assert.equal(log.take(frame).length, 1);
  assert.equal(log.take(frame).length, 0);
  assert.equal(log.take({ ...frame, id: undefined }).length, 1);
});
