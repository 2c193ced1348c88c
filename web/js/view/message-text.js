// @ts-check
/** Renders a message with text nodes and elements created here. */

import { isEmojiOnly, textParts } from "../text-parts.js";
import { el } from "./dom.js";

/** Longer messages are folded. */
const FOLD = { characters: 1_500, lines: 18 };

/**
 * @param {string} text
 * @param {string} ownName
 */
export function messageText(text, ownName) {
  const body = el("div", { class: isEmojiOnly(text) ? "text emoji-only" : "text", dir: "auto" });
  for (const part of textParts(text)) {
    switch (part.kind) {
      case "link":
        body.append(el("a", { href: part.href, target: "_blank", rel: "noopener noreferrer nofollow" }, part.text));
        break;
      case "mention":
        body.append(el("span", { class: part.name.toLowerCase() === ownName.toLowerCase() ? "mention own" : "mention" }, part.text));
        break;
      case "code":
        body.append(el("code", {}, part.text));
        break;
      case "block":
        body.append(el("pre", { tabindex: "0" }, el("code", {}, part.text)));
        break;
      default:
        body.append(part.text);
    }
  }
  const isLong = text.length > FOLD.characters || text.split("\n", FOLD.lines + 1).length > FOLD.lines;
  if (!isLong) return body;
  body.classList.add("folded");
  const toggle = el("button", { type: "button", class: "fold", "aria-expanded": "false", click: () => {
    const isFolded = body.classList.toggle("folded");
    toggle.textContent = isFolded ? "Show all" : "Show less";
    toggle.setAttribute("aria-expanded", String(!isFolded));
  } }, "Show all");
  return el("div", {}, body, toggle);
}
