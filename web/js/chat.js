// @ts-check
/**
 * The state of the chat on this page: the own identity, the conversations, and the unsent messages. It handles the
 * server's frames and the person's actions, and notifies its listeners of changes. It does not know the document.
 *
 * @typedef {import("./protocol.js").Frame} Frame
 * @typedef {import("./protocol.js").Welcome} Welcome
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {import("./protocol.js").Refusal} Refusal
 * @typedef {import("./connection.js").State} State
 * @typedef {{name: string, key: string | null}} Identity an empty `name` accepts the name that the server assigns
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

/** Shortest time between two requests for the same list of members. */
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
    /** Whether this connection has its name and rejoins its rooms. Missed messages may still be on their way. */
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
   * The position of the private messages, if the server stores them.
   * `at` is the time of the newest one that this page has.
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

  // ---- Identity ------------------------------------------------------------------------------------------------

  /**
   * Connects with this name, or changes the name.
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
    // Live messages of the lobby arrive before the page has joined it again to resume, so the log must know their
    // epoch.
    if (lobby.roomLog.epoch !== null && lobby.roomLog.epoch !== welcome.epoch) {
      lobby.roomLog.breakOff(welcome.epoch, welcome.seq);
      lobby.isLoaded = false;
      this.outbox.forgotten(lobby.key);
    } else {
      lobby.resumesTo = Math.max(lobby.resumesTo, welcome.seq);
    }
    if (this.identity.name === "" || !isGuest(welcome.clientId)) {
      // The person has not chosen a name yet: a name that is not a guest's is the one in the token.
      this.identity = { name: isGuest(welcome.clientId) ? "" : welcome.clientId, key: welcome.key };
      this.#resumeInbox(welcome);
      this.#named();
    } else {
      this.#hello();
    }
  }

  /**
   * Requests the private messages that this page has missed, if the server stores them.
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

  /** @param {Identity | null} [before] the identity to keep if the name is refused */
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

  /** The connection has its name: joins the rooms, and sends the waiting messages. */
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
      // The epoch changes when an operator drops the inbox; nothing is recovered if its numbers start again.
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
   * Requests the messages before the oldest one in the log.
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
      // The page may contain own messages whose connection broke before they were acknowledged.
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
   * Requests the messages that are missing in the middle of the log, unless they are already on their way.
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
      // The server no longer has the missing messages.
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
      // It is requested again after the next change, or by the next connection.
    }
  }

  /** The list of rooms. @returns {Promise<{room: string, count: number, seq: number}[]>} */
  async askRooms() {
    return (await this.connection.ask({ type: "rooms" })).rooms;
  }

  // ---- Frames from the server ----------------------------------------------------------------------------------

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
        // A duplicate has been shown already, or will be when the page catches up.
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
        // A frame of a later version of the protocol, or one that this page does not need.
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

  // ---- Own messages --------------------------------------------------------------------------------------------

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
