-- What a client of Anthropic's Messages API asks, in OpenAI's words. What has no word there is kept as anthropic.lua says.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"

local M = {}

local given = shared.given
local invalid = shared.invalid

local function at(place, i) return ("%s.%d"):format(place, i - 1) end       -- as Anthropic names places: messages.0.content

-- What is left of a block beside the members that were read: hints for Anthropic. kept: a table to add them to.
local function hints(block, names, kept)
  local known = shared.set(names)
  for name, value in pairs(block) do
    if not known[name] then
      kept = kept or {}
      kept[name] = value
    end
  end
  return kept
end

local function is_list(v) return type(v) == "table" and not shared.is_object(v) end

-- One plain text is content as a text, the form that every server of models takes.
local function compact(parts)
  local first = parts[1]
  if first and not parts[2] and first.type == "text" and not first.anthropic then return first.text end
  return sluice.json.array(parts)
end

-- ---- blocks -> parts

local BLOCKS = {}

function BLOCKS.text(block, place)
  if type(block.text) ~= "string" then return nil, invalid(place .. ".text", "a text is required") end
  return { type = "text", text = block.text, anthropic = hints(block, { "type", "text" }) }
end

local function source_url(source, mime)
  if source.type == "url" and type(source.url) == "string" then return source.url end
  if source.type ~= "base64" or type(source.data) ~= "string" or type(source.media_type) ~= "string" then return nil end
  if mime and source.media_type ~= mime then return nil end
  return ("data:%s;base64,%s"):format(source.media_type, source.data)
end

function BLOCKS.image(block, place)
  local source = shared.table(block.source)
  local url = source_url(source)
  if url then return { type = "image_url", image_url = { url = url }, anthropic = hints(block, { "type", "source" }) } end
  if source.type == "file" then return block end         -- a file that lies with Anthropic
  return nil, invalid(place .. ".source", "a source of type base64 (media_type, data), url or file is required")
end

-- A PDF that is there can be said in OpenAI's words; other documents are Anthropic's own. One that is text has it where policies look for text.
function BLOCKS.document(block)
  local source = shared.table(block.source)
  if source.type == "text" and type(source.data) == "string" then
    local part = hints(block, { "source" })
    part.text, part.source = source.data, hints(source, { "data" })
    return part
  end
  local url = source.type == "base64" and source_url(source, "application/pdf")
  if not url then return block end
  local name = type(block.title) == "string" and block.title or nil
  return { type = "file", file = { filename = name, file_data = url }, anthropic = hints(block, { "type", "source", name and "title" or nil }) }
end

local function part_of(block, place)
  if type(block) ~= "table" or type(block.type) ~= "string" then return nil, invalid(place, "a block with a type is required") end
  local make = BLOCKS[block.type]
  if make then return make(block, place) end
  return block                                           -- of Anthropic's own
end

local function parts_of(content, place)
  if not given(content) then return sluice.json.array {} end
  if type(content) == "string" then return content end
  if not is_list(content) then return nil, invalid(place, "a text or a list of blocks is required") end
  local parts = {}
  for i, block in ipairs(content) do
    local part, no = part_of(block, at(place, i))
    if not part then return nil, no end
    parts[i] = part
  end
  return compact(parts)
end

-- ---- messages

local ROLES = {}

-- A system message between the turns: it stays there.
function ROLES.system(message, place, out)
  local content, no = parts_of(message.content, place .. ".content")
  if not content then return no end
  out[#out + 1] = { role = "system", content = content, anthropic = { placed = true } }
end

-- Results of tools are messages of their own; they come before what else the user says.
function ROLES.user(message, place, out)
  local others = {}
  if not is_list(message.content) then
    if type(message.content) ~= "string" then return invalid(place .. ".content", "a text or a list of blocks is required") end
    out[#out + 1] = { role = "user", content = message.content }
    return
  end
  for i, block in ipairs(message.content) do
    local where = at(place .. ".content", i)
    if type(block) == "table" and block.type == "tool_result" then
      if type(block.tool_use_id) ~= "string" then return invalid(where .. ".tool_use_id", "a text is required") end
      local content, no = parts_of(block.content, where .. ".content")
      if not content then return no end
      out[#out + 1] = { role = "tool", tool_call_id = block.tool_use_id, content = content, anthropic = hints(block, { "type", "tool_use_id", "content" }) }
    else
      local part, no = part_of(block, where)
      if not part then return no end
      others[#others + 1] = part
    end
  end
  if #others > 0 or #message.content == 0 then out[#out + 1] = { role = "user", content = compact(others) } end
end

local SEEN = {}                                          -- what an assistant's turn is made of, beside parts

function SEEN.tool_use(block, place, turn)
  if type(block.id) ~= "string" then return invalid(place .. ".id", "a text is required") end
  if type(block.name) ~= "string" then return invalid(place .. ".name", "a text is required") end
  if given(block.input) and not shared.is_object(block.input) then return invalid(place .. ".input", "an object is required") end
  turn.calls[#turn.calls + 1] = {
    id = block.id, type = "function", ["function"] = { name = block.name, arguments = sluice.json.encode(given(block.input) and block.input or {}) },
    anthropic = hints(block, { "type", "id", "name", "input" }),
  }
end

-- The model's own notes: to be given back as they are, and to no other model. at: how many parts and calls stood before it.
function SEEN.thinking(block, _, turn)
  turn.notes[#turn.notes + 1] = { at = #turn.parts + #turn.calls, block = block }
end
SEEN.redacted_thinking = SEEN.thinking

function ROLES.assistant(message, place, out)
  if type(message.content) == "string" then
    out[#out + 1] = { role = "assistant", content = message.content }
    return
  end
  if not is_list(message.content) then return invalid(place .. ".content", "a text or a list of blocks is required") end
  local turn = { parts = {}, calls = {}, notes = {} }
  for i, block in ipairs(message.content) do
    local where = at(place .. ".content", i)
    local see = SEEN[shared.table(block).type]
    local part, no
    if see then no = see(block, where, turn) else part, no = part_of(block, where) end
    if no then return no end
    turn.parts[#turn.parts + 1] = part
  end
  out[#out + 1] = {
    role = "assistant", content = #turn.parts > 0 and compact(turn.parts) or nil, tool_calls = #turn.calls > 0 and sluice.json.array(turn.calls) or nil,
    anthropic = #turn.notes > 0 and { notes = turn.notes } or nil,
  }
end

local function messages_of(body)
  local out = sluice.json.array {}
  if given(body.system) then
    local content, no = parts_of(body.system, "system")
    if not content then return nil, no end
    out[1] = { role = "system", content = content }
  end
  if not is_list(body.messages) then return nil, invalid("messages", "a list of messages is required") end
  for i, message in ipairs(body.messages) do
    local place = at("messages", i)
    local add = ROLES[shared.table(message).role]
    if not add then return nil, invalid(place .. ".role", 'must be "user", "assistant" or "system"') end
    local no = add(message, place, out)
    if no then return nil, no end
  end
  return out
end

-- ---- tools

local TOOL_HINTS = { cache_control = true, eager_input_streaming = true }    -- change no answer

local function tool_of(tool, place)
  if not shared.is_object(tool) then return nil, invalid(place, "an object is required") end
  if given(tool.type) and tool.type ~= "custom" then return tool end         -- of Anthropic's own: no other provider takes it
  if type(tool.name) ~= "string" then return nil, invalid(place .. ".name", "a text is required") end
  if not shared.is_object(tool.input_schema) then return nil, invalid(place .. ".input_schema", "an object is required") end
  local out = {
    type = "function",
    ["function"] = { name = tool.name, description = given(tool.description) and tool.description or nil, parameters = tool.input_schema,
      strict = given(tool.strict) and tool.strict or nil },
  }
  for name, value in pairs(hints(tool, { "type", "name", "description", "input_schema", "strict" }) or {}) do
    if TOOL_HINTS[name] then
      out.anthropic = out.anthropic or {}
      out.anthropic[name] = value
    else
      out[name] = value
    end
  end
  return out
end

local function tools_of(tools)
  if not given(tools) then return nil end
  if not is_list(tools) then return nil, invalid("tools", "a list of tools is required") end
  local out = sluice.json.array {}
  for i, tool in ipairs(tools) do
    local made, no = tool_of(tool, at("tools", i))
    if not made then return nil, no end
    out[i] = made
  end
  return out
end

-- ---- the other members: each reads one into params (OpenAI's words) and kept (hints for Anthropic); may return a refusal

local READ = {}

function READ.stop_sequences(v, params) params.stop = v end
function READ.cache_control(v, _, kept) kept.cache_control = v end

local CHOICES = { auto = "auto", any = "required", none = "none" }

function READ.tool_choice(v, params)
  local choice = shared.table(v)
  if choice.type == "tool" and type(choice.name) == "string" then
    params.tool_choice = { type = "function", ["function"] = { name = choice.name } }
  else
    params.tool_choice = CHOICES[choice.type]
  end
  if not params.tool_choice then return invalid("tool_choice", "a type of auto, any, none or tool (with a name) is required") end
  if choice.disable_parallel_tool_use == true then params.parallel_tool_calls = false end
end

function READ.metadata(v, params, kept)
  local metadata = shared.table(v)
  if given(metadata.user_id) then params.user = metadata.user_id end
  kept.metadata = hints(metadata, { "user_id" })
end

-- How much thought an Anthropic client allows, as OpenAI's clients say it. A model that is not to think is asked for nothing: few of the others know "none".
local function effort_of(thinking, output)
  if thinking.type == "disabled" then return nil end
  if output.effort == "max" then return "xhigh" end
  if type(output.effort) == "string" then return output.effort end
  local budget = thinking.type == "enabled" and thinking.budget_tokens
  if math.type(budget) ~= "integer" then return nil end
  return budget < 4096 and "low" or budget < 16384 and "medium" or "high"
end

local THINKING = { enabled = true, disabled = true, adaptive = true }

local function read_thinking(body, params, kept)
  local thinking, output = shared.table(body.thinking), shared.table(body.output_config)
  if given(body.thinking) and not THINKING[thinking.type] then params.thinking = body.thinking end
  params.reasoning_effort = effort_of(thinking, output)
  kept.meant, kept.effort = params.reasoning_effort, given(output.effort) and output.effort or nil
  kept.thinking = given(body.thinking) and not params.thinking and body.thinking or nil
end

function READ.output_config(v, params)
  if not shared.is_object(v) then return invalid("output_config", "an object is required") end
  local format = shared.table(v.format)
  local known = format.type == "json_schema" and type(format.schema) == "table"
  if known then params.response_format = { type = "json_schema", json_schema = { name = "answer", strict = true, schema = format.schema } } end
  params.output_config = hints(v, { "effort", (known or not given(v.format)) and "format" or nil })
end

local TIERS = { auto = "auto", standard_only = "default" }
function READ.service_tier(v, params) params.service_tier = TIERS[v] or v end

local APART = shared.set { "model", "messages", "system", "stream", "tools", "thinking" }
local CANNOT = { "n", "logprobs", "top_logprobs" }       -- an answer in this dialect has no place for them

local function params_of(body, headers)
  local params, kept = {}, {}
  for _, name in ipairs(CANNOT) do
    if given(body[name]) then return nil, invalid(name, "the Messages API has no such field") end
  end
  for name, value in pairs(body) do
    local read = READ[name]
    if read and given(value) then
      local no = read(value, params, kept)
      if no then return nil, no end
    elseif not read and not APART[name] then
      params[name] = value
    end
  end
  read_thinking(body, params, kept)
  kept.betas = shared.table(headers)["anthropic-beta"]
  params.anthropic = next(kept) and kept or nil
  return params
end

function M.read(req)
  local body, why = sluice.json.decode(req.body or "")
  if not shared.is_object(body) then return invalid("body", why or "a JSON object is required") end
  if type(body.model) ~= "string" then return invalid("model", "a text is required") end
  local messages, tools, params, no
  messages, no = messages_of(body)
  if no then return no end
  tools, no = tools_of(body.tools)
  if no then return no end
  params, no = params_of(body, req.headers)
  if no then return no end
  req.model, req.messages, req.tools, req.params = body.model, messages, tools, params
  req.stream = body.stream == true
  req.include_usage = true                               -- this dialect always tells it
end

return M
