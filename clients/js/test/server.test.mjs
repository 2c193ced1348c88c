// The client against the real server, which is restarted, killed, and moved from node to node.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { connect } from "../starling.js";
import { JWT, Server, WebSocket, all, joined, opened, tearable, texts, token, until } from "./kit.mjs";

/** A WebSocket through which the test loses frames. */
function lossy(isLost) {
  return class extends WebSocket {
    set onmessage(listener) {
      super.onmessage = listener && ((event) => isLost(JSON.parse(event.data)) || listener(event));
    }
  };
}

// Most of their time these tests wait.
describe("the client", { concurrency: 4 }, () => {
  const ways = { "the package ws": WebSocket };
  // Without a flag from Node.js 22 on; scripts set it for older ones.
  if (globalThis.WebSocket) ways["Node.js itself"] = undefined;

  for (const [way, Socket] of Object.entries(ways)) {
    test(`rooms, private messages, presence and history work over the WebSocket of ${way}`, async (t) => {
      const server = await Server.start(t);
      const alice = server.client(t, { name: "alice", WebSocket: Socket });
      const dev = alice.room("dev");
      const heard = texts(dev);
      const present = [];
      dev.on("presence", ({ joined: names }) => present.push(...names));
      const first = [];
      dev.on("joined", (event) => first.push(event));
      await joined(dev);
      assert.deepEqual([first[0].seq, first[0].recovered, alice.name], [0, undefined, "alice"]);

      const bob = server.client(t, { name: "bob", WebSocket: Socket });
      const bobs = bob.room("dev");
      const toBob = [];
      bob.on("private", ({ Message }, other) => toBob.push(`${other}: ${Message}`));
      await joined(bobs);
      await until("alice sees bob", () => present.includes("bob"));
      const sent = await bobs.send("hello");
      assert.equal(sent.seq, 1);
      assert.equal(typeof sent.at, "number");
      await until("it arrives", () => heard.length === 1);
      assert.deepEqual(heard, ["hello"]);
      assert.deepEqual(dev.position, { seq: 1, epoch: first[0].epoch, at: sent.at });

      const answered = [];
      const withBob = alice.privateWith("bob");
      withBob.on("message", ({ clientId, Message }) => answered.push(`${clientId}: ${Message}`));
      await withBob.send("psst");
      await bob.privateWith("alice").send("yes?");
      await until("both have both", () => answered.length === 2 && toBob.length === 2);
      assert.deepEqual(answered, ["alice: psst", "bob: yes?"]);
      assert.deepEqual(toBob, ["alice: psst", "alice: yes?"]);

      assert.deepEqual((await dev.members()).clientIds.toSorted(), ["alice", "bob"]);
      assert.ok((await alice.rooms()).rooms.some(({ room, count }) => room === "dev" && count === 2));
      // The room of the handshake is the one that was asked for: nobody stands in the lobby.
      assert.equal((await alice.request({ type: "members", room: "lobby" })).count, 0);
    });
  }

  test("typing is told to the others of a room and to the receiver of a private message, until the message is there", async (t) => {
    const server = await Server.start(t);
    const [alice, bob] = ["alice", "bob"].map((name) => server.client(t, { name }));
    const told = [];
    for (const [name, place] of [["room", bob.room("dev")], ["private", bob.privateWith("alice")]]) {
      place.on("typing", ({ clientIds }) => told.push(`${name}: ${clientIds}`));
    }
    const errors = [];
    alice.on("error", ({ code }) => errors.push(code));
    await Promise.all([joined(alice.room("dev")), joined(bob.room("dev"))]);
    for (const place of [alice.room("dev"), alice.privateWith("bob"), alice.privateWith("nobody")]) place.typing();
    await until("both are told", () => told.length === 2);
    for (const place of [alice.room("dev"), alice.privateWith("bob")]) await place.send("done");
    await until("it ends", () => told.length === 4);
    assert.deepEqual(told, ["room: alice", "private: alice", "room: ", "private: "]);
    assert.deepEqual(errors, []);
  });

  test("the history is read page by page, backwards from where the events begin, and forwards", async (t) => {
    const server = await Server.start(t, { CHAT_MESSAGES_PER_SECOND: "0" });
    const writer = server.client(t, { name: "writer" }).room("dev");
    for (let n = 1; n <= 25; n += 1) await writer.send(`${n}`);
    const room = server.client(t, { name: "reader" }).room("dev");
    const heard = [];
    room.on("message", ({ seq }) => heard.push(seq));
    const reading = room.history({ limit: 10 });
    const newest = (await reading.next()).value;
    await writer.send("meanwhile");
    const past = [newest.seq, ...(await all(reading)).map(({ seq }) => seq)];
    assert.deepEqual(past, Array.from({ length: 25 }, (_, n) => 25 - n));
    await until("the event", () => heard.length === 1);
    assert.deepEqual(heard, [26]);
    const forwards = (await all(room.history({ after: 20, limit: 2 }))).map(({ seq }) => seq);
    assert.deepEqual(forwards, [21, 22, 23, 24, 25, 26]);
    assert.deepEqual((await all(room.history({ before: 3 }))).map(({ seq }) => seq), [2, 1]);
  });

  test("after a restart of the server nothing is missing, and what was written meanwhile is sent once", async (t) => {
    const server = await Server.start(t);
    const alice = server.client(t, { name: "alice" }).room("dev");
    const heard = texts(alice);
    const recovered = [];
    alice.on("joined", (event) => recovered.push(event.recovered));
    await alice.send("1");
    const away = server.client(t, { name: "away" });
    const late = texts(away.room("dev"));
    await joined(away.room("dev"));
    away.close();

    await server.stop();
    const sent = [alice.send("2"), alice.send("3")];
    await server.startAgain();
    assert.deepEqual((await Promise.all(sent)).map(({ seq }) => seq), [2, 3]);
    await until("alice has them", () => heard.length === 3);
    assert.deepEqual(heard, ["1", "2", "3"]);
    assert.deepEqual(recovered, [undefined, true]);
    // Who was away resumes too.
    away.start();
    await until("so has the other", () => late.length === 2);
    assert.deepEqual(late, ["2", "3"]);
  });

  test("kills in the middle of a burst lose, double and reorder nothing", async (t) => {
    const server = await Server.start(t, { CHAT_MESSAGES_PER_SECOND: "0" });
    const alice = server.client(t, { name: "alice" }).room("dev");
    const bob = server.client(t, { name: "bob" }).room("dev");
    const heard = texts(bob);
    await joined(bob);
    const wanted = Array.from({ length: 150 }, (_, n) => `${n}`);
    const sent = Promise.all(wanted.map((text) => alice.send(text)));
    for (const reached of [30, 90]) {
      await until("part of the burst", () => heard.length >= reached);
      await server.kill();
      await server.startAgain();
    }
    const seqs = (await sent).map(({ seq }) => seq);
    assert.deepEqual(seqs, wanted.map((_, n) => n + 1));
    await until("bob has all", () => heard.length >= wanted.length);
    assert.deepEqual(heard, wanted);
    assert.deepEqual((await server.history("dev")).map(({ Message }) => Message), wanted);
  });

  test("a server that has lost its history says so, and the client goes on", async (t) => {
    const server = await Server.start(t, { CHAT_HISTORY: "memory" });
    const room = server.client(t, { name: "alice" }).room("dev");
    const entered = [];
    room.on("joined", ({ epoch, recovered }) => entered.push({ epoch, recovered }));
    await room.send("before");
    await server.kill();
    await server.startAgain();
    assert.equal((await room.send("after")).seq, 1);
    assert.deepEqual(entered.map(({ recovered }) => recovered), [undefined, false]);
    assert.notEqual(entered[0].epoch, entered[1].epoch);
  });

  test("a client of several nodes goes to another one when its own is gone", async (t) => {
    const nodes = [await Server.start(t), await Server.start(t)];
    const client = nodes[0].client(t, { name: "alice", url: nodes.map(({ url }) => url) });
    const room = client.room("dev");
    for (let moves = 0; moves < 2; moves += 1) {
      await room.send(`${moves}`);
      const here = (await Promise.all(nodes.map((node) => node.history("dev")))).findIndex(
        (messages) => messages.at(-1)?.Message === `${moves}`);
      await nodes[here].kill();
      const there = nodes[1 - here];
      await room.send(`after ${moves}`);
      assert.equal((await there.history("dev")).at(-1).Message, `after ${moves}`);
      await nodes[here].startAgain();
    }
  });

  test("a frame that gets lost is fetched, and nothing comes twice or out of order", async (t) => {
    const server = await Server.start(t);
    let losing = true;
    const isLost = ({ type, seq }) => losing && type === "message" && (seq === 3 || seq === 4);
    const room = server.client(t, { name: "alice", WebSocket: lossy(isLost) }).room("dev");
    const heard = texts(room);
    const recovered = [];
    room.on("joined", (event) => {
      recovered.push(event.recovered);
      if (recovered.length === 2) losing = false;
    });
    await joined(room);
    const bob = server.client(t, { name: "bob" }).room("dev");
    for (const text of ["1", "2", "3", "4", "5", "6"]) await bob.send(text);
    await until("all six", () => heard.length === 6);
    assert.deepEqual(heard, ["1", "2", "3", "4", "5", "6"]);
    assert.deepEqual(recovered, [undefined, true]);
  });

  test("the settings of a room come with joined and when they change, and a private room shuts out", async (t) => {
    const server = await Server.start(t, { CHAT_ADMIN_TOKEN: "letmein-letmein-letmein" });
    const operate = async (path, body) => {
      const url = new URL(`/api/rooms/dev/${path}`, server.url.replace("ws", "http"));
      const headers = { authorization: "Bearer letmein-letmein-letmein" };
      const { ok } = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
      assert.ok(ok);
    };
    await operate("settings", { topic: "tests" });
    await operate("invitations", { clientId: "alice" });
    const rooms = ["alice", "bob"].map((name) => server.client(t, { name }).room("dev"));
    const told = rooms.map((room) => {
      const heard = [];
      room.on("joined", ({ settings }) => heard.push({ joined: settings }));
      room.on("settings", ({ settings }) => heard.push({ settings }));
      room.on("left", ({ code }) => heard.push({ code }));
      return heard;
    });
    await Promise.all(rooms.map((room) => joined(room)));
    await operate("settings", { access: "invited" });
    const then = { topic: "tests", access: "invited" };
    await until("both are told", () => told[0].some(({ settings }) => settings?.access) && told[1].some(({ code }) => code));
    const of = (heard) => heard.filter(({ settings }) => settings?.access !== undefined || settings === undefined);
    assert.deepEqual(of(told[0]), [{ joined: { topic: "tests" } }, { settings: then }]);
    assert.deepEqual(of(told[1]), [{ joined: { topic: "tests" } }, { code: "not_invited" }]);
    await assert.rejects(rooms[1].send("hello"), { code: "not_invited" });
  });

  test("a token is asked for when there is none, when it is refused, and when it has ended", async (t) => {
    const server = await Server.start(t, JWT);
    const reasons = [];
    const tokens = ["x.y.z", token("alice", 3), token("alice")];
    const getToken = ({ message, refused }) => {
      reasons.push([message, refused]);
      return tokens[reasons.length - 1];
    };
    const client = server.client(t, { getToken });
    const room = client.room("dev");
    const recovered = [];
    room.on("joined", (event) => recovered.push(event.recovered));
    await room.send("1");
    assert.equal(client.name, "alice");
    await until("the token has ended", () => recovered.length === 2);
    await room.send("2");
    assert.deepEqual(recovered, [undefined, true]);
    assert.deepEqual(reasons.map(([, refused]) => refused), ["", tokens[0], tokens[1]]);
    assert.match(reasons[2][0], /expired/u);
  });

  test("two tabs of one name: the second is told, its key takes the name, and the first does not take it back", async (t) => {
    const server = await Server.start(t);
    const first = server.client(t, { name: "alice" });
    const sent = first.room("dev").send("from the first");
    await sent;
    const second = server.client(t, { name: "alice" });
    await until("the second is told", () => second.state === "stopped");
    assert.equal(second.status.why, "name_taken");
    second.start({ name: "alice", key: first.key });
    await opened(second);
    await until("the first is told", () => first.state === "stopped");
    assert.equal(first.status.why, "replaced");
    assert.equal((await second.room("dev").send("from the second")).seq, 2);
    assert.equal(first.state, "stopped");

    const bob = server.client(t, { name: "bob" });
    await opened(bob);
    await assert.rejects(bob.rename("alice"), { code: "name_taken" });
    assert.equal(bob.name, "bob");
    await bob.rename("bobby");
    assert.equal(bob.name, "bobby");
  });

  test("a program loads its state, follows from its position, and loads again when the server cannot follow", async (t) => {
    const server = await Server.start(t, { CHAT_HISTORY: "memory" });
    const writer = server.client(t, { name: "writer" }).room("dev");
    await writer.send("1");
    const first = await until("the first message is an event", () => writer.position?.seq === 1 && writer.position);
    await writer.send("2");
    await writer.send("3");
    let loads = 0;
    let state = null;
    const room = server.client(t, { name: "reader" }).room("dev", {
      getState: async () => {
        loads += 1;
        if (loads === 1) return first;
        const newest = (await server.history("dev")).at(-1);
        state = newest?.Message ?? null;
        return newest ? { ...writer.position } : null;
      },
    });
    const heard = texts(room);
    const recovered = [];
    room.on("joined", (event) => recovered.push(event.recovered));
    await until("what followed the state", () => heard.length === 2);
    assert.deepEqual([heard, recovered, loads], [["2", "3"], [true], 1]);

    await server.kill();
    await server.startAgain();
    await writer.send("new 1");
    await until("the state is loaded again", () => state === "new 1" || heard.includes("new 1"));
    await writer.send("new 2");
    await until("and followed", () => heard.includes("new 2"));
    assert.ok(loads >= 2);
  });

  test("what the server refuses is rejected with its code, and the next message goes on", async (t) => {
    const server = await Server.start(t, { CHAT_MESSAGE_BYTES: "100" });
    const client = server.client(t, { name: "alice" });
    const room = client.room("dev");
    const outcomes = await Promise.allSettled([room.send(""), room.send("x".repeat(101)), room.send("fine")]);
    assert.deepEqual(outcomes.map(({ reason, value }) => reason?.code ?? value.seq), ["message_empty", "message_too_large", 1]);
    await assert.rejects(client.privateWith("nobody").send("psst"), { code: "no_such_client" });
    const bad = client.room("no room");
    const left = [];
    bad.on("left", ({ code }) => left.push(code));
    await assert.rejects(all(bad.history()), { code: "bad_room" });
    assert.deepEqual(left, ["bad_room"]);
    await assert.rejects(bad.send("never"), { code: "bad_room" });
    bad.leave();
    await assert.rejects(bad.send("never"), { code: "left" });
    await assert.rejects(client.request({ type: "nonsense" }), { code: "unknown_type" });
    client.close();
    await assert.rejects(client.rooms(), { code: "closed" });
  });

  test("past the rate limit messages wait, and arrive once and in order", async (t) => {
    const server = await Server.start(t, { CHAT_MESSAGES_PER_SECOND: "20", CHAT_BURST: "2" });
    const room = server.client(t, { name: "alice" }).room("dev");
    const wanted = Array.from({ length: 12 }, (_, n) => `${n}`);
    const sent = await Promise.all(wanted.map((text) => room.send(text)));
    assert.deepEqual(sent.map(({ seq }) => seq), wanted.map((_, n) => n + 1));
  });

  test("private messages that are stored come after a lost connection, each once", async (t) => {
    const server = await Server.start(t, JWT);
    const Torn = tearable();
    const bob = server.client(t, { getToken: () => token("bob") });
    await opened(bob);
    const toAlice = bob.privateWith("alice");
    // Alice has never been here: the first message waits.
    await toAlice.send("1");
    const alice = server.client(t, { getToken: () => token("alice"), WebSocket: Torn });
    const heard = [];
    alice.on("private", ({ Message, seq }, other) => heard.push(`${seq} ${other} ${Message}`));
    await until("it has waited", () => heard.length === 1);
    await toAlice.send("2");
    await until("it comes at once", () => heard.length === 2);
    Torn.tear();
    await until("the loss is noticed", () => alice.state !== "open");
    await toAlice.send("3");
    await toAlice.send("4");
    await until("both come", () => heard.length === 4);
    await alice.privateWith("bob").send("5");
    await until("the own one too", () => heard.length === 5);
    assert.deepEqual(heard, ["1", "2", "3", "4", "5"].map((n) => `${n} bob ${n}`));
    assert.deepEqual((await all(alice.privateWith("bob").history({ limit: 2 }))).map(({ seq }) => seq), [5, 4, 3, 2, 1]);
  });

  test("a guest's message whose acknowledgement is lost is not sent twice", async (t) => {
    const server = await Server.start(t);
    const Torn = tearable((frame) => frame.type === "ack" || frame.type === "message");
    const guest = server.client(t, { WebSocket: Torn });
    const room = guest.room("dev");
    await joined(room);
    assert.equal((await room.send("once")).seq, 1);
    await room.send("then");
    assert.deepEqual((await server.history("dev")).map(({ Message }) => Message), ["once", "then"]);
  });

  test("an address that is none is refused at once", () => {
    assert.throws(() => connect({ url: [] }), TypeError);
    assert.throws(() => connect({ url: "not an address" }), TypeError);
  });
});
