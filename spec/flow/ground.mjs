// What plays stand on: a gateway process, a raw client, a scripted raw upstream. Order and bytes are asserted, never times.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

const BIN = process.env.SLUICE_BIN ?? "build/sluice";
const DEADLINE_MS = 60_000;                        // a play that waits longer has failed

export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`waited too long for ${what}`)), DEADLINE_MS); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A queue that can be awaited: push values in, take them out in order; `end` makes take() give undefined.
class Mailbox {
  values = [];
  waiting = [];
  ended = false;
  push(v) { this.waiting.length ? this.waiting.shift()(v) : this.values.push(v); }
  end() { this.ended = true; for (const w of this.waiting.splice(0)) w(undefined); }
  take(what) {
    if (this.values.length) return Promise.resolve(this.values.shift());
    if (this.ended) return Promise.resolve(undefined);
    return within(new Promise((resolve) => this.waiting.push(resolve)), what);
  }
}

// ---- the gateway

export async function gateway(source, { env = {}, args = [] } = {}) {
  const dir = mkdtempSync(path.join(tmpdir(), "sluice-"));
  const file = path.join(dir, "gateway.lua");
  writeFileSync(file, source);
  const child = spawn(BIN, ["run", file, "--log-format", "json", ...args], { env: { ...process.env, ...env }, stdio: ["ignore", "inherit", "pipe"] });
  const lines = [], waiting = [];
  let rest = "", url;
  const exited = new Promise((resolve) => child.on("exit", (code, signal) => { for (const w of waiting.splice(0)) w.reject(new Error(`the gateway ended:\n${g.raw}`)); resolve(code ?? signal); }));
  const g = {
    raw: "", child, lines, exited, pid: child.pid, file,
    // The next log line (from the first not yet taken) that fits.
    log(event, fits = () => true) {
      const found = lines.findIndex((l) => !l.taken && l.event === event && fits(l));
      if (found >= 0) { lines[found].taken = true; return Promise.resolve(lines[found]); }
      return within(new Promise((resolve, reject) => waiting.push({ event, fits, resolve, reject })), `log event ${event}; log so far:\n${g.raw}`);
    },
    async stop() {
      child.kill("SIGTERM");
      const code = await within(exited, "the gateway's end");
      rmSync(dir, { recursive: true, force: true });
      return code;
    },
  };
  child.stderr.on("data", (bytes) => {
    g.raw += bytes;
    rest += bytes;
    const parts = rest.split("\n");
    rest = parts.pop();
    for (const part of parts) {
      let line;
      try { line = JSON.parse(part); } catch { continue; }
      lines.push(line);
      const i = waiting.findIndex((w) => w.event === line.event && w.fits(line));
      if (i >= 0) { line.taken = true; waiting.splice(i, 1)[0].resolve(line); }
    }
  });
  url = (await g.log("listening")).url;
  g.url = url;
  g.port = Number(new URL(url).port);
  return g;
}

// ---- a raw client

export function connect(port, bytes = "") {
  const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const chunks = new Mailbox();
  const c = { socket, received: "", closed: null, chunks };
  socket.setNoDelay(true);
  c.closed = new Promise((resolve) => socket.on("close", () => { chunks.end(); resolve(); }));
  socket.on("data", (b) => { c.received += b.toString("latin1"); chunks.push(b); });
  socket.on("end", () => { c.gotEnd = true; chunks.end(); socket.end(); });
  socket.on("error", () => {});
  if (bytes) socket.write(bytes);
  c.until = async (text) => {
    while (!c.received.includes(text)) {
      if (await chunks.take(`"${text}" after:\n${c.received}`) === undefined) throw new Error(`the connection ended before "${text}":\n${c.received}`);
    }
    return c.received;
  };
  c.all = async () => { while (await chunks.take("the end of the answer") !== undefined); return c.received; };
  c.reset = () => socket.resetAndDestroy();
  return c;
}

export function get(port, target, { headers = "", method = "GET", version = "1.1" } = {}) {
  return connect(port, `${method} ${target} HTTP/${version}\r\nHost: x\r\n${headers}\r\n`);
}

// A raw response, taken apart.
export function parse(raw) {
  const cut = raw.indexOf("\r\n\r\n");
  const [first, ...rest] = raw.slice(0, cut).split("\r\n");
  const headers = {};
  for (const line of rest) headers[line.slice(0, line.indexOf(":")).toLowerCase()] = line.slice(line.indexOf(":") + 1).trim();
  let body = raw.slice(cut + 4), complete = true;
  if (headers["transfer-encoding"] === "chunked") [body, complete] = dechunk(body);
  return { status: Number(first.split(" ")[1]), headers, body: Buffer.from(body, "latin1").toString("utf8"), complete };
}

function dechunk(raw) {
  let out = "";
  for (;;) {
    const eol = raw.indexOf("\r\n");
    if (eol < 0) return [out, false];
    const size = parseInt(raw.slice(0, eol), 16);
    if (size === 0) return [out, raw.startsWith("0\r\n\r\n")];
    out += raw.slice(eol + 2, eol + 2 + size);
    raw = raw.slice(eol + 2 + size + 2);
  }
}

export function events(body) {
  return body.split("\n\n").filter((e) => e !== "").map((e) => (e.startsWith("data: ") ? e.slice(6) : e));
}

// Asks and reads the answer to its end; Connection: close.
export async function ask(port, target, options = {}) {
  const c = get(port, target, { ...options, headers: `Connection: close\r\n${options.headers ?? ""}` });
  return parse(await c.all());
}

// ---- a scripted upstream

export const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
export const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
export const token = (text) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text } }] })}\n\n`;
export const DONE = "data: [DONE]\n\n";
export const LAST = "0\r\n\r\n";

// Each connection's requests come out of `next()`: { socket, head, body, send, closed }.
export async function upstream(options = {}) {
  const requests = new Mailbox();
  const sockets = new Set();
  const server = net.createServer({ allowHalfOpen: false, ...options }, (socket) => {
    let raw = "";
    sockets.add(socket);
    socket.setNoDelay(true);
    const closed = new Promise((resolve) => socket.on("close", () => { sockets.delete(socket); resolve(); }));
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      raw += bytes.toString("utf8");
      for (;;) {
        const end = raw.indexOf("\r\n\r\n");
        if (end < 0) return;
        const head = raw.slice(0, end);
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        if (Buffer.byteLength(raw.slice(end + 4)) < length) return;
        const body = Buffer.from(raw.slice(end + 4)).subarray(0, length).toString("utf8");
        raw = raw.slice(end + 4 + body.length);
        requests.push({ socket, head, body, closed, send: (text) => new Promise((resolve) => socket.write(text, resolve)) });
      }
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = server.address().port;
  return {
    port, url: `http://127.0.0.1:${port}/v1`, server, sockets,
    next: () => requests.take("a request at the upstream"),
    close() { for (const s of sockets) s.destroy(); return new Promise((resolve) => server.close(resolve)); },
  };
}

// A gateway with one token route to that upstream. `extra` goes into the route, `more` into the config, `before` stands above it.
export function tokenGateway(up, { extra = "", more = "", before = "", model = "" } = {}, options = {}) {
  return gateway(`
local sluice = require "sluice"
${before}
return sluice.config {
  api = 1, listen = "127.0.0.1:0", ${more}
  models = { up = { provider = "openai", url = "${up.url}", model = "m", key = sluice.secret "LLM_API_KEY", ${model} } },
  routes = { ask = { path = "/api/stream", front = "token", target = "up", ${extra} } },
}`, { ...options, env: { LLM_API_KEY: "sk-flow-secret-key", ...options.env } });
}
