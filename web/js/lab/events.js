// @ts-check
/** Parses server-sent events: accepts the text in pieces of any size and returns the data of each event. */

/** Most characters of one event. This server sends no longer event. */
const EVENT_MAX = 4_000_000;

export class EventReader {
  #unread = "";

  /**
   * @param {string} piece
   * @returns {string[]} the data of the events that are complete now
   */
  take(piece) {
    this.#unread += piece;
    const blocks = this.#unread.split(/\r?\n\r?\n/u);
    this.#unread = blocks.pop() ?? "";
    if (this.#unread.length > EVENT_MAX) throw new RangeError("the event is too long");
    return blocks.map(dataOf).filter((data) => data !== "");
  }
}

/** @param {string} block */
function dataOf(block) {
  const lines = block.split(/\r?\n/u).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice("data:".length).replace(/^ /u, "")).join("\n");
}
