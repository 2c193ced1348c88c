// The package as npm makes and installs it, its size, and the example in its README.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { Server, joined, tools } from "./kit.mjs";

const own = fileURLToPath(new URL("..", import.meta.url));

/** Most bytes of the module that a program imports, as gzip. */
const BYTES_MAX = 8_500;

function run(folder, command, ...more) {
  // What `npm install` in the client's folder would install.
  const env = { ...process.env, PATH: `${join(tools, ".bin")}:${process.env.PATH}` };
  const { status, stdout, stderr } = spawnSync(command, more, { cwd: folder, env });
  assert.equal(status, 0, `${command} ${more.join(" ")}\n${stdout}\n${stderr}`);
  return String(stdout);
}

test("the tarball of npm is small, installs elsewhere, has its types, and its README's example works", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "starling-pack-"));
  t.after(() => rmSync(folder, { recursive: true }));
  run(own, "npm", "pack", "--silent", "--pack-destination", folder);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  const program = join(folder, "program");
  mkdirSync(program);
  writeFileSync(join(program, "package.json"), '{ "type": "module" }');
  run(program, "npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", join(folder, tarball));
  assert.deepEqual(readdirSync(join(program, "node_modules/starling-client")).toSorted(),
    ["README.md", "package.json", "starling.d.ts", "starling.js", "starling.min.js"]);
  const bytes = gzipSync(readFileSync(join(program, "node_modules/starling-client/starling.min.js")), { level: 9 }).length;
  assert.ok(bytes <= BYTES_MAX, `${bytes} bytes`);

  writeFileSync(join(program, "typed.ts"), 'import { connect, type Room } from "starling-client";\n'
    + 'export const room: Room = connect({ url: "wss://chat.example.org/ws" }).room("dev");\n');
  for (const [module, resolution] of [["es2022", "bundler"], ["nodenext", "nodenext"]]) {
    run(program, "node", join(tools, "typescript/bin/tsc"), "--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,dom",
      "--module", module, "--moduleResolution", resolution, "typed.ts");
  }

  const server = await Server.start(t);
  symlinkSync(join(tools, "ws"), join(program, "node_modules/ws"));
  const [, example] = /```js\n(.*?)```/su.exec(readFileSync(join(own, "README.md"), "utf8"));
  writeFileSync(join(program, "example.js"), example.replace("wss://chat.example.org/ws", server.url));
  const other = server.client(t, { name: "bob" }).room("dev");
  await joined(other);
  await other.send("before");
  const running = spawn("node", ["example.js"], { cwd: program, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  for await (const part of running.stdout) said += part;
  // The own message is an event too, which may come after its acknowledgement.
  assert.deepEqual(said.trim().split("\n").filter((line) => line !== "alice: hello"), ["1. before", "sent as 2"]);
});

test("the example has at most 40 lines", () => {
  const lines = readFileSync(join(own, "example/chat.js"), "utf8").trimEnd().split("\n").length;
  assert.ok(lines <= 40, `${lines} lines`);
});
