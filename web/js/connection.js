// @ts-check
/**
 * The page's connection to the server. It reconnects whenever it breaks.
 *
 * It knows sockets, pauses and the rate limit; `Chat` knows the meaning of frames. A socket without traffic is pinged,
 * and closed if there is no answer, because a network failure closes no socket by itself.
 *
 * @typedef {import("./protocol.js").Frame} Frame
 * @typedef {import("./protocol.js").Welcome} Welcome
 * @typedef {import("./protocol.js").Refusal} Refusal
 *
 * @typedef {"replaced" | "removed" | "ended" | "refused" | "unauthorized" | "forbidden"} Stop
 * @typedef {{is: "idle"} | {is: "connecting"} | {is: "open"} | {is: "waiting", until: number, reason: string}
 *   | {is: "stopped", why: Stop, reason: string}} State
 */

import { Backoff } from "./backoff.js";
import { Pacing } from "./pacing.js";

/** Longest time from the connection attempt to its `welcome`. */
const CONNECT_MS = 10_000;

/** Bounds of the time to wait for the answer to a `ping`. */
const PONG_MS = { least: 1_000, most: 8_000 };

/** Close codes after which the page does not reconnect by itself. */
const FINAL = new Map(/** @type {[number, Stop][]} */ ([
  [1000, "ended"], [1002, "refused"], [1003, "refused"], [1007, "refused"], [1008, "refused"], [1009, "refused"],
  [4003, "replaced"], [4004, "removed"],
]));

/** The server cannot accept the connection at the moment. */
const TRY_LATER = 1013;

export class Connection {
  /**
   * @param {{base: URL, onState: (state: State) => void, onWelcome: (welcome: Welcome) => void,
   *   onFrame: (frame: Frame) => void}} options `base`: the page's folder
   */
  constructor({ base, onState, onWelcome, onFrame }) {
    this.base = base;
    this.onState = onState;
    this.onWelcome = onWelcome;
    this.onFrame = onFrame;
    this.token = "";
    /** @type {State} */
    this.state = { is: "idle" };
    this.backoff = new Backoff();
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Pacing | null} */
    this.pacing = null;
    /** @type {Frame[]} */
    this.queue = [];
    /** @type {Map<string, {resolve: (frame: Frame) => void, reject: (refusal: Refusal) => void, frame: Frame}>} */
    this.asked = new Map();
    this.askedCount = 0;
    this.heartbeatMs = 25_000;
    this.heardAt = 0;
    this.lookedAt = 0;
    /** @type {number | null} */
    this.pingedAt = null;
    /** @type {number | null} */
    this.reconnectAfterMs = null;
    this.closingReason = "";
    /** The server's message that a token, or a newer one, is required. */
    this.tokenWanted = "";
    /** Whether the server has asked for the current pause. */
    this.isPauseAsked = false;
    this.timers = { attempt: 0, connect: 0, life: 0, queue: 0 };
  }

  /** Connects now, without waiting for the end of a pause. */
  start() {
    clearTimeout(this.timers.attempt);
    this.#drop();
    this.tokenWanted = "";
    this.#set({ is: "connecting" });
    const url = new URL("ws", this.base);
    url.protocol = url.protocol.replace("http", "ws");
    // A browser cannot set a header for a WebSocket.
    if (this.token) url.searchParams.set("token", this.token);
    const socket = new WebSocket(url);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    socket.onmessage = ({ data }) => this.#heard(data);
    socket.onclose = ({ code, reason }) => {
      if (opened) this.#lost(code, reason);
      else this.#notOpened();
    };
    this.timers.connect = setTimeout(() => this.#lost(4002, "no answer"), CONNECT_MS);
  }

  /** Ends the connection and does not reconnect. */
  stop() {
    clearTimeout(this.timers.attempt);
    this.socket?.close(1000);
    this.#drop();
    this.#set({ is: "idle" });
  }

  /** Checks the connection at once, because the network or the machine may have been away. */
  wake() {
    if (this.state.is === "waiting" && navigator.onLine && !this.isPauseAsked) this.start();
    else if (this.state.is === "open") this.#ping();
  }

  /** @param {Frame} frame */
  send(frame) {
    this.queue.push(frame);
    this.#flush();
  }

  /** Whether the rate limit allows a frame now. */
  get isFree() {
    return this.state.is === "open" && this.queue.length === 0 && this.pacing?.waitMs(Date.now()) === 0;
  }

  /**
   * Sends a frame and waits for its answer. If the rate limit refuses it, it is sent again without telling the caller.
   * @param {Frame} frame
   * @returns {Promise<Frame>} rejected with the server's refusal, or with `lost` when the connection breaks
   */
  ask(frame) {
    return new Promise((resolve, reject) => {
      if (this.state.is !== "open") {
        reject({ code: "lost", message: "not connected" });
        return;
      }
      this.askedCount += 1;
      const id = `q-${this.askedCount}`;
      const asked = { ...frame, id };
      this.asked.set(id, { resolve, reject, frame: asked });
      this.send(asked);
    });
  }

  /** @param {State} state */
  #set(state) {
    this.state = state;
    this.onState(state);
  }

  #flush() {
    clearTimeout(this.timers.queue);
    while (this.state.is === "open" && this.socket && this.pacing && this.queue.length > 0) {
      const wait = this.pacing.waitMs(Date.now());
      if (wait > 0) {
        this.timers.queue = setTimeout(() => this.#flush(), wait);
        return;
      }
      this.pacing.take();
      this.socket.send(JSON.stringify(this.queue.shift()));
    }
  }

  /** @param {unknown} data */
  #heard(data) {
    this.heardAt = Date.now();
    this.pingedAt = null;
    /** @type {Frame} */
    let frame;
    try {
      frame = JSON.parse(String(data));
    } catch {
      return;
    }
    if (frame.type === "welcome" && this.state.is === "connecting") {
      clearTimeout(this.timers.connect);
      this.backoff.reset();
      this.#limits(/** @type {any} */ (frame));
      this.lookedAt = Date.now();
      this.timers.life = setInterval(() => this.#look(), Math.min(1_000, this.heartbeatMs / 2));
      this.#set({ is: "open" });
      this.onWelcome(/** @type {any} */ (frame));
      return;
    }
    if (frame.type === "error" && frame.code === "unauthorized" && frame.id === undefined) {
      this.tokenWanted = String(frame.message);
      if (this.state.is === "connecting") {
        this.#drop();
        this.#refuse("unauthorized", this.tokenWanted);
      }
      return;
    }
    if (frame.type === "closing") {
      this.reconnectAfterMs = Number(frame.reconnectAfterMs) || 0;
      this.closingReason = String(frame.reason ?? "");
    }
    const asked = this.asked.get(frame.id ?? "");
    if (asked && frame.id !== undefined) {
      if (frame.type === "error" && frame.code === "rate_limited") {
        setTimeout(() => this.asked.has(frame.id) && this.send(asked.frame), frame.retryAfterMs ?? 1_000);
        return;
      }
      this.asked.delete(frame.id);
      if (frame.type === "error") asked.reject(/** @type {any} */ (frame));
      else asked.resolve(frame);
      if (frame.type !== "welcome" && frame.type !== "joined") return;
    }
    this.onFrame(frame);
  }

  /** @param {Welcome} welcome */
  #limits({ limits, heartbeatMs }) {
    this.heartbeatMs = heartbeatMs;
    this.pacing = new Pacing(limits, Date.now());
  }

  /** Checks whether the connection is still alive. */
  #look() {
    const now = Date.now();
    // The timers stood still, so the machine was asleep, and the network may have changed.
    const slept = now - this.lookedAt > 20_000;
    this.lookedAt = now;
    const patience = Math.min(PONG_MS.most, Math.max(PONG_MS.least, this.heartbeatMs));
    if (this.pingedAt !== null && now - this.pingedAt > patience && !slept) this.#lost(4002, "no sign of life");
    else if (this.pingedAt === null && (slept || now - this.heardAt > this.heartbeatMs)) this.#ping();
    else if (slept) this.pingedAt = now;
  }

  #ping() {
    this.pingedAt ??= Date.now();
    this.ask({ type: "ping" }).catch(() => undefined);
  }

  /** Closes the socket and rejects all requests in flight. */
  #drop() {
    clearTimeout(this.timers.connect);
    clearTimeout(this.timers.queue);
    clearInterval(this.timers.life);
    if (this.socket) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      if (this.socket.readyState < WebSocket.CLOSING) this.socket.close();
      this.socket = null;
    }
    this.queue = [];
    this.pingedAt = null;
    const asked = [...this.asked.values()];
    this.asked.clear();
    for (const { reject } of asked) reject({ code: "lost", message: "the connection was lost" });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const told = this.reconnectAfterMs;
    const why = this.closingReason || reason;
    this.reconnectAfterMs = null;
    this.closingReason = "";
    this.#drop();
    this.isPauseAsked = told !== null;
    const stop = told === null ? FINAL.get(code) : undefined;
    if (stop && this.tokenWanted) {
      this.#refuse("unauthorized", this.tokenWanted);
    } else if (stop) {
      this.#set({ is: "stopped", why: stop, reason: why });
    } else if (told === null) {
      this.#wait(this.backoff.next(code === TRY_LATER ? { floorMs: 5_000 } : {}), why || "the connection was lost");
    } else {
      // The server itself spreads the reconnects of its clients.
      this.#wait(told, why);
    }
  }

  /** A browser does not reveal why a WebSocket was refused. A plain request to the same URL does. */
  async #notOpened() {
    this.#drop();
    this.isPauseAsked = false;
    const pause = this.backoff.next();
    this.#wait(pause, navigator.onLine ? "the server cannot be reached" : "there is no network");
    const attempt = this.timers.attempt;
    const url = new URL("ws", this.base);
    if (this.token) url.searchParams.set("token", this.token);
    try {
      const answer = await fetch(url, { cache: "no-store" });
      if (this.timers.attempt !== attempt || this.state.is !== "waiting") return;
      if (answer.status === 426) return;
      const refusal = await answer.json().catch(() => ({}));
      const reason = String(refusal.message ?? answer.statusText);
      if (answer.status === 401) this.#refuse("unauthorized", reason);
      else if (answer.status === 403) this.#refuse("forbidden", reason);
      else if (answer.status === 503 || answer.status === 429) {
        const floorMs = 1_000 * Number(answer.headers.get("retry-after") ?? 0);
        this.#wait(Math.max(pause, floorMs), reason);
      }
    } catch {
      // The request failed too; the pause goes on.
    }
  }

  /**
   * @param {Stop} why
   * @param {string} reason
   */
  #refuse(why, reason) {
    clearTimeout(this.timers.attempt);
    this.#set({ is: "stopped", why, reason });
  }

  /**
   * @param {number} ms
   * @param {string} reason
   */
  #wait(ms, reason) {
    clearTimeout(this.timers.attempt);
    this.timers.attempt = setTimeout(() => this.start(), ms);
    this.#set({ is: "waiting", until: Date.now() + ms, reason });
  }
}
