-- For testing_spec.lua: a policy with options, state that is shared and a wrong filter, if asked for.
local sluice = require "sluice"

local seen = sluice.counter("testing_seen", { window = "1h" })
local rate = sluice.limiter("testing_rate", { rate = 2, per = "1m" })
local known = sluice.cache "testing_known"

local P = sluice.policy {
  name = "loud",
  options = {
    mark   = { type = "string", default = "!" },
    hold   = { type = "integer", default = 0 },
    match  = { type = "matcher" },
    shared = { type = "boolean", default = false },
    depends = { type = "function", doc = "Of a request: whether its answer gets a question mark." },
  },
}

function P.validate(req, ctx)
  if req.params.refuse then return sluice.reject { status = 418, code = "teapot", message = "No coffee.", retry_after = "3s" } end
  if req.params.print then print(req.params.print) end
  if req.params.fail then error "on purpose" end
  ctx.state.odd = ctx.options.depends and ctx.options.depends(req)
  if not ctx.options.shared then return end
  local ok = rate:take "k"
  ctx:tag("seen", seen:add "k")
  ctx:tag("known", known:get "k" or "nothing")
  known:set("k", "something")
  if not ok then return sluice.reject(429, "too_often", "Too often.") end
end

P.filter = {
  { on = { "content" }, text = function(text, ctx, part)
    local hold = ctx.options.hold
    if hold == 0 then return text:upper() .. (part.last and ctx.state.odd and "?" or "") end
    if hold < 0 then return part.last and text or text .. ctx.options.mark end      -- wrong: depends on the pieces
    local keep = part.last and 0 or math.min(hold, #text)
    return text:sub(1, #text - keep), text:sub(#text - keep + 1)
  end },
  { when = function(ctx) return ctx.options.match ~= nil end, match = function(ctx) return ctx.options.match end, replace = "***" },
}

return P
