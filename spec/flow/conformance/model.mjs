// What a scripted model sends: the steps of a try (spec/conformance/README.md) as pieces, in the dialect that it is asked in and cut as a cutting says.
//
// A piece is { type }: the head of a 200 with that Content-Type, { bytes }, { until }: the client has this text now, { end: "close" | "reset" }, or
// { status, headers, body }: a whole other answer.
import assert from "node:assert/strict";

const sse = (value, name) => `${name ? `event: ${name}\n` : ""}data: ${JSON.stringify(value)}\n\n`;

// ---- dialects

class OpenAI {
  tools = 0;

  #chunk(choices, more) { return sse({ id: "chatcmpl-c", object: "chat.completion.chunk", created: 1, model: "m", choices, ...more }); }
  #delta(delta, finish = null) { return this.#chunk([{ index: 0, delta, finish_reason: finish }]); }

  begin() { return ""; }
  text(channel, text) { return this.#delta({ [OpenAI.channels[channel]]: text }); }
  tool(tool) { return this.#delta({ tool_calls: [{ index: this.tools++, ...OpenAI.call(tool) }] }); }
  ending(finish, usage) {
    const counts = usage ? this.#chunk([], { usage: OpenAI.usage(usage) }) : "";
    return this.#delta({}, finish ?? (this.tools ? "tool_calls" : "stop")) + counts + "data: [DONE]\n\n";
  }

  static channels = { content: "content", reasoning: "reasoning_content", refusal: "refusal" };
  static call = ({ id, name, arguments: args }) => ({ id, type: "function", function: { name, arguments: args } });
  static usage = ({ input, output }) => ({ prompt_tokens: input, completion_tokens: output, total_tokens: input + output });

  // Asked without `stream`: one document.
  static document(steps) {
    const message = { role: "assistant", content: null };
    let finish, usage;
    for (const step of steps) {
      for (const [channel, member] of Object.entries(this.channels)) if (channel in step) message[member] = (message[member] ?? "") + step[channel];
      if (step.tool) (message.tool_calls ??= []).push(this.call(step.tool));
      finish = step.finish ?? finish;
      usage = step.usage ?? usage;
    }
    finish ??= message.tool_calls ? "tool_calls" : "stop";
    const choices = [{ index: 0, message, finish_reason: finish }];
    return { id: "chatcmpl-c", object: "chat.completion", created: 1, model: "m", choices, usage: usage && this.usage(usage) };
  }
}

class Anthropic {
  #index = -1;
  #channel = null;
  #called = false;
  #usage = { input: 1, output: 1 };

  #event(value) { return sse(value, value.type); }
  #close() {
    if (this.#channel === null) return "";
    this.#channel = null;
    return this.#event({ type: "content_block_stop", index: this.#index });
  }
  #open(channel, block) {
    const before = this.#close();
    this.#channel = channel;
    return before + this.#event({ type: "content_block_start", index: ++this.#index, content_block: block });
  }
  #delta(delta) { return this.#event({ type: "content_block_delta", index: this.#index, delta }); }

  begin(usage) {
    this.#usage = usage ?? this.#usage;
    const counts = { input_tokens: this.#usage.input, output_tokens: 1 };
    const message = { id: "msg_c", type: "message", role: "assistant", model: "m", content: [], stop_reason: null, stop_sequence: null, usage: counts };
    return this.#event({ type: "message_start", message });
  }
  text(channel, text) {
    const thinks = channel === "reasoning";
    const block = thinks ? { type: "thinking", thinking: "", signature: "" } : { type: "text", text: "" };
    return (this.#channel === channel ? "" : this.#open(channel, block)) + this.#delta(thinks ? { type: "thinking_delta", thinking: text } : { type: "text_delta", text });
  }
  tool({ id, name, arguments: args }) {
    this.#called = true;
    return this.#open("tool", { type: "tool_use", id, name, input: {} }) + this.#delta({ type: "input_json_delta", partial_json: args }) + this.#close();
  }
  ending(finish = this.#called ? "tool_calls" : "stop") {
    const reason = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" }[finish];
    return this.#close() + this.#event({ type: "message_delta", delta: { stop_reason: reason, stop_sequence: null }, usage: { output_tokens: this.#usage.output } }) +
      this.#event({ type: "message_stop" });
  }
}

// ---- cuttings

export const CUTTINGS = ["as given", "whole", "in crumbs"];

const channelOf = (step) => step && ["content", "reasoning", "refusal"].find((c) => c in step);

// Neighbouring texts of one channel become one step, or one for each character.
function recut(steps, cutting) {
  if (cutting === "as given") return steps;
  const merged = [];
  for (const step of steps) {
    const channel = channelOf(step), last = merged.at(-1);
    if (channel && channelOf(last) === channel) last[channel] += step[channel];
    else merged.push({ ...step });
  }
  if (cutting === "whole") return merged;
  return merged.flatMap((step) => {
    const channel = channelOf(step);
    return channel ? [...step[channel]].map((c) => ({ [channel]: c })) : [step];
  });
}

// Bytes that follow one another as one piece, or in pieces of seven.
function repack(pieces, cutting) {
  const out = [];
  for (const piece of pieces) {
    if (!("bytes" in piece) || cutting === "as given") out.push(piece);
    else if (cutting === "whole" && out.length && "bytes" in out.at(-1)) out.at(-1).bytes = Buffer.concat([out.at(-1).bytes, piece.bytes]);
    else if (cutting === "whole") out.push({ ...piece });
    else for (let at = 0; at < piece.bytes.length; at += 7) out.push({ bytes: piece.bytes.subarray(at, at + 7) });
  }
  return out;
}

// ---- a try

const KNOWN = ["content", "reasoning", "refusal", "tool", "usage", "finish", "raw", "until", "status", "headers", "body", "end"];

function plain(step) {
  if (typeof step === "string") return { content: step };
  for (const name of Object.keys(step)) assert.ok(KNOWN.includes(name), `a step has no member "${name}"`);
  return step;
}

// Its bytes in pieces; what it ends with, unless its script says so.
function streamed(steps, dialect) {
  const finish = steps.findLast((s) => s.finish)?.finish, usage = steps.findLast((s) => s.usage)?.usage;
  const out = [], put = (bytes) => bytes && out.push({ bytes: Buffer.from(bytes) });
  if (!steps[0]?.raw) put(dialect.begin(usage));
  for (const step of steps) {
    const channel = channelOf(step);
    if (channel) put(dialect.text(channel, step[channel]));
    else if (step.tool) put(dialect.tool(step.tool));
    else if (step.raw) put(step.raw);
    else if ("until" in step) out.push(step);
  }
  if (!steps.some((s) => s.raw || s.end)) put(dialect.ending(finish, usage));
  return out;
}

// A document that breaks off has its first half.
function document(steps, broken) {
  const bytes = Buffer.from(JSON.stringify(OpenAI.document(steps)));
  return [{ bytes: broken ? bytes.subarray(0, bytes.length / 2) : bytes }];
}

// steps: of one try; path, streams: how it was asked.
export function pieces(steps, path, streams, cutting) {
  const all = recut(steps.map(plain), cutting), end = all.find((s) => s.end)?.end;
  if (all[0]?.status) return [all[0]];
  const Dialect = path.endsWith("/messages") ? Anthropic : path.endsWith("/chat/completions") ? OpenAI : assert.fail(`no dialect is known for ${path}`);
  assert.ok(streams || Dialect === OpenAI, "a whole document is known of OpenAI's chat completions only");
  const body = streams ? streamed(all, new Dialect()) : document(all, end);
  return [{ type: streams ? "text/event-stream" : "application/json" }, ...repack(body, cutting), { end: end ?? "close" }];
}
