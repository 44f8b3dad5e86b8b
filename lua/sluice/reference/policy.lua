-- Policies: what is said of them, their options, and how they are put on a route.
return {
  title = "Policies",
  text = "A policy is a named set of hooks with options. On a route it is named by itself, by its module (`\"policies.pii\"`) or as a table with options (`{ P, limit = 3 }`).",
  aliases = {
    { "sluice.FailMode", '"closed"|"open"', "What happens when a hook fails: `closed` ends the request or the answer, `open` goes on without the hook." },
    { "sluice.PolicyMode", '"enforce"|"monitor"|"off"', "Whether a policy runs, and whether it counts." },
    { "sluice.Group", false, "What sluice.chain and sluice.only_if return: it stands wherever a policy may." },
  },
  classes = {
    { "policy", "sluice.PolicySpec", "What sluice.policy takes. Hooks may stand in here too.", parent = "sluice.Policy" },
    { "option", "sluice.Option", "How a policy describes one of its options.", exact = true },
    { "type", "sluice.OptionType", "The kinds of options.", alias = true },
    { "use", "sluice.Place", "Where a policy is used (prepare), and how to say what is wrong there.", exact = true },
    { "entry", "sluice.Use", "A policy on a route, with its options as further fields." },
  },

  { "sluice.chain", "(policies: (sluice.Policy|string|sluice.Use|sluice.Group)[]): sluice.Group", "Several policies as one entry of a route's list.",
    params = { policies = "As in `route.policies`." },
    errors = { "an empty list" },
    example = [[
local front_door = sluice.chain { sluice.parts.cors { origins = { "*" } }, sluice.parts.rate_limit { rate = 10, per = "1m" } }]] },
  { "sluice.only_if", "(condition: (fun(ctx: sluice.Context, head: sluice.Head): boolean?), policy: sluice.Policy|string|sluice.Use|sluice.Group): sluice.Group",
    "A policy that takes part only in some requests: the condition is asked once for each, before accept. It may not wait; when it fails, the request is refused.",
    params = { condition = "Whether the policy takes part.", policy = "What it is about, also a chain." },
    example = [[
local P = sluice.policy { name = "strict" }
local guests = sluice.only_if(function(_, head) return head.headers.authorization == nil end, P)]] },

  { "policy.name", "string", "A word, unique on a route: it stands in every log line and error of this policy." },
  { "policy.api?", "1", "The version of the API that it is written for." },
  { "policy.doc?", "string", "One sentence; `sluice explain` prints it." },
  { "policy.options?", "table<string, sluice.Option>", "What a route may set; read it as `ctx.options.NAME`.",
    example = [[
local P = sluice.policy { name = "budget", options = { most = { type = "integer", default = 10, min = 1, doc = "Questions a day." } } }]] },
  { "policy.on_error?", "sluice.FailMode|table<string, sluice.FailMode>",
    'What happens when one of its hooks raises or runs out of time: for all hooks, or by hook: { filter = "closed", log = "open" }. "closed" by default. '
      .. '"open" on a filter releases unfiltered text.' },
  { "policy.mode?", "sluice.PolicyMode", '"enforce" (the default); "monitor": it runs on a copy beside the answer, '
      .. 'changes nothing, and what it would have done is logged (would_reject, would_stop, ...); "off".' },

  { "option.type", "sluice.OptionType|sluice.OptionType[]", "Its kind, or several.", },
  { "option.required?", "boolean", "A route must give it." },
  { "option.unless?", "string", "A route must give it, or the option of this name." },
  { "option.default?", "any", "What it is when a route does not give it." },
  { "option.one_of?", "any[]", "The only values allowed. A function, where `option.type` allows one, is not held to it." },
  { "option.min?", "number", "The least value of a number; for a duration in milliseconds; for a list or a map how many members it must have." },
  { "option.max?", "number", "The greatest value of a number, the longest duration in milliseconds, the most members of a list or a map." },
  { "option.of?", "sluice.Option", "What each member of a list or a map is.",
    example = [[
local P = sluice.policy { name = "topics", options = { topics = { type = "list", min = 1, of = { type = "string" } } } }]] },
  { "option.keys?", "sluice.Option", "What each name in a map is.",
    example = [[
local P = sluice.policy { name = "shares", options = { shares = { type = "map", keys = { type = "model" }, of = { type = "number", min = 0 } } } }]] },
  { "option.fields?", "table<string, sluice.Option>", "The members of a map, by name; it can have no others.",
    example = [[
local P = sluice.policy { name = "retry", options = { retry = { type = "map", default = {}, fields = { times = { type = "integer", default = 2 } } } } }]] },
  { "option.doc?", "string", "One sentence, shown when the option is missing." },

  { "type.string", '"string"', "A text." },
  { "type.integer", '"integer"', "A whole number." },
  { "type.number", '"number"', "A number." },
  { "type.boolean", '"boolean"', "true or false." },
  { "type.duration", '"duration"', 'Such as "800ms"; hooks read it as it was written.' },
  { "type.size", '"size"', 'Such as "64kb"; hooks read a number of bytes.' },
  { "type.list", '"list"', "A table with members 1..n; hooks cannot change it." },
  { "type.map", '"map"', "A table; hooks cannot change it." },
  { "type.secret", '"secret"', "What sluice.secret gives." },
  { "type.matcher", '"matcher"', "A matcher, a Lua pattern or a list of these; hooks read one matcher." },
  { "type.file", '"file"', 'The name of a file beside the gateway file or below it, of at most 4 MiB; hooks read { path =, text = }. Read again with each reload.' },
  { "type.function", '"function"', "A function." },
  { "type.service", '"service"', "The name of a service that the gateway file declares, or what sluice.service gives; hooks read the service.",
    example = [[
local P = sluice.policy { name = "judge", options = { service = { type = "service", required = true } } }

function P.validate(req, ctx)
  local res, err = ctx.options.service:post("/v1/judge", { json = { text = req:text "user" } })
  if not res then error(err) end
end]] },
  { "type.model", '"model"', "The name of a model that the gateway file declares; hooks read the name." },
  { "type.store", '"store"', 'Where a counter or limiter is: "redis:NAME", a Redis server that the gateway file declares; stays as written, for `counter.store` and `limiter.store`.' },

  { "use.route", "string", "The route's name." },
  { "use.policy", "string", "The policy's name on this route." },
  { "use.models", "string[]", "All models of the gateway file." },
  { "use:bad", "(sentence: string, ...: string|integer)", "Says what is wrong; the load is refused. Told at the line of the option, or of the policy when none is named.",
    params = { sentence = "What was found, and what to write.", ["..."] = "The option, and keys within it." },
    example = [[
local P = sluice.policy { name = "p", options = { table = { type = "map", required = true } } }
function P.prepare(options, use)
  for name, rank in pairs(options.table) do
    if math.type(rank) ~= "integer" then use:bad("must be a whole number", "table", name) end
  end
end]] },
  { "use:bad_line", "(sentence: string, file: string|table, line: integer)", "As `use:bad`, told at a line of a file that an option of the type file names.",
    params = { sentence = "What was found, and what to write.", file = "The option's value, or a path.", line = "Counted from 1." },
    example = [[
local P = sluice.policy { name = "p", options = { list = { type = "file", required = true } } }
function P.prepare(options, use)
  local n = 0
  for line in options.list.text:gmatch "[^\n]+" do
    n = n + 1
    if #line > 80 then use:bad_line("is longer than 80 bytes", options.list, n) end
  end
end]] },

  { "entry.name?", "string", "Another name, so that one policy can be on a route twice.",
    example = [[
local P = sluice.policy { name = "pii", options = { strict = { type = "boolean", default = false } } }
local policies = { P, { P, name = "pii_strict", strict = true } }]] },
  { "entry.mode?", "sluice.PolicyMode", 'In place of the policy\'s own `policy.mode`: "monitor" tries it out on this route, "off" takes it off.' },
  { "entry.on_error?", "sluice.FailMode|table<string, sluice.FailMode>", "In place of the policy's own `policy.on_error`." },
}
