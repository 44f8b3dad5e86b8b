-- For providers that are told an OpenAI request word by word (gemini, ollama). A job is the request being made: { provider = "ollama", params, ... }. The first
-- thing that cannot be told is what the client hears of: job.refused.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"

local M = {}

function M.invalid(job, what, why)
  job.refused = job.refused or sluice.reject(400, "invalid_request", ("'%s' %s"):format(what, why))
end

function M.cannot_tell(job, what) job.refused = job.refused or shared.unsaid(what, job.provider) end

-- ---- params

local BOOKKEEPING = shared.set { "user", "metadata", "store", "stream_options", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
  "reasoning_summary", "anthropic" }                      -- of whoever stands in front of the model; no answer depends on it

local function is(value) return function(v) return v == value end end

local NEUTRAL = {                                         -- said or not, the answer is the same
  n = is(1), logprobs = is(false), top_logprobs = is(0), parallel_tool_calls = is(true), verbosity = is "medium", truncation = is "disabled", include = shared.only_offers,
  logit_bias = function(v) return type(v) == "table" and next(v) == nil end,
  modalities = function(v) return type(v) == "table" and #v == 1 and v[1] == "text" end,
  service_tier = function(v) return v == "auto" or v == "default" end,
}

-- Tells each of job.params by say.NAME(job, value), which returns false for a value that cannot be told; so is a name that `say` has not.
function M.params(job, say)
  local names = {}
  for name, value in pairs(job.params) do
    if shared.given(value) and not BOOKKEEPING[name] and not (NEUTRAL[name] and NEUTRAL[name](value)) then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = job.params[name]
    if not say[name] or say[name](job, value) == false then
      M.cannot_tell(job, type(value) == "string" and say[name] and ("%s: %s"):format(name, value) or name)
    end
  end
end

-- How logprobs are asked for: names[...] of job[into].
function M.logprobs(say, into, names)
  function say.logprobs(job, v)
    if type(v) ~= "boolean" then return false end
    job[into][names.logprobs] = v
  end

  -- Without the other it would be passed over.
  function say.top_logprobs(job, v)
    if job.params.logprobs ~= true then return M.invalid(job, "top_logprobs", "needs logprobs = true") end
    job[into][names.top_logprobs] = v
  end
end

-- ---- the model's options

-- A copy of `under` with `over` upon it; lists are taken whole.
function M.upon(under, over)
  if type(under) ~= "table" or not shared.is_object(over) then return over end
  local out = {}
  for k, v in pairs(under) do out[k] = v end
  for k, v in pairs(over) do out[k] = M.upon(out[k], v) end
  return out
end

return M
