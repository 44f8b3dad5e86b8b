// LangChain's ChatOpenAI, which speaks chat completions.
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { TOOLS, schema, session } from "./sdk.mjs";

const model = ({ base, key, retries }, name, more) => new ChatOpenAI({ model: name, apiKey: key, maxRetries: retries, useResponsesApi: false, configuration: { baseURL: base }, ...more });

async function say(bound, messages, { stream, signal, told }) {
  let said;
  let pieces = 0;
  if (stream) {
    for await (const chunk of await bound.stream(messages, { signal })) {
      said = said ? said.concat(chunk) : chunk;
      if (!chunk.content) continue;
      pieces++;
      told?.();
    }
  } else {
    said = await bound.invoke(messages, { signal });
  }
  const u = said.usage_metadata;
  return {
    said, text: said.content, reasoning: said.additional_kwargs.reasoning_content, finish: said.response_metadata.finish_reason, pieces,
    usage: u && { input: u.input_tokens, output: u.output_tokens },
  };
}

session({
  name: "@langchain/openai", front: "openai", path: "/v1", connect: (how) => how, retries: {}, quiet: true,
  kinds: ["plain", "stream", "usage", "reasoning"],
  // It understands no answer whose role comes late, and the mock says it behind the thoughts: so where bytes pass.
  blind: (provider, route, stream) => provider === "openai" && route === "" && stream,
  failure: (e) => ({ status: e.status, code: e.code, message: e.message, field: e.param }),
  bad: { more: { modelKwargs: { tools: 17 } } }, field: "tools",

  ask: (client, what) => say(model(client, what.model, { streamUsage: what.usage ?? true, ...what.more }), [new HumanMessage(what.question)], what),

  async tools(client, what) {
    const bound = model(client, what.model).bindTools(Object.entries(TOOLS).map(([name, tool]) => ({ type: "function", function: { name, description: tool.about, parameters: schema(name) } })));
    const messages = [new SystemMessage("Be brief."), new HumanMessage(what.question)];
    const { said } = await say(bound, messages, what);
    messages.push(said, ...said.tool_calls.map((call) => new ToolMessage({ tool_call_id: call.id, content: TOOLS[call.name].says })));
    const second = await say(bound, messages, what);
    return { calls: said.tool_calls.map(({ name, args }) => ({ name, args })), text: second.text };
  },
});
