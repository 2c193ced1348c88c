// @ts-check
/**
 * Who has seen the newest message, where the server tells it. Pure logic.
 *
 * @typedef {import("./conversation.js").Conversation} Conversation
 */

/** Most names in the line; the others are counted. */
const NAMES_MAX = 3;

/**
 * The line under the newest message; empty: nobody else has seen it, or the server does not tell.
 * @param {Pick<Conversation, "log" | "seenBy">} conversation
 * @param {string} own name
 */
export function seenText({ log, seenBy }, own) {
  const item = log.items.at(-1);
  const newest = item?.kind === "message" ? item.frame : undefined;
  const seq = newest?.seq ?? Infinity;
  const names = [...seenBy].filter(([name, upto]) => upto >= seq && name !== newest?.clientId && name !== own).map(([name]) => name);
  if (names.length === 0) return "";
  const more = names.length > NAMES_MAX ? names.length - NAMES_MAX + 1 : 0;
  const parts = more > 0 ? [...names.slice(0, NAMES_MAX - 1), `${more} others`] : names;
  const last = parts.pop() ?? "";
  return `Seen by ${parts.length > 0 ? `${parts.join(", ")} and ` : ""}${last}`;
}
