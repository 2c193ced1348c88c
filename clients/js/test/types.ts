// What a program in TypeScript may write, and what it may not. The compiler checks it; nothing runs it.
import { ChatError, applyChange, connect, type Client, type Position, type RoomMessage } from "../starling.js";

const client: Client = connect({ url: ["wss://a.example.org/ws", new URL("wss://b.example.org/ws")], getToken: async () => "token" });
client.on("state", (status) => {
  if (status.state === "waiting") new Date(status.until);
  if (status.state === "stopped" && status.why === "replaced") client.start();
  // @ts-expect-error: only a client that waits knows until when
  status.until;
});
const room = client.room("dev", { getState: (): Position => ({ seq: 1, epoch: "e" }) });
const off: () => void = room.on("message", ({ seq, clientId, Message }) => `${seq.toFixed()} ${clientId} ${Message}`);
room.on("joined", ({ recovered, settings }) => recovered === undefined && settings.writers === "operators");
room.on("settings", ({ settings: { topic, retention } }) => `${topic ?? ""} ${retention?.seconds ?? 0}`);
room.on("presence", ({ joined, left }) => [...joined, ...left]);
room.on("change", (change) => {
  if (change.type === "reaction") change.emoji.at(0);
  // @ts-expect-error: only a reaction has an emoji
  change.emoji;
});
const changed = (message: RoomMessage): string[] => {
  room.on("change", (change) => message = applyChange(message, change));
  return message.reactions?.flatMap(({ clientIds }) => clientIds) ?? [message.Message?.trim() ?? ""];
};
room.on("message", changed);
room.on("typing", ({ clientIds, more }) => more || clientIds.length > 0);
room.typing();
room.on("read", ({ clientId, seq }) => clientId === client.name && seq > 0);
client.on("read", ({ seq }) => seq.toFixed());
// @ts-expect-error: there is no such event
room.on("massage", () => undefined);
client.privateWith("bob").on("message", ({ seq }) => seq?.toFixed());
client.privateWith("bob").on("typing", ({ clientIds }) => clientIds.join());
client.privateWith("bob").typing();
client.on("private", (message, other) => other === message.clientId);

export async function use(): Promise<number> {
  off();
  for await (const { seq } of room.history({ limit: 20 })) if (seq < 5) break;
  const { at } = await room.send("hello", { replyTo: 3 });
  await room.edit(3, "mended");
  await client.privateWith("bob").react(3, "👍", { remove: true, id: "r" });
  await room.delete(3);
  const { seq: upto } = await room.read(3);
  await client.privateWith("bob").read(upto);
  // @ts-expect-error: a text is needed
  await room.send();
  try {
    await client.rename("bob");
  } catch (error) {
    if (error instanceof ChatError && error.code === "name_taken") client.close();
  }
  return at;
}
