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
    /** The number of messages that arrived while the conversation was not in view. */
    this.unread = 0;
    /** The number of unread messages that concern this client: mentions, and all private messages. */
    this.calls = 0;
    /** The first message that was unread when the person opened the conversation. @type {import("./protocol.js").MessageFrame | null} */
    this.newFrom = null;
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
