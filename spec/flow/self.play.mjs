// The tools themselves, without a gateway: the upstream against node's own HTTP client, the raw client against node's own HTTP server.
import assert from "node:assert/strict";
import http from "node:http";
import { Client, deaf, delta, event, play } from "./play.mjs";

function post(up, body) {
  return new Promise((resolve, reject) => {
    const r = http.request(`${up.url}/chat/completions`, { method: "POST", agent: false, headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) } }, resolve);
    r.on("error", reject);
    r.end(body);
  });
}

async function text(res) {
  let s = "";
  res.setEncoding("utf8");
  for await (const part of res) s += part;
  return s;
}

play("the upstream shows the request and streams what it is told", async (stage) => {
  const up = await stage.upstream();
  const answer = post(up, '{"messages":[{"role":"user","content":"é?"}]}');
  const call = await up.call();
  assert.equal(call.method, "POST");
  assert.equal(call.path, "/v1/chat/completions");
  assert.equal(call.header("content-type"), "application/json");
  assert.equal(call.question, "é?");
  await call.tell(["a", "b"]);
  const res = await answer;
  assert.equal(res.headers["content-type"], "text/event-stream; charset=utf-8");
  assert.match(await text(res), /^data: \{.*"a".*\}\n\ndata: \{.*"b".*\}\n\ndata: \{.*"stop".*\}\n\ndata: \[DONE\]\n\n$/);
  await up.quiet();
});

play("the upstream in lock-step: an event is there before the next is sent", async (stage) => {
  const up = await stage.upstream();
  const answer = post(up, "{}");
  const call = await up.call();
  await call.stream();
  const res = await answer;
  for (let i = 0; i < 5; i++) {
    await call.token(`t${i}`);
    const [bytes] = await new Promise((r) => res.once("data", (...a) => r(a)));
    assert.equal(bytes.toString(), event(delta(`t${i}`)));
  }
  await call.complete();
  res.resume();
  await new Promise((r) => res.once("end", r));
});

play("the upstream resets, closes, and sees the client leave", async (stage) => {
  const up = await stage.upstream();
  const broken = post(up, "{}").then(text);
  const one = await up.call();
  await one.stream();
  one.reset();
  await assert.rejects(broken, { code: "ECONNRESET" });

  const cut = post(up, "{}").then(text);
  const two = await up.call();
  await two.stream();
  two.shut();
  await assert.rejects(cut);

  const left = await new Promise((resolve) => {
    const r = http.request(`${up.url}/x`, { method: "POST", agent: false });
    r.on("error", () => {});
    r.end(() => resolve(r));
  });
  const three = await up.call();
  left.destroy();
  await three.gone();
});

play("the upstream keeps connections alive and serves by itself", async (stage) => {
  const up = (await stage.upstream()).serve((call) => call.reply(200, { "Content-Type": "text/plain" }, call.path));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (const path of ["/a", "/b"]) {
    const res = await new Promise((resolve) => http.get(`http://127.0.0.1:${up.port}${path}`, { agent }, resolve));
    assert.equal(await text(res), path);
  }
  assert.equal(up.connections.length, 1);
  agent.destroy();
});

play("the raw client reads chunks, lengths and streams of events", async (stage) => {
  const server = http.createServer((req, res) => {
    if (req.url === "/length") return res.end("hello");
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    res.write('data: {"to');
    res.write('ken":"x"}\n\n: keep-alive\n\n');
    res.end("data: [DONE]\n\n");
  });
  await new Promise((r) => server.listen(0, "127.0.0.1", r));
  stage.onEnd(() => server.close());
  const c = await Client.connect(server.address().port);
  const first = c.ask("/length"), second = c.ask("/stream");
  await first.end();
  assert.equal(first.body.toString(), "hello");
  assert.deepEqual(await second.all(), { tokens: ["x"], text: "x", end: "[DONE]", code: null, comments: 1 });
  c.reset();
});

play("the raw client refuses what breaks the contract", async (stage) => {
  const server = http.createServer((req, res) => {
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    res.end(req.url === "/after" ? 'data: [DONE]\n\ndata: {"token":"x"}\n\n' : req.url === "/half" ? "data: [DONE]\n\ndata:" : 'data: {"token":"x"}\n\n');
  });
  await new Promise((r) => server.listen(0, "127.0.0.1", r));
  stage.onEnd(() => server.close());
  for (const [path, why] of [["/after", /after the terminal/], ["/half", /bytes after/], ["/endless", /ends with/]]) {
    const c = await Client.connect(server.address().port);
    await assert.rejects(c.ask(path).all(), why);
    c.close();
  }
});

play("a connection to the deaf listener never opens", async (stage) => {
  const url = await deaf(stage);
  await assert.rejects(new Promise((resolve, reject) => {
    const r = http.get(url, { timeout: 300 }, resolve);
    r.on("timeout", () => r.destroy(new Error("still waiting")));
    r.on("error", reject);
  }), /still waiting/);
});
