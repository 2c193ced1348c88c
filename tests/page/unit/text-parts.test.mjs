import assert from "node:assert/strict";
import { test } from "node:test";

import { nameProblem, similarNames, utf8Bytes } from "../../../web/js/protocol.js";
import { isEmojiOnly, mentionsName, textParts } from "../../../web/js/text-parts.js";

const links = (text) => textParts(text).filter(({ kind }) => kind === "link").map(({ text: link }) => link);

test("nothing that was written gets lost", () => {
  for (const text of ["", "plain", "a `b` c", "see https://x.org/a_(b), ok?", "@bob: hi", "```\ncode\n```", "https://", "`", "@"]) {
    const whole = textParts(text).map((part) => (part.kind === "code" ? `\`${part.text}\`` : part.text)).join("");
    if (!text.includes("```")) assert.equal(whole, text);
  }
});

test("links end where the sentence goes on", () => {
  assert.deepEqual(links("https://x.org."), ["https://x.org"]);
  assert.deepEqual(links("(https://x.org/a)"), ["https://x.org/a"]);
  assert.deepEqual(links("https://x.org/a_(b)!"), ["https://x.org/a_(b)"]);
  assert.deepEqual(links("http://a.b https://c.d?e=f#g"), ["http://a.b", "https://c.d?e=f#g"]);
});

test("only http and https are links", () => {
  assert.deepEqual(links("javascript:alert(1) data:text/html,x ftp://x file:///etc //x.org"), []);
  assert.deepEqual(links("https://exa\u202emple.org"), ["https://exa"]);
  assert.deepEqual(links("`https://x.org`"), []);
});

test("a mention is a name that stands alone", () => {
  assert.equal(mentionsName("hi @alice!", "alice"), true);
  assert.equal(mentionsName("hi @Alice.", "alice"), true);
  assert.equal(mentionsName("@alice-2", "alice"), false);
  assert.equal(mentionsName("mail alice@alice.org", "alice.org"), false);
  assert.equal(mentionsName("`@alice`", "alice"), false);
  assert.equal(mentionsName("https://x.org/@alice", "alice"), false);
});

test("a few emoji alone are large", () => {
  for (const text of ["😀", "👍🏽", "🎉 🎉", "👩‍💻", "✌️"]) assert.equal(isEmojiOnly(text), true, text);
  for (const text of ["1", "#", "ok 😀", "", " ", "123"]) assert.equal(isEmojiOnly(text), false, text);
});

test("names and sizes are counted as the server does", () => {
  assert.equal(nameProblem("a".repeat(64)), null);
  assert.notEqual(nameProblem("a".repeat(65)), null);
  for (const name of ["", "-a", "a b", "ä", "guest-1"]) assert.notEqual(nameProblem(name), null, name);
  for (const name of [...similarNames("alice"), ...similarNames("a".repeat(64)), ...similarNames("bob-7"), ...similarNames("42")]) {
    assert.equal(nameProblem(name), null, name);
  }
  assert.deepEqual(similarNames("bob-7"), ["bob-8", "bob-9"]);
  assert.equal(utf8Bytes("ä€😀"), 2 + 3 + 4);
});
