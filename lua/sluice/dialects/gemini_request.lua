-- What Gemini is asked: OpenAI's request in Google's words. Used by the dialect "gemini".
--
-- What was decided where the two APIs differ:
--   - All system messages become the one systemInstruction, wherever they stood.
--   - An https image is named by its address, which Google fetches by itself (2.5 and later; older models refuse it with a sentence of Google's).
--   - The thought signatures that Gemini 3 wants back with its own tool calls are told (openai_front.lua) and read as Google's own OpenAI endpoint spells
--     them, in a call's extra_content. For a call that comes back without one the word is sent that Google names for calls from elsewhere.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"
local told = require "sluice.dialects.told"

local FOREIGN_SIGNATURE = "skip_thought_signature_validator"

local is_array, set, object = sluice.json.is_array, shared.given, shared.table
local function text(v) return type(v) == "string" and v or nil end
local invalid, cannot_tell = told.invalid, told.cannot_tell

-- ---- what messages hold

local function blob(mime, data) return { inlineData = { mimeType = mime, data = data } } end

local MIME_OF = { png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", webp = "image/webp", heic = "image/heic", heif = "image/heif", gif = "image/gif" }
local DETAILS = { low = 1, high = 2 }                     -- auto says nothing

local kinds = {}

function kinds.text(job, part, at)
  if type(part.text) ~= "string" then return invalid(job, at .. ".text", "must be a text") end
  return { text = part.text }
end

function kinds.image_url(job, part, at)
  local image = object(part.image_url)
  local url = text(image.url) or ""
  if set(image.detail) and image.detail ~= "auto" then
    if not DETAILS[image.detail] then return invalid(job, at .. ".image_url.detail", 'must be "auto", "low" or "high"') end
    job.detail = math.max(job.detail or 0, DETAILS[image.detail])
  else
    job.any_detail = true
  end
  local mime, data = url:match "^data:([^;,]+)[^,]*;base64,(.+)$"
  if mime then return blob(mime, data) end
  if not url:find "^https://" then return invalid(job, at .. ".image_url.url", "must be a data: URL with base64 or an https: URL for this model") end
  local path = url:match "^[^?#]+"
  return { fileData = { fileUri = url, mimeType = MIME_OF[(path:match "%.(%w+)$" or ""):lower()] } }
end

function kinds.input_audio(job, part, at)
  local audio = object(part.input_audio)
  if not (text(audio.data) and text(audio.format)) then return invalid(job, at .. ".input_audio", "must have data and a format") end
  return blob("audio/" .. audio.format, audio.data)
end

function kinds.file(job, part, at)
  local mime, data = (text(object(part.file).file_data) or ""):match "^data:([^;,]+)[^,]*;base64,(.+)$"
  if not mime then return cannot_tell(job, at .. ".file without a data: URL in file_data") end
  return blob(mime, data)
end

local said = { text = kinds.text }                        -- what others than users say
function said.refusal(job, part, at)
  if type(part.refusal) ~= "string" then return invalid(job, at .. ".refusal", "must be a text") end
  return { text = part.refusal }
end

-- Adds what a message's content says to the list `parts`.
local function add_content(job, parts, content, at, known)
  if type(content) == "string" then
    if content ~= "" then parts[#parts + 1] = { text = content } end
    return
  end
  for i, part in ipairs(object(content)) do
    local here = ("%s.content[%d]"):format(at, i - 1)
    local kind = known[object(part).type]
    if kind then
      parts[#parts + 1] = kind(job, part, here)
    else
      cannot_tell(job, ("%s of type %s"):format(here, shared.shown(object(part).type)))
    end
  end
end

-- ---- messages

-- Adds a turn; Google wants at least one part in each.
local function add_turn(job, role, parts)
  if #parts == 0 then parts[1] = { text = "" } end
  job.contents[#job.contents + 1] = { role = role, parts = parts }
end

-- Gemini 1 and 2 know no signatures and think by budgets.
local function is_old(job) return job.model.model:find "gemini%-[12]" ~= nil end

local function signature(job, call, first)
  local kept = text(object(object(call.extra_content).google).thought_signature)
  return kept or (first and not is_old(job) and FOREIGN_SIGNATURE or nil)
end

local function add_call(job, parts, call, first, at)
  local f = object(call["function"])
  if not text(f.name) then return cannot_tell(job, ("%s of type %s"):format(at, shared.shown(call.type))) end
  if text(call.id) then job.names[call.id] = f.name end
  local written = text(f.arguments) or ""
  local args, why = {}, nil
  if written:find "%S" then args, why = sluice.json.decode(written) end
  if type(args) ~= "table" or is_array(args) then return invalid(job, at .. ".function.arguments", "must be the JSON of an object: " .. (why or "it is another value")) end
  parts[#parts + 1] = { functionCall = { id = text(call.id), name = f.name, args = args }, thoughtSignature = signature(job, call, first) }
end

-- An object stands for itself; Google calls any other result "output", and what went wrong "error".
local function result_of(content, failed)
  if failed then return { error = content } end
  local value = content:find "^%s*{" and sluice.json.decode(content)
  return type(value) == "table" and value or { output = content }
end

local roles = {}

function roles.system(job, message, at) add_content(job, job.system, message.content, at, { text = kinds.text }) end
roles.developer = roles.system

function roles.user(job, message, at)
  local parts = {}
  add_content(job, parts, message.content, at, kinds)
  add_turn(job, "user", parts)
end

function roles.assistant(job, message, at)
  local parts = {}
  if text(message.reasoning_content) and message.reasoning_content ~= "" then parts[1] = { text = message.reasoning_content, thought = true } end
  add_content(job, parts, message.content, at, said)
  if text(message.refusal) then parts[#parts + 1] = { text = message.refusal } end
  for i, call in ipairs(object(message.tool_calls)) do add_call(job, parts, object(call), i == 1, ("%s.tool_calls[%d]"):format(at, i - 1)) end
  if set(message.audio) or set(message.function_call) then cannot_tell(job, at .. (set(message.audio) and ".audio" or ".function_call")) end
  add_turn(job, "model", parts)
end

-- The results of parallel calls belong into one turn.
function roles.tool(job, message, at)
  local parts, texts = {}, {}
  add_content(job, parts, message.content, at, { text = kinds.text })
  for i, part in ipairs(parts) do texts[i] = part.text end
  local id = text(message.tool_call_id)
  local name = id and job.names[id] or text(message.name)
  if not name then return invalid(job, at .. ".tool_call_id", "is the id of no tool call before it: this model wants the function's name") end
  local result = { functionResponse = { id = id, name = name, response = result_of(table.concat(texts), object(message.anthropic).is_error == true) } }
  if job.results then
    job.results[#job.results + 1] = result
  else
    job.results = { result }
    add_turn(job, "user", job.results)
  end
end

local function add_messages(job, messages)
  for i, message in ipairs(messages) do
    local at = ("messages[%d]"):format(i - 1)
    local role = roles[message.role]
    if message.role ~= "tool" then
      job.results = nil
      if set(message.name) then cannot_tell(job, at .. ".name") end
    end
    if role then role(job, message, at) else cannot_tell(job, ("%s of role %s"):format(at, shared.shown(message.role))) end
  end
end

-- ---- tools

-- "$schema" names a dialect of JSON Schema and says nothing of the value; Google has a field less for it.
local function schema_of(v)
  if type(v) ~= "table" or v["$schema"] == nil then return set(v) and v or nil end
  local out = {}
  for k, item in pairs(v) do if k ~= "$schema" then out[k] = item end end
  return out
end

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

local function declarations(job, tools)
  local out = {}
  for i, tool in ipairs(tools) do
    local f, at = object(tool["function"]), ("tools[%d]"):format(i - 1)
    if tool.type ~= "function" or not text(f.name) then return cannot_tell(job, ("%s of type %s"):format(at, shared.shown(tool.type))) end
    check_members(job, tool, TOOL, at)
    check_members(job, f, FUNCTION, at .. ".function")
    if f.strict == true then job.strict = true end
    out[i] = { name = f.name, description = text(f.description), parametersJsonSchema = schema_of(f.parameters) }
  end
  return out
end

local MODES = { auto = "AUTO", none = "NONE", required = "ANY" }

local function names_of(list)
  local out = {}
  for i, tool in ipairs(object(list)) do out[i] = text(object(object(tool)["function"]).name) end
  return #out > 0 and out or nil
end

-- { mode =, allowedFunctionNames = }, or nothing when it cannot be told.
local function calling(choice)
  if MODES[choice] then return { mode = MODES[choice] } end
  if object(choice).type == "function" then
    local names = names_of { choice }
    return names and { mode = "ANY", allowedFunctionNames = names }
  end
  local allowed = object(object(choice).allowed_tools)
  local names = object(choice).type == "allowed_tools" and names_of(allowed.tools)
  if names and allowed.mode == "required" then return { mode = "ANY", allowedFunctionNames = names } end
  if names and allowed.mode == "auto" then return { mode = "VALIDATED", allowedFunctionNames = names } end
end

-- ---- parameters: what says them, what they need not say, and all others are refused

local say = {}                                            -- say.NAME(job, value): false when this value cannot be told

for name, config in pairs { temperature = "temperature", top_p = "topP", top_k = "topK", seed = "seed", n = "candidateCount", presence_penalty = "presencePenalty",
  frequency_penalty = "frequencyPenalty", max_completion_tokens = "maxOutputTokens" } do
  say[name] = function(job, v) job.config[config] = v end
end

function say.max_tokens(job, v)
  if not set(job.params.max_completion_tokens) then job.config.maxOutputTokens = v end
end

function say.stop(job, v) job.config.stopSequences = sluice.json.array(type(v) == "table" and { table.unpack(v) } or { v }) end

function say.response_format(job, v)
  local kind = object(v).type
  if kind == "text" then return end
  if kind ~= "json_object" and kind ~= "json_schema" then return false end
  job.config.responseMimeType = "application/json"
  if kind == "json_schema" then job.config.responseJsonSchema = schema_of(object(v.json_schema).schema) end
end

-- As Google's own OpenAI endpoint has it. Whether a model can be without thinking is Google's to say.
local BUDGETS = { minimal = 1024, low = 1024, medium = 8192, high = 24576 }

function say.reasoning_effort(job, v)
  if v == "none" then
    job.config.thinkingConfig = { thinkingBudget = 0 }
  elseif not BUDGETS[v] then
    return false
  elseif is_old(job) then
    job.config.thinkingConfig = { thinkingBudget = BUDGETS[v], includeThoughts = true }
  else
    job.config.thinkingConfig = { thinkingLevel = v:upper(), includeThoughts = true }
  end
end

told.logprobs(say, "config", { logprobs = "responseLogprobs", top_logprobs = "logprobs" })

function say.service_tier(job, v)
  if v ~= "flex" and v ~= "priority" then return false end
  job.body.serviceTier = v
end

function say.tool_choice(job, v)
  job.calling = calling(v)
  return job.calling ~= nil
end

-- ---- the request

-- The body of the request; or nil and the verdict that refuses it.
return function(req, model)
  local job = { provider = "gemini", model = model, params = req.params or {}, body = {}, config = {}, contents = {}, system = {}, names = {} }
  local body = job.body
  add_messages(job, req.messages or {})
  body.contents = sluice.json.array(job.contents)
  if #job.system > 0 then body.systemInstruction = { parts = job.system } end
  told.params(job, say)
  if req.tools and #req.tools > 0 then body.tools = { { functionDeclarations = declarations(job, req.tools) } } end
  if job.strict and (not job.calling or job.calling.mode == "AUTO") then job.calling = { mode = "VALIDATED" } end     -- the mode that holds calls to their schema
  if job.calling then body.toolConfig = { functionCallingConfig = job.calling } end
  if job.detail == 2 then                                 -- one word for all images: none sees less than was asked for
    job.config.mediaResolution = "MEDIA_RESOLUTION_HIGH"
  elseif job.detail == 1 and not job.any_detail then
    job.config.mediaResolution = "MEDIA_RESOLUTION_LOW"
  end
  if next(job.config) then body.generationConfig = job.config end
  if job.refused then return nil, job.refused end
  return told.upon(model.options or {}, body)
end
