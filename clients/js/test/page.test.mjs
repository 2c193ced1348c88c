// The client as a page runs it: its WebSocket has no headers.
import assert from "node:assert/strict";
import { test } from "node:test";

import { JWT, Server, WebSocket, opened, token, until } from "./kit.mjs";

test("a page shows its token in hello, never in an address", async (t) => {
  const server = await Server.start(t, JWT);
  const origin = `http://127.0.0.1:${server.port}`;
  const urls = [];
  class OfPage extends WebSocket {
    constructor(url, ...more) {
      assert.equal(more.length, 0);
      urls.push(url);
      super(url, { origin: new URL(url).origin.replace("ws", "http") });
    }
  }
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
