// @ts-check
/**
 * One's own messages until they are seen in the room. Pure logic: clock and ids are passed in.
 *
 * Invariants:
 * - What is written to one destination is sent in that order: the next waits until the one before is acknowledged or
 *   refused, however often that has to be sent again.
 * - A message keeps its `id` for ever, so the server recognises it. Past the time for which it does, a message whose
 *   fate is not known is not sent again by itself: its writer is asked.
 *
 * @typedef {{code: string, message: string}} Problem
 * @typedef {{id: string, destination: string, text: string, at: number, state: "waiting" | "sent" | "taken" | "refused",
 *   firstSentAt: number | null, retryAt: number, problem: Problem | null}} Entry
 */

import { ID_REMEMBERED_MS } from "./protocol.js";

/** Where a pause is not told. */
const RETRY_MS = 1_000;

/** Refusals that pass by themselves. */
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

  /** How many have not been acknowledged or refused. */
  get waiting() {
    let waiting = 0;
    for (const { state } of this.entries.values()) if (state === "waiting" || state === "sent") waiting += 1;
    return waiting;
  }

  /** What may be sent now: of each destination the first, unless it waits. Each is to be sent, and then `sent`. */
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
        entry.problem = { code: "uncertain", message: "the connection was lost for so long that this may have arrived or not" };
        busy.delete(entry.destination);
        continue;
      }
      ready.push(entry);
    }
    return ready;
  }

  /** When to look again for what is `ready`, in milliseconds from now; `null`: when something happens. */
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
   * The server has it; it stays until it is seen.
   * @param {string} id
   */
  acked(id) {
    const entry = this.entries.get(id);
    if (entry) entry.state = "taken";
    return entry;
  }

  /**
   * It has been seen among the messages.
   * @param {string | undefined} id
   */
  seen(id) {
    return id !== undefined && this.entries.delete(id);
  }

  /**
   * The server does not take it: for now, or for good.
   * @param {{id?: string, code: string, message: string, retryAfterMs?: number}} refusal
   * @returns {Entry | undefined} the message that was refused, if it was one
   */
  refused({ id, code, message, retryAfterMs }) {
    const entry = this.entries.get(id ?? "");
    if (!entry) return undefined;
    if (PASSING.has(code)) {
      entry.state = "waiting";
      entry.retryAt = this.now() + (retryAfterMs ?? RETRY_MS);
      // It was refused, so it has not been delivered: its time starts anew.
      entry.firstSentAt = null;
    } else {
      entry.state = "refused";
      entry.problem = { code, message };
    }
    return entry;
  }

  /** The connection is gone, and with it what was to come for all that was sent. */
  connectionLost() {
    for (const [id, entry] of this.entries) {
      if (entry.state === "sent") entry.state = "waiting";
      // Acknowledged and never seen: only a server that forgot it leaves that.
      if (entry.state === "taken" && entry.destination.startsWith("@")) this.entries.delete(id);
    }
  }

  /**
   * The server began anew: what it had acknowledged and not shown is lost.
   * @param {string} destination
   */
  forgotten(destination) {
    for (const entry of this.entries.values()) {
      if (entry.destination !== destination || entry.state !== "taken") continue;
      entry.state = "refused";
      entry.problem = { code: "forgotten", message: "the server restarted and has forgotten this message" };
    }
  }

  /**
   * Its writer wants it sent again.
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
