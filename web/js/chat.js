// @ts-check
/**
 * The chat as this page has it: who one is, the conversations, what is on its way. It takes the server's frames and the
 * person's wishes, and tells its listeners what changed; it knows no document.
 *
 * @typedef {import("./protocol.js").Frame} Frame
 * @typedef {import("./protocol.js").Welcome} Welcome
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {import("./protocol.js").Refusal} Refusal
 * @typedef {import("./connection.js").State} State
 * @typedef {{name: string, key: string | null}} Identity `name` empty: whatever name the server gives
 *
 * @typedef {{kind: "state", state: State} | {kind: "identity"} | {kind: "name refused", refusal: Refusal, name: string}
 *   | {kind: "conversations"} | {kind: "messages", conversation: Conversation} | {kind: "outbox", destination: string}
 *   | {kind: "members", conversation: Conversation} | {kind: "active"}
 *   | {kind: "call", conversation: Conversation, frame: MessageFrame}
 *   | {kind: "heard", conversation: Conversation, frames: MessageFrame[]} | {kind: "problem", text: string}} Change
 */

import { Connection } from "./connection.js";
import { Conversation, privateKey, roomKey } from "./conversation.js";
import { Outbox } from "./outbox.js";
import { PrivateLog } from "./private-log.js";
import { HISTORY_LIMIT_MAX, LOBBY, isGuest } from "./protocol.js";
import { mentionsName } from "./text-parts.js";

/** Messages that are asked for when a room is entered. */
const FIRST_PAGE = 60;

/** How often the list of members may be asked for again. */
const MEMBERS_PAUSE_MS = 5_000;

const newId = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
};

export class Chat {
  /** @param {{base: URL}} options */
  constructor({ base }) {
    /** @type {Set<(change: Change) => void>} */
    this.listeners = new Set();
    this.connection = new Connection({
      base,
      onState: (state) => this.#stateChanged(state),
      onWelcome: (welcome) => this.#welcomed(welcome),
      onFrame: (frame) => this.#frame(frame),
    });
    /** @type {Identity} */
    this.identity = { name: "", key: null };
    /** The name that the connection has now. */
    this.name = "";
    this.server = "";
    /** Whether this connection has its name, its rooms and what was missed is being asked for. */
    this.isReady = false;
    /** @type {import("./protocol.js").Limits | null} */
    this.limits = null;
    /** @type {Map<string, Conversation>} */
    this.conversations = new Map();
    /** @type {Conversation | null} */
    this.active = null;
    /** Whether a person sees the newest messages of the active conversation. */
    this.isWatching = false;
    this.outbox = new Outbox({ newId, now: () => Date.now() });
    this.outboxTimer = 0;
    /**
     * How far the private messages have come, where the server keeps them.
     * `at` is that of the newest that this page has.
     * @type {{seq: number, epoch: string, at?: number} | null}
     */
    this.inbox = null;
  }

  /** @param {(change: Change) => void} listener */
  listen(listener) {
    this.listeners.add(listener);
  }

  /** @param {Change} change */
  #tell(change) {
    for (const listener of this.listeners) listener(change);
  }

  // ---- Who one is ----------------------------------------------------------------------------------------------

  /**
   * Comes in under this name, or changes to it.
   * @param {Identity} identity
   * @param {string} [token]
   */
  enter(identity, token) {
    if (token !== undefined) this.connection.token = token;
    const before = this.isReady ? this.identity : null;
    this.identity = identity;
    if (this.connection.state.is === "open") this.#hello(before);
    else this.connection.start();
  }

  /** @param {Welcome} welcome the first of a connection: so far it is a guest in the lobby */
  #welcomed(welcome) {
    this.limits = welcome.limits;
    this.server = welcome.server;
    this.name = welcome.clientId;
    const lobby = this.open(roomKey(LOBBY));
    // Messages of the lobby come from now on, before it is joined again to resume: they must know their epoch.
    if (lobby.roomLog.epoch !== null && lobby.roomLog.epoch !== welcome.epoch) {
      lobby.roomLog.breakOff(welcome.epoch, welcome.seq);
      lobby.isLoaded = false;
      this.outbox.forgotten(lobby.key);
    } else {
      lobby.resumesTo = Math.max(lobby.resumesTo, welcome.seq);
    }
    if (this.identity.name === "" || !isGuest(welcome.clientId)) {
      // Nobody asked for a name yet: one that is no guest's came with the token.
      this.identity = { name: isGuest(welcome.clientId) ? "" : welcome.clientId, key: welcome.key };
      this.#resumeInbox(welcome);
      this.#named();
    } else {
      this.#hello();
    }
  }

  /**
   * Asks for the private messages that this page missed, where the server keeps them.
   * @param {Pick<Welcome, "inbox">} where
   */
  #resumeInbox({ inbox }) {
    if (inbox && this.inbox?.epoch === inbox.epoch && this.inbox.seq < inbox.seq) {
      const { seq, epoch, at } = this.inbox;
      const proof = at === undefined ? {} : { afterAt: at };
      this.connection.ask({ type: "join", inbox: true, after: seq, epoch, ...proof }).catch(() => undefined);
    } else {
      const isSame = this.inbox?.epoch === inbox?.epoch;
      for (const { log } of this.conversations.values()) if (!isSame && log instanceof PrivateLog) log.begin();
      if (!isSame || this.inbox?.seq !== inbox?.seq) this.inbox = inbox ?? null;
    }
  }

  /** @param {Identity | null} [before] who one stays if the name is refused */
  async #hello(before = null) {
    const { name, key } = this.identity;
    try {
      const hello = { type: "hello", clientId: name, ...(key ? { key } : {}) };
      const welcome = /** @type {any} */ (await this.connection.ask(hello));
      this.name = welcome.clientId;
      this.identity = { name: welcome.clientId, key: welcome.key };
      this.#named();
    } catch (error) {
      const refusal = /** @type {Refusal} */ (error);
      if (before !== null && this.isReady) this.identity = before;
      if (refusal.code !== "lost") this.#tell({ kind: "name refused", refusal, name });
    }
  }

  /** The connection has its name: now the rooms, and what waits to be sent. */
  #named() {
    const wasReady = this.isReady;
    this.isReady = true;
    this.#tell({ kind: "identity" });
    if (!wasReady) for (const conversation of this.conversations.values()) if (conversation.isRoom) this.#join(conversation);
    this.#sendWaiting();
  }

  // ---- Conversations -------------------------------------------------------------------------------------------

  /**
   * The conversation with this key; a room is joined if one is not in it.
   * @param {string} key
   */
  open(key) {
    let conversation = this.conversations.get(key);
    if (conversation) {
      if (conversation.membership === "refused" && this.isReady) this.#join(conversation);
      return conversation;
    }
    conversation = new Conversation(key);
    this.conversations.set(key, conversation);
    if (conversation.isRoom && this.isReady) this.#join(conversation);
    this.#tell({ kind: "conversations" });
    return conversation;
  }

  /** @param {string} key */
  activate(key) {
    this.active = this.open(key);
    this.#tell({ kind: "active" });
    this.markRead();
  }

  /** @param {Conversation} conversation */
  leave(conversation) {
    this.conversations.delete(conversation.key);
    if (conversation.isRoom && this.isReady) {
      this.connection.ask({ type: "leave", room: conversation.name }).catch(() => undefined);
    }
    for (const { id } of this.outbox.of(conversation.key)) this.outbox.discard(id);
    this.#tell({ kind: "conversations" });
    if (this.active === conversation) this.activate(roomKey(LOBBY));
  }

  /** The newest messages of the active conversation have been seen. */
  markRead() {
    const { active } = this;
    if (!active || (active.unread === 0 && active.calls === 0)) return;
    active.unread = 0;
    active.calls = 0;
    this.#tell({ kind: "conversations" });
  }

  /** @param {Conversation} conversation */
  async #join(conversation) {
    const log = conversation.roomLog;
    conversation.membership = "joining";
    try {
      await this.connection.ask({ type: "join", room: conversation.name, presence: true, ...log.resumeFrom });
    } catch (error) {
      const refusal = /** @type {Refusal} */ (error);
      if (refusal.code === "lost") return;
      conversation.membership = "refused";
      conversation.problem = refusal.message;
      this.#tell({ kind: "conversations" });
      this.#tell({ kind: "messages", conversation });
    }
  }

  /** @param {Frame} frame */
  #joined(frame) {
    if (frame.inbox) {
      // With another epoch where an operator dropped what was in it; not recovered where the server counts anew.
      if (this.inbox?.epoch !== frame.epoch || frame.recovered === false) {
        this.inbox = null;
        this.#resumeInbox({ inbox: { seq: frame.seq, epoch: frame.epoch } });
      }
      return;
    }
    const conversation = this.conversations.get(roomKey(frame.room));
    if (!conversation) return;
    const outcome = conversation.roomLog.enter(/** @type {any} */ (frame));
    if (outcome === "broken") this.outbox.forgotten(conversation.key);
    conversation.membership = "joined";
    conversation.members.count = frame.count;
    conversation.resumesTo = outcome === "resumed" ? frame.seq : 0;
    if (outcome !== "resumed" || !conversation.isLoaded) this.#askNewest(conversation);
    else this.#fillGap(conversation);
    this.#tell({ kind: "conversations" });
    this.#tell({ kind: "messages", conversation });
    this.#tell({ kind: "members", conversation });
    this.askMembers(conversation);
    this.#sendWaiting();
  }

  /** @param {Conversation} conversation */
  async #askNewest(conversation) {
    await this.#askPage(conversation, { limit: FIRST_PAGE });
    conversation.isLoaded = true;
    this.#tell({ kind: "messages", conversation });
    this.#tell({ kind: "outbox", destination: conversation.key });
    this.#fillGap(conversation);
  }

  /**
   * Asks for the messages before the oldest there is.
   * @param {Conversation} conversation
   */
  async askOlder(conversation) {
    if (!conversation.isRoom || !this.isReady || conversation.isAskingOlder) return;
    const log = conversation.roomLog;
    if (!log.hasMore || log.epoch === null || !conversation.isLoaded) return;
    conversation.isAskingOlder = true;
    this.#tell({ kind: "messages", conversation });
    await this.#askPage(conversation, { before: log.oldest, limit: 100 });
    conversation.isAskingOlder = false;
    this.#tell({ kind: "messages", conversation });
  }

  /**
   * @param {Conversation} conversation
   * @param {{before?: number, after?: number, limit: number}} page
   */
  async #askPage(conversation, page) {
    const log = conversation.roomLog;
    const { epoch } = log;
    try {
      const answer = await this.connection.ask({ type: "history", room: conversation.name, ...page });
      if (log.epoch !== epoch) return;
      // One's own may be among them, sent by a connection that broke before it was told so.
      for (const frame of answer.messages) if (frame.clientId === this.name) this.outbox.seen(frame.id);
      if (page.after === undefined) this.#show(conversation, log.takePage(answer.messages, answer.hasMore));
      else for (const frame of answer.messages) this.#show(conversation, log.take(frame));
    } catch (error) {
      const refusal = /** @type {Refusal} */ (error);
      if (refusal.code === "no_such_room") log.hasMore = false;
      else if (refusal.code !== "lost") this.#tell({ kind: "problem", text: refusal.message });
    }
  }

  /**
   * Asks for what is missing inside, where nothing else brings it.
   * @param {Conversation} conversation
   */
  async #fillGap(conversation) {
    const log = conversation.roomLog;
    if (conversation.isAskingGap || !log.hasGap || log.newest < conversation.resumesTo || !conversation.isLoaded) return;
    conversation.isAskingGap = true;
    const before = log.newest;
    await this.#askPage(conversation, { after: log.newest, limit: HISTORY_LIMIT_MAX });
    conversation.isAskingGap = false;
    if (!log.hasGap || !this.isReady) return;
    if (log.newest > before) {
      this.#fillGap(conversation);
    } else {
      // The server does not have it any more.
      const newest = Math.max(...log.ahead.keys());
      log.breakOff(log.epoch ?? "", newest);
      this.#askNewest(conversation);
    }
  }

  /** @param {Conversation} conversation */
  async askMembers(conversation) {
    if (conversation.isAskingMembers || !conversation.isRoom) return;
    conversation.isAskingMembers = true;
    setTimeout(() => {
      conversation.isAskingMembers = false;
      if (conversation.members.listed && conversation.members.isStale) this.askMembers(conversation);
    }, MEMBERS_PAUSE_MS);
    try {
      const list = await this.connection.ask({ type: "members", room: conversation.name });
      conversation.members.list(/** @type {any} */ (list));
      this.#tell({ kind: "members", conversation });
    } catch {
      // Comes again with the next change, or with the next connection.
    }
  }

  /** Which rooms there are. @returns {Promise<{room: string, count: number, seq: number}[]>} */
  async askRooms() {
    return (await this.connection.ask({ type: "rooms" })).rooms;
  }

  // ---- What the server says ------------------------------------------------------------------------------------

  /** @param {State} state */
  #stateChanged(state) {
    if (state.is !== "open" && this.isReady) {
      this.isReady = false;
      this.outbox.connectionLost();
      for (const conversation of this.conversations.values()) {
        conversation.isAskingOlder = false;
        conversation.isAskingGap = false;
        if (conversation.isRoom) conversation.membership = "joining";
      }
    }
    this.#tell({ kind: "state", state });
  }

  /** @param {Frame} frame */
  #frame(frame) {
    switch (frame.type) {
      case "message":
        this.#message(/** @type {any} */ (frame));
        break;
      case "ack": {
        const entry = this.outbox.acked(frame.id);
        // Told to be there already: then it is among what has been shown, or will be.
        if (entry && frame.seq !== undefined && this.#hasShown(entry.destination, frame.seq)) this.outbox.seen(frame.id);
        if (entry) this.#tell({ kind: "outbox", destination: entry.destination });
        this.#sendWaiting();
        break;
      }
      case "joined":
        this.#joined(frame);
        break;
      case "left": {
        // Not asked for: an operator dropped the room, or a new token does not allow it.
        const conversation = this.conversations.get(roomKey(frame.room));
        if (!conversation) break;
        conversation.membership = "refused";
        conversation.problem = "you are no longer in this room";
        this.#tell({ kind: "conversations" });
        this.#tell({ kind: "messages", conversation });
        break;
      }
      case "presence": {
        const conversation = this.conversations.get(roomKey(frame.room));
        if (!conversation) break;
        conversation.members.change(/** @type {any} */ (frame));
        if (conversation.members.isStale) this.askMembers(conversation);
        this.#tell({ kind: "members", conversation });
        break;
      }
      case "error":
        this.#refused(/** @type {any} */ (frame));
        break;
      default:
        // Of a later version of the protocol, or of no interest.
        break;
    }
  }

  /** @param {string} destination @param {number} seq */
  #hasShown(destination, seq) {
    const conversation = this.conversations.get(destination);
    return conversation?.isRoom === true && seq <= conversation.roomLog.newest && seq >= conversation.roomLog.oldest;
  }

  /** @param {MessageFrame} frame */
  #message(frame) {
    if (frame.room === undefined) {
      const other = frame.clientId === this.name ? (frame.to ?? "") : frame.clientId;
      const conversation = this.open(privateKey(other));
      if (this.inbox && (frame.seq ?? 0) > this.inbox.seq) {
        this.inbox.seq = frame.seq ?? 0;
        this.inbox.at = frame.at;
      }
      this.#show(conversation, conversation.log.take(frame));
      return;
    }
    const conversation = this.conversations.get(roomKey(frame.room));
    if (!conversation) return;
    this.#show(conversation, conversation.log.take(frame));
    if (conversation.roomLog.hasGap) this.#fillGap(conversation);
  }

  /**
   * @param {Conversation} conversation
   * @param {MessageFrame[]} frames
   */
  #show(conversation, frames) {
    if (frames.length === 0) return;
    let unreadChanged = false;
    let outboxChanged = false;
    const isSeen = this.isWatching && this.active === conversation;
    for (const frame of frames) {
      if (frame.clientId === this.name) {
        outboxChanged = this.outbox.seen(frame.id) || outboxChanged;
        continue;
      }
      const isCall = !conversation.isRoom || mentionsName(frame.Message, this.name);
      if (!isSeen) {
        conversation.unread += 1;
        if (isCall) conversation.calls += 1;
        unreadChanged = true;
      }
      if (isCall) this.#tell({ kind: "call", conversation, frame });
    }
    this.#tell({ kind: "messages", conversation });
    this.#tell({ kind: "heard", conversation, frames });
    if (unreadChanged) this.#tell({ kind: "conversations" });
    if (outboxChanged) this.#tell({ kind: "outbox", destination: conversation.key });
    if (outboxChanged) this.#sendWaiting();
  }

  /** @param {Refusal} refusal */
  #refused(refusal) {
    const entry = this.outbox.refused(refusal);
    if (!entry) {
      if (refusal.code !== "rate_limited") this.#tell({ kind: "problem", text: refusal.message });
      return;
    }
    const conversation = this.conversations.get(entry.destination);
    if (refusal.code === "not_a_member" && conversation) this.#join(conversation);
    this.#tell({ kind: "outbox", destination: entry.destination });
    this.#sendWaiting();
  }

  // ---- What one says -------------------------------------------------------------------------------------------

  /**
   * @param {Conversation} conversation
   * @param {string} text
   */
  say(conversation, text) {
    this.outbox.add(conversation.key, text);
    this.#tell({ kind: "outbox", destination: conversation.key });
    this.#sendWaiting();
  }

  /** @param {string} id */
  sayAgain(id) {
    const entry = this.outbox.entries.get(id);
    this.outbox.retry(id);
    if (entry) this.#tell({ kind: "outbox", destination: entry.destination });
    this.#sendWaiting();
  }

  /** @param {string} id */
  withdraw(id) {
    const entry = this.outbox.entries.get(id);
    this.outbox.discard(id);
    if (entry) this.#tell({ kind: "outbox", destination: entry.destination });
  }

  #sendWaiting() {
    clearTimeout(this.outboxTimer);
    if (!this.isReady) return;
    for (const entry of this.outbox.ready()) {
      const conversation = this.conversations.get(entry.destination);
      if (conversation?.isRoom && conversation.membership !== "joined") continue;
      const name = entry.destination.slice(1);
      const where = entry.destination.startsWith("#") ? { room: name } : { to: name };
      this.connection.send({ type: "message", ...where, Message: entry.text, id: entry.id });
      this.outbox.sent(entry);
    }
    const next = this.outbox.nextInMs;
    if (next !== null) this.outboxTimer = setTimeout(() => this.#sendWaiting(), next + 5);
  }
}
