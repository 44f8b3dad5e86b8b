// The route's contract, on the wire.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, chunk, connect, DONE, events, get, HEAD, LAST, parse, token, tokenGateway, upstream } from "./ground.mjs";

let up, g;
before(async () => { up = await upstream(); g = await tokenGateway(up); });
after(async () => { assert.equal(await g.stop(), 0); assert.ok(!g.raw.includes("sk-flow-secret-key")); await up.close(); });

test("each token reaches the client before the next one is sent (rows 8, 13)", async () => {
  const c = get(g.port, "/api/stream?q=hi");
  const r = await up.next();
  assert.match(r.head, /^POST \/v1\/chat\/completions HTTP\/1\.1\r\n/);
  assert.match(r.head, /\r\nAuthorization: Bearer sk-flow-secret-key\r\n/);
  assert.equal(JSON.parse(r.body).messages[0].content, "hi");
  await r.send(HEAD);
  for (const word of ["one", "two", "three"]) {
    await r.send(chunk(token(word)));
    await c.until(`data: {"token":"${word}"}\n\n`);
  }
  await r.send(chunk(DONE) + LAST);
  await c.until("0\r\n\r\n");
  const answer = parse(c.received);
  assert.equal(answer.status, 200);
  assert.match(answer.headers["content-type"], /^text\/event-stream/);
  assert.equal(answer.headers["cache-control"], "no-cache");
  assert.equal(answer.headers.connection, "keep-alive");
  assert.equal(answer.headers["x-accel-buffering"], "no");
  assert.deepEqual(events(answer.body), ['{"token":"one"}', '{"token":"two"}', '{"token":"three"}', "[DONE]"]);
  const line = await g.log("request", (l) => l.end === "done");
  assert.equal(line.tokens, 3);
  c.socket.destroy();
});

test("HTTP/1.0: close-delimited", async () => {
  const c = get(g.port, "/api/stream?q=hi", { version: "1.0" });
  const r = await up.next();
  await r.send(HEAD + chunk(token("x") + DONE) + LAST);
  const answer = parse(await c.all());
  assert.equal(answer.headers["transfer-encoding"], undefined);
  assert.deepEqual(events(answer.body), ['{"token":"x"}', "[DONE]"]);
});

test("model text cannot forge an event", async () => {
  const hostile = 'a\n\ndata: [DONE]\n\n\r\rdata: {"error":"x"}\u2028\u2029\u0000"\\';
  const answered = ask(g.port, "/api/stream?q=hi");
  const r = await up.next();
  await r.send(HEAD + chunk(token(hostile) + DONE) + LAST);
  const got = events((await answered).body);
  assert.equal(got.length, 2);
  assert.equal(JSON.parse(got[0]).token, hostile);
  assert.equal(got[1], "[DONE]");
});

test("keep-alive and pipelining: two answers, in order", async () => {
  const c = connect(g.port, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /api/stream?q=b HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const r = await up.next();
  await r.send(HEAD + chunk(token("b") + DONE) + LAST);
  const all = await c.all();
  assert.deepEqual([...all.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => m[1]), ["200", "200", "404"]);
});

const endings = [
  ["a clean close without the mark (row 5)", (r) => r.send(LAST), "upstream_truncated"],
  ["a reset (row 5)", async (r, c, last) => { if (last) await c.until(last); r.socket.resetAndDestroy(); }, "upstream_reset"],   // a reset may overtake bytes
  ["a cut inside a data: line (row 6)", (r) => r.send(chunk('data: {"choi') + LAST), "upstream_truncated"],
  ["bad JSON", (r) => r.send(chunk("data: {oops\n\n")), "upstream_bad_json"],
  ["an error object", (r) => r.send(chunk('data: {"error":{"message":"m"}}\n\n')), "upstream_error"],
  ["an endless line (row 15)", (r) => r.send(chunk("x".repeat(1_200_000))), "upstream_event_too_large"],
];
for (const [name, act, code] of endings) {
  for (const before of [0, 1, 3]) {
    test(`${name} after ${before} tokens`, async () => {
      const c = get(g.port, "/api/stream?q=hi", { headers: "Connection: close\r\n" });
      const r = await up.next();
      let head = HEAD;
      for (let i = 0; i < before; i++) head += chunk(token(`t${i}`));
      await r.send(head);
      await act(r, c, before > 0 ? `t${before - 1}` : "");
      const a = parse(await c.all());
      if (before === 0) {
        assert.equal(a.status, 502);
        assert.equal(JSON.parse(a.body).code, code);
      } else {
        const got = events(a.body);
        assert.equal(got.length, before + 1);
        assert.equal(JSON.parse(got[before]).code, code);
        assert.ok(a.complete);
      }
      assert.ok(!a.body.includes("[DONE]"));
    });
  }
}

const statuses = [
  ["HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 502, "upstream_status"],
  ["HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}", 502, "upstream_status"],
  ["HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 429, "upstream_rate_limited"],
  ["HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 502, "upstream_not_stream"],
  ["HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 502, "upstream_status"],
];
for (const [raw, status, code] of statuses) {
  test(`the upstream says ${raw.slice(9, 12)} ${code}`, async () => {
    const answered = ask(g.port, "/api/stream?q=hi");
    await (await up.next()).send(raw);
    const a = await answered;
    assert.equal(a.status, status);
    assert.equal(JSON.parse(a.body).code, code);
    if (status === 429) assert.equal(a.headers["retry-after"], "7");
  });
}

for (const k of [0, 1, 50]) {
  test(`the client resets at token ${k}: the upstream sees it at once (row 1)`, async () => {
    const c = get(g.port, "/api/stream?q=hi");
    const r = await up.next();
    if (k > 0) {
      await r.send(HEAD);
      for (let i = 0; i < k; i++) await r.send(chunk(token(`t${i};`)));
      await c.until(`t${k - 1};`);
    }
    c.reset();
    await r.closed;
    const line = await g.log("request", (l) => l.end === "client_closed");
    assert.equal(line.tokens, k);
  });
}

test("a client that only closes its side has left, too (row 2)", async () => {
  const c = get(g.port, "/api/stream?q=hi");
  const r = await up.next();
  c.socket.end();
  await r.closed;
  assert.equal((await g.log("request", (l) => l.end === "client_closed")).tokens, 0);
});

test("HEAD, OPTIONS, 405, 404, health", async () => {
  const head = await ask(g.port, "/api/stream?q=hi", { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal((await ask(g.port, "/api/stream", { method: "OPTIONS" })).status, 204);
  const post = await ask(g.port, "/api/stream", { method: "POST", headers: "Content-Length: 0\r\n" });
  assert.equal(post.status, 405);
  assert.equal(post.headers.allow, "GET, HEAD, OPTIONS");
  assert.equal((await ask(g.port, "/none")).status, 404);
  assert.equal((await ask(g.port, "/healthz")).status, 200);
  assert.equal((await ask(g.port, "/readyz")).status, 200);
});

test("golden stream, cut at every byte: the same answer (row 7)", async () => {
  const stream = ': hi\r\ndata: {"choices":[{"delta":{"role":"assistant"}}]}\r\n\r\n' + token("é😀") + 'data:{"choices":[]}\n\n' + token("b\n") + DONE;
  const bytes = Buffer.from(stream);
  let want;
  for (let cut = 0; cut < bytes.length; cut++) {
    const answered = ask(g.port, "/api/stream?q=hi");
    const r = await up.next();
    const close = HEAD.replace("Transfer-Encoding: chunked", "Connection: close");
    await r.send(Buffer.concat([Buffer.from(close), bytes.subarray(0, cut)]));
    await new Promise(setImmediate);
    await r.send(bytes.subarray(cut));
    r.socket.end();
    const body = (await answered).body;
    want ??= body;
    assert.equal(body, want, `cut at ${cut}`);
  }
  assert.deepEqual(events(want), ['{"token":"é😀"}', '{"token":"b\\n"}', "[DONE]"]);
});
