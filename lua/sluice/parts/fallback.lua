-- Other models when one fails, and second tries with growing waits. All that happens before any text of the answer reached the client.
--
--   sluice.parts.fallback { models = { "plain", "local" }, on = { "connect", "timeout", "429", "5xx" }, retry = { times = 2, backoff = "200ms" } }
--
-- The route's target (or what a policy before this one picked) comes first, then these models. A failure that is not named in `on` is the client's at once.
-- A failed model is asked again `times` times, after the back-off, twice that, four times that and so on, at most 4 s, shortened at random by up to the share
-- `jitter`, so that many clients do not come back together. A model that asks for more time (Retry-After) gets it when that is at most 4 s; when it is more, or
-- the wait would outlast the route's timeout.total, the next model is asked instead. One request makes at most ten tries.
local sluice = require "sluice"

local WAIT_MOST = 4000                                    -- ms: a hook's waits must end within 5 s
local PLAN_MOST = 8                                       -- models of one plan

local STATUSES = { "400", "401", "402", "403", "404", "408", "409", "413", "422", "425", "429", "500", "502", "503", "504", "529" }

-- What else `on` may name, and the codes of failures that it stands for.
local KINDS = {
  connect = { "upstream_connect_failed", "upstream_connect_timeout", "upstream_resolve_failed", "upstream_tls_failed" },
  timeout = { "first_token_timeout", "gap_timeout", "upstream_connect_timeout" },
  broken  = { "upstream_reset", "upstream_truncated", "upstream_protocol", "upstream_decode_failed", "upstream_bad_json", "upstream_not_stream",
    "upstream_event_too_large" },
  error   = { "upstream_error", "model_error" },
}

local words = { "connect", "timeout", "broken", "error", "4xx", "5xx", table.unpack(STATUSES) }

local P = sluice.policy {
  name = "fallback",
  api  = 1,
  doc  = "Asks again, or another model, when a model fails before its answer began.",
  options = {
    models = { type = "list", default = {}, max = PLAN_MOST - 1, of = { type = "model" }, doc = "The models to ask after the target, best first." },
    on     = {
      type = "list", default = { "connect", "timeout", "broken", "error", "429", "5xx" }, min = 1, of = { type = "string", one_of = words },
      doc = "Failures that are worth another try: connect (no connection), timeout, broken (the answer was cut or unreadable), error (the model reported one), statuses.",
    },
    retry  = {
      type = "map", default = {}, doc = "How often and when a failed model is asked again: { times = 0, backoff = \"200ms\" }.",
      fields = {
        times   = { type = "integer", default = 0, min = 0, max = 9 },
        backoff = { type = "duration", default = "200ms", min = 1, max = WAIT_MOST },
      },
    },
    jitter = { type = "number", default = 0.5, min = 0, max = 1, doc = "By what share of itself a wait may be shorter." },
  },
}

function P.route(_, ctx)
  local plan, seen = ctx.plan.models, {}
  for _, name in ipairs(plan) do seen[name] = true end
  for _, name in ipairs(ctx.options.models) do
    if not seen[name] then plan[#plan + 1] = name end
    seen[name] = true
  end
  return plan
end

-- Is it a failure of this kind: a word of KINDS, a status, "4xx" or "5xx"?
local function is(failure, kind)
  for _, code in ipairs(KINDS[kind] or {}) do
    if code == failure.code then return true end
  end
  if failure.code ~= "upstream_status" and failure.code ~= "upstream_refused" and failure.code ~= "upstream_rate_limited" then return false end
  local status = tostring(failure.status)
  return kind == status or kind == status:sub(1, 1) .. "xx"
end

local function worth_a_try(failure, on)
  for _, kind in ipairs(on) do
    if is(failure, kind) then return true end
  end
  return false
end

-- Milliseconds before retry `n` of a model; nil when it is not to be asked again.
local function wait_of(failure, n, ctx)
  local o = ctx.options
  if n > o.retry.times then return nil end
  local wait = math.min(sluice.duration(o.retry.backoff) * 2 ^ (n - 1), WAIT_MOST) * (1 - o.jitter * math.random())
  wait = math.ceil(math.max(wait, (failure.retry_after or 0) * 1000.0))
  if wait > WAIT_MOST or ctx.deadline and wait >= ctx.deadline then return nil end
  return wait
end

function P.fallback(failure, ctx)
  local s = ctx.state
  if not worth_a_try(failure, ctx.options.on) then return "fail" end
  if s.target ~= failure.target then s.target, s.tries = failure.target, 0 end
  s.tries = s.tries + 1
  local wait = wait_of(failure, s.tries, ctx)
  if wait then
    s.retries = (s.retries or 0) + 1
    ctx:tag("retries", s.retries)
    if wait > 0 then sluice.sleep(wait .. "ms") end
    return "retry"
  end
  local plan = ctx.plan.models
  if plan[#plan] ~= failure.target then ctx:tag("fallback_from", failure.target) end
  return "next"
end

return P
