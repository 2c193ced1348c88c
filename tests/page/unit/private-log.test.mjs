import assert from "node:assert/strict";
import { test } from "node:test";

import { PrivateLog } from "../../../web/js/private-log.js";

const message = (seq, extra = {}) => ({ clientId: "bob", Message: `m${seq}`, to: "me", at: seq, seq, id: `id-${seq}`, ...extra });
const shown = (log) => log.items.map(({ frame }) => frame.Message);

test("what waited and what the history has are shown once, in order", () => {
  const log = new PrivateLog();
  for (const seq of [8, 9, 9, 8]) log.take(message(seq));
  log.takePage([5, 7, 8, 9].map((seq) => message(seq)), true);
  assert.deepEqual(shown(log), ["m5", "m7", "m8", "m9"]);
  assert.deepEqual([log.oldest, log.newest, log.hasMore, log.origin], [5, 9, true, -2]);
  log.takePage([2, 4].map((seq) => message(seq)), false);
  log.take(message(12));
  assert.deepEqual(shown(log), ["m2", "m4", "m5", "m7", "m8", "m9", "m12"]);
});

test("without numbers a message is known by its sender and id", () => {
  const log = new PrivateLog();
  const plain = (id, clientId = "bob") => ({ clientId, Message: `${clientId} ${id}`, to: "me", at: 1, id });
  for (const frame of [plain("a"), plain("a"), plain("a", "eve"), plain("b")]) log.take(frame);
  assert.deepEqual(shown(log), ["bob a", "eve a", "bob b"]);
});

test("numbers that begin again leave nothing behind", () => {
  const log = new PrivateLog();
  log.take(message(9));
  const { generation } = log;
  log.begin();
  assert.equal(log.take(message(1)).length, 1);
  assert.deepEqual(shown(log), ["m1"]);
  assert.ok(log.generation > generation);
});
