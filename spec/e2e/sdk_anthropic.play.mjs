// Anthropic's own SDK, in front of all providers.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { play } from "../flow/play.mjs";
import { CLIENT_KEY, QUESTIONS, TOOLS, open, schema, session, thrown } from "./sdk.mjs";

const connect = ({ base, key, retries }) => new Anthropic({ apiKey: key, baseURL: base, maxRetries: retries });

async function message(client, { model, messages, tools, stream, signal, told, more }) {
  const body = { model, max_tokens: 500, messages, tools, ...more };
  let pieces = 1;
  let whole;
  if (stream) {
    const runner = client.messages.stream(body, { signal });
    pieces = 0;
    runner.on("text", () => {
      pieces++;
      told?.();
    });
    whole = await runner.finalMessage();
  } else {
    whole = await client.messages.create(body, { signal });
  }
  const of = (type, member) => whole.content.filter((b) => b.type === type).map((b) => b[member]).join("");
  return { text: of("text", "text"), reasoning: of("thinking", "thinking"), finish: whole.stop_reason, pieces, content: whole.content, usage: { input: whole.usage.input_tokens, output: whole.usage.output_tokens } };
}

session({
  name: "@anthropic-ai/sdk", front: "anthropic", path: "", connect, retries: { waits: true, heeds: true },
  kinds: ["plain", "stream", "usage", "reasoning"],
  failure: (e) => ({ status: e.status, code: e.error?.error?.details?.error_code, message: e.message }),
  bad: { more: { messages: [{ role: "user", content: 17 }] } }, field: "messages.0.content",

  ask: (client, { question, ...what }) => message(client, { messages: [{ role: "user", content: question }], ...what }),

  async tools(client, { question, ...what }) {
    const tools = Object.entries(TOOLS).map(([name, tool]) => ({ name, description: tool.about, input_schema: schema(name) }));
    const messages = [{ role: "user", content: question }];
    const first = await message(client, { messages, tools, more: { system: "Be brief." }, ...what });
    assert.equal(first.finish, "tool_use");
    const calls = first.content.filter((b) => b.type === "tool_use");
    messages.push({ role: "assistant", content: first.content }, { role: "user", content: calls.map((b) => ({ type: "tool_result", tool_use_id: b.id, content: TOOLS[b.name].says })) });
    const second = await message(client, { messages, tools, more: { system: "Be brief." }, ...what });
    return { calls: calls.map((b) => ({ name: b.name, args: b.input })), text: second.text };
  },
});

play("@anthropic-ai/sdk: what it throws is of the kind that the status says", async (stage) => {
  const s = await open(stage);
  const ask = (route, how) => thrown(() => connect({ base: s.at(route, ""), key: CLIENT_KEY, retries: 0, ...how }).messages.create({ model: "anthropic", max_tokens: 5, messages: [{ role: "user", content: QUESTIONS.plain }] }));
  assert.ok(await ask("/keyed", { key: "sk-wrong" }) instanceof Anthropic.AuthenticationError);
  s.mock.nextRequestError(429, { message: "slow down" });
  const slow = await ask("");
  assert.ok(slow instanceof Anthropic.RateLimitError);
  assert.equal(slow.type ?? slow.error.error.type, "rate_limit_error");
});
