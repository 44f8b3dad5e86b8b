// The contract of `GET /api/stream?q=`, played with the operator's own file, examples/ask/gateway.lua.
import assert from "node:assert/strict";
import { Client, KEY, ROOT, delta, event, play } from "./play.mjs";

// The example as printed, with an upstream of ours behind it. Its rate limit counts by address: each question comes from another one.
async function example(stage, env = {}) {
  const up = await stage.upstream();
  const g = await stage.gateway({ path: `${ROOT}/examples/ask/gateway.lua` }, { env: { LLM_BASE_URL: up.url, LLM_MODEL: "play-1", SLUICE_LISTEN: "127.0.0.1:0", ...env } });
  let n = 0;
  const fresh = () => ({ from: `127.0.${1 + (n >> 7)}.${1 + (n++ & 127)}` });
  const ask = (q, options = {}) => g.ask(q, { ...fresh(), ...options });
  const raw = async (target, options = {}) => (await g.connect(fresh())).ask(target, options);
  return { up, g, ask, raw };
}

play("a token leaves before the next one is sent; head, bytes and end are exact", async (stage) => {
  const { up, ask } = await example(stage);
  const a = await ask("why is the sky blue?");
  const call = await up.call();
  await call.stream();
  for (const t of ["The", " sky", " is", " blue", "."]) {
    await call.token(t);
    assert.equal(await a.token(), t);
  }
  await call.complete();
  assert.equal((await a.all()).text, "The sky is blue.");
  assert.equal(a.body.toString(), 'data: {"token":"The"}\n\ndata: {"token":" sky"}\n\ndata: {"token":" is"}\n\ndata: {"token":" blue"}\n\ndata: {"token":"."}\n\ndata: [DONE]\n\n');
  assert.match(a.headers.get("content-type"), /^text\/event-stream(; charset=utf-8)?$/);
  assert.equal(a.headers.get("cache-control"), "no-cache");
  assert.equal(a.headers.get("connection"), "keep-alive");
  assert.equal(a.headers.get("x-accel-buffering"), "no");
  assert.equal(a.headers.get("transfer-encoding"), "chunked");
  assert.equal(a.headers.has("content-length"), false);
  assert.equal(a.headers.has("content-encoding"), false);
  assert.equal(a.client.left.length, 0, "not a byte after the last chunk");
});

play("what the upstream is asked", async (stage) => {
  const { up, ask } = await example(stage);
  const a = await ask('  say "hi"\n\u2028 to 😀\t');
  const call = await up.call();
  await call.tell(["x"]);
  await a.all();
  assert.equal(`${call.method} ${call.path} ${call.version}`, "POST /v1/chat/completions HTTP/1.1");
  assert.equal(call.header("host"), `127.0.0.1:${up.port}`);
  assert.equal(call.header("authorization"), `Bearer ${KEY}`);
  assert.match(call.header("content-type"), /^application\/json/);
  assert.equal(call.header("accept-encoding"), "identity");
  assert.equal(call.header("content-length"), String(call.body.length));
  assert.deepEqual(call.json, {
    model: "play-1",
    stream: true,
    stream_options: { include_usage: true },
    messages: [
      { role: "system", content: "You are a helpful technical assistant. Be concise and accurate." },
      { role: "user", content: 'say "hi"\n\u2028 to 😀' },
    ],
    max_tokens: 800,
    temperature: 0.3,
  });
  assert.match(call.body.toString(), /"max_tokens":800[,}]/);
  assert.match(call.body.toString(), /"temperature":0\.3[,}]/);
  const known = ["host", "authorization", "content-type", "accept", "accept-encoding", "content-length", "user-agent"];
  assert.deepEqual(call.headers.map(([n]) => n).filter((n) => !known.includes(n)), [], "nothing else is told to the upstream");
});

play("a base URL may end with a slash and hold a path", async (stage) => {
  const up = await stage.upstream({ base: "/openai/v1/" });
  const g = await stage.gateway({ upstream: up.url });
  const a = await g.ask();
  const call = await up.call();
  assert.equal(call.path, "/openai/v1/chat/completions");
  await call.tell(["x"]);
  await a.all();
});

play("HTTP/1.0: no chunks, the connection's end is the answer's end", async (stage) => {
  const { up, ask } = await example(stage);
  for (const headers of [{}, { Connection: "keep-alive" }]) {
    const a = await ask("why?", { version: "1.0", headers });
    const call = await up.call();
    await call.stream();
    await call.token("one");
    assert.equal(await a.token(), "one");
    await call.complete();
    assert.deepEqual((await a.all()).tokens, ["one"]);
    assert.equal(a.headers.has("transfer-encoding"), false);
    assert.equal(a.headers.has("content-length"), false);
    assert.equal(a.headers.get("connection"), "close");
    assert.equal(a.body.toString(), 'data: {"token":"one"}\n\ndata: [DONE]\n\n');
    assert.equal(await a.client.ended(), "fin");
  }
});

play("keep-alive: streams and refusals follow one another on one connection, pipelined ones wait", async (stage) => {
  const { up, g } = await example(stage);
  const c = await g.connect();
  c.send(Client.request("/api/stream?q=one") + Client.request("/api/stream?q=") + Client.request("/api/stream?q=two"));
  const [one, none, two] = [c.expect(), c.expect(), c.expect()];
  const first = await up.call();
  assert.equal(first.question, "one");
  await first.tell(["1"]);
  assert.equal((await one.all()).text, "1");
  assert.equal((await none.json()).code, "query_required");
  const second = await up.call();
  assert.equal(second.question, "two");
  await second.tell(["2"]);
  assert.equal((await two.all()).text, "2");
  const three = c.ask("/api/stream?q=three", { headers: { Connection: "close" } });
  await (await up.call()).tell(["3"]);
  assert.equal((await three.all()).text, "3");
  assert.equal(three.headers.get("connection"), "close");
  assert.equal(await c.ended(), "fin");
});

play("what brings no text brings no event", async (stage) => {
  const { up, ask } = await example(stage);
  const a = await ask();
  const call = await up.call();
  await call.stream();
  await call.write(": a comment\n\n");
  await call.event({ choices: [] });
  await call.event({ choices: [{ index: 0, delta: { role: "assistant" } }] });
  await call.event({ choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
  await call.event({ choices: [{ index: 0, delta: { content: null } }] });
  await call.event({ choices: [{ index: 0, delta: {} }] });
  await call.token("text");
  await call.event({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 1 } });
  await call.finish();
  await call.complete();
  assert.deepEqual((await a.all()).tokens, ["text"]);
  assert.equal(a.events.length, 2);
});

play("model text cannot forge an event", async (stage) => {
  const { up, ask } = await example(stage);
  const texts = [
    "\n\ndata: [DONE]\n\n",
    "\r\rdata: x\r\r",
    '"}\n\ndata: {"error":"x","code":"y"}\n\n',
    "event: error\nid: 7\nretry: 1\n: keep-alive\n\n",
    "data: [DONE]",
    "[DONE]",
    "\u2028\u2029\u0085\u000b\u000c",
    "quote \" back \\ slash / null \u0000 bell \u0007 del \u007f",
    "\u{1F600}\u{10FFFF}\uFEFF\u200b\u202e",
    "</script><script>alert(1)</script>",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  ];
  const a = await ask();
  await (await up.call()).tell(texts);
  assert.deepEqual((await a.all()).tokens, texts);
  for (const raw of a.events) assert.ok(!/[\0-\x1f\u2028\u2029]/.test(raw), `bare control or line separator: ${JSON.stringify(raw)}`);
});

play("broken text from the model leaves as valid JSON in valid UTF-8", async (stage) => {
  const { up, ask } = await example(stage);
  const around = (bytes) => Buffer.concat([Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"'), Buffer.from(bytes), Buffer.from('"}}]}\n\n')]);
  const a = await ask();
  const call = await up.call();
  await call.stream();
  await call.write(around("caf\\ud83d"));                                       // half a surrogate pair, its other half in the next event
  await call.write(around("\\ude00!"));
  await call.write(around([0x61, 0xff, 0xfe, 0x62]));                           // no UTF-8 at all
  await call.write(around([0xc3]));                                             // a character in two events
  await call.write(around([0xa9]));
  await call.write(around([0xed, 0xa0, 0x80]));                                 // a surrogate in UTF-8
  await call.write(around([0xf0, 0x9f]));                                       // half a character at the end
  await call.complete();
  const { text, end } = await a.all();                                          // fails on bad UTF-8 or bad JSON
  assert.equal(end, "[DONE]");
  assert.match(text, /^caf.*!a\ufffd+bé\ufffd+$/su);
});

play("a long event passes whole", async (stage) => {
  const { up, ask } = await example(stage);
  const long = "wörter ".repeat(60_000);
  const a = await ask();
  await (await up.call()).tell(["a", long, "z"]);
  assert.deepEqual((await a.all()).tokens, ["a", long, "z"]);
});

const refused = async (a, code) => {
  await a.head();
  assert.equal(a.status, 400);
  const body = await a.json();
  if (code) assert.equal(body.code, code);
  assert.deepEqual(Object.keys(body).sort(), ["code", "error"]);
  assert.equal(typeof body.error, "string");
  return body;
};

const SPACES = ["\t", "\n", "\v", "\f", "\r", " ", "\u0085", "\u00a0", "\u1680", ..."\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"];

play("an empty question is refused in the seed's words", async (stage) => {
  const { up, g, raw } = await example(stage);
  for (const target of ["/api/stream", "/api/stream?", "/api/stream?q", "/api/stream?q=", "/api/stream?x=1", "/api/stream?q=+++", ...SPACES.map((s) => `/api/stream?q=${encodeURIComponent(s)}`), `/api/stream?q=${encodeURIComponent(SPACES.join(""))}`])
    assert.deepEqual(await refused(await raw(target)), { error: "query parameter 'q' is required", code: "query_required" }, target);
  assert.equal(up.calls.length, 0);
  const lines = g.requests;
  assert.ok(lines.every((l) => l.status === 400 && l.end === "query_required"), JSON.stringify(lines[0]));
});

play("Unicode white space is trimmed, look-alikes are not", async (stage) => {
  const { up, ask } = await example(stage);
  const all = SPACES.join("");
  for (const [sent, got] of [[`${all}a${all}b${all}`, `a${all}b`], ["\u200bx\u200b", "\u200bx\u200b"], ["\ufeffx", "\ufeffx"], ["\u180ex", "\u180ex"], ["\u001cx\u001f", "\u001cx\u001f"], ["\u200b", "\u200b"]]) {
    const a = await ask(sent);
    const call = await up.call();
    assert.equal(call.question, got);
    await call.tell(["ok"]);
    await a.all();
  }
});

play("1,000 characters pass, 1,001 do not, counted as code points after the trim", async (stage) => {
  const { up, ask } = await example(stage);
  for (const q of ["😀".repeat(1000), "é".repeat(1000), `  ${"x".repeat(1000)}\u3000`]) {
    const a = await ask(q);
    const call = await up.call();
    assert.equal(call.question, q.trim());
    await call.tell(["ok"]);
    assert.equal((await a.all()).text, "ok");
  }
  for (const q of ["😀".repeat(1001), "x".repeat(1001), "e\u0301".repeat(501)])
    assert.deepEqual(await refused(await ask(q)), { error: "query too long (max 1000 characters)", code: "query_too_long" });
  assert.equal(up.calls.length, 3);
});

play("bad percent-encoding and bad UTF-8 are refused", async (stage) => {
  const { up, raw } = await example(stage);
  const bad = [
    "%", "%1", "%zz", "a%4", "%%41", "%4g", "% 1".replace(" ", "+"), "%u0041",
    "%ff", "%80", "%c3", "%c3%28", "%c0%80", "%c1%bf", "%e0%80%80", "%e0%9f%bf", "%ed%a0%80", "%ed%bf%bf", "%f0%80%80%80", "%f0%8f%bf%bf", "%f4%90%80%80", "%f8%88%80%80%80", "%f0%9f%98", "x%e2%82",
  ];
  for (const q of bad) await refused(await raw(`/api/stream?q=${q}`), "bad_query");
  assert.equal(up.calls.length, 0);
});

play("plus is a space, other parameters do not disturb", async (stage) => {
  const { up, raw } = await example(stage);
  for (const [target, got] of [["?q=a+b%2Bc", "a b+c"], ["?x=%41&q=a%26b%3Dc&y", "a&b=c"], ["?%71=named", "named"]]) {
    const a = await raw(`/api/stream${target}`);
    const call = await up.call();
    assert.equal(call.question, got);
    await call.tell(["ok"]);
    await a.all();
  }
});

play("the key is in no answer, no log line and no error text, whatever the upstream says", async (stage) => {
  const up = await stage.upstream();
  const g = await stage.gateway({ upstream: up.url }, { args: ["--log-level", "debug"] });
  const echo = (call) => call.header("authorization");
  const acts = [
    (call) => call.reply(401, { "Content-Type": "application/json", "WWW-Authenticate": echo(call) }, JSON.stringify({ error: { message: `bad key ${echo(call)}` } })),
    (call) => call.raw(`HTTP/1.1 500 ${echo(call)}\r\nContent-Length: 0\r\n\r\n`),
    (call) => call.raw(`${echo(call)}\r\n\r\n`),
    (call) => call.reply(302, { Location: `http://127.0.0.1:9/${KEY}` }, KEY),
    async (call) => {
      await call.stream();
      await call.event({ error: { message: `invalid ${KEY}`, code: KEY, type: KEY } });
    },
    async (call) => {
      await call.stream();
      await call.write(`data: ${KEY}\n\n`);
    },
    async (call) => {
      await call.stream("chunked", { "Content-Encoding": KEY });
      await call.raw(`${KEY}\r\n`);
    },
  ];
  for (const act of acts) {
    const a = await g.ask();
    const call = await up.call();
    assert.equal(echo(call), `Bearer ${KEY}`);
    await act(call);
    const body = await a.json();                                                // the client and the log are searched when the play ends
    assert.ok(body.code.startsWith("upstream_"), body.code);
    assert.ok(a.status === 502, String(a.status));
    call.shut();
  }
  assert.equal(up.calls.length, acts.length, "no redirect was followed, nothing was tried twice");
});

play("the prompt is not in the log", async (stage) => {
  const { up, g, ask } = await example(stage);
  const a = await ask("a very private question");
  await (await up.call()).tell(["x"]);
  await a.all();
  await g.request(a);
  assert.ok(!JSON.stringify(g.log).includes("private"));
});

play("the log line says what happened", async (stage) => {
  const { up, g, ask } = await example(stage);
  const a = await ask();
  const call = await up.call();
  await call.tell(["a", "b", "c"]);
  await a.all();
  const line = await g.request(a);
  assert.equal(line.route, "ask");
  assert.equal(line.status, 200);
  assert.equal(line.tokens, 3);
  assert.equal(line.end, "done");
  assert.ok(Number.isInteger(line.first_token_ms) && line.first_token_ms >= 0);
  assert.ok(Number.isInteger(line.held_ms));
  assert.equal(g.requests.length, 1, "one line a request");
});

play("HEAD answers like GET without asking the model; the counters know no answer of it", async (stage) => {
  const { up, g, raw } = await example(stage);
  const a = await raw("/api/stream?q=x", { method: "HEAD" });
  await a.end();
  assert.equal(a.status, 200);
  assert.match(a.headers.get("content-type"), /^text\/event-stream/);
  const bad = await raw("/api/stream?q=", { method: "HEAD" });
  await bad.end();
  assert.equal(bad.status, 400);
  assert.equal(up.calls.length, 0);
  await g.request(bad);
  const m = await g.metrics();
  assert.deepEqual([m.streams_total, m.streams_open, m.streams_done, m.streams_failed, m.streams_truncated], [2, 0, 0, 0, 0]);
  await (await raw("/api/stream?q=")).end();
  await g.request(2);
  assert.equal((await g.metrics()).streams_failed, 1, "a refused GET is one");
});

play("without LLM_BASE_URL the example answers from its own guide", async (stage) => {
  const g = await stage.gateway({ path: `${ROOT}/examples/ask/gateway.lua` }, { env: { SLUICE_LISTEN: "127.0.0.1:0" } });
  const a = await g.ask("What is Sluice?");
  const { text, end } = await a.all();
  assert.equal(end, "[DONE]");
  assert.ok(text.length > 40);
});

play("a filter sees what the client then gets: bytes on the wire are the filter's", async (stage) => {
  const { up, g } = await stage.pair({ code: 'local P = sluice.policy { name = "p" }\nP.filter = { text = function(text) return text:upper() end }', policies: "P" });
  const a = await g.ask();
  const call = await up.call();
  await call.stream();
  await call.write(event(delta("a\n")) + event(delta("b")));
  assert.equal(await a.token(), "A\n");
  assert.equal(await a.token(), "B");
  await call.complete();
  assert.equal((await a.all()).end, "[DONE]");
});
