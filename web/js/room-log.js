// @ts-check
/**
 * The messages of one room as this page has them. Pure logic: no clock, no network, no document.
 *
 * Invariants:
 * - The *run* contains every message of the current epoch from `oldest` to `newest`, each once, in order, with the changes
 *   up to `newest`. A change has a seq of its own, but no item.
 * - The messages of an earlier run stay above the run as its *past*, separated by a notice, but only while no message
 *   is missing between the two. Otherwise they are dropped.
 * - `origin` changes when items are added or dropped at the front, so that `origin + index` always refers to the same
 *   item. Where that is not possible, `generation` increases, and the views start over.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {import("./protocol.js").MessageChange} MessageChange
 * @typedef {{kind: "message", frame: MessageFrame} | {kind: "notice", reason: "restart" | "gap"}} Item
 */

import { EarlyChanges, alter } from "./changes.js";

/** Most messages per room. The oldest are dropped first; the server can deliver them again. */
export const MESSAGES_MAX = 20_000;

/** The number of messages that are dropped at a time, so that not every message moves the whole list. */
const TRIM = 1_000;

/** How many messages of the past are checked for one that its sender had to send again after a server restart. */
const PAST_IDS_MAX = 500;

/** @param {MessageFrame} frame */
function sendingOf(frame) {
  return frame.id === undefined ? null : `${frame.clientId} ${frame.id}`;
}

export class RoomLog {
  /** @param {{messagesMax?: number}} [options] */
  constructor({ messagesMax = MESSAGES_MAX } = {}) {
    this.messagesMax = messagesMax;
    /** @type {string | null} */
    this.epoch = null;
    /** The run, as seqs; `oldest` is `newest + 1` while it is empty. */
    this.oldest = 1;
    this.newest = 0;
    /** Whether the server may have messages before `oldest`. */
    this.hasMore = true;
    /** @type {Item[]} */
    this.items = [];
    this.origin = 0;
    this.generation = 0;
    /** The number of `items` that are the past, including its notice. */
    this.pastLength = 0;
    /** @type {Set<string>} */
    this.pastSendings = new Set();
    this.early = new EarlyChanges();
  }

  /**
   * Enters the room with the position in `joined`.
   * @param {{epoch: string, seq: number, recovered?: boolean}} room
   * @returns {"first" | "resumed" | "broken"} after `first` and `broken` the caller requests the newest messages
   */
  enter({ epoch, seq, recovered }) {
    if (this.epoch === null) {
      this.#startRun(epoch, seq);
      return "first";
    }
    if (this.epoch === epoch && recovered !== false) return "resumed";
    this.breakOff(epoch, seq);
    return "broken";
  }

  /** The server shows messages that it has hidden before. */
  mayHaveMore() {
    this.hasMore ||= this.oldest > 1;
  }

  /**
   * The index in `items` of a message of this run; `null` if it is not there.
   * @param {number} seq
   */
  indexOf(seq) {
    if (seq < this.oldest || seq > this.newest) return null;
    const found = this.items.findLastIndex((item) => item.kind === "message" && (item.frame.seq ?? 0) <= seq);
    const item = found < this.pastLength ? undefined : this.items[found];
    return item?.kind === "message" && item.frame.seq === seq ? found : null;
  }

  /**
   * Ends the run, because the server cannot deliver the messages between it and the newest one.
   * @param {string} epoch
   * @param {number} seq the seq of the room's newest message
   */
  breakOff(epoch, seq) {
    const reason = epoch === this.epoch ? "gap" : "restart";
    const last = this.items.at(-1);
    if (last?.kind === "notice") {
      if (reason === "restart") last.reason = reason;
    } else if (last) {
      this.items.push({ kind: "notice", reason });
    }
    this.pastLength = this.items.length;
    this.pastSendings.clear();
    for (const item of this.items.slice(-PAST_IDS_MAX)) {
      const sending = item.kind === "message" ? sendingOf(item.frame) : null;
      if (sending !== null) this.pastSendings.add(sending);
    }
    this.#startRun(epoch, seq);
    this.generation += 1;
  }

  /**
   * @param {string} epoch
   * @param {number} seq
   */
  #startRun(epoch, seq) {
    this.epoch = epoch;
    this.oldest = seq + 1;
    this.newest = seq;
    this.hasMore = seq > 0;
    this.early = new EarlyChanges();
  }

  /**
   * Adds the next message of the room: the client delivers each once, in order.
   * @param {MessageFrame} frame
   * @returns {MessageFrame[]} the messages that are now shown; empty for a duplicate
   */
  take(frame) {
    const seq = frame.seq ?? 0;
    if (seq <= this.newest) return [];
    this.newest = seq;
    if (this.#wasShown(frame)) return [];
    this.items.push({ kind: "message", frame });
    this.#trim();
    return [frame];
  }

  /**
   * Applies the next change of a message of the room.
   * @param {MessageChange} change
   */
  change(change) {
    if (change.seq <= this.newest) return;
    this.newest = change.seq;
    const index = this.indexOf(change.of);
    const item = index === null ? undefined : this.items[index];
    if (item?.kind === "message") alter(item.frame, change);
    else this.early.note(change);
  }

  /**
   * Adds a page of history that ends before `oldest`, or overlaps the run.
   * @param {MessageFrame[]} messages oldest first
   * @param {boolean} hasMore whether there are still older ones
   */
  takePage(messages, hasMore) {
    const adopted = messages.filter((frame) => (frame.seq ?? 0) < this.oldest);
    this.early.applyTo(adopted);
    /** @type {Item[]} */
    const older = adopted.filter((frame) => !this.#wasShown(frame)).map((frame) => ({ kind: "message", frame }));
    this.oldest = adopted[0]?.seq ?? this.oldest;
    // Otherwise a page without new messages would be requested again and again.
    this.hasMore = adopted.length > 0 && hasMore && this.oldest > 1;
    if (this.pastLength === 0) {
      this.items.unshift(...older);
      this.origin -= older.length;
    } else {
      if (this.hasMore) this.#dropPast();
      this.items.splice(this.pastLength, 0, ...older);
      this.generation += 1;
    }
  }

  #dropPast() {
    this.items.splice(0, this.pastLength);
    this.pastLength = 0;
  }

  /** @param {MessageFrame} frame */
  #wasShown(frame) {
    const sending = this.pastSendings.size > 0 ? sendingOf(frame) : null;
    return sending !== null && this.pastSendings.has(sending);
  }

  #trim() {
    if (this.items.length < this.messagesMax + TRIM) return;
    this.items.splice(0, TRIM);
    this.origin += TRIM;
    this.pastLength = Math.max(0, this.pastLength - TRIM);
    const first = this.items[0];
    if (this.pastLength === 0 && first?.kind === "message") {
      this.oldest = first.frame.seq ?? this.oldest;
      this.hasMore = true;
    }
  }
}
