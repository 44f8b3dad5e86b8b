-- policies/budget.lua: a daily budget in USD for each API key, safe under parallel requests.
local sluice = require "sluice"

local spend = sluice.counter("spend_usd", { window = "1d" })   -- shared by all workers, survives a reload

local P = sluice.policy {
  name = "budget",
  api  = 1,
  doc  = "Reserves the worst case before the call, settles with the real usage afterwards.",
  options = {
    daily_usd  = { type = "number",  default = 5,    doc = "Used when the tenant has no own limit." },
    max_tokens = { type = "integer", default = 1024, doc = "The longest answer of requests that name no max_tokens." },
    prices     = { type = "map",     required = true, doc = "model -> { input = , output = } in USD per million tokens" },
  },
}

local function cost(price, input, output)
  return (input * price.input + output * price.output) / 1e6
end

local function limit_of(ctx)
  local tenant = ctx.vars.tenant
  return tenant and tenant.daily_usd or ctx.options.daily_usd
end

function P.validate(_, ctx)
  if not ctx.key then
    return sluice.reject(401, "key_missing", "Send an API key.")
  end
end

function P.prompt(req, ctx)
  req.params.max_tokens = req.params.max_tokens or ctx.options.max_tokens      -- else there is no worst case
end

function P.attempt(try, ctx)
  local price = ctx.options.prices[try.target] or error("no price for model " .. try.target)
  local worst = cost(price, try:tokens(), try.params.max_tokens)

  if ctx.state.held then ctx.state.held:settle(0) end        -- an earlier attempt failed: give it back
  ctx.state.held = nil
  local held, retry_in = spend:reserve(ctx.key.id, worst, limit_of(ctx))
  if not held then
    return sluice.reject {
      status = 429, code = "budget_used_up", retry_after = retry_in,          -- seconds; nil: it will never fit
      message = "The budget of this key is used up for today.",
    }
  end
  ctx.state.held, ctx.state.price = held, price
end

function P.response(_, ctx)
  ctx:header("x-budget-left-usd", ("%.4f"):format(limit_of(ctx) - spend:get(ctx.key.id)))
end

function P.log(sum, ctx)
  if not ctx.state.held then return end
  local nothing = sum.tokens == 0 and sum.usage.estimated     -- no model has answered
  local usd = nothing and 0 or cost(ctx.state.price, sum.usage.input, sum.usage.output)
  ctx.state.held:settle(usd)                                  -- an unsettled reservation is released by the runtime
  ctx:tag("cost_usd", usd)
end

function P.error(err)
  if err.code == "budget_used_up" then
    return { type = "insufficient_quota", extra = { upgrade_url = "https://example.com/plans" } }
  end
end

return P
