// @ts-check
/**
 * Search in the active room. Its button is shown only if the server has search.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 */

import { offersSearch, search } from "../search.js";
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
    this.isOffered = await offersSearch(this.base, conversation.name, this.chat.connection.token);
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
    try {
      const { messages, hasMore } = await search(this.base, active.name, wanted, this.chat.connection.token);
      if (asked !== this.asked) return;
      this.note.textContent = messages.length === 0 ? "Nothing found." : hasMore ? `The newest ${messages.length}` : `${messages.length} found`;
      this.found.replaceChildren(...messages.map((frame) => el("li", {},
        el("div", { class: "head" }, el("strong", {}, frame.clientId), " ",
          el("time", { datetime: new Date(frame.at).toISOString() }, wholeLabel(frame.at))),
        messageText(frame.Message, this.chat.name))));
    } catch (error) {
      if (asked === this.asked) this.note.textContent = `Search failed: ${error instanceof Error ? error.message : "no answer"}.`;
    }
  }
}
