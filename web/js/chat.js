// @ts-check
/**
 * The state of the chat on this page: the own identity, the conversations, and the unsent messages. It handles the events
 * of the client and the person's actions, and notifies its listeners of changes. It does not know the document.
 *
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {import("./protocol.js").MessageChange} MessageChange
 * @typedef {import("./protocol.js").Refusal} Refusal
 * @typedef {import("./starling.js").Status} State
 * @typedef {{name: string, key: string | null}} Identity an empty `name` accepts the name that the server assigns
 *
 * @typedef {{kind: "state", state: State} | {kind: "identity"} | {kind: "name refused", refusal: Refusal, name: string}
 *   | {kind: "conversations"} | {kind: "messages", conversation: Conversation} | {kind: "outbox", destination: string}
 *   | {kind: "seen", conversation: Conversation} | {kind: "settings", conversation: Conversation}
 *   | {kind: "members", conversation: Conversation} | {kind: "active"} | {kind: "typing", conversation: Conversation}
 *   | {kind: "call", conversation: Conversation, frame: MessageFrame}
 *   | {kind: "heard", conversation: Conversation, frames: MessageFrame[]} | {kind: "problem", text: string}
 *   | {kind: "changed", conversation: Conversation, seq: number}} Change `changed`: a message, or the quote of it, looks different
 */

import { Conversation, privateKey, roomKey } from "./conversation.js";
import { OwnChanges } from "./own-changes.js";
import { OwnMessages } from "./own-messages.js";
import { PrivateLog } from "./private-log.js";
import { HISTORY_LIMIT_MAX, LOBBY, isGuest, isOperatorToken, textOf } from "./protocol.js";
import { Quotes } from "./quotes.js";
import { Reading } from "./reading.js";
import { connect } from "./starling.js";
import { mentionsName } from "./text-parts.js";

/** Number of messages to request when a room is entered, and when the person scrolls up. */
const FIRST_PAGE = 60;
const NEXT_PAGE = 100;

/** Most pages to read to reach one message. */
const REACH_PAGES_MAX = 100;

/** Shortest time between two requests for the same list of members. */
const MEMBERS_PAUSE_MS = 5_000;

/** Shortest time between two frames about how far the person has read in one place. */
const READ_PAUSE_MS = 1_000;

/** Unread messages to load and count, and most requests for them. */
const COUNTED_UNREAD = 100;
const UNREAD_PAGES_MAX = 3;

/** The reasons of a stop that concern the name, not the connection. */
const NAME_REFUSED = new Set(["name_taken", "bad_name"]);

export class Chat {
  /** The name of the last connection, or before a change of it. */
  #lastName = "";

  /**
   * @param {{base: URL, getToken: (reason: {message: string, refused: string}) => Promise<string>}} options
   */
  constructor({ base, getToken }) {
    /** @type {Set<(change: Change) => void>} */
    this.listeners = new Set();
    this.token = "";
    this.client = connect({
      url: new URL("ws", base),
      start: false,
      getToken: async (reason) => {
        this.token = await getToken(reason);
        return this.token;
      },
    });
    this.client.on("state", (state) => this.#stateChanged(state));
    this.client.on("identity", () => this.#named());
    this.client.on("private", (frame, other) => {
      const conversation = this.open(privateKey(other));
      this.#show(conversation, conversation.log.take(frame));
    });
    this.client.on("change", (change, other) => {
      const conversation = this.conversations.get(privateKey(other));
      if (conversation) this.#changed(conversation, change);
    });
    this.client.on("read", ({ seq }) => {
      this.reading.heardInbox(seq);
      this.#tell({ kind: "conversations" });
      if (this.active && !this.active.isRoom) this.#tell({ kind: "messages", conversation: this.active });
    });
    this.client.on("inbox", ({ recovered }) => this.#inboxOpened(recovered));
    this.client.on("error", ({ message }) => this.#tell({ kind: "problem", text: message }));
    /** @type {Identity} */
    this.identity = { name: "", key: null };
    /** Whether the server stores private messages. */
    this.isPrivateStored = false;
    /** @type {Map<string, Conversation>} */
    this.conversations = new Map();
    /** @type {Conversation | null} */
    this.active = null;
    /** Whether the person sees the newest messages of the active conversation. */
    this.isWatching = false;
    this.own = new OwnMessages({ conversations: this.conversations, tell: (change) => this.#tell(change) });
    this.outbox = this.own.outbox;
    this.changes = new OwnChanges({ problem: (text) => this.#tell({ kind: "problem", text }) });
    this.quotes = new Quotes({
      ask: async (conversation, seq) => (await this.#history(conversation, seq + 1, 1)).messages[0],
      arrived: (conversation, seq) => this.#tell({ kind: "changed", conversation, seq }),
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    });
    this.reading = new Reading({
      conversations: this.conversations,
      isCounted: ({ clientId, deleted }) => clientId !== this.name && !deleted,
      // Counting fetches no message.
      isCall: (conversation, frame) => this.isCall(conversation, frame, (seq) => this.quotes.known(conversation, seq)),
      pause: () => new Promise((resolve) => setTimeout(resolve, READ_PAUSE_MS)),
    });
  }

  /** The name that the connection has now. */
  get name() {
    return this.client.name;
  }

  get server() {
    return this.client.server;
  }

  get limits() {
    return this.client.limits;
  }

  /** Whether the server lets this client change the messages of others. */
  get isOperator() {
    return isOperatorToken(this.token);
  }

  /** Whether this connection has its name and joins its rooms. Missed messages may still arrive. */
  get isReady() {
    return this.client.state === "open";
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
   */
  enter(identity) {
    const { name, key } = identity;
    if (this.isReady && name !== "") {
      this.client.rename(name, key ?? "").catch((refusal) => {
        if (refusal.code !== "lost") this.#tell({ kind: "name refused", refusal, name });
      });
    } else {
      this.identity = identity;
      this.client.start({ name, key: key ?? "" });
    }
  }

  #named() {
    if (this.#lastName !== this.name) this.reading.renamed();
    this.#lastName = this.name;
    this.identity = { name: isGuest(this.name) ? "" : this.name, key: this.client.key };
    this.#tell({ kind: "identity" });
  }

  /** @param {State} state */
  #stateChanged(state) {
    if (state.state !== "open") {
      this.outbox.connectionLost();
      for (const conversation of this.conversations.values()) {
        conversation.isAskingOlder = false;
        if (conversation.isRoom) conversation.membership = "joining";
      }
    }
    this.#tell({ kind: "state", state });
    if (state.state === "stopped" && NAME_REFUSED.has(state.why)) {
      this.#tell({ kind: "name refused", refusal: { code: state.why, message: state.reason }, name: this.identity.name });
    }
  }

  // ---- Conversations -------------------------------------------------------------------------------------------

  /**
   * Returns the conversation with this key. Joins the room if this client is not a member.
   * @param {string} key
   */
  open(key) {
    const known = this.conversations.get(key);
    if (known) {
      if (known.membership === "refused" && known.to && "join" in known.to) known.to.join();
      return known;
    }
    const conversation = new Conversation(key);
    this.conversations.set(key, conversation);
    const to = conversation.isRoom ? this.#enterRoom(conversation) : this.client.privateWith(conversation.name);
    conversation.to = to;
    this.reading.begin(conversation);
    to.on("typing", (typing) => {
      conversation.typing = typing;
      this.#tell({ kind: "typing", conversation });
    });
    this.#tell({ kind: "conversations" });
    return conversation;
  }

  /** @param {Conversation} conversation */
  #enterRoom(conversation) {
    const room = this.client.room(conversation.name);
    room.on("joined", (joined) => this.#joined(conversation, joined));
    room.on("settings", ({ settings }) => this.#set(conversation, settings));
    room.on("message", (frame) => this.#show(conversation, conversation.log.take(frame)));
    room.on("change", (change) => this.#changed(conversation, change));
    room.on("read", ({ clientId, seq }) => this.#hasRead(conversation, clientId, seq));
    room.on("presence", (change) => {
      conversation.members.change(change);
      if (conversation.members.isStale) this.askMembers(conversation);
      this.#tell({ kind: "members", conversation });
    });
    room.on("left", ({ code, message }) => {
      conversation.membership = "refused";
      conversation.problem = code === "left" ? "you are no longer in this room" : message;
      this.#tell({ kind: "conversations" });
      this.#tell({ kind: "messages", conversation });
    });
    return room;
  }

  /** @param {string} key */
  activate(key) {
    const before = this.active;
    this.active = this.open(key);
    if (before && before !== this.active && before.unread === 0) before.newFrom = null;
    this.#tell({ kind: "active" });
  }

  /** @param {Conversation} conversation */
  leave(conversation) {
    this.conversations.delete(conversation.key);
    if (conversation.to && "leave" in conversation.to) conversation.to.leave();
    for (const { id } of this.outbox.of(conversation.key)) this.outbox.discard(id);
    this.#tell({ kind: "conversations" });
    if (this.active === conversation) this.activate(roomKey(LOBBY));
  }

  /** Marks the active conversation as read, if the person sees its newest messages. */
  markRead() {
    if (this.active && this.isWatching && this.reading.seen(this.active)) this.#tell({ kind: "conversations" });
  }

  /** @param {Conversation} conversation @param {import("./starling.js").RoomSettings} settings */
  #set(conversation, settings) {
    conversation.settings = settings;
    if (settings.newcomersSeeHistory !== false) this.#sees(conversation, 0);
    if (settings.seenBy === false) conversation.seenBy.clear();
    this.#tell({ kind: "settings", conversation });
  }

  /** @param {Conversation} conversation @param {number} visibleAfter */
  #sees(conversation, visibleAfter) {
    const before = conversation.visibleAfter;
    conversation.visibleAfter = visibleAfter;
    if (visibleAfter >= before) return;
    conversation.roomLog.mayHaveMore();
    this.#tell({ kind: "messages", conversation });
  }

  /** Whether the settings of a room let this client write. @param {Conversation} conversation */
  mayWrite({ settings }) {
    return settings.writers !== "operators" || this.isOperator;
  }

  /** @param {Conversation} conversation @param {string} name @param {number} seq */
  #hasRead(conversation, name, seq) {
    if (name !== this.name) {
      conversation.seenBy.set(name, seq);
      this.#tell({ kind: "seen", conversation });
      return;
    }
    this.reading.heard(conversation, seq);
    this.#tell({ kind: "conversations" });
    this.#tell({ kind: "messages", conversation });
  }

  /**
   * @param {Conversation} conversation
   * @param {import("./starling.js").Joined} joined
   */
  #joined(conversation, joined) {
    if (conversation.roomLog.epoch !== joined.epoch) this.reading.begin(conversation);
    else this.reading.resumed(conversation);
    const outcome = conversation.roomLog.enter(joined);
    if (outcome === "broken") this.outbox.forgotten(conversation.key);
    conversation.membership = "joined";
    conversation.members.count = joined.count;
    this.#sees(conversation, joined.visibleAfter ?? 0);
    this.#set(conversation, joined.settings);
    if (outcome !== "resumed" || !conversation.isLoaded) this.#askNewest(conversation, joined.seq);
    this.#tell({ kind: "conversations" });
    this.#tell({ kind: "messages", conversation });
    this.#tell({ kind: "members", conversation });
    this.#tell({ kind: "outbox", destination: conversation.key });
    this.askMembers(conversation);
  }

  /** @param {Conversation} conversation @param {number} seq the newest message */
  async #askNewest(conversation, seq) {
    const { epoch } = conversation.roomLog;
    conversation.isLoaded = false;
    if (conversation.log.hasMore) await this.#askPage(conversation, FIRST_PAGE);
    conversation.isLoaded = true;
    // Another connection may have found a new numbering meanwhile, and asks itself.
    if (conversation.roomLog.epoch === epoch) this.reading.loaded(conversation, seq);
    this.#tell({ kind: "conversations" });
    this.#tell({ kind: "messages", conversation });
    this.#tell({ kind: "outbox", destination: conversation.key });
    for (let page = 0; page < UNREAD_PAGES_MAX; page += 1) {
      if (conversation.hasEarlierUnread && conversation.unread < COUNTED_UNREAD) await this.askOlder(conversation, HISTORY_LIMIT_MAX);
    }
  }

  /**
   * Requests the messages before the oldest one in the log.
   * @param {Conversation} conversation
   * @param {number} [limit]
   */
  async askOlder(conversation, limit = NEXT_PAGE) {
    const { log } = conversation;
    if (!this.isReady || conversation.isAskingOlder || !log.hasMore || !conversation.isLoaded) return;
    conversation.isAskingOlder = true;
    this.#tell({ kind: "messages", conversation });
    await this.#askPage(conversation, limit);
    conversation.isAskingOlder = false;
    if (conversation.hasEarlierUnread) {
      this.reading.count(conversation);
      this.#tell({ kind: "conversations" });
    }
    this.#tell({ kind: "messages", conversation });
  }

  /**
   * @param {Conversation} conversation
   * @param {number} limit
   */
  async #askPage(conversation, limit) {
    const { log } = conversation;
    const { generation } = log;
    const before = Number.isFinite(log.oldest) ? log.oldest : undefined;
    try {
      const { messages, hasMore } = await this.#history(conversation, before, limit);
      // The log began anew meanwhile.
      if (log.generation !== generation && log.oldest !== before) return;
      // The page may contain own messages whose connection broke before they were acknowledged.
      for (const frame of messages) if (frame.clientId === this.name) this.outbox.seen(frame.id);
      log.takePage(messages, hasMore);
    } catch (error) {
      const refusal = /** @type {Refusal} */ (error);
      if (refusal.code === "no_such_room") log.hasMore = false;
      else if (refusal.code !== "closed") this.#tell({ kind: "problem", text: refusal.message });
    }
  }

  /**
   * @param {Conversation} conversation
   * @param {number | undefined} before
   * @param {number} limit
   * @returns {Promise<{messages: MessageFrame[], hasMore: boolean}>}
   */
  #history({ isRoom, name }, before, limit) {
    return this.client.request({ type: "history", ...(isRoom ? { room: name } : { to: name }), before, limit });
  }

  /**
   * Loads the history back to this message.
   * @param {Conversation} conversation
   * @param {number} seq
   * @returns {Promise<"there" | "gone" | "too far" | "refused">} whether the message is in the log now, and why not
   */
  async reach(conversation, seq) {
    const { log } = conversation;
    for (let page = 0; page < REACH_PAGES_MAX; page += 1) {
      const isRefused = () => conversation.membership === "refused";
      await this.#until(() => isRefused() || (this.isReady && conversation.isLoaded && !conversation.isAskingOlder));
      if (isRefused() || log.oldest <= seq || !log.hasMore) break;
      await this.askOlder(conversation, HISTORY_LIMIT_MAX);
    }
    if (log.indexOf(seq) !== null) return "there";
    if (conversation.membership === "refused") return "refused";
    return log.hasMore && log.oldest > seq ? "too far" : "gone";
  }

  /** Waits for a change after which a condition holds. @param {() => boolean} holds @returns {Promise<void>} */
  #until(holds) {
    return new Promise((resolve) => {
      const look = () => {
        if (!holds()) return;
        this.listeners.delete(look);
        resolve();
      };
      this.listeners.add(look);
      look();
    });
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
      const list = await this.client.request({ type: "members", room: conversation.name });
      conversation.members.list(list);
      this.#tell({ kind: "members", conversation });
    } catch {
      // It is requested again after the next change, or by the next connection.
    }
  }

  /** The list of rooms. @returns {Promise<{room: string, count: number, seq: number, topic?: string}[]>} rejected without a connection */
  async askRooms() {
    if (!this.isReady) throw new Error("not connected");
    return (await this.client.rooms()).rooms;
  }

  // ---- Messages ------------------------------------------------------------------------------------------------

  /**
   * Restores the conversations from the private messages that the server stores.
   * @param {boolean | undefined} recovered
   */
  async #inboxOpened(recovered) {
    this.isPrivateStored = true;
    if (recovered === true) return;
    if (recovered === false) this.reading.beginInbox();
    for (const conversation of this.conversations.values()) {
      if (conversation.log instanceof PrivateLog) conversation.log.begin();
    }
    try {
      const { messages, hasMore } = await this.client.request({ type: "history", inbox: true, limit: HISTORY_LIMIT_MAX });
      /** @type {Map<string, MessageFrame[]>} */
      const byName = new Map();
      for (const frame of messages) {
        const other = frame.clientId === this.name ? frame.to : frame.clientId;
        byName.set(other, [...(byName.get(other) ?? []), frame]);
      }
      for (const [other, frames] of byName) {
        const conversation = this.open(privateKey(other));
        conversation.log.takePage(frames, hasMore);
        this.reading.count(conversation);
        this.#tell({ kind: "messages", conversation });
      }
      this.#tell({ kind: "conversations" });
    } catch {
      // The connection has stopped.
    }
  }

  /**
   * Shows private messages that this tab has stored because the server does not.
   * @param {string} name
   * @param {MessageFrame[]} frames
   * @param {number} unread the number of them that the person has not seen
   */
  restorePrivate(name, frames, unread) {
    const conversation = this.open(privateKey(name));
    for (const frame of frames) conversation.log.take(frame);
    const ofOther = frames.filter(({ clientId }) => clientId !== this.name);
    for (const frame of unread > 0 ? ofOther.slice(-unread) : []) this.reading.arrived(conversation, frame, false);
    this.#tell({ kind: "conversations" });
    this.#tell({ kind: "messages", conversation });
  }

  /** @param {Conversation} conversation @param {MessageChange} change */
  #changed(conversation, change) {
    conversation.log.change(change);
    if (change.type === "deleted" && conversation.unread > 0) {
      this.reading.count(conversation);
      this.#tell({ kind: "conversations" });
    }
    this.quotes.changed(conversation, change.of);
    this.#tell({ kind: "changed", conversation, seq: change.of });
  }

  /**
   * Whether a message of another client concerns this one: a mention, a reply, or a private message.
   * @param {Conversation} conversation
   * @param {MessageFrame} frame
   * @param {(seq: number) => MessageFrame | null | undefined} [quoted] finds the message that it replies to
   */
  isCall(conversation, frame, quoted = (seq) => this.quotes.of(conversation, seq)) {
    if (frame.clientId === this.name || frame.deleted) return false;
    const isReply = frame.replyTo !== undefined && quoted(frame.replyTo)?.clientId === this.name;
    return !conversation.isRoom || isReply || mentionsName(textOf(frame), this.name);
  }

  /**
   * @param {Conversation} conversation
   * @param {MessageFrame[]} frames
   */
  #show(conversation, frames) {
    if (frames.length === 0) return;
    const before = conversation.unread;
    let outboxChanged = false;
    const isSeen = this.isWatching && this.active === conversation;
    for (const frame of frames) {
      if (frame.clientId === this.name) {
        outboxChanged = this.outbox.seen(frame.id) || outboxChanged;
        continue;
      }
      if (frame.deleted) continue;
      this.reading.arrived(conversation, frame, isSeen);
      if (this.isCall(conversation, frame)) this.#tell({ kind: "call", conversation, frame });
    }
    this.#tell({ kind: "messages", conversation });
    this.#tell({ kind: "heard", conversation, frames });
    if (conversation.unread !== before) this.#tell({ kind: "conversations" });
    if (outboxChanged) this.#tell({ kind: "outbox", destination: conversation.key });
  }
}
