// @ts-check
/**
 * The messages that this page sends. The outbox keeps them, and shows them as pending, until the server has them.
 *
 * @typedef {import("./chat.js").Change} Change
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./outbox.js").Entry} Entry
 * @typedef {import("./protocol.js").Refusal} Refusal
 */
import { Outbox } from "./outbox.js";
import { endLabel } from "./times.js";

const newId = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
};

export class OwnMessages {
  /**
   * @param {{conversations: Map<string, Conversation>, tell: (change: Change) => void}} options
   */
  constructor({ conversations, tell }) {
    this.conversations = conversations;
    this.tell = tell;
    this.outbox = new Outbox({ newId, now: () => Date.now() });
  }

  /**
   * @param {Conversation} conversation
   * @param {string} text
   * @param {number} [replyTo]
   */
  say(conversation, text, replyTo) {
    this.#send(this.outbox.add(conversation.key, text, replyTo));
  }

  /** @param {string} id */
  sayAgain(id) {
    const entry = this.outbox.retry(id);
    if (entry) this.#send(entry);
  }

  /** @param {string} id */
  withdraw(id) {
    const entry = this.outbox.entries.get(id);
    this.outbox.discard(id);
    if (entry) this.tell({ kind: "outbox", destination: entry.destination });
  }

  /** @param {Entry} entry */
  async #send({ id, destination, text, replyTo }) {
    const conversation = this.conversations.get(destination);
    if (!conversation?.to) return;
    this.tell({ kind: "outbox", destination });
    try {
      const { seq } = await conversation.to.send(text, { id, replyTo });
      this.outbox.acked(id);
      // The page shows a duplicate already, or will show it when it has caught up.
      if (conversation.isRoom && seq !== undefined && seq <= conversation.roomLog.newest && seq >= conversation.roomLog.oldest) this.outbox.seen(id);
    } catch (error) {
      const { code, message, retryAfterMs } = /** @type {Refusal} */ (error);
      const end = code === "muted" && retryAfterMs !== undefined ? `; it ends ${endLabel(Date.now() + retryAfterMs, Date.now())}` : "";
      this.outbox.refused(id, { code, message: `${message}${end}` });
    }
    this.tell({ kind: "outbox", destination });
  }
}
