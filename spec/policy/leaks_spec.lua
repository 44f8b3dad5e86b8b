-- The same secrets through every front, before every provider, in every place of a question and every channel of an answer, with redaction on: never in what
-- the upstream got, never in what the client got, wherever the bytes are cut; and the guard did run, for it says how often.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local pairs_of = require "spec.policy.pairs"

local EMAIL, CARD, KEY = "jane.doe@example.com", "4111 1111 1111 1111", "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
local SECRETS = { EMAIL, CARD, KEY }
local ALL = ("My mail is %s, my card %s, my key %s."):format(EMAIL, CARD, KEY)

local gateways = setmetatable({}, { __index = function(all, provider)
  local g = pairs_of.gateway(provider, "policies = { sluice.parts.redact { restore = false }, sluice.parts.mask_secrets {} }")
  rawset(all, provider, g)
  return g
end })

local function clean(text, where)
  for _, secret in ipairs(SECRETS) do
    if text:find(secret, 1, true) then error(("%s holds %s:\n%s"):format(where, secret, text), 0) end
  end
end

-- JSON, also as one who decodes it would see it.
local function each_text(value, fn)
  if type(value) == "string" then
    fn(value)
    local inner = value:find "^%s*[{%[]" and json.decode(value)
    if type(inner) == "table" then each_text(inner, fn) end
  elseif type(value) == "table" then
    for k, v in next, value do
      each_text(k, fn)
      each_text(v, fn)
    end
  end
end

local function clean_json(text, where)
  clean(text, where)
  local value = json.decode(text)
  if type(value) == "table" then each_text(value, function(s) clean(s, where) end) end
end

local CHANNELS = { "text", "reasoning", "refusal" }

local function clean_answer(x, where)
  for _, channel in ipairs(CHANNELS) do clean(x[channel], where .. ", " .. channel) end
  for _, other in pairs(x.others) do clean(other, where .. ", another choice") end
  for _, tool in ipairs(x.tools) do clean_json(tool.arguments, where .. ", the arguments of a call") end
  for _, event in ipairs(x.events) do each_text(event, function(s) clean(s, where .. ", an event") end) end
  clean(pairs_of.streamed(x) or "", where)
  if x.body and x.body ~= "" then clean_json(x.body, where .. ", the body") end
end

-- The guards say what they did: at least so much. One that did not run says nothing.
local function guarded(x, redacted, masked, where)
  local tags = {}
  for name, v in pairs(x.tags) do tags[name] = tonumber(v) end
  local n = (tags.redact_masked or 0) + (tags.redact_removed or 0)
  if n < redacted then error(("%s: redact did not run: it tells of %d findings"):format(where, n), 0) end
  if (tags.secrets_masked or 0) < masked then error(("%s: mask_secrets did not run: it tells of %d findings"):format(where, tags.secrets_masked or 0), 0) end
end

-- ---- questions

local object = json.object
local function user(content) return { role = "user", content = content } end
local function text_part(kind) return { type = kind or "text", text = ALL } end
local CALL_ARGS = json.encode { to = EMAIL, card = CARD, ["for " .. KEY] = { KEY } }
local ESCAPED = '{"to":"jane.doe\\u0040example.com","card":"4111\\u00201111 1111 1111","key":"\\u0073k-proj-abcdefghijklmnopqrstuvwxyz0123456789"}'
local FUNCTION = { type = "function", ["function"] = { name = "f", parameters = { type = "object" } } }

local function called(arguments) return { role = "assistant", tool_calls = { { id = "c1", type = "function", ["function"] = { name = "f", arguments = arguments } } } } end

-- front -> { where, members of the body, { providers that take it, if not all } }
local QUESTIONS = {
  openai = {
    { "a question", { messages = { user(ALL) } } }, { "a part", { messages = { user { text_part(), text_part() } } } },
    { "the system's words", { messages = { { role = "system", content = ALL }, user "Hi" } } }, { "a developer's words", { messages = { { role = "developer", content = ALL }, user "Hi" } } },
    { "an earlier answer", { messages = { user "Hi", { role = "assistant", content = ALL }, user "And?" } } },
    { "an earlier refusal", { messages = { user "Hi", { role = "assistant", refusal = ALL }, user "And?" } } },
    { "earlier reasoning", { messages = { user "Hi", { role = "assistant", content = "x", reasoning_content = ALL }, user "And?" } } },
    { "arguments of an earlier call", { tools = { FUNCTION }, messages = { user "Hi", called(CALL_ARGS), { role = "tool", tool_call_id = "c1", content = "7" } } } },
    { "escapes in arguments", { tools = { FUNCTION }, messages = { user "Hi", called(ESCAPED), { role = "tool", tool_call_id = "c1", content = "7" } } } },
    { "what a tool said", { tools = { FUNCTION }, messages = { user "Hi", called "{}", { role = "tool", tool_call_id = "c1", content = ALL } } } },
    { "what a tool said in parts", { tools = { FUNCTION }, messages = { user "Hi", called "{}", { role = "tool", tool_call_id = "c1", content = { text_part() } } } } },
    { "a prediction", { prediction = { type = "content", content = ALL } }, { openai = true } },
    { "the name of a file", { messages = { user { { type = "file", file = { filename = ALL, file_data = "data:application/pdf;base64,JVBE" } } } } }, { openai = true, anthropic = true, responses = true } },
  },
  completions = { { "a prompt", { prompt = ALL } }, { "a prompt in a list", { prompt = { ALL } } } },
  responses = {
    { "a text", { input = ALL } }, { "instructions", { instructions = ALL, input = "Hi" } }, { "an item", { input = { { role = "user", content = ALL } } } },
    { "a part", { input = { { type = "message", role = "user", content = { text_part "input_text" } } } } }, { "a system's item", { input = { { role = "system", content = ALL }, { role = "user", content = "Hi" } } } },
    { "an earlier answer", { input = { { role = "user", content = "Hi" }, { type = "message", role = "assistant", content = { text_part "output_text" } }, { role = "user", content = "And?" } } } },
    { "arguments of an earlier call", { input = { { role = "user", content = "Hi" }, { type = "function_call", call_id = "c1", name = "f", arguments = CALL_ARGS }, { type = "function_call_output", call_id = "c1", output = "7" } } } },
    { "what a tool said", { input = { { role = "user", content = "Hi" }, { type = "function_call", call_id = "c1", name = "f", arguments = "{}" }, { type = "function_call_output", call_id = "c1", output = ALL } } } },
    { "a summary of thoughts", { input = { { role = "user", content = "Hi" }, { type = "reasoning", id = "rs_1", encrypted_content = "x", summary = { text_part "summary_text" } }, { role = "assistant", content = "x" }, { role = "user", content = "And?" } } } },
  },
  anthropic = {
    { "a question", { messages = { user(ALL) } } }, { "a block", { messages = { user { text_part() } } } }, { "the system", { system = ALL } }, { "blocks of the system", { system = { text_part() } } },
    { "an earlier call", { messages = { user "Hi", { role = "assistant", content = { { type = "tool_use", id = "c1", name = "f", input = json.decode(CALL_ARGS) } } }, user { { type = "tool_result", tool_use_id = "c1", content = "7" } } } } },
    { "a tool's result", { messages = { user "Hi", { role = "assistant", content = { { type = "tool_use", id = "c1", name = "f", input = object {} } } }, user { { type = "tool_result", tool_use_id = "c1", content = ALL } } } } },
    { "blocks of a tool's result", { messages = { user "Hi", { role = "assistant", content = { { type = "tool_use", id = "c1", name = "f", input = object {} } } }, user { { type = "tool_result", tool_use_id = "c1", content = { text_part() } } } } } },
    { "a document", { messages = { user { { type = "document", title = ALL, context = ALL, source = { type = "text", media_type = "text/plain", data = ALL } } } } }, { anthropic = true } },
    { "a document of blocks", { messages = { user { { type = "document", source = { type = "content", content = { text_part() } } } } } }, { anthropic = true } },
    { "a search's result", { messages = { user { { type = "search_result", source = "s", title = ALL, content = { text_part() } } } } }, { anthropic = true } },
    { "earlier thoughts", { messages = { user "Hi", { role = "assistant", content = { { type = "thinking", thinking = ALL, signature = "seal" }, { type = "text", text = "x" } } }, user "And?" } } },
  },
  ui = {
    { "a part", { messages = { { id = "1", role = "user", parts = { text_part() } } } } }, { "the system", { messages = { { id = "0", role = "system", parts = { text_part() } }, { id = "1", role = "user", parts = { { type = "text", text = "Hi" } } } } } },
    { "what a tool was given and said", { messages = { { id = "1", role = "user", parts = { { type = "text", text = "Hi" } } },
      { id = "2", role = "assistant", parts = { { type = "reasoning", text = ALL }, { type = "text", text = ALL }, { type = "tool-f", toolCallId = "c1", state = "output-available", input = { to = EMAIL, card = CARD, key = KEY }, output = { said = ALL } } } } } } },
  },
  embeddings = { { "an input", { input = ALL }, { openai = true, gemini = true, ollama = true } }, { "a list of inputs", { input = { "x", ALL } }, { openai = true, gemini = true, ollama = true } } },
}

local function question(front, more)
  local want = pairs_of.request(front, { text = "Hi", stream = front ~= "embeddings" or nil }, more)
  want.upstream = { t.fail(503) }
  return want
end

describe("a secret in a question", function()
  for front, list in pairs(QUESTIONS) do
    for _, provider in ipairs(pairs_of.providers) do
      it(("reaches no upstream: front %s before %s"):format(front, provider), function()
        local asked = 0
        for _, q in ipairs(list) do
          local where, more, only = table.unpack(q)
          if not only or only[provider] then
            local x = gateways[provider]:ask(question(front, more))
            where = ("%s before %s, %s"):format(front, provider, where)
            assert.equal(1, #x.upstream, where .. ": " .. tostring(x.body))
            clean_json(x.upstream[1].raw, where)
            guarded(x, 2, 1, where)
            asked = asked + 1
          end
        end
        assert.is_true(asked > 0 or front == "embeddings")
      end)
    end
  end

  it("reaches no upstream by the query of front token", function()
    for _, provider in ipairs(pairs_of.providers) do
      local want = pairs_of.request("token", { text = ALL })
      want.upstream = { t.fail(503) }
      local x = gateways[provider]:ask(want)
      clean_json(x.upstream[1].raw, "token before " .. provider)
      guarded(x, 2, 1, "token before " .. provider)
    end
  end)
end)

-- ---- answers

local function sse(...)
  local out = {}
  for i, v in ipairs { ... } do out[i] = (type(v) == "table" and v.type and "event: " .. v.type .. "\n" or "") .. "data: " .. (type(v) == "table" and json.encode(v) or v) .. "\n\n" end
  return table.concat(out)
end

local function lines(...)
  local out = {}
  for i, v in ipairs { ... } do out[i] = json.encode(v) .. "\n" end
  return table.concat(out)
end

-- The text in two halves, so that a secret stands over two events of the upstream's own.
local function halves(text)
  local at = text:find(CARD, 1, true) or text:find(EMAIL, 1, true) or #text // 2
  return text:sub(1, at + 5), text:sub(at + 6)
end

local ARGS = '{"to":"' .. EMAIL .. '","card":"' .. CARD .. '","key":"' .. KEY .. '","x":"jane.doe\\u0040example.com"}'

local function delta(d, i) return { choices = { { index = i or 0, delta = d } } } end
local function gem(part, i) return { candidates = { { index = i or 0, content = { role = "model", parts = { part } } } } } end
local function block(i, start, kind, member, text)
  local a, b = halves(text)
  return { type = "content_block_start", index = i, content_block = start }, { type = "content_block_delta", index = i, delta = { type = kind, [member] = a } },
    { type = "content_block_delta", index = i, delta = { type = kind, [member] = b } }, { type = "content_block_stop", index = i }
end

local HEAD, HALF = halves(ALL)
local ARGS_HEAD, ARGS_HALF = halves(ARGS)
local START = { type = "message_start", message = { model = "m", usage = { input_tokens = 1, output_tokens = 1 } } }
local function message_end(why) return { type = "message_delta", delta = { stop_reason = why }, usage = { output_tokens = 3 } }, { type = "message_stop" } end

local function anthropic(why, ...)
  local all = { START, ... }
  for _, e in ipairs { message_end(why) } do all[#all + 1] = e end
  return sse(table.unpack(all))
end

local function response(...)
  local all = { { type = "response.created", response = { model = "m" } }, ... }
  all[#all + 1] = { type = "response.completed", response = { output = {}, usage = { input_tokens = 1, output_tokens = 3 } } }
  return sse(table.unpack(all))
end

local function spoken(kind) return { type = kind, output_index = 0, delta = HEAD }, { type = kind, output_index = 0, delta = HALF } end

-- provider -> channel -> bytes
local ANSWERS = {
  openai = {
    content = sse(delta { content = HEAD }, delta { content = HALF }, { choices = { { index = 0, delta = object {}, finish_reason = "stop" } } }, "[DONE]"),
    reasoning = sse(delta { reasoning_content = HEAD }, delta { reasoning_content = HALF }, delta { content = "x" }, { choices = { { index = 0, delta = object {}, finish_reason = "stop" } } }, "[DONE]"),
    refusal = sse(delta { refusal = HEAD }, delta { refusal = HALF }, { choices = { { index = 0, delta = object {}, finish_reason = "stop" } } }, "[DONE]"),
    tool_args = sse(delta { tool_calls = { { index = 0, id = "c1", type = "function", ["function"] = { name = "f", arguments = ARGS_HEAD } } } },
      delta { tool_calls = { { index = 0, ["function"] = { arguments = ARGS_HALF } } } }, { choices = { { index = 0, delta = object {}, finish_reason = "tool_calls" } } }, "[DONE]"),
    choices = sse(delta({ content = HEAD }, 1), delta { content = HEAD }, delta({ content = HALF }, 1), delta { content = HALF }, { choices = { { index = 0, delta = object {}, finish_reason = "stop" } } },
      { choices = { { index = 1, delta = object {}, finish_reason = "stop" } } }, "[DONE]"),
  },
  anthropic = {
    content = anthropic("end_turn", block(0, { type = "text", text = "" }, "text_delta", "text", ALL)),
    reasoning = anthropic("end_turn", block(0, { type = "thinking", thinking = "" }, "thinking_delta", "thinking", ALL)),
    tool_args = anthropic("tool_use", block(0, { type = "tool_use", id = "c1", name = "f", input = object {} }, "input_json_delta", "partial_json", ARGS)),
  },
  gemini = {
    content = sse(gem { text = HEAD }, gem { text = HALF }, { candidates = { { finishReason = "STOP" } } }),
    reasoning = sse(gem { text = HEAD, thought = true }, gem { text = HALF, thought = true }, gem { text = "x" }, { candidates = { { finishReason = "STOP" } } }),
    tool_args = sse(gem { functionCall = { id = "c1", name = "f", args = json.decode(ARGS) } }, { candidates = { { finishReason = "STOP" } } }),
    choices = sse(gem({ text = HEAD }, 1), gem { text = HEAD }, gem({ text = HALF }, 1), gem { text = HALF }, { candidates = { { finishReason = "STOP" }, { index = 1, finishReason = "STOP" } } }),
  },
  ollama = {
    content = lines({ message = { content = HEAD } }, { message = { content = HALF } }, { message = { content = "" }, done = true, done_reason = "stop" }),
    reasoning = lines({ message = { thinking = HEAD } }, { message = { thinking = HALF } }, { message = { content = "x" } }, { message = { content = "" }, done = true, done_reason = "stop" }),
    tool_args = lines({ message = { content = "", tool_calls = { { ["function"] = { name = "f", arguments = json.decode(ARGS) } } } } }, { message = { content = "" }, done = true, done_reason = "stop" }),
  },
  responses = {
    content = response(spoken "response.output_text.delta"), reasoning = response(spoken "response.reasoning_summary_text.delta"), refusal = response(spoken "response.refusal.delta"),
    tool_args = response({ type = "response.output_item.done", output_index = 0, item = { type = "function_call", call_id = "c1", name = "f", arguments = ARGS } }),
  },
}

local SAYS = { openai = true, completions = true }       -- fronts whose clients may want several choices

local function answer(front, provider, bytes, stream, channel, pieces)
  local want = pairs_of.request(front, { text = "Hi", stream = stream }, channel == "choices" and { n = 2 } or nil)
  want.upstream = pairs_of.stream(provider, pieces or { bytes })
  return gateways[provider]:ask(want)
end

local function check(x, channel, where)
  assert.equal(200, x.status, where .. ": " .. tostring(x.body))
  assert.is_nil(x.error, where)
  clean_answer(x, where)
  guarded(x, channel == "choices" and 4 or 2, channel == "choices" and 2 or 1, where)
  if channel == "content" then assert.is_truthy(x.text:find("My mail is [email removed], my card [card removed], my key [secret removed].", 1, true), where .. ": " .. x.text) end
end

describe("a secret in an answer", function()
  for _, front in ipairs(pairs_of.fronts) do
    for _, provider in ipairs(pairs_of.providers) do
      it(("reaches no client: front %s before %s"):format(front, provider), function()
        for channel, bytes in pairs(ANSWERS[provider]) do
          if channel ~= "choices" or SAYS[front] then
            local where = ("%s before %s, %s"):format(front, provider, channel)
            for _, stream in ipairs(pairs_of.whole[front] and { true, false } or { true }) do
              check(answer(front, provider, bytes, stream, channel), channel, where)
              local bytewise = {}
              for i = 1, #bytes do bytewise[i] = bytes:sub(i, i) end
              check(answer(front, provider, bytes, stream, channel, bytewise), channel, where .. ", byte by byte")
              for at = stream and 1 or 6, #bytes - 1, 11 do check(answer(front, provider, bytes, stream, channel, { bytes:sub(1, at), bytes:sub(at + 1) }), channel, where .. ", cut at " .. at) end
            end
          end
        end
      end)
    end
  end

  it("reaches no client in the sentence of a failure", function()
    for _, status in ipairs { 400, 422 } do
      local want = pairs_of.request("openai", { text = "Hi", stream = true })
      want.upstream = { t.fail(status, { ["content-type"] = "application/json" }, { error = { message = ALL } }) }
      clean_answer(gateways.openai:ask(want), "an upstream's " .. status)
    end
  end)
end)

describe("a call's arguments", function()
  it("that are no JSON are looked at as text", function()
    local cut = ARGS:sub(1, -5)
    local x = answer("openai", "openai", sse(delta { tool_calls = { { index = 0, id = "c1", type = "function", ["function"] = { name = "f", arguments = cut } } } },
      { choices = { { index = 0, delta = object {}, finish_reason = "length" } } }, "[DONE]"), true)
    clean(x.tools[1].arguments, "the arguments")
    assert.is_truthy(x.tools[1].arguments:find('{"to":"[email removed]","card":"[card removed]","key":"[secret removed]"', 1, true), x.tools[1].arguments)
  end)

  it("get the user's own data back, escaped as JSON wants it", function()
    local g = pairs_of.gateway("openai", [[policies = { sluice.parts.redact { match = { sluice.match.regex('Jane "JJ" Roe', "name") } } }]])
    local want = pairs_of.request("openai", { text = 'I am Jane "JJ" Roe.', stream = true })
    want.upstream = pairs_of.stream("openai", { sse(delta { tool_calls = { { index = 0, id = "c1", type = "function", ["function"] = { name = "f", arguments = '{"who":"<NAME_1>","n":9007199254740993}' } } } },
      { choices = { { index = 0, delta = object {}, finish_reason = "tool_calls" } } }, "[DONE]") })
    local x = g:ask(want)
    assert.is_nil(x.upstream[1].raw:find("Jane", 1, true))
    assert.equal('Jane "JJ" Roe', json.decode(x.tools[1].arguments).who)
    assert.is_truthy(x.tools[1].arguments:find("9007199254740993", 1, true))
  end)
end)
