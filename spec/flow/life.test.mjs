// Gateways under strain: abandoned streams, slow readers, many at once, the end of the process.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ask, chunk, connect, DONE, events, gateway, get, HEAD, LAST, parse, token, tokenGateway, upstream, within } from "./ground.mjs";

const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;
const resident = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
const counters = async (g) => { g.child.kill("SIGUSR1"); return g.log("metrics"); };

// An upstream that answers every request by itself: `answer(request)`.
async function serving(answer) {
  const up = await upstream();
  (async () => { for (let r; (r = await up.next().catch(() => undefined)); ) answer(r); })();
  return up;
}

test("an upstream that never accepts, never answers: the client may leave at any time (row 2)", async () => {
  const up = await upstream();
  const g = await tokenGateway(up);
  const c = get(g.port, "/api/stream?q=hi");
  const r = await up.next();
  c.reset();
  await r.closed;
  assert.equal((await g.log("request")).end, "client_closed");
  await g.stop();
  await up.close();
});

test("abandoned streams leave nothing behind (row 4)", async () => {
  const up = await serving((r) => r.send(HEAD + chunk(token("x"))));
  const g = await tokenGateway(up, { more: "workers = 1," });
  const round = async (n) => {
    const ends = [];
    for (let i = 0; i < n; i++) {
      const c = get(g.port, "/api/stream?q=hi");
      ends.push((i % 2 ? c.until("data:") : Promise.resolve()).then(() => { c.reset(); return c.closed; }));
      if (i % 50 === 49) await Promise.all(ends.splice(0));
    }
    await Promise.all(ends);
    for (;;) if ((await counters(g)).streams_open === 0) break;
  };
  await round(500);
  const fds = descriptors(g.pid), rss = resident(g.pid);
  await round(4500);
  assert.ok(descriptors(g.pid) <= fds + 2, `descriptors: ${fds}, then ${descriptors(g.pid)}`);
  if (!process.env.SLUICE_SANITIZED) assert.ok(resident(g.pid) < rss + 8 * 1024, `resident: ${rss} KiB, then ${resident(g.pid)} KiB`);
  const m = await counters(g);
  assert.equal(m.streams_open, 0);
  assert.equal(m.streams_total, 5000);
  assert.equal(await g.stop(), 0);
  await up.close();
});

test("one client that does not read: its upstream is paused, others go on (row 14)", async () => {
  const up = await upstream();
  const g = await tokenGateway(up, { more: "workers = 1," });
  const slow = get(g.port, "/api/stream?q=slow");
  slow.socket.pause();
  const r = await up.next();
  await r.send(HEAD);
  // Written until the kernel's buffers on the way are full, too: then the mock's own queue grows.
  let sent = 0, last = -1;
  const piece = chunk(token("y".repeat(1000)).repeat(16));
  while (r.socket.writableLength < 1_000_000) { r.socket.write(piece); sent += piece.length; await new Promise(setImmediate); }
  for (let still = 0; still < 20; ) {                                     // nobody takes anything any more
    await new Promise((resolve) => setTimeout(resolve, 20));
    still = r.socket.writableLength === last ? still + 1 : 0;
    last = r.socket.writableLength;
  }
  assert.ok(r.socket.writableLength > 0);
  const m = await counters(g);
  assert.ok(m.upstream_pauses >= 1);
  for (let i = 0; i < 20; i++) {                                          // lock-step beside it
    const c = get(g.port, "/api/stream?q=fast");
    const other = await up.next();
    await other.send(HEAD + chunk(token("one")));
    await c.until('"one"');
    await other.send(chunk(token("two") + DONE) + LAST);
    await c.until("[DONE]");
    c.socket.destroy();
  }
  slow.socket.resume();
  r.socket.write(chunk(DONE) + LAST);
  const answer = parse(await slow.until("[DONE]"));
  const got = events(answer.body).filter((e) => e !== "[DONE]").length;
  assert.equal(got, (sent / piece.length) * 16);
  slow.socket.destroy();
  await g.stop();
  await up.close();
});

test("a client that never reads again is given up (write stall)", async () => {
  const up = await upstream();
  const g = await tokenGateway(up, { more: 'limits = { write_stall = "300ms" },' });
  const c = get(g.port, "/api/stream?q=hi");
  c.socket.pause();
  const r = await up.next();
  await r.send(HEAD);
  const piece = chunk(token("y".repeat(1000)).repeat(64));
  const feed = setInterval(() => { if (r.socket.writableLength < 4_000_000) r.socket.write(piece); }, 1);
  await within(r.closed, "the upstream's end");
  clearInterval(feed);
  assert.equal((await g.log("request")).end, "client_closed");
  c.socket.destroy();
  await g.stop();
  await up.close();
});

test("1,000 streams at once, each with its own words", async () => {
  const up = await serving(async (r) => {
    const q = JSON.parse(r.body).messages[0].content;
    await r.send(HEAD);
    for (let i = 0; i < 10; i++) { await r.send(chunk(token(`${q}-${i} `))); await new Promise(setImmediate); }
    await r.send(chunk(DONE) + LAST);
  });
  const g = await tokenGateway(up);
  const answers = await Promise.all(Array.from({ length: 1000 }, (_, i) => ask(g.port, `/api/stream?q=s${i}`)));
  for (const [i, a] of answers.entries()) {
    const got = events(a.body);
    assert.equal(got.length, 11);
    got.slice(0, 10).forEach((e, k) => assert.equal(JSON.parse(e).token, `s${i}-${k} `));
    assert.equal(got[10], "[DONE]");
  }
  const m = await counters(g);
  assert.equal(m.streams_done, 1000);
  assert.equal(m.streams_open, 0);
  await g.stop();
  await up.close();
});

test("memory is flat over thousands of streams (row 26)", async () => {
  const up = await serving((r) => r.send(HEAD + chunk(token("a") + token("b") + DONE) + LAST));
  const g = await tokenGateway(up, { more: "workers = 1,", before: 'local P = sluice.policy { name = "p" } P.filter = { text = function(text) return text:upper() end }', extra: "policies = { P }" });
  const round = async (n) => { for (let i = 0; i < n; i += 50) await Promise.all(Array.from({ length: 50 }, () => ask(g.port, "/api/stream?q=hi"))); };
  await round(1000);
  const rss = resident(g.pid);
  await round(4000);
  if (!process.env.SLUICE_SANITIZED) assert.ok(resident(g.pid) < rss + 4 * 1024, `resident: ${rss} KiB, then ${resident(g.pid)} KiB`);
  assert.equal((await counters(g)).streams_done, 5000);
  await g.stop();
  await up.close();
});

test("SIGTERM: running streams finish, new ones are refused, exit 0 (row 30)", async () => {
  const up = await upstream();
  const g = await tokenGateway(up);
  const idle = connect(g.port, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  await idle.until("ok\n");
  const c = get(g.port, "/api/stream?q=hi");
  const r = await up.next();
  await r.send(HEAD + chunk(token("one")));
  await c.until('"one"');
  g.child.kill("SIGTERM");
  await g.log("stop");
  await idle.all();                                                       // idle connections close
  const refused = connect(g.port);
  await refused.closed;
  assert.equal(refused.received, "");
  await r.send(chunk(token("two") + DONE) + LAST);
  const answer = parse(await c.all());
  assert.deepEqual(events(answer.body), ['{"token":"one"}', '{"token":"two"}', "[DONE]"]);
  assert.equal(await within(g.exited, "the end"), 0);
  await up.close();
});

test("the drain deadline: one error event each, exit 0", async () => {
  const up = await upstream();
  const g = await tokenGateway(up, { more: 'drain = "200ms",' });
  const clients = [];
  for (let i = 0; i < 20; i++) {
    const c = get(g.port, "/api/stream?q=hi");
    const r = await up.next();
    await r.send(HEAD + chunk(token("one")));
    await c.until('"one"');
    clients.push(c);
  }
  const silent = get(g.port, "/api/stream?q=silent");
  await up.next();
  g.child.kill("SIGTERM");
  for (const c of clients) {
    const got = events(parse(await c.all()).body);
    assert.equal(got.length, 2);
    assert.equal(JSON.parse(got[1]).code, "shutting_down");
  }
  const early = parse(await silent.all());
  assert.equal(early.status, 503);
  assert.equal(JSON.parse(early.body).code, "shutting_down");
  assert.equal(await within(g.exited, "the end"), 0);
  await up.close();
});

test("a second signal ends it at once", async () => {
  const up = await upstream();
  const g = await tokenGateway(up);
  const c = get(g.port, "/api/stream?q=hi");
  await up.next();
  g.child.kill("SIGTERM");
  await g.log("stop");
  g.child.kill("SIGTERM");
  assert.equal(await within(g.exited, "the end"), 130);
  await c.closed;
  await up.close();
});

test("a gateway file with mistakes never starts", async () => {
  await assert.rejects(gateway('return require("sluice").config { api = 1, listen = "127.0.0.1:0", routes = { a = { path = "/a", front = "tokn", target = "m" } } }'), /did you mean "token"/);
});
