// @ts-check
/**
 * The messages of one private conversation, as they came. A server that authenticates names keeps them too, and may send
 * one twice after a lost connection; any other keeps none. Pure logic.
 *
 * It has what a view needs of a `RoomLog`: `items`, `origin`, `generation`.
 *
 * @typedef {import("./room-log.js").Item} Item
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 */

/** Most messages that are kept of one conversation; the oldest go first. */
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
    /** The newest that came with a number. */
    this.newest = 0;
  }

  /** The server counts anew. */
  begin() {
    this.newest = 0;
  }

  /**
   * @param {MessageFrame} frame
   * @returns {MessageFrame[]} what can be shown now; empty for a double
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
