// @ts-check
/** Formats numbers for people, each with its unit. */

/** @param {number} value */
function short(value) {
  if (value === 0) return "0";
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 });
}

/** @param {number | null} value a time in seconds; `null` where there is none */
export function time(value) {
  if (value === null) return "–";
  if (value < 1e-3) return `${short(value * 1e6)} µs`;
  return value < 1 ? `${short(value * 1e3)} ms` : `${short(value)} s`;
}

/** @param {number | null} value */
export function bytes(value) {
  if (value === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit + 1 < units.length) {
    left /= 1024;
    unit += 1;
  }
  return `${short(left)} ${units[unit]}`;
}

/** @param {number} value a share, from 0 to 1 */
export function percent(value) {
  const hundred = value * 100;
  if (hundred > 0 && hundred < 0.05) return "< 0.1 %";
  return `${hundred > 0 && hundred < 0.95 ? hundred.toFixed(1) : Math.round(hundred)} %`;
}

/** @param {number} value */
export function count(value) {
  return value >= 100_000 ? value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }) : short(value);
}

/** @param {number} seconds */
export function span(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

/**
 * A figure of the diagnosis in its unit.
 * @param {import("./figures.js").Unit} unit
 * @param {number} value
 */
export function inUnit(unit, value) {
  switch (unit) {
    case "ratio": return percent(value);
    case "seconds": return time(value);
    case "bytes": return bytes(value);
    case "per_second": return `${count(value)}/s`;
    case "cores":
    case "count": return count(value);
  }
}
