// A model service that does as it is told: a raw TCP (or TLS) server which shows every request it got and sends exactly the bytes a play wants,
// when the play wants them. It can trickle, split, stall, reset, lie and never end.
import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import { News } from "./news.mjs";

export class Upstream {
  news = new News();
  connections = [];
  calls = [];                          // whole requests, in order
  open = 0;                            // connections open now
  #taken = 0;
  #serve = null;

  static async listen({ secure, port = 0, host = "127.0.0.1", base = "/v1" } = {}) {
    const up = new Upstream();
    const born = (socket) => up.connections.push(new Connection(up, socket));
    up.server = secure ? tls.createServer({ ...secure, allowHalfOpen: true }, born) : net.createServer({ allowHalfOpen: true, noDelay: true }, born);
    up.raw = new Set();                // TCP sockets, for a handshake that never ends too
    up.server.on("connection", (s) => {
      up.raw.add(s);
      up.open++;
      s.on("error", () => {});
      s.on("close", () => {
        up.raw.delete(s);
        up.open--;
        up.news.tell();
      });
      up.news.tell();
    });
    up.server.on("tlsClientError", () => {});
    await new Promise((resolve, reject) => up.server.once("error", reject).listen(port, host, 4096, resolve));
    up.port = up.server.address().port;
    up.url = `${secure ? "https" : "http"}://${secure?.name ?? host}:${up.port}${base}`;
    return up;
  }

  // The next request that no one has taken yet.
  call() {
    const i = this.#taken++;
    return this.news.until(() => this.calls[i], `request ${i + 1} at the upstream`);
  }

  // Every request is served by `fn(call)` from now on.
  serve(fn) {
    this.#serve = fn;
    return this;
  }

  came(call) {
    this.calls.push(call);
    this.news.tell();
    if (this.#serve)
      Promise.resolve(this.#serve(call, this.calls.length - 1)).catch((e) => {
        this.failed ??= e;
      });
  }

  quiet() { return this.news.until(() => this.open === 0, () => `the gateway to close its ${this.open} upstream connections`); }

  close() {
    this.server.close();
    for (const s of this.raw) s.destroy();
  }
}

class Connection {
  over = null;                         // how the gateway ended it: "fin" or "reset"
  bytes = Buffer.alloc(0);
  calls = [];

  constructor(up, socket) {
    this.up = up;
    this.socket = socket;
    socket.on("data", (b) => this.#came(b));
    socket.on("end", () => this.#ended("fin"));
    socket.on("error", () => this.#ended("reset"));
    socket.on("close", () => this.#ended("fin"));
  }

  #ended(how) {
    if (this.over) return;
    this.over = how;
    if (how === "fin" && !this.socket.destroyed) this.socket.end();      // what we sent last still leaves
    this.up.news.tell();
  }

  #came(bytes) {
    this.bytes = Buffer.concat([this.bytes, bytes]);
    for (;;) {
      const end = this.bytes.indexOf("\r\n\r\n");
      if (end < 0) return this.up.news.tell();
      const head = this.bytes.toString("latin1", 0, end);
      const length = Number(/^content-length: *(\d+)$/im.exec(head)?.[1] ?? 0);
      if (this.bytes.length < end + 4 + length) return;
      const body = this.bytes.subarray(end + 4, end + 4 + length);
      this.bytes = this.bytes.subarray(end + 4 + length);
      const call = new Call(this, head, body);
      this.calls.push(call);
      this.up.came(call);
    }
  }
}

export class Call {
  #framing = null;

  constructor(connection, head, body) {
    this.connection = connection;
    this.socket = connection.socket;
    const [first, ...lines] = head.split("\r\n");
    [this.method, this.path, this.version] = first.split(" ");
    this.headers = lines.map((l) => [l.slice(0, l.indexOf(":")).toLowerCase(), l.slice(l.indexOf(":") + 1).trim()]);
    this.body = body;
  }

  header(name) { return this.headers.find(([n]) => n === name)?.[1]; }
  get json() { return JSON.parse(this.body.toString("utf8")); }
  get question() { return this.json.messages.at(-1).content; }

  // ---- answers

  // Exactly these bytes; resolves to true when the kernel took them, false when the connection is gone.
  raw(bytes) {
    return new Promise((resolve) => {
      if (this.socket.destroyed || this.socket.writableEnded) return resolve(false);
      this.socket.write(bytes, (e) => resolve(!e));
    });
  }

  head(status = 200, headers = {}, framing = "chunked") {
    const frame = framing === "chunked" ? { "Transfer-Encoding": "chunked" } : framing === "close" ? { Connection: "close" } : framing === "none" ? {} : { "Content-Length": framing };
    this.#framing = framing;
    const lines = Object.entries({ ...headers, ...frame }).map(([n, v]) => `${n}: ${v}\r\n`);
    return this.raw(`HTTP/1.1 ${status} Status\r\n${lines.join("")}\r\n`);
  }

  // A streamed answer begins.
  stream(framing = "chunked", headers = {}) { return this.head(200, { "Content-Type": "text/event-stream; charset=utf-8", ...headers }, framing); }

  // Bytes of the body: each write is one chunk when chunked.
  write(bytes) {
    const b = Buffer.from(bytes);
    if (b.length === 0) return Promise.resolve(true);
    if (this.#framing !== "chunked") return this.raw(b);
    return this.raw(Buffer.concat([Buffer.from(`${b.length.toString(16)}\r\n`), b, Buffer.from("\r\n")]));
  }

  event(value) { return this.write(event(value)); }
  token(t) { return this.event(delta(t)); }
  finish(reason = "stop") { return this.event(finish(reason)); }
  done() { return this.write("data: [DONE]\n\n"); }

  // The body's own end, where its framing has one; else the connection's.
  end() {
    if (this.#framing === "chunked") return this.raw("0\r\n\r\n");
    if (this.#framing === "close" || this.#framing === "none") this.socket.end();
    return Promise.resolve(true);
  }

  // [DONE] and the end.
  async complete() {
    await this.done();
    await this.end();
  }

  // A whole stream of tokens.
  async tell(tokens) {
    await this.stream();
    for (const t of tokens) await this.token(t);
    await this.finish();
    await this.complete();
  }

  // A whole answer that is no stream.
  async reply(status, headers, body) {
    await this.head(status, headers, Buffer.byteLength(body));
    await this.raw(body);
  }

  shut() { this.socket.end(); }        // FIN
  reset() { (this.connection.socket._parent ?? this.socket).resetAndDestroy(); }

  get over() { return this.connection.over; }
  // How the gateway ended the connection.
  gone() { return this.connection.up.news.until(() => this.connection.over, "the gateway to drop its upstream request"); }
}

// ---- events as OpenAI's chat completions send them

const around = (choices, more) => ({ id: "chatcmpl-play", object: "chat.completion.chunk", created: 1700000000, model: "play-1", choices, ...more });

export const delta = (text) => around([{ index: 0, delta: { content: text }, finish_reason: null }]);
export const finish = (reason = "stop") => around([{ index: 0, delta: {}, finish_reason: reason }]);
export const event = (value) => `data: ${JSON.stringify(value)}\n\n`;

// ---- an address where connecting never ends

// A listener in a process that never accepts; its short queue is filled, so the next connection waits for ever.
export async function deaf(stage) {
  const { spawn } = await import("node:child_process");
  const code = `const s = require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
    require("fs").writeSync(1, s.address().port + "\\n");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  stage.onEnd(() => child.kill("SIGKILL"));
  const port = Number(await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve);
    child.once("error", reject);
    child.once("exit", () => reject(new Error("the deaf listener ended")));
  }));
  const fillers = [];
  for (let connected = true; connected;) {
    assert.ok(fillers.length < 64, "the deaf listener's queue does not fill");
    const s = net.connect({ port, host: "127.0.0.1" });
    s.on("error", () => {});
    fillers.push(s);
    stage.onEnd(() => s.destroy());
    connected = await Promise.race([new Promise((r) => s.once("connect", () => r(true))), new Promise((r) => setTimeout(() => r(false), 300))]);
  }
  return `http://127.0.0.1:${port}/v1`;
}
