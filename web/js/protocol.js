// @ts-check
/**
 * The page's knowledge of the protocol: the types of frames and the rules for names (docs/protocol.md).
 *
 * @typedef {import("./starling.js").Message} MessageFrame
 * @typedef {import("./starling.js").Change} MessageChange
 * @typedef {{code: string, message: string, id?: string, retryAfterMs?: number}} Refusal
 */

/** The room that every connection starts in. */
export const LOBBY = "lobby";

/** Most messages that one `history` answer holds. */
export const HISTORY_LIMIT_MAX = 200;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const GUEST_PREFIX = "guest-";

/**
 * The reason that this is not a valid room name, for people; `null` if it is valid.
 * @param {string} text
 */
export function roomProblem(text) {
  if (text === "") return "The name is missing.";
  if (text.length > 64) return "A name has at most 64 characters.";
  if (!NAME.test(text)) return "A name contains only letters a–z, digits, “.”, “_” and “-”, and starts with a letter or a digit.";
  return null;
}

/**
 * The reason that this is not a valid client name, for people; `null` if it is valid.
 * @param {string} text
 */
export function nameProblem(text) {
  return text.startsWith(GUEST_PREFIX) ? "Names starting with “guest-” are assigned by the server." : roomProblem(text);
}

/** @param {string} name */
export function isGuest(name) {
  return name.startsWith(GUEST_PREFIX);
}

/**
 * Suggests names that are similar to a taken one.
 * @param {string} name
 */
export function similarNames(name) {
  const [, stem, number] = /^(.*?)-?(\d*)$/.exec(name.slice(0, 58)) ?? ["", name, ""];
  const next = Number(number || 1) + 1;
  return [`${stem || "me"}-${next}`, `${stem || "me"}-${next + 1}`];
}

/** The text of a message; empty if it was deleted. @param {MessageFrame} frame */
export const textOf = ({ Message }) => Message ?? "";

/** Whether a token is an operator's, who may change the messages of others. @param {string} token */
export function isOperatorToken(token) {
  try {
    const claims = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(claims)).admin === true;
  } catch {
    return false;
  }
}

const encoder = new TextEncoder();

/**
 * The length in bytes, which the server's limit applies to.
 * @param {string} text
 */
export function utf8Bytes(text) {
  return encoder.encode(text).length;
}
