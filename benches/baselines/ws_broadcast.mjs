// A baseline for comparisons: the broadcast example of Node's `ws`. Every text is sent to all connections unchanged. It
// has no rules, rooms, names or limits.
import { createRequire } from "node:module";

// scripts/bench installs it in the working directory.
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
