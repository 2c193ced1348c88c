// @ts-check
/**
 * Asks for the person's name, and offers alternatives if the server refuses it.
 *
 * @typedef {import("../protocol.js").Refusal} Refusal
 * @typedef {{name: string, isTakeover: boolean}} Wish
 */

import { nameProblem, similarNames } from "../protocol.js";
import { byId, el } from "./dom.js";

export class EnterDialog {
  /** @param {{onEnter: (wish: Wish) => void, canTakeOver: (name: string) => boolean}} options */
  constructor({ onEnter, canTakeOver }) {
    this.onEnter = onEnter;
    this.canTakeOver = canTakeOver;
    this.dialog = byId("enter", HTMLDialogElement);
    this.form = byId("enter-form", HTMLFormElement);
    this.name = byId("enter-name", HTMLInputElement);
    this.token = byId("enter-token", HTMLInputElement);
    this.nameField = byId("enter-name-field", HTMLElement);
    this.tokenField = byId("enter-token-field", HTMLElement);
    this.problem = byId("enter-problem", HTMLElement);
    this.ways = byId("enter-ways", HTMLElement);
    this.submit = byId("enter-submit", HTMLButtonElement);
    this.guest = byId("enter-guest", HTMLButtonElement);
    this.mayClose = false;
    /** Receives the person's token while the dialog asks for one. @type {((token: string) => void) | null} */
    this.onToken = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.onToken) {
        this.#giveToken();
        return;
      }
      const name = this.name.value.trim();
      const problem = nameProblem(name);
      if (problem) this.#complain(this.name, problem);
      else this.#enter(name);
    });
    this.guest.addEventListener("click", () => this.#enter(""));
    for (const field of [this.name, this.token]) field.addEventListener("input", () => this.#complain(field, ""));
    this.dialog.addEventListener("cancel", (event) => {
      if (!this.mayClose) event.preventDefault();
    });
  }

  /** @param {{name: string, mayClose?: boolean}} options `mayClose`: the person is connected already, with another name */
  ask({ name, mayClose = false }) {
    this.mayClose = mayClose;
    this.name.value = name;
    this.guest.hidden = mayClose;
    this.submit.textContent = mayClose ? "Change name" : "Enter";
    this.#complain(this.name, "");
    this.#open();
    this.name.select();
  }

  /**
   * @param {string} name
   * @param {Refusal} refusal
   * @param {boolean} mayClose the person is connected already, with another name
   */
  refused(name, refusal, mayClose) {
    this.mayClose = mayClose;
    this.#open();
    this.name.value = name;
    const isTaken = refusal.code === "name_taken";
    const taken = `The name ${name} is in use, perhaps by you in another tab or on another device.`;
    this.#complain(this.name, isTaken ? taken : `${refusal.message}.`);
    if (isTaken) {
      const takeOver = this.canTakeOver(name)
        && el("button", { type: "button", click: () => this.#enter(name, true) }, `Use ${name} here instead`);
      const others = similarNames(name).map((other) => el("button", { type: "button", click: () => this.#enter(other) }, `Enter as ${other}`));
      this.ways.replaceChildren(...(takeOver ? [takeOver] : []), ...others);
    }
    this.name.focus();
  }

  /**
   * Asks for a token, which contains the name.
   * @param {{message: string, refused: string}} reason the server's message, and the refused token
   * @returns {Promise<string>}
   */
  askToken({ message, refused }) {
    this.#open();
    this.nameField.hidden = true;
    this.tokenField.hidden = false;
    this.guest.hidden = true;
    this.submit.textContent = "Enter";
    this.#complain(this.token, refused === "" ? "This server needs a token. Paste yours here."
      : `The server refused the token: ${message}. Paste another one.`);
    this.token.select();
    return new Promise((resolve) => {
      this.onToken = resolve;
    });
  }

  #giveToken() {
    const token = this.token.value.trim();
    if (token === "") {
      this.#complain(this.token, "Paste your token here.");
      this.token.focus();
      return;
    }
    this.onToken?.(token);
    this.onToken = null;
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  #open() {
    this.nameField.hidden = false;
    this.tokenField.hidden = true;
    this.ways.replaceChildren();
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** @param {string} name @param {boolean} [isTakeover] */
  #enter(name, isTakeover = false) {
    this.onEnter({ name, isTakeover });
  }

  /**
   * @param {HTMLInputElement} field the field that the text is about
   * @param {string} text
   */
  #complain(field, text) {
    this.problem.textContent = text;
    this.problem.hidden = text === "";
    for (const one of [this.name, this.token]) one.setAttribute("aria-invalid", String(one === field && text !== ""));
    this.ways.replaceChildren();
  }
}
