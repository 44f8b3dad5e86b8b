// Readers that do not read, lines that do not end, scripts that do not yield: others go on as if nothing were, and what is held is bounded.
// Rows 14, 15 and 32.
import assert from "node:assert/strict";
import fs from "node:fs";
import { delta, event, eventually, play } from "./play.mjs";

const MiB = 1 << 20;
const SHADOW = process.env.SLUICE_SANITIZED === "thread" ? 5 : 1;             // its bookkeeping is several times what it watches

// The kernel's queues of a TCP connection between two local ports, seen from `local`: unacknowledged bytes out, unread bytes in.
function queues(local, remote) {
  const hex = (n) => n.toString(16).toUpperCase().padStart(4, "0");
  const line = fs.readFileSync("/proc/net/tcp", "utf8").split("\n").find((l) => l.includes(`:${hex(local)} `) && l.includes(`:${hex(remote)} `) && l.indexOf(`:${hex(local)} `) < l.indexOf(`:${hex(remote)} `));
  const [tx, rx] = line.trim().split(/\s+/)[4].split(":").map((h) => parseInt(h, 16));
  return { tx, rx };
}

// Sends equal events until nothing moves any more. Returns how many were sent.
async function flood(call, text, most = Infinity) {
  const bytes = event(delta(text));
  const piece = Buffer.from(`${bytes.length.toString(16)}\r\n${bytes}\r\n`);
  let sent = 0, still = 0, last = -1;
  while (still < 10 && sent < most) {
    if (call.socket.writableLength < MiB) {
      for (let i = 0; i < 64; i++, sent++) call.socket.write(piece);
      await new Promise(setImmediate);
      continue;
    }
    await new Promise((r) => setTimeout(r, 20));
    still = call.socket.writableLength === last ? still + 1 : 0;
    last = call.socket.writableLength;
  }
  return { sent, size: piece.length };
}

async function lockStep(up, g, n = 10) {
  const a = await g.ask("fast");
  const call = await up.call();
  await call.stream();
  for (let i = 0; i < n; i++) {
    await call.token(`t${i}`);
    assert.equal(await a.token(), `t${i}`);
  }
  await call.complete();
  assert.equal((await a.all()).tokens.length, n);
}

for (const [name, members] of [["", {}], [" through a filter", { code: 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) return text end }', policies: "P" }]])
  play(`a slow reader${name}: its upstream is paused, at most 256 KiB are held, others go on, then it gets all (row 14)`, async (stage) => {
    const { up, g } = await stage.pair(members);
    const slow = await g.ask("slow", { version: "1.0" });                       // close-delimited: the wire's bytes are the events' bytes
    const call = await up.call();
    await call.stream();
    await call.token("first");
    assert.equal(await slow.token(), "first");
    slow.client.stop();
    const before = { up: call.socket.bytesWritten, down: slow.client.socket.bytesRead };
    const text = "y".repeat(1000);
    const { sent, size } = await flood(call, text);
    assert.ok(call.socket.writableLength > 0, "the upstream's socket stopped draining");
    assert.ok((await g.metrics()).upstream_pauses >= 1);

    const c = slow.client.socket;
    const gatewaySide = queues(g.port, c.localPort), clientSide = queues(c.localPort, g.port);
    const upSide = queues(up.port, call.socket.remotePort), fetchSide = queues(call.socket.remotePort, up.port);
    const read = call.socket.bytesWritten - call.socket.writableLength - before.up - upSide.tx - fetchSide.rx;
    const told = c.bytesRead - before.down + clientSide.rx + gatewaySide.tx;
    const held = (read / size - told / `data: {"token":"${text}"}\n\n`.length) * size;
    assert.ok(read > 0 && told > 0);
    assert.ok(held <= 256 * 1024, `held: ${Math.round(held / 1024)} KiB`);

    const cpu = g.cpu(), begun = process.hrtime.bigint();
    for (let i = 0; i < 10; i++) await lockStep(up, g);
    await new Promise((r) => setTimeout(r, 1000));
    assert.ok(g.cpu() - cpu < Number(process.hrtime.bigint() - begun) / 2, "the gateway spins");

    slow.client.go();
    call.socket.write("0\r\n\r\n".replace(/^/, `${"data: [DONE]\n\n".length.toString(16)}\r\ndata: [DONE]\n\n\r\n`));
    const { tokens, end } = await slow.all();
    assert.equal(end, "[DONE]");
    assert.equal(tokens.length, 1 + sent);
    assert.ok(tokens.every((t, i) => t === (i ? text : "first")));
  });

play("fifty slow readers and one fast: memory is bounded, the fast one is not slowed (row 14)", async (stage) => {
  const { up, g } = await stage.pair();
  await lockStep(up, g);
  const before = g.rss();
  const calls = [];
  for (let i = 0; i < 50; i++) {
    const a = await g.ask(`slow ${i}`);
    a.client.stop();
    const call = await up.call();
    await call.stream();
    calls.push(call);
  }
  await Promise.all(calls.map((call) => flood(call, "z".repeat(1000))));
  await lockStep(up, g, 50);
  const grown = g.rss() - before;
  assert.ok(grown < 50 * 400 * SHADOW, `50 slow readers cost ${grown} KiB`);
  assert.equal((await g.metrics()).streams_open, 50);
});

play("a reader that never reads again is given up after the write stall", async (stage) => {
  const { up, g } = await stage.pair({ top: 'limits = { write_stall = "300ms" },' });
  const a = await g.ask("slow");
  a.client.stop();
  const call = await up.call();
  await call.stream();
  for (let i = 0; !call.over; i++) {
    if (call.socket.writableLength < 4 * MiB) call.token("y".repeat(10_000));
    await new Promise(setImmediate);
  }
  assert.equal((await g.request(0)).end, "client_closed");
});

play("a reader that is slow but reads is not given up", async (stage) => {
  const { up, g } = await stage.pair({ top: 'limits = { write_stall = "2s" },' });
  const a = await g.ask("slow");
  a.client.stop();
  const call = await up.call();
  await call.stream();
  const { sent } = await flood(call, "y".repeat(1000), 20_000);
  call.write("data: [DONE]\n\n");
  for (let i = 0; i < 25; i++) {                          // 600 KB, then a pause: more than the window's silly-window part, far less than all
    const seen = a.client.socket.bytesRead;
    a.client.go();
    await a.client.news.until(() => a.over || a.client.socket.bytesRead - seen > 600_000, "600 KB");
    a.client.stop();
    await new Promise((r) => setTimeout(r, 100));
  }
  a.client.go();
  assert.equal((await a.all()).tokens.length, sent);
});

// Row 15: what never ends, in every place of an event stream.
const endless = {
  "a data line": ["data: ", "x"], "a comment": [": ", "x"], "an event name": ["event: ", "x"], "a line without a colon": ["", "x"], "an event of many short lines": ["", "data: x\n"],
  "a JSON string": ['data: {"choices":[{"delta":{"content":"', "x"],
};
for (const [name, [start, more]] of Object.entries(endless))
  play(`${name} without end: an error, flat memory (row 15)`, async (stage) => {
    const { up, g } = await stage.pair();
    await lockStep(up, g);
    const before = g.rss();
    const a = await g.ask();
    const call = await up.call();
    await call.stream();
    await call.write(start);
    const block = more.repeat(65536 / more.length);
    let handed = 0;
    while (handed < 512 * MiB && (await call.write(block))) handed += block.length;
    assert.equal((await a.json()).code, "upstream_event_too_large");
    await call.gone();
    assert.ok(handed < 64 * MiB, "it was cut early");
    assert.ok(g.peak() - before < 24 * 1024, `the peak grew by ${g.peak() - before} KiB`);
    await lockStep(up, g);
  });

play("a head without end: an error, flat memory", async (stage) => {
  const { up, g } = await stage.pair();
  await lockStep(up, g);
  const before = g.rss();
  const a = await g.ask();
  const call = await up.call();
  await call.raw("HTTP/1.1 200 OK\r\n");
  let handed = 0;
  while (handed < 512 * MiB && (await call.raw(`X-Filler: ${"x".repeat(60_000)}\r\n`))) handed += 60_000;
  await a.end();
  assert.equal(a.status, 502);
  await call.gone();
  assert.ok(g.peak() - before < 24 * 1024, `the peak grew by ${g.peak() - before} KiB`);
});

// Row 32: a script that burns its budget, in each place where scripts run, and others in lock-step beside it.
const burners = {
  "a filter": { code: 'P.filter = { text = function(text) if text == "burn" then while true do end end end }' },
  "a filter behind pcall": { code: 'P.filter = { text = function(text) if text == "burn" then while true do pcall(function() while true do end end) end end end }' },
  "a filter in a coroutine": { code: 'P.filter = { text = function(text) if text == "burn" then coroutine.wrap(function() while true do end end)() end end }' },
  "a filter in a sort": { code: 'P.filter = { text = function(text) if text == "burn" then local t = {} for i = 1, 200 do t[i] = i end table.sort(t, function() while true do end end) end end }' },
  "validate": { code: 'function P.validate(req) if req.query.q == "burn" then while true do end end end', early: true },
  "prompt": { code: 'function P.prompt(req) if req.query.q == "burn" then while true do end end end', early: true },
};
for (const [name, { code, early }] of Object.entries(burners))
  play(`${name} that burns its budget: policy_timeout; others' order and bytes are untouched, the lag is counted (row 32)`, async (stage) => {
    const { up, g } = await stage.pair({ code: `local P = sluice.policy { name = "p" }\n${code}`, policies: "P" });
    const others = [];
    for (let i = 0; i < 20; i++) {
      const a = await g.ask(`n${i}`);
      const call = await up.call();
      await call.stream();
      await call.token("0");
      await a.token();
      others.push({ a, call });
    }
    for (let round = 1; round <= 3; round++) {
      const burning = await g.ask("burn");
      if (!early) {
        const call = await up.call();
        await call.stream();
        await call.write(event(delta("ok")) + event(delta("burn")) + event(delta("never")));
      }
      for (const { call } of others) await call.token(String(round));
      for (const { a } of others) assert.equal(await a.token(), String(round));
      if (early) {
        await burning.head();
        assert.equal(burning.status, 500);
        assert.equal((await burning.json()).code, "policy_timeout");
      } else {
        const all = await burning.all();
        assert.deepEqual(all.tokens, ["ok"]);
        assert.equal(all.code, "policy_timeout");
      }
    }
    for (const { call } of others) await call.complete();
    for (const { a } of others) assert.deepEqual((await a.all()).tokens, ["0", "1", "2", "3"]);
    const m = await g.metrics();
    assert.equal(m.lua_killed, 3);
    assert.ok(m.loop_lag_events >= 1 && m.loop_lag_ms >= 20, JSON.stringify(m));
  });

play("a filter that eats memory: policy_memory, others go on", async (stage) => {
  const { up, g } = await stage.pair({ top: 'memory = "4mb",', code: 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) if text == "eat" then local t = {} for i = 1, 100 do t[i] = ("x"):rep(5000):rep(200) .. i end end end }', policies: "P" });
  await lockStep(up, g);
  const before = g.rss();
  const other = await g.ask("other");
  const otherCall = await up.call();
  await otherCall.stream();
  await otherCall.token("a");
  assert.equal(await other.token(), "a");
  for (let i = 0; i < 3; i++) {
    const a = await g.ask("hungry");
    const call = await up.call();
    await call.stream();
    await call.write(event(delta("ok")) + event(delta("eat")));
    const { tokens, code } = await a.all();
    assert.deepEqual(tokens, ["ok"]);
    if (SHADOW === 1 || code !== "policy_timeout") assert.equal(code, "policy_memory");    // under that sanitizer the processor's budget may be first
    await otherCall.token("b");
    assert.equal(await other.token(), "b");
  }
  await otherCall.complete();
  assert.equal((await other.all()).end, "[DONE]");
  await eventually(() => g.rss() - before < 64 * 1024, "the memory to be given back");
});

play("a hook that waits holds up its own stream only", async (stage) => {
  const { up, g } = await stage.pair({ code: 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) if text == "wait" then sluice.sleep "1s" end end }', policies: "P" });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write(event(delta("wait")) + event(delta("after")));
  await g.turn();
  await lockStep(up, g, 30);
  assert.equal(a.events.length, 0, "it still waits");
  assert.equal(await a.token(), "wait");
  assert.equal(await a.token(), "after");
  await call.complete();
  await a.all();
  assert.ok((await g.request(a)).held_ms > 0);
});
