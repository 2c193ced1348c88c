// @ts-check
/**
 * The messages of one private conversation, in the order of arrival. A server that authenticates names stores them too,
 * and may send one twice after a lost connection; other servers do not store them. Pure logic.
 *
 * It has the properties that the views use of a `RoomLog`: `items`, `origin`, `generation`.
 *
 * @typedef {import("./room-log.js").Item} Item
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 */

/** Most messages per conversation; the oldest are dropped first. */
const MESSAGES_MAX = 5_000;

export class PrivateLog {
  constructor() {
    /** @type {Item[]} */
    this.items = [];
    this.origin = 0;
    this.generation = 0;
    this.hasMore = false;
    /** @type {Set<string>} */
    this.sendings = new Set();
    /** The newest `seq` so far. */
    this.newest = 0;
  }

  /** Called when the server's sequence numbers start again. */
  begin() {
    this.newest = 0;
  }

  /**
   * @param {MessageFrame} frame
   * @returns {MessageFrame[]} the messages that are now shown; empty for a duplicate
   */
  take(frame) {
    if (frame.id !== undefined) {
      const sending = `${frame.clientId} ${frame.id}`;
      if (this.sendings.has(sending)) return [];
      this.sendings.add(sending);
    }
    if (frame.seq !== undefined) {
      if (frame.seq <= this.newest) return [];
      this.newest = frame.seq;
    }
    this.items.push({ kind: "message", frame });
    if (this.items.length > MESSAGES_MAX) {
      const [dropped] = this.items.splice(0, 1);
      this.origin += 1;
      if (dropped?.kind === "message") this.sendings.delete(`${dropped.frame.clientId} ${dropped.frame.id}`);
    }
    return [frame];
  }
}
