-- Ollama's own API: /api/chat, answered as one JSON object a line.
--
-- The model's `options` go into the body as they stand; where a client says something else, the client's word counts:
--   options = { keep_alive = "1h", options = { num_ctx = 32768 } }
--
-- What was decided where the two APIs differ:
--   - The texts of one message are joined by line breaks, its images stand beside them: Ollama knows no order between the two.
--   - tool_choice = "none" leaves the tools out; that a tool must be called cannot be told.
local sluice = require "sluice"
local embedding = require "sluice.dialects.embedding"
local shared = require "sluice.dialects.shared"
local told = require "sluice.dialects.told"

local M = { name = "ollama" }

local is_array, set, object = sluice.json.is_array, shared.given, shared.table
local function text(v) return type(v) == "string" and v or nil end
local invalid, cannot_tell = told.invalid, told.cannot_tell

-- ---- messages

local kinds = {}                                          -- kinds.TYPE(job, message, part, at): adds it to Ollama's message

function kinds.text(job, message, part, at)
  if type(part.text) ~= "string" then return invalid(job, at .. ".text", "must be a text") end
  message.texts[#message.texts + 1] = part.text
end

function kinds.refusal(job, message, part, at)
  if type(part.refusal) ~= "string" then return invalid(job, at .. ".refusal", "must be a text") end
  message.texts[#message.texts + 1] = part.refusal
end

function kinds.image_url(job, message, part, at)
  local image = object(part.image_url)
  if set(image.detail) and image.detail ~= "auto" then cannot_tell(job, at .. ".image_url.detail") end
  local data = (text(image.url) or ""):match "^data:[^,]*;base64,(.+)$"
  if not data then return invalid(job, at .. ".image_url.url", "must be a data: URL with base64 for this model, which fetches nothing") end
  message.images[#message.images + 1] = data
end

-- Ollama takes sound in the list of images and looks at the bytes.
function kinds.input_audio(job, message, part, at)
  local data = text(object(part.input_audio).data)
  if not data then return invalid(job, at .. ".input_audio.data", "must be base64") end
  message.images[#message.images + 1] = data
end

local ALLOWED = { user = { text = true, image_url = true, input_audio = true }, assistant = { text = true, refusal = true } }
local TEXT_ONLY = { text = true }

local function content_of(job, content, role, at)
  local message = { texts = {}, images = {} }
  if type(content) == "string" then message.texts[1] = content end
  for i, part in ipairs(object(content)) do
    local here, kind = ("%s.content[%d]"):format(at, i - 1), object(part).type
    if (ALLOWED[role] or TEXT_ONLY)[kind] then
      kinds[kind](job, message, part, here)
    else
      cannot_tell(job, ("%s of type %s"):format(here, shared.shown(kind)))
    end
  end
  return table.concat(message.texts, "\n"), #message.images > 0 and message.images or nil
end

local function calls_of(job, calls, at)
  local out = {}
  for i, call in ipairs(object(calls)) do
    local here, f = ("%s.tool_calls[%d]"):format(at, i - 1), object(object(call)["function"])
    if not text(f.name) then return cannot_tell(job, ("%s of type %s"):format(here, shared.shown(object(call).type))) end
    if text(call.id) then job.names[call.id] = f.name end
    local args, why = {}, nil
    if (text(f.arguments) or ""):find "%S" then args, why = sluice.json.decode(f.arguments) end
    if type(args) ~= "table" or is_array(args) then
      return invalid(job, here .. ".function.arguments", "must be the JSON of an object: " .. (why or "it is another value"))
    end
    out[i] = { id = text(call.id), ["function"] = { name = f.name, arguments = args } }
  end
  return #out > 0 and out or nil
end

local ROLES = { system = "system", developer = "system", user = "user", assistant = "assistant", tool = "tool" }
local ORDER = { "role", "content", "images", "thinking", "tool_calls", "tool_name", "tool_call_id" }

local function message_of(job, message, at)
  local role = ROLES[message.role]
  if not role then return cannot_tell(job, ("%s of role %s"):format(at, shared.shown(message.role))) end
  local out = { role = role }
  out.content, out.images = content_of(job, message.content, role, at)
  if role == "assistant" then
    out.thinking, out.tool_calls = text(message.reasoning_content), calls_of(job, message.tool_calls, at)
    if text(message.refusal) then out.content = out.content == "" and message.refusal or out.content .. "\n" .. message.refusal end
    if set(message.audio) or set(message.function_call) then cannot_tell(job, at .. (set(message.audio) and ".audio" or ".function_call")) end
  elseif role == "tool" then
    out.tool_call_id = text(message.tool_call_id)
    out.tool_name = out.tool_call_id and job.names[out.tool_call_id] or text(message.name)
    if not out.tool_name then invalid(job, at .. ".tool_call_id", "is the id of no tool call before it: this model wants the function's name") end
  end
  if role ~= "tool" and set(message.name) then cannot_tell(job, at .. ".name") end
  return sluice.json.order(out, ORDER)
end

local function messages_of(job, messages)
  local out = {}
  for i, message in ipairs(messages) do out[i] = message_of(job, message, ("messages[%d]"):format(i - 1)) end
  return sluice.json.array(out)
end

-- ---- tools

-- A member of a tool that is neither OpenAI's nor a front's own record ("anthropic") may change the answer.
local TOOL, FUNCTION = { type = true, ["function"] = true, anthropic = true }, { name = true, description = true, parameters = true, strict = true }

local function check_members(job, t, known, at)
  local names = {}
  for name, value in pairs(t) do
    if set(value) and not known[name] then names[#names + 1] = tostring(name) end
  end
  table.sort(names)
  if names[1] then cannot_tell(job, ("%s.%s"):format(at, names[1])) end
end

local function tools_of(job, tools)
  local out = {}
  for i, tool in ipairs(object(tools)) do
    local f, at = object(tool["function"]), ("tools[%d]"):format(i - 1)
    if tool.type ~= "function" or not text(f.name) then return cannot_tell(job, ("%s of type %s"):format(at, shared.shown(tool.type))) end
    check_members(job, tool, TOOL, at)
    check_members(job, f, FUNCTION, at .. ".function")
    if f.strict == true then cannot_tell(job, at .. ".function.strict") end
    local parameters = type(f.parameters) == "table" and next(f.parameters) and f.parameters or { type = "object", properties = {} }
    out[i] = { type = "function", ["function"] = { name = f.name, description = text(f.description), parameters = parameters } }
  end
  return #out > 0 and out or nil
end

-- ---- parameters: what says them, what they need not say, and all others are refused

local say = {}                                            -- say.NAME(job, value): false when this value cannot be told

-- What OpenAI and Ollama, or Ollama alone, call so.
for _, name in ipairs { "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty", "min_p", "typical_p", "repeat_last_n", "repeat_penalty" } do
  say[name] = function(job, v) job.options[name] = v end
end

function say.max_completion_tokens(job, v) job.options.num_predict = v end

function say.max_tokens(job, v)
  if not set(job.params.max_completion_tokens) then job.options.num_predict = v end
end

function say.stop(job, v) job.options.stop = sluice.json.array(type(v) == "table" and { table.unpack(v) } or { v }) end

function say.response_format(job, v)
  local kind = object(v).type
  if kind == "json_object" then
    job.body.format = "json"
  elseif kind == "json_schema" then
    local schema = object(v.json_schema).schema
    if type(schema) ~= "table" then return invalid(job, "response_format.json_schema.schema", "must be a JSON schema") end
    job.body.format = schema
  else
    return kind == "text"
  end
end

local EFFORTS = { none = false, minimal = "low", low = "low", medium = "medium", high = "high", xhigh = "max" }   -- as Ollama's own OpenAI endpoint has it

function say.reasoning_effort(job, v)
  if EFFORTS[v] == nil then return false end
  job.body.think = EFFORTS[v]
end

told.logprobs(say, "body", { logprobs = "logprobs", top_logprobs = "top_logprobs" })

function say.tool_choice(job, v)
  if v == "none" then job.no_tools = true return end
  return v == "auto"
end

-- ---- the request

local function headers(model, accept)
  return { ["Content-Type"] = "application/json", ["Accept"] = accept, ["Authorization"] = model.key and { "Bearer ", model.key } or nil }
end

M.provider = {
  url = "http://127.0.0.1:11434",
  framing = "ndjson",

  places = {
    content = "message.content", reasoning = "message.thinking", logprobs = "logprobs", finish = "done_reason", error = "error", model = "model",
    usage_input = "prompt_eval_count", usage_output = "eval_count",
  },
  rare = { "message.tool_calls" },
  done_at = "done",
  finish_words = { stop = "stop", length = "length", load = "stop", unload = "stop" },
}

function M.provider.request(req, model)
  local missing = shared.missing(req)
  if missing then return missing end
  local job = { provider = "ollama", params = req.params or {}, options = {}, body = { model = model.model, stream = true }, names = {} }
  job.body.messages = messages_of(job, req.messages or {})
  told.params(job, say)
  local tools = tools_of(job, req.tools)
  if not job.no_tools then job.body.tools = tools end
  if next(job.options) then job.body.options = job.options end
  if job.refused then return job.refused end
  return { path = "/api/chat", headers = headers(model, "application/x-ndjson"),
    body = sluice.json.order(told.upon(model.options or {}, job.body), { "model", "stream", "messages" }) }
end

-- ---- the answer: a line with tool calls, which come whole. That a "stop" after calls is OpenAI's "tool_calls" is the gateway's to know: they stand in other lines.

-- An id for a call that has none: each line has its time, so no two calls of a conversation share one, and the same bytes have the same.
local function id_for(event, i) return "call_" .. sluice.sha256(("%s %d"):format(sluice.json.encode(event), i)):sub(1, 24) end

function M.provider.event(event, out)
  local message = object(event.message)
  if text(event.model) then out:model(event.model) end
  if text(message.thinking) and message.thinking ~= "" then out:text("reasoning", message.thinking) end
  if text(message.content) and message.content ~= "" then out:text("content", message.content) end      -- its logprobs are of the calls, too
  for i, call in ipairs(object(message.tool_calls)) do
    local f = object(object(call)["function"])
    if text(f.name) then
      out:tool { id = text(call.id) or id_for(event, i), name = f.name, arguments = sluice.json.encode(set(f.arguments) and f.arguments or {}) }
    end
  end
  if event.done ~= true then return end
  local reason = text(event.done_reason) or "stop"
  out:finish(M.provider.finish_words[reason] or reason)
  out:usage { input = math.tointeger(event.prompt_eval_count), output = math.tointeger(event.eval_count) }
  out:done()
end

-- { error = "..." }; some that speak its language, and its own /v1, say { error = { message } }.
function M.provider.error(_, body)
  local why = object(body).error
  local message = text(why) or text(object(why).message)
  return message and { message = message } or nil
end

-- ---- embeddings

M.provider.embed = {}

function M.provider.embed.request(req, model)
  local refused = embedding.refused(req, "ollama")
  if refused then return refused end
  local dimensions = set(req.params.dimensions) and req.params.dimensions or nil
  return { path = "/api/embed", headers = headers(model, "application/json"),
    body = told.upon(model.options or {}, { model = model.model, input = embedding.texts(req), dimensions = dimensions }) }
end

-- nil: this is no answer.
function M.provider.embed.answer(doc, req)
  local embeddings = object(doc).embeddings
  if not is_array(embeddings) then return nil end
  return embedding.document(embeddings, req, math.tointeger(doc.prompt_eval_count))
end

return M
