// @ts-check
/**
 * What the page says of those who type. Pure logic: the clock is passed in.
 *
 * @typedef {import("./starling.js").Typing} Typing
 */

/** Most names in the line; the others are not named. */
const NAMES_MAX = 3;

/** The shortest time between two announcements to screen readers in one conversation. */
const ANNOUNCED_EVERY_MS = 30_000;

/**
 * The line about those who type; empty: nobody does.
 * @param {Typing} typing
 */
export function typingText({ clientIds, more }) {
  if (clientIds.length === 0) return more ? "Several people are typing …" : "";
  const isTooLong = more || clientIds.length > NAMES_MAX;
  const parts = isTooLong ? [...clientIds.slice(0, NAMES_MAX - 1), "others"] : clientIds;
  const last = parts.at(-1) ?? "";
  if (parts.length === 1) return `${last} is typing …`;
  return `${parts.slice(0, -1).join(", ")} and ${last} are typing …`;
}

/** Decides which changes a screen reader hears: that somebody begins, and not again for a while. */
export class TypingAnnouncements {
  /** @param {{now: () => number}} surroundings */
  constructor({ now }) {
    this.now = now;
    /** When typing was last announced, by conversation. @type {Map<string, number>} */
    this.announced = new Map();
  }

  /**
   * The text to announce; `null`: none.
   * @param {string} key of the conversation
   * @param {string} text of the line
   */
  next(key, text) {
    const now = this.now();
    if (text === "" || now - (this.announced.get(key) ?? -Infinity) < ANNOUNCED_EVERY_MS) return null;
    this.announced.set(key, now);
    return text.replace(" …", "");
  }
}
