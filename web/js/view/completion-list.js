// @ts-check
/** The list above the composer that completes the word before the cursor. The text field keeps the focus. */

import { completionAt } from "../completion.js";
import { byId, el } from "./dom.js";

export class CompletionList {
  /** @param {{field: HTMLTextAreaElement, names: () => string[], onChanged: () => void}} options */
  constructor({ field, names, onChanged }) {
    this.field = field;
    this.names = names;
    this.onChanged = onChanged;
    this.list = byId("completion", HTMLUListElement);
    /** @type {import("../completion.js").Completion | null} */
    this.completion = null;
    this.chosen = 0;
    field.addEventListener("blur", () => this.close());
    // Before the field loses the focus.
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = /** @type {Element} */ (event.target).closest("li");
      if (option) this.#accept([...this.list.children].indexOf(option));
    });
  }

  /** Updates the list for the word before the cursor. */
  update() {
    const { value, selectionStart, selectionEnd } = this.field;
    this.completion = selectionStart === selectionEnd ? completionAt(value, selectionStart, this.names()) : null;
    this.chosen = 0;
    this.#draw();
  }

  close() {
    this.completion = null;
    this.#draw();
  }

  /**
   * Handles a key of the field.
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key was for the list
   */
  takeKey(event) {
    const count = this.completion?.options.length ?? 0;
    if (count === 0 || event.isComposing) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.chosen = (this.chosen + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.#draw();
    } else if (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) {
      this.#accept(this.chosen);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  /** @param {number} index */
  #accept(index) {
    const option = this.completion?.options[index];
    if (!this.completion || !option) return;
    this.field.setRangeText(option.text, this.completion.from, this.field.selectionStart, "end");
    this.close();
    this.onChanged();
  }

  #draw() {
    const options = this.completion?.options ?? [];
    this.list.hidden = options.length === 0;
    this.list.replaceChildren(...options.map(({ label }, index) =>
      el("li", { id: `completion-${index}`, role: "option", "aria-selected": String(index === this.chosen) }, label)));
    if (options.length > 0) this.field.setAttribute("aria-activedescendant", `completion-${this.chosen}`);
    else this.field.removeAttribute("aria-activedescendant");
  }
}
