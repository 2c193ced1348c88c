// @ts-check
/**
 * The row of one message.
 *
 * Nothing in a row is in the tab order, because there would be hundreds of stops; see row-actions.js for the keyboard.
 *
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../conversation.js").Conversation} Conversation
 * @typedef {import("../outbox.js").Entry} Entry
 * @typedef {import("../protocol.js").MessageFrame} MessageFrame
 * @typedef {import("../room-log.js").Item} Item
 */

import { textOf } from "../protocol.js";
import { excerpt } from "../quotes.js";
import { reactedBy } from "../reactions.js";
import { routeTo } from "../routes.js";
import { dayLabel, isSameDay, timeLabel, wholeLabel } from "../times.js";
import { avatar, el, hueClass, icon } from "./dom.js";
import { messageText } from "./message-text.js";

/** Consecutive messages of one client within this time share one header. */
const TOGETHER_MS = 5 * 60_000;

const NOTICES = {
  restart: "The server has restarted and no longer has the messages above. They disappear when you close this page.",
  gap: "Messages are missing here. This page was disconnected for longer than the server keeps messages.",
};

export class MessageRows {
  /**
   * @param {Chat} chat
   * @param {{onPerson: (name: string) => void, onQuote: (seq: number) => void, editorOf: (frame: MessageFrame) => Node | null}} options
   *   `editorOf`: what stands in the place of the text while the person edits it
   */
  constructor(chat, { onPerson, onQuote, editorOf }) {
    this.chat = chat;
    this.onPerson = onPerson;
    this.onQuote = onQuote;
    this.editorOf = editorOf;
  }

  /**
   * @param {Conversation} conversation
   * @param {Item} item
   * @param {{before: Item | undefined, isNew: boolean, isPast: boolean}} place `isNew`: the first unread message; `isPast`: of
   *   an earlier numbering, so the server does not know it any more
   */
  row(conversation, item, { before, isNew, isPast }) {
    if (item.kind === "notice") return el("li", { class: "notice" }, el("p", {}, NOTICES[item.reason]));
    const { frame } = item;
    const previous = before?.kind === "message" ? before.frame : undefined;
    const isNewDay = !previous || !isSameDay(previous.at, frame.at);
    const isTogether = !isNewDay && frame.replyTo === undefined && previous.clientId === frame.clientId
      && frame.at - previous.at < TOGETHER_MS;
    const isOwn = frame.clientId === this.chat.name;
    const isCall = conversation.isRoom && !isPast && this.chat.isCall(conversation, frame);
    const names = ["message", isTogether && "together", isOwn && "own", isCall && "call"].filter(Boolean).join(" ");
    const label = el("time", { datetime: new Date(frame.at).toISOString(), title: wholeLabel(frame.at) }, timeLabel(frame.at));
    const time = conversation.isRoom && frame.seq !== undefined
      ? el("a", { class: "when", href: routeTo(conversation.key, frame.seq), tabindex: "-1" }, label) : label;
    return el("li", { class: names, "data-seq": isPast ? null : frame.seq },
      isNew && el("div", { class: "new-line" }, el("span", {}, "New messages")),
      isNewDay && el("div", { class: "day" }, el("span", {}, dayLabel(frame.at, Date.now()))),
      el("div", { class: "body" },
        isTogether ? el("span", { class: "gutter" }, time) : avatar(frame.clientId),
        el("div", { class: "content" },
          isTogether
            ? el("span", { class: "sr" }, frame.clientId)
            : el("div", { class: "head" }, this.#author(frame.clientId, isOwn), time),
          frame.replyTo !== undefined && this.#quote(conversation, frame.replyTo, isPast),
          frame.deleted
            ? el("p", { class: "deleted" }, "This message was deleted.")
            : this.editorOf(frame) ?? messageText(textOf(frame), this.chat.name),
          this.#marks(conversation, frame, isPast))));
  }

  /**
   * The row of a message that is on its way.
   * @param {Conversation} conversation
   * @param {Entry} entry
   */
  pending(conversation, entry) {
    const isRefused = entry.state === "refused";
    const status = this.chat.isReady ? "Sending…" : "Waiting for the connection";
    return el("li", { class: `message own pending ${entry.state}`, "data-id": entry.id },
      el("div", { class: "body" },
        avatar(this.chat.name),
        el("div", { class: "content" },
          el("div", { class: "head" },
            el("span", { class: `author ${hueClass(this.chat.name)}` }, this.chat.name),
            !isRefused && el("span", { class: "sending" }, entry.state === "taken" ? "Sent" : status)),
          entry.replyTo !== undefined && this.#quote(conversation, entry.replyTo, false),
          messageText(entry.text, this.chat.name),
          isRefused && el("div", { class: "refusal", role: "alert" },
            icon("warning"), el("span", {}, `Not sent: ${entry.problem?.message ?? ""}.`),
            el("button", { type: "button", click: () => this.chat.own.sayAgain(entry.id) }, "Send again"),
            el("button", { type: "button", click: () => this.chat.own.withdraw(entry.id) }, "Discard")))));
  }

  /**
   * @param {string} name
   * @param {boolean} isOwn
   */
  #author(name, isOwn) {
    if (isOwn) return el("span", { class: `author ${hueClass(name)}` }, name);
    return el("button", {
      type: "button", class: `author ${hueClass(name)}`, tabindex: "-1", title: `Write to ${name} in private`,
      click: () => this.onPerson(name),
    }, name);
  }

  /**
   * @param {Conversation} conversation
   * @param {number} seq of the message that the row replies to
   * @param {boolean} isPast
   */
  #quote(conversation, seq, isPast) {
    const quoted = isPast ? null : this.chat.quotes.of(conversation, seq);
    if (quoted === null) return el("span", { class: "quote" }, icon("reply"), "a message that the server no longer has");
    return el("button", { type: "button", class: "quote", tabindex: "-1", title: "Go to this message", click: () => this.onQuote(seq) },
      icon("reply"), el("span", { class: "sr" }, "Reply to "),
      quoted ? el("strong", {}, quoted.clientId) : "…", quoted && " ", quoted && el("bdi", {}, excerpt(quoted)));
  }

  /**
   * What was done to the message.
   * @param {Conversation} conversation
   * @param {MessageFrame} frame
   * @param {boolean} isPast
   */
  #marks(conversation, { seq, editedAt, reactions = [] }, isPast) {
    if (editedAt === undefined && reactions.length === 0) return null;
    return el("div", { class: "marks" },
      editedAt !== undefined && el("span", { class: "edited", title: wholeLabel(editedAt) }, "edited"),
      ...reactions.map(({ emoji, count, clientIds }) => {
        const isOwn = clientIds.includes(this.chat.name);
        const names = reactedBy({ emoji, count, clientIds }, this.chat.name);
        return el("button", {
          type: "button", class: "reaction", tabindex: "-1", "data-emoji": emoji, title: names, disabled: isPast,
          "aria-pressed": String(isOwn),
          click: () => seq !== undefined && this.chat.changes.react(conversation, seq, emoji, isOwn),
        }, el("span", { class: "emoji-only" }, emoji), ` ${count.toLocaleString()}`, el("span", { class: "sr" }, ` ${names}`));
      }));
  }
}
