// @ts-check
/** The panels of the lab. Each function creates the content of one panel from the figures. */

import { el } from "../view/dom.js";
import { bytes, count, inUnit, percent, span, time } from "./units.js";

/** @typedef {import("./figures.js").Figures} Figures */
/** @typedef {import("./figures.js").Stage} Stage */

/** The shares of time from which a stage counts as busy and as full. */
const BUSY = 0.6;
const FULL = 0.9;

/** The names of the stages for people. @type {Record<string, string>} */
const STAGES = {
  session: "Reading", chat_server: "ChatServer", history: "History", log: "Log of the nodes", hub: "Hub",
  socket_write: "Writing", history_read: "Reading the history", http: "HTTP and handshakes", worker_loop: "Worker as a whole",
};

/** @param {string} stage */
const nameOf = (stage) => STAGES[stage] ?? stage;

/** @param {number} share */
const levelOf = (share) => (share >= FULL ? "is-full" : share >= BUSY ? "is-busy" : "");

/** @param {number} share */
function meter(share) {
  const filled = el("span");
  filled.style.width = `${Math.min(share, 1) * 100}%`;
  return el("div", { class: "meter", "aria-hidden": "true" }, filled);
}

/**
 * A table. A cell that is an array is a number.
 * @param {string} caption only for screen readers where a heading says the same
 * @param {(string | [string])[]} heads
 * @param {{ level?: string, cells: (string | Node | [string])[] }[]} rows
 */
function table(caption, heads, rows, isCaptionShown = false) {
  const head = heads.map((cell) => el("th", { scope: "col", class: Array.isArray(cell) && "number" }, ...[cell].flat()));
  const body = rows.map(({ level, cells }) => el("tr", { class: level },
    ...cells.map((cell) => el("td", { class: Array.isArray(cell) && "number" }, ...[cell].flat()))));
  return el("table", {}, el("caption", { class: !isCaptionShown && "sr" }, caption), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body));
}

/** @param {Figures["diagnosis"]} diagnosis */
export function bottleneck({ what, subject, confidence }) {
  if (what === "nothing") return confidence > 0 ? "none" : "not known yet";
  const cause = what.replaceAll("_", " ");
  return subject === null ? cause : `${cause}, ${subject}`;
}

/** @param {Figures["diagnosis"]} diagnosis */
export function verdictState(diagnosis) {
  const { confidence, forSeconds } = diagnosis;
  return `bottleneck: ${bottleneck(diagnosis)} · confidence: ${percent(confidence)} · for ${span(forSeconds)}`;
}

/** @param {Figures["diagnosis"]} diagnosis */
export function evidence({ evidence: figures }) {
  const rows = figures.map(({ name, value, unit, limit }) => ({
    cells: [name, /** @type {[string]} */ ([inUnit(unit, value)]), /** @type {[string]} */ ([inUnit(unit, limit)])],
  }));
  return figures.length === 0 ? el("p", { class: "hint" }, "There is no evidence yet.") : table("Evidence", ["figure", ["measured"], ["limit"]], rows, true);
}

/** @param {Stage} stage */
export function stageCard({ stage, worker, utilisation, waitP99Seconds, backlog, backlogPeak, perSecond }) {
  /** @type {[string, string][]} */
  const figures = [
    ["wait, p99", time(waitP99Seconds)],
    ["backlog", `${count(backlog)} (peak ${count(backlogPeak)})`],
    ["per second", count(perSecond)],
  ];
  return el("li", { class: `stage-card ${levelOf(utilisation)}`, "data-stage": stage },
    el("div", { class: "title" }, nameOf(stage), worker !== null && el("span", { class: "worker" }, `worker ${worker}`)),
    el("p", { class: "share" }, percent(utilisation), utilisation >= FULL && " full"),
    meter(utilisation),
    el("dl", {}, ...figures.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
}

/** The parts of the latency for people. @type {Record<string, string>} */
const PARTS = {
  session: "Session: credit and decoding", chat_server_wait: "Wait for the ChatServer", commit: "Commit",
  chat_server: "ChatServer", hub_wait: "Wait for the hub", socket_write: "Writing",
};

/** @param {string} part */
const nameOfPart = (part) => PARTS[part] ?? part;

/**
 * @param {Figures["latency"]} latency
 * @param {Stage[]} stages
 */
export function latencyMean({ meanSeconds, parts }, stages) {
  if (meanSeconds === null) return "Nothing was delivered in the last five seconds.";
  const largest = parts.reduce((most, part) => (part.seconds > most.seconds ? part : most));
  const sum = parts.reduce((all, part) => all + part.seconds, 0);
  const before = stages.find(({ stage }) => stage === "worker_loop")?.waitP99Seconds ?? null;
  return `From reading a frame to writing it to the kernel: ${time(meanSeconds)} on average, ${percent(largest.seconds / sum)} of it in `
    + `“${nameOfPart(largest.part)}”. Before it is read, a frame waits for the worker's event loop, p99 ${time(before)}; waits in the `
    + "network and in the clients do not show here.";
}

/** @param {Figures["latency"]} latency */
export function latencyBar({ parts }) {
  const sum = parts.reduce((all, part) => all + part.seconds, 0);
  return parts.filter((it) => it.seconds > 0).map(({ part, seconds }) => {
    const piece = el("span", { class: `of-${part}` });
    piece.style.width = `${(seconds / sum) * 100}%`;
    return piece;
  });
}

/** @param {Figures["latency"]} latency */
export function latencyParts({ parts }) {
  const rows = parts.map(({ part, seconds, noLoadSeconds }) => ({ cells: [
    el("span", {}, el("span", { class: `swatch of-${part}`, "aria-hidden": "true" }), nameOfPart(part)),
    /** @type {[string]} */ ([time(seconds)]), /** @type {[string]} */ ([time(noLoadSeconds)]),
  ] }));
  return parts.length === 0 ? el("p", { class: "hint" }, "There are no figures yet.") : table("Parts", ["part", ["now"], ["without load"]], rows);
}

/** @param {Figures["limits"]} limits */
export function limitTable(limits) {
  return table("Limits", ["limit", ["now"], ["at most"], ["share"], "bar"], limits.map(({ name, value, unit, limit }) => ({
    level: levelOf(value / limit),
    cells: [name, [inUnit(unit, value)], [inUnit(unit, limit)], [percent(value / limit)], meter(value / limit)],
  })));
}

/** @param {NonNullable<Figures["names"]>} names */
export function namesTables({ clients, rooms }) {
  const unknown = "(unknown)";
  const slow = clients.length === 0
    ? el("p", {}, "No client has unsent bytes.")
    : table("Slow clients", ["client", "worker", ["unsent"], ["waits for"]], clients.map((it) => (
      { cells: [it.clientId ?? unknown, it.worker, [bytes(it.bytes)], [time(it.waitedSeconds)]] })), true);
  const busy = rooms.length === 0
    ? el("p", {}, "No room has deliveries.")
    : table("Busy rooms", ["room", ["deliveries per second"]], rooms.map((it) => (
      { cells: [it.room ?? "(an inbox, or unknown)", [count(it.deliveriesPerSecond)]] })), true);
  return [slow, busy];
}
