// The guide is so: its files are written as they stand there, in order, its commands run in one shell, and each prints what stands below it ("...": anything).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { News, ROOT, eventually } from "./play.mjs";
import { BIN } from "./command.mjs";

const guide = fs.readFileSync(path.join(ROOT, "examples/guide.md"), "utf8");

// { lua, file } to write, or { sh, output } to run.
function steps() {
  const list = [];
  for (const [, kind, text] of guide.matchAll(/^```(\w*)\n([^]*?)^```$/gm)) {
    if (kind === "lua") list.push({ lua: text, file: /^-- (\S+\.lua)\n/.exec(text)[1] });
    else if (kind === "sh") list.push({ sh: text });
    else list.at(-1).output = text;
  }
  return list;
}

async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// One shell for all commands; run(text) gives what it and its children print.
class Shell {
  #out = "";
  #news = new News();
  #runs = 0;

  constructor(cwd, env) {
    this.child = spawn("sh", [], { cwd, env, stdio: ["pipe", "pipe", "inherit"] });
    this.child.stdout.setEncoding("utf8").on("data", (text) => {
      this.#out += text;
      this.#news.tell();
    });
    this.child.stdin.write("exec 2>&1\n");
  }

  async run(text) {
    const mark = `--- end of ${++this.#runs}\n`;
    this.child.stdin.write(`${text}\nprintf '%s' '${mark}'\n`);
    await this.#news.until(() => this.#out.includes(mark), `the end of\n${text}`);
    const [said, rest] = this.#out.split(mark);
    this.#out = rest;
    return said;
  }

  end() { this.child.stdin.end(); }
}

const pattern = (output) => new RegExp(`^${output.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("\\.\\.\\.", ".*")}$`);

test("every file and every command of the guide", { timeout: 120_000 }, async () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-guide-"));
  const first = path.join(root, "first"), log = path.join(first, "log");
  fs.symlinkSync(path.dirname(BIN), path.join(root, "build"));
  fs.symlinkSync(path.join(ROOT, "examples"), path.join(root, "examples"));
  const port = await freePort();
  const shell = new Shell(root, { PATH: process.env.PATH, SLUICE_LISTEN: `127.0.0.1:${port}` });
  const logged = (event) => eventually(() => fs.existsSync(log) && fs.readFileSync(log, "utf8").includes(` ${event} `), `"${event}" in the gateway's log`);
  let pid = null;
  try {
    const all = steps();
    assert.ok(all.filter((s) => s.lua).length >= 9 && all.filter((s) => s.output).length >= 9);
    for (const step of all) {
      if (step.lua) {
        fs.writeFileSync(path.join(first, step.file), step.lua);
        continue;
      }
      const said = await shell.run(step.sh.replaceAll("127.0.0.1:4001", `127.0.0.1:${port}`));
      assert.match(said.replace(/\s*$/, "\n"), pattern((step.output ?? "").replace(/\s*$/, "\n")), step.sh);
      if (step.sh.includes("sluice run ")) {
        pid = Number(fs.readFileSync(path.join(first, "pid"), "utf8"));
        await logged("listening");
      }
      if (step.sh.includes("kill -HUP")) await logged("reload");
    }
    await logged("stopped");
    pid = null;
  } finally {
    if (pid) process.kill(pid, "SIGKILL");
    shell.end();
    fs.rmSync(root, { recursive: true, force: true });
  }
});
