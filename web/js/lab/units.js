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
 * A figure of the diagnosis; its text names its unit in brackets.
 * @param {string} figure
 * @param {number} value
 */
export function ofFigure(figure, value) {
  if (figure.includes("(share") || figure.includes("(seconds a second)")) return percent(value);
  if (figure.includes("(bytes)")) return bytes(value);
  return figure.includes("(seconds)") ? time(value) : count(value);
}

/** The figure's text without its unit. @param {string} figure */
export const withoutUnit = (figure) => figure.replace(/ \((?:share[^)]*|bytes|seconds(?: a second)?)\)$/u, "");
