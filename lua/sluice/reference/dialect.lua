-- Dialects: what clients and upstreams speak.
return {
  title = "Dialects",
  text = "A dialect is a table with a part `provider` (how to ask an upstream), a part `front` (how clients ask and are answered), or both. \"openai\" is a provider, \"token\" a front; "
    .. "a table of the same shape may stand wherever a name may. Their functions may not wait.",
  classes = {
    { "provider", "sluice.Provider", "How to ask an upstream, and where its events hold text.", exact = true },
    { "places", "sluice.Places", "Where an upstream's events hold what: paths such as `choices[0].delta.content`.", exact = true },
    { "tool", "sluice.ToolPlaces", "Where one item of the list at `places.tool_calls` holds what.", exact = true },
    { "front", "sluice.Front", "How clients ask and are answered.", exact = true },
    { "framing", "sluice.Framing", "The bytes around the JSON string of a piece of text.", exact = true },
  },

  { "provider.name?", "string", "A word for the log." },
  { "provider.url?", "string", "The base of its URLs, for models that give none." },
  { "provider.places", "sluice.Places", "Where its events hold what." },
  { "provider.tool?", "sluice.ToolPlaces", "Where a tool call holds what; by default as OpenAI writes it." },
  { "provider.done?", "string", 'The data of the event that ends a stream, such as "[DONE]".' },
  { "provider.request", "fun(req: sluice.Request, model: sluice.Model): { path: string, headers: table<string, any>, body: table|string }",
    "Makes the request for the upstream. A header's value may be a list of texts and secrets, which are joined outside of Lua.",
    params = { req = "The request, as the hooks left it.", model = "name, model, url, key, provider." },
    errors = { "no path that begins with /, no body, a header with control characters" },
    example = [[
local echo = { name = "echo", provider = {
  places = { content = "text" }, done = "[END]",
  request = function(req, model)
    return { path = "/say", headers = { ["x-key"] = model.key }, body = { say = req:last_user() } }
  end,
} }]] },

  { "places.content?", "string", "The answer's text." },
  { "places.reasoning?", "string", "What the model thinks." },
  { "places.refusal?", "string", "Its refusal." },
  { "places.finish?", "string", "Why it is over." },
  { "places.error?", "string", "An error that it reports within the stream." },
  { "places.usage_input?", "string", "Tokens of the prompt." },
  { "places.usage_output?", "string", "Tokens of the answer." },
  { "places.tool_calls?", "string", "A list of pieces of tool calls." },

  { "tool.index?", "string", "Which of several calls a piece belongs to." },
  { "tool.id?", "string", "The call's id." },
  { "tool.name?", "string", "The tool's name." },
  { "tool.arguments?", "string", "The arguments, JSON in pieces." },

  { "front.name?", "string", "A word for `head.dialect` and the log." },
  { "front.methods", "string", 'What its clients may use: "GET, HEAD, OPTIONS".' },
  { "front.content", "sluice.Framing", "What stands around a piece of the answer." },
  { "front.reasoning?", "sluice.Framing", "What stands around a piece of reasoning; without it reasoning is not told." },
  { "front.finish?", "sluice.Framing", "What stands around the finish reason, which is then told before the end." },
  { "front.tool?", "sluice.Framing", "What stands around a tool call, { id, name, arguments } in JSON; without it calls are not told." },
  { "front.done", "string", "The bytes that end a stream." },
  { "front.read", "fun(req: sluice.Request): sluice.Verdict?", "Reads the request: sets `req.messages` and what else it finds.", params = { req = "The request, with query and body." },
    example = [[
local lines = { name = "lines", front = {
  methods = "GET, HEAD, OPTIONS", done = "data: bye\n\n",
  content = { before = "data: ", after = "\n\n" },
  read  = function(req) req.messages = { { role = "user", content = req.query.ask or "" } } end,
  error = function(err) return { code = err.code, error = err.message } end,
} }]] },
  { "front.error", "fun(err: sluice.Error): table", "The JSON that tells a failure: the body, or the last event.", params = { err = "See `err.code` and its neighbours." },
    example = [[local function tell(err) return sluice.json.order({ error = err.message, code = err.code }, { "error", "code" }) end]] },

  { "framing.before", "string", 'Such as `data: {"token":`.' },
  { "framing.after", "string", "Such as `}` and two line ends." },
}
