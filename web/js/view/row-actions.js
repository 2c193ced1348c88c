// @ts-check
/**
 * The actions of one message: a toolbar in the row that the mouse points at or that has the focus. The list of messages is
 * one stop of the tab key; the arrow keys go from message to message, Enter goes to the actions of one.
 *
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 */

import { el, icon } from "./dom.js";

const ROW = "li.message[data-seq]";

export class RowActions {
  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} rows
   * @param {{frameOf: (row: HTMLElement) => MessageFrame | null, mayWrite: () => boolean, mayChange: (frame: MessageFrame) => boolean,
   *   mayModerate: (frame: MessageFrame) => boolean, onModerate: (frame: MessageFrame) => void, onLeave: () => void,
   *   onReact: (frame: MessageFrame, button: HTMLButtonElement) => void, onReply: (frame: MessageFrame) => void,
   *   onEdit: (frame: MessageFrame) => void, onDelete: (frame: MessageFrame) => void}} options
   *   `onLeave`: Escape leaves the messages
   */
  constructor(scroller, rows, options) {
    this.scroller = scroller;
    this.rows = rows;
    this.options = options;
    /** @type {HTMLElement | null} */
    this.row = null;
    /** @type {MessageFrame | null} */
    this.frame = null;
    /** @type {(name: string, label: string, act: (frame: MessageFrame) => void) => HTMLButtonElement} */
    const button = (name, label, act) =>
      el("button", { type: "button", class: "quiet", "aria-label": label, title: label, "data-action": name,
        click: () => this.frame && act(this.frame) }, icon(name));
    this.react = button("smile", "React", (frame) => options.onReact(frame, this.react));
    this.reply = button("reply", "Reply", options.onReply);
    this.edit = button("pencil", "Edit", options.onEdit);
    this.delete = button("trash", "Delete", options.onDelete);
    this.moderate = button("shield", "Mute or ban", options.onModerate);
    this.bar = el("div", { class: "actions", role: "toolbar", "aria-label": "Actions for this message" },
      this.react, this.reply, this.edit, this.delete, this.moderate);
    for (const event of /** @type {const} */ (["pointermove", "pointerdown"])) {
      rows.addEventListener(event, ({ target }) => this.#show(/** @type {Element} */ (target).closest(ROW)));
    }
    rows.addEventListener("pointerleave", () => !this.row?.contains(document.activeElement) && this.#show(null));
    rows.addEventListener("focusin", ({ target }) => this.#show(/** @type {Element} */ (target).closest(ROW)));
    scroller.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Puts the toolbar back after the row was drawn again. @param {HTMLElement} row */
  redrawn(row) {
    if (row !== this.row) return;
    this.row = null;
    this.#show(row);
  }

  /** @param {Element | null} found */
  #show(found) {
    const row = /** @type {HTMLElement | null} */ (found);
    if (row === this.row) return;
    for (const part of this.#parts()) part.tabIndex = -1;
    this.bar.remove();
    const frame = row && this.options.frameOf(row);
    this.row = frame ? row : null;
    this.frame = frame;
    if (!row || !frame) return;
    for (const part of this.#parts()) part.tabIndex = 0;
    if (frame.deleted) return;
    const [mayWrite, mayChange] = [this.options.mayWrite(), this.options.mayChange(frame)];
    this.react.hidden = this.reply.hidden = !mayWrite;
    this.edit.hidden = !mayWrite || !mayChange;
    this.delete.hidden = !mayChange;
    this.moderate.hidden = !this.options.mayModerate(frame);
    this.#focusable().forEach((button, index) => {
      button.tabIndex = index === 0 ? 0 : -1;
    });
    row.querySelector(".body")?.append(this.bar);
  }

  /** The parts of the row that are in the tab order while it has the toolbar. @returns {Iterable<HTMLElement>} */
  #parts() {
    return this.row?.querySelectorAll(".quote, .reaction") ?? [];
  }

  #focusable() {
    return /** @type {HTMLButtonElement[]} */ ([...this.bar.children]).filter((button) => !button.hidden);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const isInBar = this.bar.contains(target);
    const row = target.closest(ROW);
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      this.#go(row, event.key === "ArrowUp" ? -1 : 1);
    } else if (event.key === "Enter" && target === row && this.bar.isConnected) {
      this.#focusable()[0]?.focus();
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && isInBar) {
      const buttons = this.#focusable();
      const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (target));
      buttons[(at + (event.key === "ArrowRight" ? 1 : buttons.length - 1)) % buttons.length]?.focus();
    } else if (event.key === "Escape" && row) {
      if (target === row) this.options.onLeave();
      else /** @type {HTMLElement} */ (row).focus({ preventScroll: true });
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Moves the focus to another row; from the list itself, to the last one in view. @param {Element | null} from @param {number} step */
  #go(from, step) {
    const rows = /** @type {HTMLElement[]} */ ([...this.rows.querySelectorAll(ROW)]);
    const { bottom } = this.scroller.getBoundingClientRect();
    const inView = rows.findLastIndex((row) => row.getBoundingClientRect().top < bottom);
    const next = rows[from ? rows.indexOf(/** @type {HTMLElement} */ (from)) + step : inView];
    if (!next) return;
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}
