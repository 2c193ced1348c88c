// @ts-check
/**
 * The members of the active room. Only the visible rows are in the document, and all rows have the same height, so
 * thousands of members cost no more than thirty. The arrow keys move the focus.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 */

import { avatar, byId, el, oncePerFrame } from "./dom.js";

/** The height of a row (`.member` in members.css), and the number of rows beyond the visible ones. */
const ROW = 40;
const EXTRA = 8;

export class MemberList {
  /**
   * @param {Chat} chat
   * @param {{onPerson: (name: string) => void}} options
   */
  constructor(chat, { onPerson }) {
    this.chat = chat;
    this.onPerson = onPerson;
    this.scroller = byId("member-scroller", HTMLElement);
    this.list = byId("member-list", HTMLUListElement);
    this.filter = byId("member-filter", HTMLInputElement);
    this.note = byId("member-note", HTMLElement);
    /** @type {Conversation | null} */
    this.conversation = null;
    /** @type {string[]} */
    this.names = [];
    this.focused = 0;
    this.drawn = "";
    this.schedule = oncePerFrame(() => this.#refresh());
    const draw = oncePerFrame(() => this.#draw());
    this.scroller.addEventListener("scroll", draw, { passive: true });
    this.filter.addEventListener("input", () => {
      this.scroller.scrollTop = 0;
      this.#refresh();
    });
    this.list.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(draw).observe(this.scroller);
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    this.conversation = conversation;
    this.filter.value = "";
    this.focused = 0;
    this.scroller.scrollTop = 0;
    this.schedule();
  }

  #refresh() {
    const members = this.conversation?.members;
    if (!members) return;
    const wanted = this.filter.value.trim().toLowerCase();
    this.names = wanted === "" ? members.sorted : members.sorted.filter((name) => name.toLowerCase().includes(wanted));
    const unnamed = members.count - members.names.size;
    this.note.textContent = unnamed > 0 && members.truncated
      ? `and ${unnamed.toLocaleString()} more, not listed by the server`
      : wanted !== "" && this.names.length === 0 ? "No member has that name." : "";
    this.drawn = "";
    this.#draw();
  }

  #draw() {
    const { names } = this;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - EXTRA);
    const end = Math.min(names.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW) + EXTRA);
    const key = `${first} ${end}`;
    if (this.drawn === key) return;
    this.drawn = key;
    const hadFocus = this.list.contains(document.activeElement);
    this.focused = Math.min(Math.max(0, this.focused), Math.max(0, names.length - 1));
    // The row in the tab order must be in the document.
    const stop = this.focused >= first && this.focused < end ? this.focused : first;
    this.list.style.height = `${names.length * ROW}px`;
    this.list.replaceChildren(...names.slice(first, end).map((name, offset) => this.#row(name, first + offset, first + offset === stop)));
    if (hadFocus) this.#button(stop)?.focus({ preventScroll: true });
  }

  /**
   * @param {string} name
   * @param {number} index
   * @param {boolean} isStop
   */
  #row(name, index, isStop) {
    const isOwn = name === this.chat.name;
    const row = el("li", { class: "member", "aria-setsize": this.names.length, "aria-posinset": index + 1 },
      el("button", {
        type: "button", "data-index": index, tabindex: isStop ? "0" : "-1", "aria-disabled": isOwn ? "true" : null,
        title: isOwn ? "This is you" : `Write to ${name} in private`, click: () => isOwn || this.onPerson(name),
      }, avatar(name), el("span", { class: "name" }, name), isOwn && el("span", { class: "you" }, "you")));
    row.style.transform = `translateY(${index * ROW}px)`;
    return row;
  }

  /** @param {number} index @returns {HTMLButtonElement | null} */
  #button(index) {
    return this.list.querySelector(`[data-index="${index}"]`);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 1);
    const last = this.names.length - 1;
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -last, End: last };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const at = Number(/** @type {HTMLElement} */ (event.target).dataset.index ?? this.focused);
    const to = Math.min(last, Math.max(0, at + move));
    this.focused = to;
    const top = to * ROW;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW > this.scroller.scrollTop + this.scroller.clientHeight) this.scroller.scrollTop = top + ROW - this.scroller.clientHeight;
    this.drawn = "";
    this.#draw();
    this.#button(to)?.focus({ preventScroll: true });
  }
}
