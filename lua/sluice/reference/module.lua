-- The module itself: what `require "sluice"` gives.
local OPAQUE = false                                     -- a type of its own, without fields

return {
  title = "The module",
  text = 'Every file begins with `local sluice = require "sluice"`. Reading a name that is not there is an error with its line.',
  classes = {
    { "sluice", "sluice", "What `require \"sluice\"` gives." },
    { "sluice.json", "sluice.Json", "JSON, exact: 64-bit integers, `\\u0000`, valid UTF-8." },
    { "", "sluice.Policy", "What sluice.policy returns: assign hooks to it.", more = "name string" },
  },
  aliases = {
    { "sluice.Duration", "string", 'A number with its unit: `"800ms"`, `"60s"`, `"5m"`, `"2h"`, `"1d"`. A bare number is refused.' },
    { "sluice.Size", "string", 'A number with its unit: `"64kb"`, `"1mb"`; `b`, `kb`, `mb` and `gb`, of 1024. A bare number is refused.' },
    { "sluice.Secret", OPAQUE, "A value that no script can read: it goes into keys and headers, and prints as `<secret NAME>`." },
    { "sluice.Gateway", OPAQUE, "What sluice.config returns; a gateway file ends by returning it." },
  },

  { "sluice.config", "(settings: sluice.Config): sluice.Gateway",
    "Says what the gateway is: where it listens, its models, its routes. The gateway file ends with `return sluice.config { ... }`.",
    params = { settings = "See `config.listen` and its neighbours." },
    errors = { "every wrong setting is named with its path, its line and, where a name is near, what was meant; the load is refused" },
    example = [[
local sluice = require "sluice"
return sluice.config {
  api = 1, listen = "127.0.0.1:4001",
  models = { echo = { answer = function(req, out) out:text(req:last_user()) end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "echo" } },
}]] },

  { "sluice.policy", "(spec: sluice.PolicySpec): sluice.Policy",
    "Makes a policy: a named set of hooks. Assign functions to it, then return it from its file or name it on a route.",
    params = { spec = "Its name, options and how it fails; see `policy.name` and its neighbours. Hooks may also stand in here." },
    errors = { "an unknown hook or setting is named at its line", "a hook written with a colon (`function P:validate()`) is refused: hooks take no self" },
    example = [[
local P = sluice.policy { name = "brief", api = 1, doc = "Asks for short answers." }
function P.prompt(req) req:system "Answer in one sentence." end
return P]] },

  { "sluice.parts", "sluice.Parts", "Ready policies: `sluice.parts.redact { ... }` is an entry for a route's list of policies. See `parts.redact` and its neighbours.",
    example = [[
local entry = sluice.parts.rate_limit { rate = 10, per = "1m" }
return sluice.config {
  api = 1, listen = ":8080", models = { m = { answer = function(_, out) out:text "Hello." end } },
  routes = { ask = { path = "/ask", front = "token", target = "m", policies = { entry } } },
}]] },

  { "sluice.env", "(name: string, default?: any): any",
    "An environment variable's text, or the default. Works only while the gateway file loads: keep the value in a local.",
    params = { name = "Letters, digits and _.", default = "What to take when it is not set; without one the load is refused." },
    returns = "the variable's text, or the default as it was given",
    errors = { "not set and no default: the load is refused, with the line", "called while requests are served" },
    example = [[local listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001")]] },

  { "sluice.secret", "(name: string): sluice.Secret",
    "A secret from the environment variable of that name, or from the file secrets/NAME beside the gateway file. Works only while the gateway file loads.",
    params = { name = "Letters, digits and _." },
    returns = "an opaque value for `model.key`, options of type secret and headers; it cannot be read, joined, compared or written as JSON",
    errors = { "missing or empty: the load is refused, with the line", "called while requests are served" },
    example = [[local model = { provider = "openai", model = "gpt-4o-mini", key = sluice.secret "OPENAI_API_KEY" }]] },

  { "sluice.sleep", "(duration: sluice.Duration)", "Waits. Other requests go on meanwhile.", waits = true,
    params = { duration = 'Such as "50ms".' },
    errors = { "inside string.gsub, table.sort or another C function that cannot be left in the middle", "in the hook error, in `filter.when` and in other places that may not wait" },
    example = [[
function P.validate(_, ctx)
  if ctx.state.tries then sluice.sleep "50ms" end
end]] },

  { "sluice.duration", "(duration: sluice.Duration): integer", "A duration in milliseconds, such as an option's.", params = { duration = "With its unit." },
    errors = { "a text that is none" },
    example = [[local ms = sluice.duration "1.5s"                -- 1500]] },
  { "sluice.trim", "(text: string): string", "The text without Unicode white space at its ends.", params = { text = "Any text." },
    example = [[
function P.validate(req)
  if sluice.trim(req.query.q or "") == "" then return sluice.reject(400, "query_required", "Ask something.") end
end]] },

  { "sluice.ip_key", "(ip: string): string", "What a limit per client is keyed by: an IPv4 address itself, the /64 of an IPv6 address. Anything else comes back as it is.",
    params = { ip = "Such as `req.ip`." },
    example = [[
local rate = sluice.limiter("asks", { rate = 10, per = "1m" })
function P.accept(head)
  if not rate:take(sluice.ip_key(head.ip)) then return sluice.reject(429, "too_fast", "Too many requests.") end
end]] },

  { "sluice.has", "(feature: string): boolean", "Whether this version has a feature.", values = "feature",
    params = { feature = "See the values below." },
    example = [[local exact = sluice.has "filter.match"]] },

  { "sluice.json", "sluice.Json", "JSON: `sluice.json.decode`, `encode`, `array`, `order`, `null`.",
    example = [[local text = sluice.json.encode { ok = true, tags = sluice.json.array {} }]] },
  { "sluice.json.decode", "(text: string): value: any, message: string?", "Reads JSON. Integers stay integers of 64 bits; null is `sluice.json.null`.", params = { text = "One JSON value." },
    returns = "the value; or nil and a sentence when the text is no JSON",
    example = [[
function P.accept(head)
  local filter, why = sluice.json.decode(head.query.filter or "{}")
  if not filter then return sluice.reject(400, "bad_filter", why) end
end]] },
  { "sluice.json.encode", "(value: any): string", "Writes JSON. A table with members 1..n is a list, others are objects.", params = { value = "A table, text, number, boolean or sluice.json.null." },
    errors = { "a value that JSON cannot say: a function, a secret, NaN, a table with mixed keys, one nested too deep" },
    example = [[local text = sluice.json.encode { model = "x", stop = sluice.json.null }]] },
  { "sluice.json.array", "(list?: table): table", "Marks a table as a list, so that it is written `[...]` even when it is empty.", params = { list = "The table to mark; a new one when left out." },
    returns = "the same table", example = [[local text = sluice.json.encode { tools = sluice.json.array {} }]] },
  { "sluice.json.order", "(object: table, names: string[]): table", "Has the members of a table written in this order, before the others.",
    params = { object = "A table without a metatable.", names = "At most 100 names." }, returns = "the same table",
    errors = { "the table has a metatable already" },
    example = [[local text = sluice.json.encode(sluice.json.order({ code = "x", error = "y" }, { "error", "code" }))]] },
  { "sluice.json.null", "userdata", "JSON's null, which Lua's nil cannot be.", example = [[local body = { stop = sluice.json.null }]] },
}
