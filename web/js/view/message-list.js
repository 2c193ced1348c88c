// @ts-check
/**
 * The messages of one conversation. At most `WINDOW` rows are in the document, however long the log is. Scrolling to an
 * end moves this window; while it shows the newest message, it follows new ones.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 */

import { seenText } from "../seen-by.js";
import { byId, icon, oncePerFrame } from "./dom.js";
import { MessageEditor } from "./message-editor.js";
import { MessageRows } from "./message-row.js";
import { RowActions } from "./row-actions.js";

/** Most rows in the document, and the number of rows that are added at a time. */
const WINDOW = 200;
const STEP = 60;

/** The distance from an end at which the window moves, and that counts as "at the newest message", in pixels. */
const NEAR = 800;
const AT_END = 48;

/** @param {Conversation} conversation */
const newLabel = ({ unread, unreadText }) => `${unreadText} new ${unread === 1 ? "message" : "messages"}`;

export class MessageList {
  /**
   * @param {Chat} chat
   * @param {{onPerson: (name: string) => void, onQuote: (seq: number) => void, onReply: (frame: MessageFrame) => void,
   *   onReact: (frame: MessageFrame, button: HTMLButtonElement) => void, onDelete: (frame: MessageFrame) => void, onModerate: (frame: MessageFrame) => void,
   *   onLeave: () => void}} options
   */
  constructor(chat, { onPerson, onQuote, ...onAction }) {
    this.chat = chat;
    this.scroller = byId("messages", HTMLElement);
    this.top = byId("messages-top", HTMLElement);
    this.rows = byId("rows", HTMLOListElement);
    this.pending = byId("pending", HTMLOListElement);
    this.seen = byId("seen", HTMLElement);
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
    this.editor = new MessageEditor(chat, { onChanged: (frame) => this.#redraw((shown) => shown === frame) });
    this.makes = new MessageRows(chat, { onPerson, onQuote, editorOf: (frame) => this.editor.of(frame) });
    this.actions = new RowActions(this.scroller, this.rows, {
      ...onAction,
      frameOf: (row) => this.#frameAt(this.first + [...this.rows.children].indexOf(row)),
      mayWrite: () => this.conversation !== null && chat.mayWrite(this.conversation),
      mayChange: ({ clientId }) => clientId === chat.name || chat.isOperator,
      mayModerate: ({ clientId }) => clientId !== chat.name && chat.isOperator,
      onEdit: (frame) => this.conversation && this.editor.begin(this.conversation, frame),
    });
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
      const index = this.#lineIndex();
      this.toNew.hidden = true;
      if (index >= 0) this.#reveal(index);
    });
    // When the composer grows or a phone is turned, a list that was at its end stays there.
    new ResizeObserver(() => this.isAtEnd && this.#toEnd()).observe(this.scroller);
    document.addEventListener("visibilitychange", () => this.#watch());
    for (const event of ["focus", "blur"]) addEventListener(event, () => this.#watch());
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    this.conversation = conversation;
    const { unread } = conversation;
    const label = newLabel(conversation);
    this.#restart();
    this.refreshPending();
    this.toNew.hidden = unread === 0 || this.#isLineSeen();
    this.toNew.replaceChildren(icon("up"), label);
  }

  /**
   * Shows a message of the active conversation in its place, and moves the focus there.
   * @param {number} seq
   */
  showMessage(seq) {
    const index = this.conversation?.log.indexOf(seq) ?? null;
    if (index !== null) this.#reveal(index);
  }

  /** Draws a message and its quotes again. @param {number} seq */
  changed(seq) {
    const { edited } = this.editor;
    if (edited?.frame.deleted) this.editor.end();
    this.#redraw((frame) => frame.seq === seq || frame.replyTo === seq);
    this.refreshPending();
  }

  /** Begins to edit the person's newest message. */
  editNewest() {
    const { conversation } = this;
    if (!conversation) return;
    const { items } = conversation.log;
    const isOwn = (/** @type {MessageFrame} */ frame) => frame.clientId === this.chat.name && frame.seq !== undefined && !frame.deleted;
    const item = items.findLast((one) => one.kind === "message" && isOwn(one.frame));
    if (item?.kind !== "message") return;
    this.toNewest();
    this.editor.begin(conversation, item.frame);
  }

  /** The message at this place of the log's numbers. @param {number} place */
  #frameAt(place) {
    const item = this.#log.items[place - this.#log.origin];
    return item?.kind === "message" ? item.frame : null;
  }

  /** Draws these rows again, without moving the others. @param {(frame: MessageFrame) => boolean} isMeant */
  #redraw(isMeant) {
    const { top } = this.scroller.getBoundingClientRect();
    const inView = [...this.rows.children].find((row) => row.getBoundingClientRect().bottom > top) ?? null;
    this.#keepPlace(() => {
      for (let place = this.first; place < this.end; place += 1) {
        const frame = this.#frameAt(place);
        const row = /** @type {HTMLElement | undefined} */ (this.rows.children[place - this.first]);
        const [fresh] = frame && row && isMeant(frame) ? this.#make(place, place + 1) : [];
        if (row && fresh) this.#replace(row, fresh);
      }
    }, inView);
    if (this.isAtEnd) this.#toEnd();
  }

  /** Gives a row the content of another one, and the focus back. @param {HTMLElement} row @param {HTMLElement} fresh */
  #replace(row, fresh) {
    const focused = row.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    row.className = fresh.className;
    row.replaceChildren(...fresh.childNodes);
    this.actions.redrawn(row);
    if (!focused || row.contains(document.activeElement)) return;
    const { emoji } = focused.dataset;
    const same = emoji === undefined ? focused : row.querySelector(`[data-emoji="${CSS.escape(emoji)}"]`);
    const next = same?.isConnected ? same : row;
    row.tabIndex = -1;
    /** @type {HTMLElement} */ (next).focus({ preventScroll: true });
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
    const { conversation } = this;
    const entries = conversation ? this.chat.outbox.of(conversation.key) : [];
    this.pending.replaceChildren(...entries.flatMap((entry) => (conversation ? [this.makes.pending(conversation, entry)] : [])));
    this.refreshSeen();
    if (this.isAtEnd) this.#toEnd();
  }

  /** Shows who has seen the newest message. */
  refreshSeen() {
    const { conversation } = this;
    const text = conversation && !this.pending.hasChildNodes() ? seenText(conversation, this.chat.name) : "";
    if (this.seen.textContent === text) return;
    this.seen.textContent = text;
    if (this.isAtEnd) this.#toEnd();
  }

  get #log() {
    return this.conversation?.log ?? { items: [], origin: 0, generation: 0, pastLength: 0, hasMore: false };
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
    if (this.lineAt !== (this.conversation?.newFrom ?? null)) this.#moveLine();
    this.refreshSeen();
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

  /** The first unread message is another one: others were loaded, or were read elsewhere. */
  #moveLine() {
    const { conversation } = this;
    for (const line of this.rows.querySelectorAll(".new-line")) line.remove();
    this.lineAt = conversation?.newFrom ?? null;
    if (!conversation || conversation.unread === 0) return;
    this.#redraw((frame) => frame === this.lineAt);
    this.toNew.replaceChildren(icon("up"), newLabel(conversation));
    // A message that has just arrived is below.
    this.toNew.hidden = this.#log.origin + this.#lineIndex() >= this.end || this.#isLineSeen();
  }

  /** The index in the log's items of the message with the line "New messages"; -1: none. */
  #lineIndex() {
    return this.#log.items.findLastIndex((item) => item.kind === "message" && item.frame === this.lineAt);
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
    this.chat.isWatching = this.isAtEnd && document.visibilityState === "visible" && document.hasFocus();
    this.chat.markRead();
    const below = this.#total - this.end;
    const unread = this.conversation?.unread ?? 0;
    this.newest.hidden = this.isAtEnd;
    if (!this.toNew.hidden && this.#isLineSeen()) this.toNew.hidden = true;
    const label = this.conversation && unread > 0 ? newLabel(this.conversation) : "Go to the newest";
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
    } else if (!conversation.log.hasMore && conversation.log.pastLength === 0) {
      const isWhole = conversation.roomLog.oldest === 1;
      text = isWhole ? `This is the beginning of #${conversation.name}.`
        : conversation.visibleAfter > 0 ? "Messages before you joined are not shown." : "The server no longer has older messages.";
    }
    if (this.top.textContent !== text) this.top.textContent = text;
  }

  /**
   * The rows of these items.
   * @param {number} first
   * @param {number} end
   */
  #make(first, end) {
    const { conversation } = this;
    const { items, origin, pastLength } = this.#log;
    /** @type {HTMLLIElement[]} */
    const rows = [];
    for (let index = first - origin; index < end - origin; index += 1) {
      const item = items[index];
      if (!item || !conversation) continue;
      const isNew = item.kind === "message" && item.frame === this.lineAt;
      rows.push(this.makes.row(conversation, item, { before: items[index - 1], isNew, isPast: index < pastLength }));
    }
    return rows;
  }
}
