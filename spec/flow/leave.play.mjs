// The client leaves: at any token, while connecting, before the upstream's first byte, while a hook waits. The upstream sees it at once, and the log line
// says it with the count of tokens. Rows 1 and 2.
import assert from "node:assert/strict";
import { deaf, eventually, play } from "./play.mjs";

const left = async (g, n, tokens) => {
  const line = await g.request(n);
  assert.equal(line.end, "client_closed");
  assert.equal(line.tokens, tokens);
  return line;
};

// How a client can leave.
const ways = { reset: (c) => c.reset(), "FIN and close": (c) => c.close(), "FIN alone": (c) => c.finish() };

for (const [way, leave] of Object.entries(ways))
  play(`the client leaves by ${way} after 0, 1, 50 tokens (row 1)`, async (stage) => {
    const { up, g } = await stage.pair();
    let n = 0;
    for (const k of [0, 1, 50]) {
      const a = await g.ask();
      const call = await up.call();
      await call.stream();
      for (let i = 0; i < k; i++) {
        await call.token(`t${i}`);
        assert.equal(await a.token(), `t${i}`);
      }
      await g.turn();
      assert.equal(call.over, null, "nothing was cancelled before");
      leave(a.client);
      await call.gone();
      const line = await left(g, n++, k);
      assert.equal(line.status, k ? 200 : 499);
    }
    const m = await g.metrics();
    assert.equal(m.streams_client_gone, 3);
    assert.equal(m.streams_open, 0);
    assert.equal(m.tokens_total, 51);
  });

for (const [way, leave] of Object.entries(ways))
  play(`an upstream that never answers; the client leaves by ${way} (row 2)`, async (stage) => {
    const { up, g } = await stage.pair();
    const a = await g.ask();
    const call = await up.call();
    leave(a.client);
    await call.gone();
    await left(g, 0, 0);
  });

play("the client leaves while the upstream is being connected (row 2)", async (stage) => {
  const g = await stage.gateway({ upstream: await deaf(stage) });
  await g.metrics();                                     // its control socket, opened after it listens, is there
  await g.turn();
  const before = g.fds();
  const a = await g.ask();
  await eventually(() => g.fds() === before + 2, () => `the client's descriptor and the upstream's: ${before} before, ${g.fds()} now`);
  a.client.reset();
  await left(g, 0, 0);
  await eventually(() => g.fds() === before, () => `the descriptors of both sides to close: ${before} before, ${g.fds()} now`);
});

play("the client leaves while TLS is being negotiated", async (stage) => {
  const up = await stage.upstream();                     // speaks no TLS: it takes the hello and is silent
  const g = await stage.gateway({ upstream: up.url.replace("http:", "https:") });
  const a = await g.ask();
  await up.news.until(() => up.connections[0]?.bytes.length > 0, "the hello");
  a.client.reset();
  await up.quiet();
  await left(g, 0, 0);
});

play("the client leaves between the upstream's head and its first event", async (stage) => {
  const { up, g } = await stage.pair();
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write("data: {");
  await g.turn();
  a.client.reset();
  await call.gone();
  await left(g, 0, 0);
});

play("the client leaves while the upstream floods it", async (stage) => {
  const { up, g } = await stage.pair();
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.token("x");
  await a.token();
  const flood = (async () => {
    while (await call.token("y".repeat(1000)));
  })();
  a.client.reset();
  await call.gone();
  await flood;
  const line = await g.request(0);
  assert.equal(line.end, "client_closed");
  assert.ok(line.tokens >= 1);
});

play("the client leaves while its upstream is paused for it", async (stage) => {
  const { up, g } = await stage.pair();
  const a = await g.ask();
  a.client.stop();
  const call = await up.call();
  await call.stream();
  for (let stuck = false; !stuck;) {
    call.token("y".repeat(10_000));
    await new Promise(setImmediate);
    stuck = call.socket.writableLength > 1_000_000 && (await g.metrics()).upstream_pauses > 0;
  }
  a.client.reset();
  await call.gone();
  assert.equal((await g.request(0)).end, "client_closed");
});

play("many leave at once, others stay", async (stage) => {
  const { up, g } = await stage.pair();
  const streams = [];
  for (let i = 0; i < 40; i++) {
    const a = await g.ask(`n${i}`);
    const call = await up.call();
    await call.stream();
    await call.token("first");
    await a.token();
    streams.push({ a, call });
  }
  for (let i = 0; i < 40; i += 2) streams[i].a.client.reset();
  for (let i = 0; i < 40; i += 2) await streams[i].call.gone();
  for (let i = 1; i < 40; i += 2) {
    assert.equal(streams[i].call.over, null);
    await streams[i].call.token(`last ${i}`);
    await streams[i].call.complete();
    assert.deepEqual((await streams[i].a.all()).tokens, ["first", `last ${i}`]);
  }
});

play("a pipelined request behind a stream: the client leaves, neither is answered, the second never starts", async (stage) => {
  const { up, g } = await stage.pair();
  const c = await g.connect();
  c.ask("/api/stream?q=one");
  const call = await up.call();
  c.ask("/api/stream?q=two");
  await g.turn();
  c.reset();
  await call.gone();
  await left(g, 0, 0);
  await g.turn();
  assert.equal(up.calls.length, 1);
  assert.equal(g.requests.length, 1);
});

play("a request that was never whole makes no stream", async (stage) => {
  const { up, g } = await stage.pair();
  const c = await g.connect();
  c.send("GET /api/stream?q=x HTTP/1.1\r\nHost: x\r\n");
  await g.turn();
  c.reset();
  await g.turn();
  assert.equal(up.calls.length, 0);
  assert.equal((await g.metrics()).streams_total, 0);
});
