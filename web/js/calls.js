// @ts-check
/**
 * Notifies the person about private messages and mentions, if the setting is on: with a desktop notification while the
 * page is not in view, and with their number in the page's title. No data leaves the browser.
 *
 * @typedef {import("./chat.js").Chat} Chat
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 */

import { textOf } from "./protocol.js";
import { browser } from "./storage.js";

const TITLE = "Starling";

export class Calls {
  /**
   * @param {Chat} chat
   * @param {{onOpen: (key: string) => void}} options
   */
  constructor(chat, { onOpen }) {
    this.chat = chat;
    this.onOpen = onOpen;
    this.isOn = browser.get("calls") === true;
  }

  /**
   * @param {boolean} isOn
   * @returns {Promise<string>} a note for the person; empty if there is none
   */
  async set(isOn) {
    this.isOn = isOn;
    browser.set("calls", isOn);
    this.count();
    if (!isOn) return "";
    if (!("Notification" in globalThis)) return "This browser does not support notifications here. The title still shows the number of messages.";
    const permission = Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
    return permission === "granted" ? "" : "The browser does not allow notifications. The title still shows the number of messages.";
  }

  /** Shows the number in the title. */
  count() {
    let calls = 0;
    for (const conversation of this.chat.conversations.values()) calls += conversation.calls;
    const { active } = this.chat;
    const place = active ? `${active.isRoom ? "#" : ""}${active.name} · ${TITLE}` : TITLE;
    const title = this.isOn && calls > 0 ? `(${calls}) ${place}` : place;
    if (document.title !== title) document.title = title;
  }

  /**
   * @param {Conversation} conversation
   * @param {MessageFrame} frame
   */
  called(conversation, frame) {
    if (!this.isOn || (document.visibilityState === "visible" && document.hasFocus())) return;
    if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
    const place = conversation.isRoom ? ` in #${conversation.name}` : "";
    try {
      const notification = new Notification(`${frame.clientId}${place}`, { body: textOf(frame).slice(0, 200), tag: conversation.key });
      notification.onclick = () => {
        focus();
        this.onOpen(conversation.key);
        notification.close();
      };
    } catch {
      // Some mobile browsers allow notifications only in service workers.
    }
  }
}
