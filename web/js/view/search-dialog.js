// @ts-check
/**
 * Search in the active room or in all rooms. The page shows its button only if the server has search.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 */

import { textOf } from "../protocol.js";
import { routeTo } from "../routes.js";
import { ROOMS_MAX, offersSearch, search } from "../search.js";
import { wholeLabel } from "../times.js";
import { byId, el } from "./dom.js";
import { messageText } from "./message-text.js";

export class SearchDialog {
  /**
   * @param {Chat} chat
   * @param {URL} base
   */
  constructor(chat, base) {
    this.chat = chat;
    this.base = base;
    this.button = byId("search-button", HTMLButtonElement);
    this.dialog = byId("search", HTMLDialogElement);
    this.wanted = byId("search-wanted", HTMLInputElement);
    this.isEverywhere = byId("search-everywhere", HTMLInputElement);
    this.note = byId("search-note", HTMLElement);
    this.found = byId("search-found", HTMLOListElement);
    /** @type {boolean | null} `null`: not known yet */
    this.isOffered = null;
    this.isAsking = false;
    this.asked = 0;
    this.button.addEventListener("click", () => {
      this.found.replaceChildren();
      this.note.textContent = "";
      this.dialog.showModal();
      this.wanted.select();
    });
    byId("search-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search();
    });
  }

  /** @param {Conversation} conversation */
  async show(conversation) {
    this.button.hidden = !(this.isOffered === true && conversation.isRoom);
    if (this.isOffered !== null || this.isAsking || !conversation.isRoom || conversation.roomLog.newest === 0) return;
    this.isAsking = true;
    this.isOffered = await offersSearch(this.base, conversation.name, this.chat.token);
    this.isAsking = false;
    if (this.chat.active) this.button.hidden = !(this.isOffered && this.chat.active.isRoom);
  }

  async #search() {
    const { active } = this.chat;
    const wanted = this.wanted.value.trim();
    if (!active?.isRoom || wanted === "") return;
    this.asked += 1;
    const asked = this.asked;
    this.note.textContent = "Searching…";
    const { token } = this.chat;
    try {
      const rooms = this.isEverywhere.checked ? await this.#rooms() : [active.name];
      const { messages, hasMore, failed } = await search(this.base, rooms, wanted, token);
      if (asked !== this.asked) return;
      const found = messages.length === 0 ? "Nothing found" : hasMore ? `The newest ${messages.length}` : `${messages.length} found`;
      const limits = [
        rooms.length > ROOMS_MAX && `searched only the ${ROOMS_MAX} rooms with the most members, of ${rooms.length.toLocaleString()} rooms`,
        failed > 0 && `${failed.toLocaleString()} of the rooms did not answer: try again`,
      ].filter(Boolean);
      this.note.textContent = [found, ...limits].join("; ");
      this.found.replaceChildren(...messages.map((frame) => this.#hit(frame)));
    } catch (error) {
      if (asked === this.asked) this.note.textContent = `Search failed: ${error instanceof Error ? error.message : "no answer"}.`;
    }
  }

  /** The rooms with messages, those with the most members first. */
  async #rooms() {
    return (await this.chat.askRooms()).filter(({ seq }) => seq > 0).map(({ room }) => room);
  }

  /** @param {import("../protocol.js").MessageFrame} frame */
  #hit(frame) {
    const place = this.isEverywhere.checked ? ` in #${frame.room} ` : " ";
    return el("li", {},
      el("div", { class: "head" }, el("strong", {}, frame.clientId), place,
        el("a", { href: routeTo(`#${frame.room}`, frame.seq), click: () => this.dialog.close() },
          el("time", { datetime: new Date(frame.at).toISOString() }, wholeLabel(frame.at)))),
      messageText(textOf(frame), this.chat.name));
  }
}
