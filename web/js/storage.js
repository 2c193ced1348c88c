// @ts-check
/**
 * What the browser keeps for the page: the name and its key, the rooms, drafts, settings. Nothing of it is a cookie, and
 * nothing is sent anywhere but to this server's chat. Where the browser keeps nothing, the page works all the same.
 *
 * What belongs to the tab is in the session's storage, so that two tabs can be two people and a reload keeps the name.
 */

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
    return JSON.parse(storage?.getItem(`starling.${key}`) ?? "null");
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
    if (value === null) storage?.removeItem(`starling.${key}`);
    else storage?.setItem(`starling.${key}`, JSON.stringify(value));
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
