// @ts-check
/**
 * Lines that begin with `/`, as in the console (docs/protocol.md, "By hand"). The page executes or refuses them, and never
 * publishes them. Pure logic.
 *
 * @typedef {{is: "say", text: string} | {is: "refused", problem: string} | {is: "nick", name: string}
 *   | {is: "join", room: string} | {is: "msg", name: string, text: string} | {is: "leave", room: string | null}
 *   | {is: "who", room: string | null} | {is: "rooms" | "history" | "settings" | "help" | "quit"} | Decision} Command
 * @typedef {{is: "impose", measure: "mute" | "ban", name: string, isEverywhere: boolean, seconds: number | null, reason: string}
 *   | {is: "lift", measure: "mute" | "ban", name: string, isEverywhere: boolean} | {is: "invite", name: string} | {is: "uninvite", name: string}
 *   | {is: "set", change: import("./moderation.js").SettingsChange}} Decision
 */

import { timeSeconds } from "./moderation.js";
import { nameProblem, roomProblem } from "./protocol.js";

/** The commands, each with its argument and a description. */
export const COMMANDS = new Map([
  ["join", { argument: "room", about: "join a room and show it" }],
  ["msg", { argument: "name text", about: "send a private message" }],
  ["leave", { argument: "[room]", about: "leave this room, or another one" }],
  ["nick", { argument: "name", about: "change your name" }],
  ["rooms", { argument: "", about: "list the rooms" }],
  ["who", { argument: "[room]", about: "list the members" }],
  ["history", { argument: "", about: "load earlier messages" }],
  ["help", { argument: "", about: "list the commands" }],
  ["quit", { argument: "", about: "leave the chat" }],
  ["mute", { argument: "name [everywhere] [10m] [reason]", about: "for operators: keep a client from writing" }],
  ["unmute", { argument: "name [everywhere]", about: "for operators: take that back" }],
  ["ban", { argument: "name [everywhere] [7d] [reason]", about: "for operators: keep a client out" }],
  ["unban", { argument: "name [everywhere]", about: "for operators: take that back" }],
  ["slow", { argument: "10s, off", about: "for operators: how often a client may write here" }],
  ["topic", { argument: "text, off", about: "for operators: a line about this room" }],
  ["writers", { argument: "everyone, operators", about: "for operators: who may write here" }],
  ["access", { argument: "everyone, invited", about: "for operators: who may be here" }],
  ["invite", { argument: "name", about: "for operators: invite a client to this room" }],
  ["uninvite", { argument: "name", about: "for operators: take that back" }],
  ["newcomers", { argument: "on, off", about: "for operators: whether newcomers see older messages" }],
  ["retention", { argument: "[1000] [30d], server", about: "for operators: how long messages are kept" }],
  ["seen-by", { argument: "on, off, server", about: "for operators: whether members see who has read" }],
  ["settings", { argument: "", about: "for operators: all settings of this room" }],
]);

/** @param {string} problem @returns {Command} */
const refused = (problem) => ({ is: "refused", problem });

const NO_TIME = "A time is a number with s, m, h, d or w, like 10m.";

const OCTET = "(0|[1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])";
const IPV4_ADDRESS = new RegExp(`^${OCTET}(\\.${OCTET}){3}$`, "u");

/** Why a word is not a name that an operator means. An IPv6 address cannot be a name. @param {string} word */
const targetProblem = (word) => {
  if (IPV4_ADDRESS.test(word)) return `${word} is an address.`;
  return is("everywhere", word) ? `${word} means the whole server.` : roomProblem(word);
};

/** Whether a word is this one of the commands, in small or capital letters. @param {string} word @param {string} typed */
const is = (word, typed) => typed.toLowerCase() === word;

/** @param {string} word @param {string} name @param {string} rest @returns {Command} */
function sanction(word, name, rest) {
  const form = `Write /${word} ${COMMANDS.get(word)?.argument ?? ""}`;
  const problem = targetProblem(name);
  if (problem) return refused(`/${word} needs a name. ${problem} ${form}`);
  const measure = word.endsWith("mute") ? "mute" : "ban";
  const [, everywhere, behind = ""] = /^(everywhere(?!\S))?\s*(.*)$/isu.exec(rest) ?? [];
  const isEverywhere = everywhere !== undefined;
  if (word.startsWith("un")) {
    return behind === "" ? { is: "lift", measure, name, isEverywhere } : refused(form);
  }
  if (timeSeconds(name) !== null) return refused(`/${word} needs a name. ${name} is a time. ${form}`);
  // A wrong time must not become a part of the reason of a sanction without end.
  const [, time, reason = ""] = /^(\d\S*)?\s*(.*)$/su.exec(behind) ?? [];
  const seconds = time === undefined ? null : timeSeconds(time);
  if (time !== undefined && seconds === null) return refused(NO_TIME);
  if (is("everywhere", reason.split(/\s/u)[0] ?? "")) return refused(`The word everywhere stands behind the name. ${form}`);
  if (timeSeconds(reason.split(/\s/u).at(-1) ?? "") !== null) return refused(`The time stands before the reason. ${form}`);
  return { is: "impose", measure, name, isEverywhere, seconds, reason };
}

/** The values that are a word. @type {Map<string, Map<string, import("./moderation.js").SettingsChange>>} */
const WORDS = new Map(/** @type {[string, Map<string, import("./moderation.js").SettingsChange>][]} */ ([
  ["slow", new Map([["off", { slowSeconds: 0 }]])],
  ["topic", new Map([["off", { topic: "" }]])],
  ["writers", new Map([["everyone", { writers: "everyone" }], ["operators", { writers: "operators" }]])],
  ["access", new Map([["everyone", { access: "everyone" }], ["invited", { access: "invited" }]])],
  ["newcomers", new Map([["on", { newcomersSeeHistory: true }], ["off", { newcomersSeeHistory: false }]])],
  ["retention", new Map([["server", { retention: {} }]])],
  ["seen-by", new Map([["on", { seenBy: true }], ["off", { seenBy: false }], ["server", { seenBy: null }]])],
]));

/**
 * A change of a setting; `null`: the words are none.
 * @param {string} name
 * @param {string} words
 * @returns {import("./moderation.js").SettingsChange | null}
 */
function setting(name, words) {
  const known = WORDS.get(name)?.get(words.toLowerCase());
  if (known || words === "") return known ?? null;
  if (name === "topic") return { topic: words };
  if (name === "slow") {
    const slowSeconds = timeSeconds(words);
    return slowSeconds === null ? null : { slowSeconds };
  }
  const [isRetention, messages, time] = (name === "retention" && /^(\d+)?(?:(?:^|\s+)(\d+[a-z]))?$/u.exec(words)) || [];
  const seconds = time === undefined ? undefined : timeSeconds(time);
  if (isRetention === undefined || seconds === null) return null;
  return { retention: { ...(messages !== undefined && { messages: Number(messages) }), ...(seconds !== undefined && { seconds }) } };
}

/**
 * @param {string} written what a person has written
 * @returns {Command}
 */
export function parseCommand(written) {
  // A blank before a command is a typing error. It must not publish a private message.
  const line = written.trimStart();
  if (!line.startsWith("/")) return { is: "say", text: written };
  if (line.startsWith("//")) return { is: "say", text: line.slice(1) };
  const [, typed = "", rest = ""] = /^\/(\S*)\s*(.*)$/su.exec(line) ?? [];
  const word = typed.toLowerCase();
  const [, first = "", text = ""] = /^#?(\S*)\s*(.*)$/su.exec(rest) ?? [];
  const room = first === "" ? null : first;
  switch (word) {
    case "nick":
    case "msg": {
      const name = first.replace(/^@/u, "");
      // A private message may go to a guest, but nobody can choose a guest's name.
      const problem = word === "msg" ? roomProblem(name) : nameProblem(name);
      if (problem) return refused(`/${word} needs a name. ${problem}`);
      if (word === "nick") return { is: "nick", name };
      return text === "" ? refused("/msg needs a text after the name") : { is: "msg", name, text };
    }
    case "join":
    case "leave":
    case "who": {
      const problem = room === null && word !== "join" ? null : roomProblem(first);
      if (problem) return refused(`/${word} needs a room. ${problem}`);
      return word === "join" ? { is: "join", room: first } : { is: word, room };
    }
    case "mute":
    case "unmute":
    case "ban":
    case "unban":
      return sanction(word, first.replace(/^@/u, ""), text);
    case "invite":
    case "uninvite": {
      const name = first.replace(/^@/u, "");
      const problem = text === "" ? targetProblem(name) : "Write nothing behind it.";
      return problem ? refused(`/${word} needs a name. ${problem}`) : { is: word, name };
    }
    case "slow":
    case "topic":
    case "writers":
    case "access":
    case "newcomers":
    case "retention":
    case "seen-by": {
      const change = setting(word, rest.trim());
      return change ? { is: "set", change } : refused(`/${word} needs: ${COMMANDS.get(word)?.argument ?? ""}`);
    }
    case "rooms":
    case "history":
    case "settings":
    case "help":
    case "quit":
      return { is: word };
    default:
      return refused(`There is no command /${typed}. /help lists the commands. To send this line as text, begin it with //`);
  }
}
