-- Limits, counts, slots and values that all workers share.
return {
  title = "Shared state",
  text = "Lua variables are per worker and lost on a reload. "
    .. "Limiters, counters, semaphores and caches are in C, shared by all workers under their name, and kept by a reload. Of their methods only cache:fetch waits. "
    .. "Counters and limiters with a `store` are in a Redis server instead, so that all gateways that use it share them: then all their methods wait, and one that cannot reach its "
    .. "store raises, so that the policy fails (`policy.on_error`: closed by default, the client gets 503 dependency_failed).",
  classes = {
    { "limiter:", "sluice.Limiter", "What sluice.limiter returns." },
    { "limiter", "sluice.LimiterRule", "What a limiter allows.", exact = true },
    { "counter:", "sluice.Counter", "What sluice.counter returns." },
    { "counter", "sluice.CounterRule", "What a counter counts over.", exact = true },
    { "reservation:", "sluice.Reservation", "What counter:reserve returns." },
    { "semaphore:", "sluice.Semaphore", "What sluice.semaphore returns." },
    { "semaphore", "sluice.SemaphoreRule", "How many at a time.", exact = true },
    { "cache:", "sluice.Cache", "What sluice.cache returns." },
    { "cache", "sluice.CacheRule", "What a cache holds, and how long.", exact = true },
    { "cached", "sluice.CachedRule", "What is said of one value.", exact = true },
  },

  { "sluice.limiter", "(name: string, rule: sluice.LimiterRule): sluice.Limiter", "A limit on how often something may happen per key: a bucket that fills at a steady rate.",
    params = { name = "Limiters of one name share their state.", rule = "{ rate = 60, per = \"1m\", burst = 10 }" },
    errors = { "a field that is unknown or out of range" },
    example = [[
local rate = sluice.limiter("rpm", { rate = 60, per = "1m", burst = 10 })
function P.accept(head)
  local ok, retry_in = rate:take(head.ip)
  if not ok then return sluice.reject { status = 429, code = "too_fast", message = "Too many requests.", retry_after = retry_in } end
end]] },
  { "limiter.rate", "number", "How many ..." },
  { "limiter.per", "sluice.Duration", "... in how long." },
  { "limiter.burst?", "number", "How many can be saved up; the same as the rate by default." },
  { "limiter.store?", "string", '"redis:NAME": in the service of that name (`service.url` redis://...), for all gateways that use it. Redis keeps the clock; a bucket goes when it is full again.',
    example = [[
local rate = sluice.limiter("rpm", { rate = 60, per = "1m", store = "redis:shared" })
function P.accept(head)
  if not rate:take(head.ip) then return sluice.reject(429, "too_fast", "Too many requests.") end
end]] },
  { "limiter:take", "(key: string, cost?: number): ok: boolean, retry_in: integer, left: integer, reset_in: integer", "Takes from the key's bucket when there is enough in it.",
    params = { key = "Whose bucket.", cost = "1 by default." }, returns = "whether it was taken; seconds until it could be; what is left; seconds until the bucket is full",
    errors = { "a store that does not answer" },
    example = [[
local rate = sluice.limiter("tokens", { rate = 10000, per = "1m" })
function P.prompt(req, ctx)
  if not rate:take(ctx.client.ip, req:tokens()) then return sluice.reject(429, "too_much", "Too many tokens; wait a minute.") end
end]] },

  { "sluice.counter", "(name: string, rule?: sluice.CounterRule): sluice.Counter", "A sum per key, over a window or for ever.",
    params = { name = "Counters of one name share their state.", rule = '{ window = "1d" }; without it the sum never begins anew.' },
    errors = { "a field that is unknown, or a window of no length" },
    example = [[
local asked = sluice.counter("asked", { window = "1d" })
function P.validate(_, ctx)
  if asked:add(ctx.client.ip) > 100 then return sluice.reject(429, "enough", "That was enough for today.") end
end]] },
  { "counter.window?", "sluice.Duration", "After which the sum begins anew." },
  { "counter.store?", "string", '"redis:NAME": in the service of that name (`service.url` redis://...), for all gateways that use it. Redis keeps the clock; sums go with their window, '
    .. "without a window they stay." },
  { "counter.lease?", "sluice.Duration", 'With a store: how long a reservation is held when its gateway has died and nobody settles it; "10m" by default. Longer than an answer takes.' },
  { "counter:add", "(key: string, n?: number): number", "Adds to a key's sum.", params = { key = "Whose sum.", n = "1 by default; may be negative." }, returns = "the sum of this window",
    errors = { "a store that does not answer" },
    example = [[
local seen = sluice.counter "seen"
function P.log(_, ctx) seen:add(ctx.route) end]] },
  { "counter:get", "(key: string): number", "A key's sum of this window.", params = { key = "Whose sum." }, errors = { "a store that does not answer" },
    example = [[
local spent = sluice.counter("usd", { window = "1d" })
function P.accept(head)
  if spent:get(head.ip) > 5 then return sluice.reject(429, "spent", "The budget of today is used up.") end
end]] },
  { "counter:reserve", "(key: string, n: number, limit: number): reservation: sluice.Reservation?, retry_in: integer?",
    "Counts the worst case now when it fits below the limit, so that parallel requests cannot overspend; settle it with what it really was.",
    params = { key = "Whose sum.", n = "The worst case.", limit = "What the sum may not pass." },
    returns = "a reservation; or nil and the seconds until it might fit (nil: it never will)", errors = { "a store that does not answer" },
    example = [[
local spent = sluice.counter("tokens", { window = "1d" })
function P.prompt(req, ctx)
  local held, retry_in = spent:reserve(ctx.client.ip, req:tokens() + 800, 100000)
  if not held then return sluice.reject { status = 429, code = "budget", message = "Used up for today.", retry_after = retry_in } end
  ctx.state.held = held
end
function P.log(sum, ctx)
  if ctx.state.held then ctx.state.held:settle(sum.usage.input + sum.usage.output) end
end]] },
  { "reservation:settle", "(actual: number)", "Counts this in place of what was reserved, once. What is never settled is given back at the end of the exchange.",
    params = { actual = "0 or more." }, errors = { "a store that does not answer: the end of the exchange tries once more" },
    example = [[
local spent = sluice.counter "tokens"
function P.log(sum, ctx)
  local held = spent:reserve(ctx.client.ip, 800, 100000)
  if held then held:settle(sum.usage.output) end
end]] },

  { "sluice.semaphore", "(name: string, rule: sluice.SemaphoreRule): sluice.Semaphore",
    "A limit on how much may run at a time per key. A slot that a request took is its own until its answer is over, well or not, and is then given back by the gateway: "
      .. "after the last text was handed on and the model's call has ended, before the log hooks.",
    params = { name = "Semaphores of one name share their slots; the limit is of whoever takes.", rule = "{ limit = 5 }" },
    errors = { "a field that is unknown, or a limit that is no whole number above 0" },
    example = [[
local running = sluice.semaphore("running", { limit = 5 })
function P.accept(head)
  if not running:take(head.ip) then return sluice.reject(429, "concurrency_limited", "Five at a time.") end
end]] },
  { "semaphore.limit", "integer", "How many slots a key has." },
  { "semaphore:take", "(key: string, limit?: integer): ok: boolean, left: integer", "Takes one of the key's slots for this request when one is free; never waits.",
    params = { key = "Whose slot.", limit = "In place of the semaphore's own: for keys that may do more, or less." }, returns = "whether it was taken; how many are left",
    errors = { "outside of a request (while the file loads, in init)", "more than 64 slots for one request" },
    example = [[
local running = sluice.semaphore("by_tenant", { limit = 5 })
function P.validate(req, ctx)
  local ok = running:take(ctx.client.ip, req.headers["x-paid"] and 50 or 5)
  if not ok then return sluice.reject(429, "concurrency_limited", "Wait until another of your requests has ended.") end
end]] },
  { "semaphore:held", "(key: string): integer", "How many of a key's slots are taken.", params = { key = "Whose slots." },
    example = [[
local running = sluice.semaphore("all", { limit = 1000 })
function P.prompt(req)
  running:take "all"
  if running:held "all" > 800 then req.params.max_tokens = 200 end
end]] },

  { "sluice.cache", "(name: string, rule?: sluice.CacheRule): sluice.Cache",
    "Values by key: text, numbers, booleans, `sluice.json.null` and plain tables of them. They go in as copies and come out as read-only copies. What was unused longest goes first.",
    params = { name = "Caches of one name are one; the max_bytes that was read last holds, the ttl is of whoever sets.", rule = '{ ttl = "60s", max_bytes = "16mb" }' },
    errors = { "a field that is unknown or out of range" },
    example = [[
local seen = sluice.cache("tenants", { ttl = "60s", max_bytes = "16mb" })
function P.validate(req)
  if seen:get(req.headers["x-api-key"] or "") == false then return sluice.reject(403, "unknown_key", "No such key.") end
end]] },
  { "cache.ttl?", "sluice.Duration", "How long a value is kept; without it until room is needed." },
  { "cache.max_bytes?", "sluice.Size", "Of all its keys and values; 16mb by default, at least 64kb. One value may take a sixteenth of it with its key, at most 1 MiB." },
  { "cached.ttl?", "sluice.Duration", "How long this value is kept; the cache's by default." },
  { "cache:get", "(key: string): value: any", "What is kept under a key.", params = { key = "Text; its bytes count." }, returns = "a read-only copy; nil when there is none",
    example = [[
local answers = sluice.cache("answers", { ttl = "5m" })
function P.validate(req)
  local known = answers:get(req.query.q)
  if known then return sluice.reply(known) end
end]] },
  { "cache:set", "(key: string, value: any, rule?: sluice.CachedRule): kept: boolean?, why: string?", "Keeps a value in place of what was there.",
    params = { key = "Text.", value = "Not nil: cache:delete forgets.", rule = '{ ttl = "5s" }' },
    returns = "true; or nil and a sentence when the value is too large: then there is none under this key",
    errors = { "a value with a function, a userdata, a secret, a metatable or itself in it" },
    example = [[
local blocked = sluice.cache "blocked"
function P.log(sum, ctx)
  if sum.finish == "content_filter" then blocked:set(ctx.client.ip, true, { ttl = "10m" }) end
end]] },
  { "cache:delete", "(key: string)", "Forgets a value. What is being loaded for this key meanwhile is not kept either.", params = { key = "Text." },
    example = [[
local tenants = sluice.cache "tenants"
function P.accept(head)
  if head.headers["x-forget"] then tenants:delete(head.headers["x-forget"]) end
end]] },
  { "cache:fetch", "(key: string, load: async fun(): (any, string?), rule?: sluice.CachedRule): value: any, why: string?",
    "What is kept under a key; when there is nothing, one caller runs its load, on whatever worker, and all others wait for it. nil and errors are not kept: the next caller loads. "
      .. "A load that takes longer than 30 s is no longer waited for.", waits = true,
    params = { key = "Text.", load = "Returns the value; may wait. When it raises, its own caller gets the error.", rule = '{ ttl = "5s" }' },
    returns = "a read-only copy of the value; or nil and what else load returned",
    errors = { "a load that fetches the key it loads", "a place that cannot be left to wait, whether or not the value is there" },
    example = [[
local directory = sluice.service "directory"
local tenants = sluice.cache("tenants", { ttl = "60s" })
function P.validate(req, ctx)
  ctx.vars.tenant = tenants:fetch(req.headers["x-tenant"] or "", function()
    local res, err = directory:get("/tenants/" .. (req.headers["x-tenant"] or ""))
    if not res then error(err) end
    return res.json()
  end)
end]] },
}
