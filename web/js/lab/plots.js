// @ts-check
/** The plots of the last five minutes. Each shows its newest and its highest value as text. */

import { el } from "../view/dom.js";
import { line, upperEnd } from "./past.js";
import { bytes, count, percent, time } from "./units.js";

/** @typedef {import("./figures.js").Point} Point */
/** @typedef {{ title: string, value: (point: Point) => number | null, second?: { title: string, value: (point: Point) => number | null },
 *   unit: (value: number) => string, most?: number }} Kind */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 60;

/** @type {Kind[]} */
const KINDS = [
  { title: "Connections", value: (point) => point.connections, unit: count },
  { title: "Messages per second", value: (point) => point.messagesPerSecond, unit: count },
  { title: "Deliveries per second", value: (point) => point.deliveriesPerSecond, unit: count },
  { title: "CPU, in cores", value: (point) => point.cpuCores, unit: (value) => value.toFixed(2) },
  { title: "Memory", value: (point) => point.memoryBytes, unit: bytes },
  { title: "Busiest stage", value: (point) => point.utilisation, unit: percent, most: 1 },
  {
    title: "Delivery latency, p50", value: (point) => point.deliveryP50Seconds,
    second: { title: "p99", value: (point) => point.deliveryP99Seconds }, unit: time,
  },
];

/** @param {string} [name] */
function path(name) {
  const node = document.createElementNS(SVG, "path");
  if (name !== undefined) node.setAttribute("class", name);
  return node;
}

class Plot {
  #kind;
  #first = path();
  #second = path("second");
  #now = el("strong");
  #highest = el("small");

  /** @param {Kind} kind */
  constructor(kind) {
    this.#kind = kind;
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of [["class", "plot"], ["viewBox", `0 0 ${WIDTH} ${HEIGHT}`], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) {
      svg.setAttribute(String(name), String(value));
    }
    svg.append(this.#second, this.#first);
    const title = kind.second === undefined ? kind.title : `${kind.title} and ${kind.second.title}`;
    this.node = el("figure", {}, el("figcaption", {}, el("span", {}, title), this.#now, this.#highest), svg);
  }

  /** @param {Point[]} points */
  draw(points) {
    const { value, second, unit } = this.#kind;
    const all = [value, ...(second === undefined ? [] : [second.value])].flatMap((of) => points.map(of)).filter((it) => it !== null);
    const highest = Math.max(0, ...all);
    const scale = { width: WIDTH, height: HEIGHT, most: this.#kind.most ?? upperEnd(highest) };
    this.#first.setAttribute("d", line(points, value, scale));
    if (second !== undefined) this.#second.setAttribute("d", line(points, second.value, scale));
    const newest = points.at(-1);
    const text = (/** @type {number | null | undefined} */ it) => (it === null || it === undefined ? "–" : unit(it));
    const values = newest === undefined ? [] : [value(newest), ...(second === undefined ? [] : [second.value(newest)])];
    this.#now.textContent = values.map(text).join(" and ");
    this.#highest.textContent = all.length === 0 ? "" : `highest ${unit(highest)}`;
  }
}

export class Plots {
  #plots = KINDS.map((kind) => new Plot(kind));

  /** @param {HTMLElement} into */
  constructor(into) {
    into.append(...this.#plots.map((plot) => plot.node));
  }

  /** @param {Point[]} points */
  draw(points) {
    for (const plot of this.#plots) plot.draw(points);
  }
}
