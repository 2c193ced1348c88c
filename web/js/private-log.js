// @ts-check
/**
 * The messages of one private conversation, in order. A server that authenticates names stores and numbers them, and
 * has earlier ones. With other servers, this log has all messages that exist. Pure logic.
 *
 * It has the properties that the views use of a `RoomLog`: `items`, `origin`, `generation`, `pastLength`, `hasMore`.
 *
 * @typedef {import("./room-log.js").Item} Item
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {import("./protocol.js").MessageChange} MessageChange
 */

import { EarlyChanges, alter } from "./changes.js";

/** Most messages per conversation; the oldest are dropped first. */
const MESSAGES_MAX = 5_000;

/** @param {MessageFrame} frame */
const sendingOf = (frame) => `${frame.clientId} ${frame.id}`;

export class PrivateLog {
  constructor() {
    /** @type {Item[]} */
    this.items = [];
    this.origin = 0;
    this.generation = 0;
    this.pastLength = 0;
    /** Whether the server may have earlier messages. */
    this.hasMore = false;
    /** @type {Set<string>} */
    this.sendings = new Set();
    /** The seqs of the newest and the oldest message, if the server numbers them. */
    this.newest = 0;
    this.oldest = Infinity;
    this.early = new EarlyChanges();
  }

  /** Forgets everything, because the server's sequence numbers start again. */
  begin() {
    Object.assign(this, new PrivateLog(), { generation: this.generation + 1 });
  }

  /**
   * @param {MessageFrame} frame
   * @returns {MessageFrame[]} the messages that are now shown; empty for a duplicate
   */
  take(frame) {
    if (!this.#isNew(frame)) return [];
    if (frame.seq !== undefined) {
      if (frame.seq <= this.newest) return [];
      this.newest = frame.seq;
      this.oldest = Math.min(this.oldest, frame.seq);
    }
    this.items.push({ kind: "message", frame });
    if (this.items.length > MESSAGES_MAX) {
      const [dropped] = this.items.splice(0, 1);
      this.origin += 1;
      if (dropped?.kind === "message") this.sendings.delete(sendingOf(dropped.frame));
    }
    return [frame];
  }

  /**
   * The index in `items` of a message; `null` if it is not there.
   * @param {number} seq
   */
  indexOf(seq) {
    const found = this.items.findLastIndex((item) => item.kind === "message" && item.frame.seq === seq);
    return found < 0 ? null : found;
  }

  /** Applies a change of a message. @param {MessageChange} change */
  change(change) {
    const index = this.indexOf(change.of);
    const item = index === null ? undefined : this.items[index];
    if (item?.kind === "message") alter(item.frame, change);
    else this.early.note(change);
  }

  /**
   * Adds earlier messages.
   * @param {MessageFrame[]} messages oldest first
   * @param {boolean} hasMore whether there are still older ones
   */
  takePage(messages, hasMore) {
    const earlier = messages.filter((frame) => (frame.seq ?? 0) < this.oldest && this.#isNew(frame));
    this.early.applyTo(earlier);
    this.items.unshift(...earlier.map((frame) => /** @type {Item} */ ({ kind: "message", frame })));
    this.origin -= earlier.length;
    this.oldest = Math.min(this.oldest, ...messages.map(({ seq }) => seq ?? Infinity));
    this.newest = Math.max(this.newest, ...messages.map(({ seq }) => seq ?? 0));
    this.hasMore = hasMore;
  }

  /** @param {MessageFrame} frame */
  #isNew(frame) {
    if (frame.id === undefined) return true;
    const sending = sendingOf(frame);
    if (this.sendings.has(sending)) return false;
    this.sendings.add(sending);
    return true;
  }
}
