// Read positions: on all connections of a client, and seen by others where the server allows it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { JWT, Server, joined, opened, tearable, token, until } from "./kit.mjs";

/** Collects how far clients have read. */
function positions(of) {
  const heard = [];
  of.on("read", ({ clientId, seq }) => heard.push(`${clientId} ${seq}`));
  return heard;
}

test("a position is the same on all connections, never goes back, and is there again after a lost connection", async (t) => {
  const server = await Server.start(t, { ...JWT, CHAT_SEEN_BY: "true" });
  const Torn = tearable();
  const [desk, phone, bob] = [["alice", {}], ["alice", { WebSocket: Torn }], ["bob", {}]]
    .map(([name, options]) => server.client(t, { getToken: () => token(name), ...options }));
  const rooms = [desk, phone, bob].map((client) => client.room("dev"));
  const [atDesk, onPhone, atBob] = rooms;
  const [ofDesk, ofPhone, ofBob] = rooms.map(positions);
  await Promise.all(rooms.map(joined));
  await atBob.send("one");
  await atBob.send("two");
  assert.equal((await atDesk.read(1)).seq, 1);
  await until("the phone hears of it", () => ofPhone.includes("alice 1"));
  await until("bob hears of it", () => ofBob.includes("alice 1"));
  for (const [seq, upto] of [[99, 2], [1, 2]]) assert.deepEqual(((read) => [read.clientId, read.seq])(await onPhone.read(seq)), ["alice", upto]);
  await until("the desk hears of it", () => ofDesk.includes("alice 2"));
  assert.deepEqual(ofDesk, ["alice 2"], "the answer of a call is no event");
  await assert.rejects(atBob.read(-1), { code: "bad_request" });
  bob.close();
  await assert.rejects(atBob.read(1), { code: "lost" });

  ofPhone.length = 0;
  Torn.tear();
  await until("the phone is told again", () => ofPhone.includes("alice 2"));
});

test("how far a room is read that the client is not in is not taken for the inbox", async (t) => {
  const server = await Server.start(t, JWT);
  const [alice, elsewhere] = ["alice", "alice"].map((name) => server.client(t, { getToken: () => token(name), start: false }));
  const lobby = alice.room("lobby");
  alice.start();
  await lobby.send("one");
  await lobby.read(1);
  const heard = positions(elsewhere);
  elsewhere.start();
  await opened(elsewhere);
  // The server tells the position of the lobby, which every connection begins in, before it answers.
  await elsewhere.rooms();
  assert.deepEqual(heard, []);
});

test("private messages have one position for all conversations", async (t) => {
  const server = await Server.start(t, JWT);
  const [alice, again, bob] = ["alice", "alice", "bob"].map((name) => server.client(t, { getToken: () => token(name) }));
  await Promise.all([alice, again, bob].map(opened));
  const heard = positions(again);
  const arrived = [];
  alice.on("private", ({ seq }) => arrived.push(seq));
  await bob.privateWith("alice").send("psst");
  await until("it arrives", () => arrived.length === 1);
  assert.equal((await alice.privateWith("bob").read(arrived[0])).seq, arrived[0]);
  await until("the other connection hears of it", () => heard.length === 1);
  assert.deepEqual(heard, [`alice ${arrived[0]}`]);
});
