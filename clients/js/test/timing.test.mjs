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

test("what a room hides from a newcomer is no loss, and the rest follows", async () => {
  const asked = [];
  answers.join = ({ room, after }) => {
    asked.push(after);
    return { type: "joined", room, seq: 9, epoch: "e", count: 1, visibleAfter: 8, recovered: after && after >= 8 };
  };
  const made = await client();
  const told = [];
  const room = made.room("dev", { getState: () => ({ seq: 3, epoch: "e" }) });
  room.on("joined", ({ recovered, visibleAfter }) => told.push([recovered, visibleAfter]));
  newest().open();
  await settle();
  assert.deepEqual([asked, told], [[3, 8], [[true, 8]]]);
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
    [1009, "refused"], [4003, "replaced"], [4004, "removed"], [4005, "banned"]]) {
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
  assert.equal(made.status.reason, "the server is silent");
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

test("a state that the server refuses to follow is loaded again, with growing pauses, and an event if it is the same", async () => {
  const made = await client({ name: "alice" });
  const errors = [];
  made.on("error", ({ code }) => errors.push(code));
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
  assert.deepEqual(errors, ["old_state", "old_state", "old_state"]);
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

test("a listener that throws disturbs neither the connection nor other listeners nor the program", async () => {
  const thrown = mock.method(console, "error", () => undefined);
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
  assert.deepEqual(thrown.mock.calls.map(({ arguments: [error] }) => error.message), Array(3).fill("a bug of the program"));
});

/** A client in the room `dev`. */
async function inRoom(options = { name: "alice" }) {
  const made = await client(options);
  const room = made.room("dev");
  newest().open();
  await settle();
  assert.ok(room.isJoined);
  return { made, room };
}
const outcome = (promise) => promise.then((value) => value ?? "done", ({ code }) => code);

test("every call settles, whatever ends its room or its client", async () => {
  const silent = () => null;
  const refuse = (code) => () => ({ type: "error", code, message: "no" });
  for (const [what, code, end, isLater] of [
    ["the room is refused", "forbidden", async () => {
      answers.join = refuse("forbidden");
      newest().break();
      await pass(500);
      newest().open();
    }],
    ["an operator ends the membership", "left", () => newest().tell({ type: "left", room: "dev" })],
    ["the program leaves", "left", ({ room }) => room.leave()],
    ["the program closes the client", "closed", ({ made }) => made.close()],
    ["the name is taken over", "closed", () => newest().break(4003)],
    ["the name is refused", "closed", async () => {
      newest().break();
      await pass(500);
      answers.hello = refuse("name_taken");
      newest().open();
    }],
  ]) {
    const { made, room } = await inRoom();
    answers.message = answers.history = answers.join = silent;
    const before = [room.send("x"), room.send("y")].map(outcome);
    await end({ made, room });
    await settle();
    const after = [room.send("z"), room.history().next()].map(outcome);
    assert.deepEqual(await Promise.all([...before, ...after]), Array(4).fill(code), what);
    if (code === "closed") {
      const calls = [made.privateWith("bob").send("x"), made.privateWith("bob").history().next(), made.rooms(), room.members()];
      assert.deepEqual(await Promise.all(calls.map(outcome)), Array(4).fill("closed"), what);
    }
    made.close();
    answers.join = ({ room: name, after: seq = 0 }) => ({ type: "joined", room: name, seq, epoch: "e", count: 1, recovered: true });
    answers.message = ({ room: name }) => ({ type: "ack", room: name, seq: 1, at: 1 });
    answers.hello = ({ clientId }) => ({ ...WELCOME, clientId });
    delete answers.history;
  }
});

test("a room that was left can be joined again, unless another object is in it", async () => {
  const { made, room } = await inRoom();
  const heard = [];
  room.on("message", ({ seq }) => heard.push(seq));
  room.leave();
  room.join();
  newest().tell({ type: "message", clientId: "bob", Message: "x", room: "dev", seq: 1, at: 1 });
  assert.deepEqual(heard, [1]);
  assert.equal((await room.send("x")).at, 1);
  room.leave();
  made.room("dev");
  assert.throws(() => room.join(), TypeError);
});

test("the history begins where the events begin, also when messages follow in the same task", async () => {
  answers.join = () => ({ type: "joined", room: "dev", seq: 7, epoch: "e", count: 1 });
  answers.history = () => ({ type: "history", room: "dev", messages: [], hasMore: false });
  const asked = () => newest().sent.filter(({ type }) => type === "history").map(({ before }) => before);
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  const read = room.history().next();
  newest().open();
  for (const seq of [8, 9]) newest().tell({ type: "message", clientId: "bob", Message: "x", room: "dev", seq, at: 1 });
  await read;
  assert.deepEqual(asked(), [8]);
  const later = room.history();
  newest().tell({ type: "message", clientId: "bob", Message: "x", room: "dev", seq: 10, at: 1 });
  await later.next();
  assert.deepEqual(asked(), [8, 10]);
});

test("a history that is asked for while the room is not joined begins where it is joined next", async () => {
  answers.history = () => ({ type: "history", room: "dev", messages: [], hasMore: false });
  const { room } = await inRoom();
  const early = room.history();
  newest().break();
  const late = room.history();
  await pass(500);
  answers.join = () => ({ type: "joined", room: "dev", seq: 12, epoch: "f", count: 1, recovered: false });
  newest().open();
  assert.equal((await late.next()).done, true);
  assert.deepEqual(newest().sent.filter(({ type }) => type === "history").map(({ before }) => before), [13]);
  // Its numbers are those of the epoch in which it was asked for.
  await assert.rejects(early.next(), { code: "other_epoch" });
});

test("questions about rooms come after their joins", async () => {
  const { made, room } = await inRoom();
  newest().break();
  const asked = [room.members(), made.request({ type: "message", room: "dev", Message: "x" }), made.room("ops").members()];
  await pass(500);
  answers.members = ({ room: name }) => ({ type: "members", room: name, count: 1, clientIds: [], truncated: false });
  newest().open();
  await Promise.all(asked);
  const types = newest().sent.map(({ type, room: name }) => `${type} ${name}`);
  for (const [join, question] of [["join dev", "members dev"], ["join dev", "message dev"], ["join ops", "members ops"]]) {
    assert.ok(types.indexOf(join) < types.indexOf(question), types.join());
  }
  room.leave();
  await assert.rejects(room.members(), { code: "left" });
});

test("a history from a given place waits until the room is joined, and fails when the numbers begin again", async () => {
  const page = (seqs, hasMore) => ({ type: "history", room: "dev", messages: seqs.map((seq) => ({ seq })), hasMore });
  answers.history = ({ after, before }) => (after === undefined ? page([before - 2, before - 1], true) : page([after + 1, after + 2], true));
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  const [forwards, backwards] = [room.history({ after: 0 }), room.history({ before: 9 })];
  const first = [forwards.next(), backwards.next()];
  newest().open();
  const seqs = async (pages) => (await Promise.all(pages)).map(({ value }) => value.seq);
  assert.deepEqual(await seqs(first), [1, 8]);
  assert.deepEqual(await seqs([forwards.next(), backwards.next()]), [2, 7]);
  // The connection breaks while a page is on its way. The room is the same one: the page is asked for again.
  answers.history = () => null;
  let next = forwards.next();
  await settle();
  newest().break();
  await pass(500);
  answers.history = ({ after }) => page([after + 1, after + 2], true);
  newest().open();
  assert.deepEqual(await seqs([next]), [3]);
  assert.deepEqual(await seqs([forwards.next()]), [4]);
  // The server has begun anew: what it says of these numbers belongs to other messages.
  answers.history = () => null;
  next = outcome(forwards.next());
  await settle();
  newest().break();
  await pass(1_000);
  answers.history = () => page([], false);
  answers.join = () => ({ type: "joined", room: "dev", seq: 0, epoch: "f", count: 1, recovered: false });
  newest().open();
  assert.equal(await next, "other_epoch");
});

test("a message whose sender nobody could recognize is not sent again", async () => {
  const inbox = { seq: 0, epoch: "i" };
  for (const [what, options, welcome, again] of [
    ["a guest, whose name is new with each connection", {}, (n) => ({ ...WELCOME, clientId: `guest-${n}` }), false],
    ["a client of its own name", { name: "alice" }, () => WELCOME, true],
    ["a client with an inbox", {}, () => ({ ...WELCOME, clientId: "alice", inbox }), true],
  ]) {
    const made = await client(options);
    newest().open(welcome(1));
    await settle();
    answers.message = () => null;
    const calls = [made.privateWith("bob").send("x"), made.request({ type: "message", to: "bob", Message: "y" })].map(outcome);
    const sent = () => newest().sent.filter(({ type }) => type === "message").map(({ id }) => id);
    const ids = sent();
    assert.equal(new Set(ids).size, 2);
    newest().break();
    await pass(500);
    answers.message = ({ to }) => ({ type: "ack", to, at: 1 });
    newest().open(welcome(2));
    const outcomes = await Promise.all(calls);
    if (again) assert.deepEqual(sent().toSorted(), ids.toSorted(), what);
    else assert.deepEqual([sent(), outcomes], [[], ["uncertain", "uncertain"]], what);
    made.close();
  }
});

test("an id that waits for its answer is not used for another message", async () => {
  const { made, room } = await inRoom();
  const other = made.room("ops");
  await settle();
  answers.message = () => null;
  const first = room.send("x", { id: "one" });
  assert.equal(await outcome(other.send("y", { id: "one" })), "id_in_use");
  assert.equal(await outcome(made.request({ type: "members", room: "dev", id: "one" })), "id_in_use");
  newest().tell({ type: "ack", id: "one", room: "dev", seq: 5, at: 2 });
  assert.deepEqual(await first, { seq: 5, at: 2 });
});

test("attempts that reached nobody are no refusals", async () => {
  const made = await client({ name: "alice" });
  made.room("a");
  made.room("b");
  newest().open();
  await settle();
  newest().break();
  for (let n = 0; n < 6; n += 1) {
    await pass(20_000);
    newest().break();
  }
  fetch.mock.mockImplementation(() => Promise.resolve(new Response(JSON.stringify({ message: "not this room" }), { status: 403 })));
  await pass(20_000);
  newest().break();
  await settle();
  assert.equal(made.state, "waiting");
  await pass(20_000);
  assert.equal(newest().url, "ws://script/ws/b");
  newest().open();
  assert.equal(made.state, "open");
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

test("a banned client does not come back, and knows the operator's reason and the end", async () => {
  for (const end of [{}, { until: 1_750_000_000_000 }]) {
    const ban = { code: "banned", message: "you are banned on this server: spam", ...end };
    const stopped = { state: "stopped", why: "banned", reason: ban.message, ...end };
    const made = await client();
    newest().open();
    newest().tell({ type: "error", code: "banned", message: "you are banned in the room dev", room: "dev", until: 1 });
    newest().tell({ type: "error", ...ban });
    newest().break(4005, "banned by an operator");
    assert.deepEqual(made.status, stopped);
    fetch.mock.mockImplementation(() => Promise.resolve(new Response(JSON.stringify(ban), { status: 403 })));
    made.start();
    newest().break();
    await settle();
    assert.deepEqual(made.status, stopped);
  }
});

test("a client that operators take out of a room leaves it once, with the reason", async () => {
  for (const code of ["banned", "not_invited"]) {
    const made = await client({ name: "alice" });
    const room = made.room("dev");
    const told = [];
    room.on("left", (reason) => told.push(reason));
    newest().open();
    await settle();
    newest().tell({ type: "error", code, message: "because", room: "dev" });
    newest().tell({ type: "left", room: "dev" });
    assert.deepEqual(told, [{ code, message: "because" }]);
    assert.equal(made.state, "open");
  }
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
    ["hello", { more: "\udc00" }, "bad_json"],
    ["hello", { more: 1n }, "bad_json"],
    ["hello", { id: "" }, "bad_json"],
    ["hello", { id: 5 }, "bad_json"],
    ["hello", { id: "i".repeat(65) }, "bad_json"],
  ]) await assert.rejects(room.send(text, options), { code });
  for (const frame of [
    { type: "message", room: "dev", Message: "x", id: "i".repeat(65) },
    { type: "message", room: "dev", Message: "\ud83d" },
    { type: "members", room: "\ud83d" },
    { type: "members", room: "dev", id: 5 },
  ]) await assert.rejects(made.request(frame), { code: "bad_json" });
  await assert.rejects(made.request({ type: "message", room: "dev", Message: "x".repeat(131_000) }), { code: "message_too_large" });
  await assert.rejects(made.privateWith("\ud83d").send("x"), { code: "bad_json" });
  const bad = made.room("\ud83d");
  await assert.rejects(bad.send("x"), { code: "bad_json" });
  await assert.rejects(bad.history().next(), { code: "bad_json" });
  assert.equal((await room.send("a backslash is none: \\ud83d")).seq, 1);
  assert.equal((await room.send("\u{feff}a text with a mark")).seq, 1);
  assert.equal((await room.send("x".repeat(16_384))).seq, 1);
  assert.equal((await room.send("\u{1f600}", { id: "\u{1f600}".repeat(64) })).seq, 1);
});

test("typing is sent once in three seconds for each destination, and only where somebody is told", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  room.on("presence", () => undefined);
  const bob = made.privateWith("bob");
  room.typing();
  newest().open();
  await settle();
  const sent = () => newest().sent.filter(({ type }) => type === "typing").map(({ room: place, to }) => place ?? to);
  assert.deepEqual(sent(), [], "nothing waits for the connection");
  for (let n = 0; n < 3; n += 1) for (const place of [room, bob]) place.typing();
  assert.deepEqual(sent(), ["dev", "bob"]);
  await pass(2_900);
  room.typing();
  await pass(100);
  room.typing();
  assert.deepEqual(sent(), ["dev", "bob", "dev"]);
  for (const [count, isSent] of [[201, false], [200, true]]) {
    const before = sent().length;
    newest().tell({ type: "presence", room: "dev", joined: [], left: [], count });
    await pass(3_000);
    room.typing();
    assert.equal(sent().length > before, isSent, `${count} members`);
  }

  // After a refusal the client is silent for a minute: 20 refusals in a row would end the connection.
  const errors = [];
  made.on("error", ({ code }) => errors.push(code));
  for (const code of ["no_such_client", "rate_limited"]) {
    answers.typing = () => ({ type: "error", code, message: "no", retryAfterMs: 10 });
    const before = sent().length;
    bob.typing();
    answers.typing = () => null;
    await pass(59_900);
    bob.typing();
    assert.equal(sent().length, before + 1, code);
    await pass(100);
  }
  assert.deepEqual(errors, []);

  bob.typing();
  newest().break();
  await pass(3_000);
  for (const place of [room, bob]) place.typing();
  newest().open();
  await settle();
  assert.deepEqual(sent(), []);
  bob.typing();
  assert.deepEqual(sent(), ["bob"], "a lost connection is no refusal");
});

test("who types is told until four seconds have passed, or the message is there", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  const bob = made.privateWith("bob");
  const told = [];
  room.on("typing", ({ clientIds, more }) => told.push([clientIds.join(), more]));
  bob.on("typing", ({ clientIds, more }) => told.push(["private", clientIds.join(), more]));
  newest().open();
  await settle();
  const types = (clientIds, more) => newest().tell({ type: "typing", room: "dev", clientIds, more });
  let seq = 0;
  const writes = (clientId) => newest().tell({ type: "message", clientId, Message: "x", room: "dev", seq: (seq += 1), at: 1 });
  const check = (...wanted) => assert.deepEqual(told.splice(0), wanted);

  types(["bob"]);
  types(["bob", "alice"]);
  check(["bob", false]);
  await pass(2_000);
  types(["carol", "dora"], true);
  check(["bob,carol,dora", true]);
  await pass(2_000);
  check(["carol,dora", true]);
  writes("carol");
  check(["dora", true]);
  await pass(2_000);
  check(["", false]);

  // The server tells of typing up to a second late, then after the message.
  types(["bob"]);
  writes("bob");
  types(["bob"]);
  check(["bob", false], ["", false]);
  await pass(1_600);
  types(["bob"]);
  check(["bob", false]);
  newest().tell({ type: "typing", from: "bob", clientIds: ["bob"] });
  newest().tell({ type: "typing", from: "eve", clientIds: ["eve"] });
  check(["private", "bob", false]);
  newest().tell({ type: "message", clientId: "bob", to: "alice", Message: "x", at: 1 });
  check(["private", "", false]);
  newest().break();
  check(["", false]);
});

test("a message of the history has the changes whose events came before it was read", async () => {
  const made = await client({ name: "alice" });
  const room = made.room("dev");
  newest().open();
  await settle();
  const edits = (seq, of, text) => newest().tell({ type: "edited", room: "dev", seq, of, clientId: "eve", Message: text, at: seq });
  for (let seq = 1; seq <= 3; seq += 1) newest().tell({ type: "message", room: "dev", seq, clientId: "eve", Message: `${seq}`, at: seq });
  let answered;
  answers.history = ({ id }) => {
    answered = id;
    return null;
  };
  const reading = room.history();
  const first = reading.next();
  await settle();
  edits(4, 3, "3, while the page is on its way");
  edits(5, 1, "1, before the page was read by the server");
  newest().tell({ type: "history", id: answered, room: "dev", hasMore: false, messages: [1, 2, 3].map((seq) => (
    { type: "message", room: "dev", seq, clientId: "eve", Message: `${seq}`, at: seq, ...(seq === 1 && { Message: "1, newest", changedSeq: 6 }) })) });
  assert.equal((await first).value.Message, "3, while the page is on its way");
  edits(6, 1, "1, newest");
  edits(7, 2, "2, while the page is read");
  assert.equal((await reading.next()).value.Message, "2, while the page is read");
  assert.equal((await reading.next()).value.Message, "1, newest");
  assert.deepEqual(await reading.next(), { value: undefined, done: true });
});
