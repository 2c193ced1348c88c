// @ts-check
/** The points of the last five minutes, and the lines of a plot through them. */

/** @typedef {import("./figures.js").Point} Point */

/** The seconds that a plot shows. */
export const SECONDS = 300;

/** The longest distance between two connected points, in seconds. Beyond it the values are unknown, and the line has a gap. */
const GAP = 3.5;

export class Past {
  /** @type {Point[]} the oldest first */
  points = [];

  /**
   * Adds points; known ones are ignored. After a restart of the server, the old points are dropped.
   * @param {Point[]} points the oldest first
   */
  add(points) {
    const newest = points.at(-1);
    if (newest === undefined) return;
    const known = this.points.at(-1);
    if (known !== undefined && newest.second < known.second) this.points = [];
    const first = points[0]?.second ?? newest.second;
    this.points = [...this.points.filter((point) => point.second < first), ...points]
      .filter((point) => point.second > newest.second - SECONDS);
  }
}

/**
 * The path of a line, in a picture of this width and height. The newest point is at the right edge.
 * @param {Point[]} points
 * @param {(point: Point) => number | null} value
 * @param {{ width: number, height: number, most: number }} scale
 */
export function line(points, value, { width, height, most }) {
  const newest = points.at(-1)?.second ?? 0;
  let path = "";
  /** @type {number | null} */
  let before = null;
  for (const point of points) {
    const it = value(point);
    if (it === null) continue;
    const x = width * (1 - (newest - point.second) / SECONDS);
    const y = height * (1 - Math.min(it / most, 1));
    path += `${before !== null && point.second - before <= GAP ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    before = point.second;
  }
  return path;
}

/**
 * The upper end of a plot: 1, 2 or 5 times a power of ten, and at least the highest value.
 * @param {number} highest
 */
export function upperEnd(highest) {
  if (!(highest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  return power * ([1, 2, 5].find((factor) => factor * power >= highest) ?? 10);
}
