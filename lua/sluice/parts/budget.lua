-- A budget in USD for each key or address and day (UTC), which parallel requests cannot overspend.
--
--   sluice.parts.budget { daily_usd = 5, prices = { smart = { input = 3, output = 15 }, plain = { input = 0, output = 0 } } }
--
-- What an answer costs is known at its end only. So each try first reserves the most that it could cost: a token for every byte that is sent to the model, and
-- all the tokens that it may answer with (max_tokens; where the client names no number, `max_tokens` of this part is put into the request). At the end the
-- reservation gives way to what the model says it used, or, when it says nothing or the client left, to an estimate of what it was seen to use. A try that
-- failed before its model began to answer costs nothing; one that broke off after that and was repeated counts in full, since nobody knows what it used.
--
-- It stands last in the list, so that it sees what other policies make of the request. `by = "key"` takes ctx.key, as a policy before it has set it: a text or
-- a table with an id. Uses of one name share what is spent, on all routes.
local sluice = require "sluice"
local meter = require "sluice.parts.shared.meter"

local P = sluice.policy {
  name = "budget",
  api  = 1,
  doc  = "Reserves the most that a request could cost, refuses it when that is more than is left of the day's budget, and counts what it did cost.",
  options = {
    daily_usd  = { type = { "number", "function" }, default = 5, min = 0, doc = "What one key may spend a day, or function(ctx) that returns it." },
    prices     = {
      type = "map", required = true, min = 1, keys = { type = "model" }, doc = "What each model costs, in USD per million tokens.",
      of = {
        type = "map", fields = {
          input  = { type = "number", min = 0, required = true, doc = "USD per million tokens of the prompt." },
          output = { type = "number", min = 0, required = true, doc = "USD per million tokens of the answer." },
        },
      },
    },
    by         = { type = { "string", "function" }, default = "key", one_of = { "key", "ip" }, doc = '"key" (ctx.key), "ip" (IPv6 by /64), or function(ctx) returning a text; nil: no limit.' },
    max_tokens = { type = "integer", default = 4096, min = 1, doc = "Most tokens of an answer whose client names no max_tokens." },
    store      = { type = "store", doc = '"redis:NAME": one budget for all gateways that use that service.' },
    ask_usage  = { type = "boolean", default = true, doc = "Ask the model to tell its usage (stream_options.include_usage)." },
  },
}

-- ---- whose budget, and how much

local function key_of(ctx)
  local by = ctx.options.by
  if by == "ip" then return sluice.ip_key(ctx.client.ip) end
  local key
  if by == "key" then
    key = ctx.key
    if key == nil then error(sluice.reject(401, "key_missing", "Send an API key.")) end
    if type(key) == "table" then key = key.id end
  else
    key = by(ctx)
    if key == nil then return nil end
  end
  if type(key) ~= "string" and type(key) ~= "number" then error(("the key of a budget must be a text, is a %s"):format(type(key)), 0) end
  return tostring(key)
end

local function limit_of(ctx)
  local usd = ctx.options.daily_usd
  if type(usd) ~= "function" then return usd end
  usd = usd(ctx)
  if type(usd) ~= "number" or not (usd >= 0 and usd < math.huge) then error("daily_usd(ctx) must return a number of 0 or more", 0) end
  return usd
end

function P.prepare(o, use) return sluice.counter("budget/" .. use.policy, { window = "1d", store = o.store }) end

-- ---- what it costs

local function cost(price, input, output) return (input * price.input + output * price.output) / 1e6 end

-- The most tokens of the answers to this try, which may be no more than that.
local function most_output(params, o)
  local most, named = meter.most_output(params, o.max_tokens)
  if not named then params.max_tokens = o.max_tokens end
  return most
end

-- ---- hooks

local function refuse(worst, limit, retry_in)
  if worst > limit then
    return sluice.reject(400, "request_too_costly", ("This request could cost up to %.4f USD; the budget of a day is %.2f USD. Ask for fewer tokens (max_tokens)."):format(worst, limit))
  end
  return sluice.reject { status = 429, code = "budget_used_up", message = "The budget of this key is used up for today.", retry_after = retry_in }
end

function P.attempt(try, ctx)
  local o, s = ctx.options, ctx.state
  meter.again(s)
  s.key = key_of(ctx)
  if not s.key then return end
  s.price = o.prices[try.target] or error(("budget: prices has no model %q, which was to be asked"):format(try.target), 0)
  if o.ask_usage then meter.ask_usage(try.params) end
  local output = most_output(try.params, o)
  local input = #sluice.json.encode { try.messages, try.tools or {}, try.params }
  local worst = cost(s.price, input, output)
  s.limit = limit_of(ctx)

  local held, retry_in = meter.reserve(s, ctx.prepared, s.key, worst, s.limit)
  if not held then return refuse(worst, s.limit, retry_in) end
end

function P.response(_, ctx)
  local s = ctx.state
  if not s.held then return end
  meter.answers(s)
  ctx:header("X-Budget-Left-Usd", ("%.4f"):format(math.max(0, s.limit - ctx.prepared:get(s.key))))    -- once this request has cost its most
end

function P.log(sum, ctx)
  local s = ctx.state
  if not s.held then return end
  local usd, told = meter.settle(s, sum.usage, function(input, output) return cost(s.price, input, output) end)
  ctx:tag("cost_usd", ("%.6f"):format(usd))
  if usd > 0 and not told then ctx:tag("cost_estimated", true) end
end

function P.error(err)
  if err.code == "budget_used_up" or err.code == "request_too_costly" then return { type = "insufficient_quota" } end
end

return P
