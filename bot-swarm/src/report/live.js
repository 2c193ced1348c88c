// Renews the page of a running swarm about once a second; opened sections stay open.
"use strict";

const PERIOD_MS = 1000;

async function renew() {
  try {
    const answer = await fetch("./", { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const open of document.querySelectorAll("details[open][id]")) {
      next.getElementById(open.id)?.setAttribute("open", "");
    }
    document.title = next.title;
    document.querySelector("main").replaceWith(next.querySelector("main"));
  } catch {
    // The next run of a search for the limit answers at the same address.
    document.getElementById("state").textContent =
      "The run has ended, or cannot be reached. These are its last figures; its report has the verdict.";
  }
  setTimeout(renew, PERIOD_MS);
}

setTimeout(renew, PERIOD_MS);
