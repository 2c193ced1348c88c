// @ts-check
/**
 * Search in a room's history, over HTTP, where the server offers it.
 *
 * A server without search ignores the parameter `q` and returns the newest messages. To tell the two apart, the page
 * searches for a text that nobody has written: only a server with search then returns nothing.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 */

const NOBODY_WROTE = "\u{10FFFD}starling-asks-for-search\u{10FFFD}";

/**
 * @param {URL} base
 * @param {string} room
 * @param {string} wanted
 * @param {number} limit
 * @param {string} token
 * @returns {Promise<{messages: MessageFrame[], hasMore: boolean}>}
 */
async function ask(base, room, wanted, limit, token) {
  const url = new URL(`api/rooms/${encodeURIComponent(room)}/messages`, base);
  url.searchParams.set("q", wanted);
  url.searchParams.set("limit", String(limit));
  const answer = await fetch(url, { headers: token ? { authorization: `Bearer ${token}` } : {} });
  if (!answer.ok) throw new Error(`the server answered with ${answer.status}`);
  return answer.json();
}

/**
 * Whether the server has search. Works only for a room that has messages.
 * @param {URL} base
 * @param {string} room
 * @param {string} token
 */
export async function offersSearch(base, room, token) {
  try {
    return (await ask(base, room, NOBODY_WROTE, 1, token)).messages.length === 0;
  } catch {
    return false;
  }
}

/**
 * Finds the newest messages of a room that contain a text, the newest first.
 * @param {URL} base
 * @param {string} room
 * @param {string} wanted
 * @param {string} token
 */
export function search(base, room, wanted, token) {
  return ask(base, room, wanted, 50, token);
}
