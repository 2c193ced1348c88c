// @ts-check
/**
 * What operators decide about clients and rooms, over HTTP (docs/protocol.md, "Moderation").
 *
 * @typedef {"mute" | "ban"} Measure
 * @typedef {{measure: Measure, clientId?: string, address?: string, room?: string}} Target
 * @typedef {import("./starling.js").RoomSettings} RoomSettings
 * @typedef {Omit<RoomSettings, "seenBy"> & {seenBy?: boolean | null}} SettingsChange
 * @typedef {Target & {until?: number, reason: string, by: string, at: number}} Sanction
 */

/** The units of a time, and their seconds. */
const UNITS = new Map([["s", 1], ["m", 60], ["h", 3_600], ["d", 86_400], ["w", 604_800]]);

/** The seconds of a time such as `10m`; `null`: it is none. @param {string} text */
export function timeSeconds(text) {
  const [, digits, unit = ""] = /^(\d{1,9})([smhdw])$/u.exec(text) ?? [];
  const seconds = Number(digits) * (UNITS.get(unit) ?? 0);
  return seconds > 0 ? seconds : null;
}

/** A path of the operators' API. @param {string} room @param {string} what */
const ofRoom = (room, what) => `api/rooms/${encodeURIComponent(room)}/${what}`;

export class Moderation {
  /** @param {{base: URL, getToken: () => string}} options */
  constructor({ base, getToken }) {
    this.base = base;
    this.getToken = getToken;
  }

  /**
   * Replaces an earlier sanction of the same target.
   * @param {Target} target
   * @param {number | null} seconds `null`: without end
   * @param {string} reason
   */
  async impose(target, seconds, reason) {
    await this.#ask("POST", "api/moderation/sanctions", {}, { ...target, ...(seconds === null ? {} : { seconds }), reason });
  }

  /** @param {Target} target */
  async lift({ measure, clientId, address, room }) {
    await this.#ask("DELETE", "api/moderation/sanctions", { measure, clientId, address, room });
  }

  /** The sanctions of a client, the newest first. @param {string} name @returns {Promise<Sanction[]>} */
  async of(name) {
    const { sanctions } = await this.#ask("GET", "api/moderation/sanctions");
    return sanctions.filter((/** @type {Sanction} */ { clientId }) => clientId === name);
  }

  /** All settings of a room. @param {string} room @returns {Promise<Required<SettingsChange>>} */
  async settings(room) {
    return this.#ask("GET", ofRoom(room, "settings"));
  }

  /** Changes the settings that are given. @param {string} room @param {SettingsChange} change */
  async set(room, change) {
    await this.#ask("POST", ofRoom(room, "settings"), {}, change);
  }

  /** The names that are invited to a room. @param {string} room @returns {Promise<string[]>} */
  async invited(room) {
    const { invitations } = await this.#ask("GET", ofRoom(room, "invitations"));
    return invitations.map((/** @type {{clientId: string}} */ { clientId }) => clientId);
  }

  /** @param {string} room @param {string} clientId */
  async invite(room, clientId) {
    await this.#ask("POST", ofRoom(room, "invitations"), {}, { clientId });
  }

  /** @param {string} room @param {string} clientId */
  async uninvite(room, clientId) {
    await this.#ask("DELETE", ofRoom(room, `invitations/${encodeURIComponent(clientId)}`));
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{[name: string]: string | undefined}} [query]
   * @param {object} [body]
   */
  async #ask(method, path, query = {}, body) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    const headers = { authorization: `Bearer ${this.getToken()}` };
    const answer = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    if (answer.status === 204) return {};
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(said.message ?? `the server answered with ${answer.status}`);
    return said;
  }
}
