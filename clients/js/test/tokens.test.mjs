// Tokens: of a page, whose WebSocket has no headers, and of a program.
import assert from "node:assert/strict";
import { test } from "node:test";

import { JWT, Server, WebSocket, opened, token, until } from "./kit.mjs";

/** The WebSocket of a page of this origin. */
const pageSocket = (urls) => class extends WebSocket {
  constructor(url, ...more) {
    assert.equal(more.length, 0);
    urls.push(url);
    super(url, { origin: new URL(url).origin.replace("ws", "http") });
  }
};

test("a page shows its token in hello, never in an address", async (t) => {
  const server = await Server.start(t, JWT);
  const origin = `http://127.0.0.1:${server.port}`;
  const urls = [];
  const OfPage = pageSocket(urls);
  globalThis.location = new URL(origin);
  t.after(() => delete globalThis.location);
  const tokens = ["x.y.z", token("alice", 3), token("alice")];
  const asked = [];
  const client = server.client(t, { WebSocket: OfPage, getToken: ({ refused }) => tokens[asked.push(refused) - 1] });
  const room = client.room("dev");
  const recovered = [];
  room.on("joined", (event) => recovered.push(event.recovered));
  await room.send("1");
  await until("the token has ended", () => recovered.length === 2);
  await room.send("2");
  assert.deepEqual(asked, ["", tokens[0], tokens[1]]);
  assert.ok(urls.every((url) => url === server.url.replace(/$/u, "/dev")), urls.join());

  const open = await Server.start(t);
  await opened(open.client(t, { WebSocket: OfPage, url: open.url, getToken: () => assert.fail("no token is needed") }));

  const without = server.client(t, { WebSocket: OfPage });
  await until("it stops", () => without.state === "stopped");
  assert.equal(without.status.why, "unauthorized");
});

for (const isPage of [true, false]) {
  test(`a token that does not allow one room gets ${isPage ? "a page" : "a program"} into the others`, async (t) => {
    const server = await Server.start(t, JWT);
    if (isPage) {
      globalThis.location = new URL(`http://127.0.0.1:${server.port}`);
      t.after(() => delete globalThis.location);
    }
    const client = server.client(t, {
      WebSocket: isPage ? pageSocket([]) : WebSocket,
      getToken: () => token("alice", 60, "team-*"),
    });
    const left = [];
    client.room("lobby").on("left", ({ code }) => left.push(code));
    assert.equal((await client.room("team-a").send("hello")).seq, 1);
    await until("the lobby is refused", () => left.length === 1);
    assert.deepEqual(left, ["forbidden"]);
  });
}
