-- The request, as hooks see it, and the context of one exchange.
return {
  title = "The request and its context",
  text = "Reading or setting a field that is not there is an error with its line and, where a name is near, what was meant.",
  classes = {
    { "head", "sluice.Head", "The request before its body is read (accept).", exact = true },
    { "req", "sluice.Request", "The request (validate, route, prompt): one shape for all dialects.", exact = true },
    { "try", "sluice.Try", "The request to one model (attempt): a fresh copy for each try.", exact = true },
    { "ctx", "sluice.Context", "One request with its answer, for one policy.", exact = true },
    { "out", "sluice.Out", "Where a Lua model puts its answer." },
  },
  aliases = {
    { "sluice.Message", "{ role: string, content: string|table[], [string]: any }", "One message: its role (system, user, assistant, tool) and content." },
    { "sluice.Plan", "{ models: string[] }", "Which models are to answer." },
  },

  { "head.method", "string", "GET, POST, HEAD or OPTIONS." },
  { "head.path", "string", "The path, without the query." },
  { "head.headers", "table<string, string>", "By name in lower case; what was sent twice is joined by a comma." },
  { "head.query", "table<string, string>", "The query's fields, decoded; of a field that comes twice the first." },
  { "head.ip", "string", "The client's address; behind a trusted proxy the one that the proxy tells." },
  { "head.dialect", "string", "The front of the route, such as \"token\"." },

  { "req.method", "string", "As `head.method`." },
  { "req.path", "string", "As `head.path`." },
  { "req.headers", "table<string, string>", "As `head.headers`." },
  { "req.query", "table<string, string>", "As `head.query`." },
  { "req.ip", "string", "As `head.ip`." },
  { "req.dialect", "string", "As `head.dialect`." },
  { "req.model", "string?", "The model that the client asked for, where its dialect has that." },
  { "req.messages", "sluice.Message[]", "The conversation. May be changed." },
  { "req.params", "table<string, any>", "What goes to the model beside the messages: max_tokens, temperature, ... May be changed." },
  { "req.tools", "table[]?", "The tools that the model may call." },
  { "req.stream", "boolean?", "Whether the client asked for a stream, where its dialect has that." },
  { "req.include_usage", "boolean?", "Whether a client that streams asked for the tokens used, where its dialect has that to ask." },
  { "req.body", "string?", "The body as it was sent, for fronts." },
  { "req:text", "(role?: string|string[]): string", "The text of all messages, or of those with that role, a line each.", params = { role = 'Such as "user".' },
    example = [[
function P.validate(req)
  if req:text("user"):find("password", 1, true) then return sluice.reject(422, "no_passwords", "Please leave passwords out.") end
end]] },
  { "req:map_text", "(fn: (fun(text: string, role: string): string?), roles?: string|string[])",
    "Passes each text of each message through a function; what it returns takes its place. Texts are content, earlier reasoning and refusals, and what tool calls were given.",
    params = { fn = "Returns the new text, or nil to leave it.", roles = "Only messages with these roles." }, errors = { "fn returned something else than a text" },
    example = [[
function P.prompt(req)
  req:map_text(function(text) return (sluice.match.email:gsub(text, "[email]")) end, "user")
end]] },
  { "req:system", "(text?: string): string?", "Adds to the system message, which is made when there is none; without a text returns it.", params = { text = "What to add." },
    example = [[function P.prompt(req) req:system "Answer in one sentence." end]] },
  { "req:last_user", "(): string?", "The text of the last message with the role user.",
    example = [[
function P.route(req)
  if #(req:last_user() or "") > 2000 then return "large" end
end]] },
  { "req:tokens", "(): integer", "An estimate of the prompt's tokens: four bytes each, and four for each message.",
    example = [[
function P.prompt(req)
  if req:tokens() > 8000 then return sluice.reject(413, "too_long", "Too long.") end
end]] },

  { "try.target", "string", "The model that is asked, by its name here." },
  { "try.number", "integer", "1 for the first try of a request." },
  { "try.continues", "boolean", "Whether it goes on with the text of one that died (`route.on_death`): what a policy knows of the answer by then still counts.",
    example = [[function P.attempt(try, ctx) if not try.continues then ctx.state.chars = 0 end end]] },
  { "try.messages", "sluice.Message[]", "The messages that this model gets. May be changed." },
  { "try.params", "table<string, any>", "The params that this model gets. May be changed." },
  { "try.tools", "table[]?", "The tools that this model may call. May be changed." },
  { "try.headers", "table<string, any>",
    "Headers for the upstream, beside or in place of the dialect's own; empty at first. Values are texts and secrets, or lists of them." },
  { "try.model", "string?", "The model's name at its provider." },
  { "try.stream", "boolean?", "As `req.stream`." },
  { "try.include_usage", "boolean?", "As `req.include_usage`." },
  { "try.body", "string?", "As `req.body`." },
  { "try.method", "string", "As `head.method`." },
  { "try.path", "string", "As `head.path`." },
  { "try.query", "table<string, string>", "As `head.query`." },
  { "try.ip", "string", "As `head.ip`." },
  { "try.dialect", "string", "As `head.dialect`." },
  { "try:text", "(role?: string|string[]): string", "As `req:text`, of this try.", params = { role = "Only messages with that role." },
    example = [[function P.attempt(try) local _ = try:text "user" end]] },
  { "try:map_text", "(fn: (fun(text: string, role: string): string?), roles?: string|string[])",
    "As `req:map_text`, of this try.", params = { fn = "Returns the new text, or nil to leave it.", roles = "Only messages with these roles." },
    example = [[function P.attempt(try) try:map_text(string.upper, "user") end]] },
  { "try:system", "(text?: string): string?", "As `req:system`, of this try.", params = { text = "What to add." },
    example = [[function P.attempt(try) if try.target == "small" then try:system "Be very brief." end end]] },
  { "try:last_user", "(): string?", "As `req:last_user`, of this try.", params = {  },
    example = [[function P.attempt(try) local _ = try:last_user() end]] },
  { "try:tokens", "(): integer", "As `req:tokens`, of this try.", params = {  },
    example = [[function P.attempt(try) if try:tokens() > 4000 then try.params.max_tokens = 200 end end]] },

  { "ctx.id", "string", "The request's id, as in the log and the header X-Request-Id." },
  { "ctx.route", "string", "The route's name." },
  { "ctx.policy", "string", "The policy's name on this route." },
  { "ctx.options", "table<string, any>", "The policy's options on this route, defaults filled in; read-only.",
    example = [[
local P = sluice.policy { name = "p", options = { most = { type = "integer", default = 10 } } }
function P.validate(req, ctx)
  if #req.messages > ctx.options.most then return sluice.reject(400, "too_many", "Too many messages.") end
end]] },
  { "ctx.prepared", "any", "What the hook prepare returned for this use; shared by all requests of one worker." },
  { "ctx.state", "table<any, any>", "This policy's own notes on this request." },
  { "ctx.vars", "table<any, any>", "Notes on this request that all its policies share." },
  { "ctx.client", "{ ip: string }", "Who asks: its address." },
  { "ctx.key", "any", "The caller's API key or what stands for it; a policy that checks keys sets it, later ones read it. nil until then." },
  { "ctx.plan", "sluice.Plan", "The models picked so far." },
  { "ctx.target", "string?", "The model that answers." },
  { "ctx.usage", "sluice.Usage?", "What the answer used; known when the model is done." },
  { "ctx.sent", "integer", "Bytes sent to the client; known in log." },
  { "ctx.tags", "table<string, string>", "What `ctx:tag` has told so far, by all policies: a copy." },
  { "ctx.elapsed", "integer", "Milliseconds since the request's head was read." },
  { "ctx.deadline", "integer?", "Milliseconds left until `timeout.total`; nil when there is none." },
  { "ctx:header", "(name: string, value: string|integer)", "Sets a header of the answer; the same name again replaces it, Vary is added to, Set-Cookie may come several times.",
    params = { name = "A header that is not the gateway's own.", value = "At most 8192 bytes, no control characters." },
    errors = { "a header that belongs to the gateway: Content-Type, Content-Length, Date, Connection, ...", "more than 32 headers", "a name or value that HTTP does not allow" },
    example = [[function P.accept(_, ctx) ctx:header("Cache-Control", "no-store") end]] },
  { "ctx:gate", "(fn: (async fun(): sluice.Verdict?))",
    "Runs a function beside the model. No text reaches the client before all gates have ended; what one returns (sluice.reject, sluice.reply) wins, "
      .. "the model is told to stop, and the client still gets a clean status. All its waits together may take 5 s.",
    params = { fn = "Judges; returns nothing to let the answer go." }, errors = { "in other hooks than validate, route, prompt and attempt", "more than 16 at once" },
    example = [[
local judge = sluice.service "judge"
function P.prompt(req, ctx)
  local text = req:text "user"
  ctx:gate(function()
    local res, err = judge:post("/v1/judge", { json = { text = text } })
    if not res then error(err) end
    if res.json().flagged then return sluice.reject(422, "topic", "Not about that.") end
  end)
end]] },
  { "ctx:tag", "(name: string, value: string|number|boolean)", "Adds a field to the request's log line; the same name again replaces it.",
    params = { name = "A word.", value = "A text, a number or a boolean." },
    errors = { "a name that the log line has itself, such as status", "more than 32 tags" },
    example = [[function P.validate(req, ctx) ctx:tag("chars", utf8.len(req:last_user() or "")) end]] },

  { "out:text", "(text: string)", "Sends text; waits while the client is slower. What is no valid UTF-8 is mended.", waits = true, params = { text = "The next piece of the answer." },
    errors = { "outside of a Lua model's answer" },
    example = [[
local function answer(req, out)
  for word in (req:last_user() or ""):gmatch "%S+%s*" do out:text(word:upper()) end
end]] },
}
