// The HTTP side: what is refused, with which status, and that nothing after a refusal is parsed; limits, clocks, the cap; files and health.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { Client, ROOT, eventually, play } from "./play.mjs";

const H = "Host: x\r\n";
const refused = {
  // ---- what llhttp would let through (see src/net/README.md)
  "a header line that begins with a space": [`GET / HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`, 400],
  "a bare CR in a header value": [`GET / HTTP/1.1\r\n${H}X: a\rY: b\r\n\r\n`, 400],
  "a bare LF as a line's end": [`GET / HTTP/1.1\n${H}\r\n`, 400],
  "an empty header name": [`GET / HTTP/1.1\r\n${H}: a\r\n\r\n`, 400],
  "a space before the colon": [`GET / HTTP/1.1\r\n${H}X : a\r\n\r\n`, 400],
  "NUL in a value": [`GET / HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`, 400],
  "no Host": ["GET / HTTP/1.1\r\n\r\n", 400],
  "two Hosts": [`GET / HTTP/1.1\r\n${H}${H}\r\n`, 400],
  "two Content-Lengths that agree": [`POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`, 400],
  "Content-Length with a sign": [`POST / HTTP/1.1\r\n${H}Content-Length: +1\r\n\r\na`, 400],
  "Content-Length that overflows": [`POST / HTTP/1.1\r\n${H}Content-Length: 18446744073709551617\r\n\r\na`, 400],
  "both framings": [`POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
  "gzip, chunked": [`POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n`, 400],
  "chunked twice": [`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
  "an empty Transfer-Encoding": [`POST / HTTP/1.1\r\n${H}Transfer-Encoding:\r\n\r\n`, 400],
  "chunked on 1.0": ["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
  "HTTP/2.0": [`GET / HTTP/2.0\r\n${H}\r\n`, [400, 505]],
  "HTTP/1.7": [`GET / HTTP/1.7\r\n${H}\r\n`, [400, 505]],
  "no version": ["GET /\r\n\r\n", [400, 505]],
  "HTTP/2's preface": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 405, 501, 505]],
  "a TLS hello": [Buffer.from("16030100c8010000c40303", "hex"), null],
  "CONNECT": [`CONNECT a.test:443 HTTP/1.1\r\n${H}\r\n`, [400, 405]],
  "TRACE": [`TRACE / HTTP/1.1\r\n${H}\r\n`, 405],
  "a method nobody knows": [`BREW / HTTP/1.1\r\n${H}\r\n`, [400, 501]],
  "* for GET": [`GET * HTTP/1.1\r\n${H}\r\n`, 400],
  "a fragment": [`GET /a#b HTTP/1.1\r\n${H}\r\n`, 400],
  "a fragment in the query": [`GET /a?b#c HTTP/1.1\r\n${H}\r\n`, 400],
  "an expectation we do not meet": [`GET / HTTP/1.1\r\n${H}Expect: magic\r\n\r\n`, 417],
  // ---- limits
  "a target beyond 16 KiB": [`GET /${"a".repeat(17_000)} HTTP/1.1\r\n${H}\r\n`, 414],
  "101 headers": [`GET / HTTP/1.1\r\n${H}${"X: a\r\n".repeat(100)}\r\n`, 431],
  "a head beyond 64 KiB": [`GET / HTTP/1.1\r\n${H}${`X: ${"a".repeat(8000)}\r\n`.repeat(9)}\r\n`, 431],
};
for (const [name, [bytes, status]] of Object.entries(refused))
  play(`${name} is refused: ${status ?? "the connection ends"}`, async (stage) => {
    const g = await stage.gateway();
    const c = await g.connect();
    const a = c.expect();
    c.send(bytes);
    c.send(`GET /healthz HTTP/1.1\r\n${H}\r\n`);                          // smuggled behind it: must never be answered
    if (status === null) {
      c.finish();
      await a.end();
      assert.ok(a.status === 0 || a.status === 400);
      return;
    }
    const body = await a.json();
    assert.ok([status].flat().includes(a.status), `status ${a.status}`);
    assert.equal(typeof body.error, "string");
    assert.match(body.code, /^[a-z0-9_]+$/);
    assert.equal(a.headers.get("connection"), "close");
    await c.ended();
    assert.equal(c.left.length, 0, "one answer, then nothing");
    const b = await g.get("/healthz");
    assert.equal(b.status, 200);
  });

play("a head may come byte by byte; several requests in one piece are answered in their order", async (stage) => {
  const g = await stage.gateway();
  const c = await g.connect();
  const one = c.expect();
  for (const b of Buffer.from(Client.request("/healthz"))) {
    c.send(Buffer.from([b]));
    await new Promise(setImmediate);
  }
  assert.equal(await one.end(), "complete");
  const many = Array.from({ length: 50 }, (_, i) => c.expect({ method: i % 3 ? "GET" : "HEAD" }));
  c.send(many.map((_, i) => Client.request(i % 2 ? "/healthz" : "/nowhere", { method: i % 3 ? "GET" : "HEAD" })).join(""));
  for (const [i, a] of many.entries()) {
    assert.equal(await a.end(), "complete");
    assert.equal(a.status, i % 2 ? 200 : 404);
  }
});

play("a body that nobody wants is read over, within bounds, and the connection goes on", async (stage) => {
  const g = await stage.gateway();
  const c = await g.connect();
  for (const request of [
    Client.request("/nowhere", { method: "POST", body: "x".repeat(1000) }),
    `POST /nowhere HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  ]) {
    const a = c.expect();
    c.send(request);
    assert.equal((await a.json()).code, "not_found");
    if (a.headers.get("connection") === "close") return;                // allowed: then nothing can be misread
  }
  const after = c.ask("/healthz");
  assert.equal(await after.end(), "complete");
});

play("the target as an absolute URL; Upgrade is only a wish", async (stage) => {
  const g = await stage.gateway();
  const c = await g.connect();
  const a = c.expect();
  c.send(`GET http://x/healthz HTTP/1.1\r\n${H}\r\n`);
  await a.end();
  assert.equal(a.status, 200);
  const b = await g.get("/healthz", { headers: { Connection: "Upgrade", Upgrade: "websocket" } });
  assert.equal(b.status, 200);
});

play("a head that never ends: 408 after its time", async (stage) => {
  const g = await stage.gateway({ top: 'limits = { head_timeout = "300ms", idle_timeout = "300ms" },' });
  const c = await g.connect();
  const a = c.expect();
  c.send("GET / HTTP/1.1\r\nX: ");
  await a.end();
  assert.equal(a.status, 408);
  await c.ended();
  const idle = await g.connect();                       // never said a word: closed without one
  await idle.ended();
  assert.equal(idle.left.length, 0);
  const kept = await g.connect();
  assert.equal(await kept.ask("/healthz").end(), "complete");
  await kept.ended();
});

play("the cap on connections: those beyond wait in the kernel's queue and are served when others leave", async (stage) => {
  const g = await stage.gateway({ top: "limits = { connections = 8 }," });
  const held = [];
  for (let i = 0; i < 8; i++) {
    const c = await g.connect();
    assert.equal(await c.ask("/healthz").end(), "complete");
    held.push(c);
  }
  const more = await g.connect();                       // the kernel completes it, nobody takes it
  const a = more.ask("/healthz");
  await new Promise((r) => setTimeout(r, 200));
  assert.equal(a.rawHead, undefined);
  held[0].close();
  assert.equal(await a.end(), "complete");
  assert.equal(a.status, 200);
});

play("no more descriptors: it lives, and serves when there are some again", async (stage) => {
  const g = await stage.gateway({ top: "limits = { connections = 100000 }," });
  await g.metrics();                                     // what it opens after it listens is open
  const { execFileSync } = await import("node:child_process");
  execFileSync("prlimit", ["--pid", String(g.pid), `--nofile=${g.fds() + 6}:`]);
  const crowd = [];
  for (let i = 0; i < 20; i++) crowd.push(await g.connect().catch(() => null));
  await new Promise((r) => setTimeout(r, 200));
  const before = g.cpu();
  await new Promise((r) => setTimeout(r, 300));
  assert.ok(g.cpu() - before < 200e6, "it does not spin on what it cannot accept");
  for (const c of crowd) c?.close();
  await eventually(async () => {
    const c = await g.connect();
    const a = c.ask("/healthz");
    await a.end();
    c.close();
    return a.status === 200;
  }, "an answer");
});

// A directory with one large file, served.
async function serving(stage, top = "") {
  const dir = fs.mkdtempSync(path.join(ROOT, "build/files-"));
  stage.onEnd(() => fs.rmSync(dir, { recursive: true }));
  fs.writeFileSync(`${dir}/big.bin`, Buffer.alloc(12 << 20, 7));
  return stage.gateway({ top, routes: `page = { path = "/", files = "${dir}" },` });
}

play("a client that asks for much and reads nothing: one answer is made, the others wait", async (stage) => {
  const g = await serving(stage);
  await (await g.get("/big.bin")).end();
  const before = g.rss();
  const c = await g.connect();
  c.stop();
  c.send(Client.request("/big.bin").repeat(60));
  await g.turn();
  await new Promise((r) => setTimeout(r, 300));
  await g.turn();
  assert.ok(g.rss() - before < 120 * 1024, `resident: ${before} KiB, then ${g.rss()} KiB`);
});

play("a half-closed client and a slow one get their whole file; the idle clock is not theirs", async (stage) => {
  const g = await serving(stage, 'limits = { idle_timeout = "300ms" },');
  const half = await g.connect();
  half.stop();
  const a = half.ask("/big.bin");
  await g.turn();
  half.finish();
  await new Promise((r) => setTimeout(r, 200));
  half.go();
  assert.equal(await a.end(), "complete");
  assert.equal(a.body.length, 12 << 20);
  const slow = await g.connect();
  const b = slow.ask("/big.bin");
  for (let i = 0; i < 12 && !b.over; i++) {
    slow.go();
    const seen = slow.socket.bytesRead;
    await slow.news.until(() => b.over || slow.socket.bytesRead - seen > 400_000, "more of the file");
    slow.stop();
    await new Promise((r) => setTimeout(r, 100));
  }
  slow.go();
  assert.equal(await b.end(), "complete");
  assert.equal(b.body.length, 12 << 20);
});

play("a refusal behind a HEAD request has its body", async (stage) => {
  const g = await stage.gateway();
  const c = await g.connect();
  assert.equal(await c.ask("/healthz", { method: "HEAD" }).end(), "complete");
  const a = c.expect();
  c.send("BAD\r\n\r\n");
  assert.equal((await a.json()).code, "bad_request");
});

play("a client that leaves behind a heap of pipelined bytes is still noticed", async (stage) => {
  const { up, g } = await stage.pair();
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("x");
  assert.equal(await a.token(), "x");
  a.client.send("G".repeat(200_000));
  await call.gone();
});

play("health: /healthz, /readyz; methods: 405 with Allow; OPTIONS", async (stage) => {
  const g = await stage.gateway();
  for (const p of ["/healthz", "/readyz"]) {
    assert.equal((await g.get(p)).status, 200);
    const head = await g.get(p, { method: "HEAD" });
    assert.equal(await head.end(), "complete");
    assert.equal(head.body.length, 0);
    assert.equal((await g.get(p, { method: "POST" })).status, 405);
  }
  const post = await g.get("/api/stream", { method: "POST" });
  assert.equal(post.status, 405);
  assert.equal(post.headers.get("allow"), "GET, HEAD, OPTIONS");
  assert.equal((await g.get("/api/stream", { method: "OPTIONS" })).status, 204);
});

play("files: types, ETag, 304, HEAD, and no way out of the directory", async (stage) => {
  const g = await stage.gateway({ routes: 'page = { path = "/", files = "pub" },' }, { files: {} }).catch((e) => e);
  assert.match(String(g.message ?? g), /pub/, "a directory that is not there is told at the start");
  const dir = fs.mkdtempSync(path.join(ROOT, "build/files-"));
  stage.onEnd(() => fs.rmSync(dir, { recursive: true }));
  fs.mkdirSync(`${dir}/pub/sub`, { recursive: true });
  fs.writeFileSync(`${dir}/secret.txt`, "out of bounds");
  fs.writeFileSync(`${dir}/pub/index.html`, "<p>front</p>");
  fs.writeFileSync(`${dir}/pub/sub/index.html`, "<p>sub</p>");
  fs.writeFileSync(`${dir}/pub/a.css`, "a{}");
  fs.writeFileSync(`${dir}/pub/a b.txt`, "blank");
  fs.writeFileSync(`${dir}/pub/big.bin`, Buffer.alloc(5 << 20, 7));
  fs.symlinkSync("../secret.txt", `${dir}/pub/link.txt`);
  fs.symlinkSync("/etc", `${dir}/pub/etc`);
  const s = await stage.gateway({ routes: `page = { path = "/", files = "${dir}/pub" },` });
  for (const [target, status, type] of [
    ["/", 200, "text/html"], ["/index.html", 200, "text/html"], ["/a.css", 200, "text/css"], ["/a%20b.txt", 200, "text/plain"], ["/big.bin", 200, "application/octet-stream"],
    ["/?x=1", 200, "text/html"],
    ["/../secret.txt", [400, 404]], ["/%2e%2e/secret.txt", [400, 404]], ["/..%2fsecret.txt", [400, 404]], ["/sub/%2e%2e/%2e%2e/secret.txt", [400, 404]], ["/..%5csecret.txt", [400, 404]],
    ["/%252e%252e/secret.txt", 404], ["/link.txt", [403, 404]], ["/etc/passwd", [403, 404]], ["/a.css%00.html", [400, 404]], ["/a%zz", 400], ["/nothing", 404], ["//etc/passwd", [400, 404]],
  ]) {
    const c = await s.connect();
    const a = c.expect();
    c.send(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await a.end();
    assert.ok([status].flat().includes(a.status), `${target}: ${a.status}`);
    assert.ok(!a.body.includes("out of bounds") && !a.body.includes("root:"), target);
    if (type) assert.ok(a.headers.get("content-type").startsWith(type), `${target}: ${a.headers.get("content-type")}`);
    c.close();
  }
  for (const [from, to] of [["/sub", "/sub/"], ["/sub?lang=de&x=1", "/sub/?lang=de&x=1"]]) {
    const moved = await s.get(from);
    assert.deepEqual([moved.status, moved.headers.get("location")], [301, to]);
  }
  const a = await s.get("/a.css");
  await a.end();
  const etag = a.headers.get("etag");
  assert.match(etag, /^(W\/)?"[^"]+"$/);
  const again = await s.get("/a.css", { headers: { "If-None-Match": etag } });
  assert.equal(again.status, 304);
  const head = await s.get("/big.bin", { method: "HEAD" });
  assert.equal(head.headers.get("content-length"), String(5 << 20));
  const big = await s.get("/big.bin");
  await big.end();
  assert.equal(big.body.length, 5 << 20);
  assert.equal((await s.get("/a.css", { method: "POST" })).status, 405);
});

play("IPv6: [::1] alone, and :: for both families", async (stage) => {
  const { spawnSync } = await import("node:child_process");
  assert.ok(spawnSync(process.execPath, ["-e", 'require("net").createServer().listen(0, "::1", function () { this.close() }).on("error", () => process.exit(1))']).status === 0, "this machine has no IPv6 loopback");
  const g = await stage.gateway({ top: "", listen: "[::1]:0" });
  const a = await g.get("/healthz", { host: "::1" });
  assert.equal(a.status, 200);
  const both = await stage.gateway({ listen: "[::]:0" });
  for (const host of ["::1", "127.0.0.1"]) {
    const c = await Client.connect(both.port, { host });
    assert.equal(await c.ask("/healthz").end(), "complete");
    c.close();
  }
});
