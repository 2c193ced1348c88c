// @ts-check
/**
 * The panel of emoji beside a message.
 *
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 */

import { byId } from "./dom.js";
import { EmojiPicker } from "./emoji-picker.js";

export class ReactionPicker {
  /** @param {{onPick: (frame: MessageFrame, emoji: string) => void}} options */
  constructor({ onPick }) {
    this.stage = byId("stage", HTMLElement);
    /** @type {MessageFrame | null} */
    this.frame = null;
    this.picker = new EmojiPicker("react", (emoji) => {
      if (this.frame) onPick(this.frame, emoji);
      this.picker.button?.focus({ preventScroll: true });
    });
  }

  /** @param {MessageFrame} frame @param {HTMLButtonElement} button */
  toggle(frame, button) {
    this.frame = frame;
    this.picker.toggle(button);
    const { panel } = this.picker;
    const stage = this.stage.getBoundingClientRect();
    // Below the button, but within the list.
    const top = Math.min(button.getBoundingClientRect().bottom - stage.top, stage.height - panel.offsetHeight);
    panel.style.top = `${Math.max(0, top)}px`;
  }

  close() {
    this.picker.close();
  }
}
