import assert from "node:assert/strict";
import { test } from "node:test";

import { EventReader } from "../../../web/js/lab/events.js";
import { Past, line, upperEnd } from "../../../web/js/lab/past.js";
import { bytes, count, inUnit, percent, span, time } from "../../../web/js/lab/units.js";

const point = (second, value = 0) => ({ second, connections: value });

test("events are the same however the network cuts them", () => {
  const text = 'data: {"a":1}\n\n: a comment\n\ndata: {"a":\ndata: 2}\r\n\r\ndata: {"a":3}\n\n';
  for (const size of [1, 2, 3, 7, 1_000]) {
    const reader = new EventReader();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...reader.take(text.slice(at, at + size)));
    assert.deepEqual(events.map((data) => JSON.parse(data).a), [1, 2, 3], `pieces of ${size}`);
  }
});

test("an event without an end is given up", () => {
  const reader = new EventReader();
  const endless = () => { for (;;) reader.take("data: ".padEnd(1_000_000, "x")); };
  assert.throws(endless, RangeError);
});

test("points are known once, the last five minutes are kept, and a restart begins anew", () => {
  const past = new Past();
  past.add([point(1), point(2)]);
  past.add([point(2)]);
  past.add([point(3)]);
  assert.deepEqual(past.points.map((it) => it.second), [1, 2, 3]);
  past.add([point(302)]);
  assert.deepEqual(past.points.map((it) => it.second), [3, 302]);
  past.add([point(1), point(2)]);
  assert.deepEqual(past.points.map((it) => it.second), [1, 2], "the server was started again");
  past.add([]);
  assert.equal(past.points.length, 2);
});

test("a line ends at the right edge, and is broken where nothing is known", () => {
  const scale = { width: 300, height: 60, most: 10 };
  const value = (it) => it.connections;
  assert.equal(line([], value, scale), "");
  assert.equal(line([point(99, 0), point(100, 10)], value, scale), "M299.0 60.0L300.0 0.0");
  assert.equal(line([point(0, 5), point(50, 20)], value, scale), "M250.0 30.0M300.0 0.0", "a gap, and a value above the end");
  assert.equal(line([point(1, 5), point(2, null), point(3, 5)], value, scale), "M298.0 30.0L300.0 30.0");
});

test("the upper end of a plot is a round number", () => {
  for (const [highest, end] of [[0, 1], [Number.NaN, 1], [0.7, 1], [1, 1], [1.1, 2], [4, 5], [51, 100], [1_000, 1_000]]) {
    assert.equal(upperEnd(highest), end, String(highest));
  }
});

test("numbers are short and have their unit", () => {
  assert.deepEqual([null, 0, 0.000_002_5, 0.001_5, 0.25, 12].map(time), ["–", "0 µs", "2.5 µs", "1.5 ms", "250 ms", "12 s"]);
  assert.deepEqual([null, 0, 1_024, 1_572_864].map(bytes), ["–", "0 B", "1 KiB", "1.5 MiB"]);
  assert.deepEqual([0, 0.000_1, 0.004, 0.0099, 0.5, 1].map(percent), ["0 %", "< 0.1 %", "0.4 %", "1 %", "50 %", "100 %"]);
  assert.deepEqual([0, 1.234, 56.78, 12_345, 1_234_567].map(count), ["0", "1.23", "56.8", "12,345", "1.2M"]);
  assert.deepEqual([5, 150, 7_200].map(span), ["5 s", "3 min", "2 h"]);
  assert.deepEqual(
    [["ratio", 0.5], ["seconds", 0.05], ["bytes", 2_048], ["count", 3], ["cores", 1.5], ["per_second", 70]]
      .map(([unit, value]) => inUnit(unit, value)),
    ["50 %", "50 ms", "2 KiB", "3", "1.5", "70/s"],
  );
});
