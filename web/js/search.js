// @ts-check
/**
 * Search in the history of rooms, over HTTP, where the server offers it.
 *
 * A server without search ignores the parameter `q` and returns the newest messages. To tell the two apart, the page
 * searches for a text that nobody has written: only a server with search then returns nothing.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 */

const NOBODY_WROTE = "\u{10FFFD}starling-asks-for-search\u{10FFFD}";

/** Most hits of one search. */
const SHOWN_MAX = 50;

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

/** Most rooms that one search covers, those with the most members first, and how many it requests at a time. */
export const ROOMS_MAX = 100;
const AT_A_TIME = 4;

/**
 * Finds the newest messages of all these rooms that contain a text, the newest first.
 * @param {URL} base
 * @param {string[]} rooms
 * @param {string} wanted
 * @param {string} token
 * @returns {Promise<{messages: MessageFrame[], hasMore: boolean, failed: number}>} `failed`: rooms without an answer
 */
export async function search(base, rooms, wanted, token) {
  const left = rooms.slice(0, ROOMS_MAX);
  /** @type {MessageFrame[]} */
  const found = [];
  let failed = 0;
  let hasMore = false;
  const work = async () => {
    for (let room = left.shift(); room !== undefined; room = left.shift()) {
      try {
        const answer = await ask(base, room, wanted, SHOWN_MAX, token);
        found.push(...answer.messages);
        hasMore ||= answer.hasMore;
      } catch {
        failed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  found.sort((a, b) => b.at - a.at);
  return { messages: found.slice(0, SHOWN_MAX), hasMore: hasMore || found.length > SHOWN_MAX, failed };
}
