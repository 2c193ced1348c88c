// @ts-check
/**
 * Completions of the word before the cursor: `@name`, `/command`, `:emoji`. Pure logic.
 *
 * @typedef {{text: string, label: string}} Option `text` replaces the word
 * @typedef {{from: number, options: Option[]}} Completion
 */

import { COMMANDS } from "./commands.js";
import { EMOJI } from "./emoji.js";

/** Most options in the list: enough for all commands. */
const OPTIONS_MAX = 9;

/**
 * @param {string} text
 * @param {number} cursor
 * @param {string[]} names of the members, in alphabetical order
 * @returns {Completion | null}
 */
export function completionAt(text, cursor, names) {
  const before = text.slice(0, cursor);
  const [, lead = "", sign = "", rest = ""] = /(^|\s)([@:/])([\p{L}\p{N}._-]*)$/u.exec(before) ?? [];
  const from = cursor - rest.length - 1;
  const wanted = rest.toLowerCase();
  /** @type {Option[]} */
  let options = [];
  if (sign === "@") {
    options = names.filter((name) => name.toLowerCase().startsWith(wanted)).map((name) => ({ text: `@${name} `, label: `@${name}` }));
  } else if (sign === "/" && lead === "" && from === 0) {
    options = [...COMMANDS].filter(([name]) => name.startsWith(wanted))
      .map(([name, { argument, about }]) => ({ text: `/${name} `, label: `${`/${name} ${argument}`.trim()} · ${about}` }));
  } else if (sign === ":" && rest.length >= 2) {
    options = EMOJI.filter(({ words }) => words.split(" ").some((word) => word.startsWith(wanted)))
      .map(({ emoji, words }) => ({ text: `${emoji} `, label: `${emoji} :${words.split(" ")[0]}:` }));
  }
  // A complete word needs no completion, so that Enter sends the message.
  if (options.some(({ text: whole }) => whole.trimEnd() === sign + rest)) return null;
  return options.length === 0 ? null : { from, options: options.slice(0, OPTIONS_MAX) };
}
