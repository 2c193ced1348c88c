// @ts-check
/**
 * The addresses of conversations and messages within the page: `#/room/dev`, `#/room/dev/42`, `#/with/bob`. Pure logic.
 *
 * @typedef {{key: string, seq: number | null}} Route
 */

import { privateKey, roomKey } from "./conversation.js";
import { nameProblem, roomProblem } from "./protocol.js";

/**
 * @param {string} key of the conversation
 * @param {number} [seq] of a message in a room
 */
export function routeTo(key, seq) {
  const name = encodeURIComponent(key.slice(1));
  return key.startsWith("#") ? `#/room/${name}${seq === undefined ? "" : `/${seq}`}` : `#/with/${name}`;
}

/**
 * @param {string} hash the fragment of an address
 * @returns {Route | null} `null`: it names no conversation
 */
export function parseRoute(hash) {
  const [, kind, name = "", seq] = /^#\/(room|with)\/([^/]+)(?:\/([1-9]\d{0,15}))?$/u.exec(hash) ?? [];
  let plain = "";
  try {
    plain = decodeURIComponent(name);
  } catch {
    return null;
  }
  if (kind === "room" && roomProblem(plain) === null) return { key: roomKey(plain), seq: seq === undefined ? null : Number(seq) };
  if (kind === "with" && seq === undefined && nameProblem(plain) === null) return { key: privateKey(plain), seq: null };
  return null;
}
