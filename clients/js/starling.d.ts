/**
 * A client of a Starling chat server, for browsers and Node.js 20 or later.
 *
 * It reconnects by itself, resumes its rooms without a gap, and sends each message once.
 */

/** A position in one numbered sequence: the newest frame that the program has seen. */
export interface Position {
  seq: number;
  /** Identifies one numbering of the sequence. A `seq` is valid only together with its epoch. */
  epoch: string;
  /** The time of the frame `seq`. It proves that the server still means the same frame. */
  at?: number;
}

export interface Options {
  /** The address of the server's `/ws`, or the addresses of its nodes. `http` means `ws`. A page may use a relative address. */
  url: string | URL | (string | URL)[];
  /** The client's name. Without it the client is a guest. With a token, the token determines the name. */
  name?: string;
  /** The secret that takes this name back from an older connection, see {@link Client.key}. */
  key?: string;
  /**
   * Returns a token. The client calls it if the server needs a token and there is none, or if the last token was refused or
   * has expired. An empty answer stops the client with `unauthorized`.
   */
  getToken?(reason: { message: string; refused: string }): Promise<string | null | undefined> | string | null | undefined;
  /** For Node.js before 22: the `WebSocket` of the package `ws`. */
  WebSocket?: unknown;
  /** `false`: the client connects only when {@link Client.start} is called. Otherwise it connects at the end of the task. */
  start?: boolean;
}

/** The reasons why a client does not reconnect automatically. Any other string is the code of the server's refusal. */
export type Stop =
  /** A newer connection has taken the name with its key. */
  | "replaced"
  /** An operator has removed the client. */
  | "removed"
  /** An operator has banned the client, its name or its address. */
  | "banned"
  /** The server has closed the connection at this client's request. */
  | "ended"
  /** This client has broken a rule of the protocol. */
  | "refused"
  /** There is no valid token. */
  | "unauthorized"
  /** The token allows none of the rooms, or the server does not allow the page. */
  | "forbidden"
  | "name_taken"
  | "bad_name"
  | (string & {});

export type Status =
  | { state: "idle" }
  /** The state until the connection has its name. */
  | { state: "connecting" }
  | { state: "open" }
  /** `until`: when the client tries again, in milliseconds since the Unix epoch. */
  | { state: "waiting"; until: number; reason: string }
  /** `until`: the end of a ban that has one, in milliseconds since the Unix epoch. */
  | { state: "stopped"; why: Stop; reason: string; until?: number };

/** The clients that have reacted to a message with one emoji. */
export interface Reactions {
  emoji: string;
  count: number;
  /** At least the first 10 of them. */
  clientIds: string[];
}

/**
 * A message, in its state at the time of the frame; {@link applyChange} gives it a newer one. In a room it has `room` and
 * `seq`. In a private conversation it has `to`, and `seq` if the server stores it.
 */
export interface Message {
  type: "message";
  clientId: string;
  /** The newest text. Absent if the message was deleted. */
  Message?: string;
  at: number;
  room?: string;
  seq?: number;
  to?: string;
  id?: string;
  /** The `seq` of the message that this one replies to. */
  replyTo?: number;
  /** The time of the newest edit. */
  editedAt?: number;
  deleted?: true;
  reactions?: Reactions[];
  /** The `seq` of the newest change that is contained. */
  changedSeq?: number;
}

interface ChangeOfMessage {
  /** The number of the change itself. */
  seq: number;
  /** The `seq` of the message. */
  of: number;
  /** The client that has made the change. */
  clientId: string;
  at: number;
  room?: string;
  to?: string;
  id?: string;
}

export type Change = ChangeOfMessage & (
  /** Without `Message` it changes nothing: a newer edit, or the deletion, follows. */
  | { type: "edited"; Message?: string }
  | { type: "deleted" }
  | { type: "reaction"; emoji: string; removed: boolean }
);

/** Returns the message after a change; the same object if it contains the change already. */
export function applyChange<M extends Message>(message: M, change: Change): M;

export interface RoomMessage extends Message {
  room: string;
  seq: number;
}

/** The settings of a room, as operators have changed them; what is absent has its default. */
export interface RoomSettings {
  /** The least number of seconds between two messages of a client. */
  slowSeconds?: number;
  topic?: string;
  writers?: "everyone" | "operators";
  access?: "everyone" | "invited";
  newcomersSeeHistory?: boolean;
  retention?: { messages?: number; seconds?: number };
  seenBy?: boolean;
}

export interface Joined {
  /** The newest message of the room. Everything after it is an event. */
  seq: number;
  epoch: string;
  count: number;
  /**
   * `true`: all missed messages follow. `false`: some are lost, or the server has started a new numbering; the history has
   * the remaining messages. `undefined`: the first visit.
   */
  recovered: boolean | undefined;
  settings: RoomSettings;
  /** Where the room hides its history from newcomers: this client sees only what comes after this message. */
  visibleAfter: number | undefined;
}

export interface Presence {
  joined: string[];
  left: string[];
  count: number;
}

/** The other clients whose users type a message: an empty list when they have stopped. */
export interface Typing {
  clientIds: string[];
  /** There are others whom the server does not name. */
  more: boolean;
}

/** How far a client has read: this client, or another member where the server allows it. */
export interface Read {
  clientId: string;
  seq: number;
}

export interface Sent {
  /** The number of the message or of the change in the room. In private there is none. */
  seq?: number;
  at: number;
  /** The server had the message already. */
  duplicate?: true;
}

export interface SendOptions {
  /** The id of the message or of the change; random by default. The server delivers one id once. */
  id?: string;
  /** The `seq` of the message that this one replies to. */
  replyTo?: number;
  /** Further fields of the frame. */
  [field: string]: unknown;
}

/** At most one of `before` and `after`, both exclusive. `limit` is the size of one page, 1 to 200. */
export interface HistoryOptions {
  before?: number;
  after?: number;
  limit?: number;
}

/**
 * An error with the code of the server's refusal, or with one of the client's own codes. `send` and `request`: `uncertain`,
 * `too_many_unsent`, `id_in_use`. All calls: `left`, `closed`. `history`: `other_epoch`. The event `error`: `no_token`,
 * `no_state`, `old_state`.
 */
export class ChatError extends Error {
  readonly code: string;
  readonly retryAfterMs?: number;
}

/** The emitter calls a listener in the task in which the frame arrives. An exception of a listener goes to `reportError` or `console.error` and disturbs nothing else. */
export interface Emitter<Events> {
  /** Returns a function that removes the listener. */
  on<Name extends keyof Events>(event: Name, listener: Events[Name]): () => void;
  off<Name extends keyof Events>(event: Name, listener: Events[Name]): void;
}

export interface RoomEvents {
  /** Each message once, in order with the changes, without a gap. */
  message: (message: RoomMessage) => void;
  /** Each change once. A program ignores the change of a message that it does not have. */
  change: (change: Change) => void;
  joined: (joined: Joined) => void;
  /** The client requests it only if there is a listener. */
  presence: (presence: Presence) => void;
  /** The list of those who type has changed. A client leaves it with its message, or 4 s after its user has stopped. */
  typing: (typing: Typing) => void;
  /**
   * How far this client has read, after each `joined` and when another connection of it calls {@link Room.read}. Where the
   * server allows it, also how far the other members have.
   */
  read: (read: Read) => void;
  /** An operator has changed the settings of the room. These are all of them. */
  settings: (event: { settings: RoomSettings }) => void;
  /** The server has refused the room, or has ended the membership. {@link Room.join} tries again, as does the next connection. */
  left: (reason: { code: string; message: string }) => void;
}

/** Changes of messages. They are repeated, ordered and refused like messages; see {@link Room.send}. */
export interface Changing {
  /** Replaces the text of the message with this `seq`. */
  edit(of: number, text: string, options?: { id?: string }): Promise<Sent>;
  delete(of: number, options?: { id?: string }): Promise<Sent>;
  /** Reacts to a message, or takes the reaction back. */
  react(of: number, emoji: string, options?: { remove?: boolean; id?: string }): Promise<Sent>;
}

export interface Room extends Emitter<RoomEvents>, Changing {
  readonly name: string;
  readonly isJoined: boolean;
  /** A program stores it together with the messages, and returns it from `getState`. */
  readonly position: Position | null;
  /**
   * Sends a message and repeats it until the server has accepted or refused it. Messages to one room keep their order.
   *
   * Rejects with {@link ChatError}: the code of the refusal, `left` if the client has left the room, `closed`
   * if the client is closed or has stopped, or `uncertain` if the connection was lost and it is unknown whether the message
   * has arrived.
   */
  send(text: string, options?: SendOptions): Promise<Sent>;
  /**
   * Tells the others that the user types. The program calls it whenever the text changes; the client sends at most one frame
   * in 3 s, and none without a connection or in a room of more than 200 members.
   */
  typing(): void;
  /**
   * Says that the user has read all messages up to `seq`. Resolves with the position, which never goes back. The other connections
   * of the client get the event `read`. Rejects with the server's refusal, or with `lost` without a connection: the next one
   * may have another numbering.
   */
  read(seq: number): Promise<Read>;
  /**
   * Reads the history in pages. With `after` the oldest message comes first, otherwise the newest. Without `before` and
   * `after` it begins where the events begin, so no message is missing and none comes twice: at this call if the room is
   * joined, otherwise when it is. A change that arrives before a message is returned is applied to it. Rejects with `other_epoch` if the server has started a new numbering meanwhile.
   */
  history(options?: HistoryOptions): AsyncGenerator<RoomMessage, void, undefined>;
  members(): Promise<{ count: number; clientIds: string[]; truncated: boolean }>;
  /** Joins again after `left` or {@link leave}. Throws if `client.room` has created another object meanwhile. */
  join(): void;
  /** Leaves until {@link join}. Unsent messages are rejected with `left`. */
  leave(): void;
}

export interface RoomOptions {
  /**
   * Loads the program's own state of the room, and returns the position in it. The room continues from there without a
   * gap. The client calls it for the first visit, and again whenever the server can no longer continue from that position.
   * Without a position the room begins with new messages.
   */
  getState?(): Promise<Position | null> | Position | null;
}

export interface PrivateEvents {
  message: (message: Message) => void;
  change: (change: Change) => void;
  typing: (typing: Typing) => void;
}

/** Messages can be changed and replied to only where the server stores them. */
export interface PrivateConversation extends Emitter<PrivateEvents>, Changing {
  /** The other client. */
  readonly name: string;
  send(text: string, options?: SendOptions): Promise<Sent>;
  /** As in a {@link Room.typing | room}. After a refusal, such as `no_such_client`, the client is silent for a minute. */
  typing(): void;
  /** As in a {@link Room.read | room}, with the number in the inbox; the event `read` is one of the client. */
  read(seq: number): Promise<Read>;
  /** Works only where the server stores private messages. */
  history(options?: HistoryOptions): AsyncGenerator<Message, void, undefined>;
}

export interface Limits {
  messageBytes: number;
  messagesPerSecond: number;
  burst: number;
  rooms: number;
}

export interface ClientEvents {
  state: (status: Status) => void;
  /** The name and the key of this connection. */
  identity: (identity: { name: string; key: string }) => void;
  /** Every private message, and the name of the other client. If the listener calls `privateWith`, the conversation gets this message too. */
  private: (message: Message, other: string) => void;
  /** Every change of a private message, and the name of the other client. */
  change: (change: Change, other: string) => void;
  /** How far this client has read its private messages, where the server stores them: as in {@link RoomEvents}. */
  read: (read: Read) => void;
  /** Only if the server stores private messages: the position at which their events begin. `recovered` as in {@link Joined}. */
  inbox: (inbox: { seq: number; epoch: string; recovered: boolean | undefined }) => void;
  /** A fault that belongs to no call: `getToken` or `getState` has failed, or the server reports an error. */
  error: (error: ChatError) => void;
}

export interface Client extends Emitter<ClientEvents> {
  readonly state: Status["state"];
  readonly status: Status;
  /** The name that the connection has now. */
  readonly name: string;
  /** The secret of this client. With it, `connect` takes the name back at once, in this tab or in another. */
  readonly key: string;
  /** Name and version of the server. */
  readonly server: string;
  readonly limits: Limits | null;
  /** Connects now, after {@link Client.close}, a stop or a pause. `who` changes the name and the key. */
  start(who?: { name?: string; key?: string }): void;
  /** Disconnects. Unsent messages and requests are rejected with `closed`, as when the client stops. */
  close(): void;
  /** Checks the connection now. In a page this happens automatically when the page becomes visible or the network changes. */
  wake(): void;
  /** Takes another name. Rejects with the server's refusal, or with `lost` if the connection breaks meanwhile. */
  rename(name: string, key?: string): Promise<void>;
  /** Returns the room with this name. The client joins it with every connection, until {@link Room.leave}. */
  room(name: string, options?: RoomOptions): Room;
  privateWith(name: string): PrivateConversation;
  rooms(): Promise<{ rooms: { room: string; count: number; seq: number; topic?: string }[]; truncated: boolean }>;
  /**
   * Sends any frame and waits for its answer, also across lost connections. A `message` or a change without an `id` gets one, so
   * that the server delivers it once. Rejects with the server's refusal, and like {@link Room.send}.
   */
  request(frame: { type: string; [field: string]: unknown }): Promise<any>;
}

export function connect(options: Options): Client;
