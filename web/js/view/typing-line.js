// @ts-check
/**
 * The line below the text field that shows who types. It has its place also when it is empty, so that nothing moves.
 *
 * @typedef {import("../conversation.js").Conversation} Conversation
 */

import { TypingAnnouncements, typingText } from "../typists.js";
import { byId } from "./dom.js";

export class TypingLine {
  constructor() {
    this.line = byId("typing", HTMLElement);
    this.announcer = byId("typing-announcer", HTMLElement);
    this.announcements = new TypingAnnouncements({ now: () => Date.now() });
  }

  /** @param {Conversation} conversation */
  show({ key, typing }) {
    const text = typingText(typing);
    this.line.textContent = text;
    const announcement = this.announcements.next(key, text);
    if (announcement !== null) this.announcer.textContent = announcement;
    else if (text === "") this.announcer.textContent = "";
  }
}
