// Every way in which an answer can end. Before the head was sent: a status and a JSON body. After it: exactly one error event, never [DONE], nothing after
// it. Answer.all() holds every stream to that. Rows 5, 6 and 25 of the failures that others' users reported.
import assert from "node:assert/strict";
import zlib from "node:zlib";
import { KEY, deaf, delta, event, play } from "./play.mjs";

// What `act` makes of a fresh request's answer, before any byte and after k tokens. `kept`: the upstream ended its answer properly, so its connection may serve on.
async function ending(up, g, act, { status, code, after = [0, 1, 3], kept = false }) {
  for (const k of after) {
    const a = await g.ask();
    const call = await up.call();
    if (k > 0) {
      await call.stream();
      for (let i = 0; i < k; i++) {
        await call.token(`t${i}`);
        assert.equal(await a.token(), `t${i}`);
      }
    }
    await act(call, k);
    await a.head();
    if (k === 0) {
      assert.equal(a.status, status, a.rawHead);
      const body = await a.json();
      assert.deepEqual(Object.keys(body).sort(), ["code", "error"]);
      assert.equal(body.code, code);
      assert.match(body.error, /^[A-Z].*\.$/);
    } else {
      const all = await a.all();
      assert.equal(all.tokens.length, k);
      assert.equal(all.end.code, code);
    }
    const line = await g.request(a);
    assert.equal(line.end, code);
    assert.equal(line.status, k === 0 ? status : 200);
    assert.equal(line.tokens, k);
    if (!kept) await call.gone();
    a.client.close();
  }
  const m = await g.metrics();
  assert.equal(m.streams_failed, after.filter((k) => k === 0).length);
  assert.equal(m.streams_truncated, after.filter((k) => k > 0).length);
  assert.equal(m.streams_done, 0);
  assert.equal(m.streams_open, 0);
}

const begin = (call, k) => (k === 0 ? call.stream() : true);

const ends = {
  "a reset": { code: "upstream_reset", act: (call) => call.reset() },
  "a reset after the head": { code: "upstream_reset", act: async (call, k) => (await begin(call, k), call.reset()) },
  "a connection cut where chunks promised more": { code: "upstream_reset", act: async (call, k) => (await begin(call, k), call.shut()) },
  "a clean end without the mark": { code: "upstream_truncated", kept: true, act: async (call, k) => (await begin(call, k), call.end()) },
  "a clean end inside a data: line": { code: "upstream_truncated", kept: true, act: async (call, k) => (await begin(call, k), await call.write('data: {"choi'), call.end()) },
  "a clean end after half an event": { code: "upstream_truncated", kept: true, act: async (call, k) => (await begin(call, k), await call.write(event(delta("x")).slice(0, -1)), call.end()) },
  "a finish reason, then half an event": {
    code: "upstream_truncated", kept: true,
    act: async (call, k) => (await begin(call, k), await call.finish(), await call.write("data: {"), call.end()),
  },
  "bad JSON": { code: "upstream_bad_json", act: async (call, k) => (await begin(call, k), call.write("data: {oops\n\n")) },
  "JSON with a tail": { code: "upstream_bad_json", act: async (call, k) => (await begin(call, k), call.write('data: {"choices":[]}{}\n\n')) },
  "an error object": { code: "upstream_error", act: async (call, k) => (await begin(call, k), call.event({ error: { message: "overloaded", type: "server_error" } })) },
  "an error that is only text": { code: "upstream_error", act: async (call, k) => (await begin(call, k), call.event({ error: "overloaded" })) },
  "an event beyond 1 MiB (row 15)": { code: "upstream_event_too_large", act: async (call, k) => (await begin(call, k), call.write(`data: ${"x".repeat(1_100_000)}`)) },
};
for (const [name, { act, code, kept }] of Object.entries(ends))
  play(`${name}: ${code}`, async (stage) => {
    const { up, g } = await stage.pair();
    await ending(up, g, act, { status: 502, code, kept });
  });

// Row 25: three clocks, each alone.
for (const [clock, code, after] of [["first_token", "first_token_timeout", [0]], ["gap", "gap_timeout", [1, 3]], ["total", "total_timeout", [0, 1, 3]]])
  play(`the ${clock} clock alone (row 25): ${code}`, async (stage) => {
    const { up, g } = await stage.pair({ route: `timeout = { ${clock} = "150ms" }` });
    await ending(up, g, () => {}, { status: 504, code, after });
  });

play("the first-token clock is not fooled by empty deltas and comments", async (stage) => {
  const { up, g } = await stage.pair({ route: 'timeout = { first_token = "300ms", gap = "100ms" }' });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  for (let i = 0; !call.over && i < 1000; i++) {
    await call.write(": hello\n\n");
    await call.event({ choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
    await new Promise((r) => setTimeout(r, 10));
  }
  assert.equal((await a.json()).code, "first_token_timeout");
});

play("the total clock ends a stream that never pauses", async (stage) => {
  const { up, g } = await stage.pair({ route: 'timeout = { total = "300ms", gap = "200ms" }' });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  while (!call.over) {
    await call.token("x");
    await new Promise((r) => setTimeout(r, 5));
  }
  const { code, tokens } = await a.all();
  assert.equal(code, "total_timeout");
  assert.ok(tokens.length > 0);
});

play("a healthy stream outlives its gap clock many times over (row 25)", async (stage) => {
  const { up, g } = await stage.pair({ route: 'timeout = { first_token = "400ms", gap = "400ms" }' });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  for (let i = 0; i < 12; i++) {
    await call.token(`t${i}`);
    assert.equal(await a.token(), `t${i}`);
    await new Promise((r) => setTimeout(r, 60));
  }
  await call.complete();
  assert.equal((await a.all()).end, "[DONE]");
});

play("a finish reason and a clean close is a proper end", async (stage) => {
  const { up, g } = await stage.pair();
  for (const framing of ["chunked", "close", 4000]) {
    const a = await g.ask();
    const call = await up.call();
    const events = event(delta("x")) + event({ choices: [{ index: 0, delta: {}, finish_reason: "length" }] });
    await call.stream(framing);
    await call.write(framing === 4000 ? events + ":".padEnd(3998 - Buffer.byteLength(events), " ") + "\n\n" : events);
    await call.end();
    assert.deepEqual(await a.all(), { tokens: ["x"], text: "x", end: "[DONE]", code: null, comments: 0 });
    assert.equal((await g.request(a)).end, "done");
  }
});

play("[DONE] is the end even when the upstream never closes; what comes after it is not read", async (stage) => {
  const { up, g } = await stage.pair();
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write(event(delta("x")) + "data: [DONE]\n\n" + event(delta("late")) + "data: {oops\n\n");
  assert.deepEqual((await a.all()).tokens, ["x"]);
  const later = await g.ask();
  const second = await up.call();
  assert.notEqual(second.connection, call.connection, "an unfinished answer's connection is not used again");
  await second.tell(["y"]);
  assert.deepEqual((await later.all()).tokens, ["y"]);
  await call.gone();
});

play("only the mark is the mark", async (stage) => {
  const { up, g } = await stage.pair();
  for (const almost of ["data: [DONE] \n\n", "data: [done]\n\n", "event: [DONE]\ndata: {}x\n\n", "data: [DONE]\ndata: [DONE]\n\n"]) {
    const a = await g.ask();
    const call = await up.call();
    await call.stream();
    await call.token("x");
    await call.write(almost);
    assert.equal((await a.all()).code, "upstream_bad_json", almost);
  }
});

// ---- before the first byte: what the network and HTTP can do

const before = async (stage, up, g, status, code, act = () => {}) => {
  const a = await g.ask();
  if (up) await act(await up.call());
  await a.head();
  assert.equal(a.status, status, a.rawHead);
  const body = await a.json();
  assert.deepEqual(Object.keys(body).sort(), ["code", "error"]);
  assert.equal(body.code, code);
  assert.equal(a.headers.get("connection"), "keep-alive", "the client did nothing wrong");
  assert.equal((await g.request(a)).end, code);
  return a;
};

play("no one listens: upstream_connect_failed", async (stage) => {
  const up = await stage.upstream();
  up.close();
  const g = await stage.gateway({ upstream: up.url });
  await before(stage, null, g, 502, "upstream_connect_failed");
});

play("no one accepts: upstream_connect_timeout", async (stage) => {
  const g = await stage.gateway({ upstream: await deaf(stage), route: 'timeout = { connect = "200ms" }' });
  await before(stage, null, g, 504, "upstream_connect_timeout");
});

play("no such host: upstream_resolve_failed", async (stage) => {
  const g = await stage.gateway({ upstream: `http://${"x".repeat(70)}.invalid:9/v1` });      // too long a label: no packet leaves
  await before(stage, null, g, 502, "upstream_resolve_failed");
});

for (const status of [400, 413, 422])
  play(`HTTP ${status}: the client gets it, in the model's words; no key of ours is in them`, async (stage) => {
    const { up, g } = await stage.pair();
    const a = await before(stage, up, g, status, "upstream_refused", (call) => call.reply(status, { "Content-Type": "application/json" }, `{"error":{"message":"no, not with ${KEY}"}}`));
    assert.equal((await a.json()).error, "no, not with ***");
    assert.equal((await g.request(a)).upstream_status, status);
  });

for (const status of [401, 403, 404, 500, 502, 503])
  play(`HTTP ${status}: upstream_status`, async (stage) => {
    const { up, g } = await stage.pair();
    const a = await before(stage, up, g, 502, "upstream_status", (call) => call.reply(status, { "Content-Type": "application/json", "Retry-After": "7" }, '{"error":{"message":"secret detail"}}'));
    assert.ok(!a.body.includes("secret detail"));
    assert.equal((await g.request(a)).upstream_status, status);
  });

play("HTTP 5xx with an event stream that looks good: upstream_status", async (stage) => {
  const { up, g } = await stage.pair();
  await before(stage, up, g, 502, "upstream_status", async (call) => {
    await call.head(503, { "Content-Type": "text/event-stream" });
    await call.token("x");
    await call.complete();
  });
});

play("HTTP 429: upstream_rate_limited with the upstream's Retry-After", async (stage) => {
  const { up, g } = await stage.pair();
  const inTenHours = new Date(Date.now() + 36_000_000).toUTCString();
  for (const [sent, got] of [["7", /^7$/], ["0", /^0$/], [inTenHours, /^3(59\d\d|6000)$/], [undefined, null], ["soon", null], ["-5", null]]) {
    const a = await before(stage, up, g, 429, "upstream_rate_limited", (call) => call.reply(429, sent === undefined ? {} : { "Retry-After": sent }, "{}"));
    if (got) assert.match(a.headers.get("retry-after"), got);
    else assert.equal(a.headers.has("retry-after"), false, "no time is made up");
  }
});

play("200 application/json: upstream_not_stream", async (stage) => {
  const { up, g } = await stage.pair();
  await before(stage, up, g, 502, "upstream_not_stream", (call) => call.reply(200, { "Content-Type": "application/json" }, JSON.stringify({ choices: [{ message: { content: "hi" } }] })));
  await before(stage, up, g, 502, "upstream_not_stream", (call) => call.reply(200, { "Content-Type": "text/html" }, "<h1>captive portal</h1>"));
});

play("an answer that is no HTTP: upstream_protocol", async (stage) => {
  const { up, g } = await stage.pair();
  await before(stage, up, g, 502, "upstream_protocol", (call) => call.raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
});

play("a head that is not whole is no answer: upstream_reset", async (stage) => {
  const { up, g } = await stage.pair();
  for (const head of ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 429 Busy\r\nRetry-After: 7\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/event-"])
    await before(stage, up, g, 502, "upstream_reset", async (call) => {
      await call.raw(head);
      call.shut();
    });
});

play("an upstream that accepts and closes at once: upstream_reset", async (stage) => {
  const { up, g } = await stage.pair();
  await before(stage, up, g, 502, "upstream_reset", (call) => call.shut());
});

play("a redirect is not followed: upstream_status", async (stage) => {
  const { up, g } = await stage.pair();
  const other = await stage.upstream();
  await before(stage, up, g, 502, "upstream_status", (call) => call.reply(307, { Location: `${other.url}/chat/completions` }, ""));
  assert.equal(other.connections.length, 0);
});

// ---- content encodings

play("gzip that no one asked for is decoded, split at every byte (row 12)", async (stage) => {
  const { up, g } = await stage.pair();
  const packed = zlib.gzipSync(event(delta("héllo")) + event(delta(" wörld")) + "data: [DONE]\n\n");
  const runs = [];
  for (let cut = 1; cut < packed.length; cut++) {
    const a = await g.ask();
    const call = await up.call();
    await call.stream("chunked", { "Content-Encoding": "gzip" });
    await call.write(packed.subarray(0, cut));
    runs.push({ a, call, cut });
  }
  await g.turn();
  for (const { call, cut } of runs) {
    await call.write(packed.subarray(cut));
    await call.end();
  }
  for (const { a, cut } of runs) assert.deepEqual((await a.all()).tokens, ["héllo", " wörld"], `cut at ${cut}`);
});

play("a lie about the encoding: upstream_decode_failed, never garbage", async (stage) => {
  const { up, g } = await stage.pair();
  await ending(up, g, async (call) => {
    await call.stream("chunked", { "Content-Encoding": "gzip" });
    await call.token("x");
    await call.end();
  }, { status: 502, code: "upstream_decode_failed", after: [0] });
});

play("gzip that breaks off: an error, never [DONE]", async (stage) => {
  const { up, g } = await stage.pair();
  const packed = zlib.gzipSync(event(delta("x".repeat(50))) + event(delta("y")) + "data: [DONE]\n\n");
  const a = await g.ask();
  const call = await up.call();
  await call.stream("chunked", { "Content-Encoding": "gzip" });
  await call.write(packed.subarray(0, packed.length - 12));
  await call.end();
  await a.end();
  const code = a.status === 200 ? (await a.all()).code : (await a.json()).code;
  assert.ok(["upstream_decode_failed", "upstream_truncated", "upstream_reset"].includes(code), code);
});

// ---- the upstream's own keep-alive

play("one upstream connection serves many answers, and a stale one is replaced unseen", async (stage) => {
  const { up, g } = await stage.pair();
  for (let i = 0; i < 5; i++) {
    const a = await g.ask();
    const call = await up.call();
    await call.tell([`t${i}`]);
    assert.equal((await a.all()).text, `t${i}`);
    await g.turn();
  }
  assert.equal(up.connections.length, 1);
  up.connections[0].socket.resetAndDestroy();                                  // the upstream tires of it while it is idle
  await g.turn();
  const a = await g.ask();
  await (await up.call()).tell(["again"]);
  assert.equal((await a.all()).text, "again");
});
