// @ts-check
/** The page: creates the chat and its views, and connects them. */

import { Announcer } from "./announcer.js";
import { Calls } from "./calls.js";
import { Chat } from "./chat.js";
import { COMMANDS } from "./commands.js";
import { roomKey, privateKey } from "./conversation.js";
import { Moderation } from "./moderation.js";
import { base, shownPlace } from "./place.js";
import { LOBBY, isGuest, roomProblem } from "./protocol.js";
import { parseRoute, routeTo } from "./routes.js";
import { browser, tab } from "./storage.js";
import { BrowseDialog } from "./view/browse-dialog.js";
import { fillByHand } from "./view/by-hand-dialog.js";
import { Composer } from "./view/composer.js";
import { DeleteDialog } from "./view/delete-dialog.js";
import { byId, el } from "./view/dom.js";
import { EnterDialog } from "./view/enter-dialog.js";
import { MemberList } from "./view/member-list.js";
import { MessageList } from "./view/message-list.js";
import { ModerateDialog } from "./view/moderate-dialog.js";
import { ReactionPicker } from "./view/reaction-picker.js";
import { RoomDialog } from "./view/room-dialog.js";
import { SearchDialog } from "./view/search-dialog.js";
import { Sidebar, TitleBar } from "./view/sidebar.js";
import { StatusBanner } from "./view/status-banner.js";
import { TypingLine } from "./view/typing-line.js";

const chat = new Chat({ base, getToken: async (reason) => {
  // The tab keeps its token for a reload.
  const kept = tab.get("token");
  if (typeof kept === "string" && kept !== reason.refused) return kept;
  tab.set("token", null);
  return enter.askToken(reason);
} });

/** Whether typing does not open an on-screen keyboard, which would cover half of the page. */
const hasKeyboard = !matchMedia("(pointer: coarse)").matches;

/** @param {string} key */
const open = (key) => {
  chat.activate(key);
  closeDrawers();
  if (hasKeyboard) composer.focus();
};
/** @param {string} name */
const openPrivate = (name) => open(privateKey(name));

const reactions = new ReactionPicker({ onPick: ({ seq, reactions: known = [] }, emoji) => {
  const isOwn = known.some((one) => one.emoji === emoji && one.clientIds.includes(chat.name));
  if (chat.active && seq !== undefined) chat.changes.react(chat.active, seq, emoji, isOwn);
} });
const deleting = new DeleteDialog();
const moderation = new Moderation({ base, getToken: () => chat.token });
const moderating = new ModerateDialog(moderation);
const roomSettings = new RoomDialog(moderation);
const messages = new MessageList(chat, {
  onPerson: openPrivate,
  onQuote: (seq) => chat.active && leadTo(chat.active, seq),
  onReact: (frame, button) => reactions.toggle(frame, button),
  onReply: (frame) => composer.reply(frame),
  onDelete: (frame) => {
    const { active } = chat;
    if (active) deleting.ask(frame, () => frame.seq !== undefined && chat.changes.delete(active, frame.seq));
  },
  onModerate: (frame) => chat.active && moderating.show(frame, chat.active),
  onLeave: () => composer.focus(),
});
const members = new MemberList(chat, { onPerson: openPrivate });
const sidebar = new Sidebar(chat, { onOpen: open });
const titleBar = new TitleBar(chat);
/** Whether others are told that the person types. */
let isTypingTold = browser.get("typing") ?? true;
const composer = new Composer(chat, {
  onSent: () => messages.toNewest(),
  onCommand: carryOut,
  onEditNewest: () => messages.editNewest(),
  onTyping: ({ to }) => isTypingTold && to?.typing(),
});
const typingLine = new TypingLine();
const browse = new BrowseDialog(chat, { onOpen: open });
const searching = new SearchDialog(chat, base);
byId("commands", HTMLElement).append(...[...COMMANDS].map(([name, { argument, about }]) =>
  el("div", {}, el("dt", {}, `/${name} ${argument}`), el("dd", {}, about))));
const calls = new Calls(chat, { onOpen: open });
const announcer = new Announcer({ speak: (text) => {
  // A live region announces only additions, so the previous text is replaced.
  byId("announcer", HTMLElement).replaceChildren(...text.split("\n").map((line) => el("p", {}, line)));
} });

/** @type {Record<string, string>} */
const keys = browser.get("keys") ?? {};
const enter = new EnterDialog({
  canTakeOver: (name) => keys[name] !== undefined,
  onEnter: ({ name, isTakeover }) => {
    chat.enter({ name, key: isTakeover ? keys[name] ?? null : null });
    if (name === chat.name || name === "") enter.close();
  },
});
const status = new StatusBanner({
  onRetry: () => chat.client.start(),
  onTakeOver: () => chat.client.start(),
  onRename: () => enter.ask({ name: chat.identity.name }),
});

/** @param {import("./commands.js").Command} command */
function carryOut(command) {
  switch (command.is) {
    case "nick":
      chat.enter({ name: command.name, key: keys[command.name] ?? null });
      break;
    case "join":
      open(roomKey(command.room));
      break;
    case "msg":
      openPrivate(command.name);
      chat.own.say(chat.open(privateKey(command.name)), command.text);
      break;
    case "leave":
      leave(command.room === null ? chat.active : chat.conversations.get(roomKey(command.room)) ?? null);
      break;
    case "rooms":
      browse.show();
      break;
    case "who":
      if (command.room !== null) open(roomKey(command.room));
      showMembers();
      break;
    case "history":
      messages.scrollUp();
      break;
    case "settings":
      if (!chat.isOperator) announceProblem("Only operators may do that");
      else if (chat.active?.isRoom) roomSettings.show(chat.active.name);
      else announceProblem("This is no room");
      break;
    case "help":
      showSettings();
      break;
    case "quit":
      chat.client.close();
      break;
    case "impose":
    case "lift":
    case "set":
    case "invite":
    case "uninvite":
      moderate(command);
      break;
    default:
      break;
  }
}

/** @param {import("./commands.js").Decision} command */
async function moderate(command) {
  const room = chat.active?.isRoom ? chat.active.name : null;
  const isInRoom = !("isEverywhere" in command && command.isEverywhere);
  if (!chat.isOperator) return announceProblem("Only operators may do that");
  if (isInRoom && room === null) return announceProblem("This is no room. Write everywhere after the name to mean the server");
  try {
    if (command.is === "set") {
      await moderation.set(room ?? "", command.change);
    } else if (command.is === "invite" || command.is === "uninvite") {
      await moderation[command.is](room ?? "", command.name);
    } else {
      const target = { measure: command.measure, clientId: command.name, ...(room !== null && isInRoom && { room }) };
      if (command.is === "lift") await moderation.lift(target);
      else await moderation.impose(target, command.seconds, command.reason);
    }
    announceProblem("Done");
  } catch (error) {
    announceProblem(`Not done: ${error instanceof Error ? error.message : "no answer"}`);
  }
}

/** @param {import("./conversation.js").Conversation | null} conversation */
function leave(conversation) {
  if (!conversation) return announceProblem("You are not in this room");
  if (conversation.key === roomKey(LOBBY)) return announceProblem("You cannot leave the lobby. /quit leaves the chat");
  sidebar.forget(conversation.key);
  chat.leave(conversation);
  composer.focus();
}

// ---- Changes in the chat ---------------------------------------------------------------------------------------

chat.listen((change) => {
  switch (change.kind) {
    case "state":
      status.show(change.state);
      messages.refreshPending();
      break;
    case "identity":
      enter.close();
      remember();
      restorePrivates();
      sidebar.schedule();
      composer.show(chat.active ?? chat.open(roomKey(LOBBY)));
      if (hasKeyboard && document.querySelector("dialog[open]") === null) composer.focus();
      break;
    case "name refused":
      enter.refused(change.name, change.refusal, chat.isReady);
      break;
    case "conversations":
      sidebar.schedule();
      titleBar.schedule();
      calls.count();
      if (chat.isReady) rememberRooms();
      if (chat.isReady) rememberPrivates();
      break;
    case "active":
      if (!chat.active) break;
      reactions.close();
      messages.show(chat.active);
      members.show(chat.active);
      composer.show(chat.active);
      typingLine.show(chat.active);
      searching.show(chat.active);
      sidebar.schedule();
      titleBar.schedule();
      calls.count();
      addressActive();
      break;
    case "messages":
      if (!change.conversation.isRoom) rememberPrivates();
      if (change.conversation !== chat.active) break;
      messages.schedule();
      searching.show(chat.active);
      break;
    case "changed":
      if (change.conversation !== chat.active) break;
      messages.changed(change.seq);
      composer.refreshReply();
      break;
    case "outbox":
      if (change.destination === chat.active?.key) messages.refreshPending();
      break;
    case "members":
      if (change.conversation !== chat.active) break;
      members.schedule();
      titleBar.schedule();
      break;
    case "seen":
      if (change.conversation === chat.active) messages.refreshSeen();
      break;
    case "settings":
      if (change.conversation !== chat.active) break;
      titleBar.schedule();
      composer.refreshWriting();
      messages.refreshSeen();
      break;
    case "typing":
      if (change.conversation === chat.active) typingLine.show(chat.active);
      break;
    case "call":
      calls.called(change.conversation, change.frame);
      break;
    case "heard":
      if (change.conversation === chat.active) announcer.heard(change.frames.filter(({ clientId }) => clientId !== chat.name));
      break;
    case "problem":
      announceProblem(change.text);
      break;
  }
});

// ---- Storage ---------------------------------------------------------------------------------------------------

/** Most names whose key this browser stores. With the key, another tab can take the name over. */
const KEYS_MAX = 20;

function remember() {
  tab.set("token", chat.token || null);
  const { name, key } = chat.identity;
  const isNamed = name !== "" && !isGuest(name);
  tab.set("identity", isNamed ? { name, key } : { name: "", key: null });
  if (!isNamed || key === null) return;
  browser.set("name", name);
  delete keys[name];
  keys[name] = key;
  browser.set("keys", Object.fromEntries(Object.entries(keys).slice(-KEYS_MAX)));
}

function rememberRooms() {
  const rooms = [...chat.conversations.values()].filter(({ isRoom }) => isRoom).map(({ name }) => name);
  tab.set("rooms", rooms);
  browser.set("rooms", rooms);
}

/** Most private conversations that a tab stores if the server stores none, and most messages of each. */
const PRIVATES_MAX = 30;
const PRIVATE_MESSAGES_MAX = 100;

let privatesTimer = 0;

/** Stores private messages for a reload of the tab, if the server does not store them. */
function rememberPrivates() {
  clearTimeout(privatesTimer);
  privatesTimer = setTimeout(storePrivates, 200);
}

function storePrivates() {
  if (!isRestored) return;
  if (chat.isPrivateStored) {
    tab.set("privates", null);
  } else {
    const privates = [...chat.conversations.values()].filter(({ isRoom }) => !isRoom).slice(-PRIVATES_MAX);
    tab.set("privates", { owner: chat.name, conversations: privates.map(({ name, log, unread }) => ({
      name, unread, frames: log.items.slice(-PRIVATE_MESSAGES_MAX).flatMap((item) => (item.kind === "message" ? [item.frame] : [])),
    })) });
  }
}
addEventListener("pagehide", storePrivates);

let isRestored = false;

/** Restores private messages once, after the page was loaded. */
function restorePrivates() {
  if (isRestored) return;
  isRestored = true;
  const kept = tab.get("privates");
  if (chat.isPrivateStored || kept?.owner !== chat.name) return;
  for (const { name, frames, unread } of kept.conversations) chat.restorePrivate(name, frames, unread);
}

/** @type {unknown} */
const rooms = tab.get("rooms") ?? browser.get("rooms");
chat.open(roomKey(LOBBY));
if (Array.isArray(rooms)) {
  for (const room of rooms) if (typeof room === "string" && roomProblem(room) === null) chat.open(roomKey(room));
}

// ---- Addresses -------------------------------------------------------------------------------------------------

/** Whether the page has shown a conversation: the first one has the address of the page itself. */
let isPlaced = false;

/** Puts the active conversation into the page's address, so that people can share it and the back button returns to it. */
function addressActive() {
  const here = parseRoute(location.hash);
  if (chat.active && isPlaced && here?.key !== chat.active.key && (here !== null || chat.active.key !== roomKey(LOBBY))) {
    history.pushState(null, "", routeTo(chat.active.key));
  }
  isPlaced = true;
}

/** Shows the conversation and the message that the address names. */
async function followAddress() {
  const route = parseRoute(location.hash);
  if (location.hash.startsWith("#/") && route === null) announceProblem("This address names no room and no person");
  const conversation = chat.open(route?.key ?? roomKey(LOBBY));
  isPlaced = false;
  if (conversation !== chat.active) chat.activate(conversation.key);
  isPlaced = true;
  if (route?.seq) await leadTo(conversation, route.seq);
}

/**
 * Shows a message of the active conversation.
 * @param {import("./conversation.js").Conversation} conversation
 * @param {number} seq
 */
async function leadTo(conversation, seq) {
  const outcome = await chat.reach(conversation, seq);
  if (conversation !== chat.active) return;
  if (outcome === "there") messages.showMessage(seq);
  else if (outcome === "too far") announceProblem("This message is too old to be shown here");
  else if (outcome === "gone") announceProblem("The server no longer has this message");
}

addEventListener("popstate", followAddress);
byId("skip", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault();
  composer.focus();
});

// ---- Buttons ---------------------------------------------------------------------------------------------------

/** @param {string} id @param {() => void} work */
const onClick = (id, work) => byId(id, HTMLButtonElement).addEventListener("click", work);

onClick("browse-button", () => browse.show());
onClick("rename", () => {
  byId("settings", HTMLDialogElement).close();
  enter.ask({ name: isGuest(chat.name) ? "" : chat.name, mayClose: true });
});
onClick("leave", () => leave(chat.active));
onClick("room-settings-button", () => chat.active && roomSettings.show(chat.active.name));
onClick("by-hand-button", () => byId("by-hand", HTMLDialogElement).showModal());
onClick("settings-button", showSettings);

function showSettings() {
  byId("settings-calls", HTMLInputElement).checked = calls.isOn;
  byId("settings-typing", HTMLInputElement).checked = isTypingTold;
  byId("settings-note", HTMLElement).textContent = "";
  byId("settings-server", HTMLElement).textContent = chat.server ? `${chat.server} at ${shownPlace}` : shownPlace;
  byId("settings", HTMLDialogElement).showModal();
}
byId("settings-calls", HTMLInputElement).addEventListener("change", async ({ target }) => {
  const isOn = /** @type {HTMLInputElement} */ (target).checked;
  byId("settings-note", HTMLElement).textContent = await calls.set(isOn);
});
byId("settings-typing", HTMLInputElement).addEventListener("change", ({ target }) => {
  isTypingTold = /** @type {HTMLInputElement} */ (target).checked;
  browser.set("typing", isTypingTold);
});
for (const dialog of document.querySelectorAll("dialog")) {
  // A search field uses the first Escape itself.
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || (dialog.id === "enter" && !enter.mayClose)) return;
    event.preventDefault();
    dialog.close();
  });
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
  if (dialog.id !== "enter") {
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  }
}
fillByHand(base);

// ---- Drawers of narrow screens ---------------------------------------------------------------------------------

const drawers = [
  { button: byId("menu-button", HTMLButtonElement), drawer: byId("sidebar", HTMLElement), narrow: matchMedia("(max-width: 760px)") },
  { button: byId("members-button", HTMLButtonElement), drawer: byId("members", HTMLElement), narrow: matchMedia("(max-width: 1100px)") },
];

/** @param {typeof drawers[number]} which @param {boolean} isOpen */
function setDrawer({ button, drawer, narrow }, isOpen) {
  const isDrawer = narrow.matches;
  drawer.classList.toggle("open", isOpen);
  // A hidden drawer must not be reachable with the tab key.
  drawer.inert = isDrawer && !isOpen;
  button.setAttribute("aria-expanded", String(isDrawer ? isOpen : !document.body.classList.contains("no-members")));
  byId("backdrop", HTMLElement).hidden = !drawers.some((other) => other.narrow.matches && other.drawer.classList.contains("open"));
}

function showMembers() {
  const [, drawer] = drawers;
  if (drawer?.narrow.matches) setDrawer(drawer, true);
  else document.body.classList.remove("no-members");
  byId("member-filter", HTMLInputElement).focus();
}

function closeDrawers() {
  for (const which of drawers) setDrawer(which, false);
}

for (const which of drawers) {
  which.button.addEventListener("click", () => {
    if (!which.narrow.matches) {
      document.body.classList.toggle("no-members");
      setDrawer(which, false);
      return;
    }
    setDrawer(which, !which.drawer.classList.contains("open"));
    if (which.drawer.classList.contains("open")) /** @type {HTMLElement | null} */ (which.drawer.querySelector("button, input"))?.focus();
  });
  which.narrow.addEventListener("change", () => setDrawer(which, false));
  setDrawer(which, false);
}
byId("backdrop", HTMLElement).addEventListener("click", closeDrawers);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.querySelector("dialog[open]") === null) {
    const open = drawers.find(({ drawer, narrow }) => narrow.matches && drawer.classList.contains("open"));
    if (open) {
      closeDrawers();
      open.button.focus();
    }
  }
  if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const all = [...chat.conversations.keys()].sort((a, b) => (a[0] === b[0] ? 0 : a.startsWith("#") ? -1 : 1));
    const at = all.indexOf(chat.active?.key ?? "");
    const next = all[(at + (event.key === "ArrowDown" ? 1 : all.length - 1)) % all.length];
    if (next !== undefined) open(next);
    event.preventDefault();
  }
});

let problemTimer = 0;

/** @param {string} text */
function announceProblem(text) {
  const toast = byId("toast", HTMLElement);
  toast.textContent = `${text}.`;
  toast.hidden = false;
  clearTimeout(problemTimer);
  problemTimer = setTimeout(() => {
    toast.hidden = true;
  }, 6_000);
}

// ---- Start -----------------------------------------------------------------------------------------------------

followAddress();

/** @type {{name: string, key: string | null} | null} */
const identity = tab.get("identity");
if (identity) chat.enter(identity);
else enter.ask({ name: browser.get("name") ?? "" });
