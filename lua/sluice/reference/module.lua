-- The module itself: what `require "sluice"` gives.
local OPAQUE = false                                     -- a type of its own, without fields

return {
  title = "The module",
  text = 'Every file begins with `local sluice = require "sluice"`. Reading a name that is not there is an error with its line.',
  classes = {
    { "sluice", "sluice", "What `require \"sluice\"` gives." },
    { "sluice.json", "sluice.Json", "JSON, exact: 64-bit integers, `\\u0000`, valid UTF-8." },
    { "checker:", "sluice.Checker", "What sluice.json.checker returns." },
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

  { "sluice.file", "(name: string): string", "The text of a file beside the gateway file or below it, of at most 4 MiB. Works only while the gateway file loads; a reload reads it again.",
    params = { name = 'Such as "prompts/help.txt"; no absolute path, and no "..".' },
    returns = "all its bytes",
    errors = { "missing, no regular file, too large, or outside the folder: the load is refused, with the line", "called while requests are served" },
    example = [[
local P = sluice.policy { name = "p", options = { rules = { type = "file" } } }        -- in a policy an option of the type file does the same
function P.prompt(req, ctx) if ctx.options.rules then req:system(ctx.options.rules.text) end end]] },

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

  { "sluice.random_bytes", "(n: integer): string", "So many bytes that nobody can guess, from the kernel: for what must be secret. (math.random is the same in each run of a spec, and no secret.)",
    params = { n = "From 1 to 256." }, errors = { "another number" },
    example = [[local token = (sluice.random_bytes(16):gsub(".", function(c) return ("%02x"):format(c:byte()) end))]] },
  { "sluice.sha256", "(text: string): string", "The text's SHA-256 as 64 hex digits, as `printf %s TEXT | sha256sum` prints them.", params = { text = "Any bytes." },
    example = [[
local known = { ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] = "tester" }
function P.accept(head, ctx)
  local name = known[sluice.sha256(head.headers["x-api-key"] or "")]
  if not name then return sluice.reject(401, "key_unknown", "This API key is not known.") end
  ctx.key = { id = name }
end]] },
  { "sluice.equal", "(a: string, b: string): boolean", "Whether two texts are equal, found in a time that tells only their lengths: for comparing what a client sent with a secret's hash.",
    params = { a = "Any bytes.", b = "Any bytes." },
    example = [[
local digest = sluice.sha256 "letmein"
function P.accept(head)
  if not sluice.equal(sluice.sha256(head.query.code or ""), digest) then return sluice.reject(403, "wrong_code", "That is not the code.") end
end]] },

  { "sluice.log", '(level: "error"|"warn"|"info"|"debug", event: string, fields?: table<string, string|number|boolean>)',
    "Writes a line to the log: the event and the fields, sorted by name. Values are escaped, known secrets masked, texts of more than 1 kilobyte cut; "
      .. "of a line of more than 8 kilobytes fields are left out.",
    params = { level = "Lines below the program's --log-level are not written.", event = 'A word such as "audit"; not one of the gateway\'s own, such as "request".',
      fields = "At most 64, by names that are words; not time, level and event." },
    errors = { "an event or a field that is the gateway's own", "a value that is no text, number or boolean; a secret" },
    example = [[
function P.log(sum, ctx)
  if sum.total_ms > 30000 then sluice.log("warn", "slow", { id = ctx.id, route = ctx.route, total_ms = sum.total_ms }) end
end]] },

  { "sluice.has", "(feature: string): boolean", "Whether this version has a feature.", values = "feature",
    params = { feature = "See the values below." },
    example = [[local exact = sluice.has "filter.match"]] },

  { "sluice.json", "sluice.Json", "JSON: `sluice.json.decode`, `encode`, `array`, `order`, `raw`, `null`.",
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
  { "sluice.json.is_array", "(value: any): boolean", "Whether a value is a list that was decoded from `[...]`, or marked by `sluice.json.array`: an empty one is no object then.",
    params = { value = "Anything." }, example = [[local is = sluice.json.is_array(sluice.json.decode "[]")]] },
  { "sluice.json.raw", "(text: string): userdata", "JSON that is written already: `sluice.json.encode` writes it as it is, numbers and order and all. `tostring` gives the text back.",
    params = { text = "The JSON of one value." }, errors = { "it is none" },
    example = [[local body = sluice.json.encode { id = sluice.json.raw "9007199254740993.0" }]] },
  { "sluice.json.checker", "(): sluice.Checker", "Judges JSON that is still arriving, byte by byte; see `checker:feed`.", returns = "one that has seen nothing yet",
    example = [[
P.filter = { on = { "content" }, text = function(text, ctx)
  ctx.state.checker = ctx.state.checker or sluice.json.checker()
  if ctx.state.checker:feed(text) < #text then return sluice.reject(502, "no_json", "The answer is no JSON.") end
end }]] },
  { "checker:feed", "(text: string): integer", "Takes the text as long as what it took is the beginning of some JSON document.", params = { text = "The next piece, cut anywhere." },
    returns = "how many bytes it took; fewer than there are: the next one cannot be JSON, and none is taken any more",
    example = [[local n = sluice.json.checker():feed '{"a": 1,}']] },
  { "checker:complete", "(): boolean", "Whether what it took is a whole document.",
    example = [[
local checker = sluice.json.checker()
checker:feed '{"a"'
local whole = checker:complete()]] },
  { "sluice.json.order", "(object: table, names: string[]): table", "Has the members of a table written in this order, before the others.",
    params = { object = "A table without a metatable.", names = "At most 100 names." }, returns = "the same table",
    errors = { "the table has a metatable already" },
    example = [[local text = sluice.json.encode(sluice.json.order({ code = "x", error = "y" }, { "error", "code" }))]] },
  { "sluice.json.null", "userdata", "JSON's null, which Lua's nil cannot be.", example = [[local body = { stop = sluice.json.null }]] },
}
