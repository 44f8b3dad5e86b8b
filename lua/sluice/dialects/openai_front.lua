-- How clients speak chat completions, and how they are answered: the front of "openai". What it reads is what policies see, so it takes a request apart
-- no further than to be sure of its shape; members that it does not know go on to the model as they came.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"

local json = sluice.json

local M = { methods = "POST, OPTIONS", speaks = "openai", error = common.error }

-- ---- reading

local ROLES = { "system", "developer", "user", "assistant", "tool" }

-- What a part of this type must hold.
local PARTS = {
  text = function(part, at) common.text(part.text, at .. ".text") end,
  refusal = function(part, at) common.text(part.refusal, at .. ".refusal") end,
  image_url = function(part, at)
    common.object(part.image_url, at .. ".image_url", "an object such as { url: \"https://...\" }")
    common.text(part.image_url.url, at .. ".image_url.url")
  end,
  input_audio = function(part, at) common.object(part.input_audio, at .. ".input_audio", "an object { data, format }") end,
  file = function(part, at) common.object(part.file, at .. ".file") end,
}

local function content(v, at)
  if type(v) == "string" then return end
  common.list(v, at, "a text or a list of parts")
  for i, part in ipairs(v) do
    local here = ("%s[%d]"):format(at, i - 1)
    common.object(part, here)
    common.text(part.type, here .. ".type", "a word such as text or image_url")
    if PARTS[part.type] then PARTS[part.type](part, here) end
  end
end

local function tool_calls(v, at)
  for i, call in ipairs(common.list(v, at)) do
    local here = ("%s[%d]"):format(at, i - 1)
    common.object(call, here)
    common.text(call.id, here .. ".id")
    if call.type == nil or call.type == "function" then
      local f = common.object(call["function"], here .. ".function")
      common.text(f.name, here .. ".function.name")
      common.text(f.arguments, here .. ".function.arguments", "JSON in a text")
    end
  end
end

local function message(v, at)
  local m = common.without_nulls(common.object(v, at))
  common.one_of(m.role, at .. ".role", ROLES)
  if m.content ~= nil then
    content(m.content, at .. ".content")
  elseif m.role ~= "assistant" then
    common.refuse(("'%s.content' is missing"):format(at))
  end
  if m.tool_calls ~= nil then tool_calls(m.tool_calls, at .. ".tool_calls") end
  if m.role == "tool" then common.text(m.tool_call_id, at .. ".tool_call_id") end
  return m
end

local function tools(list)
  for i, tool in ipairs(list) do
    local at = ("tools[%d]"):format(i - 1)
    common.object(tool, at)
    common.text(tool.type, at .. ".type", 'a word: "function"')
    if tool.type == "function" then
      common.object(tool["function"], at .. ".function", "an object { name, description, parameters }")
      common.text(tool["function"].name, at .. ".function.name")
    end
  end
  if #list > 0 then return list end
end

local TAKEN = common.set_of "messages tools"

M.read = common.refusing(function(req)
  local body = common.body(req)
  local messages = {}
  for i, v in ipairs(common.list(body.messages, "messages", "a list of messages")) do messages[i] = message(v, ("messages[%d]"):format(i - 1)) end
  if #messages == 0 then common.refuse "'messages' must hold at least one message" end
  req.messages = messages
  req.tools = tools(common.may(common.list, body.tools, "tools") or {})
  common.common(req, body, TAKEN)
end)

-- ---- telling

-- All events of an answer begin and end alike.
local function chunk(answer, choices, usage)
  if not answer.chunk then
    answer.chunk = ('data: {"id":"chatcmpl-%s","object":"chat.completion.chunk","created":%d,"model":%s,"choices":'):format(answer.id, answer.created, json.encode(answer.model))
  end
  if answer.include_usage then choices = ('%s,"usage":%s'):format(choices, usage or "null") end
  return answer.chunk .. choices .. "}\n\n"
end

local function choice(index, delta, finish, logprobs)
  return ('[{"index":%d,"delta":%s,"logprobs":%s,"finish_reason":%s}]'):format(index, delta, logprobs or "null", finish and json.encode(finish) or "null")
end

function M.begin(answer)
  local out = {}
  for i = 0, (answer.n or 1) - 1 do out[#out + 1] = chunk(answer, choice(i, '{"role":"assistant","content":""}')) end
  return table.concat(out)
end

local DELTAS = { content = "content", reasoning = "reasoning_content", refusal = "refusal" }

local LOGPROBS = { content = '{"content":\2,"refusal":null}', refusal = '{"content":null,"refusal":\2}' }

function M.open(answer, block)
  local function around(logprobs)
    return chunk(answer, choice(block.choice, ('{"%s":\1}'):format(DELTAS[block.channel]), nil, logprobs)):match "^(.-)\1(.*)$"
  end
  local before, after = around()
  return "", before, after, answer.logprobs and LOGPROBS[block.channel] and select(2, around(LOGPROBS[block.channel])) or nil
end

local CALL = { "index", "id", "type", "function", "extra_content" }

-- What Gemini wants back with a call stands where Google's own OpenAI endpoint has it, and is read there again (gemini_request.lua).
local function told_call(call, index)
  return json.order({
    index = index, id = call.id, type = "function", ["function"] = json.order({ name = call.name, arguments = call.arguments }, { "name", "arguments" }),
    extra_content = call.signature and { google = { thought_signature = call.signature } } or nil,
  }, CALL)
end

function M.tool(answer, call)
  return chunk(answer, choice(call.choice, ('{"tool_calls":[%s]}'):format(json.encode(told_call(call, call.index)))))
end

function M.finish(answer)
  local out = {}
  for i = 0, common.choices(answer) - 1 do out[#out + 1] = chunk(answer, choice(i, "{}", answer.finish[i] or "stop")) end
  local usage = answer.include_usage and common.usage(answer.usage)
  if usage then out[#out + 1] = chunk(answer, "[]", json.encode(usage)) end
  out[#out + 1] = "data: [DONE]\n\n"
  return table.concat(out)
end

local WHOLE = { "id", "object", "created", "model", "choices", "usage" }
local CHOICE = { "index", "message", "logprobs", "finish_reason" }
local MESSAGE = { "role", "content", "reasoning_content", "refusal", "tool_calls" }

local function whole_choice(answer, index)
  local texts, calls, logprobs = common.said(answer, index)
  local told
  for i, call in ipairs(calls) do
    told = told or json.array {}
    told[i] = told_call(call)
  end
  return json.order({
    index = index, logprobs = next(logprobs) and { content = logprobs.content or json.null, refusal = logprobs.refusal or json.null } or json.null,
    finish_reason = answer.finish[index] or "stop",
    message = json.order({
      role = "assistant", content = texts.content or json.null, refusal = texts.refusal or json.null, reasoning_content = texts.reasoning, tool_calls = told,
    }, MESSAGE),
  }, CHOICE)
end

function M.whole(answer)
  local choices = json.array {}
  for i = 0, common.choices(answer) - 1 do choices[i + 1] = whole_choice(answer, i) end
  return json.order({
    id = "chatcmpl-" .. answer.id, object = "chat.completion", created = answer.created, model = answer.model, choices = choices,
    usage = common.usage(answer.usage),
  }, WHOLE)
end

return M
