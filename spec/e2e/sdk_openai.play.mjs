// OpenAI's own SDK: chat completions and the Responses API through the same session; completions, embeddings and the list of models.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import OpenAI from "openai";
import { ROOT, play } from "../flow/play.mjs";
import { CLIENT_KEY, PROVIDERS, TOOLS, WORDS, QUESTIONS, USAGE, open, proved, schema, session } from "./sdk.mjs";

const connect = ({ base, key, retries }) => new OpenAI({ apiKey: key, baseURL: base, maxRetries: retries });
const failure = (e) => ({ status: e.status, code: e.code, message: e.message, field: e.param });
const parsed = (calls) => calls.map(({ name, arguments: args }) => ({ name, args: JSON.parse(args) }));
const counted = (u, input, output) => u && { input: u[input], output: u[output] };

// ---- chat completions

async function chat(client, { model, messages, tools, stream, usage, signal, told, more }) {
  const body = { model, messages, tools, ...more };
  if (!stream) {
    const whole = await client.chat.completions.create(body, { signal });
    const { message, finish_reason } = whole.choices[0];
    return { message, finish: finish_reason, pieces: 1, usage: counted(whole.usage, "prompt_tokens", "completion_tokens"), model: whole.model };
  }
  const runner = client.chat.completions.stream({ ...body, ...(usage && { stream_options: { include_usage: true } }) }, { signal });
  let pieces = 0;
  let reasoning;
  for await (const chunk of runner) {
    const delta = chunk.choices[0]?.delta ?? {};
    if (delta.reasoning_content) reasoning = (reasoning ?? "") + delta.reasoning_content;
    if (delta.content) {
      pieces++;
      told?.();
    }
  }
  const whole = await runner.finalChatCompletion();
  return { message: { ...whole.choices[0].message, reasoning_content: reasoning }, finish: whole.choices[0].finish_reason, pieces, usage: counted(whole.usage, "prompt_tokens", "completion_tokens"), model: whole.model };
}

const functions = Object.entries(TOOLS).map(([name, tool]) => ({ type: "function", function: { name, description: tool.about, parameters: schema(name) } }));

session({
  name: "openai", front: "openai", path: "/v1", connect, failure, quiet: true, retries: { waits: true, heeds: true },
  kinds: ["plain", "stream", "usage", "reasoning"],
  bad: { more: { messages: [{ role: "user", content: 17 }] } }, field: "messages[0].content",

  async ask(client, { question, ...what }) {
    const a = await chat(client, { messages: [{ role: "user", content: question }], ...what });
    assert.equal(a.model, what.model, "the client's own name for the model");
    return { text: a.message.content, reasoning: a.message.reasoning_content, ...a };
  },

  async tools(client, { question, ...what }) {
    const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: question }];
    const first = await chat(client, { messages, tools: functions, ...what });
    assert.equal(first.finish, "tool_calls");
    const { reasoning_content, ...said } = first.message;
    messages.push(said, ...said.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: TOOLS[call.function.name].says })));
    const second = await chat(client, { messages, tools: functions, ...what });
    return { calls: parsed(said.tool_calls.map((c) => c.function)), text: second.message.content };
  },
});

// ---- responses

async function respond(client, { model, input, tools, stream, signal, told, more }) {
  const body = { model, input, tools, store: false, ...more };
  let pieces = 1;
  let whole;
  if (stream) {
    const runner = client.responses.stream(body, { signal });
    let number = 0;
    pieces = 0;
    for await (const event of runner) {
      if (model !== "responses") assert.equal(event.sequence_number, number++, "events are numbered without a gap (the mock's own are not)");
      if (event.type !== "response.output_text.delta") continue;
      pieces++;
      told?.();
    }
    whole = await runner.finalResponse();
  } else {
    whole = await client.responses.create(body, { signal });
  }
  const reasoning = whole.output.filter((item) => item.type === "reasoning").flatMap((item) => item.summary.map((part) => part.text)).join("\n\n");
  return { text: whole.output_text, reasoning, finish: whole.status, pieces, usage: counted(whole.usage, "input_tokens", "output_tokens"), output: whole.output };
}

session({
  name: "openai", front: "responses", path: "/v1", connect, failure, retries: { waits: true, heeds: true },
  kinds: ["plain", "stream", "usage", "reasoning"],
  bad: { more: { input: [{ role: "user", content: [{ type: "input_text", text: 17 }] }] } }, field: "input[0].content[0].text",

  ask: (client, { question, ...what }) => respond(client, { input: question, ...what }),

  async tools(client, { question, ...what }) {
    const tools = Object.entries(TOOLS).map(([name, tool]) => ({ type: "function", name, description: tool.about, parameters: schema(name), strict: false }));
    const input = [{ role: "user", content: question }];
    const first = await respond(client, { input, tools, ...what });
    const calls = first.output.filter((item) => item.type === "function_call");
    input.push(...first.output, ...calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: TOOLS[call.name].says })));
    const second = await respond(client, { input, tools, ...what });
    return { calls: parsed(calls), text: second.text };
  },
});

// ---- the rest of what it asks

play("openai: models are listed and told of by the names that clients use", async (stage) => {
  const s = await open(stage);
  const client = connect({ base: s.at(""), key: CLIENT_KEY, retries: 0 });
  assert.deepEqual((await client.models.list()).data.map((m) => m.id).sort(), [...s.names].sort());
  assert.equal((await client.models.retrieve("gemini")).id, "gemini");
  await assert.rejects(client.models.retrieve("nope"), (e) => e.status === 404 && e.code === "model_not_found");
});

play("openai: completions, whole and streamed, from every provider", async (stage) => {
  const s = await open(stage);
  const client = connect({ base: s.at(""), key: CLIENT_KEY, retries: 0 });
  const expected = (model) => (model === "ollama" ? { input: 0, output: 0 } : USAGE);      // the mock's Ollama counts nothing
  for (const model of PROVIDERS) {
    const whole = await client.completions.create({ model, prompt: QUESTIONS.plain });
    assert.equal(whole.choices[0].text, WORDS);
    assert.deepEqual(counted(whole.usage, "prompt_tokens", "completion_tokens"), expected(model));
    proved("completions", model, "plain", "openai");

    let text = "", usage;
    for await (const chunk of await client.completions.create({ model, prompt: QUESTIONS.plain, stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.text ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, WORDS);
    assert.deepEqual(counted(usage, "prompt_tokens", "completion_tokens"), expected(model));
    for (const kind of ["stream", "usage"]) proved("completions", model, kind, "openai");

    await assert.rejects(client.completions.create({ model, prompt: QUESTIONS.hot }), (e) => e.status === 400 && /too hot/.test(e.message));
    await assert.rejects(client.completions.create({ model, prompt: QUESTIONS.broken, stream: true }), (e) => e.status === 502 && e.code === "upstream_status");
    proved("completions", model, "errors", "openai");
  }
});

// The mock answers with numbers whatever it was asked for, and knows neither Gemini's batchEmbedContents nor what Ollama's /api/embed answers.
play("openai: embeddings, as numbers and as the base64 that the SDK asks for by itself", async (stage) => {
  const s = await open(stage);
  const client = connect({ base: s.at(""), key: CLIENT_KEY, retries: 0 });
  const expected = [[0, [0.5, -0.25, 1]], [1, [0.5, -0.25, 1]]];
  const gemini = (asked) => asked.requests.map(() => ({ values: expected[0][1] }));
  const ollama = (asked) => asked.input.map(() => expected[0][1]);
  s.up.serve((call) => call.reply(200, { "Content-Type": "application/json" }, JSON.stringify({ embeddings: (call.path.endsWith("/api/embed") ? ollama : gemini)(call.json) })));
  for (const [model, more] of [["openai", { encoding_format: "float" }], ["ollama_embeds", {}], ["ollama_embeds", { encoding_format: "float" }], ["gemini_embeds", {}], ["gemini_embeds", { encoding_format: "float" }]]) {
    const { data } = await client.embeddings.create({ model, input: ["one", "two"], ...more });
    assert.deepEqual(data.map((d) => [d.index, [...d.embedding]]), expected, `${model} ${JSON.stringify(more)}`);
  }
  assert.deepEqual(s.up.calls[0].json.input, ["one", "two"]);
  assert.deepEqual(s.up.calls[2].json.requests.map((r) => r.content.parts[0].text), ["one", "two"]);
  for (const model of ["anthropic", "responses"]) await assert.rejects(client.embeddings.create({ model, input: "one" }), (e) => e.status === 400 && e.code === "operation_not_supported");
});

// The mock tells no logprobs: the recordings of spec/wire stand in for it.
play("openai: logprobs in chat, Responses and completions, from every provider that tells them", async (stage) => {
  const recorded = ["openai", "gemini", "ollama", "responses"].map((provider) => {
    const of = (kind) => fs.readFileSync(path.join(ROOT, "spec/wire", provider, `logprobs.${kind}`), "utf8");
    const { text, logprobs } = JSON.parse(of("json"));
    return { provider, bytes: of(provider === "ollama" ? "ndjson" : "sse"), text, told: logprobs.map(([token, logprob, bytes]) => ({ token, logprob, bytes })) };
  });
  const up = await stage.upstream({ base: "" });
  up.serve(async (call) => {
    const r = recorded.find(({ provider }) => call.path.startsWith(`/${provider}/`));
    await call.head(200, { "Content-Type": r.provider === "ollama" ? "application/x-ndjson" : "text/event-stream" });
    await call.write(r.bytes);
    await call.end();
  });
  const g = await stage.gateway(`local sluice = require "sluice"
local counts = sluice.policy { name = "counts", api = 1 }
counts.filter = { changes = false, text = function(text, ctx) ctx.state.seen = (ctx.state.seen or 0) + #text end }
local edits = sluice.policy { name = "edits", api = 1 }
edits.filter = { match = sluice.match.email, replace = "[email]" }
local names = { "openai", "gemini", "ollama", "responses" }
local models = {}
for _, name in ipairs(names) do models[name] = { provider = name, url = "${up.url}/" .. name, model = "m" } end
return sluice.config { api = 1, listen = "127.0.0.1:0", models = models, routes = {
  v1 = { path = "/v1/*", models = names, policies = { counts } }, edited = { path = "/edited/v1/*", models = names, policies = { edits } } } }
`);
  const client = connect({ base: `http://127.0.0.1:${g.port}/v1`, key: CLIENT_KEY, retries: 0 });
  const plain = (list) => list.map(({ token, logprob, bytes }) => ({ token, logprob, bytes }));
  for (const { provider: model, text, told } of recorded) {
    const chatBody = { model, messages: [{ role: "user", content: "Hi" }], logprobs: true, top_logprobs: 2 };
    const whole = (await client.chat.completions.create(chatBody)).choices[0];
    assert.equal(whole.message.content, text);
    assert.deepEqual(plain(whole.logprobs.content), told);
    assert.ok(whole.logprobs.content.every((t) => t.top_logprobs.length >= 1 && t.top_logprobs[0].token === t.token), "what else it might have been, too");
    assert.deepEqual((await client.chat.completions.stream(chatBody).finalChatCompletion()).choices[0].logprobs.content, whole.logprobs.content);

    const respondBody = { model, input: "Hi", store: false, include: ["message.output_text.logprobs"], top_logprobs: 2 };
    const response = await client.responses.create(respondBody);
    assert.deepEqual(plain(response.output[0].content[0].logprobs), told);
    assert.deepEqual((await client.responses.stream(respondBody).finalResponse()).output[0].content[0].logprobs, response.output[0].content[0].logprobs);

    const legacy = (await client.completions.create({ model, prompt: "Hi", logprobs: 2 })).choices[0];
    assert.deepEqual(legacy.logprobs.tokens, told.map((t) => t.token));
    assert.deepEqual(legacy.logprobs.token_logprobs, told.map((t) => t.logprob));
    assert.ok(legacy.logprobs.top_logprobs.every((top, i) => top[told[i].token] === told[i].logprob));

    const edited = connect({ base: `http://127.0.0.1:${g.port}/edited/v1`, key: CLIENT_KEY, retries: 0 });
    await assert.rejects(edited.chat.completions.create(chatBody), (e) => e.status === 400 && e.code === "param_not_supported" && e.param === "logprobs" && /"edits"/.test(e.message));
  }
});
