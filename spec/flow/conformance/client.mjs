// What reached the client, read as its front speaks: token, OpenAI's chat completions, Anthropic's messages; streamed or as one document. `told` gives
// { text, reasoning, refusal, tools, finish, usage, error, ended: how often }, of an answer that is still arriving what there is of it.
import assert from "node:assert/strict";

export const frontOf = (path) => path.endsWith("/chat/completions") ? "openai" : path.endsWith("/messages") ? "anthropic" : "token";

const decode = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

class Told {
  text = "";
  reasoning = "";
  refusal = "";
  tools = [];
  finish = undefined;
  usage = undefined;
  error = undefined;
  ended = 0;

  say(channel, text) { if (typeof text === "string") this[channel] += text; }
  fail(error) {
    this.error = error;
    this.ended++;
  }
}

const FRONTS = {
  token: {
    event(told, data) {
      if (data === "[DONE]") return void told.ended++;
      const value = JSON.parse(data);
      if ("error" in value) return this.failed(told, value);
      told.say("text", value.token);
    },
    failed(told, { error, ...rest }) { told.fail({ ...rest, message: error }); },
  },

  openai: {
    usage: (u) => u && { input: u.prompt_tokens, output: u.completion_tokens },
    message(told, m) {
      told.say("text", m.content);
      told.say("reasoning", m.reasoning_content);
      told.say("refusal", m.refusal);
      for (const { id, function: f } of m.tool_calls ?? []) told.tools.push({ id, name: f.name, arguments: f.arguments });
    },
    event(told, data) {
      if (data === "[DONE]") return void told.ended++;
      const value = JSON.parse(data);
      if (value.error) return this.failed(told, value);
      told.usage = this.usage(value.usage) ?? told.usage;
      const [choice] = value.choices;
      if (!choice) return;
      this.message(told, choice.delta);
      told.finish = choice.finish_reason ?? told.finish;
    },
    failed(told, { error, ...rest }) { told.fail({ ...rest, ...error }); },
    whole(told, { choices: [choice], usage }) {
      this.message(told, choice.message);
      Object.assign(told, { finish: choice.finish_reason, usage: this.usage(usage), ended: 1 });
    },
  },

  anthropic: {
    usage: (u) => u && { input: u.input_tokens, output: u.output_tokens },
    event(told, data) {
      const value = JSON.parse(data);
      const handlers = {
        error: () => this.failed(told, value),
        message_stop: () => void told.ended++,
        content_block_start: () => {
          const { type, id, name } = value.content_block;
          if (type === "tool_use") told.tools.push({ id, name, arguments: "" });
        },
        content_block_delta: () => {
          told.say("text", value.delta.text);
          told.say("reasoning", value.delta.thinking);
          if ("partial_json" in value.delta) told.tools.at(-1).arguments += value.delta.partial_json;
        },
        message_delta: () => Object.assign(told, { finish: value.delta.stop_reason, usage: this.usage(value.usage) }),
      };
      handlers[value.type]?.();
    },
    failed(told, { error, type, ...rest }) {
      assert.equal(type, "error");
      told.fail({ code: error.details?.error_code, ...rest, ...error });
    },
    whole(told, { content, stop_reason: finish, usage }) {
      for (const block of content) {
        told.say("text", block.text);
        told.say("reasoning", block.thinking);
        if (block.type === "tool_use") told.tools.push({ id: block.id, name: block.name, arguments: JSON.stringify(block.input) });
      }
      Object.assign(told, { finish, usage: this.usage(usage), ended: 1 });
    },
  },
};

// `answer`: an Answer of ../client.mjs.
export function told(answer, front) {
  const told = new Told(), type = answer.headers.get("content-type") ?? "";
  if (type.startsWith("text/event-stream")) {
    for (const block of answer.events) {
      const data = block.split("\n").find((line) => line.startsWith("data: "))?.slice(6);
      if (data === undefined) continue;
      assert.equal(told.ended, 0, `an event behind the end: ${block}`);
      FRONTS[front].event(told, data);
    }
    return told;
  }
  if (!answer.over) return told;
  const text = decode(answer.body);
  if (!type.startsWith("application/json")) return Object.assign(told, { text, ended: 1 });
  FRONTS[front][answer.status >= 400 ? "failed" : "whole"](told, JSON.parse(text));
  return told;
}
