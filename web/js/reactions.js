// @ts-check
/**
 * Those who have reacted to a message, for people. Pure logic.
 *
 * @typedef {import("./starling.js").Reactions} Reactions
 */

/** Most names of one emoji. */
const NAMES_MAX = 10;

/**
 * @param {Reactions} reactions
 * @param {string} ownName
 */
export function reactedBy({ count, clientIds }, ownName) {
  const others = clientIds.filter((name) => name !== ownName);
  const names = [...(others.length < clientIds.length ? ["you"] : []), ...others].slice(0, NAMES_MAX);
  const more = count - names.length;
  if (more > 0) names.push(more === 1 ? "one other" : `${more.toLocaleString()} others`);
  const last = names.pop() ?? "";
  return names.length === 0 ? last : `${names.join(", ")} and ${last}`;
}
