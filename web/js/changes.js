// @ts-check
/**
 * Edits, deletions and reactions in the log of a conversation. Pure logic.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {import("./protocol.js").MessageChange} MessageChange
 */

import { applyChange } from "./starling.js";

/**
 * Applies a change to a message. The object stays the same, because the views recognize a message by it.
 * @param {MessageFrame} frame
 * @param {MessageChange} change
 */
export function alter(frame, change) {
  const next = applyChange(frame, change);
  if (next === frame) return;
  const fields = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (frame));
  for (const field of Object.keys(fields)) if (!(field in next)) delete fields[field];
  Object.assign(frame, next);
}

/** Most changes of messages that the log does not have. */
const EARLY_MAX = 1_000;

/** Changes that arrive before their message, which is in a page of history that is on its way. */
export class EarlyChanges {
  constructor() {
    /** @type {MessageChange[]} */
    this.changes = [];
  }

  /** @param {MessageChange} change */
  note(change) {
    this.changes.push(change);
    if (this.changes.length > EARLY_MAX) this.changes.shift();
  }

  /** @param {MessageFrame[]} frames */
  applyTo(frames) {
    const bySeq = new Map(frames.map((frame) => [frame.seq, frame]));
    for (const change of this.changes) {
      const frame = bySeq.get(change.of);
      if (frame) alter(frame, change);
    }
  }
}
