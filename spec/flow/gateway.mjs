// A gateway under test: the program, a gateway file in a directory of its own, its log as objects, its signals, what /proc tells of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { Client } from "./client.mjs";
import { News, PATIENCE_MS } from "./news.mjs";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const KEY = "sk-play-5c5e7aa1f0";         // in no answer, no log line: every play looks

const BIN = path.resolve(ROOT, process.env.SLUICE_BIN ?? "build/sluice");

// Sanitizers keep freed memory for a while: little of it, so that memory can be judged.
const SANITIZERS = { TSAN_OPTIONS: `${process.env.TSAN_OPTIONS ?? ""}:suppressions=${path.join(ROOT, "spec/flow/threads.supp")}:print_suppressions=0`, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ""}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64:detect_stack_use_after_return=0` };

// The usual gateway file. `code` stands before the table; `route`, `model`, `top` are members, `policies` a list's inside.
export function file({ drain = "2s", upstream = "http://127.0.0.1:9/v1", listen = "127.0.0.1:0", code = "", route = "", policies = "", model = "", top = "", models = "", routes = "" } = {}) {
  return `local sluice = require "sluice"
${code}
return sluice.config {
  api = 1, listen = "${listen}", ${/\bworkers\b/.test(top) ? "" : "workers = 1,"} drain = "${drain}", ${top}
  models = {
    m = { provider = "openai", url = "${upstream}", model = "play-1", key = sluice.secret "LLM_API_KEY", ${model} },
    ${models}
  },
  routes = {
    ask = { path = "/api/stream", front = "token", target = "m", policies = { ${policies} }, ${route} },
    ${routes}
  },
}
`;
}

export class Gateway {
  news = new News();
  log = [];                            // the log's lines as objects
  noise = [];                          // lines that are no JSON: a sanitizer speaks
  clients = [];
  exit = null;                         // { code, signal }

  // `what`: the text of a gateway file, or { path } of one; `files`: others beside it; `under`: a program that runs the gateway.
  static async start(what, { env = {}, files = {}, args = [], expect = "listening", under = [] } = {}) {
    const g = new Gateway();
    g.dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-play-"));
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(g.dir, name), text);
    const main = what.path ?? path.join(g.dir, "gateway.lua");
    if (!what.path) fs.writeFileSync(main, what);
    const [program, ...line] = [...under, BIN, "run", main, "--log-format", "json", ...args];
    g.child = spawn(program, line, {
      stdio: ["ignore", "inherit", "pipe"],
      cwd: g.dir,
      env: {
        PATH: process.env.PATH, LLM_API_KEY: KEY, UBSAN_OPTIONS: process.env.UBSAN_OPTIONS ?? "print_stacktrace=1", ...SANITIZERS,
        http_proxy: "http://127.0.0.1:9", https_proxy: "http://127.0.0.1:9", ALL_PROXY: "http://127.0.0.1:9",      // must not matter
        ...env,
      },
    });
    g.pid = g.child.pid;
    g.child.on("error", (e) => g.#ended({ error: e }));
    readline.createInterface({ input: g.child.stderr }).on("line", (line) => g.#said(line));
    g.child.on("close", (code, signal) => g.#ended({ code, signal }));
    if (expect === "listening") {
      const e = await g.news.until(() => g.log.find((l) => l.event === "listening") ?? (g.exit && {}), "the gateway to listen");
      assert.ok(e.url, `the gateway did not start:\n${g.tail()}`);
      g.port = Number(new URL(e.url).port);
    }
    return g;
  }

  #said(line) {
    if (line.includes(KEY)) this.leaked = line;
    let entry = null;
    if (line.startsWith("{")) {
      try {
        entry = JSON.parse(line);
      } catch {
        // not ours
      }
    }
    if (entry) this.log.push(entry);
    else this.noise.push(line);
    this.news.tell();
  }

  #ended(how) {
    if (this.exit?.error) return;
    this.exit = how;
    this.news.tell();
  }

  tail() {
    const lines = [...this.log.slice(-15).map((l) => JSON.stringify(l)), ...this.noise.slice(0, 60)];
    return [...lines, this.exit ? `(exit: ${JSON.stringify(this.exit)})` : "(it runs)"].join("\n");
  }

  // ---- clients

  async connect(options = {}) {
    const c = await Client.connect(this.port, { secret: KEY, ...options });
    if (this.clients.length > 500) this.clients = this.clients.filter((old) => !old.over || old.leaked);
    this.clients.push(c);
    return c;
  }

  // A new connection with one question on it; the answer fills as bytes come.
  async ask(question = "why?", options = {}) {
    const c = await this.connect(options);
    return c.ask(`/api/stream?q=${encodeURIComponent(question)}`, options);
  }

  async get(path, options = {}) {
    const c = await this.connect(options);
    return c.ask(path, options).head();
  }

  // One full turn of the gateway's loop: everything that had reached its sockets before was read. Makes "it came in two reads" certain. (One worker.)
  async turn() {
    this.#turns ??= await this.connect();
    const a = this.#turns.ask("/healthz");
    assert.equal(await a.end(), "complete");
    this.#turns.answers.length = 0;
  }
  #turns = null;

  // ---- the log

  get requests() { return this.log.filter((l) => l.event === "request" && l.id); }

  // The line of the request with this answer, or the n-th line of all.
  request(which) {
    if (typeof which === "number") return this.news.until(() => this.requests[which], `the log line of request ${which + 1}`);
    const id = which.headers.get("x-request-id");
    assert.ok(id, "the answer names its request");
    return this.news.until(() => this.log.find((l) => l.event === "request" && l.id === id), `the log line of request ${id}`);
  }

  logged(match, what) { return this.news.until(() => this.log.find(match), what); }

  async metrics() {
    const seen = this.log.length;
    this.signal("SIGUSR1");
    return this.news.until(() => this.log.slice(seen).find((l) => l.event === "metrics"), "the counters");
  }

  // ---- what the kernel says

  fds() { return fs.readdirSync(`/proc/${this.pid}/fd`).length; }

  rss() { return Number(/^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${this.pid}/status`, "utf8"))[1]); }

  peak() { return Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${this.pid}/status`, "utf8"))[1]); }

  // Nanoseconds that its threads have run.
  cpu() {
    let sum = 0;
    for (const t of fs.readdirSync(`/proc/${this.pid}/task`)) sum += Number(fs.readFileSync(`/proc/${this.pid}/task/${t}/schedstat`, "utf8").split(" ")[0]);
    return sum;
  }

  // ---- the end

  signal(name) { process.kill(this.pid, name); }

  ended() { return this.news.until(() => this.exit, "the gateway to end"); }

  // Ends it and holds it to its promises: exit 0, no sanitizer's complaint, nothing left open, no key anywhere.
  async stop() {
    for (const c of this.clients) c.close();
    if (!this.exit) this.signal("SIGTERM");
    try {
      await this.ended();
    } catch (e) {
      this.child.kill("SIGABRT");
      throw new Error(`the gateway did not end after SIGTERM:\n${this.tail()}`);
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
    assert.deepEqual(this.noise, [], `it said things that are no log lines:\n${this.tail()}`);
    assert.deepEqual(this.exit, { code: 0, signal: null }, this.tail());
    const last = this.log.filter((l) => l.event === "metrics").at(-1);
    assert.ok(last, "it logs its counters at the end");
    assert.equal(last.streams_open, 0, "streams_open at the end");
    assert.equal(last.connections_open, 0, "connections_open at the end");
    assert.equal(this.leaked, undefined, "the key is in the log");
    assert.ok(!this.clients.some((c) => c.leaked), "the key went to a client");
  }

  abandon() {
    if (!this.exit) this.child.kill("SIGKILL");
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export { PATIENCE_MS };
