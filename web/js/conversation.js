// @ts-check
/**
 * A joined room, or a private conversation: its messages, and how many of them are unread.
 *
 * Its `key` is `#room` or `@name`; names and rooms contain neither character.
 */

import { Members } from "./members.js";
import { PrivateLog } from "./private-log.js";
import { RoomLog } from "./room-log.js";

export class Conversation {
  /** @param {string} key */
  constructor(key) {
    this.key = key;
    this.name = key.slice(1);
    this.isRoom = key.startsWith("#");
    this.log = this.isRoom ? new RoomLog() : new PrivateLog();
    this.members = new Members();
    /** The client's room or private conversation. @type {import("./starling.js").Room | import("./starling.js").PrivateConversation | null} */
    this.to = null;
    /** How far the person has read, as a seq; `null`: not known yet. */
    this.upto = /** @type {number | null} */ (null);
    /** The number of messages of others after `upto`, as far as they are loaded. */
    this.unread = 0;
    /** Whether there are earlier unread messages that are not loaded. */
    this.hasEarlierUnread = false;
    /** The number of unread messages that concern this client: mentions, and all private messages. */
    this.calls = 0;
    /** The first message that was unread when the person opened the conversation. @type {import("./protocol.js").MessageFrame | null} */
    this.newFrom = null;
    /** The message that the person replies to. @type {import("./protocol.js").MessageFrame | null} */
    this.replyTo = null;
    /** How far others have read, where the server tells it. @type {Map<string, number>} */
    this.seenBy = new Map();
    /** The settings of a room. @type {import("./starling.js").RoomSettings} */
    this.settings = {};
    /** The newest message that the room hides from this client; 0: none. */
    this.visibleAfter = 0;
    /** The others who type. @type {import("./starling.js").Typing} */
    this.typing = { clientIds: [], more: false };
    /** @type {"joining" | "joined" | "refused"} */
    this.membership = "joining";
    this.problem = "";
    this.isAskingOlder = false;
    this.isAskingMembers = false;
    /** Whether the first page of messages has arrived. */
    this.isLoaded = !this.isRoom;
  }

  /** The number of unread messages, for a person. */
  get unreadText() {
    return `${this.unread.toLocaleString()}${this.hasEarlierUnread ? "+" : ""}`;
  }

  /** The log of a room. @returns {RoomLog} */
  get roomLog() {
    if (!(this.log instanceof RoomLog)) throw new TypeError(`${this.key} is not a room`);
    return this.log;
  }
}

/** @param {string} room */
export const roomKey = (room) => `#${room}`;

/** @param {string} name */
export const privateKey = (name) => `@${name}`;
