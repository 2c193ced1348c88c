// The client's pauses and deadlines, against a server that a script plays, in a time that the test moves.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { connect } from "../starling.js";

const WELCOME = {
  type: "welcome", protocol: 1, server: "script", clientId: "guest-1", room: "lobby", seq: 0, epoch: "e", key: "k",
  heartbeatMs: 25_000, limits: { messageBytes: 16_384, messagesPerSecond: 0, burst: 100, rooms: 64 },
};

/** The sockets that the client has opened, the newest last. */
let sockets = [];
/** Answers to frames of the client, by type. A `null` answer is silence. */
let answers = {};
let random = 1;

class Socket {
  constructor(url) {
    this.url = url;
    this.at = Date.now();
    this.readyState = 0;
    this.sent = [];
    sockets.push(this);
  }
  open(welcome = WELCOME) {
    this.readyState = 1;
    this.onopen();
    this.tell(welcome);
  }
  tell(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  send(text) {
    const frame = JSON.parse(text);
    this.sent.push(frame);
    const answer = answers[frame.type]?.(frame);
    if (answer) this.tell({ id: frame.id, ...answer });
  }
  close() {
    this.readyState = 3;
  }
  break(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

const newest = () => sockets.at(-1);
const settle = () => new Promise((resolve) => setImmediate(resolve));
/** Lets the time pass, in steps: a timer that is set by a timer begins at the end of its step. */
const pass = async (ms) => {
  for (let left = ms; left > 0; left -= 100) {
    mock.timers.tick(Math.min(left, 100));
    await settle();
  }
};
let clients = [];
async function client(options = {}) {
  const made = connect({ url: "ws://script/ws", WebSocket: Socket, ...options });
  clients.push(made);
  await settle();
  return made;
}

beforeEach(() => {
  sockets = [];
  clients = [];
  random = 1;
  answers = {
    hello: ({ clientId }) => ({ ...WELCOME, clientId }),
    join: ({ room, after = 0 }) => ({ type: "joined", room, seq: after, epoch: "e", count: 1, recovered: true }),
    message: ({ room }) => ({ type: "ack", room, seq: 1, at: 1 }),
    leave: ({ room }) => ({ type: "left", room }),
    ping: () => ({ type: "pong", at: 1 }),
  };
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  mock.method(Math, "random", () => (random === 1 ? 1 - Number.EPSILON : random));
  mock.method(globalThis, "fetch", () => Promise.reject(new Error("no answer")));
});
afterEach(() => {
  for (const made of clients) made.close();
  mock.timers.reset();
  mock.restoreAll();
});

test("pauses have full jitter, from half a second to twenty", async () => {
  for (const [value, wanted] of [[1, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]], [0, [100, 100, 100]]]) {
    random = value;
    sockets = [];
    const made = await client();
    for (const ms of wanted) {
      newest().break();
      assert.equal(made.state, "waiting");
      assert.equal(made.status.until - Date.now(), ms);
      const before = sockets.length;
      await pass(ms - 1);
      assert.equal(sockets.length, before);
      await pass(1);
      assert.equal(sockets.length, before + 1);
    }
    made.close();
  }
});

test("a server that takes connections and closes them at once is asked less and less often", async () => {
  const made = await client();
  for (const ms of [500, 1_000, 2_000]) {
    newest().open();
    newest().break(1011);
    assert.equal(made.status.until - Date.now(), ms);
    await pass(ms);
  }
  newest().open();
  await pass(5_000);
  newest().break(1011);
  assert.equal(made.status.until - Date.now(), 500, "a connection that has lived makes the pause short again");
});

test("the pause that a closing server asks for is kept, also when the network comes back", async () => {
  const made = await client();
  newest().open();
  newest().tell({ type: "closing", reason: "the server restarts", reconnectAfterMs: 7_000 });
  newest().break(1001);
  assert.deepEqual(made.status, { state: "waiting", until: Date.now() + 7_000, reason: "the server restarts" });
  made.wake();
  await pass(6_999);
  assert.equal(sockets.length, 1);
  await pass(1);
  assert.equal(sockets.length, 2);
});

test("close codes say whether to come back", async () => {
  for (const [code, why] of [[1000, "ended"], [1002, "refused"], [1003, "refused"], [1007, "refused"], [1008, "refused"],
    [1009, "refused"], [4003, "replaced"], [4004, "removed"]]) {
    const made = await client();
    newest().open();
    newest().break(code, "because");
    assert.deepEqual(made.status, { state: "stopped", why, reason: "because" });
    await pass(60_000);
    assert.equal(made.state, "stopped");
  }
  for (const [code, least] of [[1001, 0], [1006, 0], [1011, 0], [1013, 5_000], [4001, 0], [4002, 0]]) {
    const made = await client();
    newest().open();
    newest().break(code);
    assert.equal(made.state, "waiting", `${code}`);
    assert.ok(made.status.until - Date.now() >= least, `${code}`);
    made.close();
  }
});

test("a server that does not answer in ten seconds is left", async () => {
  const made = await client({ name: "alice" });
  await pass(9_999);
  assert.equal(made.state, "connecting");
  await pass(1);
  assert.equal(made.state, "waiting");
  await pass(500);
  answers.hello = () => null;
  newest().open();
  assert.equal(made.state, "connecting", "the name is not taken yet");
  await pass(10_000);
  assert.equal(made.state, "waiting");
});

test("silence has a deadline: a ping after a heartbeat, and eight seconds for its answer", async () => {
  const made = await client();
  newest().open();
  await pass(25_000);
  assert.ok(!newest().sent.some(({ type }) => type === "ping"));
  await pass(1_000);
  assert.ok(newest().sent.some(({ type }) => type === "ping"));
  await pass(20_000);
  assert.equal(made.state, "open", "it was answered");
  answers.ping = () => null;
  const begun = Date.now();
  while (made.state === "open" && Date.now() - begun < 60_000) await pass(100);
  // The last answer came up to a heartbeat ago.
  assert.ok(Date.now() - begun >= 8_000 && Date.now() - begun <= 36_000, `${Date.now() - begun} ms`);
  assert.equal(made.status.reason, "no sign of life");
});

test("a network that comes back ends the pause, and one that goes is checked at once", async () => {
  const surroundings = new EventTarget();
  globalThis.addEventListener = surroundings.addEventListener.bind(surroundings);
  try {
    const made = await client();
    newest().break();
    newest().break();
    assert.equal(made.state, "waiting");
    surroundings.dispatchEvent(new Event("online"));
    assert.equal(made.state, "connecting");
    newest().open();
    answers.ping = () => null;
    surroundings.dispatchEvent(new Event("offline"));
    await pass(9_100);
    assert.equal(made.state, "waiting");
    made.close();
    surroundings.dispatchEvent(new Event("online"));
    assert.equal(made.state, "idle");
  } finally {
    delete globalThis.addEventListener;
  }
});

test("a refused message is sent again when the server says, before every later one", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  newest().open();
  await settle();
  let refusals = 2;
  let seq = 0;
  answers.message = ({ room: where }) => refusals-- > 0
    ? { type: "error", code: "rate_limited", message: "too fast", retryAfterMs: 3_000 }
    : { type: "ack", room: where, seq: (seq += 1), at: 1 };
  const sent = [room.send("1"), room.send("2")];
  const said = () => newest().sent.filter(({ type }) => type === "message").map(({ Message }) => Message);
  await pass(2_999);
  assert.deepEqual(said(), ["1"]);
  await pass(1);
  await pass(3_000);
  assert.deepEqual((await Promise.all(sent)).map((one) => one.seq), [1, 2]);
  assert.deepEqual(said(), ["1", "1", "1", "2"]);
  const ids = newest().sent.filter(({ type }) => type === "message").map(({ id }) => id);
  assert.ok(ids[0] === ids[2] && ids[2] !== ids[3]);

  refusals = 1;
  answers.message = ({ room: where }) => refusals-- > 0
    ? { type: "error", code: "unavailable", message: "the disk is full", retryAfterMs: 9_000 }
    : { type: "ack", room: where, seq: 3, at: 1 };
  const late = room.send("3");
  await pass(8_999);
  assert.equal(said().length, 5);
  await pass(1);
  assert.equal((await late).seq, 3);
});

test("the server's limits are kept: a burst at once, then so many a second", async () => {
  const made = await client();
  newest().open({ ...WELCOME, limits: { ...WELCOME.limits, messagesPerSecond: 2, burst: 4 } });
  answers.rooms = () => ({ type: "rooms", rooms: [] });
  // The lobby that nobody wants is left with the first of the four.
  const asked = Promise.all(Array.from({ length: 7 }, () => made.rooms()));
  assert.equal(newest().sent.length, 4);
  await pass(1_000);
  assert.equal(newest().sent.length, 6);
  await pass(1_000);
  assert.equal(newest().sent.length, 8);
  await asked;
});

test("a message whose fate is unknown for too long is not sent again, unless the room knows", async () => {
  for (const recovered of [false, true]) {
    const made = await client({ name: "alice" });
    const room = made.room("dev");
    newest().open();
    await settle();
    answers.message = () => null;
    const outcome = room.send("?").then(() => "sent", ({ code }) => code);
    newest().break();
    answers.join = ({ room: where, after = 0 }) => ({ type: "joined", room: where, seq: after, epoch: "e", count: 1, recovered });
    answers.message = ({ room: where }) => ({ type: "ack", room: where, seq: 1, at: 1 });
    mock.timers.setTime(Date.now() + 271_000);
    made.start();
    newest().open();
    assert.equal(await outcome, recovered ? "sent" : "uncertain");
    made.close();
  }
});

test("a server that forges gaps is asked once, and then believed to have lost what is missing", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  const heard = [];
  room.on("message", ({ seq }) => heard.push(seq));
  room.on("joined", ({ recovered }) => heard.push(recovered));
  newest().open();
  await settle();
  const joins = () => newest().sent.filter(({ type }) => type === "join").length;
  for (let n = 0; n < 5; n += 1) newest().tell({ type: "message", clientId: "eve", Message: "x", room: "dev", seq: 10, at: 1 });
  assert.deepEqual(heard, [undefined, true, false, 10]);
  assert.equal(joins(), 2);
  // Frames of rooms and kinds that the client does not know disturb nothing.
  for (const data of ["{", "[]", "null", "7", '{"type":"poem"}', '{"type":"message","room":"other","seq":1}']) newest().onmessage({ data });
  assert.equal(made.state, "open");
});

test("a state that the server refuses to follow is loaded again, with growing pauses", async () => {
  const made = await client({ name: "alice" });
  answers.join = ({ room }) => ({ type: "joined", room, seq: 9, epoch: "new", count: 1, recovered: false });
  const at = [];
  made.room("dev", { getState: () => {
    at.push(Date.now());
    return { seq: 1, epoch: "old" };
  } });
  newest().open();
  await settle();
  await pass(4_000);
  assert.deepEqual(at.slice(1).map((time, n) => time - at[n]), [500, 1_000, 2_000]);
});

test("tokens that are refused one after the other are asked for with growing pauses", async () => {
  const at = [];
  const made = await client({ getToken: ({ message }) => {
    at.push(Date.now());
    return `bad ${message}`;
  } });
  fetch.mock.mockImplementation(() => Promise.resolve(new Response(JSON.stringify({ message: "not valid" }), { status: 401 })));
  const begun = Date.now();
  for (let n = 0; n < 100; n += 1) {
    if (newest()?.readyState === 0) newest().break();
    await pass(100);
  }
  assert.ok(at.length >= 3 && at.length <= 7, `${at.map((time) => time - begun)}`);
  assert.notEqual(made.state, "stopped");
});

test("a token that cannot be got is an event, and is asked for again", async () => {
  let asked = 0;
  const made = await client({ getToken: async () => {
    asked += 1;
    if (asked === 1) throw new Error("the issuer sleeps");
    return asked === 2 ? "token" : null;
  } });
  await settle();
  assert.equal(made.status.reason, "there is no token");
  await pass(500);
  await settle();
  newest().open();
  assert.equal(made.state, "open");
  const other = await client({ getToken: () => null });
  await settle();
  assert.equal(other.status.why, "unauthorized");
});

test("a listener that throws disturbs neither the connection nor other listeners", async () => {
  const thrown = [];
  const caught = (error) => thrown.push(error.message);
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", caught);
  try {
    const made = await client({ name: "alice" });
    const heard = [];
    const room = made.room("dev");
    room.on("message", () => {
      throw new Error("a bug of the program");
    });
    const off = room.on("message", ({ seq }) => heard.push(seq));
    newest().open();
    await settle();
    for (const seq of [1, 2]) newest().tell({ type: "message", clientId: "bob", Message: "x", room: "dev", seq, at: 1 });
    off();
    newest().tell({ type: "message", clientId: "bob", Message: "x", room: "dev", seq: 3, at: 1 });
    await settle();
    assert.deepEqual(heard, [1, 2]);
    assert.equal(thrown.length, 3);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
});

test("what waits to be sent is bounded, and is told when it is given up", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  const outcomes = Array.from({ length: 1_001 }, () => room.send("x").catch(({ code }) => code));
  assert.equal(await outcomes[1_000], "too_many_unsent");
  made.close();
  assert.deepEqual([...new Set(await Promise.all(outcomes.slice(0, 1_000)))], ["closed"]);
});

test("one room that is refused does not keep the client out of the others", async () => {
  fetch.mock.mockImplementation(() => Promise.resolve(new Response(JSON.stringify({ message: "not this room" }), { status: 403 })));
  const made = connect({ url: "ws://script/ws", WebSocket: Socket });
  clients.push(made);
  for (const name of ["closed", "no room", "dev"]) made.room(name);
  await settle();
  assert.equal(newest().url, "ws://script/ws/closed");
  newest().break();
  await settle();
  await pass(500);
  assert.equal(newest().url, "ws://script/ws/dev");
  newest().break();
  await settle();
  assert.equal(made.status.why, "forbidden");
});

test("a request whose connection breaks is answered by the next one, and ids of others answer nothing", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  newest().open();
  await settle();
  answers.members = () => null;
  const asked = room.members();
  const { id } = newest().sent.at(-1);
  for (const type of ["message", "edited", "deleted", "reaction"]) {
    newest().tell({ type, id, clientId: "eve", Message: "x", room: "dev", seq: room.position.seq + 1, at: 1 });
  }
  newest().break();
  answers.members = () => ({ type: "members", room: "dev", count: 1, clientIds: ["alice"], truncated: false });
  await pass(500);
  newest().open();
  assert.deepEqual((await asked).clientIds, ["alice"]);

  answers.members = () => null;
  const given = room.members().catch(({ code }) => code);
  made.close();
  assert.equal(await given, "closed");
});

test("what is asked for before the connection is there is answered then, and refused when there will be none", async () => {
  answers.rooms = () => ({ type: "rooms", rooms: [{ room: "dev", count: 1, seq: 0 }], truncated: false });
  answers.history = () => ({ type: "history", room: "dev", messages: [], hasMore: false });
  const made = connect({ url: "ws://script/ws", WebSocket: Socket });
  clients.push(made);
  const asked = made.rooms();
  const read = made.room("dev").history().next();
  await settle();
  newest().open();
  assert.equal((await asked).rooms.length, 1);
  assert.deepEqual(await read, { value: undefined, done: true });

  answers.join = () => null;
  const late = made.room("ops").history().next();
  await settle();
  made.close();
  await assert.rejects(late, { code: "closed" });
  await assert.rejects(made.room("more").history().next(), { code: "closed" });
  await assert.rejects(made.rooms(), { code: "closed" });
});

test("a client that is to wait for its start does not connect before", async () => {
  const made = await client({ start: false });
  assert.deepEqual([made.state, sockets.length], ["idle", 0]);
  made.start({ name: "alice" });
  newest().open();
  assert.deepEqual([made.state, made.name], ["open", "alice"]);
});

test("a client that is closed in the task that made it never connects", async () => {
  connect({ url: "ws://script/ws", WebSocket: Socket }).close();
  await settle();
  assert.equal(sockets.length, 0);
});

test("a message that the server could not answer by its id is refused here, and those behind it are sent", async () => {
  const made = await client();
  const room = made.room("dev");
  newest().open({ ...WELCOME, room: "dev" });
  await settle();
  for (const [text, options, code] of [
    ["x".repeat(131_000), {}, "message_too_large"],
    ["\u{e4}".repeat(8_193), {}, "message_too_large"],
    ["half of an emoji: \ud83d", {}, "bad_json"],
    ["hello", { id: "" }, "bad_json"],
    ["hello", { id: 5 }, "bad_json"],
    ["hello", { id: "i".repeat(65) }, "bad_json"],
  ]) await assert.rejects(room.send(text, options), { code });
  assert.equal((await room.send("\u{feff}a text with a mark")).seq, 1);
  assert.equal((await room.send("x".repeat(16_384))).seq, 1);
  assert.equal((await room.send("\u{1f600}", { id: "\u{1f600}".repeat(64) })).seq, 1);
});
