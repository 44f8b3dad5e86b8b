-- Services: the hosts that the gateway file declares, called by name.
local REQUEST = { path = "Begins with /.", options = "See `request.json` and its neighbours." }
local ANSWERS = "the answer, whatever its status; or nil and an error (raise it: the client then gets 503 dependency_failed)"
local WRONG_COMMAND = { "a value that is neither a text nor a number", "a command that would change a shared connection", "where nothing may wait" }
local WRONG = { "an unknown option, a path without /", "where nothing may wait" }

return {
  title = "Services",
  text = "Only declared services can be reached (`config.services`). A call waits; other requests go on meanwhile. A service that keeps failing is not asked for a while: "
    .. "its calls then fail at once with the kind breaker_open.",
  classes = {
    { "service:", "sluice.Service", "What sluice.service returns." },
    { "request", "sluice.ServiceRequest", "What service:get, service:post and service:request take.", exact = true },
    { "answer", "sluice.ServiceAnswer", "What a service answered." },
    { "redis:", "sluice.Redis", "What sluice.redis returns." },
    { "redis_set", "sluice.RedisSetRule", "What redis:set takes.", exact = true },
    { "service_error", "sluice.ServiceError", "Why a service did not answer. As a text it is a sentence.", exact = true },
  },

  { "sluice.service", "(name: string): sluice.Service", "A service that the gateway file declares. Works only while the gateway file loads: keep it in a local.",
    params = { name = "As in `config.services`." }, errors = { "a service that is not declared: the load is refused, with the line" },
    example = [[
local directory = sluice.service "directory"
function P.validate(_, ctx)
  local res, err = directory:get("/tenants", { query = { key = ctx.key }, timeout = "500ms" })
  if not res then error(err) end
  if res.status == 404 then return sluice.reject(401, "key_unknown", "This API key is not known.") end
  ctx.vars.tenant = res.json()
end]] },
  { "service:get", "(path: string, options?: sluice.ServiceRequest): answer: sluice.ServiceAnswer?, err: sluice.ServiceError?", "Asks with GET.", waits = true,
    params = REQUEST, returns = ANSWERS, errors = WRONG,
    example = [[
local directory = sluice.service "directory"
function P.accept(_, ctx)
  local res = directory:get "/open"
  if not res or res.status ~= 200 then return sluice.reject(503, "closed", "We are closed.") end
  ctx:tag("open", true)
end]] },
  { "service:post", "(path: string, options?: sluice.ServiceRequest): answer: sluice.ServiceAnswer?, err: sluice.ServiceError?", "Sends with POST.", waits = true,
    params = REQUEST, returns = ANSWERS, errors = WRONG,
    example = [[
local judge = sluice.service "judge"
P.filter = { unit = "sentence", check = function(text)
  local res, err = judge:post("/v1/judge", { json = { text = text }, timeout = "800ms" })
  if not res then error(err) end
  if res.json().flagged then return sluice.stop { reason = "content_filter" } end
end }]] },
  { "service:request", "(method: string, path: string, options?: sluice.ServiceRequest): answer: sluice.ServiceAnswer?, err: sluice.ServiceError?", "Any method.", waits = true,
    params = { method = "In capitals.", path = REQUEST.path, options = REQUEST.options }, returns = ANSWERS, errors = WRONG,
    example = [[
local audit = sluice.service "audit"
function P.log(sum, ctx) audit:request("PUT", "/entries/" .. ctx.id, { json = { finish = sum.finish } }) end]] },

  { "request.json?", "any", "Sent as JSON; excludes body." },
  { "request.body?", "string", "Sent as it is." },
  { "request.headers?", "table<string, any>", "Values are texts and secrets, or lists of them." },
  { "request.query?", "table<string, any>", "Added to the path, encoded." },
  { "request.timeout?", "sluice.Duration", "In place of `service.timeout`." },

  { "answer.status", "integer", "The HTTP status." },
  { "answer.headers", "table<string, string>", "By name in lower case." },
  { "answer.body", "string", "The body." },
  { "answer.json", "fun(): any", "The body, decoded; called with a dot: `res.json()`.", errors = { "a body that is no JSON" },
    example = [[local function flagged(res) return res.json().flagged == true end]] },

  { "sluice.redis", "(name: string): sluice.Redis", "A Redis server (5 or later) that the gateway file declares among its services, with a URL `redis://HOST:PORT/DATABASE`. Works only "
    .. "while the gateway file loads: keep it in a local. Its calls wait as a service's do, and have its time, its bounds and its breaker.",
    params = { name = "As in `config.services`." }, errors = { "a service that is not declared, or is no Redis server: the load is refused, with the line" },
    example = [[
local shared = sluice.redis "shared"           -- services = { shared = { url = "redis://127.0.0.1:6379/0", auth = sluice.secret "REDIS_PASSWORD" } }
function P.accept(head)
  local banned, err = shared:get("banned:" .. head.ip)
  if err then error(err) end
  if banned then return sluice.reject(403, "banned", "Not from here.") end
end]] },
  { "redis:command", "(...: string|number): reply: any, err: sluice.ServiceError?", "Any command, word by word, as it is sent: the server's prefix is not put before keys. Commands that "
    .. "would change a connection (SELECT, MULTI, SUBSCRIBE, ...) are refused, since connections are shared.", waits = true,
    params = { ["..."] = "The command's name, then its arguments." },
    returns = "text, integer, list (false for what is not there), a map for HGETALL, nil for nothing; or nil and an error, of the kind reply when the server itself says no",
    errors = WRONG_COMMAND,
    example = [[
local shared = sluice.redis "shared"
function P.validate(_, ctx)
  local tenant, err = shared:command("HGETALL", "tenant:" .. ctx.key.id)
  if err then error(err) end
  ctx.vars.tier = tenant.tier or "free"
end]] },
  { "redis:get", "(key: string|number): value: string?, err: sluice.ServiceError?", "The text at a key.", waits = true,
    params = { key = "As it is." }, returns = "the text, nil when there is none; or nil and an error: look at it", errors = WRONG_COMMAND,
    example = [[
local shared = sluice.redis "shared"
function P.prompt(req)
  local more = shared:get "prompt"
  if more then req:system(more) end
end]] },
  { "redis:set", "(key: string|number, value: string|number, rule?: sluice.RedisSetRule): ok: string?, err: sluice.ServiceError?", "Sets the text at a key.", waits = true,
    params = { key = "As it is.", value = "A text or a number.", rule = '{ ttl = "5m" }' }, returns = '"OK"; or nil and an error', errors = WRONG_COMMAND,
    example = [[
local shared = sluice.redis "shared"
function P.log(sum, ctx)
  if sum.finish == "content_filter" then shared:set("banned:" .. ctx.client.ip, 1, { ttl = "10m" }) end
end]] },
  { "redis_set.ttl?", "sluice.Duration", "How long it is kept; without it until it is overwritten or deleted." },

  { "service_error.kind", '"timeout"|"connect"|"tls"|"broken"|"too_large"|"protocol"|"reply"|"breaker_open"', "What happened. broken: the connection broke, and nobody knows whether "
    .. "what was asked was done; protocol: what came was no answer; reply: a Redis server answered with an error." },
  { "service_error.service", "string", "The service's name." },
  { "service_error.message", "string", "The sentence." },

  { "sluice.all", "(functions: (async fun(): any)[]): any", "Runs functions side by side until all have ended. The first that raises ends the others.", waits = true,
    params = { functions = "At least one." }, returns = "the first result of each, in order", errors = { "an empty list", "where nothing may wait" },
    example = [[
local a, b = sluice.service "a", sluice.service "b"
function P.validate(_, ctx)
  local one, two = sluice.all { function() return a:get "/x" end, function() return b:get "/y" end }
  ctx.vars.both = one ~= nil and two ~= nil
end]] },
}
