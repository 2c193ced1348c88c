// @ts-check
/**
 * The text field for messages: Enter sends, Shift+Enter starts a new line. A line that begins with `/` is a command. Each
 * conversation keeps its unsent draft, and the message that the person replies to.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 */

import { parseCommand } from "../commands.js";
import { utf8Bytes } from "../protocol.js";
import { excerpt } from "../quotes.js";
import { browser } from "../storage.js";
import { CompletionList } from "./completion-list.js";
import { byId, el } from "./dom.js";
import { EmojiPicker } from "./emoji-picker.js";

/** The pause in typing after which a draft is stored. */
const DRAFT_MS = 300;

/** The height from which the field scrolls (`textarea` in layout.css), in pixels. */
const HEIGHT_MAX = 220;

/** Most stored drafts. The draft with the oldest change is dropped first. */
const DRAFTS_MAX = 100;

export class Composer {
  /**
   * @param {Chat} chat
   * @param {{onSent: () => void, onCommand: (command: import("../commands.js").Command) => void,
   *   onTyping: (conversation: Conversation) => void, onEditNewest: () => void}} options
   */
  constructor(chat, { onSent, onCommand, onTyping, onEditNewest }) {
    this.chat = chat;
    this.onSent = onSent;
    this.onCommand = onCommand;
    this.onTyping = onTyping;
    this.note = byId("composer-note", HTMLElement);
    this.replyBar = byId("composer-reply", HTMLElement);
    this.replyText = byId("composer-reply-text", HTMLElement);
    byId("composer-reply-end", HTMLButtonElement).addEventListener("click", () => this.reply(null));
    this.form = byId("composer", HTMLFormElement);
    this.text = byId("composer-text", HTMLTextAreaElement);
    this.size = byId("composer-size", HTMLElement);
    this.button = byId("send", HTMLButtonElement);
    /** @type {Conversation | null} */
    this.conversation = null;
    /** @type {Record<string, string>} */
    this.drafts = browser.get("drafts") ?? {};
    this.draftTimer = 0;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.completion = new CompletionList({
      field: this.text,
      names: () => (this.conversation?.isRoom ? this.conversation.members.sorted : [this.conversation?.name ?? ""]),
      onChanged: () => this.#changed(),
    });
    this.text.addEventListener("input", () => {
      this.#changed();
      this.completion.update();
    });
    this.text.addEventListener("keydown", (event) => {
      if (this.completion.takeKey(event)) return;
      if (event.key === "Escape" && this.conversation?.replyTo) this.reply(null);
      if (event.key === "ArrowUp" && this.text.value === "" && !event.altKey) {
        event.preventDefault();
        onEditNewest();
      }
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    addEventListener("resize", () => this.#fit());
    addEventListener("pagehide", () => this.#keepDrafts());
    const picker = new EmojiPicker("emoji", (emoji) => {
      this.text.setRangeText(emoji, this.text.selectionStart, this.text.selectionEnd, "end");
      this.#changed();
      this.text.focus();
    });
    const button = byId("emoji-button", HTMLButtonElement);
    button.addEventListener("click", () => picker.toggle(button));
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    this.conversation = conversation;
    this.completion.close();
    this.#complain("");
    this.text.value = this.drafts[conversation.key] ?? "";
    this.refreshReply();
    this.refreshWriting();
  }

  /** Shows where the next message goes, or why the person may not write there. */
  refreshWriting() {
    const { conversation } = this;
    if (!conversation) return;
    const place = conversation.isRoom ? `#${conversation.name}` : conversation.name;
    const mayWrite = this.chat.mayWrite(conversation);
    this.text.disabled = !mayWrite;
    this.text.placeholder = mayWrite ? `Message ${place}` : `Only operators may write in ${place}`;
    this.text.setAttribute("aria-label", mayWrite ? `Message to ${place}` : this.text.placeholder);
    this.#fit();
  }

  /** Makes the next message a reply to this one, or to none. @param {import("../protocol.js").MessageFrame | null} frame */
  reply(frame) {
    if (!this.conversation) return;
    this.conversation.replyTo = frame;
    this.refreshReply();
    this.text.focus();
  }

  /** Shows the message that the person replies to. To a deleted one nobody can reply. */
  refreshReply() {
    const { conversation } = this;
    if (conversation?.replyTo?.deleted) conversation.replyTo = null;
    const frame = conversation?.replyTo;
    this.replyBar.hidden = !frame;
    if (frame) this.replyText.replaceChildren("Reply to ", el("strong", {}, frame.clientId), " ", el("bdi", {}, excerpt(frame)));
  }

  focus() {
    this.text.focus();
  }

  #send() {
    const text = this.text.value.replace(/\s+$/u, "");
    if (text === "" || !this.conversation || this.#excess(text) > 0) return;
    const command = parseCommand(text);
    if (command.is === "refused") {
      this.#complain(command.problem);
      return;
    }
    const { conversation } = this;
    this.text.value = "";
    this.#changed();
    this.completion.close();
    if (command.is === "say") {
      this.chat.own.say(conversation, command.text, conversation.replyTo?.seq);
      conversation.replyTo = null;
      this.refreshReply();
      this.onSent();
    } else {
      this.onCommand(command);
    }
  }

  /** @param {string} problem the reason that a command is refused; empty: no command is refused */
  #complain(problem) {
    this.note.textContent = problem;
    this.note.hidden = problem === "";
  }

  /** @param {string} text */
  #excess(text) {
    return this.chat.limits ? utf8Bytes(text) - this.chat.limits.messageBytes : 0;
  }

  #changed() {
    const { conversation } = this;
    if (!conversation) return;
    this.#complain("");
    delete this.drafts[conversation.key];
    if (this.text.value !== "") this.drafts[conversation.key] = this.text.value;
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.#keepDrafts(), DRAFT_MS);
    // A command is no message, so nobody is told of it.
    if (this.text.value.trim() !== "" && parseCommand(this.text.value).is === "say") this.onTyping(conversation);
    this.#fit();
  }

  #keepDrafts() {
    browser.set("drafts", Object.fromEntries(Object.entries(this.drafts).slice(-DRAFTS_MAX)));
  }

  /** Adapts the height to the text, within bounds, and shows how many bytes are left or too many. */
  #fit() {
    this.text.style.height = "auto";
    const wanted = this.text.scrollHeight;
    this.text.style.height = `${Math.min(wanted, HEIGHT_MAX)}px`;
    this.text.style.overflowY = wanted > HEIGHT_MAX ? "auto" : "hidden";
    const most = this.chat.limits?.messageBytes ?? Number.MAX_SAFE_INTEGER;
    const excess = this.text.value.length * 4 > most * 0.8 ? this.#excess(this.text.value) : -Infinity;
    this.size.hidden = excess < -most * 0.2;
    this.size.classList.toggle("excess", excess > 0);
    this.size.textContent = excess > 0
      ? `${excess.toLocaleString()} bytes too long`
      : `${(-excess).toLocaleString()} bytes left`;
    this.text.setAttribute("aria-invalid", String(excess > 0));
    this.button.disabled = this.text.disabled || excess > 0 || this.text.value.trim() === "";
  }
}
