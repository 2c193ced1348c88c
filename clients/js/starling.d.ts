/**
 * A client of a Starling chat server, for browsers and Node.js 20 or later.
 *
 * It reconnects by itself, resumes its rooms without a gap, and sends each message once.
 */

/** The position in one numbered sequence: the newest frame that a program has seen. */
export interface Position {
  seq: number;
  /** Names one life of the sequence; a `seq` means nothing without it. */
  epoch: string;
  /** The time of the frame `seq`, as proof that it is the same one. */
  at?: number;
}

export interface Options {
  /** The address of the server's `/ws`, or those of its nodes. `http` counts as `ws`. A page may give a relative one. */
  url: string | URL | (string | URL)[];
  /** The name that is wanted; without it the client is a guest. A token has a name of its own. */
  name?: string;
  /** The secret that takes this name back from an older connection, see {@link Client.key}. */
  key?: string;
  /**
   * Gets a token. It is called only if the server needs one and there is none, or the last one was refused or has ended.
   * An empty answer stops the client with `unauthorized`.
   */
  getToken?(reason: { message: string; refused: string }): Promise<string | null | undefined> | string | null | undefined;
  /** For Node.js before 22: the `WebSocket` of the package `ws`. */
  WebSocket?: unknown;
  /** `false`: {@link Client.start} connects. Otherwise the client connects at the end of the task. */
  start?: boolean;
}

/** The reasons for which a client does not reconnect by itself. Another string is the code of the server's refusal. */
export type Stop =
  /** A newer connection has taken the name with its key. */
  | "replaced"
  /** An operator has removed the client. */
  | "removed"
  /** The server has closed the connection as asked for. */
  | "ended"
  /** The server does not accept what this client sends. */
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
  /** Until the connection has its name. */
  | { state: "connecting" }
  | { state: "open" }
  /** `until`: when the client tries again, in milliseconds since the Unix epoch. */
  | { state: "waiting"; until: number; reason: string }
  | { state: "stopped"; why: Stop; reason: string };

/** What somebody wrote. In a room it has `room` and `seq`. In private it has `to`, and `seq` if the server stores it. */
export interface Message {
  type: "message";
  clientId: string;
  Message: string;
  at: number;
  room?: string;
  seq?: number;
  to?: string;
  id?: string;
}

export interface RoomMessage extends Message {
  room: string;
  seq: number;
}

export interface Joined {
  /** The newest message of the room. Everything after it is an event. */
  seq: number;
  epoch: string;
  count: number;
  /**
   * `true`: all missed messages follow. `false`: some are lost, or the server's numbers began again; the history has
   * what is left. `undefined`: the first visit.
   */
  recovered: boolean | undefined;
}

export interface Presence {
  joined: string[];
  left: string[];
  count: number;
}

export interface Sent {
  /** The message's place in the room; a private one has none. */
  seq?: number;
  at: number;
  /** The server had the message already. */
  duplicate?: true;
}

export interface SendOptions {
  /** The own id of the message; made at random otherwise. The server delivers one id once. */
  id?: string;
  /** Further fields of the frame `message`. */
  [field: string]: unknown;
}

/** At most one of `before` and `after`, both exclusive. `limit` is that of one request, 1 to 200. */
export interface HistoryOptions {
  before?: number;
  after?: number;
  limit?: number;
}

/** A refusal of the server, with its code, or one of the client's own codes: `uncertain`, `too_many_unsent`, `left`, `closed`. */
export class ChatError extends Error {
  readonly code: string;
  readonly retryAfterMs?: number;
}

/** An event's listener is called in the task in which its frame arrives. What it throws is reported and disturbs nothing. */
export interface Emitter<Events> {
  /** Returns a function that removes the listener. */
  on<Name extends keyof Events>(event: Name, listener: Events[Name]): () => void;
  off<Name extends keyof Events>(event: Name, listener: Events[Name]): void;
}

export interface RoomEvents {
  /** Each message once, in order, without a gap. */
  message: (message: RoomMessage) => void;
  joined: (joined: Joined) => void;
  /** Asked of the server only if somebody listens. */
  presence: (presence: Presence) => void;
  /** The server has refused the room, or has ended the membership. {@link Room.join} tries again, as does the next connection. */
  left: (reason: { code: string; message: string }) => void;
}

export interface Room extends Emitter<RoomEvents> {
  readonly name: string;
  readonly isJoined: boolean;
  /** To be stored beside what was shown, and given back by `getState`. */
  readonly position: Position | null;
  /**
   * Sends a message, again and again until the server has accepted or refused it. Messages to one room keep their order.
   *
   * Rejects with {@link ChatError}: the code of the refusal, or `uncertain` if the connection was lost for too long to
   * know whether the message has arrived.
   */
  send(text: string, options?: SendOptions): Promise<Sent>;
  /**
   * Reads the history in pages. With `after` the oldest message comes first, otherwise the newest. Without `before` and
   * `after` it begins where the events begin, so that nothing is missing and nothing comes twice.
   */
  history(options?: HistoryOptions): AsyncGenerator<RoomMessage, void, undefined>;
  members(): Promise<{ count: number; clientIds: string[]; truncated: boolean }>;
  /** Enters again after `left`. */
  join(): void;
  /** Leaves for good. Unsent messages are rejected with `left`. */
  leave(): void;
}

export interface RoomOptions {
  /**
   * Loads the program's own state of the room, and returns the position that it contains. The room follows from there
   * without a gap. It is called for the first visit, and again whenever the server can no longer follow from there.
   * Without a position the room begins with new messages.
   */
  getState?(): Promise<Position | null> | Position | null;
}

export interface PrivateConversation extends Emitter<{ message: (message: Message) => void }> {
  /** The other client. */
  readonly name: string;
  send(text: string, options?: SendOptions): Promise<Sent>;
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
  /** Every private message, and the name of the other client. A listener that calls `privateWith` begins the conversation with it. */
  private: (message: Message, other: string) => void;
  /** Where the server stores private messages: where their events begin. `recovered` as in {@link Joined}. */
  inbox: (inbox: { seq: number; epoch: string; recovered: boolean | undefined }) => void;
  /** A fault that belongs to no call: `getToken` or `getState` has failed, or the server reports an error. */
  error: (error: ChatError) => void;
}

export interface Client extends Emitter<ClientEvents> {
  readonly state: Status["state"];
  readonly status: Status;
  /** The name that the connection has now. */
  readonly name: string;
  /** The secret of this client. With it, `connect` takes the name back at once, in this tab or another one. */
  readonly key: string;
  /** Name and version of the server. */
  readonly server: string;
  readonly limits: Limits | null;
  /** Connects now, after {@link Client.close}, a stop or a pause; with `who` as somebody else. */
  start(who?: { name?: string; key?: string }): void;
  /** Disconnects. Unsent messages and requests are rejected with `closed`. */
  close(): void;
  /** Checks the connection now. A page does so by itself when it is shown, or the network has changed. */
  wake(): void;
  /** Takes another name. Rejects with the server's refusal, and with `lost` if the connection breaks meanwhile. */
  rename(name: string, key?: string): Promise<void>;
  /** The room of this name, which the client joins with every connection, until {@link Room.leave}. */
  room(name: string, options?: RoomOptions): Room;
  privateWith(name: string): PrivateConversation;
  rooms(): Promise<{ rooms: { room: string; count: number; seq: number }[]; truncated: boolean }>;
  /** Sends any frame and waits for its answer, over lost connections too. Rejects with the server's refusal. */
  request(frame: { type: string; [field: string]: unknown }): Promise<any>;
}

export function connect(options: Options): Client;
