// A model service that nobody here wrote (npm @copilotkit/aimock), behind the example's gateway: plain answers, odd cuts, refusals, disconnects.
import assert from "node:assert/strict";
import path from "node:path";
import { LLMock } from "@copilotkit/aimock";
import { KEY, ROOT, play } from "../flow/play.mjs";
import { PROVIDERS, QUESTIONS, WORDS, open as open_all, proved } from "./sdk.mjs";

async function open(stage, options = {}) {
  const mock = new LLMock({ port: 0, ...options });
  const env = { SLUICE_LISTEN: "127.0.0.1:0", LLM_MODEL: "gpt-4o-mini" };
  await mock.start();
  stage.onEnd(() => mock.stop());
  env.LLM_BASE_URL = `${mock.url}/v1`;
  return { mock, g: await stage.gateway({ path: path.join(ROOT, "examples/ask/gateway.lua") }, { env }) };
}

play("an answer comes whole, in pieces, and ends with [DONE]; the request is what the mock expects", async (stage) => {
  const words = "Sluice is a gateway. 😀 É <b>not bold</b> \"quoted\" \\ back\nnew line";
  const { mock, g } = await open(stage, { chunkSize: 3 });
  mock.onMessage("What is Sluice?", { content: words });
  const a = await g.ask("What is Sluice?");
  const { text, tokens, end } = await a.all();
  assert.equal(text, words);
  assert.ok(tokens.length > 10);
  assert.equal(end, "[DONE]");
  const asked = mock.getLastRequest();
  assert.equal(asked.path, "/v1/chat/completions");
  assert.deepEqual(asked.body.messages, [
    { role: "system", content: "You are a helpful technical assistant. Be concise and accurate." },
    { role: "user", content: "What is Sluice?" },
  ]);
  assert.equal(asked.body.max_tokens, 800);
  assert.equal(asked.body.temperature, 0.3);
  assert.equal(asked.body.stream, true);
  assert.equal(asked.body.model, "gpt-4o-mini");
  assert.ok(!g.tail().includes(KEY));
});

for (const chunkSize of [1, 2, 7, 1000])
  play(`cut into pieces of ${chunkSize}: the same text`, async (stage) => {
    const words = "été 😀😀 日本語 — “quotes” & <tags>";
    const { mock, g } = await open(stage, { chunkSize });
    mock.onMessage("cut", { content: words });
    const { text } = await (await g.ask("cut")).all();
    assert.equal(text.replaceAll("\ufffd", ""), text, "no replacement character: the mock cut between characters");
    assert.equal(text, words);
  });

play("a slow first token and a pace: each piece passes as it comes", async (stage) => {
  const { mock, g } = await open(stage);
  mock.onMessage("slow", { content: "one two three four five" }, { chunkSize: 4, streamingProfile: { ttft: 120, tps: 40 } });
  const a = await g.ask("slow");
  const { text } = await a.all();
  assert.equal(text, "one two three four five");
  assert.ok(a.arrivals.length >= 4, `${a.arrivals.length} reads`);
  assert.ok((await g.request(a)).first_token_ms >= 100);
});

play("it refuses: 429 with its Retry-After, 500, 401", async (stage) => {
  const { mock, g } = await open(stage);
  mock.onMessage("x", { content: "y" });
  for (const [upstream, status, code] of [[429, 429, "upstream_rate_limited"], [500, 502, "upstream_status"], [401, 502, "upstream_status"]]) {
    mock.nextRequestError(upstream, { message: `no: ${KEY}`, type: "t" });
    const a = await g.ask("x");
    assert.equal((await a.json()).code, code);
    assert.equal(a.status, status);
    if (upstream === 429 && a.headers.has("retry-after")) assert.match(a.headers.get("retry-after"), /^\d+$/);
  }
});

play("it breaks off in the middle: what came, then one error, never [DONE]", async (stage) => {
  const { mock, g } = await open(stage, { chunkSize: 2, latency: 5 });
  mock.onMessage("cut off", { content: "abcdefghijklmnopqrstuvwxyz" }, { truncateAfterChunks: 5 });
  mock.onMessage("drop", { content: "abcdefghijklmnopqrstuvwxyz" }, { disconnectAfterMs: 40 });
  for (const question of ["cut off", "drop"]) {
    const a = await g.ask(question);
    await a.head();
    if (a.status !== 200) {
      assert.match((await a.json()).code, /^upstream_(reset|truncated)$/);
      continue;
    }
    const { text, code } = await a.all();
    assert.ok("abcdefghijklmnopqrstuvwxyz".startsWith(text) && text.length < 26, text);
    assert.match(code, /^upstream_(reset|truncated)$/);
  }
});

play("the client leaves: the mock's stream is cancelled", async (stage) => {
  const { mock, g } = await open(stage, { chunkSize: 1, latency: 30 });
  mock.onMessage("long", { content: "x".repeat(100) });
  const a = await g.ask("long");
  await a.token();
  a.client.reset();
  const line = await g.request(0);
  assert.equal(line.end, "client_closed");
  assert.ok(line.tokens < 100);
});

play("EventSource's route before every provider: the answer, a refusal, an end in the middle", async (stage) => {
  const s = await open_all(stage);
  for (const provider of PROVIDERS) {
    const ask = (question) => s.g.get(`/ask/${provider}?q=${encodeURIComponent(question)}`);
    const { text, end } = await (await ask(QUESTIONS.plain)).all();
    assert.deepEqual([text, end], [WORDS, "[DONE]"]);
    proved("token", provider, "stream");

    const broken = await ask(QUESTIONS.broken);
    assert.deepEqual([broken.status, (await broken.json()).code], [502, "upstream_status"]);
    const cut = await ask(QUESTIONS.cut);
    if (cut.status === 200) assert.match((await cut.all()).code, /^upstream_/);
    else assert.match((await cut.json()).code, /^upstream_/);
    proved("token", provider, "errors");
  }
});
