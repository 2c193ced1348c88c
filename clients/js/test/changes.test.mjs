// Changes of messages: what they do to a message, and that clients with different pasts end equal.
import assert from "node:assert/strict";
import { test } from "node:test";

import { applyChange } from "../starling.js";
import { JWT, Server, all, joined, opened, tearable, token, until } from "./kit.mjs";

const message = (more = {}) => ({ type: "message", clientId: "alice", Message: "one", room: "dev", seq: 1, at: 1, ...more });
const edited = (seq, text) => ({ type: "edited", room: "dev", seq, of: 1, clientId: "alice", Message: text, at: seq * 10 });
const deleted = (seq) => ({ type: "deleted", room: "dev", seq, of: 1, clientId: "alice", at: seq * 10 });
const reaction = (seq, clientId, emoji, removed = false) => ({ type: "reaction", room: "dev", seq, of: 1, clientId, emoji, removed, at: seq * 10 });
const reactions = (...list) => list.map(([emoji, count, ...clientIds]) => ({ emoji, count, clientIds }));

/** Keeps the messages of a room as a program does. */
function kept(room) {
  const messages = new Map();
  const keep = (one) => messages.set(one.seq, one);
  room.on("message", keep);
  room.on("change", (change) => messages.has(change.of) && keep(applyChange(messages.get(change.of), change)));
  return { keep, state: () => [...messages.values()].toSorted((a, b) => a.seq - b.seq) };
}

test("a message with the same changes is the same, however often they come", () => {
  const without = (field) => ({ [field]: undefined });
  const thumb = reactions(["👍", 2, "bob", "carol"]);
  for (const [what, before, changes, wanted] of [
    ["an edit", {}, [edited(2, "two")], { Message: "two", editedAt: 20, changedSeq: 2 }],
    ["edits", {}, [edited(2, "two"), edited(3, "three")], { Message: "three", editedAt: 30, changedSeq: 3 }],
    ["an edit that a newer one replaced", {}, [edited(2, undefined)], { changedSeq: 2 }],
    ["an old edit", { Message: "three", changedSeq: 3 }, [edited(2, "two")], {}],
    ["a deletion", { replyTo: 7, editedAt: 5, reactions: thumb }, [deleted(2)],
      { ...without("Message"), ...without("editedAt"), ...without("reactions"), deleted: true, changedSeq: 2 }],
    ["what follows a deletion", {}, [deleted(2), edited(3, "three"), reaction(4, "bob", "👍")],
      { ...without("Message"), deleted: true, changedSeq: 2 }],
    ["reactions", {}, [reaction(2, "bob", "👍"), reaction(3, "carol", "👍"), reaction(4, "bob", "🎉"), reaction(4, "bob", "🎉")],
      { reactions: reactions(["👍", 2, "bob", "carol"], ["🎉", 1, "bob"]), changedSeq: 4 }],
    ["the same reaction again", { reactions: thumb }, [reaction(2, "carol", "👍")], { changedSeq: 2 }],
    ["one taken back", { reactions: thumb }, [reaction(2, "bob", "👍", true)], { reactions: reactions(["👍", 1, "carol"]), changedSeq: 2 }],
    ["one taken back that is not there", { reactions: thumb }, [reaction(2, "dora", "👍", true)], { changedSeq: 2 }],
    ["all taken back", { reactions: thumb }, [reaction(2, "bob", "👍", true), reaction(3, "carol", "👍", true)],
      { ...without("reactions"), changedSeq: 3 }],
    ["one of a client that the server has not listed", { reactions: reactions(["👍", 3, "bob"]) }, [reaction(2, "dora", "👍", true)],
      { reactions: reactions(["👍", 2, "bob"]), changedSeq: 2 }],
  ]) {
    const begin = message(before);
    const copy = structuredClone(begin);
    const after = changes.reduce(applyChange, begin);
    const expected = Object.fromEntries(Object.entries({ ...begin, ...wanted }).filter(([, value]) => value !== undefined));
    assert.deepEqual(after, expected, what);
    assert.deepEqual(begin, copy, `${what}: a message is not altered`);
    assert.deepEqual(changes.reduce(applyChange, after), after, `${what}: again`);
  }
});

test("who was there, who resumed across changes, and who reads the history end equal", async (t) => {
  const server = await Server.start(t);
  const [alice, bob] = ["alice", "bob"].map((name) => server.client(t, { name }));
  const Torn = tearable();
  const away = server.client(t, { name: "away", WebSocket: Torn });
  const rooms = [alice, bob, away].map((client) => client.room("dev"));
  const there = kept(rooms[1]);
  const resumed = kept(rooms[2]);
  await Promise.all(rooms.map(joined));
  const [dev, bobs] = rooms;
  const first = await dev.send("first");
  const second = await dev.send("secret");
  const reply = await bobs.send("yes", { replyTo: first.seq });
  await bobs.react(first.seq, "👍");
  await until("all is there", () => resumed.state().length === 3 && there.state()[0].reactions);

  away.close();
  await server.kill();
  const during = [dev.edit(first.seq, "first, mended"), dev.edit(second.seq, "secret, mended"), dev.delete(second.seq)];
  await server.startAgain();
  await Promise.all(during);
  await bobs.react(first.seq, "👍", { remove: true });
  await bobs.react(first.seq, "🎉");
  const late = await dev.send("late");
  await dev.edit(late.seq, "late, mended");
  await dev.react(late.seq, "👍");
  const end = await dev.send("end");
  away.start();
  const isWhole = ({ state }) => state().at(-1)?.Message === "end";
  await until("both have all", () => isWhole(there) && isWhole(resumed));

  const read = (await all(bobs.history())).reverse();
  assert.deepEqual(there.state(), read);
  assert.deepEqual(resumed.state(), read);
  assert.deepEqual(read.map(({ Message, deleted: isGone }) => Message ?? isGone), ["first, mended", true, "yes", "late, mended", "end"]);
  assert.deepEqual(read[0].reactions, reactions(["🎉", 1, "bob"]));
  assert.equal(read[2].replyTo, first.seq);
  assert.equal(reply.seq, 3);
  assert.equal(rooms[2].position.seq, end.seq);
});

test("changes arrive once, are refused with their code, and keep the order of messages", async (t) => {
  const server = await Server.start(t);
  const [alice, bob] = ["alice", "bob"].map((name) => server.client(t, { name }).room("dev"));
  const changes = [];
  await joined(bob);
  bob.on("change", ({ type, of, seq }) => changes.push([type, of, seq]));
  const outcomes = await Promise.allSettled([alice.send("1"), alice.edit(1, "one"), alice.react(1, "👍"), alice.edit(1, ""),
    alice.edit(9, "nine"), alice.react(1, "no emoji")]);
  assert.deepEqual(outcomes.map(({ reason, value }) => reason?.code ?? value.seq),
    [1, 2, 3, "message_empty", "no_such_message", "bad_request"]);
  await assert.rejects(bob.delete(1), { code: "forbidden" });
  await alice.delete(1);
  await assert.rejects(alice.delete(1), { code: "no_such_message" });
  await until("the last", () => changes.length === 3);
  assert.deepEqual(changes, [["edited", 1, 2], ["reaction", 1, 3], ["deleted", 1, 4]]);
  const { seq } = await alice.send("5");
  await alice.edit(seq, "five", { id: "e" });
  assert.deepEqual(await alice.edit(seq, "six", { id: "e" }).then(({ seq: of, duplicate }) => [of, duplicate]), [6, true]);
});

test("private messages that are stored can be changed and replied to, by both", async (t) => {
  const server = await Server.start(t, JWT);
  const [alice, bob] = ["alice", "bob"].map((name) => server.client(t, { getToken: () => token(name) }));
  await Promise.all([opened(alice), opened(bob)]);
  const [toBob, toAlice] = [alice.privateWith("bob"), bob.privateWith("alice")];
  const ofBob = kept(toAlice);
  const ofAlice = kept(toBob);
  const heard = [];
  bob.on("change", ({ type }, other) => heard.push(`${other}: ${type}`));
  await toBob.send("psst");
  await until("both have it", () => ofBob.state().length === 1 && ofAlice.state().length === 1);
  await toAlice.send("what?", { replyTo: ofBob.state()[0].seq });
  await toBob.edit(ofAlice.state()[0].seq, "psssst");
  await toAlice.react(ofBob.state()[0].seq, "👀");
  await until("both have all", () => [ofBob, ofAlice].every(({ state }) => state()[0].reactions));
  assert.deepEqual(ofBob.state().map(({ Message, replyTo }) => [Message, replyTo]), [["psssst", undefined], ["what?", 1]]);
  assert.deepEqual((await all(toBob.history())).reverse(), ofAlice.state());
  assert.deepEqual(heard, ["alice: edited", "alice: reaction"]);
});
