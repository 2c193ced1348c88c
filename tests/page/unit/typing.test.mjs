import assert from "node:assert/strict";
import { test } from "node:test";

import { parseCommand } from "../../../web/js/commands.js";
import { completionAt } from "../../../web/js/completion.js";
import { parseRoute, routeTo } from "../../../web/js/routes.js";

test("a line is a text, a command, or refused", () => {
  for (const [line, wanted] of [
    ["hello /join", { is: "say", text: "hello /join" }],
    ["//join", { is: "say", text: "/join" }],
    ["/msg bob  two\nlines", { is: "msg", name: "bob", text: "two\nlines" }],
    [" hello", { is: "say", text: " hello" }],
    [" //join", { is: "say", text: "/join" }],
    [" \t\n/msg bob hey", { is: "msg", name: "bob", text: "hey" }],
    ["/msg @bob hey", { is: "msg", name: "bob", text: "hey" }],
    ["/msg guest-1 hey", { is: "msg", name: "guest-1", text: "hey" }],
    ["/join #dev", { is: "join", room: "dev" }],
    ["/leave", { is: "leave", room: null }],
    ["/leave dev", { is: "leave", room: "dev" }],
    ["/who", { is: "who", room: null }],
    ["/quit", { is: "quit" }],
    ["/settings", { is: "settings" }],
    ["/mute @bob", { is: "impose", measure: "mute", name: "bob", isEverywhere: false, seconds: null, reason: "" }],
    ["/ban bob everywhere 7d too  loud", { is: "impose", measure: "ban", name: "bob", isEverywhere: true, seconds: 604_800, reason: "too  loud" }],
    ["/MUTE bob Everywhere", { is: "impose", measure: "mute", name: "bob", isEverywhere: true, seconds: null, reason: "" }],
    ["/mute bob everywhereabouts 10m ago", { is: "impose", measure: "mute", name: "bob", isEverywhere: false, seconds: null, reason: "everywhereabouts 10m ago" }],
    ["/unban bob everywhere", { is: "lift", measure: "ban", name: "bob", isEverywhere: true }],
    ["/slow 90s", { is: "set", change: { slowSeconds: 90 } }],
    ["/slow off", { is: "set", change: { slowSeconds: 0 } }],
    ["/topic  the next release ", { is: "set", change: { topic: "the next release" } }],
    ["/topic off", { is: "set", change: { topic: "" } }],
    ["/Topic OFF", { is: "set", change: { topic: "" } }],
    ["/writers Operators", { is: "set", change: { writers: "operators" } }],
    ["/seen-by SERVER", { is: "set", change: { seenBy: null } }],
    ["/JOIN Dev", { is: "join", room: "Dev" }],
    ["/writers operators", { is: "set", change: { writers: "operators" } }],
    ["/access invited", { is: "set", change: { access: "invited" } }],
    ["/newcomers off", { is: "set", change: { newcomersSeeHistory: false } }],
    ["/retention 1000 30d", { is: "set", change: { retention: { messages: 1000, seconds: 2_592_000 } } }],
    ["/retention 30d", { is: "set", change: { retention: { seconds: 2_592_000 } } }],
    ["/retention 7", { is: "set", change: { retention: { messages: 7 } } }],
    ["/retention server", { is: "set", change: { retention: {} } }],
    ["/seen-by server", { is: "set", change: { seenBy: null } }],
    ["/invite @bob", { is: "invite", name: "bob" }],
    ["/uninvite bob", { is: "uninvite", name: "bob" }],
    // No addresses, so the server takes them as names, too.
    ["/invite 999.1.1.1", { is: "invite", name: "999.1.1.1" }],
    ["/invite 192.0.02.1", { is: "invite", name: "192.0.02.1" }],
  ]) assert.deepEqual(parseCommand(line), wanted);
  for (const line of ["/", "/ join dev", "/join", "/join no!", "/nick guest-1", "/nick", "/msg", "/msg bob", "/etc/hosts", " /etc/hosts",
    "/mute", "/mute bob 10", "/mute bob 10min spam", "/ban bob 0s", "/unmute bob 10m", "/slow", "/slow 10", "/slow 10s now", "/topic", "/writers", "/writers bob",
    "/access private", "/newcomers", "/retention", "/retention long", "/retention 1 2", "/retention 30d 7", "/seen-by", "/invite", "/invite bob dev",
    "/mute 192.0.2.1", "/unban 192.0.2.1", "/invite 192.0.2.1", "/mute everywhere bob", "/ban everywhere", "/unban Everywhere", "/mute 10m bob", "/mute bob spam 10m", "/ban bob 10m 7d",
    "/ban bob 10m everywhere", "/mute everywhere everywhere", "/invite everywhere", "/uninvite Everywhere"]) {
    assert.equal(parseCommand(line).is, "refused", line);
  }
});

test("the word before the cursor is completed, and a whole one is not", () => {
  const names = ["alice", "Bob", "bobby"];
  const options = (text, cursor = text.length) => completionAt(text, cursor, names)?.options.map((option) => option.text) ?? [];
  assert.deepEqual(options("hi @bo"), ["@Bob ", "@bobby "]);
  assert.deepEqual(options("hi @bo there", 6), ["@Bob ", "@bobby "]);
  assert.deepEqual(options("@alice"), []);
  assert.deepEqual(options("mail@bo"), []);
  assert.deepEqual(options("/jo"), ["/join "]);
  assert.deepEqual(options("say /jo"), []);
  assert.deepEqual(options(":rock"), ["🚀 "]);
  assert.deepEqual(options("10:30"), []);
  assert.equal(completionAt("hi @bo", 6, names).from, 3);
  assert.equal(completionAt("@", 1, Array.from({ length: 50 }, (_, n) => `n${n}`)).options.length, 9);
});

test("an address leads where it was made, and others lead nowhere", () => {
  for (const [key, seq] of [["#dev", undefined], ["#a.b-c_d", 42], ["@bob", undefined]]) {
    assert.deepEqual(parseRoute(routeTo(key, seq)), { key, seq: seq ?? null });
  }
  for (const hash of ["", "#", "#/", "#/room/", "#/room/a b", "#/room/%", "#/room/%2F", "#/room/dev/0", "#/room/dev/1/2", "#/with/bob/1", "#/lab"]) {
    assert.equal(parseRoute(hash), null, hash);
  }
});
