// @ts-check
/**
 * The text field in the place of a message that the person edits: Enter saves, Escape cancels. There is one; the list puts
 * it into the row of its message.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 */

import { textOf } from "../protocol.js";
import { el } from "./dom.js";

/** The height from which the field scrolls, in pixels. */
const HEIGHT_MAX = 320;

export class MessageEditor {
  /**
   * @param {Chat} chat
   * @param {{onChanged: (frame: MessageFrame) => void}} options editing of this message has begun or ended
   */
  constructor(chat, { onChanged }) {
    this.chat = chat;
    this.onChanged = onChanged;
    /** @type {{conversation: Conversation, frame: MessageFrame, returnTo: Element | null} | null} */
    this.edited = null;
    this.field = el("textarea", { rows: "1", dir: "auto", "aria-label": "Text of the message", "aria-describedby": "edit-problem" });
    this.problem = el("p", { id: "edit-problem", class: "refusal", role: "alert", hidden: true });
    this.save = el("button", { type: "submit", class: "primary" }, "Save");
    this.form = el("form", { class: "editor", submit: (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#save();
    } }, this.field, this.problem,
    el("div", { class: "buttons" }, this.save, el("button", { type: "button", class: "plain", click: () => this.end() }, "Cancel")));
    this.field.addEventListener("input", () => this.#fit());
    this.form.addEventListener("keydown", (event) => {
      // The list of messages uses the same keys in another way.
      if (!event.altKey) event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Escape") this.end();
      else if (event.key === "Enter" && !event.shiftKey && event.target === this.field) this.#save();
      else return;
      event.preventDefault();
    });
  }

  /**
   * @param {Conversation} conversation
   * @param {MessageFrame} frame
   */
  begin(conversation, frame) {
    const returnTo = document.activeElement;
    this.end();
    this.edited = { conversation, frame, returnTo };
    this.field.value = textOf(frame);
    this.#say("");
    this.onChanged(frame);
    this.#fit();
    this.field.focus();
  }

  /** @param {MessageFrame} frame */
  of(frame) {
    return this.edited?.frame === frame ? this.form : null;
  }

  end() {
    const { edited } = this;
    if (!edited) return;
    this.edited = null;
    const hadFocus = this.form.contains(document.activeElement);
    this.onChanged(edited.frame);
    if (hadFocus && edited.returnTo instanceof HTMLElement) edited.returnTo.focus({ preventScroll: true });
  }

  async #save() {
    const { edited } = this;
    const text = this.field.value.replace(/\s+$/u, "");
    if (!edited || text === "" || this.save.disabled) return;
    const { conversation, frame } = edited;
    if (text === textOf(frame) || frame.seq === undefined) {
      this.end();
      return;
    }
    this.#say(this.chat.isReady ? "" : "Waiting for the connection…");
    this.save.disabled = this.field.readOnly = true;
    const problem = await this.chat.changes.edit(conversation, frame.seq, text);
    if (this.edited !== edited) return;
    if (problem === "") {
      this.end();
    } else {
      this.save.disabled = this.field.readOnly = false;
      this.#say(`Not saved: ${problem}.`);
    }
  }

  /** @param {string} problem */
  #say(problem) {
    this.save.disabled = this.field.readOnly = false;
    this.problem.textContent = problem;
    this.problem.hidden = problem === "";
  }

  #fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, HEIGHT_MAX)}px`;
    this.save.disabled = this.field.value.trim() === "";
  }
}
