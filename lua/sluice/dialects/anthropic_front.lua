-- Answers as Anthropic's Messages API gives them. What clients ask is read in anthropic_read.lua.
--
-- One message of numbered blocks: text, thinking, tool_use. The numbers are ours: a client keeps blocks in a list and wants no gap. There is one choice.
-- Thinking has the signature that Anthropic gave it, an empty one where another model thought it or a policy changed it. What was refused is text like any
-- other, as Anthropic tells it.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"
local read = require "sluice.dialects.anthropic_read"

local M = { methods = "POST, OPTIONS", speaks = "anthropic", request_id = "request-id" }

M.read = read.read

local null = sluice.json.null
local order, event = sluice.json.order, shared.event

-- ---- failures

local TYPES = {
  [400] = "invalid_request_error", [401] = "authentication_error", [402] = "billing_error", [403] = "permission_error", [404] = "not_found_error",
  [413] = "request_too_large", [429] = "rate_limit_error", [503] = "overloaded_error", [504] = "timeout_error", [529] = "overloaded_error",
}

-- Our own word for what went wrong stands where Anthropic's SDKs look for one (errorCode). A model service that has too much to do is told as Anthropic tells it.
function M.error(err)
  local theirs = err.upstream and err.upstream.status or 0
  local word = err.type or (theirs >= 500 and TYPES[theirs]) or TYPES[err.status] or (err.status < 500 and "invalid_request_error" or "api_error")
  local why = order({ type = word, message = err.message, details = { error_code = err.code } }, { "type", "message", "details" })
  return order({ type = "error", error = why, request_id = err.request_id }, { "type", "error" })
end

function M.fault(_, err) return event("error", M.error(err)) end

-- ---- words and counts

local WORDS = { stop = "end_turn", length = "max_tokens", tool_calls = "tool_use", function_call = "tool_use", content_filter = "refusal" }

-- A model that was made to call a tool says "stop" at some providers.
local function stop_reason(answer, called)
  local word = shared.table(answer.finish)[0] or "stop"
  if word == "stop" and called then return "tool_use" end
  if word == "stop" and shared.table(answer.stop_sequences)[0] then return "stop_sequence" end
  return WORDS[word] or word
end

-- The text that ended it, where the model told.
local function stop_sequence(answer) return shared.table(answer.stop_sequences)[0] or null end

-- Anthropic counts what came out of a cache, and what was put into one, apart.
local function usage_of(answer)
  local usage = shared.table(answer.usage)
  local cached, written = usage.cached or 0, usage.cache_written or 0
  local told = { input_tokens = math.max(0, (usage.input or 0) - cached - written), cache_creation_input_tokens = written, cache_read_input_tokens = cached,
    output_tokens = usage.output or 0 }
  if usage.reasoning then told.output_tokens_details = { thinking_tokens = usage.reasoning } end
  return order(told, { "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens" })
end

local MESSAGE = { "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "usage" }

local function message_of(answer, content, reason)
  return order({
    id = "msg_" .. answer.id, type = "message", role = "assistant", model = answer.model or null, content = sluice.json.array(content),
    stop_reason = reason, stop_sequence = stop_sequence(answer), stop_details = null, usage = usage_of(answer),
  }, MESSAGE)
end

-- ---- a stream

local BLOCK = { "type", "index", "content_block" }

local function start(index, block) return event("content_block_start", order({ type = "content_block_start", index = index, content_block = block }, BLOCK)) end

local function stop(index) return event("content_block_stop", order({ type = "content_block_stop", index = index }, BLOCK)) end

-- What C puts around the text of a delta.
local function around(index, kind, member)
  return ('event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'):format(index, kind, member), "}}\n\n"
end

-- Our numbers of the answer's blocks, by theirs.
local function number(answer, theirs)
  answer.numbers = answer.numbers or { n = 0 }
  local numbers = answer.numbers
  if theirs and numbers[theirs] then return numbers[theirs] end
  local index = numbers.n
  numbers.n = index + 1
  if theirs then numbers[theirs] = index end
  return index
end

function M.begin(answer)
  return event("message_start", order({ type = "message_start", message = message_of(answer, {}, null) }, { "type" }))
end

-- A block of thinking; or what only its model can read, as anthropic_provider.lua wrote it.
local function thought(text, signature)
  local data = (signature or ""):match "^redacted_thinking (.*)$"
  if data then return order({ type = "redacted_thinking", data = data }, { "type" }), true end
  return order({ type = "thinking", thinking = text, signature = signature or "" }, { "type", "thinking" }), false
end

function M.open(answer, block)
  if block.choice > 0 then return end
  local index = number(answer, block.index)
  if block.channel == "reasoning" then
    local thinking, redacted = thought("", block.signature)
    if redacted then return start(index, thinking), "", "" end
    thinking.signature = ""                               -- it comes behind the text
    return start(index, thinking), around(index, "thinking_delta", "thinking")
  end
  return start(index, order({ type = "text", text = "" }, { "type" })), around(index, "text_delta", "text")
end

function M.close(answer, block)
  if block.choice > 0 then return "" end
  local index = number(answer, block.index)
  if not block.signature or select(2, thought("", block.signature)) then return stop(index) end
  local before, after = around(index, "signature_delta", "signature")
  return before .. sluice.json.encode(block.signature) .. after .. stop(index)
end

function M.tool(answer, call)
  if call.choice > 0 then return "" end
  local index = number(answer)
  local before, after = around(index, "input_json_delta", "partial_json")
  local block = order({ type = "tool_use", id = call.id, name = call.name, input = {} }, { "type", "id", "name" })
  local arguments = call.arguments ~= "" and call.arguments or "{}"
  answer.called = true
  return start(index, block) .. before .. sluice.json.encode(arguments) .. after .. stop(index)
end

function M.finish(answer)
  local delta = order({ stop_reason = stop_reason(answer, answer.called), stop_sequence = stop_sequence(answer), stop_details = null },
    { "stop_reason", "stop_sequence" })
  return event("message_delta", order({ type = "message_delta", delta = delta, usage = usage_of(answer) }, { "type", "delta" }))
    .. event("message_stop", { type = "message_stop" })
end

-- ---- a whole message

local function whole_block(block)
  if block.tool then
    local text = block.tool.arguments
    -- Arguments that a limit cut short are no JSON: the client gets them as the text they are.
    local input = text == "" and {} or shared.object(text) or text
    return order({ type = "tool_use", id = block.tool.id, name = block.tool.name, input = input }, { "type", "id", "name" })
  end
  if block.channel == "reasoning" then return (thought(block.text, block.signature)) end
  return order({ type = "text", text = block.text }, { "type" })
end

function M.whole(answer)
  local content, called = {}, false
  for _, block in ipairs(answer.blocks) do
    if block.choice == 0 then
      content[#content + 1] = whole_block(block)
      called = called or block.tool ~= nil
    end
  end
  return message_of(answer, content, stop_reason(answer, called))
end

return M
