-- What an answer says, whatever front told it: events and documents of every front of ours, read as its clients read them. The words are OpenAI's.
local json = require "sluice.testing.json"

local M = {}

local null = json.null
local function given(v) if v ~= null then return v end end
local function text(v) return type(v) == "string" and v or "" end
local function list(v) return type(v) == "table" and v or {} end

local function say(x, channel, more) x[channel] = x[channel] .. text(more) end

local function call(x, id, name, arguments) x.tools[#x.tools + 1] = { id = id, name = name, arguments = arguments } end

local function fail(x, e)
  x.error, x.ends = e, x.ends + 1
end

local function over(x) x.done, x.ends = true, x.ends + 1 end

-- A front's own word for why an answer ended.
local function finish(x, word, words) x.finish = words[word] or word end

-- ---- openai: chat completions and completions

local function openai(x, v)
  for _, c in ipairs(list(v.choices)) do
    local said = given(c.delta) or given(c.message) or { content = given(c.text) }
    local i = c.index or 0
    if i > 0 then
      x.others[i] = (x.others[i] or "") .. text(said.content)
    else
      say(x, "text", said.content)
      say(x, "reasoning", said.reasoning_content)
      say(x, "refusal", said.refusal)
      for _, tool in ipairs(list(said.tool_calls)) do call(x, tool.id, tool["function"].name, tool["function"].arguments) end
      x.finish = given(c.finish_reason) or x.finish
    end
  end
  local u = given(v.usage)
  if u then x.usage = { input = u.prompt_tokens, output = u.completion_tokens } end
end

-- ---- anthropic

local ANTHROPIC = { end_turn = "stop", max_tokens = "length", tool_use = "tool_calls", refusal = "content_filter" }
local anthropic, blocks = {}, {}

function blocks.text(x, b) say(x, "text", b.text) end
function blocks.thinking(x, b) say(x, "reasoning", b.thinking) end
function blocks.redacted_thinking() end
function blocks.tool_use(x, b) call(x, b.id, b.name, type(b.input) == "string" and b.input or json.encode(b.input)) end

local function count(x, u) x.usage = { input = u.input_tokens + u.cache_read_input_tokens, output = u.output_tokens } end

function anthropic.message(x, v)
  for _, b in ipairs(v.content) do blocks[b.type](x, b) end
  finish(x, v.stop_reason, ANTHROPIC)
  count(x, v.usage)
end

function anthropic.content_block_start(x, v)
  if v.content_block.type == "tool_use" then call(x, v.content_block.id, v.content_block.name, "") end
end

function anthropic.content_block_delta(x, v)
  say(x, "text", v.delta.text)
  say(x, "reasoning", v.delta.thinking)
  local tool = v.delta.partial_json and x.tools[#x.tools]
  if tool then tool.arguments = tool.arguments .. v.delta.partial_json end
end

function anthropic.message_delta(x, v)
  finish(x, v.delta.stop_reason, ANTHROPIC)
  if v.usage.input_tokens then count(x, v.usage) end
end

function anthropic.message_stop(x) over(x) end

-- ---- responses

local RESPONSES = { max_output_tokens = "length", content_filter = "content_filter" }
local responses = {}

responses["response.output_text.delta"] = function(x, v) say(x, "text", v.delta) end
responses["response.refusal.delta"] = function(x, v) say(x, "refusal", v.delta) end
responses["response.reasoning_summary_text.delta"] = function(x, v) say(x, "reasoning", v.delta) end
responses["response.output_item.done"] = function(x, v)
  if v.item.type == "function_call" then call(x, v.item.call_id, v.item.name, v.item.arguments) end
end

local function ended(x, r)
  local why = given(r.incomplete_details)
  finish(x, why and why.reason or #x.tools > 0 and "tool_calls" or "stop", RESPONSES)
  local u = given(r.usage)
  if u then x.usage = { input = u.input_tokens, output = u.output_tokens } end
end

responses["response.completed"] = function(x, v)
  ended(x, v.response)
  over(x)
end
responses["response.incomplete"] = responses["response.completed"]

local parts = { output_text = function(x, p) say(x, "text", p.text) end, refusal = function(x, p) say(x, "refusal", p.refusal) end }

local function response(x, v)
  for _, item in ipairs(v.output) do
    for _, p in ipairs(list(item.summary)) do say(x, "reasoning", p.text) end
    for _, p in ipairs(list(item.content)) do parts[p.type](x, p) end
    if item.type == "function_call" then call(x, item.call_id, item.name, item.arguments) end
  end
  ended(x, v)
end

-- ---- ui: its [DONE] comes behind a failure, too

local UI = { ["content-filter"] = "content_filter", ["tool-calls"] = "tool_calls" }
local ui = {}

ui["text-delta"] = function(x, v) say(x, "text", v.delta) end
ui["reasoning-delta"] = function(x, v) say(x, "reasoning", v.delta) end
ui["tool-input-available"] = function(x, v) call(x, v.toolCallId, v.toolName, json.encode(v.input)) end
ui["tool-input-error"] = function(x, v) call(x, v.toolCallId, v.toolName, v.input) end
ui.finish = function(x, v) finish(x, v.finishReason, UI) end

-- ---- the front of specs, and token

local function spec(x, v)
  if v.choice then                                       -- one of several: not the answer that r.text tells
    x.others[v.choice] = (x.others[v.choice] or "") .. text(v.content)
    return
  end
  say(x, "text", v.token or v.content)
  say(x, "reasoning", v.reasoning)
  say(x, "refusal", v.refusal)
  if v.tool then x.tools[#x.tools + 1] = v.tool end
  for _, tool in ipairs(list(v.tools)) do x.tools[#x.tools + 1] = tool end
  if v.finish then x.finish, x.finishes, x.usage = v.finish, v.finishes, v.usage end
end

-- ---- failures

-- The word and the sentence of a failure, wherever this front has them, and what a policy added (err.extra).
function M.failure(v)
  if v.errorText then return { message = v.errorText } end
  if type(v.error) ~= "table" then return v end
  local e = v.error
  for name, more in pairs(v) do
    if name ~= "error" and name ~= "type" and e[name] == nil then e[name] = more end
  end
  e.code = e.code or list(e.details).error_code
  return e
end

-- ---- all

-- Adds what an event, or a document, says to x: text, reasoning, refusal, tools, others, finish, finishes, usage, error, ends, done.
function M.add(x, v)
  local kind = type(v.type) == "string" and v.type
  if (given(v.error) and v.object ~= "response") or kind == "error" then
    fail(x, M.failure(v))
    if v.errorText then x.ends = x.ends - 1 end
  elseif kind and (anthropic[kind] or responses[kind] or ui[kind]) then
    (anthropic[kind] or responses[kind] or ui[kind])(x, v)
  elseif type(v.choices) == "table" then
    openai(x, v)
  elseif v.object == "response" then
    response(x, v)
  elseif not kind then
    spec(x, v)
  end
end

return M
