-- A limit on requests per client (or per anything a function names), shared by all workers.
--
--   sluice.parts.rate_limit { key = "ip", rate = 10, per = "1m" }
--   sluice.parts.rate_limit { key = function(head) return head.headers["x-tenant"] end, rate = 600, per = "1h", burst = 50 }
--
-- Each use counts for itself; those on several routes that say the same `bucket` count together.
local sluice = require "sluice"

local P = sluice.policy {
  name = "rate_limit",
  api  = 1,
  doc  = "Refuses clients that ask too often with 429, and tells every client how much is left.",
  options = {
    key    = { type = { "string", "function" }, default = "ip", one_of = { "ip" }, doc = '"ip" (IPv6 by /64), or function(head, ctx) returning a text; nil: no limit.' },
    rate   = { type = "number", required = true, min = 0.001, doc = "How many requests ..." },
    per    = { type = "duration", default = "1m", min = 1, doc = "... in how long." },
    burst  = { type = "number", min = 1, doc = "How many can be saved up; the same as rate by default." },
    cost   = { type = "number", default = 1, min = 0, doc = "What one request takes." },
    bucket = { type = "string", doc = "Uses that name the same bucket, on whatever routes, share one limit." },
    store  = { type = "store", doc = '"redis:NAME": one limit for all gateways that use that service.' },
  },
}

function P.prepare(o, use)
  local name = o.bucket or ("%s/%s"):format(use.route, use.policy)
  return sluice.limiter("rate_limit/" .. name, { rate = o.rate, per = o.per, burst = o.burst, store = o.store })
end

local function key_of(head, ctx)
  local key = ctx.options.key
  if key == "ip" then return sluice.ip_key(head.ip) end
  return key(head, ctx)
end

function P.accept(head, ctx)
  local key = key_of(head, ctx)
  if key == nil then return end
  local ok, retry_in, left, reset_in = ctx.prepared:take(tostring(key), ctx.options.cost)
  local o = ctx.options

  ctx:header("RateLimit-Limit", ("%d"):format(math.floor(o.burst or o.rate)))
  ctx:header("RateLimit-Remaining", ("%d"):format(left))
  ctx:header("RateLimit-Reset", ("%d"):format(reset_in))
  if not ok then
    local n = math.min(math.max(1, retry_in), 31536000)    -- a cost above the burst never fits
    return sluice.reject {
      status = 429, code = "rate_limited", retry_after = n,
      message = ("too many requests; try again in %d second%s"):format(n, n == 1 and "" or "s"),
    }
  end
end

return P
