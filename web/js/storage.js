// @ts-check
/**
 * What the browser keeps for the page: the name and its key, the rooms, drafts, settings. Nothing of it is a cookie, and
 * nothing is sent anywhere but to this server's chat. Where the browser keeps nothing, the page works all the same.
 *
 * Storage belongs to the host, so what is kept is named after the page's path: two chats on one host keep apart.
 *
 * What belongs to the tab is in the session's storage, so that two tabs can be two people and a reload keeps the name.
 */

import { base } from "./place.js";

/** What the names in the storage begin with: `starling.` on a host of its own, `starling/chat/.` below `/chat/`. */
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
 * @param {unknown} value `null`: nothing is kept
 */
function write(storage, key, value) {
  try {
    if (value === null) storage?.removeItem(PREFIX + key);
    else storage?.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Full or forbidden: then it lasts as long as the page.
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
