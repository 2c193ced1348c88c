// @ts-check
/**
 * The messages of one conversation. At most `WINDOW` rows are in the document, however long the log is. Scrolling to an
 * end moves this window; while it shows the newest message, it follows new ones.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 * @typedef {import("../room-log.js").Item} Item
 * @typedef {import("../outbox.js").Entry} Entry
 */

import { routeTo } from "../routes.js";
import { mentionsName } from "../text-parts.js";
import { dayLabel, isSameDay, timeLabel, wholeLabel } from "../times.js";
import { avatar, byId, el, hueClass, icon, oncePerFrame } from "./dom.js";
import { messageText } from "./message-text.js";

/** Most rows in the document, and the number of rows that are added at a time. */
const WINDOW = 200;
const STEP = 60;

/** The distance from an end at which the window moves, and that counts as "at the newest message", in pixels. */
const NEAR = 800;
const AT_END = 48;

/** Consecutive messages of one client within this time share one header. */
const TOGETHER_MS = 5 * 60_000;

const NOTICES = {
  restart: "The server has restarted and no longer has the messages above. They disappear when you close this page.",
  gap: "Messages are missing here. This page was disconnected for longer than the server keeps messages.",
};

export class MessageList {
  /**
   * @param {Chat} chat
   * @param {{onPerson: (name: string) => void}} options
   */
  constructor(chat, { onPerson }) {
    this.chat = chat;
    this.onPerson = onPerson;
    this.scroller = byId("messages", HTMLElement);
    this.top = byId("messages-top", HTMLElement);
    this.rows = byId("rows", HTMLOListElement);
    this.pending = byId("pending", HTMLOListElement);
    this.newest = byId("newest", HTMLButtonElement);
    this.toNew = byId("to-new", HTMLButtonElement);
    /** The message whose row has the line "New messages". @type {import("../protocol.js").MessageFrame | null} */
    this.lineAt = null;
    /** @type {Conversation | null} */
    this.conversation = null;
    this.generation = 0;
    /** The window, in the log's numbers (`origin` + index); `end` is not in it. */
    this.first = 0;
    this.end = 0;
    this.isAtEnd = true;
    this.schedule = oncePerFrame(() => this.#refresh());
    const scrolled = oncePerFrame(() => this.#scrolled());
    this.scroller.addEventListener("scroll", scrolled, { passive: true });
    this.scroller.addEventListener("keydown", (event) => {
      if (event.target !== this.scroller) return;
      if (event.key === "End") this.toNewest();
    });
    this.newest.addEventListener("click", () => {
      this.toNewest();
      this.scroller.focus({ preventScroll: true });
    });
    this.toNew.addEventListener("click", () => {
      const index = this.#log.items.findIndex((item) => item.kind === "message" && item.frame === this.lineAt);
      this.toNew.hidden = true;
      if (index >= 0) this.#reveal(index);
    });
    // When the composer grows or a phone is turned, a list that was at its end stays there.
    new ResizeObserver(() => this.isAtEnd && this.#toEnd()).observe(this.scroller);
    document.addEventListener("visibilitychange", () => this.#watch());
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    this.conversation = conversation;
    const { unread } = conversation;
    this.#restart();
    this.refreshPending();
    this.toNew.replaceChildren(icon("up"), `${unread.toLocaleString()} new ${unread === 1 ? "message" : "messages"}`);
    this.toNew.hidden = unread === 0 || this.#isLineSeen();
  }

  /**
   * Shows a message of the active room in its place, and moves the focus there.
   * @param {number} seq
   */
  showMessage(seq) {
    const index = this.conversation?.isRoom ? this.conversation.roomLog.indexOf(seq) : null;
    if (index !== null) this.#reveal(index);
  }

  /** @param {number} index in the log's items */
  #reveal(index) {
    const log = this.#log;
    this.generation = log.generation;
    this.first = Math.max(log.origin, log.origin + index - WINDOW / 4);
    this.end = Math.min(this.#total, this.first + WINDOW / 2);
    this.rows.replaceChildren(...this.#make(this.first, this.end));
    this.isAtEnd = false;
    const row = /** @type {HTMLElement | undefined} */ (this.rows.children[log.origin + index - this.first]);
    if (!row) return;
    row.scrollIntoView({ block: "center" });
    row.classList.add("found");
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    this.#scrolled();
  }

  /** Whether the line "New messages" is in view, or there is none. */
  #isLineSeen() {
    if (this.lineAt === null) return true;
    const line = this.rows.querySelector(".new-line");
    return line !== null && line.getBoundingClientRect().top >= this.scroller.getBoundingClientRect().top;
  }

  toNewest() {
    this.#restart();
  }

  /** Scrolls up by a page; earlier messages are loaded. */
  scrollUp() {
    this.scroller.scrollBy(0, -this.scroller.clientHeight);
    this.scroller.focus({ preventScroll: true });
  }

  /** Shows the client's own messages that are not yet in the room. */
  refreshPending() {
    const entries = this.conversation ? this.chat.outbox.of(this.conversation.key) : [];
    this.pending.replaceChildren(...entries.map((entry) => this.#pendingRow(entry)));
    if (this.isAtEnd) this.#toEnd();
  }

  get #log() {
    return this.conversation?.log ?? { items: [], origin: 0, generation: 0, hasMore: false };
  }

  get #total() {
    return this.#log.origin + this.#log.items.length;
  }

  /** Starts with the newest messages. */
  #restart() {
    const log = this.#log;
    this.lineAt = this.conversation?.newFrom ?? null;
    this.generation = log.generation;
    this.end = this.#total;
    this.first = Math.max(log.origin, this.end - WINDOW / 2);
    this.rows.replaceChildren(...this.#make(this.first, this.end));
    this.isAtEnd = true;
    this.#describeTop();
    this.#toEnd();
    this.#watch();
  }

  #refresh() {
    const log = this.#log;
    if (this.lineAt !== (this.conversation?.newFrom ?? null)) {
      for (const line of this.rows.querySelectorAll(".new-line")) line.remove();
      this.lineAt = this.conversation?.newFrom ?? null;
    }
    if (log.generation !== this.generation || this.#total - this.end > WINDOW) {
      if (this.isAtEnd || log.generation !== this.generation) return this.#restart();
    }
    // The first page of the history arrives after live messages that were already shown.
    if (this.isAtEnd && this.first > log.origin && this.end - this.first < WINDOW / 2) return this.#restart();
    this.#removeFirst(log.origin - this.first);
    if (this.isAtEnd) {
      this.#append(this.#total - this.end);
      this.#removeFirst(this.end - this.first - WINDOW);
      this.#toEnd();
    } else if (this.end - this.first < WINDOW) {
      this.#append(Math.min(STEP, this.#total - this.end));
    }
    this.#describeTop();
    this.#watch();
    this.#extend();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.isAtEnd = this.end === this.#total && scrollHeight - scrollTop - clientHeight < AT_END;
    this.#extend();
    this.#watch();
  }

  /** Moves the window if the scroll position is near one of its ends. */
  #extend() {
    if (!this.conversation) return;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (scrollTop < NEAR) {
      const more = Math.min(STEP, this.first - this.#log.origin);
      if (more > 0) {
        this.#prepend(more);
        if (this.scroller.scrollTop < NEAR) this.schedule();
      } else if (this.#log.hasMore) this.chat.askOlder(this.conversation);
    } else if (scrollHeight - scrollTop - clientHeight < NEAR && this.end < this.#total) {
      this.#append(Math.min(STEP, this.#total - this.end));
      this.#keepPlace(() => this.#removeFirst(this.end - this.first - WINDOW), this.rows.lastElementChild);
    }
  }

  /** @param {number} count */
  #prepend(count) {
    const old = this.rows.firstElementChild;
    this.#keepPlace(() => {
      this.first -= count;
      this.rows.prepend(...this.#make(this.first, this.first + count));
      // The previous first message may now share a header or a day with the message before it.
      const row = this.#make(this.first + count, this.first + count + 1)[0];
      if (old && row) old.replaceWith(row);
    }, old?.nextElementSibling ?? null);
    while (this.end - this.first > WINDOW && !this.isAtEnd) {
      this.rows.lastElementChild?.remove();
      this.end -= 1;
    }
  }

  /** @param {number} count */
  #append(count) {
    if (count <= 0) return;
    this.rows.append(...this.#make(this.end, this.end + count));
    this.end += count;
  }

  /** @param {number} count */
  #removeFirst(count) {
    for (let left = count; left > 0; left -= 1) {
      this.rows.firstElementChild?.remove();
      this.first += 1;
    }
  }

  /**
   * Changes the rows without moving the visible content.
   * @param {() => void} change
   * @param {Element | null} anchor a row that stays
   */
  #keepPlace(change, anchor) {
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    if (anchor) this.scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Tells the chat whether the newest messages are visible, and shows the person how many are unread. */
  #watch() {
    const isWatching = this.isAtEnd && document.visibilityState === "visible";
    this.chat.isWatching = isWatching;
    if (isWatching) this.chat.markRead();
    const below = this.#total - this.end;
    const unread = this.conversation?.unread ?? 0;
    this.newest.hidden = this.isAtEnd;
    if (!this.toNew.hidden && this.#isLineSeen()) this.toNew.hidden = true;
    const label = unread > 0 ? `${unread.toLocaleString()} new ${unread === 1 ? "message" : "messages"}` : "Go to the newest";
    if (!this.newest.hidden && this.newest.dataset.label !== label) {
      this.newest.dataset.label = label;
      this.newest.replaceChildren(icon("down"), label);
    }
    this.scroller.dataset.below = String(below);
  }

  #describeTop() {
    const { conversation } = this;
    if (!conversation) return;
    let text = "";
    if (!conversation.isRoom) {
      text = conversation.isAskingOlder ? "Loading messages…" : `Only you and ${conversation.name} see this.${
        this.chat.isPrivateStored ? "" : " The server does not store it: it disappears when you close this page."}`;
    } else if (conversation.membership === "refused") {
      text = `You are not in this room: ${conversation.problem}.`;
    } else if (!conversation.isLoaded || conversation.isAskingOlder) {
      text = "Loading messages…";
    } else if (!conversation.log.hasMore && conversation.roomLog.pastLength === 0) {
      const isWhole = conversation.roomLog.oldest === 1;
      text = isWhole ? `This is the beginning of #${conversation.name}.` : "The server no longer has older messages.";
    }
    if (this.top.textContent !== text) this.top.textContent = text;
  }

  /**
   * The rows of these items.
   * @param {number} first
   * @param {number} end
   */
  #make(first, end) {
    const { items, origin } = this.#log;
    /** @type {HTMLLIElement[]} */
    const rows = [];
    for (let index = first - origin; index < end - origin; index += 1) {
      const item = items[index];
      if (item) rows.push(this.#row(item, items[index - 1]));
    }
    return rows;
  }

  /**
   * @param {Item} item
   * @param {Item | undefined} before
   */
  #row(item, before) {
    if (item.kind === "notice") return el("li", { class: "notice" }, el("p", {}, NOTICES[item.reason]));
    const { frame } = item;
    const previous = before?.kind === "message" ? before.frame : undefined;
    const isNewDay = !previous || !isSameDay(previous.at, frame.at);
    const isTogether = !isNewDay && previous.clientId === frame.clientId && frame.at - previous.at < TOGETHER_MS;
    const isOwn = frame.clientId === this.chat.name;
    const isCall = !isOwn && this.conversation?.isRoom === true && mentionsName(frame.Message, this.chat.name);
    const names = ["message", isTogether && "together", isOwn && "own", isCall && "call"].filter(Boolean).join(" ");
    const label = el("time", { datetime: new Date(frame.at).toISOString(), title: wholeLabel(frame.at) }, timeLabel(frame.at));
    // Not in the tab order, like the authors.
    const time = this.conversation?.isRoom && frame.seq !== undefined
      ? el("a", { class: "when", href: routeTo(this.conversation.key, frame.seq), tabindex: "-1" }, label) : label;
    return el("li", { class: names, "data-seq": frame.seq },
      frame === this.lineAt && el("div", { class: "new-line" }, el("span", {}, "New messages")),
      isNewDay && el("div", { class: "day" }, el("span", {}, dayLabel(frame.at, Date.now()))),
      el("div", { class: "body" },
        isTogether ? el("span", { class: "gutter" }, time) : avatar(frame.clientId),
        el("div", { class: "content" },
          isTogether
            ? el("span", { class: "sr" }, frame.clientId)
            : el("div", { class: "head" }, this.#author(frame.clientId, isOwn), time),
          messageText(frame.Message, this.chat.name))));
  }

  /**
   * @param {string} name
   * @param {boolean} isOwn
   */
  #author(name, isOwn) {
    if (isOwn) return el("span", { class: `author ${hueClass(name)}` }, name);
    // Not in the tab order: there would be hundreds of stops, and the member list contains everybody.
    return el("button", {
      type: "button", class: `author ${hueClass(name)}`, tabindex: "-1", title: `Write to ${name} in private`,
      click: () => this.onPerson(name),
    }, name);
  }

  /** @param {Entry} entry */
  #pendingRow(entry) {
    const isRefused = entry.state === "refused";
    const status = this.chat.isReady ? "Sending…" : "Waiting for the connection";
    return el("li", { class: `message own pending ${entry.state}`, "data-id": entry.id },
      el("div", { class: "body" },
        avatar(this.chat.name),
        el("div", { class: "content" },
          el("div", { class: "head" },
            el("span", { class: `author ${hueClass(this.chat.name)}` }, this.chat.name),
            !isRefused && el("span", { class: "sending" }, entry.state === "taken" ? "Sent" : status)),
          messageText(entry.text, this.chat.name),
          isRefused && el("div", { class: "refusal", role: "alert" },
            icon("warning"), el("span", {}, `Not sent: ${entry.problem?.message ?? ""}.`),
            el("button", { type: "button", click: () => this.chat.own.sayAgain(entry.id) }, "Send again"),
            el("button", { type: "button", click: () => this.chat.own.withdraw(entry.id) }, "Discard")))));
  }
}
