-- What reached the client, read as its front speaks: token, OpenAI's chat completions, Anthropic's messages; streamed or as one document.
--
-- M.read(front, status, type, bytes) -> { text, reasoning, refusal, tools = { { id, name, arguments } }, finish, usage = { input, output }, error,
-- ended = how often }
local json = require "sluice.testing.json"

local M = {}

local function new() return { text = "", reasoning = "", refusal = "", tools = {}, ended = 0 } end

local function say(r, channel, text)
  if type(text) == "string" then r[channel] = r[channel] .. text end
end

local fronts = {}

-- ---- token

fronts.token = {}

function fronts.token.event(r, data)
  if data == "[DONE]" then
    r.ended = r.ended + 1
    return
  end
  local value = assert(json.decode(data))
  say(r, "text", value.token)
  if value.error then fronts.token.failed(r, value) end
end

function fronts.token.failed(r, body)
  r.ended, r.error = r.ended + 1, { code = body.code, message = body.error }
  for name, value in pairs(body) do
    if name ~= "error" then r.error[name] = value end
  end
end

-- ---- OpenAI

fronts.openai = {}

local function openai_usage(u) return u and { input = u.prompt_tokens, output = u.completion_tokens } end

function fronts.openai.event(r, data)
  if data == "[DONE]" then
    r.ended = r.ended + 1
    return
  end
  local value = assert(json.decode(data))
  if value.error then return fronts.openai.failed(r, value) end
  r.usage = openai_usage(value.usage) or r.usage
  local choice = value.choices[1]
  if not choice then return end
  say(r, "text", choice.delta.content)
  say(r, "reasoning", choice.delta.reasoning_content)
  say(r, "refusal", choice.delta.refusal)
  for _, call in ipairs(choice.delta.tool_calls or {}) do
    r.tools[#r.tools + 1] = { id = call.id, name = call["function"].name, arguments = call["function"].arguments }
  end
  r.finish = choice.finish_reason or r.finish
end

function fronts.openai.failed(r, body)
  r.ended, r.error = r.ended + 1, {}
  for name, value in pairs(body) do
    if name ~= "error" then r.error[name] = value end
  end
  for name, value in pairs(body.error) do r.error[name] = value end
end

function fronts.openai.whole(r, body)
  local choice = body.choices[1]
  say(r, "text", choice.message.content)
  say(r, "reasoning", choice.message.reasoning_content)
  say(r, "refusal", choice.message.refusal)
  for _, call in ipairs(choice.message.tool_calls or {}) do
    r.tools[#r.tools + 1] = { id = call.id, name = call["function"].name, arguments = call["function"].arguments }
  end
  r.finish, r.usage, r.ended = choice.finish_reason, openai_usage(body.usage), 1
end

-- ---- Anthropic

fronts.anthropic = {}

local function anthropic_usage(u) return u and { input = u.input_tokens, output = u.output_tokens } end

function fronts.anthropic.event(r, data)
  local value = assert(json.decode(data))
  if value.type == "error" then return fronts.anthropic.failed(r, value) end
  if value.type == "message_stop" then r.ended = r.ended + 1 end
  if value.type == "content_block_start" and value.content_block.type == "tool_use" then
    r.tools[#r.tools + 1] = { id = value.content_block.id, name = value.content_block.name, arguments = "" }
  elseif value.type == "content_block_delta" then
    say(r, "text", value.delta.text)
    say(r, "reasoning", value.delta.thinking)
    if value.delta.partial_json then r.tools[#r.tools].arguments = r.tools[#r.tools].arguments .. value.delta.partial_json end
  elseif value.type == "message_delta" then
    r.finish, r.usage = value.delta.stop_reason, anthropic_usage(value.usage)
  end
end

function fronts.anthropic.failed(r, body)
  assert(body.type == "error")
  r.ended, r.error = r.ended + 1, { code = body.error.details and body.error.details.error_code }
  for name, value in pairs(body) do
    if name ~= "error" then r.error[name] = value end
  end
  for name, value in pairs(body.error) do r.error[name] = value end
end

function fronts.anthropic.whole(r, body)
  for _, block in ipairs(body.content) do
    say(r, "text", block.text)
    say(r, "reasoning", block.thinking)
    if block.type == "tool_use" then r.tools[#r.tools + 1] = { id = block.id, name = block.name, arguments = json.encode(block.input) } end
  end
  r.finish, r.usage, r.ended = body.stop_reason, anthropic_usage(body.usage), 1
end

-- ----

function M.front_of(path) return path:find "/chat/completions$" and "openai" or path:find "/messages$" and "anthropic" or "token" end

local function events(r, front, bytes)
  for block in bytes:gmatch "(.-)\n\n" do
    local data = ("\n" .. block):match "\ndata: ([^\n]*)"
    if data then
      assert(r.ended == 0, "an event behind the end: " .. block)
      fronts[front].event(r, data)
    end
  end
  assert(bytes == "" or bytes:sub(-2) == "\n\n", "half an event: " .. bytes:sub(-80))
end

function M.read(front, status, kind, bytes)
  local r = new()
  assert(utf8.len(bytes), "no UTF-8")
  if kind:find "^text/event%-stream" then
    events(r, front, bytes)
  elseif kind:find "^application/json" and status >= 400 then
    fronts[front].failed(r, assert(json.decode(bytes)))
  elseif kind:find "^application/json" then
    fronts[front].whole(r, assert(json.decode(bytes)))
  else
    r.text, r.ended = bytes, 1
  end
  return r
end

return M
