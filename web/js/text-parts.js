// @ts-check
/**
 * Splits a message into plain text, links, mentions and code. Pure: it produces parts, from which views make nodes.
 * Text of a message is never parsed as HTML.
 *
 * @typedef {{kind: "text" | "code" | "block", text: string} | {kind: "link", text: string, href: string}
 *   | {kind: "mention", text: string, name: string}} Part
 */

// No white space and no bidirectional control characters: those could make a link look like another one.
const LINK = /https?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu;
const MENTION = /(?<![\w.@/-])@([A-Za-z0-9][A-Za-z0-9._-]{0,63})/gu;
const CODE = /```(?:\w*\n)?([\s\S]+?)```|`([^`\n]+)`/gu;

/**
 * Removes punctuation of the surrounding sentence from the end of a link.
 * @param {string} text
 */
function trimLink(text) {
  let link = text;
  for (;;) {
    const last = link.at(-1) ?? "";
    const isStray = last === ")" && link.split("(").length < link.split(")").length;
    if (!isStray && !/[.,;:!?*_~\]}…]/u.test(last)) return link;
    link = link.slice(0, -1);
  }
}

/**
 * @param {string} text
 * @param {RegExp} pattern
 * @param {(match: RegExpExecArray) => {part: Part, length: number} | null} make
 * @param {(rest: string) => Part[]} between
 * @returns {Part[]}
 */
function split(text, pattern, make, between) {
  /** @type {Part[]} */
  const parts = [];
  let done = 0;
  pattern.lastIndex = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index < done) continue;
    const made = make(match);
    if (!made) continue;
    if (match.index > done) parts.push(...between(text.slice(done, match.index)));
    parts.push(made.part);
    done = match.index + made.length;
  }
  if (done < text.length) parts.push(...between(text.slice(done)));
  return parts;
}

/** @param {string} text @returns {Part[]} */
const plain = (text) => [{ kind: "text", text }];

/** @param {string} text */
const mentions = (text) =>
  split(text, MENTION, (match) => {
    const name = (match[1] ?? "").replace(/[._-]+$/u, "");
    return { part: { kind: "mention", text: `@${name}`, name }, length: name.length + 1 };
  }, plain);

/** @param {string} text */
const links = (text) =>
  split(text, LINK, (match) => {
    const link = trimLink(match[0]);
    if (!URL.canParse(link) || new URL(link).hostname === "") return null;
    return { part: { kind: "link", text: link, href: new URL(link).href }, length: link.length };
  }, mentions);

/**
 * @param {string} text
 * @returns {Part[]}
 */
export function textParts(text) {
  return split(text, CODE, (match) => {
    const block = match[1];
    const part = block === undefined ? { kind: "code", text: match[2] ?? "" } : { kind: "block", text: block.replace(/\n$/u, "") };
    // A block starts on its own line, so the line break after it would show as an empty line.
    const length = match[0].length + (block !== undefined && text[match.index + match[0].length] === "\n" ? 1 : 0);
    return { part: /** @type {Part} */ (part), length };
  }, links);
}

/**
 * Whether the text mentions this name.
 * @param {string} text
 * @param {string} name
 */
export function mentionsName(text, name) {
  if (!text.includes("@")) return false;
  return textParts(text).some((part) => part.kind === "mention" && part.name.toLowerCase() === name.toLowerCase());
}

const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}|\p{Emoji_Component}(?<!\d)|\s){1,24}$/u;

/**
 * Whether a message consists only of a few emoji, which are shown large.
 * @param {string} text
 */
export function isEmojiOnly(text) {
  return text.length <= 24 && EMOJI_ONLY.test(text) && /\p{Extended_Pictographic}/u.test(text);
}
