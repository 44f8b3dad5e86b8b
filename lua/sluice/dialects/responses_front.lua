-- How clients of OpenAI's Responses API are answered. A reasoning block is an item with a summary, a tool call is an item; text and refusals that follow each
-- other are the parts of one message.
--
-- Logprobs stand in the deltas, and once more in what ends a part and an answer, unless they are longer than 1 MiB (stream/told.c).
-- Each event has a number. In a delta's framing \1 stands for it: C counts on from answer.sequence, and leaves there the next number to use.
-- The events that end a part hold its text once more, so `gather` asks for block.text when a block closes; clients take the whole answer from the last event.
-- What the answer tells of the request are its params; instructions and tools, which may be long and are the client's or the operator's own, are not told again.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"
local kept = require "sluice.dialects.responses_kept"

local json = sluice.json

local M = { methods = "POST, OPTIONS", speaks = "responses", gather = true, beside = kept.bytes_most, read = require "sluice.dialects.responses_read", error = common.error }

-- ---- the response object

local RESPONSE = {
  "id", "object", "created_at", "status", "background", "error", "incomplete_details", "instructions", "max_output_tokens", "model", "output", "parallel_tool_calls",
  "previous_response_id", "reasoning", "service_tier", "store", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "usage", "user", "metadata",
}

local function or_null(v) if v == nil then return json.null end return v end

-- "function" and json_schema as the Responses API writes them.
local function format_of(v)
  if v == nil then return { type = "text" } end
  if v.type ~= "json_schema" or type(v.json_schema) ~= "table" then return v end
  local out = { type = "json_schema" }
  for name, value in pairs(v.json_schema) do out[name] = value end
  return json.order(out, { "type", "name" })
end

local function choice_of(v)
  if type(v) ~= "table" then return v or "auto" end
  if type(v["function"]) == "table" then return json.order({ type = "function", name = v["function"].name }, { "type", "name" }) end
  return v
end

-- Null when the model told none: what was only estimated is not told as if it were counted.
local function usage_of(u)
  if not u or u.estimated then return json.null end
  return json.order({
    input_tokens = u.input, input_tokens_details = { cached_tokens = u.cached or 0, cache_write_tokens = u.cache_written or 0 },
    output_tokens = u.output, output_tokens_details = { reasoning_tokens = u.reasoning or 0 }, total_tokens = u.input + u.output,
  }, { "input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens" })
end

local REASONS = { length = "max_output_tokens", content_filter = "content_filter" }

local function reason_of(answer) return REASONS[(answer.finish or {})[0]] end

-- Of an answer that is kept, ids are hard to guess.
local function id_of(answer)
  if kept.keeps(answer) then answer.secret = answer.secret or kept.secret() end
  return answer.id .. (answer.secret or "")
end

local function response(answer, status, output, failure)
  local p = answer.request.params
  local reason = status == "incomplete" and reason_of(answer)
  return json.order({
    id = "resp_" .. id_of(answer), object = "response", created_at = answer.created, status = status, background = false, error = or_null(failure),
    incomplete_details = reason and { reason = reason } or json.null, instructions = json.null, max_output_tokens = or_null(p.max_completion_tokens or p.max_tokens),
    model = answer.model, output = json.array(output), parallel_tool_calls = p.parallel_tool_calls ~= false, previous_response_id = json.null,
    reasoning = { effort = or_null(p.reasoning_effort), summary = or_null(p.reasoning_summary) }, store = kept.keeps(answer),
    temperature = or_null(p.temperature), text = { format = format_of(p.response_format), verbosity = p.verbosity }, tool_choice = choice_of(p.tool_choice),
    tools = json.array {}, top_p = or_null(p.top_p), truncation = p.truncation or "disabled",
    usage = usage_of(status ~= "in_progress" and status ~= "failed" and answer.usage or nil), user = or_null(p.user), metadata = p.metadata or {},
  }, RESPONSE)
end

-- ---- events

local EVENT = { "type", "sequence_number", "item_id", "output_index", "content_index", "summary_index" }

local function event(answer, kind, members)
  members.type, members.sequence_number = kind, answer.sequence or 0
  answer.sequence = members.sequence_number + 1
  return ("event: %s\ndata: %s\n\n"):format(kind, json.encode(json.order(members, EVENT)))
end

-- What stands around each text of a part, and behind one that has logprobs; \1 is where C writes the number, \2 the logprobs.
local function framing(kind, places, more, more_with_logprobs)
  local members = json.encode(json.order(places, EVENT)):sub(2, -2)
  return ('event: %s\ndata: {"type":"%s","sequence_number":\1,%s,"delta":'):format(kind, kind, members), (more or "") .. "}\n\n",
    more_with_logprobs and more_with_logprobs .. "}\n\n"
end

function M.begin(answer)
  answer.sequence, answer.output = 0, {}
  return event(answer, "response.created", { response = response(answer, "in_progress", {}) })
    .. event(answer, "response.in_progress", { response = response(answer, "in_progress", {}) })
end

-- ---- items

local ITEM = { "id", "type", "status", "role", "content", "summary", "encrypted_content", "call_id", "name", "arguments" }

local function item_of(answer, prefix, index, members)
  members.id = ("%s_%s%02x"):format(prefix, id_of(answer), index)
  return json.order(members, ITEM)
end

local function message_item(answer, index, status, parts) return item_of(answer, "msg", index, { type = "message", status = status, role = "assistant", content = json.array(parts) }) end

-- signature: what only its model can read (responses.lua).
local function reasoning_item(answer, index, summary, signature)
  return item_of(answer, "rs", index, { type = "reasoning", summary = json.array(summary), encrypted_content = signature })
end

local function call_item(answer, index, status, call, arguments)
  return item_of(answer, "fc", index, { type = "function_call", status = status, call_id = call.id, name = call.name, arguments = arguments })
end

local PART = { "type", "text", "refusal", "annotations", "logprobs" }

local part_of = {
  content = function(text, logprobs) return json.order({ type = "output_text", text = text, annotations = json.array {}, logprobs = logprobs or json.array {} }, PART) end,
  refusal = function(text) return json.order({ type = "refusal", refusal = text }, PART) end,
  reasoning = function(text) return json.order({ type = "summary_text", text = text }, PART) end,
}

local function added(answer, item)
  return event(answer, "response.output_item.added", { output_index = #answer.output, item = item })
end

local function done(answer, item)
  local out = event(answer, "response.output_item.done", { output_index = #answer.output, item = item })
  answer.output[#answer.output + 1] = item
  return out
end

-- The message that is being told ends: { id, parts } or nil.
local function close_message(answer)
  local m = answer.message
  if not m then return "" end
  answer.message = nil
  return done(answer, message_item(answer, #answer.output, reason_of(answer) and "incomplete" or "completed", m.parts))
end

local function first_choice(x) return (x.choice or 0) == 0 end      -- the Responses API has no others

local open, close = {}, {}

function open.reasoning(answer, block)
  local out = close_message(answer)
  local item = reasoning_item(answer, #answer.output, {})
  if block.signature then return out .. added(answer, item), "", "" end      -- there is no text
  local places = { item_id = item.id, output_index = #answer.output, summary_index = 0 }
  out = out .. added(answer, item)
    .. event(answer, "response.reasoning_summary_part.added", { item_id = item.id, output_index = #answer.output, summary_index = 0, part = part_of.reasoning "" })
  return out, framing("response.reasoning_summary_text.delta", places)
end

function close.reasoning(answer, block)
  if block.text == "" then return done(answer, reasoning_item(answer, #answer.output, {}, block.signature)) end
  local part = part_of.reasoning(block.text)
  local id = ("rs_%s%02x"):format(id_of(answer), #answer.output)
  return event(answer, "response.reasoning_summary_text.done", { item_id = id, output_index = #answer.output, summary_index = 0, text = block.text })
    .. event(answer, "response.reasoning_summary_part.done", { item_id = id, output_index = #answer.output, summary_index = 0, part = part })
    .. done(answer, reasoning_item(answer, #answer.output, { part }, block.signature))
end

local KINDS = {
  content = { delta = "response.output_text.delta", done = "response.output_text.done", text = "text", after = ',"logprobs":[]', after_logprobs = ',"logprobs":\2' },
  refusal = { delta = "response.refusal.delta", done = "response.refusal.done", text = "refusal" },
}

local function open_part(answer, block)
  local out = ""
  if not answer.message then
    local item = message_item(answer, #answer.output, "in_progress", {})
    answer.message = { id = item.id, parts = {} }
    out = added(answer, item)
  end
  local m = answer.message
  local places = { item_id = m.id, output_index = #answer.output, content_index = #m.parts }
  out = out .. event(answer, "response.content_part.added", { item_id = m.id, output_index = #answer.output, content_index = #m.parts, part = part_of[block.channel] "" })
  local kind = KINDS[block.channel]
  return out, framing(kind.delta, places, kind.after, answer.logprobs and kind.after_logprobs)
end

local function close_part(answer, block)
  local m, kind = answer.message, KINDS[block.channel]
  local index, part = #m.parts, part_of[block.channel](block.text, block.logprobs)
  m.parts[index + 1] = part
  return event(answer, kind.done, { item_id = m.id, output_index = #answer.output, content_index = index, [kind.text] = block.text,
    logprobs = kind.after and (block.logprobs or json.array {}) or nil })
    .. event(answer, "response.content_part.done", { item_id = m.id, output_index = #answer.output, content_index = index, part = part })
end

open.content, open.refusal = open_part, open_part
close.content, close.refusal = close_part, close_part

function M.open(answer, block)
  if first_choice(block) then return open[block.channel](answer, block) end
end

function M.close(answer, block)
  if first_choice(block) then return close[block.channel](answer, block) end
end

function M.tool(answer, call)
  if not first_choice(call) then return "" end
  local out = close_message(answer)
  local item = call_item(answer, #answer.output, "in_progress", call, "")
  return out .. added(answer, item)
    .. event(answer, "response.function_call_arguments.delta", { item_id = item.id, output_index = #answer.output, delta = call.arguments })
    .. event(answer, "response.function_call_arguments.done", { item_id = item.id, output_index = #answer.output, name = call.name, arguments = call.arguments })
    .. done(answer, call_item(answer, #answer.output, "completed", call, call.arguments))
end

function M.finish(answer)
  local out = close_message(answer)
  local status = reason_of(answer) and "incomplete" or "completed"
  kept.keep(answer, "resp_" .. id_of(answer), answer.output)
  return out .. event(answer, "response." .. status, { response = response(answer, status, answer.output) })
end

-- The words that a response's own error may have are OpenAI's; our word stands in the other event.
local function failure_of(err) return err.status == 429 and "rate_limit_exceeded" or "server_error" end

-- Clients look at one of the two: OpenAI's own throws at `error`, others read the response that failed.
function M.fault(answer, err, body)
  local e = common.error_object(err)
  local members = { code = err.code, message = err.message, param = e.param, error = e }
  for name, v in pairs(body) do members[name] = members[name] or v end      -- what error hooks added
  return event(answer, "error", members)
    .. event(answer, "response.failed", { response = response(answer, "failed", answer.output or {}, json.order({ code = failure_of(err), message = err.message }, { "code", "message" })) })
end

-- ---- the whole document

function M.whole(answer)
  local output, message = {}, nil
  local status = reason_of(answer) and "incomplete" or "completed"
  local function add(item) output[#output + 1], message = item, nil end
  for _, block in ipairs(answer.blocks) do
    if first_choice(block) then
      if block.tool then
        add(call_item(answer, #output, "completed", block.tool, block.tool.arguments))
      elseif block.channel == "reasoning" then
        add(reasoning_item(answer, #output, block.text ~= "" and { part_of.reasoning(block.text) } or {}, block.signature))
      else
        if not message then
          local parts = {}
          add(message_item(answer, #output, status, parts))
          message = parts
        end
        message[#message + 1] = part_of[block.channel](block.text, block.logprobs)
      end
    end
  end
  kept.keep(answer, "resp_" .. id_of(answer), output)
  return response(answer, status, output)
end

return M
