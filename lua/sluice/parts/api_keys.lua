-- Who may ask: keys that are kept hashed, in a file, and what each may use.
--
--   sluice.parts.api_keys { file = "keys.txt" }
--
-- A line of the file is a name, a key's hash and what that name may do; what follows a # is a comment. A name may have two keys while one takes the other's place.
--
--   alice    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
--   batch    sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 models=fast,long rate=60/1m concurrency=5 tokens=200000/1d  # nightly
--
-- `sluice key alice` makes a key and its line. The file is read while the gateway file loads: SIGHUP reads it anew. A client sends `Authorization: Bearer KEY`,
-- `x-api-key: KEY` or `api-key: KEY`. Policies behind this one find the name in ctx.key.id; the key itself goes neither to the model nor to the log.
--
--   models        the only ones that it may use
--   rate          requests in a time; beyond: 429 rate_limited
--   concurrency   requests at a time, each until its answer is over; beyond: 429 concurrency_limited
--   tokens        of prompts and answers in a window of time (1d: a UTC day); beyond: 429 tokens_used_up. Each try first reserves an estimate of its prompt and
--                 what its answer may have (max_tokens; without it the option max_tokens of this part), and at its end counts what it used.
--
-- All that is counted by name, over all routes and workers that use the file. Clients are told what is left as OpenAI's are: x-ratelimit-remaining-requests,
-- x-ratelimit-remaining-tokens and their kin. Put cors before it, and rate_limit { key = "ip" } against guessing.
local sluice = require "sluice"
local key_file = require "sluice.parts.shared.key_file"
local meter = require "sluice.parts.shared.meter"

local P = sluice.policy {
  name = "api_keys",
  api  = 1,
  doc  = "Admits clients whose key stands, hashed, in a file; bounds what each key may use.",
  options = {
    file     = { type = "file", required = true, doc = "The file of keys, beside the gateway file." },
    required = { type = "boolean", default = true, doc = "Refuse clients without a key; else they pass without ctx.key, and only unknown keys are refused." },
    header   = { type = { "string", "list" }, default = { "authorization", "x-api-key", "api-key" }, doc = "Headers to look into; authorization holds Bearer and the key, others the key alone." },
    query    = { type = "string", doc = "A query parameter to look into as well, for pages whose EventSource sends no headers. URLs are logged on their way: think first." },
    max_tokens = { type = "integer", default = 4096, min = 1, doc = "For keys with tokens=: what an answer is taken for until it is over, when the client names no max_tokens." },
  },
}

function P.prepare(o, use)
  local headers, lower = type(o.header) == "string" and { o.header } or o.header, {}
  for i = 1, #headers do lower[i] = tostring(headers[i]):lower() end
  return { keys = key_file.read(o.file, use), headers = lower }
end

-- ---- who asks

-- The key that a request shows, or nil. "Bearer" may be written in any case.
local function shown(head, ctx)
  for _, name in ipairs(ctx.prepared.headers) do
    local value = head.headers[name]
    if value and name == "authorization" then
      local scheme, key = value:match("^(%a+) +(%S+)$")
      value = scheme and scheme:lower() == "bearer" and key or nil
    end
    if value and value ~= "" then return value end
  end
  local name = ctx.options.query
  local value = name and head.query[name]
  return value ~= "" and value or nil
end

local function unauthorized(code, message, challenge)
  return sluice.reject { status = 401, code = code, message = message, headers = { ["WWW-Authenticate"] = challenge } }
end

-- ---- how many requests

-- A slot first: a client that has too many running does not use up its rate by asking again.
local function admit(entry, ctx)
  local at_once, rate = entry.concurrency, entry.rate
  if at_once and not at_once.semaphore:take(entry.name, at_once.limit) then
    return sluice.reject(429, "concurrency_limited", ("This API key may have %d request%s at a time; wait until one has ended."):format(at_once.limit, at_once.limit == 1 and "" or "s"))
  end
  if not rate then return end
  local ok, retry_in, left, reset_in = rate.limiter:take(entry.name)
  ctx:header("X-RateLimit-Limit-Requests", rate.limit)
  ctx:header("X-RateLimit-Remaining-Requests", left)
  ctx:header("X-RateLimit-Reset-Requests", ("%ds"):format(reset_in))
  if not ok then
    return sluice.reject { status = 429, code = "rate_limited", retry_after = retry_in, message = ("too many requests; try again in %d s"):format(retry_in) }
  end
end

function P.accept(head, ctx)
  if head.method == "OPTIONS" then return end             -- a page's preflight carries no key, and reaches no model
  local key = shown(head, ctx)
  if not key then
    if not ctx.options.required then return end
    return unauthorized("key_missing", "Send an API key.", "Bearer")
  end
  local entry = key_file.find(ctx.prepared.keys, key)
  if not entry then return unauthorized("key_unknown", "This API key is not known.", 'Bearer error="invalid_token"') end
  ctx.key = { id = entry.name }
  ctx:tag("key", entry.name)
  ctx.state.entry = entry
  return admit(entry, ctx)
end

-- ---- which models

local function not_allowed() return sluice.reject(403, "model_not_allowed", "This API key may not use this model.") end

-- Of several models, those that the key may use.
function P.route(_, ctx)
  local allowed = ctx.state.entry and ctx.state.entry.models
  if not allowed then return end
  local plan, left = ctx.plan.models, {}
  for _, name in ipairs(plan) do if allowed[name] then left[#left + 1] = name end end
  if #left == 0 or #left == #plan then return end         -- a later policy may still choose; prompt has the last word
  return left
end

function P.prompt(_, ctx)
  local allowed = ctx.state.entry and ctx.state.entry.models
  for _, name in ipairs(allowed and ctx.plan.models or {}) do
    if not allowed[name] then return not_allowed() end
  end
end

-- ---- how many tokens

local function tokens_of(ctx)
  local entry = ctx.state.entry
  return entry and entry.tokens, entry
end

local function tell_left(ctx, tokens, entry)
  local left = math.max(0, tokens.limit - tokens.counter:get(entry.name))
  ctx:header("X-RateLimit-Limit-Tokens", tokens.limit)
  ctx:header("X-RateLimit-Remaining-Tokens", ("%d"):format(math.floor(left)))
end

function P.attempt(try, ctx)
  local tokens, entry = tokens_of(ctx)
  if not tokens then return end
  meter.again(ctx.state)
  local most = try:tokens() + meter.most_output(try.params, ctx.options.max_tokens)
  meter.ask_usage(try.params)
  local held, retry_in = meter.reserve(ctx.state, tokens.counter, entry.name, most, tokens.limit)
  tell_left(ctx, tokens, entry)
  if held then return end
  if most > tokens.limit then
    return sluice.reject(400, "request_too_costly", ("This request could use %.0f tokens; this API key has %d in %s. Ask for fewer (max_tokens)."):format(most, tokens.limit, tokens.window))
  end
  return sluice.reject { status = 429, code = "tokens_used_up", message = "The tokens of this API key are used up for now.", retry_after = retry_in }
end

function P.response(_, ctx)
  if ctx.state.held then meter.answers(ctx.state) end
end

function P.log(sum, ctx)
  local tokens = tokens_of(ctx)
  if not tokens or not ctx.state.held then return end
  local used, told = meter.settle(ctx.state, sum.usage, function(input, output) return input + output end)
  ctx:tag("key_tokens", ("%d"):format(used))
  if used > 0 and not told then ctx:tag("key_tokens_estimated", true) end
end

function P.error(err)
  if err.code == "tokens_used_up" then return { type = "insufficient_quota" } end
end

return P
