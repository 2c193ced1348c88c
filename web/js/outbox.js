// @ts-check
/**
 * The person's own messages until they appear in their conversation. The client sends and resends them; this is the state
 * that the page shows. Pure logic: clock and ids are passed in.
 *
 * @typedef {{code: string, message: string}} Problem
 * @typedef {{id: string, destination: string, text: string, replyTo: number | undefined, at: number,
 *   state: "sending" | "taken" | "refused", problem: Problem | null}} Entry
 */

export class Outbox {
  /** @param {{newId: () => string, now: () => number}} surroundings */
  constructor({ newId, now }) {
    this.newId = newId;
    this.now = now;
    /** @type {Map<string, Entry>} in the order of writing */
    this.entries = new Map();
  }

  /**
   * @param {string} destination
   * @param {string} text
   * @param {number} [replyTo]
   */
  add(destination, text, replyTo) {
    /** @type {Entry} */
    const entry = { id: this.newId(), destination, text, replyTo, at: this.now(), state: "sending", problem: null };
    this.entries.set(entry.id, entry);
    return entry;
  }

  /** @param {string} destination */
  of(destination) {
    return [...this.entries.values()].filter((entry) => entry.destination === destination);
  }

  /**
   * The server has accepted the message. It stays until it appears in its conversation.
   * @param {string} id
   */
  acked(id) {
    const entry = this.entries.get(id);
    if (entry) entry.state = "taken";
  }

  /**
   * The message has appeared in its conversation.
   * @param {string | undefined} id
   */
  seen(id) {
    return id !== undefined && this.entries.delete(id);
  }

  /**
   * The message is refused for good.
   * @param {string} id
   * @param {Problem} problem
   */
  refused(id, problem) {
    const entry = this.entries.get(id);
    if (entry) Object.assign(entry, { state: "refused", problem });
  }

  /** The connection is lost. Private messages that the server does not store are lost with it. */
  connectionLost() {
    for (const [id, entry] of this.entries) {
      // An acknowledged message that never appears was forgotten by the server.
      if (entry.state === "taken" && entry.destination.startsWith("@")) this.entries.delete(id);
    }
  }

  /**
   * The server has lost its history: messages that were acknowledged but not shown are lost.
   * @param {string} destination
   */
  forgotten(destination) {
    for (const entry of this.of(destination)) {
      if (entry.state === "taken") this.refused(entry.id, { code: "forgotten", message: "the server has restarted and lost this message" });
    }
  }

  /**
   * Sends a refused message again at the author's request. If the message that it replies to is gone, it replies to none.
   * @param {string} id
   */
  retry(id) {
    const entry = this.entries.get(id);
    if (entry?.problem?.code === "no_such_message") entry.replyTo = undefined;
    if (entry) Object.assign(entry, { state: "sending", problem: null });
    return entry;
  }

  /** @param {string} id */
  discard(id) {
    this.entries.delete(id);
  }
}
