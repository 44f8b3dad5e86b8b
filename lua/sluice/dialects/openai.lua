-- OpenAI's chat completions, as most servers of models speak it.
--
-- options of a model: azure = { api_version = "2024-10-21", deployment = "NAME" } (its name at the provider is the deployment's, unless it is given);
-- usage = false for servers that refuse stream_options.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"
local embedding = require "sluice.dialects.embedding"
local shared = require "sluice.dialects.shared"

local json = sluice.json

local M = { name = "openai", front = require "sluice.dialects.openai_front" }

-- A front "openai" on a path such as /v1/* serves these beside each other.
M.endpoints = {
  ["/chat/completions"] = "openai",
  ["/completions"]      = "openai_completions",
  ["/embeddings"]       = "openai_embeddings",
  ["/models"]           = "openai_models",
  ["/models/*"]         = "openai_models",               -- one of them, by its name
  ["/responses"]        = "responses",
}

-- ---- what it streams

M.provider = {
  url = "https://api.openai.com/v1",

  places = {
    choice          = "choices[0].index",
    content         = "choices[0].delta.content",
    reasoning       = "choices[0].delta.reasoning_content",
    refusal         = "choices[0].delta.refusal",
    logprobs         = "choices[0].logprobs.content",
    refusal_logprobs = "choices[0].logprobs.refusal",
    finish          = "choices[0].finish_reason",
    tool_calls      = "choices[0].delta.tool_calls",
    error           = "error",
    model           = "model",
    usage_input     = "usage.prompt_tokens",
    usage_output    = "usage.completion_tokens",
    usage_cached    = "usage.prompt_tokens_details.cached_tokens",
    usage_reasoning = "usage.completion_tokens_details.reasoning_tokens",
    usage_cache_written = "usage.prompt_tokens_details.cache_write_tokens",
  },
  -- Several choices in one event; and the younger name of reasoning (OpenRouter, vLLM, Ollama).
  rare = { "choices[1]", "choices[0].delta.reasoning" },
  done = "[DONE]",

  whole = {
    finish          = "choices[0].finish_reason",
    error           = "error",
    model           = "model",
    usage_input     = "usage.prompt_tokens",
    usage_output    = "usage.completion_tokens",
    usage_cached    = "usage.prompt_tokens_details.cached_tokens",
    usage_reasoning = "usage.completion_tokens_details.reasoning_tokens",
    usage_cache_written = "usage.prompt_tokens_details.cache_write_tokens",
  },
}

local function text(v) return type(v) == "string" and v ~= "" and v or nil end
local function table_of(v) return type(v) == "table" and v or {} end

local function told_usage(u, out)
  out:usage {
    input = common.given(u.prompt_tokens), output = common.given(u.completion_tokens),
    cached = common.given(table_of(u.prompt_tokens_details).cached_tokens), reasoning = common.given(table_of(u.completion_tokens_details).reasoning_tokens),
    cache_written = common.given(table_of(u.prompt_tokens_details).cache_write_tokens),
  }
end

local function told_choice(c, out)
  c = table_of(c)
  local delta, choice = table_of(c.delta), common.given(c.index) or 0
  local pieces = { reasoning = text(delta.reasoning_content) or text(delta.reasoning), content = text(delta.content), refusal = text(delta.refusal) }
  for _, channel in ipairs { "reasoning", "content", "refusal" } do
    if pieces[channel] then out:text(channel, pieces[channel], choice) end
  end
  local logprobs = pieces.reasoning == nil and next(table_of(delta.tool_calls)) == nil and table_of(c.logprobs) or {}      -- else they are of more than the text
  for _, channel in ipairs { "content", "refusal" } do
    if json.is_array(logprobs[channel]) then out:logprobs(channel, logprobs[channel], choice) end
  end
  for _, v in ipairs(table_of(delta.tool_calls)) do
    local call = table_of(v)
    local f = table_of(call["function"])
    out:tool { index = common.given(call.index), id = text(call.id), name = text(f.name), arguments = text(f.arguments), choice = choice }
  end
  if text(c.finish_reason) then out:finish(c.finish_reason, choice) end
end

local function error_of(e)
  if type(e) == "string" then return { message = e } end
  if type(e) ~= "table" then return nil end
  return { message = text(e.message), code = common.word(e.code), type = text(e.type), param = text(e.param) }
end

function M.provider.event(event, out)
  if error_of(event.error) then return out:error(error_of(event.error)) end
  for _, c in ipairs(table_of(event.choices)) do told_choice(c, out) end
  if type(event.usage) == "table" then told_usage(event.usage, out) end
  if text(event.model) then out:model(event.model) end
end

-- { error = { message ... } } of OpenAI, { error = "..." } of Ollama, { message ... } of Mistral, { detail = "..." } of many in Python.
function M.provider.error(_, body)
  if not common.is_object(body) then return nil end
  return error_of(body.error) or error_of(text(body.detail)) or (text(body.message) and error_of(body)) or nil
end

-- ---- what it is asked

local ORDER = { "model", "stream", "messages" }          -- what a person who reads the wire looks for first

local function encode(name)
  return (name:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- path: "/chat/completions". On Azure it lies below a deployment, and the key has a header of its own.
local function address(path, model, accept)
  local headers = { ["Content-Type"] = "application/json", ["Accept"] = accept }
  local azure = (model.options or {}).azure
  if azure then
    if model.key then headers["api-key"] = { model.key } end
    return ("/openai/deployments/%s%s?api-version=%s"):format(encode(azure.deployment or model.model), path, encode(azure.api_version)), headers
  end
  if model.key then headers["Authorization"] = { "Bearer ", model.key } end      -- joined in C: a key is no text in Lua
  return path, headers
end

local function unsupported(name) return sluice.reject(400, "param_not_supported", ("'%s' cannot be told to this model (provider \"openai\")"):format(name)) end

-- What clients of the Responses API may want; what a client of chat completions says beyond these is its server's to know. Offers that change no answer (a
-- summary of the reasoning, its encrypted form) are passed over; the rest of what chat completions have no word for is refused. That API's own tools have no
-- member of their type's name, as chat's have; unknown ones are the server's.
local BUILT_IN = common.set_of [[web_search web_search_preview file_search code_interpreter computer computer_use_preview image_generation mcp local_shell shell apply_patch
  tool_search custom namespace]]

local function from_responses(req, body)
  if req.dialect == "openai" then return end
  if body.include ~= nil and not shared.only_offers(body.include) then return unsupported "include" end
  if body.truncation ~= nil and body.truncation ~= "disabled" then return unsupported "truncation" end
  if body.max_tool_calls ~= nil then return unsupported "max_tool_calls" end
  body.include, body.truncation, body.reasoning_summary = nil, nil, nil
  for i, tool in ipairs(req.tools or {}) do
    if BUILT_IN[tool.type] and not tool[tool.type] then
      return sluice.reject(400, "param_not_supported", ("'tools[%d]' is a tool of the Responses API, \"%s\", which this model does not have (provider \"openai\")"):format(i - 1, tool.type))
    end
  end
end

-- Without what is kept for one provider alone (anthropic.lua, responses_read.lua). What OpenAI's own clients say is theirs, whatever its name.
local function plain(req, list) return req.dialect == "openai" and list or shared.plain(list, "anthropic") end

-- Calls come back with the extra_content that openai_front.lua told: Google's endpoint wants it, OpenAI's refuses it.
local function is_openai(model) return (model.url or ""):find "^https://api%.openai%.com" ~= nil or (model.options or {}).azure ~= nil end

-- A thought behind which nothing was said is no message there.
local function only_thought(m) return type(m) == "table" and m.role == "assistant" and m.content == nil and m.tool_calls == nil and m.refusal == nil end

-- The messages, and which of them say something else than a client of the same dialect wrote: a set, or nil.
local function messages_of(req, model)
  local messages, anew = plain(req, req.messages), nil
  if is_openai(model) then messages = shared.plain(messages, "extra_content") end
  for i, m in ipairs(messages) do
    if m ~= req.messages[i] then
      anew = anew or {}
      anew[i] = true
    end
  end
  if req.dialect ~= "responses" then return json.array(messages), anew end
  for _, name in ipairs { "encrypted_reasoning", "kept", "instructions" } do messages = shared.plain(messages, name) end
  local out = {}
  for _, m in ipairs(messages) do
    if not only_thought(m) then out[#out + 1] = m end
  end
  return json.array(out)
end

-- A file by its URL is the Responses API's.
local function file_urls(req)
  for i, m in ipairs(req.messages) do
    for _, part in ipairs(type(m) == "table" and table_of(m.content) or {}) do
      if type(part) == "table" and part.type == "file" and table_of(part.file).file_url then
        return sluice.reject(400, "param_not_supported", ("'messages[%d]' names a file by its URL, which cannot be told to this model: send its data (provider \"openai\")"):format(i - 1))
      end
    end
  end
end

function M.provider.request(req, model)
  local body = {}
  for name, value in pairs(req.params) do body[name] = value end
  local own = req.dialect ~= "openai" and shared.only_anthropic(req)
  local refused = own and unsupported(own) or shared.missing(req) or from_responses(req, body) or file_urls(req)
  if refused then return refused end
  if req.dialect ~= "openai" then body.anthropic = nil end
  body.model = model.model
  body.stream = true
  if (model.options or {}).usage ~= false then
    local options = { include_usage = true }
    for name, value in pairs(table_of(body.stream_options)) do options[name] = value end
    body.stream_options = options
  end
  local anew
  body.messages, anew = messages_of(req, model)
  if req.tools then body.tools = json.array(plain(req, req.tools)) end

  local path, headers = address("/chat/completions", model, "text/event-stream")
  return { path = path, headers = headers, body = json.order(body, ORDER), anew = anew and { messages = anew } or nil }
end

-- ---- embeddings: its document goes to the client as it is

M.provider.embed = {}

function M.provider.embed.request(req, model)
  local body = {}
  for name, value in pairs(req.params) do body[name] = value end
  body.model, body.input = model.model, embedding.texts(req)
  local path, headers = address("/embeddings", model, "application/json")
  return { path = path, headers = headers, body = json.order(body, { "model", "input" }) }
end

return M
