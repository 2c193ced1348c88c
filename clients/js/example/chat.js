import { connect } from "../starling.js";

const [state, tabs, messages, form, text] = ["state", "tabs", "messages", "form", "text"].map((id) => document.getElementById(id));
const query = new URLSearchParams(location.search);
const client = connect({ url: query.get("server"), name: query.get("name") });
const conversations = new Map();
let shown;

function conversation(name) {
  if (conversations.has(name)) return conversations.get(name);
  const list = document.createElement("ol");
  const tab = Object.assign(document.createElement("button"), { textContent: name, onclick: () => show(made) });
  const to = name.startsWith("@") ? client.privateWith(name.slice(1)) : client.room(name);
  const line = ({ clientId, Message }) => Object.assign(document.createElement("li"), { textContent: `${clientId}: ${Message ?? "(deleted)"}` });
  const made = { list, to };
  to.on("message", (message) => list.append(line(message)));
  if (!name.startsWith("@")) to.on("joined", async ({ recovered }) => {
    if (recovered) return;
    list.replaceChildren();
    for await (const message of to.history()) if (list.prepend(line(message)), list.children.length === 100) break;
  });
  tabs.append(tab);
  messages.append(list);
  conversations.set(name, made);
  return made;
}
function show(next) {
  shown = next;
  for (const { list } of conversations.values()) list.hidden = list !== shown.list;
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const opened = /^\/open (\S+)$/.exec(text.value)?.[1];
  if (opened) show(conversation(opened));
  else shown.to.send(text.value).catch((error) => (state.textContent = error.message));
  text.value = "";
});
client.on("state", (status) => (state.textContent = status.reason ?? status.state));
client.on("private", (message, other) => conversation(`@${other}`));
show(conversation("lobby"));
