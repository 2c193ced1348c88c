import assert from "node:assert/strict";
import { test } from "node:test";

import { TypingAnnouncements, typingText } from "../../../web/js/typists.js";

test("at most three names are in the line", () => {
  for (const [clientIds, more, wanted] of [
    [[], false, ""],
    [["alice"], false, "alice is typing …"],
    [["alice", "bob"], false, "alice and bob are typing …"],
    [["alice", "bob", "carol"], false, "alice, bob and carol are typing …"],
    [["alice", "bob", "carol", "dora"], false, "alice, bob and others are typing …"],
    [["alice"], true, "alice and others are typing …"],
    [["alice", "bob", "carol"], true, "alice, bob and others are typing …"],
    [[], true, "Several people are typing …"],
  ]) assert.equal(typingText({ clientIds, more }), wanted);
});

test("a screen reader hears of a conversation once in thirty seconds", () => {
  let now = 0;
  const announcements = new TypingAnnouncements({ now: () => now });
  for (const [at, key, text, wanted] of [
    [0, "#dev", "", null],
    [0, "#dev", "alice is typing …", "alice is typing"],
    [1_000, "#dev", "alice and bob are typing …", null],
    [1_000, "@bob", "bob is typing …", "bob is typing"],
    [29_999, "#dev", "alice is typing …", null],
    [30_000, "#dev", "alice is typing …", "alice is typing"],
  ]) {
    now = at;
    assert.equal(announcements.next(key, text), wanted, `${at} ${key}`);
  }
});
