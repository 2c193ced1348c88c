// Talks to a server with compression, using the package `ws`. Arguments: the folder of the package, and the server's
// URL.
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const [folder, url] = process.argv.slice(2);
const { WebSocket } = createRequire(`${folder}/`)("ws");
const LONG = "the quick brown fox ".repeat(400);

/** Says a text in each form that `ws` has, and reads it back. */
async function talk(name, perMessageDeflate, isCompressed) {
  const socket = new WebSocket(`${url}?clientId=${name}`, { perMessageDeflate });
  const frames = [];
  let wake = () => {};
  socket.on("message", (data) => {
    frames.push(JSON.parse(data.toString()));
    wake();
  });
  const next = async () => {
    while (!frames.length) await new Promise((resolve) => (wake = resolve));
    return frames.shift();
  };
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  assert.equal(socket.extensions.includes("permessage-deflate"), isCompressed, `${name}: ${socket.extensions}`);
  assert.equal((await next()).type, "welcome");
  for (const text of ["short", "grüße 👋 ".repeat(50), LONG]) {
    socket.send(JSON.stringify({ Message: text }));
    assert.equal((await next()).Message, text, name);
    const whole = JSON.stringify({ Message: text });
    socket.send(whole.slice(0, 9), { fin: false });
    socket.ping();
    socket.send(whole.slice(9), { fin: true });
    assert.equal((await next()).Message, text, `${name}, in parts`);
    socket.send(whole, { compress: false });
    assert.equal((await next()).Message, text, `${name}, plain`);
  }
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.close(1000);
  assert.equal(await closed, 1000, name);
}

await talk("defaults", { threshold: 0 }, true);
await talk("no-context", { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true }, true);
await talk("client-window", { threshold: 0, clientMaxWindowBits: 9 }, true);
await talk("server-window", { threshold: 0, serverMaxWindowBits: 9 }, false);
await talk("without", false, false);
console.log("ok");
