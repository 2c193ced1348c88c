// @ts-check
/** Shows how to use this server without this page. */

import { byId, el } from "./dom.js";

/** @param {URL} base the page's folder */
export function fillByHand(base) {
  const socket = new URL("ws", base);
  socket.protocol = socket.protocol.replace("http", "ws");
  const history = new URL("api/rooms/lobby/messages?limit=10", base);
  /** @type {[string, string, string][]} */
  const ways = [
    ["In a terminal", "Each line is a message. /help lists the commands.", `websocat ${socket.href}`],
    ["In a browser’s console", "A program sends and receives one JSON object per frame.",
      `const chat = new WebSocket("${socket.href}?clientId=me");\n`
      + `chat.onmessage = ({ data }) => console.log(JSON.parse(data));\n`
      + `chat.onopen = () => chat.send(JSON.stringify({ Message: "hello" }));`],
    ["Over HTTP", "The recent messages of the lobby, and the list of rooms.",
      `curl "${history.href}"\ncurl "${new URL("api/rooms", base).href}"`],
  ];
  byId("by-hand-ways", HTMLElement).replaceChildren(...ways.map(([title, about, code]) => {
    const copy = el("button", { type: "button", class: "copy", "aria-label": `Copy: ${title}`, click: async () => {
      try {
        await navigator.clipboard.writeText(code);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Select the text and copy it";
      }
      setTimeout(() => {
        copy.textContent = "Copy";
      }, 2_000);
    } }, "Copy");
    return el("section", {}, el("div", { class: "way" }, el("h3", {}, title), copy), el("p", {}, about),
      el("div", { class: "code" }, el("pre", { tabindex: "0" }, el("code", {}, code))));
  }));
}
