// @ts-check
/**
 * Lines that begin with `/`, as in the console (docs/protocol.md, "By hand"). The page executes or refuses them, and never
 * publishes them. Pure logic.
 *
 * @typedef {{is: "say", text: string} | {is: "refused", problem: string} | {is: "nick", name: string}
 *   | {is: "join", room: string} | {is: "msg", name: string, text: string} | {is: "leave", room: string | null}
 *   | {is: "who", room: string | null} | {is: "rooms" | "history" | "help" | "quit"} | Decision} Command
 * @typedef {{is: "impose", measure: "mute" | "ban", name: string, isEverywhere: boolean, seconds: number | null, reason: string}
 *   | {is: "lift", measure: "mute" | "ban", name: string, isEverywhere: boolean} | {is: "slow", seconds: number}} Decision
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
]);

/** @param {string} problem @returns {Command} */
const refused = (problem) => ({ is: "refused", problem });

const NO_TIME = "A time is a number with s, m, h, d or w, like 10m.";

/** @param {string} word @param {string} name @param {string} rest @returns {Command} */
function sanction(word, name, rest) {
  const problem = roomProblem(name);
  if (problem) return refused(`/${word} needs a name. ${problem}`);
  const measure = word.endsWith("mute") ? "mute" : "ban";
  const [, everywhere, behind = ""] = /^(everywhere(?!\S))?\s*(.*)$/su.exec(rest) ?? [];
  const isEverywhere = everywhere !== undefined;
  if (word.startsWith("un")) {
    return behind === "" ? { is: "lift", measure, name, isEverywhere } : refused(`Write /${word} name [everywhere]`);
  }
  // A wrong time must not become a part of the reason of a sanction without end.
  const [, time, reason = ""] = /^(\d\S*)?\s*(.*)$/su.exec(behind) ?? [];
  const seconds = time === undefined ? null : timeSeconds(time);
  if (time !== undefined && seconds === null) return refused(NO_TIME);
  return { is: "impose", measure, name, isEverywhere, seconds, reason };
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
  const [, word = "", rest = ""] = /^\/(\S*)\s*(.*)$/su.exec(line) ?? [];
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
    case "slow": {
      const seconds = first === "off" ? 0 : timeSeconds(first);
      return seconds === null || text !== "" ? refused(`/slow needs a time or off. ${NO_TIME}`) : { is: "slow", seconds };
    }
    case "rooms":
    case "history":
    case "help":
    case "quit":
      return { is: word };
    default:
      return refused(`There is no command /${word}. /help lists the commands. To send this line as text, begin it with //`);
  }
}
