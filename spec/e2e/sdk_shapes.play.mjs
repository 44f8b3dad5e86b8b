// Google's and Ollama's own clients fit no front: they show what their services are asked. The same conversation once from them and once through the gateway
// must arrive alike, and what is answered must be understood alike.
import assert from "node:assert/strict";
import { GoogleGenAI } from "@google/genai";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { play } from "../flow/play.mjs";
import { CLIENT_KEY, QUESTIONS, TOOLS, USAGE, WORDS, open, schema } from "./sdk.mjs";

const ASKED = "How is the weather?";
const args = TOOLS.weather.args;
const openai = (s) => new OpenAI({ apiKey: CLIENT_KEY, baseURL: s.at(""), maxRetries: 0 });

// What an OpenAI client says of it.
const conversation = (model) => ({
  model, temperature: 0.5, max_tokens: 100, top_p: 0.9, seed: 7, stop: ["END"],
  messages: [
    { role: "system", content: "Be brief." }, { role: "user", content: ASKED },
    { role: "assistant", content: null, tool_calls: [{ id: "call_0", type: "function", function: { name: "weather", arguments: JSON.stringify(args) } }] },
    { role: "tool", tool_call_id: "call_0", content: TOOLS.weather.says },
  ],
  tools: [{ type: "function", function: { name: "weather", description: TOOLS.weather.about, parameters: schema("weather") } }],
});

const read = async (stream) => {
  const out = [];
  for await (const piece of await stream) out.push(piece);
  return out;
};

// The same two requests, as they came to the upstream.
async function both(s, model, theirs) {
  await openai(s).chat.completions.create(conversation(model));
  await theirs();
  const [ours, their] = s.up.calls.map((c) => ({ path: `${c.method} ${c.path}`, body: c.json, key: c.header("x-goog-api-key") }));
  assert.equal(ours.path, their.path);
  return [ours.body, their.body];
}

play("@google/genai asks Gemini as the gateway does", async (stage) => {
  const s = await open(stage);
  s.up.serve(async (call) => {
    await call.stream();
    await call.event({ candidates: [{ index: 0, content: { role: "model", parts: [{ text: "Mild." }] }, finishReason: "STOP" }] });
    await call.end();
  });
  const client = new GoogleGenAI({ apiKey: CLIENT_KEY, httpOptions: { baseUrl: s.up.url.replace(/\/v1$/, ""), apiVersion: "v1" } });
  const [ours, their] = await both(s, "gemini_embeds", () => read(client.models.generateContentStream({
    model: "gemini-embedding-001",
    contents: [
      { role: "user", parts: [{ text: ASKED }] },
      { role: "model", parts: [{ functionCall: { id: "call_0", name: "weather", args } }] },
      { role: "user", parts: [{ functionResponse: { id: "call_0", name: "weather", response: { output: TOOLS.weather.says } } }] },
    ],
    config: {
      systemInstruction: "Be brief.", temperature: 0.5, maxOutputTokens: 100, topP: 0.9, seed: 7, stopSequences: ["END"],
      tools: [{ functionDeclarations: [{ name: "weather", description: TOOLS.weather.about, parametersJsonSchema: schema("weather") }] }],
    },
  })));
  delete their.systemInstruction.role;                     // the client says "user", which Google's reference has no use for
  assert.equal(ours.contents[1].parts[0].thoughtSignature, "skip_thought_signature_validator");      // a call that this model did not make itself
  delete ours.contents[1].parts[0].thoughtSignature;
  assert.deepEqual(ours, their);
});

play("ollama's client asks Ollama as the gateway does", async (stage) => {
  const s = await open(stage);
  s.up.serve(async (call) => {
    await call.head(200, { "Content-Type": "application/x-ndjson" });
    await call.write('{"model":"bge-m3","message":{"role":"assistant","content":"Mild."},"done":true,"done_reason":"stop"}\n');
    await call.end();
  });
  const { tools } = conversation();
  const [ours, their] = await both(s, "ollama_embeds", () => read(new Ollama({ host: s.up.url }).chat({
    model: "bge-m3", stream: true, tools, options: { temperature: 0.5, num_predict: 100, top_p: 0.9, seed: 7, stop: ["END"] },
    messages: [
      { role: "system", content: "Be brief." }, { role: "user", content: ASKED },
      { role: "assistant", content: "", tool_calls: [{ function: { name: "weather", arguments: args } }] },
      { role: "tool", tool_name: "weather", content: TOOLS.weather.says },
    ],
  })));
  const [, , call, result] = ours.messages;
  assert.deepEqual([call.tool_calls[0].id, result.tool_call_id], ["call_0", "call_0"]);      // ids, which Ollama may leave out
  delete call.tool_calls[0].id;
  delete result.tool_call_id;
  assert.deepEqual(ours, their);
});

play("what Gemini and Ollama answer is what their clients read: text, calls, counts", async (stage) => {
  const s = await open(stage);
  const google = new GoogleGenAI({ apiKey: CLIENT_KEY, httpOptions: { baseUrl: s.mock.url } });
  const ollama = new Ollama({ host: s.mock.url });
  const contents = (question) => ({ model: "gemini-2.5-flash", contents: question });
  const chat = (question) => ({ model: "qwen3:8b", stream: true, messages: [{ role: "user", content: question }] });

  const theirs = {
    async gemini(question) {
      const parts = await read(google.models.generateContentStream(contents(question)));
      const calls = parts.flatMap((p) => p.functionCalls ?? []).map(({ name, args: a }) => ({ name, args: a }));
      const { promptTokenCount, candidatesTokenCount } = parts.at(-1).usageMetadata;
      return { text: calls.length ? "" : parts.map((p) => p.text ?? "").join(""), calls, usage: { input: promptTokenCount, output: candidatesTokenCount } };
    },
    async ollama(question) {
      const lines = await read(ollama.chat(chat(question)));
      const calls = lines.flatMap((l) => l.message.tool_calls ?? []).map((c) => ({ name: c.function.name, args: c.function.arguments }));
      return { text: lines.map((l) => l.message.content).join(""), calls, usage: { input: lines.at(-1).prompt_eval_count, output: lines.at(-1).eval_count } };
    },
  };
  for (const model of Object.keys(theirs))
    for (const question of [QUESTIONS.plain, QUESTIONS.tools]) {
      const { choices, usage } = await openai(s).chat.completions.create({ model, messages: [{ role: "user", content: question }] });
      const { content, tool_calls = [] } = choices[0].message;
      const ours = { text: content ?? "", calls: tool_calls.map((c) => ({ name: c.function.name, args: JSON.parse(c.function.arguments) })), usage: { input: usage.prompt_tokens, output: usage.completion_tokens } };
      assert.deepEqual(ours, await theirs[model](question), `${model}: ${question}`);
      assert.equal(ours.text, question === QUESTIONS.plain ? WORDS : "");
      assert.equal(ours.calls.length, question === QUESTIONS.plain ? 0 : 2);
      if (model === "gemini") assert.deepEqual(ours.usage, USAGE);
    }
});
