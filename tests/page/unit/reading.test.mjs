import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../../../web/js/conversation.js";
import { Reading } from "../../../web/js/reading.js";
import { seenText } from "../../../web/js/seen-by.js";

/** A page of alice with these conversations, whose pauses end when the test says so. */
function page(...keys) {
  const conversations = new Map();
  const [told, pauses, refusals] = [[], [], []];
  const reading = new Reading({
    conversations,
    isCounted: ({ clientId, deleted }) => clientId !== "alice" && !deleted,
    isCall: ({ isRoom }, { Message }) => !isRoom || Message.includes("alice"),
    pause: () => new Promise((resolve) => pauses.push(resolve)),
  });
  for (const key of keys) {
    const conversation = new Conversation(key);
    const read = async (seq) => {
      told.push(`${conversation.isRoom ? key : "inbox"} ${seq}`);
      if (refusals.length > 0) throw refusals.pop();
    };
    conversation.to = { read };
    conversation.membership = "joined";
    conversations.set(key, conversation);
    reading.begin(conversation);
  }
  /** Ends the pauses, and returns what the server was told since. */
  const said = async () => {
    for (const end of pauses.splice(0)) end();
    await new Promise(setImmediate);
    return told.splice(0);
  };
  return { reading, refusals, said, of: (key) => conversations.get(key) };
}

const message = (seq, clientId = "bob", more = {}) => ({ type: "message", clientId, Message: `${seq}`, seq, at: seq, ...more });
const messages = (...seqs) => seqs.map((seq) => message(seq));

/** Enters a room and loads these messages. */
function enter({ reading, of }, key, seqs, newest = seqs.at(-1) ?? 0) {
  const conversation = of(key);
  conversation.log.enter({ epoch: "e", seq: newest });
  conversation.log.takePage(messages(...seqs), seqs[0] > 1);
  reading.loaded(conversation, newest);
}

function arrives({ reading, of }, key, frame, isSeen = false) {
  of(key).log.take(frame);
  reading.arrived(of(key), frame, isSeen);
}

const counts = ({ unread, calls, newFrom }) => [unread, calls, newFrom?.seq];

test("on a first visit nothing is new, and later what comes after the position", async () => {
  const first = page("#dev");
  enter(first, "#dev", [1, 2, 3]);
  assert.deepEqual(counts(first.of("#dev")), [0, 0, undefined]);
  assert.deepEqual(await first.said(), ["#dev 3"]);
  arrives(first, "#dev", message(4));
  arrives(first, "#dev", message(5, "bob", { Message: "@alice" }));
  assert.deepEqual(counts(first.of("#dev")), [2, 1, 4]);

  const again = page("#dev");
  again.reading.heard(again.of("#dev"), 3);
  enter(again, "#dev", [2, 3, 4, 5]);
  assert.deepEqual(counts(again.of("#dev")), [2, 0, 4]);
  assert.deepEqual(await again.said(), []);
  again.reading.heard(again.of("#dev"), 5);
  assert.deepEqual(counts(again.of("#dev")), [0, 0, undefined]);
});

test("neither own messages, nor deleted ones, nor those of an earlier numbering are unread", () => {
  const tab = page("#dev");
  const { log } = tab.of("#dev");
  log.enter({ epoch: "e", seq: 0 });
  log.take(message(1));
  log.breakOff("f", 0);
  tab.reading.begin(tab.of("#dev"));
  tab.reading.loaded(tab.of("#dev"), 0);
  for (const frame of [message(1, "alice"), message(2, "bob", { deleted: true }), message(3)]) log.take(frame);
  tab.reading.count(tab.of("#dev"));
  assert.deepEqual(counts(tab.of("#dev")), [1, 0, 3]);
});

test("earlier unread messages that are not loaded are told as such", () => {
  const tab = page("#dev");
  tab.reading.heard(tab.of("#dev"), 3);
  enter(tab, "#dev", [7, 8]);
  assert.equal(tab.of("#dev").unreadText, "2+");
  tab.of("#dev").log.takePage(messages(3, 4, 5, 6), true);
  tab.reading.count(tab.of("#dev"));
  assert.equal(tab.of("#dev").unreadText, "5");
});

test("the server is told at most once in a pause, and again what did not reach it", async () => {
  const tab = page("#dev");
  tab.reading.heard(tab.of("#dev"), 1);
  enter(tab, "#dev", [1]);
  for (const seq of [2, 3, 4]) arrives(tab, "#dev", message(seq), true);
  assert.deepEqual(counts(tab.of("#dev")), [0, 0, undefined]);
  assert.deepEqual(await tab.said(), ["#dev 2", "#dev 4"]);
  assert.deepEqual(await tab.said(), []);
  tab.refusals.push(new Error("lost"));
  arrives(tab, "#dev", message(5), true);
  assert.deepEqual(await tab.said(), ["#dev 5"]);
  tab.reading.resumed(tab.of("#dev"));
  assert.deepEqual(await tab.said(), ["#dev 5"]);
  tab.reading.resumed(tab.of("#dev"));
  assert.deepEqual(await tab.said(), []);
  tab.reading.renamed();
  assert.deepEqual(await tab.said(), ["#dev 5"]);
});

test("the position of the inbox ends before the first unread message of any conversation", async () => {
  const tab = page("@bob", "@carol");
  for (const [key, seq] of [["@bob", 1], ["@carol", 2], ["@bob", 3]]) arrives(tab, key, message(seq, key.slice(1)));
  assert.deepEqual([counts(tab.of("@bob")), counts(tab.of("@carol"))], [[2, 2, 1], [1, 1, 2]]);
  assert.ok(tab.reading.seen(tab.of("@bob")));
  assert.ok(!tab.reading.seen(tab.of("@bob")));
  assert.deepEqual(await tab.said(), ["inbox 1"]);
  tab.reading.seen(tab.of("@carol"));
  assert.deepEqual(await tab.said(), ["inbox 3"]);
  tab.reading.heardInbox(5);
  arrives(tab, "@carol", message(5, "carol"));
  assert.deepEqual(counts(tab.of("@carol")), [0, 0, 2], "it was read elsewhere");
});

test("the line under the newest message names others who have seen it", () => {
  const { of } = page("#dev");
  const conversation = of("#dev");
  conversation.log.enter({ epoch: "e", seq: 0 });
  conversation.log.take(message(1));
  conversation.log.take(message(2));
  for (const [names, wanted] of [
    [[], ""],
    [["alice", "bob"], ""],
    [["carol"], "Seen by carol"],
    [["carol", "dora"], "Seen by carol and dora"],
    [["carol", "dora", "eve"], "Seen by carol, dora and eve"],
    [["carol", "dora", "eve", "fay"], "Seen by carol, dora and 2 others"],
  ]) {
    conversation.seenBy = new Map([["gina", 1], ...names.map((name) => [name, 2])]);
    assert.equal(seenText(conversation, "alice"), wanted, String(names));
  }
});
