// @ts-check
/**
 * Persistent data in the browser: the name and its key, the rooms, drafts, settings. No cookies are used, and the data
 * is sent only to this server's chat. The page also works if the browser stores nothing.
 *
 * Storage is per origin, so the keys include the page's path: two chats on one host are separate.
 *
 * Data of one tab is in the session storage, so that two tabs can be two people and a reload keeps the name.
 */

import { base } from "./place.js";

/** The prefix of all keys: `starling.` if the chat is at the root of its host, `starling/chat/.` below `/chat/`. */
const PREFIX = `starling${base.pathname === "/" ? "" : base.pathname}.`;

/** @param {"localStorage" | "sessionStorage"} which */
function area(which) {
  try {
    return globalThis[which];
  } catch {
    return undefined;
  }
}

/**
 * @param {Storage | undefined} storage
 * @param {string} key
 * @returns {any}
 */
function read(storage, key) {
  try {
    return JSON.parse(storage?.getItem(PREFIX + key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Storage | undefined} storage
 * @param {string} key
 * @param {unknown} value `null` removes the entry
 */
function write(storage, key, value) {
  try {
    if (value === null) storage?.removeItem(PREFIX + key);
    else storage?.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // The storage is full or forbidden: the value then lasts as long as the page.
  }
}

/** Of this tab. */
export const tab = {
  /** @param {string} key */
  get: (key) => read(area("sessionStorage"), key),
  /** @param {string} key @param {unknown} value */
  set: (key, value) => write(area("sessionStorage"), key, value),
};

/** Of this browser. */
export const browser = {
  /** @param {string} key */
  get: (key) => read(area("localStorage"), key),
  /** @param {string} key @param {unknown} value */
  set: (key, value) => write(area("localStorage"), key, value),
};
