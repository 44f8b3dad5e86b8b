// The stage of the plays with client SDKs: npm's model mock as five providers behind one gateway, a session that every client is put through, and the
// record of what came of it (see matrix.mjs).
//
// A client is told to the session as a table:
//   name, front, path       which SDK; what it speaks; where, below a route, its base address lies
//   connect(how)            a client for how = { base, key, retries, fetch }
//   ask(client, what)       one answer { text, pieces, reasoning, finish, usage = { input, output } } to what = { model, question, stream, usage, signal, told }
//   tools(client, what)     the same with tools: { calls = [{ name, args }], text } after the round with what the tools said
//   failure(e)              what it threw, as { status, code, message, field }
//   bad, field              a `what` that the gateway must refuse, and the name of the field it must say
//   kinds                   what it can show of an answer: plain, stream, usage, reasoning
//   quiet                   true: it may ask for no usage
//   retries                 { waits, heeds }: it asks again; it heeds Retry-After, X-Should-Retry
//   blind                   where it cannot read what the mock thinks, a function of provider, route, stream
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { LLMock } from "@copilotkit/aimock";
import { KEY, ROOT, eventually, play } from "../flow/play.mjs";

export const PROVIDERS = ["openai", "anthropic", "gemini", "ollama", "responses"];
export const CLIENT_KEY = "sk-client-77aa01b2c3";        // what clients show to the gateway: in no log line, and never upstream

// ---- what the mock knows

export const WORDS = "Sluice is a gateway. 😀 É <b>not bold</b> \"quoted\" \\ back\nnew line";
export const THOUGHT = "17 is not even.";
export const USAGE = { input: 11, output: 7 };
export const TOOLS = {
  weather: { about: "The weather in a city.", args: { city: "Paris" }, says: "21 degrees" },
  time: { about: "The time in a zone.", args: { zone: "CET" }, says: "half past ten" },
};
export const schema = (name) => ({ type: "object", properties: Object.fromEntries(Object.keys(TOOLS[name].args).map((k) => [k, { type: "string" }])), required: Object.keys(TOOLS[name].args) });
export const QUESTIONS = { plain: "What is Sluice?", think: "Is 17 odd?", tools: "How is the weather, and how late is it?", cut: "Be cut off.", long: "Tell me a long story.", hot: "Be too hot.", broken: "Be broken.", later: "Not yet." };

export const WAIT_S = 7;

const told = () => ({ prompt_tokens: USAGE.input, completion_tokens: USAGE.output });

function script(mock) {
  const last = (req) => req.messages.at(-1);
  mock.onMessage(QUESTIONS.plain, { content: WORDS, usage: told() });
  mock.onMessage(QUESTIONS.think, { content: "It is odd.", reasoning: THOUGHT, usage: told() });
  mock.onMessage(QUESTIONS.cut, { content: "abcdefghijklmnopqrstuvwxyz".repeat(4) }, { truncateAfterChunks: 5, chunkSize: 2 });
  mock.onMessage(QUESTIONS.hot, { error: { message: "temperature: too hot", type: "invalid_request_error" }, status: 400 });
  mock.onMessage(QUESTIONS.broken, { error: { message: `no: ${KEY}`, type: "server_error" }, status: 500 });
  mock.on({ userMessage: QUESTIONS.later, sequenceIndex: 0 }, { error: { message: "slow down", type: "rate_limit_error" }, status: 429, retryAfter: WAIT_S });
  mock.onMessage(QUESTIONS.later, { content: "Now." });
  mock.on({ endpoint: "chat", predicate: (req) => last(req)?.role === "tool" }, { content: "21 degrees, half past ten.", usage: told() });
  mock.on({ endpoint: "chat", userMessage: QUESTIONS.tools }, {
    toolCalls: Object.entries(TOOLS).map(([name, tool], i) => ({ id: `call_${i}`, name, arguments: JSON.stringify(tool.args) })), usage: told(),
  });
  mock.onEmbedding(/./, { embedding: [0.5, -0.25, 1] });
}

// Ollama as it is and the mock is not: it thinks in `thinking`, and counts.
function ollama(up) {
  return up.serve(async (call) => {
    const line = (message, more) => call.write(`${JSON.stringify({ model: "qwen3:8b", created_at: "2026-01-01T00:00:00Z", message: { role: "assistant", content: "", ...message }, done: false, ...more })}\n`);
    await call.head(200, { "Content-Type": "application/x-ndjson" });
    for (const thinking of ["17 is", " not even."]) await line({ thinking });
    for (const content of ["It is", " odd."]) await line({ content });
    await line({}, { done: true, done_reason: "stop", prompt_eval_count: USAGE.input, eval_count: USAGE.output });
    await call.end();
  });
}

// ---- the gateway

const model = (name, provider, url, theirs) => `${name} = { provider = "${provider}", url = "${url}", model = "${theirs}", key = sluice.secret "LLM_API_KEY" },`;

// Four routes with the same models: bytes pass where they may; a policy that looks at each text, so that nothing passes untouched; keys; refusals.
const gateway = (models, names) => `local sluice = require "sluice"
local looks = sluice.policy { name = "looks", api = 1 }
looks.filter = { on = { "content", "reasoning" }, text = function(text) return text end }
local refuses = sluice.policy { name = "refuses", api = 1 }
function refuses.prompt() return sluice.reject(409, "refused", "This is refused, and will be.") end
local names = { ${names.map((n) => `"${n}"`).join(", ")} }
return sluice.config {
  api = 1, listen = "127.0.0.1:0", workers = 1, drain = "2s",
  models = { ${models.join("\n    ")} },
  routes = {
    api     = { path = "/v1/*", models = names },
    looked  = { path = "/looked/v1/*", models = names, policies = { looks } },
    keyed   = { path = "/keyed/v1/*", models = names, policies = { sluice.parts.api_keys { file = "keys.txt" } } },
    refused = { path = "/refused/v1/*", models = names, policies = { refuses } },
    ${PROVIDERS.map((p) => `ask_${p} = { path = "/ask/${p}", front = "token", target = "${p}" },`).join(" ")}
    ui        = { path = "/chat", front = "ui", target = "openai", models = names },
    ui_keyed  = { path = "/keyed/chat", front = "ui", target = "openai", models = names, policies = { sluice.parts.api_keys { file = "keys.txt" } } },
  },
}
`;

export async function open(stage) {
  const mock = new LLMock({ port: 0, chunkSize: 5, logLevel: "silent" });
  script(mock);
  await mock.start();
  stage.onEnd(() => mock.stop());
  const thinking = ollama(await stage.upstream({ base: "" }));
  const up = await stage.upstream();
  const models = [
    model("openai", "openai", `${mock.url}/v1`, "gpt-5-mini"), model("anthropic", "anthropic", `${mock.url}/v1`, "claude-sonnet-4-5"),
    model("gemini", "gemini", `${mock.url}/v1beta`, "gemini-2.5-flash"), model("ollama", "ollama", mock.url, "qwen3:8b"), model("responses", "responses", `${mock.url}/v1`, "gpt-5-mini"),
    model("ollama_thinks", "ollama", thinking.url, "qwen3:8b"), model("play", "openai", up.url, "play-1"),
    model("gemini_embeds", "gemini", up.url, "gemini-embedding-001"), model("ollama_embeds", "ollama", up.url, "bge-m3"),
  ];
  const names = [...PROVIDERS, "ollama_thinks", "gemini_embeds", "ollama_embeds", "play"];
  const keys = `alice sha256:${createHash("sha256").update(CLIENT_KEY).digest("hex")}\n`;
  const g = await stage.gateway(gateway(models, names), { files: { "keys.txt": keys } });
  return { mock, up, g, names, base: `http://127.0.0.1:${g.port}`, at: (route, tail = "/v1") => `http://127.0.0.1:${g.port}${route}${tail ?? "/chat"}` };
}

// ---- what was proved

const results = path.resolve(ROOT, process.env.SLUICE_MATRIX_DIR ?? path.join(path.dirname(process.env.SLUICE_BIN ?? "build/sluice"), "matrix"));
const file = path.join(results, `${path.basename(process.argv[1], ".play.mjs")}.jsonl`);
fs.mkdirSync(results, { recursive: true });
fs.writeFileSync(file, "");

export function proved(front, dialect, kind, sdk) { fs.appendFileSync(file, `${JSON.stringify({ front, dialect, kind, sdk })}\n`); }

// ---- helpers

// Runs `fn` while waits of exactly `ms` end at once, so that a client which heeds a Retry-After need not be waited for. How many such waits there were.
export async function skipping(ms, fn) {
  const real = globalThis.setTimeout;
  let skipped = 0;
  globalThis.setTimeout = (f, wait, ...rest) => real(f, wait === ms ? (skipped++, 0) : wait, ...rest);
  try {
    await fn();
  } finally {
    globalThis.setTimeout = real;
  }
  return skipped;
}

export async function thrown(fn) {
  let value;
  try {
    value = await fn();
  } catch (e) {
    return e;
  }
  assert.fail(`it must throw, and gave ${JSON.stringify(value)}`);
}

// ---- the session

const FINISH = /^(stop|end_turn|completed)$/;
const CALLED = Object.entries(TOOLS).map(([name, tool]) => ({ name, args: tool.args }));

// The client's own way through all providers. Where front and provider speak alike, on both routes.
export function session(sdk) {
  const can = (kind) => sdk.kinds.includes(kind);
  const { front, name } = sdk;
  const client = (s, route, how = {}) => sdk.connect({ base: s.at(route, sdk.path), key: CLIENT_KEY, retries: 0, ...how });

  for (const provider of PROVIDERS)
    play(`${name}, front ${front}, provider ${provider}: plain, stream, usage, reasoning, tools`, async (stage) => {
      const s = await open(stage);
      const routes = front === provider ? ["", "/looked"] : [""];
      const seen = new Set();
      const saw = (kind) => seen.add(kind);
      for (const route of routes) {
        const c = client(s, route);
        const thinks = provider === "ollama" ? "ollama_thinks" : provider;
        for (const stream of [false, true].filter((x) => can(x ? "stream" : "plain"))) {
          const a = await sdk.ask(c, { model: provider, question: QUESTIONS.plain, stream, usage: true });
          assert.equal(a.text, WORDS);
          assert.match(a.finish, FINISH);
          if (stream) assert.ok(a.pieces > 3, `${a.pieces} pieces`);
          saw(stream ? "stream" : "plain");

          const t = await sdk.ask(c, { model: thinks, question: QUESTIONS.think, stream, usage: true });
          assert.equal(t.text, "It is odd.");
          const blind = sdk.blind?.(provider, route, stream) ?? false;
          if (can("reasoning") && !blind) {
            assert.equal(t.reasoning, THOUGHT);
            saw("reasoning");
          }
          if (can("usage")) {
            if (!blind) assert.deepEqual(t.usage, USAGE);
            if (thinks === provider) assert.deepEqual(a.usage, USAGE);
            saw("usage");
          }
          if (can("usage") && stream && sdk.quiet) {
            const quiet = await sdk.ask(c, { model: provider, question: QUESTIONS.plain, stream, usage: false });
            assert.equal(quiet.text, WORDS);
            assert.equal(quiet.usage, undefined, "a client that did not ask is told no usage");
          }

          s.mock.clearRequests();
          const r = await sdk.tools(c, { model: provider, question: QUESTIONS.tools, stream });
          assert.deepEqual(r.calls, CALLED);
          assert.equal(r.text, "21 degrees, half past ten.");
          const last = JSON.stringify(s.mock.getLastRequest().body);
          for (const tool of Object.values(TOOLS)) assert.ok(last.includes(tool.says), `the model was told ${tool.says}`);
          saw("tools");
        }
      }
      assert.ok(s.mock.getRequests().every((r) => !JSON.stringify(r).includes(CLIENT_KEY)), "the client's key stays here");
      for (const kind of seen) proved(front, provider, kind, name);
    });

  for (const provider of PROVIDERS)
    play(`${name}, front ${front}, provider ${provider}: the model refuses, fails, breaks off`, async (stage) => {
      const s = await open(stage);
      const c = client(s, "");
      const ask = (stream, question) => sdk.ask(c, { model: provider, question, stream });
      for (const stream of [false, true].filter((x) => can(x ? "stream" : "plain"))) {
        const no = sdk.failure(await thrown(() => ask(stream, QUESTIONS.hot)));
        assert.equal(no.status ?? 400, 400);
        assert.match(no.message, /temperature: too hot/, "in the model's own words");

        const broken = sdk.failure(await thrown(() => ask(stream, QUESTIONS.broken)));
        assert.equal(broken.status ?? 502, 502);
        assert.equal(broken.code, "upstream_status");
        assert.ok(!broken.message.includes(KEY), broken.message);

        if (!stream && front === provider) continue;       // whole documents pass: there is no stream that could break off
        const cut = await thrown(() => ask(stream, QUESTIONS.cut));
        assert.match(sdk.failure(cut).message, /\w/);
      }
      assert.ok(s.g.requests.some((l) => /^upstream_/.test(l.end)), s.g.tail());
      proved(front, provider, "errors", name);
    });

  play(`${name}, front ${front}: 400 names the field, 404 an unknown model, 401 a wrong key; the key opens`, async (stage) => {
    const s = await open(stage);
    const c = client(s, "");
    const bad = sdk.failure(await thrown(() => sdk.ask(c, { model: "openai", question: QUESTIONS.plain, ...sdk.bad })));
    assert.equal(bad.status ?? 400, 400);
    assert.ok(bad.message.includes(sdk.field), bad.message);
    if ("field" in bad) assert.equal(bad.field, sdk.field);

    const none = sdk.failure(await thrown(() => sdk.ask(c, { model: "no-such-model", question: QUESTIONS.plain, stream: true })));
    assert.equal(none.status ?? 404, 404);
    assert.equal(none.code, "model_not_found");
    assert.equal(s.mock.getRequests().length, 0);

    const wrong = sdk.failure(await thrown(() => sdk.ask(client(s, "/keyed", { key: "sk-client-wrong" }), { model: "openai", question: QUESTIONS.plain, stream: true })));
    assert.equal(wrong.status ?? 401, 401);
    assert.equal(wrong.code, "key_unknown");
    const right = await sdk.ask(client(s, "/keyed"), { model: "openai", question: QUESTIONS.plain, stream: true });
    assert.equal(right.text, WORDS);
    assert.ok(!JSON.stringify(s.g.log).includes(CLIENT_KEY), "the client's key is in no log line");
  });

  play(`${name}, front ${front}: leaving in the middle ends the model's work`, async (stage) => {
    const s = await open(stage);
    const leave = new AbortController();
    const asked = sdk.ask(client(s, ""), { model: "play", question: QUESTIONS.long, stream: true, signal: leave.signal, told: () => leave.abort() }).catch((e) => e);
    const call = await s.up.call();
    await call.stream();
    await call.token("Once upon a time");
    await call.gone();
    await asked;
    await eventually(() => s.g.requests.some((l) => l.end === "client_closed"), "the line that says the client left");
  });

  if (sdk.retries)
    play(`${name}, front ${front}: a 429 is asked again, ${sdk.retries.waits ? "after as long as it says" : "in its own time"}${sdk.retries.heeds ? "; what will be refused again is not" : ""}`, async (stage) => {
      const s = await open(stage);
      let a;
      const waits = await skipping(WAIT_S * 1000, async () => {
        a = await sdk.ask(client(s, "", { retries: 2 }), { model: "openai", question: QUESTIONS.later, stream: true });
      });
      assert.equal(a.text, "Now.");
      assert.equal(s.mock.getRequests().length, 2);
      if (sdk.retries.waits) assert.equal(waits, 1, "it waited for what Retry-After says");
      if (!sdk.retries.heeds) return;

      const no = sdk.failure(await thrown(() => sdk.ask(client(s, "/refused", { retries: 2 }), { model: "openai", question: QUESTIONS.plain, stream: true })));
      assert.equal(no.status, 409);
      await s.g.turn();
      assert.equal(s.g.requests.filter((l) => l.route === "refused").length, 1, "X-Should-Retry: false is heeded");
    });
}
