// @ts-check
/**
 * Shows the state of the connection, unless it is open.
 *
 * @typedef {import("../starling.js").Status} State
 */

import { endLabel } from "../times.js";
import { byId, el } from "./dom.js";

export class StatusBanner {
  /** @param {{onRetry: () => void, onTakeOver: () => void, onRename: () => void}} options */
  constructor({ onRetry, onTakeOver, onRename }) {
    this.banner = byId("status", HTMLElement);
    this.text = byId("status-text", HTMLElement);
    this.countdown = byId("status-countdown", HTMLElement);
    this.buttons = byId("status-buttons", HTMLElement);
    this.onRetry = onRetry;
    this.onTakeOver = onTakeOver;
    this.onRename = onRename;
    this.timer = 0;
    this.wasOpen = false;
  }

  /**
   * @param {State} state
   */
  show(state) {
    clearInterval(this.timer);
    const retry = () => el("button", { type: "button", click: this.onRetry }, "Connect now");
    this.banner.dataset.state = state.state;
    switch (state.state) {
      case "open":
        this.wasOpen = true;
        this.#say("", []);
        break;
      case "connecting":
        // Hidden while reconnecting takes only a moment: otherwise the message would flicker.
        if (this.wasOpen) this.#say("Reconnecting…", []);
        else this.#say("Connecting…", []);
        break;
      case "waiting": {
        this.#say(`No connection: ${state.reason}. Messages that you write now are sent later.`, [retry()]);
        const count = () => {
          const seconds = Math.ceil((state.until - Date.now()) / 1_000);
          this.countdown.textContent = seconds > 1 ? `Next try in ${seconds} s.` : "";
        };
        count();
        this.timer = setInterval(count, 1_000);
        break;
      }
      case "stopped":
        if (state.why === "replaced") {
          this.#say("This name is now in use in another tab or on another device. This page is disconnected.", [
            el("button", { type: "button", click: this.onTakeOver }, "Use it here"),
            el("button", { type: "button", click: this.onRename }, "Take another name"),
          ]);
        } else if (state.why === "name_taken" || state.why === "bad_name") {
          // The dialog asks for another name.
          this.#say("", []);
        } else {
          /** @type {Record<string, string>} */
          const texts = {
            removed: "An operator has removed you from the chat", banned: "An operator has banned you from the chat", ended: "The connection was closed",
            refused: "The server closed the connection", forbidden: "The server does not allow this page",
            unauthorized: "The server needs a token",
          };
          const now = Date.now();
          const reason = state.reason ? ` (${state.reason})` : "";
          const end = state.until === undefined ? "" : `It ends ${endLabel(state.until, now)}.`;
          this.#say(`${texts[state.why] ?? texts.refused}${reason}. ${end}`.trimEnd(), [retry()]);
        }
        break;
      default:
        if (this.wasOpen) this.#say("You have left the chat.", [retry()]);
        else this.#say("", []);
    }
  }

  /**
   * @param {string} text
   * @param {HTMLElement[]} buttons
   */
  #say(text, buttons) {
    this.banner.hidden = text === "";
    if (this.text.textContent !== text) this.text.textContent = text;
    this.countdown.textContent = "";
    this.buttons.replaceChildren(...buttons);
  }
}
