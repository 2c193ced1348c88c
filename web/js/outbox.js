// @ts-check
/**
 * One's own messages until they are seen in the room. Pure logic: clock and ids are passed in.
 *
 * Invariants:
 * - Messages to one destination are sent in the order of writing. Each waits until the previous one is acknowledged or
 *   refused, however often that one has to be sent again.
 * - A message always keeps its `id`, so the server detects a repetition. Once the server may have forgotten the `id`, a
 *   message without an outcome is not sent again automatically: its author decides.
 *
 * @typedef {{code: string, message: string}} Problem
 * @typedef {{id: string, destination: string, text: string, at: number, state: "waiting" | "sent" | "taken" | "refused",
 *   firstSentAt: number | null, retryAt: number, problem: Problem | null}} Entry
 */

import { ID_REMEMBERED_MS } from "./protocol.js";

/** The pause before a retry if the server names none. */
const RETRY_MS = 1_000;

/** Refusals after which a retry may succeed. */
const PASSING = new Set(["rate_limited", "unavailable", "not_a_member"]);

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
   */
  add(destination, text) {
    /** @type {Entry} */
    const entry = {
      id: this.newId(), destination, text, at: this.now(), state: "waiting", firstSentAt: null, retryAt: 0, problem: null,
    };
    this.entries.set(entry.id, entry);
    return entry;
  }

  /** @param {string} destination */
  of(destination) {
    return [...this.entries.values()].filter((entry) => entry.destination === destination);
  }

  /** The number of messages without an acknowledgement or a refusal. */
  get waiting() {
    let waiting = 0;
    for (const { state } of this.entries.values()) if (state === "waiting" || state === "sent") waiting += 1;
    return waiting;
  }

  /** Messages to send now: the first of each destination unless it waits. The caller sends them, then calls `sent`. */
  ready() {
    const now = this.now();
    /** @type {Set<string>} */
    const busy = new Set();
    /** @type {Entry[]} */
    const ready = [];
    for (const entry of this.entries.values()) {
      if (entry.state === "refused" || entry.state === "taken" || busy.has(entry.destination)) continue;
      busy.add(entry.destination);
      if (entry.state === "sent" || entry.retryAt > now) continue;
      if (entry.firstSentAt !== null && now - entry.firstSentAt > ID_REMEMBERED_MS * 0.9) {
        entry.state = "refused";
          const message = "the connection was lost for too long to know whether this message arrived";
          entry.problem = { code: "uncertain", message };
        busy.delete(entry.destination);
        continue;
      }
      ready.push(entry);
    }
    return ready;
  }

  /** The time until the next message is `ready`, in milliseconds. `null`: none becomes ready by waiting. */
  get nextInMs() {
    let next = Infinity;
    for (const { state, retryAt } of this.entries.values()) if (state === "waiting" && retryAt > 0) next = Math.min(next, retryAt);
    return next === Infinity ? null : Math.max(0, next - this.now());
  }

  /** @param {Entry} entry */
  sent(entry) {
    entry.state = "sent";
    entry.retryAt = 0;
    entry.firstSentAt ??= this.now();
  }

  /**
   * The server has accepted the message. It stays until it appears in the room.
   * @param {string} id
   */
  acked(id) {
    const entry = this.entries.get(id);
    if (entry) entry.state = "taken";
    return entry;
  }

  /**
   * The message has appeared in the room.
   * @param {string | undefined} id
   */
  seen(id) {
    return id !== undefined && this.entries.delete(id);
  }

  /**
   * The server has refused the message, temporarily or for good.
   * @param {{id?: string, code: string, message: string, retryAfterMs?: number}} refusal
   * @returns {Entry | undefined} the refused message; `undefined` if the refusal is about another frame
   */
  refused({ id, code, message, retryAfterMs }) {
    const entry = this.entries.get(id ?? "");
    if (!entry) return undefined;
    if (PASSING.has(code)) {
      entry.state = "waiting";
      entry.retryAt = this.now() + (retryAfterMs ?? RETRY_MS);
      // A refused message was not delivered, so the time for its `id` starts again.
      entry.firstSentAt = null;
    } else {
      entry.state = "refused";
      entry.problem = { code, message };
    }
    return entry;
  }

  /** The connection is lost, and with it all outstanding answers. */
  connectionLost() {
    for (const [id, entry] of this.entries) {
      if (entry.state === "sent") entry.state = "waiting";
      // Acknowledged but never shown: this happens only if the server has forgotten the message.
      if (entry.state === "taken" && entry.destination.startsWith("@")) this.entries.delete(id);
    }
  }

  /**
   * The server has lost its history: messages that were acknowledged but not shown are lost.
   * @param {string} destination
   */
  forgotten(destination) {
    for (const entry of this.entries.values()) {
      if (entry.destination !== destination || entry.state !== "taken") continue;
      entry.state = "refused";
      entry.problem = { code: "forgotten", message: "the server has restarted and lost this message" };
    }
  }

  /**
   * Sends a refused message again, because its author wants it.
   * @param {string} id
   */
  retry(id) {
    const entry = this.entries.get(id);
    if (entry) Object.assign(entry, { state: "waiting", problem: null, retryAt: 0, firstSentAt: null });
  }

  /** @param {string} id */
  discard(id) {
    this.entries.delete(id);
  }
}
