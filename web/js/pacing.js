// @ts-check
/** A copy of the server's rate limit: a token bucket of `burst` frames, refilled with `perSecond`. With it, a page that
 * rejoins many rooms waits instead of being refused. Pure: the clock is passed in. */
export class Pacing {
  /**
   * @param {{messagesPerSecond: number, burst: number}} limits `messagesPerSecond` 0: any number
   * @param {number} now in milliseconds
   */
  constructor({ messagesPerSecond, burst }, now) {
    this.perSecond = messagesPerSecond;
    this.burst = burst;
    this.tokens = burst;
    this.filledAt = now;
  }

  /**
   * The time until the next frame may be sent; 0: at once.
   * @param {number} now
   */
  waitMs(now) {
    if (this.perSecond === 0) return 0;
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) / 1000) * this.perSecond);
    this.filledAt = now;
    return this.tokens >= 1 ? 0 : Math.ceil(((1 - this.tokens) / this.perSecond) * 1000);
  }

  /** Takes a token for a frame that is sent. */
  take() {
    this.tokens -= 1;
  }
}
