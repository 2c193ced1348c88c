// @ts-check
/**
 * The person's own edits, deletions and reactions. The client repeats each until the server has accepted or refused it.
 *
 * @typedef {import("./conversation.js").Conversation} Conversation
 */

export class OwnChanges {
  /** @param {{problem: (text: string) => void}} options */
  constructor({ problem }) {
    this.problem = problem;
  }

  /**
   * @param {Conversation} conversation
   * @param {number} seq
   * @param {string} text
   * @returns {Promise<string>} the reason of the refusal; empty: the edit is accepted
   */
  async edit({ to }, seq, text) {
    try {
      await to?.edit(seq, text);
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** @param {Conversation} conversation @param {number} seq */
  delete({ to }, seq) {
    to?.delete(seq).catch(({ message }) => this.problem(`The message was not deleted: ${message}`));
  }

  /** @param {Conversation} conversation @param {number} seq @param {string} emoji @param {boolean} remove */
  react({ to }, seq, emoji, remove) {
    to?.react(seq, emoji, { remove }).catch(({ message }) => this.problem(`The reaction was not accepted: ${message}`));
  }
}
