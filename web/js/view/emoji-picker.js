// @ts-check
/** The panel of emoji, found by name. */

import { EMOJI } from "../emoji.js";
import { byId, el } from "./dom.js";

const COLUMNS = 8;

export class EmojiPicker {
  /** @param {{onPick: (emoji: string) => void}} options */
  constructor({ onPick }) {
    this.button = byId("emoji-button", HTMLButtonElement);
    this.panel = byId("emoji-panel", HTMLElement);
    this.search = byId("emoji-search", HTMLInputElement);
    this.grid = byId("emoji-grid", HTMLElement);
    this.onPick = onPick;
    this.button.addEventListener("click", () => this.#toggle(this.panel.hidden !== false));
    this.search.addEventListener("input", () => this.#fill());
    this.panel.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointerdown", ({ target }) => {
      const isInside = target instanceof Node && (this.panel.contains(target) || this.button.contains(target));
      if (!this.panel.hidden && !isInside) this.#toggle(false);
    });
  }

  /** @param {boolean} isOpen */
  #toggle(isOpen) {
    this.panel.hidden = !isOpen;
    this.button.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    this.search.value = "";
    this.#fill();
    this.search.focus();
  }

  #fill() {
    const wanted = this.search.value.trim().toLowerCase();
    const found = EMOJI.filter(({ words }) => words.includes(wanted));
    this.grid.replaceChildren(...found.map(({ emoji, words }, index) => el("button", {
      type: "button", "aria-label": words, title: words, tabindex: index === 0 ? "0" : "-1",
      click: () => this.#pick(emoji),
    }, emoji)));
  }

  /** @param {string} emoji */
  #pick(emoji) {
    this.#toggle(false);
    this.onPick(emoji);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const buttons = /** @type {HTMLButtonElement[]} */ ([...this.grid.children]);
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS };
    const move = moves[event.key];
    if (event.key === "Escape") {
      event.preventDefault();
      this.#toggle(false);
      this.button.focus();
    } else if (event.key === "Enter" && at < 0) {
      event.preventDefault();
      buttons[0]?.click();
    } else if (event.key === "ArrowDown" && at < 0) {
      event.preventDefault();
      buttons[0]?.focus();
    } else if (move !== undefined && at >= 0) {
      event.preventDefault();
      if (at + move < 0) this.search.focus();
      else buttons[Math.min(buttons.length - 1, at + move)]?.focus();
    }
  }
}
