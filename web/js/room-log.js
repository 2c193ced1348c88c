// @ts-check
/**
 * The messages of one room as this page has them. Pure logic: no clock, no network, no document.
 *
 * Invariants:
 * - The *run* is what belongs to the present epoch: every seq from `oldest` to `newest`, each once, in order.
 * - What arrives beyond a gap waits in `ahead` and is not shown before the gap is filled.
 * - What was seen of an earlier run stays above the run as its *past*, behind a notice, only while nothing is missing
 *   between the two; otherwise it goes.
 * - `origin` moves with what is added or dropped at the front, so that `origin + index` always names the same item.
 *   Where that is not possible `generation` rises, and views start afresh.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {{kind: "message", frame: MessageFrame} | {kind: "notice", reason: "restart" | "gap"}} Item
 */

/** Most messages that are kept of one room; the oldest go first and can be asked for again. */
export const MESSAGES_MAX = 20_000;

/** How many go at a time, so that not every message moves the whole list. */
const TRIM = 1_000;

/** Most messages that wait behind a gap; beyond it the gap is filled from the history instead. */
const AHEAD_MAX = 2_000;

/** How much of the past is searched for a message that its sender had to send again to a restarted server. */
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
    /** The `at` of the newest, where this page has that message. @type {number | null} */
    this.newestAt = null;
    /** Whether the server may have messages before `oldest`. */
    this.hasMore = true;
    /** @type {Item[]} */
    this.items = [];
    this.origin = 0;
    this.generation = 0;
    /** How many of `items` are the past, its notice among them. */
    this.pastLength = 0;
    /** @type {Map<number, MessageFrame>} */
    this.ahead = new Map();
    /** @type {Set<string>} */
    this.pastSendings = new Set();
  }

  /** What `join` says to resume; `null` for a first visit. */
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
   * The room as `welcome` or `joined` describes it.
   * @param {{epoch: string, seq: number, recovered?: boolean}} room
   * @returns {"first" | "resumed" | "broken"} `first` and `broken`: what there is has to be asked for
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
   * Ends the run: the server has no connection from it to what comes now.
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
   * Takes a message that was delivered, whenever it comes.
   * @param {MessageFrame} frame
   * @returns {MessageFrame[]} what can be shown now, in order; empty for a double and for what waits behind a gap
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
   * Takes an answer of the history that ends before `oldest`, or reaches into the run.
   * @param {MessageFrame[]} messages oldest first
   * @param {boolean} hasMore whether there are still older ones
   * @returns {MessageFrame[]} what came at the run's end, as `take` returns it
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
    // A page that brings nothing would be asked for again for ever.
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
