// @ts-check
/**
 * Asks for the person's name, and offers alternatives if the server refuses it.
 *
 * @typedef {import("../protocol.js").Refusal} Refusal
 * @typedef {{name: string, token: string, isTakeover: boolean}} Wish
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
    this.tokenField = byId("enter-token-field", HTMLElement);
    this.problem = byId("enter-problem", HTMLElement);
    this.ways = byId("enter-ways", HTMLElement);
    this.submit = byId("enter-submit", HTMLButtonElement);
    this.guest = byId("enter-guest", HTMLButtonElement);
    this.mayClose = false;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = this.name.value.trim();
      // If a token is required, it contains the name.
      const problem = this.token.required ? null : nameProblem(name);
      if (problem) this.#complain(problem);
      else this.#enter(name);
    });
    this.guest.addEventListener("click", () => this.#enter(""));
    this.name.addEventListener("input", () => this.#complain(""));
    this.dialog.addEventListener("cancel", (event) => {
      if (!this.mayClose) event.preventDefault();
    });
  }

  /** @param {{name: string, mayClose?: boolean}} options `mayClose`: one is in already, under another name */
  ask({ name, mayClose = false }) {
    this.mayClose = mayClose;
    this.name.value = name;
    this.guest.hidden = mayClose;
    this.submit.textContent = mayClose ? "Change name" : "Enter";
    this.#complain("");
    this.#open();
    this.name.select();
  }

  /**
   * @param {string} name
   * @param {Refusal} refusal
   * @param {boolean} mayClose one is in already, under another name
   */
  refused(name, refusal, mayClose) {
    this.mayClose = mayClose;
    this.#open();
    this.name.value = name;
    if (refusal.code === "unauthorized") {
      this.needToken(refusal.message);
      return;
    }
    const isTaken = refusal.code === "name_taken";
    const taken = `The name ${name} is in use, perhaps by you in another tab or on another device.`;
    this.#complain(isTaken ? taken : `${refusal.message}.`);
    if (isTaken) {
      const takeOver = this.canTakeOver(name)
        && el("button", { type: "button", click: () => this.#enter(name, true) }, `Be ${name} here instead`);
      const others = similarNames(name).map((other) => el("button", { type: "button", click: () => this.#enter(other) }, `Enter as ${other}`));
      this.ways.replaceChildren(...(takeOver ? [takeOver] : []), ...others);
    }
    this.name.focus();
  }

  /** @param {string} reason */
  needToken(reason) {
    this.#open();
    this.tokenField.hidden = false;
    this.token.required = true;
    this.guest.hidden = true;
    this.#complain(this.token.value === "" ? "This server needs a token." : `${reason}.`);
    this.token.focus();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  #open() {
    this.ways.replaceChildren();
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** @param {string} name @param {boolean} [isTakeover] */
  #enter(name, isTakeover = false) {
    this.onEnter({ name, token: this.token.value, isTakeover });
  }

  /** @param {string} text */
  #complain(text) {
    this.problem.textContent = text;
    this.problem.hidden = text === "";
    this.name.setAttribute("aria-invalid", String(text !== ""));
    this.ways.replaceChildren();
  }
}
