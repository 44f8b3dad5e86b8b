// A client made of a raw socket: it sends what it is told to, byte by byte if need be, and keeps what came in the order it came. The reader is
// strict: a wrong chunk size, a byte after the end, an event that is no valid JSON in valid UTF-8 fails the play.
import assert from "node:assert/strict";
import net from "node:net";
import { News } from "./news.mjs";

// What may stand between events.
const COMMENTS = [": keep-alive", ": continued"];

export class Client {
  news = new News();
  answers = [];                        // in the order they were asked for
  left = Buffer.alloc(0);              // came, but belongs to no answer yet
  over = null;                         // "fin" or "reset"
  #secret;

  static async connect(port, { from, host = "127.0.0.1", secret } = {}) {
    const c = new Client();
    c.#secret = secret;
    c.socket = net.connect({ port, host, localAddress: from, noDelay: true, allowHalfOpen: true });
    c.socket.on("data", (bytes) => c.#came(bytes));
    c.socket.on("end", () => c.#ended("fin"));
    c.socket.on("error", (e) => c.#ended("reset", e));
    c.socket.on("close", () => c.#ended("fin"));
    await c.news.until(() => c.socket.readyState === "open" || c.over || (c.socket.once("connect", () => c.news.tell()), false), "a connection to the gateway");
    if (c.error) throw c.error;
    return c;
  }

  #came(bytes) {
    if (this.#secret && bytes.includes(this.#secret)) this.leaked = true;
    this.left = this.left.length ? Buffer.concat([this.left, bytes]) : bytes;
    this.#feed();
    this.news.tell();
  }

  #feed() {
    for (const a of this.answers) {
      if (a.over) continue;
      this.left = a.take(this.left);
      if (!a.over) return;
    }
  }

  #ended(how, error) {
    if (this.over) return;
    this.over = how;
    this.error = error;
    for (const a of this.answers) a.closed(how);
    this.news.tell();
  }

  send(bytes) {
    this.socket.write(bytes);
    return this;
  }

  // The request as bytes; `headers` as pairs or an object.
  static request(path, { method = "GET", version = "1.1", headers = {}, body = "" } = {}) {
    const list = Array.isArray(headers) ? headers : Object.entries(headers);
    const host = list.some(([n]) => n.toLowerCase() === "host") ? [] : [["Host", "gateway.test"]];
    const length = body.length ? [["Content-Length", Buffer.byteLength(body)]] : [];
    return `${method} ${path} HTTP/${version}\r\n${[...host, ...list, ...length].map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n${body}`;
  }

  // Sends a request and returns its answer, which fills as bytes come.
  ask(path, options = {}) {
    this.send(Client.request(path, options));
    return this.expect(options);
  }

  // An answer to something that was sent by hand.
  expect({ method = "GET" } = {}) {
    const a = new Answer(this, method === "HEAD");
    this.answers.push(a);
    this.#feed();
    if (this.over) a.closed(this.over);
    return a;
  }

  // Leaving and not reading.
  reset() {
    this.socket.resetAndDestroy();
    this.over = "left";
  }
  finish() { this.socket.end(); }      // FIN: no more requests, still listening
  close() {
    this.socket.destroy();
    this.over ??= "left";
  }
  stop() { this.socket.pause(); }
  go() { this.socket.resume(); }
  ended() { return this.news.until(() => this.over, "the gateway to close the connection"); }
}

const text = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

export class Answer {
  status = 0;
  headers = new Map();                 // lower-case name -> value (", " between several)
  over = null;                         // "complete", "cut" (FIN before the end) or "reset"
  arrivals = [];                       // the decoded body as it came: one Buffer a read
  events = [];                         // whole SSE blocks, without their empty line
  #state = "head";
  #need = 0;
  #pending = Buffer.alloc(0);          // body bytes that are no whole event yet
  #at = 0;                             // events handed out by event()

  constructor(client, headOnly) {
    this.client = client;
    this.headOnly = headOnly;
  }

  // ---- bytes in; returns what is not ours

  take(bytes) {
    for (;;) {
      if (this.over) return bytes;
      const rest = this[`_${this.#state}`](bytes);
      if (rest === null) return bytes;
      bytes = rest;
    }
  }

  _head(bytes) {
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) return null;
    this.rawHead = bytes.toString("latin1", 0, end + 4);
    const [first, ...lines] = this.rawHead.slice(0, -4).split("\r\n");
    const m = /^HTTP\/1\.1 (\d{3}) ([\x20-\x7e]*)$/.exec(first);
    assert.ok(m, `no status line: ${JSON.stringify(first)}`);
    this.headers.clear();
    for (const line of lines) {
      const h = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x20-\x7e\t]*)$/.exec(line);
      assert.ok(h, `no header line: ${JSON.stringify(line)}`);
      const name = h[1].toLowerCase();
      this.headers.set(name, this.headers.has(name) ? `${this.headers.get(name)}, ${h[2]}` : h[2]);
    }
    this.status = Number(m[1]);
    const rest = bytes.subarray(end + 4);
    if (this.status < 200) {
      (this.interim ??= []).push(this.status);
      return rest;
    }
    this.chunked = this.headers.get("transfer-encoding") === "chunked";
    assert.ok(!(this.chunked && this.headers.has("content-length")), "chunked and a length");
    if (this.headOnly || this.status === 204 || this.status === 304) this.over = "complete";
    else if (this.chunked) this.#state = "size";
    else if (this.headers.has("content-length")) {
      this.#need = Number(this.headers.get("content-length"));
      this.#state = "sized";
      if (this.#need === 0) this.over = "complete";
    } else this.#state = "rest";
    return rest;
  }

  _size(bytes) {
    const end = bytes.indexOf("\r\n");
    if (end < 0) return null;
    const line = bytes.toString("latin1", 0, end);
    assert.match(line, /^[0-9a-fA-F]{1,8}$/, "a chunk size");
    this.#need = parseInt(line, 16);
    this.#state = this.#need ? "chunk" : "last";
    return bytes.subarray(end + 2);
  }

  _chunk(bytes) {
    if (bytes.length === 0) return null;
    const n = Math.min(bytes.length, this.#need);
    this.#body(bytes.subarray(0, n));
    this.#need -= n;
    if (this.#need === 0) this.#state = "after";
    return bytes.subarray(n);
  }

  _after(bytes) {
    if (bytes.length < 2) return null;
    assert.equal(bytes.toString("latin1", 0, 2), "\r\n", "a chunk's end");
    this.#state = "size";
    return bytes.subarray(2);
  }

  _last(bytes) {
    if (bytes.length < 2) return null;
    assert.equal(bytes.toString("latin1", 0, 2), "\r\n", "the last chunk's end");
    this.over = "complete";
    return bytes.subarray(2);
  }

  _sized(bytes) {
    if (bytes.length === 0) return null;
    const n = Math.min(bytes.length, this.#need);
    this.#body(bytes.subarray(0, n));
    this.#need -= n;
    if (this.#need === 0) this.over = "complete";
    return bytes.subarray(n);
  }

  _rest(bytes) {
    if (bytes.length === 0) return null;
    this.#body(bytes);
    return bytes.subarray(bytes.length);
  }

  #body(bytes) {
    this.arrivals.push(Buffer.from(bytes));
    if (!(this.headers.get("content-type") ?? "").startsWith("text/event-stream")) return;
    let from = Math.max(0, this.#pending.length - 1);
    this.#pending = Buffer.concat([this.#pending, bytes]);
    for (let end; (end = this.#pending.indexOf("\n\n", from)) >= 0; from = 0) {
      this.events.push(text(this.#pending.subarray(0, end)));
      this.#pending = this.#pending.subarray(end + 2);
    }
  }

  closed(how) {
    this.over ??= how === "fin" && this.#state === "rest" ? "complete" : how === "fin" ? "cut" : how;
  }

  // ---- for plays

  async head() {
    await this.client.news.until(() => (this.rawHead && this.status >= 200) || this.over, "the answer's head");
    assert.ok(this.status >= 200, `no head came: the connection was ${this.over}`);
    return this;
  }

  async end() {
    await this.client.news.until(() => this.over, () => `the answer's end; it has ${this.events.length} events, the last ${JSON.stringify(this.events.at(-1))}`);
    return this.over;
  }

  // The next event's text, or null at the end.
  async event() {
    await this.client.news.until(() => this.events.length > this.#at || this.over, () => `event ${this.#at}`);
    return this.#at < this.events.length ? this.events[this.#at++] : null;
  }

  // The next event must be a token: its text. Comments before it are skipped.
  async token() {
    for (;;) {
      const e = await this.event();
      if (COMMENTS.includes(e)) continue;
      assert.ok(e?.startsWith('data: {"token":'), `a token was due, came ${JSON.stringify(e)}`);
      return JSON.parse(e.slice(6)).token;
    }
  }

  get body() { return Buffer.concat(this.arrivals); }

  async json() {
    await this.end();
    assert.equal(this.over, "complete");
    assert.match(this.headers.get("content-type"), /^application\/json/);
    return JSON.parse(text(this.body));
  }

  // The whole stream, held against the contract: tokens, then exactly one terminal event, then the response's proper end.
  async all() {
    await this.head();
    assert.equal(this.status, 200);
    await this.end();
    assert.equal(this.over, "complete", "the response has its proper end");
    assert.equal(this.#pending.length, 0, `bytes after the last event: ${JSON.stringify(this.#pending.toString())}`);
    const tokens = [];
    let comments = 0, end = null;
    for (const e of this.events) {
      assert.equal(end, null, `an event after the terminal one: ${JSON.stringify(e)}`);
      if (COMMENTS.includes(e)) {
        comments++;
        continue;
      }
      assert.match(e, /^data: [^\r\n]*$/, `an event is one data line: ${JSON.stringify(e)}`);
      if (e === "data: [DONE]") {
        end = "[DONE]";
        continue;
      }
      const value = JSON.parse(e.slice(6));
      if ("token" in value) {
        assert.deepEqual(Object.keys(value), ["token"]);
        assert.equal(typeof value.token, "string");
        assert.ok(value.token.length > 0, "an empty token");
        tokens.push(value.token);
      } else {
        assert.deepEqual(Object.keys(value).sort(), ["code", "error"]);
        end = value;
      }
    }
    assert.ok(end, "a stream ends with [DONE] or an error event");
    return { tokens, text: tokens.join(""), end, code: end.code ?? null, comments };
  }
}
