// @ts-check
/**
 * What an operator does about the author of a message: mute and ban.
 *
 * @typedef {import("../conversation.js").Conversation} Conversation
 * @typedef {import("../moderation.js").Moderation} Moderation
 * @typedef {import("../moderation.js").Sanction} Sanction
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 */

import { excerpt } from "../quotes.js";
import { wholeLabel } from "../times.js";
import { byId, el } from "./dom.js";

export class ModerateDialog {
  /**
   * @param {Moderation} moderation
   */
  constructor(moderation) {
    this.moderation = moderation;
    this.dialog = byId("moderate", HTMLDialogElement);
    this.form = byId("moderate-form", HTMLFormElement);
    this.text = byId("moderate-text", HTMLElement);
    this.here = byId("moderate-here", HTMLInputElement);
    this.hereLabel = byId("moderate-here-label", HTMLElement);
    this.everywhere = byId("moderate-everywhere", HTMLInputElement);
    this.ban = byId("moderate-ban", HTMLInputElement);
    this.time = byId("moderate-time", HTMLSelectElement);
    this.reason = byId("moderate-reason", HTMLInputElement);
    this.note = byId("moderate-note", HTMLElement);
    this.held = byId("moderate-held", HTMLUListElement);
    /** The author of the message, and its room. @type {{name: string, room: string | undefined}} */
    this.about = { name: "", room: undefined };
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const { name, room } = this.about;
      /** @type {import("../moderation.js").Measure} */
      const measure = this.ban.checked ? "ban" : "mute";
      const target = { measure, clientId: name, room: this.here.checked ? room : undefined };
      const seconds = this.time.value === "" ? null : Number(this.time.value);
      this.#decide(() => this.moderation.impose(target, seconds, this.reason.value.trim()),
        `${name} is ${measure === "ban" ? "banned" : "muted"}`);
    });
  }

  /** @param {MessageFrame} frame @param {Conversation} conversation */
  async show(frame, conversation) {
    const room = conversation.isRoom ? conversation.name : undefined;
    this.about = { name: frame.clientId, room };
    this.text.replaceChildren(`${frame.clientId}: `, el("bdi", {}, excerpt(frame)));
    this.form.reset();
    this.here.disabled = room === undefined;
    this.here.checked = room !== undefined;
    this.everywhere.checked = room === undefined;
    this.hereLabel.textContent = room === undefined ? "In this room" : `In #${room}`;
    this.note.textContent = "";
    this.held.replaceChildren();
    this.dialog.showModal();
    await this.#read();
  }

  /**
   * Makes a decision, and shows whether it holds.
   * @param {() => Promise<void>} decision
   * @param {string} done
   */
  async #decide(decision, done) {
    this.note.textContent = "…";
    try {
      await decision();
      this.note.textContent = `${done}.`;
    } catch (error) {
      this.note.textContent = `Not done: ${error instanceof Error ? error.message : "no answer"}.`;
    }
    await this.#read();
  }

  /** Shows what holds now. */
  async #read() {
    const { about } = this;
    try {
      const sanctions = await this.moderation.of(about.name);
      if (about !== this.about) return;
      this.held.replaceChildren(...sanctions.map((sanction) => this.#held(sanction)));
    } catch (error) {
      if (about === this.about) this.note.textContent = `Not known: ${error instanceof Error ? error.message : "no answer"}.`;
    }
  }

  /** @param {Sanction} sanction */
  #held(sanction) {
    const { measure, room, until, reason } = sanction;
    const done = measure === "ban" ? "Banned" : "Muted";
    const place = room === undefined ? "on the server" : `in #${room}`;
    const end = until === undefined ? "without end" : `until ${wholeLabel(until)}`;
    const { name } = this.about;
    const undo = () => this.#decide(() => this.moderation.lift(sanction), `${name} is no longer ${done.toLowerCase()} ${place}`);
    return el("li", {}, el("span", {}, `${done} ${place} ${end}`, reason !== "" && ": ", reason !== "" && el("bdi", {}, reason)),
      el("button", { type: "button", class: "plain", "aria-label": `Take back: ${done} ${place}`, click: () => {
        // The button goes away with what it takes back.
        this.reason.focus();
        undo();
      } }, "Take back"));
  }
}
