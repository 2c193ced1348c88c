// @ts-check
/**
 * What the person has read: the unread messages of each conversation, and the positions that the server keeps for all
 * connections of this client. Pure logic: the pause is passed in.
 *
 * A room has a position of its own. All private conversations have one together, that of the inbox: it ends before the first
 * unread message of any of them.
 *
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./protocol.js").MessageFrame} MessageFrame
 * @typedef {{newest: number, told: number, isBusy: boolean}} Told `newest`: how far the person has read; `told`: how far the
 *   server knows of it; `isBusy`: the next frame waits
 */

const INBOX = "inbox";

export class Reading {
  /** How far the stored private messages are read. */
  #inbox = 0;
  /** What the server knows, by place: the key of a room, or the inbox. @type {Map<string, Told>} */
  #told = new Map();

  /**
   * @param {{conversations: Map<string, Conversation>, isCounted: (frame: MessageFrame) => boolean,
   *   isCall: (conversation: Conversation, frame: MessageFrame) => boolean, pause: () => Promise<void>}} options
   *   `isCounted`: whether a message can be unread; `pause`: the shortest time between two frames about one place
   */
  constructor({ conversations, isCounted, isCall, pause }) {
    this.conversations = conversations;
    this.isCounted = isCounted;
    this.isCall = isCall;
    this.pause = pause;
  }

  /** A conversation begins, or begins a new numbering. @param {Conversation} conversation */
  begin(conversation) {
    conversation.upto = conversation.isRoom ? null : this.#inbox;
    conversation.seenBy.clear();
    this.#told.delete(conversation.key);
  }

  /** The inbox begins a new numbering. */
  beginInbox() {
    this.#inbox = 0;
    this.#told.delete(INBOX);
    for (const conversation of this.#privates()) this.begin(conversation);
  }

  /**
   * A message of another client has arrived.
   * @param {Conversation} conversation
   * @param {MessageFrame} frame
   * @param {boolean} isSeen
   */
  arrived(conversation, frame, isSeen) {
    if (isSeen) return this.#read(conversation, conversation.log.newest);
    if (frame.seq !== undefined && frame.seq <= (conversation.upto ?? 0)) return;
    if (conversation.unread === 0) conversation.newFrom = frame;
    conversation.unread += 1;
    if (this.isCall(conversation, frame)) conversation.calls += 1;
  }

  /**
   * The newest messages of a room were loaded. On a first visit they are not new.
   * @param {Conversation} conversation
   * @param {number} seq the newest message when the room was entered
   */
  loaded(conversation, seq) {
    if (conversation.upto === null) this.#read(conversation, seq);
    this.count(conversation);
  }

  /** Counts the unread messages in the log. @param {Conversation} conversation */
  count(conversation) {
    const { log, upto } = conversation;
    // A private message without a seq is counted when it arrives.
    if (upto === null || (!conversation.isRoom && log.newest === 0)) return;
    const before = conversation.unread;
    let [unread, calls] = [0, 0];
    /** @type {MessageFrame | null} */
    let first = null;
    for (let index = log.items.length - 1; index >= log.pastLength; index -= 1) {
      const item = log.items[index];
      if (item?.kind !== "message") continue;
      if ((item.frame.seq ?? 0) <= upto) break;
      if (!this.isCounted(item.frame)) continue;
      first = item.frame;
      unread += 1;
      if (this.isCall(conversation, first)) calls += 1;
    }
    Object.assign(conversation, { unread, calls, hasEarlierUnread: log.hasMore && log.oldest > upto + 1 });
    if (unread > 0 || before > 0) conversation.newFrom = first;
  }

  /** The person sees the newest messages. Returns whether that is new. @param {Conversation} conversation */
  seen(conversation) {
    if (conversation.unread === 0 && conversation.calls === 0) return false;
    Object.assign(conversation, { unread: 0, calls: 0, hasEarlierUnread: false });
    this.#read(conversation, conversation.log.newest);
    return true;
  }

  /** Another connection of this client has read up to `seq`, or did before. @param {Conversation} conversation @param {number} seq */
  heard(conversation, seq) {
    const told = this.#toldOf(conversation);
    told.told = Math.max(told.told, seq);
    if (seq <= (conversation.upto ?? -1)) return;
    conversation.upto = seq;
    this.count(conversation);
  }

  /** The same of all private messages. @param {number} seq */
  heardInbox(seq) {
    this.#inbox = Math.max(this.#inbox, seq);
    for (const conversation of this.#privates()) this.heard(conversation, seq);
  }

  /** Tells the server what did not reach it over an earlier connection. @param {Conversation} conversation */
  resumed(conversation) {
    if (conversation.upto !== null) this.#share(conversation);
  }

  /** The client has another name, which has read nothing yet. */
  renamed() {
    this.#told.clear();
    const joined = [...this.conversations.values()].filter(({ isRoom, membership }) => isRoom && membership === "joined");
    for (const conversation of joined) this.resumed(conversation);
  }

  /** @param {Conversation} conversation @param {number} seq */
  #read(conversation, seq) {
    if (seq <= (conversation.upto ?? -1)) return;
    conversation.upto = seq;
    this.#share(conversation);
  }

  #privates() {
    return [...this.conversations.values()].filter(({ isRoom }) => !isRoom);
  }

  /** How far the place of a conversation is read. @param {Conversation} conversation */
  #uptoOf({ isRoom, upto }) {
    if (isRoom) return upto ?? 0;
    const unread = this.#privates().filter((one) => one.unread > 0).map(({ newFrom }) => newFrom?.seq ?? 1);
    return unread.length > 0 ? Math.min(...unread) - 1 : Math.max(...this.#privates().map(({ log }) => log.newest));
  }

  /** @param {Conversation} conversation @returns {Told} */
  #toldOf({ isRoom, key }) {
    const place = isRoom ? key : INBOX;
    const told = this.#told.get(place) ?? { newest: 0, told: 0, isBusy: false };
    this.#told.set(place, told);
    return told;
  }

  /** @param {Conversation} conversation */
  #share(conversation) {
    const told = this.#toldOf(conversation);
    told.newest = Math.max(told.newest, this.#uptoOf(conversation));
    if (!told.isBusy) this.#tell(conversation, told);
  }

  /** @param {Pick<Conversation, "to">} conversation @param {Told} told */
  async #tell({ to }, told) {
    if (!to || told.newest <= told.told) return;
    const before = told.told;
    told.told = told.newest;
    told.isBusy = true;
    // Without a connection the next one says it.
    const answer = to.read(told.newest).catch(() => {
      told.newest = before;
      told.told = before;
    });
    await Promise.all([answer, this.pause()]);
    told.isBusy = false;
    this.#tell({ to }, told);
  }
}
