import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomLog } from "../../../web/js/room-log.js";

const message = (seq, extra = {}) => ({ clientId: "bob", Message: `m${seq}`, room: "dev", at: seq, seq, ...extra });
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => message(from + index));
const shown = (log) => log.items.map((item) => (item.kind === "message" ? item.frame.Message : item.reason));

/** A log that knows messages 1 to `newest`. */
function known(newest, epoch = "e1") {
  const log = new RoomLog();
  assert.equal(log.enter({ epoch, seq: newest }), "first");
  log.takePage(range(1, newest), false);
  return log;
}

test("a first visit shows the page and what comes live, whichever comes first", () => {
  const log = new RoomLog();
  log.enter({ epoch: "e1", seq: 3 });
  assert.equal(log.take(message(4)).length, 1);
  log.takePage(range(2, 5), true);
  assert.deepEqual(shown(log), ["m2", "m3", "m4"]);
  assert.equal(log.hasMore, true);
  log.take(message(5));
  log.takePage(range(1, 1), false);
  assert.deepEqual(shown(log), ["m1", "m2", "m3", "m4", "m5"]);
  assert.equal(log.hasMore, false);
});

test("doubles are not shown", () => {
  const log = known(3);
  for (const seq of [1, 3, 4, 4, 2]) log.take(message(seq));
  log.takePage(range(1, 4), false);
  assert.deepEqual(shown(log), ["m1", "m2", "m3", "m4"]);
});

test("a message is found by its number", () => {
  const log = known(3);
  log.enter({ epoch: "e2", seq: 0, recovered: false });
  for (const frame of range(1, 5)) log.take(frame);
  assert.deepEqual([0, 1, 5, 6].map((seq) => log.indexOf(seq)), [null, 4, 8, null]);
  assert.equal(log.items[8].frame.Message, "m5");
});

test("a resume that recovers goes on where it was", () => {
  const log = known(3);
  assert.equal(log.enter({ epoch: "e1", seq: 5, recovered: true }), "resumed");
  for (const seq of [4, 5, 6]) log.take(message(seq));
  assert.deepEqual(shown(log), ["m1", "m2", "m3", "m4", "m5", "m6"]);
});

test("a new epoch keeps what was seen above a notice, as long as nothing lies between", () => {
  const log = known(2);
  assert.equal(log.enter({ epoch: "e2", seq: 2, recovered: false }), "broken");
  log.takePage([message(1, { Message: "n1" }), message(2, { Message: "n2" })], false);
  assert.deepEqual(shown(log), ["m1", "m2", "restart", "n1", "n2"]);
  log.take(message(3, { Message: "n3" }));
  assert.deepEqual(shown(log).slice(-2), ["n2", "n3"]);
});

test("a new epoch that is longer than a page lets go of what was seen", () => {
  const log = known(2);
  log.enter({ epoch: "e2", seq: 500, recovered: false });
  log.takePage(range(441, 500), true);
  assert.equal(shown(log)[0], "m441");
  assert.equal(log.items.length, 60);
});

test("what is gone from the history is said once, however often the connection breaks", () => {
  const log = known(2);
  log.enter({ epoch: "e1", seq: 9, recovered: false });
  log.enter({ epoch: "e1", seq: 9, recovered: false });
  assert.deepEqual(shown(log), ["m1", "m2", "gap"]);
  log.enter({ epoch: "e2", seq: 0, recovered: false });
  assert.deepEqual(shown(log), ["m1", "m2", "restart"]);
});

test("a message that its sender had to send again to a restarted server is shown once", () => {
  const log = new RoomLog();
  log.enter({ epoch: "e1", seq: 0 });
  log.take(message(1, { id: "a" }));
  log.enter({ epoch: "e2", seq: 0, recovered: false });
  assert.deepEqual(log.take(message(1, { id: "a" })), []);
  assert.deepEqual(log.take(message(2, { id: "a", clientId: "eve" })).length, 1);
  assert.equal(log.newest, 2);
});

test("a page that brings nothing ends the asking", () => {
  const log = new RoomLog();
  log.enter({ epoch: "e1", seq: 10 });
  assert.equal(log.hasMore, true);
  log.takePage([], true);
  assert.equal(log.hasMore, false);
});

test("messages that were hidden can be asked for when they are shown", () => {
  for (const [oldest, hasMore] of [[3, true], [1, false]]) {
    const log = new RoomLog();
    log.enter({ epoch: "e1", seq: 4 });
    log.takePage(range(oldest, 4), false);
    log.mayHaveMore();
    assert.equal(log.hasMore, hasMore);
  }
});

test("the oldest go when there are too many, and can be asked for again", () => {
  const log = new RoomLog({ messagesMax: 2_000 });
  log.enter({ epoch: "e1", seq: 0 });
  for (const frame of range(1, 3_500)) log.take(frame);
  assert.ok(log.items.length < 3_000);
  assert.equal(log.items[0].frame.seq, log.oldest);
  assert.equal(log.origin, log.oldest - 1);
  assert.equal(log.hasMore, true);
  log.takePage(range(log.oldest - 100, log.oldest - 1), true);
  assert.equal(log.items[0].frame.seq, log.oldest);
});
