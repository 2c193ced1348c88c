// @ts-check
/**
 * Lines that begin with `/`, as in the console (docs/protocol.md, "By hand"). They are carried out or refused, and never
 * published. Pure logic.
 *
 * @typedef {{is: "say", text: string} | {is: "refused", problem: string} | {is: "nick", name: string}
 *   | {is: "join", room: string} | {is: "msg", name: string, text: string} | {is: "leave", room: string | null}
 *   | {is: "who", room: string | null} | {is: "rooms" | "history" | "help" | "quit"}} Command
 */

import { nameProblem, roomProblem } from "./protocol.js";

/** The commands as they are offered and listed: with what follows the word, and what they do. */
export const COMMANDS = new Map([
  ["join", { argument: "room", about: "join, and go there" }],
  ["msg", { argument: "name text", about: "a private message" }],
  ["leave", { argument: "[room]", about: "leave this room, or another one" }],
  ["nick", { argument: "name", about: "take another name" }],
  ["rooms", { argument: "", about: "which rooms there are" }],
  ["who", { argument: "[room]", about: "who is there" }],
  ["history", { argument: "", about: "earlier messages" }],
  ["help", { argument: "", about: "this list" }],
  ["quit", { argument: "", about: "leave the chat" }],
]);

/** @param {string} problem @returns {Command} */
const refused = (problem) => ({ is: "refused", problem });

/**
 * @param {string} line what a person has written
 * @returns {Command}
 */
export function parseCommand(line) {
  if (!line.startsWith("/")) return { is: "say", text: line };
  if (line.startsWith("//")) return { is: "say", text: line.slice(1) };
  const [, word = "", rest = ""] = /^\/(\S*)\s*(.*)$/su.exec(line) ?? [];
  const [, first = "", text = ""] = /^#?(\S*)\s*(.*)$/su.exec(rest) ?? [];
  const room = first === "" ? null : first;
  switch (word) {
    case "nick":
    case "msg": {
      const name = first.replace(/^@/u, "");
      // A private message may go to a guest, but nobody becomes one by choice.
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
    case "rooms":
    case "history":
    case "help":
    case "quit":
      return { is: word };
    default:
      return refused(`There is no command /${word}. /help lists them; to send this as text, begin with //`);
  }
}
