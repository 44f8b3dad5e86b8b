// A gateway with a directory of its own for sockets, and the commands that knock there: `sluice("state", ...)` runs one to its end, `begin("trace", ...)` starts
// one that goes on, whose words come as they are said.
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { News, ROOT, eventually } from "./play.mjs";

export const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");

export class Command {
  news = new News();
  out = "";
  err = "";
  exit = null;                         // { code, signal }

  constructor(args, { program = BIN, ...options }) {
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    this.child.stdout.on("data", (d) => this.#tell(() => (this.out += d)));
    this.child.stderr.on("data", (d) => this.#tell(() => (this.err += d)));
    this.child.on("close", (code, signal) => this.#tell(() => (this.exit = { code, signal })));
  }

  #tell(change) {
    change();
    this.news.tell();
  }

  said(match, what = `${match}`) { return this.news.until(() => match.exec(this.out) ?? match.exec(this.err), () => `${what} in\n${this.out}\n${this.err}`); }
  ended() { return this.news.until(() => this.exit, "the command to end"); }
  signal(name) { this.child.kill(name); }
}

// The socket's file is there a moment before somebody listens.
const knock = (at) => new Promise((got) => {
  const c = net.connect(at, () => {
    c.destroy();
    got(true);
  });
  c.on("error", () => got(false));
});

export async function stageOf(stage, text, options = {}) {
  const run = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-run-"));
  stage.onEnd(() => fs.rmSync(run, { recursive: true, force: true }));
  const g = await stage.gateway(text, { ...options, env: { XDG_RUNTIME_DIR: run, ...options.env } });
  const begin = (name, ...args) => {
    const c = new Command([name, text.path ?? path.join(g.dir, "gateway.lua"), ...args], { env: { PATH: process.env.PATH, XDG_RUNTIME_DIR: run } });
    stage.onEnd(() => c.exit || c.signal("SIGKILL"));
    return c;
  };
  const sluice = async (...args) => {
    const c = begin(...args);
    const { code } = await c.ended();
    return { code, out: c.out, err: c.err };
  };
  const socket = () => path.join(run, "sluice", fs.readdirSync(path.join(run, "sluice"))[0]);
  await eventually(() => fs.existsSync(path.join(run, "sluice")) && fs.readdirSync(path.join(run, "sluice")).length === 1 && knock(socket()), "the control socket");
  return { g, sluice, begin, socket, run };
}
