// @ts-check
/** The lab: a person keeps this page open while the bots run. */

import { base } from "../place.js";
import { tab } from "../storage.js";
import { byId, oncePerFrame } from "../view/dom.js";
import { Feed } from "./feed.js";
import { bottleneck, evidence, latencyBar, latencyMean, latencyParts, limitTable, namesTables, stageCard, verdictState } from "./panels.js";
import { Past } from "./past.js";
import { Plots } from "./plots.js";

/** @typedef {import("./figures.js").Figures} Figures */

/** @param {string} id */
const node = (id) => byId(id, HTMLElement);
const tokenField = byId("token", HTMLInputElement);

/** @type {Figures | null} */
let figures = null;
let announced = "";
let isPaused = false;
/** Whether a person has opened the token form. Otherwise the figures replace the form. */
let isAsking = false;
const past = new Past();
const plots = new Plots(node("plots"));

const feed = new Feed({
  address: new URL("api/lab", base),
  // The tab's token for the lab, or its token for the chat.
  getToken: () => tab.get("lab-token") ?? tab.get("token"),
  onFigures: (taken) => {
    figures = taken;
    past.add(taken.points);
    draw();
  },
  onState: (state, why) => {
    node("status").dataset["state"] = isPaused ? "paused" : state;
    const text = { connecting: "Connecting …", live: "Live", waiting: `${why} Trying again …`, refused: why, stopped: "Paused" }[state];
    if (node("status-text").textContent !== text) node("status-text").textContent = text;
    if (state === "refused") askToken(why);
  },
});

const draw = oncePerFrame(() => {
  if (figures === null) return;
  const { server, diagnosis, stages, latency, limits, names } = figures;
  node("figures").hidden = false;
  node("token-form").hidden = !isAsking;
  node("server").textContent = server;
  document.title = `bottleneck: ${bottleneck(diagnosis)} · Starling lab`;
  node("verdict").classList.toggle("is-limit", diagnosis.what !== "nothing");
  node("verdict").classList.toggle("is-unknown", diagnosis.confidence === 0);
  node("verdict-state").textContent = verdictState(diagnosis);
  node("sentence").textContent = diagnosis.sentence;
  node("remedy").textContent = diagnosis.remedy;
  node("refute").textContent = diagnosis.wouldRefute;
  node("evidence").replaceChildren(evidence(diagnosis));
  node("stages").replaceChildren(...stages.filter((stage) => stage.isOnTheWay).map(stageCard));
  node("stages-beside").replaceChildren(...stages.filter((stage) => !stage.isOnTheWay).map(stageCard));
  node("latency-mean").textContent = latencyMean(latency, stages);
  node("latency-bar").replaceChildren(...latencyBar(latency));
  node("latency-parts").replaceChildren(latencyParts(latency));
  node("limits").replaceChildren(limitTable(limits));
  node("names").replaceChildren(...(names === null ? ["Only operators see names."] : namesTables(names)));
  node("show-names").hidden = names !== null;
  plots.draw(past.points);
  // The sentence has figures that change every second. A screen reader announces it only when the cause changes.
  const cause = `${diagnosis.what} ${diagnosis.subject ?? ""}`;
  if (cause !== announced) node("announcer").textContent = diagnosis.sentence;
  announced = cause;
});

/** @param {string} problem empty: none */
function askToken(problem) {
  const isRefused = tab.get("lab-token") !== null && problem !== "";
  if (isRefused) tab.set("lab-token", null);
  node("token-form").hidden = false;
  if (problem !== "") node("figures").hidden = true;
  node("token-problem").hidden = !isRefused;
  node("token-problem").textContent = isRefused ? problem : "";
  tokenField.value = "";
  tokenField.focus();
}

node("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (tokenField.value.trim() === "") return;
  isAsking = false;
  tab.set("lab-token", tokenField.value.trim());
  if (isPaused) node("pause").click();
  else feed.start();
});
node("show-names").addEventListener("click", () => {
  isAsking = true;
  askToken("");
});
node("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  node("pause").textContent = isPaused ? "Resume" : "Pause";
  follow();
});

/** Reads the stream only while the page is visible, to save work on the server. */
function follow() {
  if (isPaused || document.hidden) feed.stop();
  else feed.start();
}
document.addEventListener("visibilitychange", follow);
follow();
