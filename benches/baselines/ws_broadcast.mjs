// What Starling is compared with: the broadcast that the page of Node's `ws` shows. Every text that comes goes to
// everybody as it is; no rules, no rooms, no names, no limits.
import { createRequire } from "node:module";

// Installed by scripts/bench, in the working directory.
const { WebSocket, WebSocketServer } = createRequire(`${process.cwd()}/`)("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 });
server.on("connection", (socket) => {
  socket.on("error", () => socket.terminate());
  socket.on("message", (data) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) {
        client.send(data, { binary: false });
      }
    }
  });
});
server.on("listening", () => console.error(`listening on 127.0.0.1:${server.address().port}: Node's ws`));
process.on("SIGTERM", () => process.exit(0));
