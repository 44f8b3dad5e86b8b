-- OpenAI's Responses API.
--
-- As a provider. Of chat completions it cannot be told: more than one choice, stop, penalties, seed, logit_bias, audio: refused, as is what nobody knows.
-- What the model thought in earlier turns goes back only in the encrypted form that it gave itself; other reasoning is no use to it and stays here.
-- Nothing is stored upstream for clients of other APIs.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"
local shared = require "sluice.dialects.shared"

local json = sluice.json

local M = { name = "responses", front = require "sluice.dialects.responses_front" }

-- ---- what it streams

M.provider = {
  url = "https://api.openai.com/v1",
  kind = "type",
  -- Events that hold the whole response name its model, which clients see as they asked for it, in bytes that pass, too.
  events = {
    ["response.created"]                      = { model = "response.model" },
    ["response.queued"]                       = { model = "response.model" },
    ["response.in_progress"]                  = { model = "response.model" },
    ["response.completed"]                    = { model = "response.model" },
    ["response.incomplete"]                   = { model = "response.model" },
    ["response.output_text.delta"]            = { content = "delta", logprobs = "logprobs" },
    ["response.refusal.delta"]                = { refusal = "delta" },
    ["response.reasoning_summary_text.delta"] = { reasoning = "delta" },
    ["response.reasoning_text.delta"]         = { reasoning = "delta" },
  },
  -- A call is taken from the event that ends its item, where it stands whole; so the fragments before it need not be read.
  rare = { "response.output_item.done", "response.reasoning_summary_part.added", "response.completed", "response.incomplete", "response.failed", "error" },
  ends = { "response.completed", "response.incomplete" },

  whole = {
    error           = "error",
    model           = "model",
    usage_input     = "usage.input_tokens",
    usage_output    = "usage.output_tokens",
    usage_cached    = "usage.input_tokens_details.cached_tokens",
    usage_reasoning = "usage.output_tokens_details.reasoning_tokens",
    usage_cache_written = "usage.input_tokens_details.cache_write_tokens",
  },
}

local function table_of(v) return type(v) == "table" and v or {} end
local function text(v) return type(v) == "string" and v or nil end

local function error_of(e)
  if type(e) ~= "table" then return nil end
  return { message = text(e.message), code = common.word(e.code), type = e.type ~= "error" and text(e.type) or nil, param = text(e.param) }
end

local WORDS = { max_output_tokens = "length", content_filter = "content_filter" }

local function finish_of(r)
  local word = text(table_of(r.incomplete_details).reason)
  if word then return WORDS[word] or word end
  for _, item in ipairs(table_of(r.output)) do
    if table_of(item).type == "function_call" then return "tool_calls" end
  end
  return "stop"
end

local function over(event, out)
  local r = table_of(event.response)
  local u = table_of(r.usage)
  if common.given(u.input_tokens) then
    out:usage { input = u.input_tokens, output = common.given(u.output_tokens),
      cached = common.given(table_of(u.input_tokens_details).cached_tokens), reasoning = common.given(table_of(u.output_tokens_details).reasoning_tokens),
      cache_written = common.given(table_of(u.input_tokens_details).cache_write_tokens) }
  end
  out:finish(finish_of(r))
  out:done()
end

local told = { ["response.completed"] = over, ["response.incomplete"] = over }

told["response.output_item.done"] = function(event, out)
  local item = table_of(event.item)
  if item.type == "function_call" then
    out:tool { index = common.given(event.output_index), id = text(item.call_id), name = text(item.name), arguments = text(item.arguments) or "" }
  elseif item.type == "reasoning" and text(item.encrypted_content) and text(item.id) then
    out:signature(item.id .. " " .. item.encrypted_content)      -- it is of no use without the id; read again by responses_read.lua
  end
end

-- Parts of a summary follow each other without a space of their own.
told["response.reasoning_summary_part.added"] = function(event, out)
  if math.type(event.summary_index) == "integer" and event.summary_index > 0 then out:text("reasoning", "\n\n") end
end

told["response.failed"] = function(event, out) out:error(error_of(table_of(event.response).error) or { message = "the response failed" }) end

told["error"] = function(event, out) out:error(error_of(event.error) or error_of(event)) end

function M.provider.event(event, out)
  local tell = told[event.type]
  if tell then tell(event, out) end
end

function M.provider.error(_, body) return common.is_object(body) and error_of(body.error) or nil end

-- ---- what it is asked: content

local part_of = {}

function part_of.text(part) return { type = "input_text", text = part.text } end
function part_of.input_audio(part) return part end

function part_of.image_url(part)
  local image = table_of(part.image_url)
  return { type = "input_image", image_url = image.url, detail = image.detail or "auto" }
end

function part_of.file(part)
  local out = { type = "input_file" }
  for _, name in ipairs { "filename", "file_data", "file_id", "file_url" } do out[name] = table_of(part.file)[name] end
  return out
end

local function unsupported(name) common.refuse(("'%s' cannot be told to this model (provider \"responses\")"):format(name), "param_not_supported") end

local function input_of(content, at)
  if type(content) == "string" then return content end
  local parts = json.array {}
  for i, part in ipairs(content) do
    local make = part_of[part.type]
    if not make then unsupported(("%s.content[%d]"):format(at, i - 1)) end
    parts[i] = make(part)
  end
  return parts
end

local function said_of(m, at)
  local parts = json.array {}
  for i, part in ipairs(type(m.content) == "table" and m.content or { { type = "text", text = m.content } }) do
    if part.type == "refusal" then
      parts[#parts + 1] = { type = "refusal", refusal = part.refusal }
    elseif part.type ~= "text" then
      unsupported(("%s.content[%d]"):format(at, i - 1))
    elseif part.text then
      parts[#parts + 1] = { type = "output_text", text = part.text }
    end
  end
  if text(m.refusal) then parts[#parts + 1] = { type = "refusal", refusal = m.refusal } end
  return parts
end

-- ---- items
--
-- input: { list =, anew = the positions of items that say something else than the client wrote: our front wrote them (encrypted reasoning with its id), or
-- kept them }.

local items = {}

local function item(input, members, ours)
  local list = input.list
  list[#list + 1] = json.order(members, { "type", "role", "call_id", "name" })
  if ours then input.anew[#list] = true end
end

function items.user(m, at, input) item(input, { type = "message", role = m.role, content = input_of(m.content, at) }, table_of(m.kept).said) end
items.system, items.developer = items.user, items.user

function items.assistant(m, at, input)
  if m.item_reference then                               -- of a client of this API alone: see make_request
    item(input, { type = "item_reference", id = m.item_reference.id })
    return
  end
  local thought, kept = m.encrypted_reasoning, table_of(m.kept)
  if thought then
    local summary = json.array {}
    if text(m.reasoning_content) then summary[1] = { type = "summary_text", text = m.reasoning_content } end
    item(input, { type = "reasoning", id = thought.id, summary = summary, encrypted_content = thought.content }, thought.ours or kept.thought)
  end
  local parts = said_of(m, at)
  if #parts > 0 then item(input, { type = "message", role = "assistant", content = parts }, kept.said) end
  for i, call in ipairs(table_of(m.tool_calls)) do
    local f = call["function"]
    if type(f) ~= "table" then unsupported(("%s.tool_calls[%d]"):format(at, i - 1)) end
    item(input, { type = "function_call", call_id = call.id, name = f.name, arguments = f.arguments }, table_of(kept.calls)[tostring(i)])
  end
end

function items.tool(m, at, input) item(input, { type = "function_call_output", call_id = m.tool_call_id, output = input_of(m.content or "", at) }, table_of(m.kept).said) end

-- What this API calls instructions: for its own clients what they call so, else the first message, if it is the system's.
local function is_instructions(m, i, n, same)
  if type(m.content) ~= "string" then return false end
  if same then return m.instructions == true end
  return i == 1 and n > 1 and m.role == "system"
end

-- The input, the instructions, and which items of the input say something else than the client wrote (true: all may).
local function input_of_messages(messages, same)
  local input, instructions, all = { list = json.array {}, anew = {} }, nil, false
  for i, m in ipairs(messages) do
    local at = ("messages[%d]"):format(i - 1)
    all = all or m.kept == "before"
    if not instructions and is_instructions(m, i, #messages, same) then
      instructions = m.content
    else
      local add = items[m.role]
      if not add then unsupported(at .. ".role") end
      add(m, at, input)
    end
  end
  return input.list, instructions, all or next(input.anew) ~= nil and input.anew or nil
end

-- ---- tools, params

local function tools_of(tools)
  local out = json.array {}
  for i, tool in ipairs(tools) do
    local f = tool["function"]
    if tool.type == "function" and type(f) == "table" then
      -- Chat's tools are strict only if told so, this API's unless told otherwise.
      out[i] = json.order({ type = "function", name = f.name, description = f.description, parameters = f.parameters or json.null, strict = f.strict or false }, { "type", "name" })
    elseif tool.custom then
      unsupported(("tools[%d]"):format(i - 1))
    else
      out[i] = tool                                      -- one of this API's own
    end
  end
  return out
end

local function choice_of(v)
  if type(v) ~= "table" then return v end
  if v.type == "function" then return { type = "function", name = table_of(v["function"]).name } end
  if v.type == "allowed_tools" and type(v.allowed_tools) == "table" then
    local names = json.array {}
    for i, tool in ipairs(table_of(v.allowed_tools.tools)) do
      local f = table_of(tool)["function"]
      names[i] = type(f) == "table" and { type = "function", name = f.name } or tool
    end
    return { type = "allowed_tools", mode = v.allowed_tools.mode, tools = names }
  end
  return v
end

local function format_of(v)
  if type(v) ~= "table" or v.type ~= "json_schema" then return v end
  local out = {}
  for name, value in pairs(table_of(v.json_schema)) do out[name] = value end
  out.type = "json_schema"
  return out
end

-- Params that go into the body: as they are, or where a function puts them.
local SAME = common.set_of [[temperature top_p top_logprobs parallel_tool_calls metadata user store service_tier safety_identifier prompt_cache_key
  prompt_cache_retention prompt_cache_options include truncation max_tool_calls moderation context_management previous_response_id]]

local function set(name, inside, make)
  return function(body, v)
    if make then v = make(v) end
    if not inside then body[name] = v return end
    body[inside] = body[inside] or {}
    body[inside][name] = v
  end
end

local TO = {
  max_completion_tokens = set "max_output_tokens",
  reasoning_effort      = set("effort", "reasoning"),
  reasoning_summary     = set("summary", "reasoning"),
  response_format       = set("format", "text", format_of),
  verbosity             = set("verbosity", "text"),
  tool_choice           = set("tool_choice", nil, choice_of),
}

local LOGPROBS = "message.output_text.logprobs"

function TO.max_tokens(body, v) body.max_output_tokens = body.max_output_tokens or v end

function TO.logprobs(body, v)
  if not v then return end
  local include = json.array {}
  for i, name in ipairs(table_of(body.include)) do
    if name == LOGPROBS then return end
    include[i] = name
  end
  include[#include + 1] = LOGPROBS
  body.include = include
end

-- Values that say nothing new.
local NEUTRAL = {
  n = function(v) return v == 1 end,
  presence_penalty = function(v) return v == 0 end,
  frequency_penalty = function(v) return v == 0 end,
  logit_bias = function(v) return type(v) == "table" and next(v) == nil end,
  stop = function(v) return type(v) == "table" and next(v) == nil end,
  modalities = function(v) return type(v) == "table" and #v == 1 and v[1] == "text" end,
  stream_options = function() return true end,
  anthropic = function() return true end,                -- hints for Anthropic alone (anthropic.lua)
}

local function put_params(body, params)
  local names = {}
  for name in pairs(params) do names[#names + 1] = name end
  table.sort(names)                                      -- the same complaint each time; and max_completion_tokens before max_tokens, include before logprobs
  for _, name in ipairs(names) do
    local v = params[name]
    if SAME[name] then
      body[name] = v
    elseif TO[name] then
      TO[name](body, v)
    elseif v ~= json.null and not (NEUTRAL[name] and NEUTRAL[name](v)) then
      unsupported(name)
    end
  end
end

local ORDER = { "model", "stream", "instructions", "input" }

local function make_request(req, model)
  local own = shared.only_anthropic(req)
  if own then unsupported(own) end
  local body, messages, same = { model = model.model, stream = true }, req.messages, req.dialect == "responses"
  if not same then                                       -- what is kept upstream is for clients of this API, who say themselves whether it is
    body.store = false
    for _, name in ipairs { "item_reference", "encrypted_reasoning", "kept" } do messages = shared.plain(messages, name) end
    if common.given(req.params.previous_response_id) ~= nil then unsupported "previous_response_id" end
  end
  put_params(body, req.params)
  local anew
  body.input, body.instructions, anew = input_of_messages(messages, same)
  if req.tools then body.tools = tools_of(req.tools) end
  local headers = { ["Content-Type"] = "application/json", ["Accept"] = "text/event-stream" }
  if model.key then headers["Authorization"] = { "Bearer ", model.key } end
  if same and (anew or body.previous_response_id ~= nil) then anew = { input = anew, previous_response_id = true } end
  return { path = "/responses", headers = headers, body = json.order(body, ORDER), anew = anew }
end

M.provider.request = common.refusing(make_request)

return M
