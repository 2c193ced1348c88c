// @ts-check
/**
 * The settings of a room and its invitations, for operators.
 *
 * @typedef {import("../moderation.js").Moderation} Moderation
 */

import { byId, el } from "./dom.js";

const DAY_SECONDS = 86_400;

export class RoomDialog {
  /** @param {Moderation} moderation */
  constructor(moderation) {
    this.moderation = moderation;
    this.room = "";
    this.dialog = byId("room-settings", HTMLDialogElement);
    this.heading = byId("room-settings-heading", HTMLElement);
    this.topic = byId("room-topic", HTMLInputElement);
    this.writers = byId("room-writers", HTMLSelectElement);
    this.access = byId("room-access", HTMLSelectElement);
    this.slow = byId("room-slow", HTMLSelectElement);
    this.newcomers = byId("room-newcomers", HTMLSelectElement);
    this.seenBy = byId("room-seen-by", HTMLSelectElement);
    this.messages = byId("room-messages", HTMLInputElement);
    this.days = byId("room-days", HTMLInputElement);
    this.save = byId("room-save", HTMLButtonElement);
    this.note = byId("room-note", HTMLElement);
    this.name = byId("room-invite", HTMLInputElement);
    this.invited = byId("room-invited", HTMLUListElement);
    byId("room-settings-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const { room } = this;
      this.#decide(() => this.moderation.set(room, this.#written()), `The settings of #${room} are saved`);
    });
    byId("room-invite-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const { room } = this;
      const name = this.name.value.trim();
      this.name.value = "";
      if (name !== "") this.#decide(() => this.moderation.invite(room, name), `${name} is invited`, () => this.#readInvited());
    });
  }

  /** @param {string} room */
  async show(room) {
    this.room = room;
    this.heading.textContent = `Settings of #${room}`;
    this.note.textContent = "";
    this.save.disabled = true;
    this.invited.replaceChildren();
    this.dialog.showModal();
    await this.#known(async () => {
      await this.#readSettings();
      await this.#readInvited();
    });
  }

  /** The settings as the form has them. @returns {import("../moderation.js").SettingsChange} */
  #written() {
    const messages = this.messages.value === "" ? {} : { messages: Number(this.messages.value) };
    const seconds = this.days.value === "" ? {} : { seconds: Math.max(1, Math.round(Number(this.days.value) * DAY_SECONDS)) };
    return {
      topic: this.topic.value.trim(),
      writers: this.writers.value === "operators" ? "operators" : "everyone",
      access: this.access.value === "invited" ? "invited" : "everyone",
      slowSeconds: Number(this.slow.value),
      newcomersSeeHistory: this.newcomers.value === "true",
      seenBy: this.seenBy.value === "null" ? null : this.seenBy.value === "true",
      retention: { ...messages, ...seconds },
    };
  }

  /**
   * Makes a decision, shows whether it holds, and then what holds.
   * @param {() => Promise<void>} decision
   * @param {string} done
   * @param {() => Promise<void>} read
   */
  async #decide(decision, done, read = () => this.#readSettings()) {
    this.note.textContent = "…";
    try {
      await decision();
      this.note.textContent = `${done}.`;
    } catch (error) {
      this.note.textContent = `Not done: ${error instanceof Error ? error.message : "no answer"}.`;
      return;
    }
    await this.#known(read);
  }

  /** @param {() => Promise<void>} read */
  async #known(read) {
    const { room } = this;
    try {
      await read();
    } catch (error) {
      if (room === this.room) this.note.textContent = `Not known: ${error instanceof Error ? error.message : "no answer"}.`;
    }
  }

  async #readSettings() {
    const { room } = this;
    const settings = await this.moderation.settings(room);
    if (room !== this.room) return;
    const { messages, seconds } = settings.retention;
    this.topic.value = settings.topic;
    this.writers.value = settings.writers;
    this.access.value = settings.access;
    this.#showSlow(settings.slowSeconds);
    this.newcomers.value = String(settings.newcomersSeeHistory);
    this.seenBy.value = String(settings.seenBy);
    this.messages.value = messages === undefined ? "" : String(messages);
    this.days.value = seconds === undefined ? "" : String(seconds / DAY_SECONDS);
    this.save.disabled = false;
  }

  async #readInvited() {
    const { room } = this;
    const invited = await this.moderation.invited(room);
    if (room === this.room) this.invited.replaceChildren(...invited.map((name) => this.#invited(name)));
  }

  /** @param {number} seconds */
  #showSlow(seconds) {
    const value = String(seconds);
    if (![...this.slow.options].some((option) => option.value === value)) {
      this.slow.append(el("option", { value }, `${seconds.toLocaleString()} s`));
    }
    this.slow.value = value;
  }

  /** @param {string} name */
  #invited(name) {
    const { room } = this;
    return el("li", {}, el("span", {}, name),
      el("button", { type: "button", class: "plain", "aria-label": `Take the invitation of ${name} back`, click: () => {
        // The button goes away with what it takes back.
        this.name.focus();
        this.#decide(() => this.moderation.uninvite(room, name), `${name} is no longer invited`, () => this.#readInvited());
      } }, "Take back"));
  }
}
