// @ts-check
/**
 * The messages that others reply to: those of the log, and those that are older than it, which are fetched one by one.
 *
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {{frame: MessageFrame | null | undefined, failures: number, isDue: boolean}} Fetched `frame`: `undefined` is on its
 *   way, `null` not there. `failures`: of the fetch so far; `isDue`: it has failed, and is made again when the message is wanted
 */

/** Most fetched messages; the oldest are dropped first. */
const FETCHED_MAX = 500;

/** The shortest and the longest pause before a failed fetch is made again, in milliseconds. */
const PAUSE_MS = 2_000;
const PAUSE_MAX_MS = 300_000;

/** Most characters of a quote. */
const EXCERPT_MAX = 160;

export class Quotes {
  /**
   * @param {{ask: (conversation: Conversation, seq: number) => Promise<MessageFrame | undefined>,
   *   arrived: (conversation: Conversation, seq: number) => void, pause: (ms: number) => Promise<void>}} options
   *   `ask`: fetches the newest message up to this seq; `arrived`: the answer is there, or it is time to ask again
   */
  constructor({ ask, arrived, pause }) {
    this.ask = ask;
    this.arrived = arrived;
    this.pause = pause;
    /** @type {Map<string, Fetched>} */
    this.fetched = new Map();
  }

  /**
   * The message with this seq, if it is here. `null`: it is not there, or not here yet.
   * @param {Conversation} conversation
   * @param {number} seq
   */
  known(conversation, seq) {
    const { log } = conversation;
    const index = log.indexOf(seq);
    const item = index === null ? undefined : log.items[index];
    return item?.kind === "message" ? item.frame : this.fetched.get(keyOf(conversation, seq))?.frame ?? null;
  }

  /**
   * The message with this seq. `undefined`: it is on its way; `null`: it is not there.
   * @param {Conversation} conversation
   * @param {number} seq
   */
  of(conversation, seq) {
    const known = this.known(conversation, seq);
    if (known) return known;
    const key = keyOf(conversation, seq);
    const fetched = this.fetched.get(key);
    if (fetched && !fetched.isDue) return fetched.frame;
    this.#fetch(key, conversation, seq, fetched?.failures ?? 0);
    return undefined;
  }

  /** @param {string} key @param {Conversation} conversation @param {number} seq @param {number} failures */
  async #fetch(key, conversation, seq, failures) {
    /** @type {Fetched} */
    const entry = { frame: undefined, failures, isDue: false };
    this.fetched.set(key, entry);
    if (this.fetched.size > FETCHED_MAX) this.fetched.delete([...this.fetched.keys()][0] ?? "");
    try {
      const found = await this.ask(conversation, seq);
      entry.frame = found?.seq === seq ? found : null;
    } catch {
      // Only the server knows whether the message is there.
      entry.failures += 1;
      await this.pause(Math.min(PAUSE_MS * 2 ** failures, PAUSE_MAX_MS));
      entry.isDue = true;
    }
    if (this.fetched.get(key) === entry) this.arrived(conversation, seq);
  }

  /** A message was changed, so a fetched one is not true any more. @param {Conversation} conversation @param {number} seq */
  changed(conversation, seq) {
    this.fetched.delete(keyOf(conversation, seq));
  }
}

/** @param {Conversation} conversation @param {number} seq */
const keyOf = ({ key, log }, seq) => `${key} ${log.generation} ${seq}`;

/**
 * The beginning of a message in one line.
 * @param {MessageFrame} frame
 */
export function excerpt({ Message }) {
  return Message === undefined ? "a deleted message" : Message.slice(0, EXCERPT_MAX).replace(/\s+/gu, " ");
}
