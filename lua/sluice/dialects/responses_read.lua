-- A request of OpenAI's Responses API becomes messages, tools and params as chat completions know them.
--
-- input items          message; function_call and reasoning go into the assistant's message that they belong to; function_call_output is a tool's message.
-- instructions         the first message, role system (and instructions = true, for a provider of this API)
-- max_output_tokens    max_completion_tokens
-- reasoning            reasoning_effort, reasoning_summary
-- text                 response_format, verbosity
-- include              stays; logprobs = true beside it when it asks for them
-- tools, tool_choice   functions in chat's form; the provider's own tools stay as they are, for a provider that has them
-- item_reference       the item, where it is kept here (responses_kept.lua); else it stays one, for a provider of this API:
--                      { role = "assistant", item_reference = { id =, at = "input[0]" } }
-- previous_response_id what was said up to that answer, before the input; else it stays, for a provider of this API
-- conversation, background and prompt are refused.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"
local kept = require "sluice.dialects.responses_kept"

local json = sluice.json

local refuse, may = common.refuse, common.may

local function unsupported(name, why) refuse(("'%s' is not supported here: %s"):format(name, why), "param_not_supported") end

-- ---- content

local part_of = {}

function part_of.input_text(part, at) return { type = "text", text = common.text(part.text, at .. ".text") } end
part_of.output_text = part_of.input_text

function part_of.input_image(part, at)
  if common.given(part.file_id) then unsupported(at .. ".file_id", "the gateway keeps no files; send the image's URL or data in 'image_url'") end
  return { type = "image_url", image_url = { url = common.text(part.image_url, at .. ".image_url"), detail = may(common.text, part.detail, at .. ".detail") } }
end

function part_of.input_file(part, at)
  local file = {}
  for _, name in ipairs { "filename", "file_data", "file_id", "file_url" } do file[name] = may(common.text, part[name], ("%s.%s"):format(at, name)) end
  if not (file.file_data or file.file_id or file.file_url) then refuse(("'%s' must hold file_data, file_url or file_id"):format(at)) end
  return { type = "file", file = file }
end

function part_of.input_audio(part, at)
  return { type = "input_audio", input_audio = common.object(part.input_audio, at .. ".input_audio", "an object { data, format }") }
end

-- A text, or a list of parts; and the refusal that stood among them. One part of text alone is a text.
local function content_of(v, at)
  if type(v) == "string" then return v end
  local parts, refusal = {}, nil
  for i, part in ipairs(common.list(v, at, "a text or a list of parts")) do
    local here = ("%s[%d]"):format(at, i - 1)
    common.object(part, here)
    if part.type == "refusal" then
      refusal = (refusal or "") .. common.text(part.refusal, here .. ".refusal")
    else
      local make = part_of[common.text(part.type, here .. ".type", "a word such as input_text")]
      if not make then refuse(("'%s.type' is \"%s\", which is not known (known: input_text, output_text, refusal, input_image, input_file, input_audio)"):format(here, part.type)) end
      parts[i] = make(part, here)
    end
  end
  local list = {}
  for i = 1, #v do list[#list + 1] = parts[i] end
  if #list == 1 and list[1].type == "text" then return list[1].text, refusal end
  if #list == 0 then return refusal == nil and "" or nil, refusal end
  return json.array(list), refusal
end

-- ---- items

local ROLES = { "user", "assistant", "system", "developer" }

-- The assistant's message that an item belongs to: the last, unless something of it must come before.
local function assistant(messages, fits)
  local last = messages[#messages]
  if not last or last.role ~= "assistant" or not fits(last) then
    last = { role = "assistant" }
    messages[#messages + 1] = last
  end
  return last
end

local function only_thought(m) return m.content == nil and m.refusal == nil and m.tool_calls == nil and m.item_reference == nil end

local items = {}

function items.message(item, at, messages)
  local role = common.one_of(item.role, at .. ".role", ROLES)
  local content, refusal = content_of(item.content, at .. ".content")
  local m = { role = role }
  if role == "assistant" then
    m = assistant(messages, only_thought)
  else
    messages[#messages + 1] = m
  end
  m.content, m.refusal = content, refusal
end

function items.function_call(item, at, messages)
  local m = assistant(messages, function(last) return last.item_reference == nil end)
  m.tool_calls = m.tool_calls or {}
  m.tool_calls[#m.tool_calls + 1] = {
    id = common.text(item.call_id, at .. ".call_id"), type = "function",
    ["function"] = { name = common.text(item.name, at .. ".name"), arguments = common.text(item.arguments, at .. ".arguments", "JSON in a text") },
  }
end

function items.function_call_output(item, at, messages)
  local content, refusal = content_of(item.output, at .. ".output")
  messages[#messages + 1] = { role = "tool", tool_call_id = common.text(item.call_id, at .. ".call_id"), content = content or refusal }
end

local function thoughts(list, at)
  local out = {}
  for i, part in ipairs(may(common.list, list, at) or {}) do
    common.object(part, ("%s[%d]"):format(at, i - 1))
    out[i] = common.text(part.text, ("%s[%d].text"):format(at, i - 1))
  end
  return #out > 0 and table.concat(out, "\n\n") or nil
end

-- What only its model can read goes back to it (responses.lua); the rest is text, which policies see.
function items.reasoning(item, at, messages)
  local m = assistant(messages, function(last) return only_thought(last) and last.reasoning_content == nil and last.encrypted_reasoning == nil end)
  m.reasoning_content = thoughts(item.summary, at .. ".summary") or thoughts(item.content, at .. ".content")
  local encrypted = may(common.text, item.encrypted_content, at .. ".encrypted_content")
  if not encrypted then return end
  local id, content = encrypted:match "^(%S+) (.*)$"       -- by our own front, with the id that the model gave it
  m.encrypted_reasoning = { id = id or may(common.text, item.id, at .. ".id"), content = content or encrypted, ours = id ~= nil or nil }
end

-- `kept` tells the provider of the same API which parts of a message the client's own words do not say (responses.lua): { thought =, said =, calls = { ["1"] = true } },
-- or "before": they say nothing of it.
local function note_kept(message, kind)
  if message.kept == "before" then return end
  message.kept = message.kept or {}
  if kind == "function_call" then
    message.kept.calls = message.kept.calls or {}
    message.kept.calls[tostring(#message.tool_calls)] = true
  else
    message.kept[kind == "reasoning" and "thought" or "said"] = true
  end
end

local function read_item(item, at, messages, reader)
  common.object(item, at)
  local kind = may(common.text, item.type, at .. ".type") or (item.role == nil and type(item.id) == "string" and "item_reference") or "message"
  if kind == "item_reference" then
    local id = common.text(item.id, at .. ".id")
    local found = reader:item(id)
    if not found then messages[#messages + 1] = { role = "assistant", item_reference = { id = id, at = at } } return end
    items[found.type](found, at, messages)
    note_kept(messages[#messages], found.type)
    return
  end
  local read = items[kind]
  if not read then unsupported(at, ('an item of type "%s" cannot be told to the models here'):format(kind)) end
  read(item, at, messages)
end

-- before: items that were said before, or nil.
local function messages_of(input, before, reader)
  if type(input) == "string" then input = json.array { { role = "user", content = input } } end
  local messages = {}
  for i, item in ipairs(before or {}) do read_item(item, ("previous_response_id[%d]"):format(i - 1), messages, reader) end
  for _, message in ipairs(messages) do message.kept = "before" end
  for i, item in ipairs(common.list(input, "input", "a text or a list of items")) do read_item(item, ("input[%d]"):format(i - 1), messages, reader) end
  -- A reasoning item behind which nothing came.
  local last = messages[#messages]
  if last and last.role == "assistant" and only_thought(last) then messages[#messages] = nil end
  if #messages == 0 then refuse "'input' must hold at least one item" end
  return messages
end

-- ---- tools, params

local function tools_of(list)
  local tools = {}
  for i, tool in ipairs(list or {}) do
    local at = ("tools[%d]"):format(i - 1)
    common.object(tool, at)
    common.text(tool.type, at .. ".type", 'a word such as "function"')
    if tool.type == "function" then
      tools[i] = { type = "function", ["function"] = {
        name = common.text(tool.name, at .. ".name"), description = may(common.text, tool.description, at .. ".description"),
        parameters = may(common.object, tool.parameters, at .. ".parameters"), strict = may(common.flag, tool.strict, at .. ".strict"),
      } }
    else
      tools[i] = tool
    end
  end
  if #tools > 0 then return tools end
end

local function choice_of(v)
  if type(v) ~= "table" then return v end
  if v.type == "function" then return { type = "function", ["function"] = { name = common.text(v.name, "tool_choice.name") } } end
  if v.type == "allowed_tools" then
    local allowed = {}
    for i, tool in ipairs(common.list(v.tools, "tool_choice.tools")) do
      allowed[i] = common.is_object(tool) and tool.type == "function" and { type = "function", ["function"] = { name = tool.name } } or tool
    end
    return { type = "allowed_tools", allowed_tools = { mode = v.mode, tools = json.array(allowed) } }
  end
  return v
end

local function format_of(v)
  if v == nil or v.type ~= "json_schema" then return v end
  local schema = {}
  for name, value in pairs(common.without_nulls(v)) do
    if name ~= "type" then schema[name] = value end
  end
  return { type = "json_schema", json_schema = schema }
end

local STATE = { "conversation", "prompt" }
local TAKEN = common.set_of [[input instructions tools tool_choice max_output_tokens reasoning text include background previous_response_id conversation prompt]]

local function told(list, word)
  for _, v in ipairs(list or {}) do
    if v == word then return true end
  end
end

return common.refusing(function(req)
  local body = common.body(req)
  for _, name in ipairs(STATE) do
    if common.given(body[name]) ~= nil then unsupported(name, "the gateway keeps no state; send the whole conversation as input") end
  end
  if may(common.flag, body.background, "background") then unsupported("background", "the gateway answers while the client waits") end

  local previous = may(common.text, body.previous_response_id, "previous_response_id")
  local reader = kept.reader(req, function()
    refuse("what 'previous_response_id' and items refer to is more than a request may hold: send the conversation anew, or less of it", "conversation_too_long")
  end)
  local before, further
  if previous then before, further = reader:before(previous) end
  req.messages = messages_of(body.input, before, reader)
  local instructions = may(common.text, body.instructions, "instructions")
  if instructions then table.insert(req.messages, 1, { role = "system", content = instructions, instructions = true }) end
  req.tools = tools_of(may(common.list, body.tools, "tools"))

  common.common(req, body, TAKEN)
  req.include_usage = req.stream
  local params = req.params
  local reasoning = may(common.object, body.reasoning, "reasoning") or {}
  local text = may(common.object, body.text, "text") or {}
  params.previous_response_id = further                   -- what is not here may be at a provider of this API
  params.max_completion_tokens = common.given(body.max_output_tokens)
  params.reasoning_effort = may(common.text, reasoning.effort, "reasoning.effort")
  params.reasoning_summary = may(common.text, reasoning.summary, "reasoning.summary") or may(common.text, reasoning.generate_summary, "reasoning.generate_summary")
  params.response_format = format_of(may(common.object, text.format, "text.format"))
  params.verbosity = may(common.text, text.verbosity, "text.verbosity")
  params.tool_choice = choice_of(common.given(body.tool_choice))
  params.include = may(common.list, body.include, "include")
  if told(params.include, "message.output_text.logprobs") then params.logprobs = true end
end)
