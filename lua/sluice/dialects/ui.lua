-- The UI message stream of the AI SDK (version 1 of it): what useChat and DefaultChatTransport speak.
--
-- Read are `messages` and, if it is there, `model`; `id`, `trigger`, `messageId` and whatever else an app puts into its body are its own: policies find them
-- in req.body. Parts of type source-* and data-* are for the page, not for the model. An answer is one step; a refusal is told as text.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"

local json = sluice.json

local M = { name = "ui" }

M.front = { methods = "POST, OPTIONS", headers = { ["x-vercel-ai-ui-message-stream"] = "v1" }, error = common.error }

-- ---- reading

local AUDIO = { ["audio/wav"] = "wav", ["audio/x-wav"] = "wav", ["audio/mpeg"] = "mp3", ["audio/mp3"] = "mp3" }

local function file_of(part, at)
  local url, mime = common.text(part.url, at .. ".url"), common.text(part.mediaType, at .. ".mediaType", "a media type such as image/png")
  if mime:find "^image/" then return { type = "image_url", image_url = { url = url } } end
  local data = url:match "^data:[^,]*;base64,(.*)$"
  if AUDIO[mime] and data then return { type = "input_audio", input_audio = { data = data, format = AUDIO[mime] } } end
  local name = common.may(common.text, part.filename, at .. ".filename")
  if data then return { type = "file", file = { filename = name, file_data = url } } end
  return { type = "file", file = { filename = name, file_url = url } }
end

local function for_page(kind) return kind:find "^data%-" or kind:find "^source%-" or kind == "step-start" end

local function unknown(kind, at, role) common.refuse(("'%s.type' is \"%s\", which a message of role %s cannot hold"):format(at, kind, role)) end

local function each_part(m, at)
  local parts = common.list(m.parts, at .. ".parts", "a list of parts")
  local i = 0
  return function()
    i = i + 1
    if parts[i] == nil then return nil end
    local here = ("%s.parts[%d]"):format(at, i - 1)
    return common.object(parts[i], here), common.text(parts[i].type, here .. ".type", "a word such as text"), here
  end
end

local read = {}

function read.system(m, at, messages)
  local out = {}
  for part, kind, here in each_part(m, at) do
    if kind == "text" then out[#out + 1] = common.text(part.text, here .. ".text") elseif not for_page(kind) then unknown(kind, here, m.role) end
  end
  messages[#messages + 1] = { role = "system", content = table.concat(out) }
end

function read.user(m, at, messages)
  local out = {}
  for part, kind, here in each_part(m, at) do
    if kind == "text" then
      out[#out + 1] = { type = "text", text = common.text(part.text, here .. ".text") }
    elseif kind == "file" then
      out[#out + 1] = file_of(part, here)
    elseif not for_page(kind) then
      unknown(kind, here, m.role)
    end
  end
  if #out == 0 then common.refuse(("'%s.parts' holds nothing for a model"):format(at)) end
  messages[#messages + 1] = { role = "user", content = #out == 1 and out[1].text or json.array(out) }
end

-- What a tool said, for the states in which it has said something.
local OUTPUTS = {
  ["output-available"] = function(part) return type(part.output) == "string" and part.output or json.encode(part.output == nil and json.null or part.output) end,
  ["output-error"]     = function(part, here) return common.text(part.errorText, here .. ".errorText") end,
  ["output-denied"]    = function(part) return common.is_object(part.approval) and type(part.approval.reason) == "string" and part.approval.reason or "Tool call execution denied." end,
}

local function tool_part(step, part, name, here)
  if part.state == "input-streaming" then return end
  local id = common.text(part.toolCallId, here .. ".toolCallId")
  local input = part.input
  if input == nil then input = part.rawInput end
  step.calls[#step.calls + 1] = { id = id, type = "function", ["function"] = { name = name, arguments = json.encode(input == nil and {} or input) } }
  local output = OUTPUTS[part.state]
  if output then step.outputs[#step.outputs + 1] = { role = "tool", tool_call_id = id, content = output(part, here) } end
end

local function nothing() return { text = {}, reasoning = {}, calls = {}, outputs = {} } end

local function joined(list)
  if #list > 0 then return table.concat(list) end
end

-- A step becomes a message, then what its tools said.
local function put(messages, step)
  if #step.text + #step.reasoning + #step.calls == 0 then return end
  if #step.text + #step.calls > 0 then
    messages[#messages + 1] = { role = "assistant", content = joined(step.text), reasoning_content = joined(step.reasoning), tool_calls = step.calls[1] and step.calls or nil }
  end
  for _, output in ipairs(step.outputs) do messages[#messages + 1] = output end
end

function read.assistant(m, at, messages)
  local step = nothing()
  for part, kind, here in each_part(m, at) do
    local tool = kind:match "^tool%-(.+)$" or kind == "dynamic-tool" and common.text(part.toolName, here .. ".toolName")
    if kind == "step-start" then
      put(messages, step)
      step = nothing()
    elseif kind == "text" or kind == "reasoning" then
      table.insert(step[kind], common.text(part.text, here .. ".text"))
    elseif tool then
      tool_part(step, part, tool, here)
    elseif not for_page(kind) then
      unknown(kind, here, m.role)
    end
  end
  put(messages, step)
end

M.front.read = common.refusing(function(req)
  local body = common.body(req)
  local messages = {}
  for i, m in ipairs(common.list(body.messages, "messages", "a list of UI messages")) do
    local at = ("messages[%d]"):format(i - 1)
    common.object(m, at)
    read[common.one_of(m.role, at .. ".role", { "system", "user", "assistant" })](m, at, messages)
  end
  if #messages == 0 then common.refuse "'messages' must hold at least one message" end
  req.messages, req.params, req.stream = messages, {}, true
  req.model = common.may(common.text, body.model, "model", "a text: the name of a model")
end)

-- ---- telling

local function event(members) return common.data(json.order(members, { "type", "id", "toolCallId", "toolName" })) end

function M.front.begin() return event { type = "start" } .. event { type = "start-step" } end

local KINDS = { content = "text", refusal = "text", reasoning = "reasoning" }

-- The parts of several choices would run into one message: the first is told.
local function first_choice(x) return (x.choice or 0) == 0 end

function M.front.open(_, block)
  if not first_choice(block) then return nil end
  local kind, id = KINDS[block.channel], tostring(block.index)
  return event { type = kind .. "-start", id = id }, ('data: {"type":"%s-delta","id":"%s","delta":'):format(kind, id), "}\n\n"
end

function M.front.close(_, block)
  if first_choice(block) then return event { type = KINDS[block.channel] .. "-end", id = tostring(block.index) } end
end

-- The arguments stand in the event as the model wrote them; a line end between them would end the event.
function M.front.tool(_, call)
  if not first_choice(call) then return "" end
  local input = call.arguments == "" and "{}" or call.arguments
  local _, why = json.decode(input)
  if why then
    return event { type = "tool-input-error", toolCallId = call.id, toolName = call.name, input = input, errorText = "the model wrote arguments that are no JSON: " .. why }
  end
  local head = event { type = "tool-input-available", toolCallId = call.id, toolName = call.name }
  return head:sub(1, -4) .. ',"input":' .. input:gsub("[\r\n]", " ") .. "}\n\n"
end

local WORDS = { stop = "stop", length = "length", content_filter = "content-filter", tool_calls = "tool-calls" }

function M.front.finish(answer)
  return event { type = "finish-step" } .. event { type = "finish", finishReason = WORDS[answer.finish[0] or "stop"] or "other" } .. "data: [DONE]\n\n"
end

function M.front.fault(_, err) return event { type = "error", errorText = err.message } .. "data: [DONE]\n\n" end

return M
