// @ts-check
/** Pauses between attempts to connect: they grow, and are random from almost nothing up ("full jitter"), so that the
 * clients of a server that restarts do not come back all at once. Pure: randomness is passed in. */
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
   * @param {{floorMs?: number}} [least] what the server asks for at the least
   */
  next({ floorMs = 100 } = {}) {
    const ceiling = Math.min(this.maxMs, this.baseMs * 2 ** Math.min(this.attempts, 20));
    this.attempts += 1;
    return Math.round(Math.max(floorMs, this.random() * ceiling));
  }

  /** A connection has been made: the next pause is a short one again. */
  reset() {
    this.attempts = 0;
  }
}
