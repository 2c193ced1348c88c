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
    /** The number of messages that arrived while the conversation was not in view. */
    this.unread = 0;
    /** The number of these that concern this client: mentions, and all private messages. */
    this.calls = 0;
    /** @type {"joining" | "joined" | "refused"} */
    this.membership = "joining";
    this.problem = "";
    /** Up to this seq, the missing messages are already on their way. */
    this.resumesTo = 0;
    this.isAskingOlder = false;
    this.isAskingGap = false;
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
