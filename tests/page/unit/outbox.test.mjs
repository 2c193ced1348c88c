import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../../web/js/outbox.js";

function outbox() {
  const surroundings = { at: 0, count: 0 };
  const box = new Outbox({ newId: () => `id-${(surroundings.count += 1)}`, now: () => surroundings.at });
  return { box, surroundings };
}
const ids = (entries) => entries.map(({ id }) => id);
const sendAll = (box) => box.ready().forEach((entry) => box.sent(entry));

test("to one destination one message is on its way at a time, to others meanwhile", () => {
  const { box } = outbox();
  box.add("#dev", "1");
  box.add("#dev", "2");
  box.add("@bob", "3");
  assert.deepEqual(ids(box.ready()), ["id-1", "id-3"]);
  sendAll(box);
  assert.deepEqual(box.ready(), []);
  box.acked("id-1");
  assert.deepEqual(ids(box.ready()), ["id-2"]);
});

test("after a lost connection it is sent again with the same id", () => {
  const { box } = outbox();
  box.add("#dev", "1");
  sendAll(box);
  box.connectionLost();
  assert.deepEqual(ids(box.ready()), ["id-1"]);
});

test("a rate limit is waited out, and the order is kept", () => {
  const { box, surroundings } = outbox();
  box.add("#dev", "1");
  box.add("#dev", "2");
  sendAll(box);
  box.refused({ id: "id-1", code: "rate_limited", message: "", retryAfterMs: 200 });
  assert.deepEqual(box.ready(), []);
  assert.equal(box.nextInMs, 200);
  surroundings.at = 200;
  assert.deepEqual(ids(box.ready()), ["id-1"]);
});

test("what is refused for good says so and holds up nothing", () => {
  const { box } = outbox();
  box.add("@bob", "1");
  box.add("@bob", "2");
  sendAll(box);
  box.refused({ id: "id-1", code: "no_such_client", message: "bob is not here" });
  assert.deepEqual(ids(box.ready()), ["id-2"]);
  assert.equal(box.of("@bob")[0].problem.message, "bob is not here");
  box.retry("id-1");
  assert.deepEqual(ids(box.ready()), ["id-1"]);
});

test("past the time for which the server knows its id, nothing is sent twice without being asked", () => {
  const { box, surroundings } = outbox();
  box.add("#dev", "1");
  box.add("#dev", "2");
  sendAll(box);
  box.connectionLost();
  surroundings.at = 10 * 60_000;
  assert.deepEqual(ids(box.ready()), ["id-2"]);
  assert.equal(box.of("#dev")[0].problem.code, "uncertain");
});

test("what was seen is out, acknowledged or not", () => {
  const { box } = outbox();
  box.add("#dev", "1");
  sendAll(box);
  assert.equal(box.seen("id-1"), true);
  assert.equal(box.acked("id-1"), undefined);
  assert.equal(box.seen(undefined), false);
  assert.equal(box.waiting, 0);
});
