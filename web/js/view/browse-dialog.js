// @ts-check
/**
 * The list of rooms. A room that does not exist is created by joining it.
 *
 * @typedef {import("../chat.js").Chat} Chat
 */

import { roomKey } from "../conversation.js";
import { roomProblem } from "../protocol.js";
import { byId, el } from "./dom.js";

/** Most rooms in the list at a time. Typing finds the others. */
const SHOWN_MAX = 100;

export class BrowseDialog {
  /**
   * @param {Chat} chat
   * @param {{onOpen: (key: string) => void}} options
   */
  constructor(chat, { onOpen }) {
    this.chat = chat;
    this.onOpen = onOpen;
    this.dialog = byId("browse", HTMLDialogElement);
    this.form = byId("browse-form", HTMLFormElement);
    this.name = byId("browse-name", HTMLInputElement);
    this.list = byId("browse-list", HTMLUListElement);
    this.note = byId("browse-note", HTMLElement);
    this.submit = byId("browse-submit", HTMLButtonElement);
    /** @type {{room: string, count: number, seq: number}[]} */
    this.rooms = [];
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const room = this.name.value.trim().replace(/^#/u, "");
      const problem = roomProblem(room);
      if (problem) this.note.textContent = problem;
      else this.#open(room);
    });
    this.name.addEventListener("input", () => this.#fill());
  }

  async show() {
    this.name.value = "";
    this.rooms = [];
    this.#fill();
    this.note.textContent = "Loading…";
    this.dialog.showModal();
    try {
      this.rooms = await this.chat.askRooms();
      this.#fill();
    } catch {
      this.note.textContent = "Not connected: the list of rooms is not available.";
    }
  }

  #fill() {
    const wanted = this.name.value.trim().replace(/^#/u, "");
    const found = this.rooms.filter(({ room }) => room.toLowerCase().includes(wanted.toLowerCase()));
    const isNew = wanted !== "" && !this.rooms.some(({ room }) => room === wanted);
    this.submit.textContent = isNew ? "Create" : "Join";
    this.submit.disabled = wanted === "";
    this.note.textContent = found.length > SHOWN_MAX ? `${(found.length - SHOWN_MAX).toLocaleString()} more: type to filter the list`
      : found.length === 0 && wanted !== "" ? "This room does not exist yet. Joining creates it." : "";
    this.list.replaceChildren(...found.slice(0, SHOWN_MAX).map(({ room, count, seq }) => el("li", {},
      el("button", { type: "button", click: () => this.#open(room) },
        el("span", { class: "hash", "aria-hidden": "true" }, "#"),
        el("span", { class: "name" }, room),
        el("span", { class: "note" }, `${count.toLocaleString()} here · ${seq === 0 ? "no messages" : `newest #${seq.toLocaleString()}`}${this.chat.conversations.has(roomKey(room)) ? " · joined" : ""}`)))));
  }

  /** @param {string} room */
  #open(room) {
    this.dialog.close();
    this.onOpen(roomKey(room));
  }
}
