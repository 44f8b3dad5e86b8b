-- What Anthropic's Messages API is asked, from a request in OpenAI's words.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"
local turns = require "sluice.dialects.anthropic_turns"

local M = {}

local PROVIDER = "anthropic"
local given = shared.given

local MAX_TOKENS = 4096                                  -- Anthropic wants a limit: this one when neither the client nor the model's options give one

-- reasoning_effort -> how many tokens may be thought. The other way is in anthropic_read.lua.
local BUDGET = { minimal = 1024, low = 2048, medium = 8192, high = 16384, xhigh = 32768 }
local LEAST_BUDGET = 1024

-- Asked for in OpenAI's words, with no word for it there. `system` and its like would pass by what policies saw.
local CANNOT = {
  "n", "logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty", "seed", "prediction", "audio", "modalities", "verbosity",
  "web_search_options", "functions", "function_call", "system", "messages", "model", "tools", "stream", "include", "truncation", "max_tool_calls",
}

-- Records of OpenAI's own, which change no answer: not told.
local BOOKKEEPING = { "metadata", "store", "stream_options", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "reasoning_summary" }

-- Told under other names.
local TRANSLATED = {
  "max_tokens", "max_completion_tokens", "stop", "tool_choice", "parallel_tool_calls", "reasoning_effort", "response_format", "user", "service_tier", "anthropic",
  "output_config",
}

local handled = shared.set(TRANSLATED)
for _, names in ipairs { CANNOT, BOOKKEEPING } do
  for _, name in ipairs(names) do handled[name] = true end
end

-- ---- tools

local TOOL_ORDER = { "type", "name", "description", "input_schema" }

-- A tool of Anthropic's own (it has a type and a name) passes as it is.
local function tool_of(tool, place)
  local f = shared.table(tool)["function"]
  if type(f) ~= "table" then
    if type(tool) == "table" and type(tool.type) == "string" and type(tool.name) == "string" then return tool end
    return nil, shared.unsaid(place, PROVIDER, "only functions and Anthropic's own tools can")
  end
  local out = { name = f.name, input_schema = given(f.parameters) and f.parameters or { type = "object", properties = {} } }
  if given(f.description) then out.description = f.description end
  if f.strict == true then out.strict = true end
  for _, from in ipairs { tool, shared.table(tool.anthropic) } do
    for name, value in pairs(from) do
      if out[name] == nil and name ~= "type" and name ~= "function" and name ~= "anthropic" then out[name] = value end
    end
  end
  return sluice.json.order(out, TOOL_ORDER)
end

local function tools_of(tools)
  if type(tools) ~= "table" or #tools == 0 then return nil end
  local out = sluice.json.array {}
  for i, tool in ipairs(tools) do
    local made, no = tool_of(tool, ("tools[%d]"):format(i - 1))
    if not made then return nil, no end
    out[i] = made
  end
  return out
end

local CHOICES = { auto = "auto", required = "any", none = "none" }

local function choice_of(params)
  local choice, out = params.tool_choice, nil
  if type(choice) == "string" and CHOICES[choice] then
    out = { type = CHOICES[choice] }
  elseif type(choice) == "table" and choice.type == "function" and type(shared.table(choice["function"]).name) == "string" then
    out = sluice.json.order({ type = "tool", name = choice["function"].name }, { "type", "name" })
  elseif given(choice) then
    return nil, shared.unsaid("tool_choice", PROVIDER, "auto, required, none and the name of a function can")
  end
  if params.parallel_tool_calls == false then
    out = out or { type = "auto" }
    if out.type ~= "none" then out.disable_parallel_tool_use = true end
  end
  return out
end

-- ---- how long, how much thought

-- Thinking as an Anthropic client said it, as long as reasoning_effort still says what it said then; else what reasoning_effort means. Returns the refusal, if
-- any, and the budget that is ours to choose.
local function think(params, options, body, output)
  local kept = shared.table(params.anthropic)
  local effort = given(params.reasoning_effort) and params.reasoning_effort or nil
  if effort == kept.meant then
    if body.thinking == nil then body.thinking = kept.thinking end
    output.effort = kept.effort
  elseif effort == "none" then
    body.thinking = { type = "disabled" }
  elseif not BUDGET[effort] then
    return shared.unsaid("reasoning_effort", PROVIDER, "none, minimal, low, medium, high and xhigh can")
  elseif options.thinking == "adaptive" then
    body.thinking, output.effort = { type = "adaptive" }, effort == "minimal" and "low" or effort
  else
    return nil, BUDGET[effort]
  end
end

-- What is thought counts as output, there as at OpenAI: it takes at most half of a limit that was given, and comes on top of one that was not.
local function limit(params, options, body, budget)
  local most = given(params.max_completion_tokens) and params.max_completion_tokens or given(params.max_tokens) and params.max_tokens or nil
  if budget and math.type(most) == "integer" then
    if most <= LEAST_BUDGET then
      return shared.unsaid("reasoning_effort", PROVIDER, ("%d tokens leave no room to think, which takes %d"):format(most, LEAST_BUDGET))
    end
    budget = math.min(budget, math.max(LEAST_BUDGET, most // 2))
  end
  if budget then body.thinking = sluice.json.order({ type = "enabled", budget_tokens = budget }, { "type", "budget_tokens" }) end
  local thought = shared.table(body.thinking).budget_tokens
  body.max_tokens = most or (options.max_tokens or MAX_TOKENS) + (math.type(thought) == "integer" and thought or 0)
end

-- ---- the rest

local function stops(stop)
  if type(stop) == "string" then return sluice.json.array { stop } end
  return given(stop) and stop or nil
end

local function format_of(params, output)
  local format = params.response_format
  if not given(format) or shared.table(format).type == "text" then return end
  local schema = shared.table(shared.table(format).json_schema).schema
  if shared.table(format).type ~= "json_schema" or type(schema) ~= "table" then
    return shared.unsaid("response_format", PROVIDER, "text, and json_schema with a schema can")
  end
  output.format = sluice.json.order({ type = "json_schema", schema = schema }, { "type", "schema" })
end

local TIERS = { auto = "auto", default = "standard_only" }

local function account(params, body)
  local kept, user = shared.table(params.anthropic), given(params.user) and params.user or params.safety_identifier
  local metadata = {}
  for name, value in pairs(shared.table(kept.metadata)) do metadata[name] = value end
  if given(user) then metadata.user_id = user end
  if next(metadata) then body.metadata = metadata end
  if kept.cache_control ~= nil then body.cache_control = kept.cache_control end
  if given(params.service_tier) then
    body.service_tier = TIERS[params.service_tier]
    if not body.service_tier then return shared.unsaid("service_tier", PROVIDER, "auto and default can") end
  end
end

local ORDER = { "model", "max_tokens", "stream", "system", "messages", "tools", "tool_choice" }

-- The body, which of its messages say something else than those that a client of Anthropic's sent (a set, or nil); or nil and the refusal. A param that OpenAI does not know
-- is Anthropic's (top_k, container ...) or nobody's: Anthropic refuses the latter by name.
local function body_of(req, model)
  local params, options = req.params, model.options or {}
  local body, output = {}, {}
  local no = shared.first_unsaid(params, CANNOT, PROVIDER)
  if no then return nil, no end
  for name, value in pairs(params) do
    if not handled[name] and given(value) then body[name] = value end
  end
  for name, value in pairs(shared.table(params.output_config)) do output[name] = value end

  local forgot, unsigned
  body.system, body.messages, no, forgot, unsigned = turns.turns(req.messages, req.dialect == PROVIDER)
  if no then return nil, no end
  body.tools, no = tools_of(req.tools)
  if no then return nil, no end
  if body.tools then body.tool_choice, no = choice_of(params) end
  if no then return nil, no end
  local budget
  no, budget = think(params, options, body, output)
  -- With a budget to think Anthropic refuses a tool's result whose call it cannot see thought of: the rest of that answer goes without thinking.
  if forgot and (budget or shared.table(body.thinking).type == "enabled") then budget, body.thinking = nil, nil end
  no = no or limit(params, options, body, budget) or format_of(params, output) or account(params, body)
  if no then return nil, no end

  body.stop_sequences = stops(params.stop) or body.stop_sequences
  if next(output) then body.output_config = output end
  body.model, body.stream = model.model, true
  return sluice.json.order(body, ORDER), unsigned
end

-- Beta features that the operator wants or an Anthropic client asked for: words with commas between, or a list of them. Nothing else gets into a header.
local function betas(...)
  local out = {}
  for _, words in ipairs { ... } do
    if type(words) == "string" then words = { words } end
    for _, word in ipairs(shared.table(words)) do
      if type(word) == "string" and word:find "^[%w%-_%., ]+$" then out[#out + 1] = word end
    end
  end
  return out[1] and table.concat(out, ",") or nil
end

function M.request(req, model)
  local missing = shared.missing(req)
  if missing then return missing end
  local body, anew = body_of(req, model)
  if not body then return anew end
  local headers = {
    ["Content-Type"] = "application/json", ["Accept"] = "text/event-stream", ["anthropic-version"] = "2023-06-01",
    ["anthropic-beta"] = betas(shared.table(model.options).beta or {}, shared.table(req.params.anthropic).betas or {}),
    ["x-api-key"] = model.key,
  }
  return { path = "/messages", headers = headers, body = body, anew = anew and { messages = anew } or nil }
end

return M
