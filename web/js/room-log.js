// @ts-check
/**
 * The messages of one room as this page has them. Pure logic: no clock, no network, no document.
 *
 * Invariants:
 * - The *run* contains every message of the current epoch from `oldest` to `newest`, each once, in order.
 * - A message beyond a gap waits in `ahead` and is not shown until the gap is filled.
 * - The messages of an earlier run stay above the run as its *past*, separated by a notice, but only while no message
 *   is missing between the two. Otherwise they are dropped.
 * - `origin` changes with items that are added or dropped at the front, so that `origin + index` always refers to the
 *   same item. Where that is not possible, `generation` rises, and the views start over.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {{kind: "message", frame: MessageFrame} | {kind: "notice", reason: "restart" | "gap"}} Item
 */

/** Most messages per room. The oldest are dropped first; the server can deliver them again. */
export const MESSAGES_MAX = 20_000;

/** The number of messages that are dropped at a time, so that not every message moves the whole list. */
const TRIM = 1_000;

/** Most messages that wait behind a gap. Beyond it, the gap is filled from the history instead. */
const AHEAD_MAX = 2_000;

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
    /** The `at` of the newest message, if this page has it. @type {number | null} */
    this.newestAt = null;
    /** Whether the server may have messages before `oldest`. */
    this.hasMore = true;
    /** @type {Item[]} */
    this.items = [];
    this.origin = 0;
    this.generation = 0;
    /** The number of `items` that are the past, including its notice. */
    this.pastLength = 0;
    /** @type {Map<number, MessageFrame>} */
    this.ahead = new Map();
    /** @type {Set<string>} */
    this.pastSendings = new Set();
  }

  /** The fields with which `join` resumes; `null` for a first visit. */
  get resumeFrom() {
    if (this.epoch === null) return null;
    const proof = this.newestAt === null ? {} : { afterAt: this.newestAt };
    return { after: this.newest, epoch: this.epoch, ...proof };
  }

  /** Whether something is missing that the server has delivered. */
  get hasGap() {
    return this.ahead.size > 0;
  }

  /**
   * Enters the room with the position in `welcome` or `joined`.
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

  /**
   * Ends the run, because the server cannot deliver the messages between it and the newest one.
   * @param {string} epoch
   * @param {number} seq the newest message there is
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
    this.newestAt = null;
    this.hasMore = seq > 0;
    this.ahead.clear();
  }

  /**
   * Adds a delivered message, in whatever order messages arrive.
   * @param {MessageFrame} frame
   * @returns {MessageFrame[]} the messages that are now shown, in order; empty for a duplicate or a message behind a
   * gap
   */
  take(frame) {
    const seq = frame.seq ?? 0;
    if (seq <= this.newest) return [];
    if (seq > this.newest + 1) {
      if (this.ahead.size < AHEAD_MAX) this.ahead.set(seq, frame);
      return [];
    }
    /** @type {MessageFrame[]} */
    const shown = [];
    /** @type {MessageFrame | undefined} */
    let next = frame;
    while (next) {
      this.newest += 1;
      this.newestAt = next.at;
      this.ahead.delete(this.newest);
      if (!this.#wasShown(next)) {
        this.items.push({ kind: "message", frame: next });
        shown.push(next);
      }
      next = this.ahead.get(this.newest + 1);
    }
    this.#trim();
    return shown;
  }

  /**
   * Adds a page of history that ends before `oldest`, or overlaps the run.
   * @param {MessageFrame[]} messages oldest first
   * @param {boolean} hasMore whether there are still older ones
   * @returns {MessageFrame[]} the messages added at the end of the run, as `take` returns them
   */
  takePage(messages, hasMore) {
    /** @type {Item[]} */
    const older = [];
    let oldest = this.oldest;
    for (let index = messages.length - 1; index >= 0; index -= 1) {
      const frame = messages[index];
      if (frame === undefined || frame.seq !== oldest - 1) continue;
      oldest -= 1;
      if (frame.seq === this.newest) this.newestAt = frame.at;
      if (!this.#wasShown(frame)) older.push({ kind: "message", frame });
    }
    const adopted = this.oldest - oldest;
    this.oldest = oldest;
    // A page without new messages would otherwise be requested again for ever.
    this.hasMore = adopted > 0 && hasMore && oldest > 1;
    older.reverse();
    if (this.pastLength === 0) {
      this.items.unshift(...older);
      this.origin -= older.length;
    } else {
      if (this.hasMore) this.#dropPast();
      this.items.splice(this.pastLength, 0, ...older);
      this.generation += 1;
    }
    return messages.flatMap((frame) => this.take(frame));
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
