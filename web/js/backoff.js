// @ts-check
/** Pauses between connection attempts. They grow, with full jitter (random from almost zero up), so that the clients of
 * a restarted server do not all reconnect at once. Pure: randomness is passed in. */
export class Backoff {
  /** @param {{baseMs?: number, maxMs?: number, random?: () => number}} [options] */
  constructor({ baseMs = 500, maxMs = 20_000, random = Math.random } = {}) {
    this.baseMs = baseMs;
    this.maxMs = maxMs;
    this.random = random;
    this.attempts = 0;
  }

  /**
   * The pause before the next attempt.
   * @param {{floorMs?: number}} [least] the shortest pause that the server accepts
   */
  next({ floorMs = 100 } = {}) {
    const ceiling = Math.min(this.maxMs, this.baseMs * 2 ** Math.min(this.attempts, 20));
    this.attempts += 1;
    return Math.round(Math.max(floorMs, this.random() * ceiling));
  }

  /** Called when a connection is open: the next pause is short again. */
  reset() {
    this.attempts = 0;
  }
}
