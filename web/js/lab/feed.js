// @ts-check
/** The stream of figures: connects, reads, and reconnects after pauses until it is stopped. */

import { EventReader } from "./events.js";

/** @typedef {import("./figures.js").Figures} Figures */
/** @typedef {"connecting" | "live" | "waiting" | "refused" | "stopped"} State */

/** Pauses between attempts, in milliseconds. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 10_000;

/** The stream counts as lost when nothing comes for this time. */
const SILENCE_MAX = 15_000;

export class Feed {
  #address;
  #getToken;
  #onFigures;
  #onState;
  /** @type {AbortController | null} */
  #running = null;

  /**
   * @param {{ address: URL, getToken: () => string | null, onFigures: (figures: Figures) => void,
   *   onState: (state: State, why: string) => void }} options
   */
  constructor({ address, getToken, onFigures, onState }) {
    this.#address = address;
    this.#getToken = getToken;
    this.#onFigures = onFigures;
    this.#onState = onState;
  }

  /** Starts, or starts anew with another token. */
  start() {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    void this.#run(running.signal);
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#onState("stopped", "");
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    let pause = FIRST_PAUSE;
    while (!signal.aborted) {
      this.#onState("connecting", "");
      let why = "The server cannot be reached.";
      try {
        const refusal = await this.#follow(signal, () => { pause = FIRST_PAUSE; });
        if (signal.aborted) return;
        if (refusal?.status === 401 || refusal?.status === 403) return this.#onState("refused", refusal.message);
        why = refusal?.message ?? "The stream has ended.";
      } catch {
        // The network failed, or the answer does not contain figures of this server.
      }
      if (signal.aborted) return;
      this.#onState("waiting", why);
      await new Promise((done) => {
        signal.addEventListener("abort", done, { once: true });
        setTimeout(done, pause * (0.5 + Math.random() / 2));
      });
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }

  /**
   * Reads one stream to its end.
   * @param {AbortSignal} signal
   * @param {() => void} onEvent
   * @returns {Promise<{ status: number, message: string } | null>} the refusal, if there was one
   */
  async #follow(signal, onEvent) {
    const token = this.#getToken();
    /** @type {Record<string, string>} */
    const headers = { accept: "text/event-stream" };
    // In the header, because logs contain addresses.
    if (token !== null) headers["authorization"] = `Bearer ${token}`;
    const silence = new AbortController();
    const stop = () => silence.abort();
    signal.addEventListener("abort", stop, { once: true });
    let timer = setTimeout(stop, SILENCE_MAX);
    try {
      const response = await fetch(this.#address, { headers, cache: "no-store", credentials: "omit", signal: silence.signal });
      if (!response.ok || response.body === null) {
        const refusal = await response.json().catch(() => ({}));
        return { status: response.status, message: String(refusal.message ?? `status ${response.status}`) };
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new EventReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return null;
        clearTimeout(timer);
        timer = setTimeout(stop, SILENCE_MAX);
        for (const data of events.take(value)) {
          this.#onFigures(JSON.parse(data));
          this.#onState("live", "");
          onEvent();
        }
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      silence.abort();
    }
  }
}
