// @ts-check
/** A panel of emoji, found by name. The page has two: for the text field, and for reactions. */

import { EMOJI } from "../emoji.js";
import { byId, el } from "./dom.js";

const COLUMNS = 8;

export class EmojiPicker {
  /** @param {"emoji" | "react"} name of its elements @param {(emoji: string) => void} onPick */
  constructor(name, onPick) {
    /** The button that has opened it. @type {HTMLButtonElement | null} */
    this.button = null;
    this.panel = byId(`${name}-panel`, HTMLElement);
    this.search = byId(`${name}-search`, HTMLInputElement);
    this.grid = byId(`${name}-grid`, HTMLElement);
    this.onPick = onPick;
    this.search.addEventListener("input", () => this.#fill());
    this.panel.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointerdown", ({ target }) => {
      const isInside = target instanceof Node && (this.panel.contains(target) || this.button?.contains(target));
      if (!this.panel.hidden && !isInside) this.close();
    });
  }

  /** Opens the panel, or closes it if this button has opened it. @param {HTMLButtonElement} button */
  toggle(button) {
    const isOpen = !this.panel.hidden && this.button === button;
    this.close();
    if (isOpen) return;
    this.button = button;
    this.panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    this.search.value = "";
    this.#fill();
    this.search.focus();
  }

  close() {
    this.panel.hidden = true;
    this.button?.setAttribute("aria-expanded", "false");
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
    this.close();
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
      this.close();
      this.button?.focus();
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
