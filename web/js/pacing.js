// @ts-check
/** The server's rate limit, kept by the page itself: a bucket of `burst` frames that fills with `perSecond`. So a page
 * that comes back to many rooms waits instead of being refused. Pure: the clock is passed in. */
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
   * How long the next frame has to wait; 0: not at all.
   * @param {number} now
   */
  waitMs(now) {
    if (this.perSecond === 0) return 0;
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) / 1000) * this.perSecond);
    this.filledAt = now;
    return this.tokens >= 1 ? 0 : Math.ceil(((1 - this.tokens) / this.perSecond) * 1000);
  }

  /** A frame is sent. */
  take() {
    this.tokens -= 1;
  }
}
