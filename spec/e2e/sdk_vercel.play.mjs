// The Vercel AI SDK: its OpenAI-compatible provider (chat completions), its OpenAI provider (the Responses API), and what useChat is made of.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, DefaultChatTransport, RetryError, generateText, jsonSchema, readUIMessageStream, stepCountIs, streamText, tool } from "ai";
import { TOOLS, schema, session } from "./sdk.mjs";

const counted = (u) => (u?.inputTokens === undefined ? undefined : { input: u.inputTokens, output: u.outputTokens });

// A failure within a stream is a part of it, and may be the gateway's words alone.
function failure(thrown) {
  const e = RetryError.isInstance(thrown) ? thrown.lastError : thrown;
  if (!APICallError.isInstance(e)) return { code: e.code, message: e.message ?? String(e) };
  const told = JSON.parse(e.responseBody).error;
  return { status: e.statusCode, code: told.code, message: told.message, field: told.param };
}

async function generate({ make, retries }, { model, question, stream, tools, signal, told, more, usage = true }) {
  const call = { model: make(model, usage), prompt: question, tools, stopWhen: stepCountIs(2), maxRetries: retries, abortSignal: signal, ...more };
  if (!stream) {
    const r = await generateText(call);
    return { text: r.text, reasoning: r.reasoningText, finish: r.finishReason, pieces: 1, usage: counted(r.usage), steps: r.steps };
  }
  const r = streamText({ ...call, onError() {} });
  let pieces = 0;
  for await (const part of r.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type !== "text-delta") continue;
    pieces++;
    told?.();
  }
  return { text: await r.text, reasoning: await r.reasoningText, finish: await r.finishReason, pieces, usage: counted(await r.usage), steps: await r.steps };
}

const tools = Object.fromEntries(Object.entries(TOOLS).map(([name, t]) => [name, tool({ description: t.about, inputSchema: jsonSchema(schema(name)), execute: () => t.says })]));

async function called(client, what) {
  const r = await generate(client, { ...what, tools });
  return { calls: r.steps[0].toolCalls.map((c) => ({ name: c.toolName, args: c.input })), text: r.text };
}

session({
  name: "ai + @ai-sdk/openai-compatible", front: "openai", path: "/v1", failure, quiet: true, retries: { waits: true },
  kinds: ["plain", "stream", "usage", "reasoning"],
  bad: { more: { providerOptions: { house: { stream_options: 17 } } } }, field: "stream_options",
  connect: ({ base, key, retries }) => ({ retries, make: (model, usage) => createOpenAICompatible({ name: "house", baseURL: base, apiKey: key, includeUsage: usage })(model) }),
  ask: generate, tools: called,
});

// Its provider refers to items by their ids unless it is told store: false.
session({
  name: "ai + @ai-sdk/openai", front: "responses", path: "/v1", failure, retries: { waits: true },
  kinds: ["plain", "stream", "usage", "reasoning"],
  bad: { more: { providerOptions: { openai: { previousResponseId: "resp_1" } } } }, field: "previous_response_id",
  connect: ({ base, key, retries }) => ({ retries, make: (model) => createOpenAI({ baseURL: base, apiKey: key }).responses(model) }),
  ask: generate, tools: called,
});

// ---- useChat: the transport, and the reader of the stream

async function chat({ base, key }, { model, messages, signal, told, more }) {
  const transport = new DefaultChatTransport({ api: base, headers: { Authorization: `Bearer ${key}` }, body: { model, ...more } });
  const stream = await transport.sendMessages({ chatId: "c", trigger: "submit-message", messages, abortSignal: signal });
  let failed;
  let last;
  let pieces = 0;
  for await (const message of readUIMessageStream({ stream, onError: (e) => (failed ??= e) })) {
    last = message;
    pieces++;
    if (message.parts.some((p) => p.type === "text" && p.text)) told?.();
  }
  if (failed) throw failed;
  const of = (type) => last.parts.filter((p) => p.type === type).map((p) => p.text).join("");
  return { message: last, text: of("text"), reasoning: of("reasoning"), finish: "stop", pieces };
}

const asked = (text) => [{ id: "1", role: "user", parts: [{ type: "text", text }] }];

session({
  name: "ai (useChat)", front: "ui", path: null,
  kinds: ["stream", "reasoning"],
  connect: (how) => how,
  // The transport throws the body of a refusal as it came.
  failure(e) {
    const told = /^\{/.test(e.message) ? JSON.parse(e.message).error : { message: e.message };
    return { code: told.code, message: told.message };
  },
  bad: { question: undefined }, field: "messages[0].parts[0].text",

  ask: (client, { question, ...what }) => chat(client, { messages: asked(question), ...what }),

  async tools(client, { question, ...what }) {
    const messages = asked(question);
    const first = await chat(client, { messages, ...what });
    const calls = first.message.parts.filter((p) => p.type.startsWith("tool-"));
    const parts = first.message.parts.map((p) => (p.type.startsWith("tool-") ? { ...p, state: "output-available", output: TOOLS[p.type.slice(5)].says } : p));
    const second = await chat(client, { messages: [...messages, { ...first.message, id: "2", parts }], ...what });
    return { calls: calls.map((p) => ({ name: p.type.slice(5), args: p.input })), text: second.text };
  },
});
