// @ts-check
/**
 * The list of conversations, and the client's own name.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 */

import { avatar, byId, el, icon, oncePerFrame } from "./dom.js";

export class Sidebar {
  /**
   * @param {Chat} chat
   * @param {{onOpen: (key: string) => void}} options
   */
  constructor(chat, { onOpen }) {
    this.chat = chat;
    this.onOpen = onOpen;
    this.rooms = byId("room-list", HTMLUListElement);
    this.privates = byId("private-list", HTMLUListElement);
    this.privateHint = byId("private-hint", HTMLElement);
    this.me = byId("me", HTMLElement);
    this.menuBadge = byId("menu-badge", HTMLElement);
    /** @type {Map<string, HTMLLIElement>} */
    this.rows = new Map();
    this.schedule = oncePerFrame(() => this.#refresh());
  }

  #refresh() {
    const conversations = [...this.chat.conversations.values()];
    this.#place(this.rooms, conversations.filter(({ isRoom }) => isRoom));
    const privates = conversations.filter(({ isRoom }) => !isRoom);
    this.#place(this.privates, privates);
    this.privateHint.hidden = privates.length > 0;
    this.me.replaceChildren(avatar(this.chat.name || "?"), el("span", { class: "name" }, this.chat.name || "not connected"));
    const calls = conversations.reduce((sum, conversation) => sum + (conversation === this.chat.active ? 0 : conversation.calls), 0);
    this.menuBadge.textContent = calls > 0 ? String(calls) : "";
    this.menuBadge.hidden = calls === 0;
  }

  /**
   * Updates rows instead of recreating them, so that the focused one keeps the focus.
   * @param {HTMLUListElement} list
   * @param {Conversation[]} conversations
   */
  #place(list, conversations) {
    const rows = conversations.map((conversation) => this.#row(conversation));
    for (const row of [...list.children]) if (!rows.includes(/** @type {HTMLLIElement} */ (row))) row.remove();
    rows.forEach((row, index) => {
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
  }

  /** @param {Conversation} conversation */
  #row(conversation) {
    const { key, name, isRoom, unread, unreadText, calls } = conversation;
    let row = this.rows.get(key);
    if (!row) {
      row = el("li", {}, el("button", { type: "button", "data-key": key, click: () => this.onOpen(key) },
        isRoom ? el("span", { class: "hash", "aria-hidden": "true" }, "#") : avatar(name),
        el("span", { class: "name" }, name),
        el("span", { class: "badge" })));
      this.rows.set(key, row);
    }
    const button = /** @type {HTMLButtonElement} */ (row.firstElementChild);
    const badge = /** @type {HTMLElement} */ (button.lastElementChild);
    button.classList.toggle("unread", unread > 0);
    if (conversation === this.chat.active) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    const many = unread > 99 ? "99+" : String(unread);
    badge.hidden = unread === 0;
    badge.classList.toggle("calls", calls > 0);
    badge.replaceChildren(el("span", { "aria-hidden": "true" }, isRoom && calls > 0 ? `@ ${many}` : many),
      el("span", { class: "sr" }, `${unreadText} unread${isRoom && calls > 0 ? `, ${calls} of them for you` : ""}`));
    return row;
  }

  /** @param {string} key */
  forget(key) {
    this.rows.delete(key);
  }
}

/**
 * The title above the messages: the name of the active conversation.
 */
export class TitleBar {
  /** @param {Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.title = byId("title", HTMLElement);
    this.subtitle = byId("subtitle", HTMLElement);
    this.leave = byId("leave", HTMLButtonElement);
    this.settingsButton = byId("room-settings-button", HTMLButtonElement);
    this.membersButton = byId("members-button", HTMLButtonElement);
    this.membersCount = byId("members-count", HTMLElement);
    this.schedule = oncePerFrame(() => this.#refresh());
  }

  #refresh() {
    const { active } = this.chat;
    if (!active) return;
    const { name, isRoom, members } = active;
    this.title.replaceChildren(isRoom ? el("span", { class: "hash" }, "#") : icon("lock"), name);
    const isHere = members.count > 0;
    const { topic = "" } = active.settings;
    const count = isHere ? `${members.count.toLocaleString()} ${members.count === 1 ? "member" : "members"}` : "";
    this.subtitle.replaceChildren(isRoom ? count : "Private conversation", ...(topic === "" ? [] : [count && " · ", el("bdi", {}, topic)]));
    this.subtitle.title = topic;
    this.settingsButton.hidden = !isRoom || !this.chat.isOperator;
    this.leave.hidden = isRoom && name === "lobby";
    this.leave.title = isRoom ? `Leave #${name}` : "Close this conversation";
    this.leave.setAttribute("aria-label", this.leave.title);
    this.membersButton.hidden = !isRoom;
    this.membersCount.textContent = isHere ? members.count.toLocaleString() : "";
    document.body.classList.toggle("in-private", !isRoom);
  }
}
