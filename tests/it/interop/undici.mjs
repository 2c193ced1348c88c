// Talks to a server by the package `undici`, the WebSocket of Node.js itself. It offers compression, answers pings by
// itself, and cannot send fragments. Arguments: the folder of the package, and the server's URL.
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const [folder, url] = process.argv.slice(2);
const { WebSocket } = createRequire(`${folder}/`)("undici");

const socket = new WebSocket(`${url}?clientId=undici`, "starling.v1");
const frames = [];
let wake = () => {};
socket.addEventListener("message", ({ data }) => {
  frames.push(JSON.parse(data));
  wake();
});
const next = async () => {
  while (!frames.length) await new Promise((resolve) => (wake = resolve));
  return frames.shift();
};
await new Promise((resolve, reject) => {
  socket.addEventListener("open", resolve);
  socket.addEventListener("error", ({ error }) => reject(error));
});
assert.match(socket.extensions, /permessage-deflate/);
assert.equal(socket.protocol, "starling.v1");
assert.equal((await next()).type, "welcome");
for (const text of ["short", "grüße 👋 ".repeat(50), "the quick brown fox ".repeat(400)]) {
  socket.send(JSON.stringify({ Message: text }));
  assert.equal((await next()).Message, text);
}
const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
socket.close(1000, "goodbye");
const { code, wasClean } = await closed;
assert.deepEqual({ code, wasClean }, { code: 1000, wasClean: true });
console.log("ok");
