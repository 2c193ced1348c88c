// What the tests stand on: the real server, the WebSocket of the package ws, and waiting for conditions.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { connect } from "../starling.js";

const top = fileURLToPath(new URL("../../..", import.meta.url));
const program = process.env.STARLING ?? join(top, "target/debug/starling");

/** The tools that scripts/install-test-tools installs. */
export const tools = join(top, "target/test-tools/node_modules");

/** The WebSocket of the package ws. */
export const { WebSocket } = createRequire(join(tools, "x.js"))("ws");

/** The variables of a server that authenticates names. */
export const JWT = { CHAT_AUTH: "jwt", CHAT_JWT_SECRET: "0123456789abcdef0123456789abcdef" };

/** A token for this name, in the rooms of these patterns or in all. */
export function token(name, seconds = 3_600, rooms = "*") {
  const { stdout } = spawnSync(program, ["token", name, "--seconds", String(seconds), "--rooms", rooms], { env: JWT, cwd: tmpdir() });
  return String(stdout).trim();
}

/** Waits until the condition holds, and returns its value. */
export async function until(what, condition) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited 30 s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A server that can be killed or stopped, and started again at the same address with the same history. */
export class Server {
  #process;
  #folder = mkdtempSync(join(tmpdir(), "starling-client-"));
  port = 0;

  static async start(test, variables = {}) {
    const server = new Server();
    server.variables = { CHAT_HISTORY: "sqlite", CHAT_WORKERS: "1", CHAT_DRAIN_SECONDS: "1", ...variables };
    test.after(async () => {
      await server.kill();
      rmSync(server.#folder, { recursive: true });
    });
    await server.startAgain();
    return server;
  }

  async startAgain() {
    const env = { ...this.variables, CHAT_BIND: `127.0.0.1:${this.port}` };
    this.#process = spawn(program, { env, cwd: this.#folder, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    for await (const line of createInterface({ input: this.#process.stderr })) {
      log += `${line}\n`;
      const found = /listening on \S+:(\d+)/u.exec(line);
      if (!found) continue;
      this.port = Number(found[1]);
      this.#process.stderr.resume();
      return;
    }
    throw new Error(`the server does not start:\n${log}`);
  }

  async #end(signal) {
    const running = this.#process;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "exit");
    running.kill(signal);
    await ended;
  }

  kill() {
    return this.#end("SIGKILL");
  }

  stop() {
    return this.#end("SIGTERM");
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** A client of this server, which is closed with the test. */
  client(test, options = {}) {
    const client = connect({ url: this.url, WebSocket, ...options });
    client.on("error", ({ code, message }) => test.diagnostic(`${code}: ${message}`));
    test.after(() => client.close());
    return client;
  }

  async history(room) {
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/rooms/${room}/messages?limit=200`);
    return (await answer.json()).messages ?? [];
  }
}

/**
 * A WebSocket whose connection the test can tear, as a network does. The first frame that is `fatal` tears it too, and
 * neither that frame nor a later one arrives.
 */
export function tearable(fatal = () => false) {
  return class Torn extends WebSocket {
    static all = [];
    static isTorn = false;
    #isTorn = false;
    constructor(...more) {
      super(...more);
      Torn.all.push(this);
    }
    static tear() {
      for (const socket of Torn.all.splice(0)) socket.terminate();
    }
    set onmessage(listener) {
      super.onmessage = listener && ((event) => {
        if (!Torn.isTorn && fatal(JSON.parse(event.data))) {
          Torn.isTorn = this.#isTorn = true;
          setImmediate(Torn.tear);
        }
        if (!this.#isTorn) listener(event);
      });
    }
  };
}

/** Collects the texts of a room's messages. */
export function texts(room) {
  const heard = [];
  room.on("message", ({ Message }) => heard.push(Message));
  return heard;
}

export const opened = (client) => until("the connection is open", () => client.state === "open");
export const joined = (room) => until(`${room.name} is joined`, () => room.isJoined);

export async function all(messages) {
  const read = [];
  for await (const message of messages) read.push(message);
  return read;
}
