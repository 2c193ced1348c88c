// @ts-check
/**
 * Announces incoming messages to screen readers: each message while there are few, otherwise their number. A live
 * region that reads every message of a busy room would never finish. Pure except for timers: `speak` is passed in.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 */

import { textOf } from "./protocol.js";

/** How long messages are collected, and how many are read in full. */
const GATHER_MS = 1_500;
const READ_MAX = 3;

/** Longer texts are cut; the message list has the full text. */
const TEXT_MAX = 200;

export class Announcer {
  /** @param {{speak: (text: string) => void}} options */
  constructor({ speak }) {
    this.speak = speak;
    /** @type {MessageFrame[]} */
    this.gathered = [];
    this.timer = 0;
  }

  /** @param {MessageFrame[]} frames */
  heard(frames) {
    this.gathered.push(...frames.filter(({ deleted }) => !deleted));
    if (this.timer === 0 && this.gathered.length > 0) this.timer = setTimeout(() => this.#tell(), GATHER_MS);
  }

  #tell() {
    const { gathered } = this;
    this.timer = 0;
    this.gathered = [];
    this.speak(gathered.length > READ_MAX
      ? `${gathered.length} new messages`
      : gathered.map((frame) => `${frame.clientId}: ${textOf(frame).slice(0, TEXT_MAX)}`).join("\n"));
  }
}
