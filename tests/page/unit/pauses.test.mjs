import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../../../web/js/backoff.js";
import { Pacing } from "../../../web/js/pacing.js";

test("pauses grow to a limit, and are anything below it", () => {
  const most = new Backoff({ baseMs: 500, maxMs: 20_000, random: () => 1 });
  assert.deepEqual(Array.from({ length: 8 }, () => most.next()), [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  most.reset();
  assert.equal(most.next(), 500);
  const least = new Backoff({ random: () => 0 });
  assert.equal(least.next(), 100);
  assert.equal(least.next({ floorMs: 5_000 }), 5_000);
});

test("a burst goes at once, the rest at the rate", () => {
  const pacing = new Pacing({ messagesPerSecond: 10, burst: 3 }, 0);
  for (let frame = 0; frame < 3; frame += 1) {
    assert.equal(pacing.waitMs(0), 0);
    pacing.take();
  }
  assert.equal(pacing.waitMs(0), 100);
  assert.ok(pacing.waitMs(99) <= 2);
  assert.equal(pacing.waitMs(101), 0);
  assert.equal(pacing.waitMs(60_000), 0);
  assert.equal(pacing.tokens, 3);
  assert.equal(new Pacing({ messagesPerSecond: 0, burst: 1 }, 0).waitMs(0), 0);
});
