-- Hooks: the functions of a policy. `when` of an entry tells `sluice explain` where it stands: "load", "request", "try", "answer", "failure" or "after".
local GO_ON = "nothing to go on, "

return {
  title = "Hooks",
  text = "`function P.NAME(...)`: a hook is called at one moment of a request, for all policies of the route in the list's order: all accept, then all validate, "
    .. "then all route, then all prompt, then for each try all attempt; what comes from the model (filter, tool_call, finish) passes them from the last to the first. "
    .. "The first verdict ends the request. Every hook but error may wait. A hook that raises ends its own request and nothing else, unless `policy.on_error` says "
    .. "otherwise; it has 100 ms of processor time, and 5 s for all waits together. A service's error that is raised is told as 503 dependency_failed.",

  { "prepare?", "(options: table<string, any>, use: sluice.Place): any",
    "Once for each place where the policy stands, while the gateway file loads: looks at the options once more, and makes of them what every request needs. What it "
      .. "returns is `ctx.prepared`. What it raises, or says by `use:bad`, refuses the load.", when = "load",
    params = { options = "The options of this use, defaults filled in; read-only.", use = "Where it is used; see `use.route` and its neighbours." }, returns = "what `ctx.prepared` is to be",
    example = [[
local P = sluice.policy { name = "p", options = { words = { type = "list", required = true } } }
function P.prepare(options, use)
  local words = {}
  for i, word in ipairs(options.words) do
    if word == "" then use:bad("is empty", "words", i) end
    words[i] = word
  end
  return sluice.match.words(words)
end
P.filter = { match = function(ctx) return ctx.prepared end, replace = "***" }]] },
  { "init?", "async ()", "Once for each worker when the file is loaded, before its first request; the workers' run one after another, while streams go on. It may call services, and "
      .. "wait as any hook; one that fails, or that returns something, refuses the start or the reload. It has 5 s of processor time between waits, and 10 s for all "
      .. "waits together. `sluice check` does not run it.", when = "load",
    example = [[
local list = sluice.service "list"
local words
function P.init()
  local res, err = list:get "/words"
  if not res then error(err) end
  words = sluice.match.words(res.json())
end
P.filter = { match = function() return words end, replace = "***" }]] },
  { "accept?", "async (head: sluice.Head, ctx: sluice.Context): sluice.Verdict?", "The headers are in, the body is not read yet.", when = "request",
    params = { head = "What the request line and the headers say.", ctx = "This request." }, returns = GO_ON .. "sluice.reject or sluice.reply",
    example = [[
function P.accept(head, ctx)
  if not head.headers.authorization then return sluice.reject(401, "key_missing", "Send an API key.") end
  ctx.key = head.headers.authorization
end]] },
  { "validate?", "async (req: sluice.Request, ctx: sluice.Context): sluice.Verdict?", "The body is read: change or refuse the request.", when = "request",
    params = { req = "The request, the same for all dialects.", ctx = "This request." }, returns = GO_ON .. "sluice.reject or sluice.reply",
    example = [[
function P.validate(req)
  if utf8.len(req:last_user() or "") > 1000 then return sluice.reject(400, "too_long", "At most 1000 characters.") end
end]] },
  { "route?", "async (req: sluice.Request, ctx: sluice.Context): (string|string[]|sluice.Plan|sluice.Verdict|nil)", "Picks the model.", when = "request",
    params = { req = "The request.", ctx = "This request; `ctx.plan` is what was picked so far." },
    returns = "nothing to leave the plan; a model's name; a list of names, tried one after another; { models = list }; sluice.reject or sluice.reply",
    errors = { "a name that `config.models` does not have" },
    example = [[
function P.route(req)
  if req:tokens() > 20000 then return "long" end
end]] },
  { "prompt?", "async (req: sluice.Request, ctx: sluice.Context): sluice.Verdict?", "Once, after routing: builds the messages that the model gets.", when = "request",
    params = { req = "The request; its messages and params may be changed.", ctx = "This request." }, returns = GO_ON .. "sluice.reject or sluice.reply",
    example = [[
function P.prompt(req)
  req:system "Be concise."
  req.params.max_tokens = 800
end]] },
  { "attempt?", "async (try: sluice.Try, ctx: sluice.Context): sluice.Verdict?", "Before each try, on a fresh copy of the request: what one model gets in its own way.", when = "try",
    params = { try = "The copy; its messages, params, tools and headers may be changed.", ctx = "This request." }, returns = GO_ON .. "sluice.reject",
    example = [[
function P.attempt(try, ctx)
  if try.target == "local" then try.params.logprobs = nil end
  try.headers["x-request-id"] = ctx.id
end]] },
  { "fallback?", "async (failure: sluice.Failure, ctx: sluice.Context): (string|sluice.Verdict|nil)",
    "A try failed before any of its text reached the client. Without such a hook the next model of the plan is tried, unless the request was found wrong (400, 413, 422).", when = "try",
    params = { failure = "Which model failed, and how.", ctx = "This request." },
    returns = 'nothing for the built-in plan; "next" for the next model; "retry" for the same again; "fail" to end with this failure; sluice.reject or sluice.reply',
    example = [[
function P.fallback(failure, ctx)
  ctx:tag("fallback_from", failure.target)
  if failure.status == 400 then return sluice.reject(400, "refused", "The model did not accept this request.") end
  return failure.code == "upstream_reset" and "retry" or "next"
end]] },
  { "response?", "async (res: sluice.Response, ctx: sluice.Context): sluice.Verdict?", "A model has begun to answer: the last moment for headers and the status.", when = "answer",
    params = { res = "What the upstream's head says.", ctx = "This request." }, returns = GO_ON .. "sluice.reject",
    example = [[
function P.response(res, ctx)
  ctx:header("X-Answered-By", res.target)
end]] },
  { "filter?", "sluice.Filter|sluice.Filter[]", "Not a function but a table, or a list of them from the model to the client: what becomes of the answer's text. See `filter.text`.", when = "answer",
    example = [[P.filter = { match = { sluice.match.email }, replace = "[removed]" }]] },
  { "tool_call?", "async (call: sluice.ToolCall, ctx: sluice.Context): sluice.Verdict?", "The model calls a tool; the call is whole. Its args may be changed.", when = "answer",
    params = { call = "Its name and arguments.", ctx = "This request." }, returns = "nothing to let it pass, sluice.drop, sluice.stop or sluice.reject",
    example = [[
function P.tool_call(call)
  if call.name == "delete_all" then return sluice.drop end
  if call.args then call.args.dry_run = true end
end]] },
  { "finish?", "async (fin: sluice.Finish, ctx: sluice.Context): sluice.Verdict?", "The model is done, before the end is told.", when = "answer",
    params = { fin = "Why it ended, and what it used.", ctx = "This request." }, returns = GO_ON .. "sluice.stop { text =, reason = } to add a last text or tell another reason",
    example = [[
function P.finish(fin)
  if fin.reason == "length" then return sluice.stop { text = " [cut short]", reason = "length" } end
end]] },
  { "error?", "(err: sluice.Error, ctx: sluice.Context): sluice.ErrorChange?", "A failure is about to be told to the client. It may not wait.", when = "failure",
    params = { err = "What failed.", ctx = "This request." }, returns = "nothing, or a table of the fields to change; see `shape.status` and its neighbours",
    example = [[
function P.error(err)
  if err.code == "upstream_rate_limited" then return { message = "Busy; please try again in a minute.", retry_after = 60 } end
end]] },
  { "log?", "async (sum: sluice.Summary, ctx: sluice.Context)", "The client is done or gone; nobody waits for this. At most 10 s. A failure is logged, whatever on_error says.", when = "after",
    params = { sum = "How the request went.", ctx = "This request." },
    example = [[
function P.log(sum, ctx)
  ctx:tag("tokens_out", sum.usage.output)
end]] },
}
