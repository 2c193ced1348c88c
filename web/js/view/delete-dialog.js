// @ts-check
/**
 * The question before a message is deleted.
 *
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 */

import { excerpt } from "../quotes.js";
import { byId, el } from "./dom.js";

export class DeleteDialog {
  constructor() {
    this.dialog = byId("delete", HTMLDialogElement);
    this.text = byId("delete-text", HTMLElement);
    /** @type {() => void} */
    this.onYes = () => undefined;
    byId("delete-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.dialog.close();
      this.onYes();
    });
  }

  /** @param {MessageFrame} frame @param {() => void} onYes */
  ask(frame, onYes) {
    this.text.replaceChildren(`${frame.clientId}: `, el("bdi", {}, excerpt(frame)));
    this.onYes = onYes;
    this.dialog.showModal();
  }
}
