-- Services: the hosts that the gateway file declares, called by name.
local REQUEST = { path = "Begins with /.", options = "See `request.json` and its neighbours." }
local ANSWERS = "the answer, whatever its status; or nil and an error (raise it: the client then gets 503 dependency_failed)"
local WRONG = { "an unknown option, a path without /", "where nothing may wait" }

return {
  title = "Services",
  text = "Only declared services can be reached (`config.services`). A call waits; other requests go on meanwhile. A service that keeps failing is not asked for a while: "
    .. "its calls then fail at once with the kind breaker_open.",
  classes = {
    { "service:", "sluice.Service", "What sluice.service returns." },
    { "request", "sluice.ServiceRequest", "What service:get, service:post and service:request take.", exact = true },
    { "answer", "sluice.ServiceAnswer", "What a service answered." },
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

  { "service_error.kind", '"timeout"|"connect"|"tls"|"broken"|"too_large"|"breaker_open"', "What happened." },
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
