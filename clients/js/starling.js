// @ts-check
/**
 * A client of a Starling chat server, for browsers and Node.js. `starling.d.ts` documents everything that is exported.
 *
 * - `Connection`: one WebSocket at a time, with reconnects, tokens, pacing and a deadline for silence. Matches answers by `id`.
 * - `Feed`: the position in one numbered sequence, a room or the inbox. Each frame passes once, in order, without a gap.
 * - `Outgoing`: the unacknowledged messages to one destination, in order.
 * - `Typing`: who types at one destination.
 * - `Room`, `PrivateConversation`, `Client`: what a program uses.
 *
 * Answers are handled in the task in which they arrive, never in a later microtask: the next frame may follow in the
 * same task.
 *
 * @typedef {import("./starling.d.ts").Options} Options
 * @typedef {import("./starling.d.ts").Status} Status
 * @typedef {import("./starling.d.ts").Position} Position
 * @typedef {import("./starling.d.ts").Sent} Sent
 * @typedef {import("./starling.d.ts").SendOptions} SendOptions
 * @typedef {import("./starling.d.ts").Reactions} Reactions
 * @typedef {{type: string, [field: string]: any}} Frame
 * @typedef {(error: ChatError | null, answer: Frame) => void} Done
 * @typedef {{sentAt: number | null, sentAs: string}} Attempt when a message was first sent, and the client's name then
 */

/** Longest time from a connection attempt to its name. */
const CONNECT_MS = 10_000;

/** Bounds of the time to wait for the answer to a `ping`. */
const PONG_MS = { least: 1_000, most: 8_000 };

/** Pauses between attempts: random below a ceiling that doubles from `base` to `most`. */
const PAUSE_MS = { base: 500, most: 20_000, least: 100, tryLater: 5_000 };

/** After a connection of this length, the next pause is short again. */
const STABLE_MS = 5_000;

/** The time for which the server is sure to recognize the `id` of a repeated message. */
const ID_REMEMBERED_MS = 270_000;

/** The longest `id` that the server takes, in characters. */
const ID_CHARS_MAX = 64;

/** Most unacknowledged messages to one destination. */
const UNSENT_MAX = 1_000;

/**
 * Typing: the shortest time between two frames to one destination, and after a refusal (after 20 refusals in a row the server
 * closes the connection); how long a client counts as typing; how late the server may tell of it.
 */
const TYPING_MS = { least: 3_000, refused: 60_000, shown: 4_000, late: 1_500 };

/** Most members of a room in which the server tells who types. */
const TYPING_MEMBERS_MAX = 200;

/** Number of authors that a destination remembers, to ignore late news of their typing. */
const AUTHORS_MAX = 20;

/** Close codes after which a client does not reconnect by itself. */
const FINAL = new Map(/** @type {[number, string][]} */ ([
  [1000, "ended"], [1002, "refused"], [1003, "refused"], [1007, "refused"], [1008, "refused"], [1009, "refused"],
  [4003, "replaced"], [4004, "removed"], [4005, "banned"],
]));
const TRY_LATER = 1013;

/** Types of frames that have a `seq` in a room. All but the first are changes of messages. */
const NUMBERED = new Set(["message", "edited", "deleted", "reaction"]);

/** The refusals with which the server takes a client out of a room. */
const EXPELLED = new Set(["banned", "not_invited"]);

/** Types of frames that have their effect once, however often they are sent with the same `id`. */
const ONCE = new Set(["message", "edit", "delete", "react"]);

const ROOM = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/u;

/** @param {number} attempts @param {number} [least] */
function pauseMs(attempts, least = PAUSE_MS.least) {
  const ceiling = Math.min(PAUSE_MS.most, PAUSE_MS.base * 2 ** Math.min(attempts, 20));
  return Math.round(Math.max(least, Math.random() * ceiling));
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class ChatError extends Error {
  /** @param {string} code @param {string} message @param {number} [retryAfterMs] */
  constructor(code, message, retryAfterMs) {
    super(message);
    this.name = "ChatError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

const lost = () => new ChatError("lost", "the connection was lost");
const uncertain = () => new ChatError("uncertain", "the connection was lost, so it is unknown whether the message has arrived");
const left = () => new ChatError("left", "the client has left the room");

/** Reports an exception of a listener like an uncaught exception, without interrupting the caller. */
const report = globalThis.reportError ?? ((/** @type {unknown} */ error) => console.error(error));

/** Keys of members that only this module uses. */
const emit = Symbol("emit");
const inner = Symbol("inner");
/** The event that a program has left a room. */
const over = Symbol("over");

class Emitter {
  /** @type {Map<string | symbol, Set<(...values: any[]) => void>>} */
  #listeners = new Map();

  /** @param {string | symbol} event @param {(...values: any[]) => void} listener */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => this.off(event, listener);
  }

  /** @param {string | symbol} event @param {(...values: any[]) => void} listener */
  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  /** @param {string | symbol} event @param {any[]} values */
  [emit](event, ...values) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...values);
      } catch (error) {
        // An exception in one listener must disturb neither the connection nor the program.
        report(error);
      }
    }
  }
}

/** A lone surrogate, as `JSON.stringify` writes it. */
const HALF = /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/u;

/**
 * Returns the problem of a frame that would make the server close the connection, or refuse without an `id`.
 * @param {Frame} frame
 * @param {{messageBytes: number} | undefined} limits
 * @returns {ChatError | undefined}
 */
const problemOf = (frame, limits) => {
  const { id, Message: text } = frame;
  if (typeof id !== "string" || id === "" || [...id].length > ID_CHARS_MAX) return new ChatError("bad_json", "this is not a valid id");
  try {
    if (HALF.test(JSON.stringify(frame))) return new ChatError("bad_json", "this is not valid Unicode");
  } catch (error) {
    return new ChatError("bad_json", error instanceof Error ? error.message : String(error));
  }
  const most = limits?.messageBytes ?? Infinity;
  const isTooLarge = typeof text === "string" && new TextEncoder().encode(text).length > most;
  return isTooLarge ? new ChatError("message_too_large", `a message has at most ${most} bytes`) : undefined;
};

/** A page sends its token in `hello`, because its WebSocket cannot set headers. Other programs send it in the handshake. */
const isPage = () => globalThis.location?.origin !== undefined;

class Connection {
  /** @type {Status} */
  status;
  name = "";
  key = "";
  /** @type {any} */
  welcome = null;
  token = "";
  /** @type {WebSocket | null} */
  #socket = null;
  #attempts = 0;
  #urlIndex;
  /** Rooms that the handshake refused since the last connection. Each attempt asks for another room. */
  #refusals = 0;
  #openedAt = 0;
  #tokensRefused = 0;
  #isAuthorizing = false;
  /** @type {Frame[]} */
  #queue = [];
  /** @type {Map<string, {frame: Frame, done: Done, isTold?: true}>} */
  #asked = new Map();
  #askedCount = 0;
  #tokens = { left: 1, filledAt: 0 };
  #heardAt = 0;
  #lookedAt = 0;
  /** @type {number | null} */
  #pingedAt = null;
  /** The server's `closing`. @type {Frame | null} */
  #closing = null;
  /** The server's message that the token has expired. */
  #tokenEnded = "";
  /** What the server has said about a ban, before its close frame. */
  #ban = { reason: "", until: /** @type {number | undefined} */ (undefined) };
  /** Whether the server has asked for the current pause. */
  #isPauseAsked = false;
  /** @type {Record<"attempt" | "connect" | "life" | "queue", any>} */
  #timers = { attempt: 0, connect: 0, life: 0, queue: 0 };
  /** @type {AbortController | null} */
  #surroundings = null;

  /**
   * @param {Options} options
   * @param {{status: (status: Status) => void, open: (welcome: Frame) => void, frame: (frame: Frame) => void,
   *   error: (error: ChatError) => void, rooms: () => string[]}} on
   */
  constructor(options, on) {
    this.options = options;
    this.on = on;
    this.status = { state: options.start === false ? "idle" : "connecting" };
    this.urls = [options.url].flat().map((url) => {
      const parsed = new URL(url, globalThis.location?.href);
      parsed.protocol = parsed.protocol.replace("http", "ws");
      return parsed;
    });
    if (this.urls.length === 0) throw new TypeError("connect needs a url");
    if (!(options.WebSocket ?? globalThis.WebSocket)) throw new TypeError("this version of Node.js has no WebSocket: pass the class of the package ws");
    this.#urlIndex = Math.floor(Math.random() * this.urls.length);
    this.name = options.name ?? "";
    this.key = options.key ?? "";
  }

  /** Connects now, without waiting for the end of a pause. */
  start() {
    this.#watchSurroundings();
    this.#drop();
    this.#isAuthorizing = false;
    this.#set({ state: "connecting" });
    if (!isPage() && this.options.getToken && !this.token) this.#authorize("a token is missing");
    else this.#open();
  }

  #open() {
    const { WebSocket: given } = this.options;
    const Socket = given ?? globalThis.WebSocket;
    const url = this.#url();
    const headers = this.token && !isPage() ? { headers: { authorization: `Bearer ${this.token}` } } : undefined;
    // The class of the package ws takes headers as its third argument, the WebSocket of Node.js as its second.
    const more = headers === undefined ? [] : given ? [[], headers] : [headers];
    const socket = /** @type {WebSocket} */ (new /** @type {any} */ (Socket)(url.href, ...more));
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = ({ data }) => this.#heard(data);
    socket.onerror = () => undefined;
    socket.onclose = ({ code, reason }) => {
      if (opened) this.#lost(code, String(reason ?? ""));
      else this.#notOpened(url);
    };
    this.#timers.connect = setTimeout(() => this.#lost(4002, "the server does not answer"), CONNECT_MS);
  }

  stop() {
    this.#surroundings?.abort();
    this.#surroundings = null;
    if (this.#socket?.readyState === 1) this.#socket.close(1000);
    this.#drop();
    this.#isAuthorizing = false;
    this.#set({ state: "idle" });
  }

  /** Checks the connection at once, because the machine may have been asleep or without a network. */
  wake() {
    if (this.status.state === "waiting" && globalThis.navigator?.onLine !== false && !this.#isPauseAsked) this.start();
    else if (this.status.state === "open") this.#ping();
  }

  #watchSurroundings() {
    if (this.#surroundings || !globalThis.addEventListener) return;
    const { signal } = (this.#surroundings = new AbortController());
    const wake = () => this.wake();
    addEventListener("online", wake, { signal });
    addEventListener("offline", wake, { signal });
    addEventListener("pageshow", (event) => event.persisted && wake(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "visible" && wake(), { signal });
  }

  #url() {
    const url = new URL(/** @type {URL} */ (this.urls[this.#urlIndex]));
    const rooms = this.on.rooms();
    const room = rooms[this.#refusals % rooms.length];
    if (room !== undefined) url.pathname = `${url.pathname.replace(/\/$/u, "")}/${room}`;
    return url;
  }

  /** @param {Frame} frame */
  send(frame) {
    this.#queue.push(frame);
    this.#flush();
  }

  /**
   * Sends a frame, and sends it again after a refusal of the rate limit. Calls `done` with the answer, with another
   * refusal, or with `lost`.
   * @param {Frame} frame
   * @param {Done} done
   */
  ask(frame, done) {
    if (!this.#socket) {
      done(lost(), { type: "" });
      return;
    }
    const id = frame.id ?? `q-${(this.#askedCount += 1)}`;
    const asked = { ...frame, id };
    const isInUse = this.#asked.has(id);
    const problem = isInUse ? new ChatError("id_in_use", "another frame with this id waits for its answer") : problemOf(asked, this.welcome?.limits);
    if (problem) {
      done(problem, { type: "" });
      return;
    }
    this.#asked.set(id, { frame: asked, done });
    this.send(asked);
  }

  /**
   * Sends a frame that is answered only if it is refused. Later frames have the same `id`.
   * @param {Frame} frame
   * @param {Done} done
   */
  tell(frame, done) {
    this.#asked.set(frame.id, { frame, done, isTold: true });
    this.send(frame);
  }

  /**
   * Takes a name, or sends a token.
   * @param {{name: string, key: string, token?: string}} who
   * @param {(error: ChatError | null) => void} done
   */
  hello({ name, key, token }, done) {
    const frame = { type: "hello", clientId: name || undefined, key: (name && key) || undefined, token };
    this.ask(frame, (error, welcome) => {
      if (!error) this.#named(welcome, name !== "");
      done(error);
    });
  }

  /** @param {Frame} welcome @param {boolean} isOwn whether the client or its token has chosen this name */
  #named(welcome, isOwn) {
    this.welcome = { ...this.welcome, ...welcome };
    const isGuest = !isOwn && welcome.clientId.startsWith("guest-");
    // A guest gets another name with each connection.
    this.name = isGuest ? "" : welcome.clientId;
    this.key = isGuest ? "" : welcome.key;
    if (this.status.state === "open") return;
    clearTimeout(this.#timers.connect);
    this.#openedAt = this.#lookedAt = Date.now();
    this.#tokensRefused = this.#refusals = 0;
    this.#timers.life = setInterval(() => this.#look(), Math.min(1_000, welcome.heartbeatMs / 2));
    this.#set({ state: "open" });
    this.on.open(welcome);
  }

  /** @param {Status} status */
  #set(status) {
    this.status = status;
    this.on.status(status);
  }

  /** Sends what the server's rate limit allows: a bucket of `burst` frames, refilled with `messagesPerSecond`. */
  #flush() {
    clearTimeout(this.#timers.queue);
    const { messagesPerSecond: perSecond = 0, burst = 0 } = this.welcome?.limits ?? {};
    while (this.#socket?.readyState === 1 && this.#queue.length > 0) {
      const now = Date.now();
      const tokens = this.#tokens;
      tokens.left = perSecond === 0 ? 1 : Math.min(burst, tokens.left + ((now - tokens.filledAt) / 1_000) * perSecond);
      tokens.filledAt = now;
      if (tokens.left < 1) {
        this.#timers.queue = setTimeout(() => this.#flush(), Math.ceil(((1 - tokens.left) / perSecond) * 1_000));
        return;
      }
      tokens.left -= 1;
      this.#socket.send(JSON.stringify(this.#queue.shift()));
    }
  }

  /** @param {unknown} data */
  #heard(data) {
    this.#heardAt = Date.now();
    this.#pingedAt = null;
    /** @type {Frame} */
    let frame;
    try {
      frame = JSON.parse(String(data));
    } catch {
      return;
    }
    if (!frame?.type) return;
    const { type, id } = frame;
    if (type === "closing") this.#closing = frame;
    // The close frame that follows has no room for the operator's reason.
    if (type === "error" && frame.code === "banned" && frame.room === undefined) this.#ban = { reason: String(frame.message), until: frame.until };
    const asked = this.#asked.get(id);
    const isTokenWanted = type === "error" && frame.code === "unauthorized" && id === undefined;
    if (asked && type === "error" && frame.code === "rate_limited" && !asked.isTold) {
      setTimeout(() => this.#asked.get(id) === asked && this.send(asked.frame), frame.retryAfterMs ?? 1_000);
    } else if (asked && !NUMBERED.has(type)) {
      this.#asked.delete(id);
      asked.done(type === "error" ? new ChatError(frame.code, frame.message, frame.retryAfterMs) : null, frame);
    } else if (isTokenWanted && this.status.state === "connecting") {
      if (this.token) this.#introduce(this.token);
      else this.#authorize(frame.message);
    } else if (isTokenWanted) {
      this.#tokenEnded = frame.message;
    } else if (type === "welcome" && id === undefined && this.status.state === "connecting") {
      this.welcome = frame;
      this.#tokens = { left: frame.limits.burst, filledAt: Date.now() };
      // A name other than a guest's comes from the token.
      if (this.name === "" || !frame.clientId.startsWith("guest-")) this.#named(frame, false);
      else this.#introduce();
    } else if (this.status.state === "open") {
      this.on.frame(frame);
    }
  }

  /** @param {string} [token] */
  #introduce(token) {
    this.hello({ name: token ? "" : this.name, key: this.key, token }, (error) => {
      if (!error || error.code === "lost") return;
      if (error.code === "unauthorized") {
        this.#authorize(error.message);
      } else if (error.code === "forbidden" && (this.#refusals += 1) < this.on.rooms().length) {
        this.#drop();
        this.#wait(pauseMs(0), error.message);
      } else {
        this.#stopped(error.code, error.message, this.#ban.until);
      }
    });
  }

  /**
   * Gets a token and sends it.
   * @param {string} message the server's reason
   */
  async #authorize(message) {
    const refused = this.token;
    this.token = "";
    if (refused) this.#tokensRefused += 1;
    if (!this.options.getToken) {
      this.#stopped("unauthorized", message);
      return;
    }
    clearTimeout(this.#timers.connect);
    this.#isAuthorizing = true;
    const status = this.status;
    try {
      const token = await this.options.getToken({ message, refused });
      if (this.status !== status) return;
      if (!token) {
        this.#stopped("unauthorized", message);
        return;
      }
      this.token = token;
    } catch (error) {
      if (this.status !== status) return;
      this.#drop();
      this.on.error(new ChatError("no_token", error instanceof Error ? error.message : String(error)));
      this.#wait(pauseMs(this.#attempts++), "there is no token");
      return;
    }
    this.#isAuthorizing = false;
    if (this.#tokensRefused > 1) {
      this.#drop();
      this.#wait(pauseMs(this.#tokensRefused - 2), message);
    } else if (isPage() && this.#socket?.readyState === 1) {
      this.#timers.connect = setTimeout(() => this.#lost(4002, "the server does not answer"), CONNECT_MS);
      this.#introduce(this.token);
    } else {
      this.start();
    }
  }

  /** Checks whether the connection is still alive. */
  #look() {
    const now = Date.now();
    // The timers stood still, so the machine was asleep, and the network may have changed.
    const slept = now - this.#lookedAt > 20_000;
    this.#lookedAt = now;
    const { heartbeatMs } = this.welcome;
    const patience = Math.min(PONG_MS.most, Math.max(PONG_MS.least, heartbeatMs));
    if (this.#pingedAt !== null && now - this.#pingedAt > patience && !slept) this.#lost(4002, "the server is silent");
    else if (this.#pingedAt === null && (slept || now - this.#heardAt > heartbeatMs)) this.#ping();
    else if (slept) this.#pingedAt = now;
  }

  #ping() {
    this.#pingedAt ??= Date.now();
    this.ask({ type: "ping" }, () => undefined);
  }

  /** Closes the socket, ends pauses, and fails all requests in flight. */
  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    if (socket) {
      this.#socket = null;
      socket.onopen = socket.onmessage = socket.onclose = null;
      // The package ws reports an error if a socket is closed before it is open.
      socket.onerror = () => undefined;
      if (socket.readyState < 2) socket.close();
    }
    this.#queue = [];
    this.#pingedAt = null;
    this.#closing = null;
    this.#tokenEnded = "";
    this.#ban = { reason: "", until: undefined };
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const { done } of asked) done(lost(), { type: "" });
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    const closing = this.#closing;
    const tokenEnded = this.#tokenEnded;
    const ban = this.#ban;
    if (this.status.state === "open" && Date.now() - this.#openedAt >= STABLE_MS) this.#attempts = 0;
    this.#urlIndex = (this.#urlIndex + 1) % this.urls.length;
    this.#drop();
    // There is no socket now, so the next connection sends the token.
    if (this.#isAuthorizing) return;
    this.#isPauseAsked = closing !== null;
    const stop = FINAL.get(code);
    if (closing) {
      // The server itself spreads the reconnects of its clients.
      this.#wait(Number(closing.reconnectAfterMs) || 0, String(closing.reason ?? ""));
    } else if (tokenEnded && code === 1008) {
      this.#set({ state: "connecting" });
      this.#authorize(tokenEnded);
    } else if (stop) {
      this.#stopped(stop, (stop === "banned" && ban.reason) || reason, ban.until);
    } else {
      this.#wait(pauseMs(this.#attempts++, code === TRY_LATER ? PAUSE_MS.tryLater : undefined), reason || "the connection was lost");
    }
  }

  /**
   * Finds out why the handshake failed. A WebSocket does not reveal it; a plain request to the same URL does.
   * @param {URL} url
   */
  async #notOpened(url) {
    this.#urlIndex = (this.#urlIndex + 1) % this.urls.length;
    this.#drop();
    this.#isPauseAsked = false;
    const pause = pauseMs(this.#attempts++);
    const asked = new URL(url);
    asked.protocol = url.protocol.replace("ws", "http");
    // A page cannot read the answers of another origin.
    const isForeign = isPage() && asked.origin !== location.origin;
    const unknown = isForeign ? `the server cannot be reached, or does not allow pages of ${location.origin} (CHAT_ALLOWED_ORIGINS)` : "the server cannot be reached";
    this.#wait(pause, globalThis.navigator?.onLine === false ? "there is no network" : unknown);
    if (isForeign) return;
    const { status } = this;
    try {
      /** @type {Record<string, string>} */
      const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
      const answer = await fetch(asked, { cache: "no-store", headers, signal: AbortSignal.timeout(CONNECT_MS) });
      const refusal = await answer.json().catch(() => ({}));
      if (this.status !== status || answer.status === 426) return;
      const reason = String(refusal.message ?? answer.statusText);
      if (answer.status === 401) {
        this.#drop();
        this.#set({ state: "connecting" });
        this.#authorize(reason);
      } else if (answer.status === 503 || answer.status === 429) {
        clearTimeout(this.#timers.attempt);
        this.#wait(Math.max(pause, 1_000 * Number(answer.headers.get("retry-after") ?? 0)), reason);
      } else if (answer.status === 403 && (this.#refusals += 1) >= this.on.rooms().length) {
        // The server has refused every room as the first room of a connection.
        this.#stopped(refusal.code === "banned" ? "banned" : "forbidden", reason, refusal.until);
      }
    } catch {
      // The request failed too; the pause goes on.
    }
  }

  /** @param {string} why @param {string} reason @param {number} [until] the end of a ban */
  #stopped(why, reason, until) {
    this.#drop();
    this.#isAuthorizing = false;
    this.#set({ state: "stopped", why, reason, ...(until !== undefined && { until }) });
  }

  /** @param {number} ms @param {string} reason */
  #wait(ms, reason) {
    this.#timers.attempt = setTimeout(() => this.start(), ms);
    this.#set({ state: "waiting", until: Date.now() + ms, reason });
  }
}

/** The name of the event for a frame with a `seq`. @param {Frame} frame */
const eventOf = ({ type }) => (type === "message" ? type : "change");

/**
 * @param {Reactions[]} reactions
 * @param {Frame} change
 */
const react = (reactions, { emoji, clientId, removed = false }) => {
  const known = reactions.find((one) => one.emoji === emoji);
  const { count, clientIds } = known ?? { count: 0, clientIds: /** @type {string[]} */ ([]) };
  const isListed = clientIds.includes(clientId);
  const others = { emoji, count: count - 1, clientIds: clientIds.filter((name) => name !== clientId) };
  // The server does not list everybody, so a client that is not listed may be one of the others.
  const isCounted = isListed || (removed && count > clientIds.length);
  if (isCounted !== removed) return reactions;
  // As the server does: reactions beyond the limits have no effect.
  const total = reactions.reduce((sum, one) => sum + one.count, 0);
  if (!removed && (total >= 1000 || (!known && reactions.length >= 50))) return reactions;
  const next = removed ? others : { emoji, count: count + 1, clientIds: [...clientIds, clientId] };
  return (known ? reactions.map((one) => (one === known ? next : one)) : [...reactions, next]).filter((one) => one.count > 0);
};

/** @type {(message: any, change: any) => any} */
export const applyChange = (message, change) => {
  const { type, seq, at, Message: text } = change;
  if (message.deleted || seq <= (message.changedSeq ?? 0)) return message;
  const { Message: _, editedAt: __, reactions = [], ...rest } = message;
  if (type === "deleted") return { ...rest, deleted: true, changedSeq: seq };
  const next = { ...message, changedSeq: seq };
  if (type === "reaction") {
    next.reactions = react(reactions, change);
    if (next.reactions.length === 0) delete next.reactions;
  } else if (text !== undefined) {
    next.Message = text;
    next.editedAt = at;
  }
  return next;
};

class Feed {
  /** The newest frame that this feed has delivered. @type {Position | null} */
  position = null;
  /** Whether frames pass. Frames that arrive before `joined` are ignored: they follow again after it. */
  isLive = false;
  /** Whether a resume has recovered all frames since the feed was last live. */
  isRecovered = false;
  /** Whether the first frame decides where the sequence begins. */
  isLoose = false;
  /** Why the client is not in the room and does not try to be. @type {ChatError | null} */
  refusal = null;
  /** Changes whenever frames stop or continue. An answer from another turn may belong to another connection. */
  turn = 0;
  /** Pages of history that the program has not read to their end; they follow the changes. @type {Set<(change: Frame) => void>} */
  pages = new Set();
  /** The state that was too old for the server to continue from. @type {Position | null} */
  #tooOld = null;
  #caughtUpAt = 0;
  /** @type {number | null} */
  #gapAt = null;
  #failures = 0;

  /**
   * @param {Client} client
   * @param {{room: string} | {inbox: true}} where
   * @param {{frame: (frame: Frame) => void, joined: (joined: Frame, recovered: boolean | undefined) => void,
   *   refused: (error: ChatError) => void, getState?: () => any, fields?: () => object}} on
   */
  constructor(client, where, on) {
    this.client = client;
    this.where = where;
    this.on = on;
  }

  get isCaughtUp() {
    return this.isLive && (this.position?.seq ?? 0) >= this.#caughtUpAt;
  }

  /** Stops frames, and ignores pending answers. */
  pause() {
    this.turn += 1;
    this.isLive = false;
  }

  /** Stops frames until the next `join`. @param {ChatError} error */
  end(error) {
    this.pause();
    this.refusal = error;
  }

  join() {
    this.pause();
    this.refusal = null;
    const turn = this.turn;
    if (this.position || !this.on.getState) {
      this.#ask(turn);
      return;
    }
    Promise.resolve().then(this.on.getState).then((state) => {
      if (turn !== this.turn) return;
      this.position = state ? { ...state } : null;
      const tooOld = this.#tooOld;
      if (tooOld && state?.seq === tooOld.seq && state.epoch === tooOld.epoch) {
        this.client[emit]("error", new ChatError("old_state", "getState returned a position that is too old for the server again"));
      }
      this.#ask(turn);
    }, (error) => {
      if (turn !== this.turn) return;
      this.client[emit]("error", new ChatError("no_state", error instanceof Error ? error.message : String(error)));
      this.#later();
    });
  }

  /** @param {number} [least] */
  #later(least) {
    const turn = this.turn;
    setTimeout(() => turn === this.turn && this.join(), pauseMs(this.#failures++, least));
  }

  /** @param {number} turn */
  #ask(turn) {
    const { seq, epoch, at } = this.position ?? {};
    // JSON omits undefined fields.
    const frame = { type: "join", ...this.where, ...this.on.fields?.(), after: seq, epoch, afterAt: seq ? at : undefined };
    this.client[inner].connection.ask(frame, (error, joined) => {
      if (turn !== this.turn || error?.code === "lost") return;
      if (error?.code === "unavailable") this.#later(error.retryAfterMs);
      else if (error) this.refused(error);
      else this.joined(joined);
    });
  }

  /** @param {ChatError} error */
  refused(error) {
    this.end(error);
    this.on.refused(error);
  }

  /** @param {Frame} joined */
  joined(joined) {
    const hadPosition = this.position !== null;
    this.isRecovered = hadPosition && joined.recovered === true;
    const { epoch, visibleAfter: seq } = joined;
    if (!this.isRecovered && this.position && epoch === this.position.epoch && seq > this.position.seq) {
      // What lies between is not for this client.
      this.position = { seq, epoch };
      this.join();
      return;
    }
    if (hadPosition && !this.isRecovered && this.on.getState) {
      // The program's state is too old to continue from.
      this.#tooOld = this.position;
      this.position = null;
      this.#later();
      return;
    }
    if (!this.isRecovered) this.position = { seq: joined.seq, epoch: joined.epoch };
    this.#caughtUpAt = joined.seq;
    this.#failures = 0;
    this.#tooOld = null;
    this.isLive = true;
    this.on.joined(joined, hadPosition ? this.isRecovered : undefined);
  }

  /** @param {Frame} frame */
  take(frame) {
    const { position } = this;
    if (!this.isLive || !position) return;
    if (this.isLoose) position.seq = frame.seq - 1;
    this.isLoose = false;
    if (frame.seq <= position.seq) return;
    if (frame.seq > position.seq + 1) {
      if (this.#gapAt !== position.seq) {
        this.#gapAt = position.seq;
        this.join();
        return;
      }
      // The server reports that nothing is missing, but omits the same frames again. They are lost.
      this.joined({ type: "joined", ...this.where, seq: frame.seq - 1, epoch: position.epoch, recovered: false });
      if (!this.isLive) return;
    }
    this.position = { seq: frame.seq, epoch: position.epoch, at: frame.at };
    if (frame.type !== "message") for (const page of this.pages) page(frame);
    this.on.frame(frame);
  }
}

/**
 * Whether the server would recognize a repetition of the message. It remembers an id for a limited time and for one name.
 * A guest has another name with each connection.
 * @param {Attempt} attempt
 * @param {string} name
 */
const isRecognized = ({ sentAt, sentAs }, name) => sentAt === null || (Date.now() - sentAt <= ID_REMEMBERED_MS && sentAs === name);

/** @param {Attempt} attempt @param {string} name */
const noteAttempt = (attempt, name) => {
  if (attempt.sentAt === null) Object.assign(attempt, { sentAt: Date.now(), sentAs: name });
};

class Outgoing {
  /** @type {(Attempt & {frame: Frame, resolve: (sent: Sent) => void, reject: (error: ChatError) => void})[]} */
  #queue = [];
  #isInFlight = false;
  #failures = 0;
  /** @type {any} */
  #timer = 0;

  /**
   * @param {Client} client
   * @param {{isReady: () => boolean, refusal: () => ChatError | null, feed: Feed, outcast?: () => void}} on
   *   `refusal`: why no message will be sent; `outcast`: the client is not in the room
   */
  constructor(client, on) {
    this.client = client;
    this.on = on;
  }

  /**
   * @param {Frame} frame
   * @returns {Promise<Sent>}
   */
  send(frame) {
    return new Promise((resolve, reject) => {
      const refusal = this.on.refusal();
      if (refusal) {
        reject(refusal);
        return;
      }
      if (this.#queue.length >= UNSENT_MAX) {
        reject(new ChatError("too_many_unsent", `${UNSENT_MAX} messages wait to be sent`));
        return;
      }
      this.#queue.push({ frame: { ...frame, id: frame.id ?? newId() }, resolve, reject, sentAt: null, sentAs: "" });
      this.flush();
    });
  }

  /** The connection is lost, and with it the answer. */
  lost() {
    this.#isInFlight = false;
  }

  /** A frame of the destination has arrived. An own one has reached the server, even if its acknowledgement was lost. @param {Frame} frame */
  seen({ id, seq, at }) {
    const first = this.#queue[0];
    if (!this.#isInFlight && first?.sentAt && first.frame.id === id) this.#settle({ seq, at });
    else this.flush();
  }

  /** @param {ChatError} error */
  fail(error) {
    for (const { reject } of this.#queue.splice(0)) reject(error);
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isInFlight = false;
  }

  /** @param {Sent | ChatError} outcome */
  #settle(outcome) {
    const entry = this.#queue.shift();
    this.#isInFlight = false;
    this.#failures = 0;
    if (outcome instanceof ChatError) entry?.reject(outcome);
    else entry?.resolve(outcome);
    this.flush();
  }

  /** Sends the first message. The next one waits for its outcome, so that a refusal does not change the order. */
  flush() {
    const first = this.#queue[0];
    if (!first || this.#isInFlight || this.#timer || !this.on.isReady()) return;
    if (first.sentAt !== null) {
      const { feed } = this.on;
      if (feed.isLive && !feed.isCaughtUp) return;
      if (!isRecognized(first, this.client.name) && !feed.isRecovered) {
        this.#settle(uncertain());
        return;
      }
    }
    this.#isInFlight = true;
    noteAttempt(first, this.client.name);
    this.client[inner].connection.ask(first.frame, (error, { seq, at, duplicate }) => {
      if (this.#queue[0] !== first) return;
      if (!error) {
        this.#settle(duplicate ? { seq, at, duplicate } : { seq, at });
      } else if (error.code === "lost") {
        this.lost();
      } else if (error.code === "unavailable" || (error.code === "not_a_member" && this.on.outcast)) {
        this.#isInFlight = false;
        first.sentAt = null;
        this.#timer = setTimeout(() => {
          this.#timer = 0;
          this.flush();
        }, pauseMs(this.#failures++, error.retryAfterMs));
        if (error.code === "not_a_member") this.on.outcast?.();
      } else {
        this.#settle(error);
      }
    });
  }
}

class Typing {
  /** The others who type, and until when. @type {Map<string, number>} */
  #typists = new Map();
  /** Until when there are more of them than the server names. */
  #moreUntil = 0;
  /** The newest authors, and when they wrote. @type {Map<string, number>} */
  #authors = new Map();
  #reported = " false";
  /** @type {any} */
  #timer = 0;
  #id = newId();
  #nextAt = 0;

  /**
   * @param {Client} client
   * @param {{room: string} | {to: string}} where
   * @param {{isReady: () => boolean, changed: (typing: {clientIds: string[], more: boolean}) => void}} on
   */
  constructor(client, where, on) {
    this.client = client;
    this.where = where;
    this.on = on;
  }

  /** The own user types. */
  note() {
    const now = Date.now();
    if (now < this.#nextAt || !this.on.isReady()) return;
    this.#nextAt = now + TYPING_MS.least;
    this.client[inner].connection.tell({ type: "typing", ...this.where, id: this.#id }, (error) => {
      if (error && error.code !== "lost") this.#nextAt = Date.now() + TYPING_MS.refused;
    });
  }

  /** @param {Frame} typing */
  heard({ clientIds, more }) {
    const now = Date.now();
    const until = now + TYPING_MS.shown;
    for (const name of clientIds) {
      if (name !== this.client.name && now - (this.#authors.get(name) ?? -Infinity) > TYPING_MS.late) this.#typists.set(name, until);
    }
    if (more) this.#moreUntil = until;
    this.#look();
  }

  /** A message of this client has arrived. @param {string} name */
  wrote(name) {
    this.#authors.delete(name);
    this.#authors.set(name, Date.now());
    if (this.#authors.size > AUTHORS_MAX) this.#authors.delete([...this.#authors.keys()][0] ?? "");
    if (this.#typists.delete(name)) this.#look();
  }

  /** Nothing is known any more. */
  forget() {
    this.#typists.clear();
    this.#moreUntil = 0;
    this.#look();
  }

  /** Removes those who have stopped, and reports a change. */
  #look() {
    const now = Date.now();
    for (const [name, until] of this.#typists) if (until <= now) this.#typists.delete(name);
    const clientIds = [...this.#typists.keys()];
    const more = this.#moreUntil > now;
    clearTimeout(this.#timer);
    const next = Math.min(...this.#typists.values(), more ? this.#moreUntil : Infinity);
    if (next < Infinity) this.#timer = setTimeout(() => this.#look(), next - now);
    const reported = `${clientIds} ${more}`;
    if (reported === this.#reported) return;
    this.#reported = reported;
    this.on.changed({ clientIds, more });
  }
}

/**
 * @param {Client} client
 * @param {object} where
 * @param {{before?: number, after?: number, limit?: number}} options
 * @param {Feed} feed of the sequence that contains the messages
 * @param {() => Promise<unknown>} ready waits until the feed knows its epoch
 * @param {string} [begun] the epoch of `before` or `after`; without it, the epoch of the feed
 */
async function* pages(client, where, { before, after, limit = 100 }, feed, ready, begun) {
  if (begun === undefined) {
    await ready();
    begun = feed.position?.epoch;
  }
  for (;;) {
    await ready();
    if (feed.position?.epoch !== begun) throw new ChatError("other_epoch", "the server has started a new numbering, so the rest of this history is gone");
    const { turn } = feed;
    /** @type {any[] | null} */
    let page = null;
    // The program does not have these messages yet, so it cannot apply the changes of them.
    /** @type {Frame[]} */
    const early = [];
    const follow = (/** @type {Frame} */ change) => {
      if (feed.position?.epoch !== begun) return;
      if (page) page = page.map((message) => (message.seq === change.of ? applyChange(message, change) : message));
      else early.push(change);
    };
    feed.pages.add(follow);
    try {
      const { messages, hasMore } = await client.request({ type: "history", ...where, before, after, limit });
      // The answer may come from another connection with a new numbering.
      if (feed.turn !== turn) continue;
      page = after === undefined ? messages.reverse() : messages;
      early.forEach(follow);
      for (let index = 0; index < messages.length; index += 1) yield page?.[index];
      if (!hasMore || messages.length === 0) return;
      const { seq } = messages.at(-1);
      if (after === undefined) before = seq;
      else after = seq;
    } finally {
      feed.pages.delete(follow);
    }
  }
}

class Place extends Emitter {
  /** Among others `where` messages go, and where the messages to be `changed` are. @type {any} */
  [inner];

  /** @param {string} text @param {SendOptions} [fields] */
  send(text, fields) {
    const { outgoing, where } = this[inner];
    return outgoing.send({ type: "message", ...where, ...fields, Message: text });
  }

  /** @param {number} of @param {string} text @param {SendOptions} [fields] */
  edit(of, text, fields) {
    return this.#change({ type: "edit", of, ...fields, Message: text });
  }

  /** @param {number} of @param {SendOptions} [fields] */
  delete(of, fields) {
    return this.#change({ type: "delete", of, ...fields });
  }

  /** @param {number} of @param {string} emoji @param {SendOptions} [fields] */
  react(of, emoji, fields) {
    return this.#change({ type: "react", of, emoji, ...fields });
  }

  /** @param {Frame} frame */
  #change(frame) {
    const { outgoing, changed } = this[inner];
    return outgoing.send({ ...frame, ...changed });
  }

  typing() {
    this[inner].typing.note();
  }

  /** @param {number} seq @returns {Promise<any>} */
  read(seq) {
    const { outgoing, changed } = this[inner];
    return new Promise((resolve, reject) => {
      /** @type {Done} */
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      // Another connection does not repeat it: there the number may mean another message.
      outgoing.client[inner].connection.ask({ type: "read", ...changed, seq }, done);
    });
  }
}

export class Room extends Place {
  #client;
  #hasPresence = false;

  /** @param {Client} client @param {string} name @param {{getState?: () => any}} options */
  constructor(client, name, { getState }) {
    super();
    this.name = name;
    this.#client = client;
    let members = 0;
    super.on("presence", ({ count }) => {
      members = count;
    });
    const feed = new Feed(client, { room: name }, {
      getState,
      fields: () => ({ presence: this.#hasPresence || undefined }),
      joined: ({ seq, epoch, count, settings = {}, visibleAfter }, recovered) => {
        members = count;
        this[emit]("joined", { seq, epoch, count, recovered, settings, visibleAfter });
        outgoing.flush();
      },
      refused: (error) => {
        outgoing.fail(error);
        typing.forget();
        this[emit]("left", { code: error.code, message: error.message });
      },
      frame: (frame) => {
        this[emit](eventOf(frame), frame);
        if (frame.type === "message") typing.wrote(frame.clientId);
        outgoing.seen(frame);
      },
    });
    const outgoing = new Outgoing(client, {
      feed, isReady: () => feed.isLive, refusal: () => feed.refusal ?? client[inner].over(), outcast: () => feed.join(),
    });
    const typing = new Typing(client, { room: name }, {
      isReady: () => feed.isLive && members <= TYPING_MEMBERS_MAX,
      changed: (typists) => this[emit]("typing", typists),
    });
    this[inner] = { feed, outgoing, typing, where: { room: name }, changed: { room: name } };
  }

  get isJoined() {
    return this[inner].feed.isLive;
  }

  get position() {
    const { position } = this[inner].feed;
    return position && { ...position };
  }

  /** @param {string | symbol} event @param {(...values: any[]) => void} listener */
  on(event, listener) {
    if (event === "presence" && !this.#hasPresence) {
      this.#hasPresence = true;
      if (this.isJoined) this.join();
    }
    return super.on(event, listener);
  }

  join() {
    this.#client[inner].join(this);
  }

  leave() {
    this.#client[inner].leave(this);
  }

  /** @param {{before?: number, after?: number, limit?: number}} [options] */
  history(options = {}) {
    const { feed } = this[inner];
    const ready = () => this.#joined();
    if (options.before !== undefined || options.after !== undefined) return pages(this.#client, { room: this.name }, options, feed, ready);
    // Everything after the position of this moment, or after that of `joined`, is an event.
    const position = this.#joined();
    // A program that never reads gets no error.
    position.catch(() => undefined);
    return this.#before(position, options);
  }

  /** @param {Promise<Position | null>} position @param {{limit?: number}} options */
  async *#before(position, options) {
    const { seq = 0, epoch } = (await position) ?? {};
    yield* pages(this.#client, { room: this.name }, { ...options, before: seq + 1 }, this[inner].feed, () => this.#joined(), epoch);
  }

  /**
   * Waits until the room is joined, and returns its position at that moment. Rejects if the room will not be joined.
   * @returns {Promise<Position | null>}
   */
  #joined() {
    const { feed } = this[inner];
    return new Promise((resolve, reject) => {
      const refused = () => feed.refusal ?? this.#client[inner].over();
      const look = () => {
        const refusal = refused();
        if (!refusal && !feed.isLive) return;
        for (const off of ends) off();
        if (refusal) reject(refusal);
        else resolve(this.position);
      };
      const ends = [this.on("joined", look), this.on("left", look), this.on(over, look), this.#client.on("state", look)];
      look();
    });
  }

  async members() {
    await this.#joined();
    return this.#client.request({ type: "members", room: this.name });
  }
}

export class PrivateConversation extends Place {
  #client;

  /** @param {Client} client @param {string} name @param {Feed} feed */
  constructor(client, name, feed) {
    super();
    this.name = name;
    this.#client = client;
    const isReady = () => client.state === "open";
    this[inner] = {
      outgoing: new Outgoing(client, { feed, isReady, refusal: () => client[inner].over() }),
      typing: new Typing(client, { to: name }, { isReady, changed: (typists) => this[emit]("typing", typists) }),
      where: { to: name },
      changed: { inbox: true },
    };
  }

  /** @param {{before?: number, after?: number, limit?: number}} [options] */
  history(options = {}) {
    const client = this.#client;
    // `welcome` contains the inbox's epoch.
    return pages(client, { to: this.name }, options, client[inner].feed, () => client[inner].opened());
  }
}

export class Client extends Emitter {
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** @type {Map<string, PrivateConversation>} */
  #privates = new Map();
  /** Requests that wait for a connection. @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {Options} options */
  constructor(options) {
    super();
    const connection = new Connection(options, {
      status: (status) => this.#changed(status),
      open: (welcome) => this.#begin(welcome),
      frame: (frame) => this.#frame(frame),
      error: (error) => this[emit]("error", error),
      rooms: () => [...this.#rooms.keys()].filter((name) => ROOM.test(name)),
    });
    const feed = new Feed(this, { inbox: true }, {
      joined: ({ seq, epoch }, recovered) => {
        feed.isLoose = recovered === false;
        this[emit]("inbox", { seq, epoch, recovered });
      },
      refused: (error) => this[emit]("error", error),
      frame: (frame) => this.#private(frame),
    });
    this[inner] = {
      connection,
      feed,
      isToStart: false,
      join: (/** @type {Room} */ room) => this.#join(room),
      leave: (/** @type {Room} */ room) => this.#leave(room),
      over: () => this.#over(),
      opened: () => this.#opened(),
    };
  }

  get state() {
    return this.status.state;
  }

  get status() {
    return this[inner].connection.status;
  }

  get name() {
    return this[inner].connection.welcome?.clientId ?? this[inner].connection.name;
  }

  get key() {
    return this[inner].connection.welcome?.key ?? this[inner].connection.key;
  }

  get server() {
    return this[inner].connection.welcome?.server ?? "";
  }

  get limits() {
    return this[inner].connection.welcome?.limits ?? null;
  }

  /** @param {{name?: string, key?: string}} [who] */
  start(who) {
    const { connection } = this[inner];
    if (who) {
      connection.name = who.name ?? "";
      connection.key = who.key ?? "";
    }
    connection.start();
  }

  close() {
    this[inner].isToStart = false;
    this[inner].connection.stop();
  }

  wake() {
    this[inner].connection.wake();
  }

  /** @param {string} name @param {string} [key] @returns {Promise<void>} */
  rename(name, key = "") {
    return new Promise((resolve, reject) => {
      const over = this.#over();
      if (over) {
        reject(over);
        return;
      }
      this[inner].connection.hello({ name, key }, (error) => {
        if (error) {
          reject(error);
          return;
        }
        this[emit]("identity", { name: this.name, key: this.key });
        resolve();
      });
    });
  }

  /** @param {string} name @param {{getState?: () => any}} [options] */
  room(name, options = {}) {
    let room = this.#rooms.get(name);
    if (!room) {
      room = new Room(this, name, options);
      this.#rooms.set(name, room);
      const made = room;
      // Joining after this task lets its new listeners hear every event. A client that is not open yet joins all rooms later.
      if (this.state === "open") queueMicrotask(() => this.#rooms.get(name) === made && made.join());
    }
    return room;
  }

  /** @param {string} name */
  privateWith(name) {
    const conversation = this.#privates.get(name) ?? new PrivateConversation(this, name, this[inner].feed);
    this.#privates.set(name, conversation);
    return conversation;
  }

  /** @returns {Promise<any>} */
  rooms() {
    return this.request({ type: "rooms" });
  }

  /** @param {Frame} frame @returns {Promise<any>} */
  request(frame) {
    return new Promise((resolve, reject) => {
      const isOnce = ONCE.has(frame.type);
      // All repetitions have the same id.
      const asked = isOnce ? { id: newId(), ...frame } : frame;
      /** @type {Attempt} */
      const attempt = { sentAt: null, sentAs: "" };
      const ask = () => {
        const over = this.#over();
        if (over) {
          reject(over);
        } else if (this.state !== "open") {
          this.#waiting.add(ask);
        } else if (isOnce && !isRecognized(attempt, this.name)) {
          reject(uncertain());
        } else {
          noteAttempt(attempt, this.name);
          this[inner].connection.ask(asked, (error, answer) => {
            if (!error) resolve(answer);
            // The next connection asks again.
            else if (error.code === "lost") this.#waiting.add(ask);
            else reject(error);
          });
        }
      };
      ask();
    });
  }

  /** The reason that there will be no connection until `start`. */
  #over() {
    const { status } = this;
    if (status.state === "stopped") return new ChatError("closed", `the client has stopped: ${status.reason}`);
    return status.state === "idle" ? new ChatError("closed", "the client is closed") : null;
  }

  /** @returns {Promise<void>} */
  #opened() {
    return new Promise((resolve, reject) => {
      const look = () => {
        const over = this.#over();
        if (over) reject(over);
        else if (this.state === "open") resolve();
        else this.#waiting.add(look);
      };
      look();
    });
  }

  /** @param {Status} status */
  #changed(status) {
    if (status.state !== "open") {
      for (const { [inner]: { feed } } of this.#rooms.values()) feed.pause();
      for (const { [inner]: { outgoing, typing } } of this.#places()) {
        outgoing.lost();
        typing.forget();
      }
      this[inner].feed.pause();
    }
    const over = this.#over();
    if (over) for (const { [inner]: { outgoing } } of this.#places()) outgoing.fail(over);
    this[emit]("state", status);
    if (over) this.#askAgain();
  }

  #places() {
    return [...this.#rooms.values(), ...this.#privates.values()];
  }

  #askAgain() {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const ask of waiting) ask();
  }

  /** @param {Frame} welcome */
  #begin({ room, inbox }) {
    this[emit]("identity", { name: this.name, key: this.key });
    if (room !== undefined && !this.#rooms.has(room)) this[inner].connection.ask({ type: "leave", room }, () => undefined);
    const { feed } = this[inner];
    if (!inbox) {
      feed.position = null;
    } else if (feed.position && feed.position.epoch === inbox.epoch && feed.position.seq < inbox.seq) {
      feed.join();
    } else {
      const hadPosition = feed.position !== null;
      // Stored messages for this client follow, and begin at an unknown seq.
      feed.isLoose = feed.position?.epoch !== inbox.epoch;
      if (feed.isLoose) feed.position = { ...inbox };
      feed.isLive = true;
      feed.isRecovered = !feed.isLoose;
      this[emit]("inbox", { ...inbox, recovered: hadPosition ? !feed.isLoose : undefined });
    }
    for (const room of this.#rooms.values()) room.join();
    for (const { [inner]: { outgoing } } of this.#privates.values()) outgoing.flush();
    // Requests about rooms must follow the joins.
    this.#askAgain();
  }

  /** @param {Frame} frame */
  #frame(frame) {
    const { type } = frame;
    const room = this.#rooms.get(frame.room);
    if (NUMBERED.has(type) && frame.room !== undefined) {
      room?.[inner].feed.take(frame);
    } else if (NUMBERED.has(type)) {
      if (frame.seq === undefined) this.#private(frame);
      else this[inner].feed.take(frame);
    } else if (type === "error" && EXPELLED.has(frame.code) && room) {
      // A `left` follows, which has no reason.
      room[inner].feed.refused(new ChatError(frame.code, frame.message, frame.retryAfterMs));
    } else if (type === "left" && room) {
      // This `left` answers no request: an operator has dropped the room, or a new token does not allow it.
      if (!room[inner].feed.refusal) room[inner].feed.refused(new ChatError("left", "the server has ended the membership"));
    } else if (type === "joined" && frame.inbox) {
      // This `joined` answers no request: an operator has emptied the inbox.
      this[inner].feed.joined({ ...frame, recovered: false });
    } else if (type === "typing") {
      (room ?? this.#privates.get(frame.from))?.[inner].typing.heard(frame);
    } else if (type === "error") {
      this[emit]("error", new ChatError(frame.code, frame.message, frame.retryAfterMs));
    } else if (room || frame.room === undefined) {
      // The others are of a room that the client has left.
      (room ?? this)[emit](type, frame);
    }
  }

  /** @param {Frame} frame */
  #private(frame) {
    const other = frame.clientId === this.name ? frame.to : frame.clientId;
    const isMessage = frame.type === "message";
    // First the general event: its listener may open the conversation, which then gets the message too.
    this[emit](isMessage ? "private" : "change", frame, other);
    const conversation = this.#privates.get(other);
    conversation?.[emit](eventOf(frame), frame);
    if (isMessage) conversation?.[inner].typing.wrote(frame.clientId);
    if (frame.clientId === this.name) conversation?.[inner].outgoing.seen({ ...frame, seq: undefined });
  }

  /** @param {Room} room */
  #join(room) {
    const { name } = room;
    if ((this.#rooms.get(name) ?? room) !== room) throw new TypeError(`another object of client.room("${name}") has joined this room`);
    this.#rooms.set(name, room);
    room[inner].feed.refusal = null;
    if (this.state === "open") room[inner].feed.join();
  }

  /** @param {Room} room */
  #leave(room) {
    if (this.#rooms.get(room.name) !== room) return;
    this.#rooms.delete(room.name);
    const { feed, outgoing, typing } = room[inner];
    feed.end(left());
    outgoing.fail(left());
    typing.forget();
    room[emit](over);
    if (this.state === "open") this[inner].connection.ask({ type: "leave", room: room.name }, () => undefined);
  }
}

/** @type {typeof import("./starling.d.ts").connect} */
export const connect = (options) => {
  const client = new Client(options);
  // Connecting after this task lets the handshake join a room that the task names.
  client[inner].isToStart = options.start !== false;
  queueMicrotask(() => {
    if (client[inner].isToStart) client.start();
  });
  return client;
};
