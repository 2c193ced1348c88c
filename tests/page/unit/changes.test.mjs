import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../../../web/js/conversation.js";
import { Outbox } from "../../../web/js/outbox.js";
import { isOperatorToken } from "../../../web/js/protocol.js";
import { PrivateLog } from "../../../web/js/private-log.js";
import { Quotes, excerpt } from "../../../web/js/quotes.js";
import { reactedBy } from "../../../web/js/reactions.js";
import { RoomLog } from "../../../web/js/room-log.js";

const message = (seq, more = {}) => ({ type: "message", clientId: "bob", Message: `m${seq}`, at: seq, seq, ...more });
const edited = (seq, of, text) => ({ type: "edited", clientId: "bob", seq, of, Message: text, at: seq });
const deleted = (seq, of) => ({ type: "deleted", clientId: "bob", seq, of, at: seq });
const shown = (log) => log.items.map((item) => (item.kind === "message" ? item.frame.Message ?? "deleted" : item.reason));

test("a room's seqs are dense over messages and changes, its pages are not", () => {
  const log = new RoomLog();
  log.enter({ epoch: "e", seq: 9 });
  log.takePage([message(4), message(7), message(9)], true);
  log.change(edited(10, 7, "seven"));
  log.take(message(11));
  log.change(deleted(12, 11));
  log.takePage([message(1), message(2)], false);
  assert.deepEqual(shown(log), ["m1", "m2", "m4", "seven", "m9", "deleted"]);
  assert.deepEqual([log.oldest, log.newest, log.hasMore, log.origin], [1, 12, false, -5]);
  assert.deepEqual([7, 8, 10, 11].map((seq) => log.indexOf(seq)), [3, null, null, 5]);
});

test("a change is applied once, to the same object, also if its message comes after it", () => {
  for (const log of [new RoomLog(), new PrivateLog()]) {
    if (log instanceof RoomLog) log.enter({ epoch: "e", seq: 3 });
    log.take(message(4));
    const { frame } = log.items[0];
    log.change(edited(5, 2, "two"));
    log.change(deleted(6, 1));
    log.change(edited(7, 4, "four"));
    log.change(edited(7, 4, "four again"));
    log.takePage([message(1), message(2), message(3, { changedSeq: 6 })], false);
    assert.deepEqual(shown(log), ["deleted", "two", "m3", "four"]);
    assert.equal(log.items.at(-1).frame, frame);
    assert.ok(!("Message" in log.items[0].frame));
  }
});

test("a change of another numbering changes nothing", () => {
  const log = new RoomLog();
  log.enter({ epoch: "e1", seq: 0 });
  log.take(message(1));
  log.change(edited(3, 2, "early"));
  log.enter({ epoch: "e2", seq: 2, recovered: false });
  log.takePage([message(2, { Message: "n2" })], false);
  log.change(deleted(3, 1));
  assert.deepEqual(shown(log), ["m1", "restart", "n2"]);
});

test("a quote comes from the log, or is fetched once, and again after a change or a failure", async () => {
  const room = new Conversation("#dev");
  room.roomLog.enter({ epoch: "e", seq: 9 });
  room.roomLog.takePage([message(8), message(9)], true);
  const asked = [];
  const arrived = [];
  const pauses = [];
  let over;
  let isConnected = false;
  const quotes = new Quotes({
    ask: async (_, seq) => {
      asked.push(seq);
      if (seq === 6 && !isConnected) throw new Error("no connection");
      return seq === 5 ? message(4) : message(seq);
    },
    arrived: (_, seq) => arrived.push(seq),
    pause: (ms) => new Promise((resolve) => {
      pauses.push(ms);
      over = resolve;
    }),
  });
  assert.equal(quotes.of(room, 9).Message, "m9");
  for (let n = 0; n < 2; n += 1) for (const seq of [3, 5, 6]) assert.equal(quotes.of(room, seq), undefined);
  await new Promise(setImmediate);
  assert.deepEqual([3, 5, 6].map((seq) => quotes.of(room, seq)?.Message), ["m3", undefined, undefined]);
  assert.equal(quotes.of(room, 5), null);
  quotes.changed(room, 3);
  assert.equal(quotes.of(room, 3), undefined);
  await new Promise(setImmediate);
  assert.deepEqual([asked, arrived], [[3, 5, 6, 3], [3, 5, 3]]);
  // The failed fetch does not mean that the message is gone, and waits longer each time.
  for (const isThen of [false, true]) {
    assert.equal(quotes.of(room, 6), undefined);
    over();
    await new Promise(setImmediate);
    assert.equal(arrived.at(-1), 6);
    isConnected = isThen;
    assert.equal(quotes.of(room, 6), undefined);
    await new Promise(setImmediate);
  }
  assert.equal(quotes.of(room, 6).Message, "m6");
  assert.deepEqual([pauses, asked.slice(4), arrived.slice(3)], [[2_000, 4_000], [6, 6], [6, 6, 6]]);
  assert.equal(excerpt({ Message: " a\n\nb " }), " a b ");
  assert.equal(excerpt({ deleted: true }), "a deleted message");
});

test("those who have reacted are named, the person first, ten at most", () => {
  const names = Array.from({ length: 12 }, (_, n) => `n${n}`);
  for (const [count, clientIds, wanted] of [
    [1, ["bob"], "bob"],
    [1, ["me"], "you"],
    [3, ["bob", "me", "eve"], "you, bob and eve"],
    [2, ["bob"], "bob and one other"],
    [1_012, names, `${names.slice(0, 10).join(", ")} and ${(1_002).toLocaleString()} others`],
  ]) assert.equal(reactedBy({ emoji: "👍", count, clientIds }, "me"), wanted);
});

test("a reply to a message that is gone is sent again as no reply", () => {
  const outbox = new Outbox({ newId: () => "i", now: () => 1 });
  outbox.add("#dev", "yes", 7);
  outbox.refused("i", { code: "rate_limited", message: "" });
  assert.equal(outbox.retry("i").replyTo, 7);
  outbox.refused("i", { code: "no_such_message", message: "" });
  assert.equal(outbox.retry("i").replyTo, undefined);
});

test("an operator is known by the token", () => {
  const token = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
  for (const [text, wanted] of [[token({ sub: "ö?~>", admin: true }), true], [token({ admin: "true" }), false], [token({}), false], ["", false], ["a.%.c", false]]) {
    assert.equal(isOperatorToken(text), wanted, text);
  }
});

test("reactions beyond the limits of a message have no effect", () => {
  const log = new RoomLog();
  log.enter({ epoch: "e", seq: 0 });
  log.take(message(1));
  for (let seq = 2; seq < 62; seq += 1) {
    log.change({ type: "reaction", clientId: "bob", seq, of: 1, emoji: String.fromCodePoint(0x4e00 + seq), removed: false, at: seq });
  }
  assert.equal(log.items[0].frame.reactions.length, 50);
});
