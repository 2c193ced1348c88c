// @ts-check
/**
 * A room that one is in, or a private conversation: its messages, and how far they were read.
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
    /** Messages that came while nobody looked. */
    this.unread = 0;
    /** Those among them that speak to this client: mentions, and everything private. */
    this.calls = 0;
    /** @type {"joining" | "joined" | "refused"} */
    this.membership = "joining";
    this.problem = "";
    /** Until this seq, what is missing is on its way. */
    this.resumesTo = 0;
    this.isAskingOlder = false;
    this.isAskingGap = false;
    this.isAskingMembers = false;
    /** Whether the first page of messages has been asked for and has come. */
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
