-- Dialects: what clients and upstreams speak.
return {
  title = "Dialects",
  text = "A dialect is a table with a part `provider` (how to ask an upstream, how to read what it streams), a part `front` (how clients ask and are answered), or both; a table of the same "
    .. "shape may stand wherever a name may. Their functions may not wait. Between the two stands the request as OpenAI's chat completions have it: `req.messages`, "
    .. "`req.tools`, `req.params`.",
  classes = {
    { "provider", "sluice.Provider", "How to ask an upstream, and where its events hold text.", exact = true },
    { "places", "sluice.Places", "Where an upstream's events hold what: paths such as `choices[0].delta.content`.", exact = true },
    { "tool", "sluice.ToolPlaces", "Where one item of the list at `places.tool_calls` holds what.", exact = true },
    { "embed", "sluice.Embed", "How a provider makes embeddings.", exact = true },
    { "front", "sluice.Front", "How clients ask and are answered.", exact = true },
    { "framing", "sluice.Framing", "The bytes around the JSON string of a piece of text.", exact = true },
  },

  { "provider.name?", "string", "A word for the log." },
  { "provider.url?", "string", "The base of its URLs, for models that give none." },
  { "provider.framing?", "string", '"sse" (the default) or "ndjson": what is an event.' },
  { "provider.kind?", "string", "The place of the word that tells what an event is. Without it all events are alike." },
  { "provider.places?", "sluice.Places", "Where its events hold what, when all are alike." },
  { "provider.events?", "table<string, sluice.Places>", "With `kind`: where each kind holds what. A kind that stands nowhere says nothing.",
    example = [[events = { content_block_delta = { content = "delta.text", reasoning = "delta.thinking" } }]] },
  { "provider.rare?", "string[]", "Events that `event` reads: with `kind` their words, else places whose presence makes an event one." },
  { "provider.event?", "fun(event: table, out: table)", "Reads a rare event: what it means it tells by out:text(channel, text, choice), out:logprobs(channel, list, choice) of that text, "
    .. "out:signature(text, choice) behind a block of reasoning, "
    .. "out:tool { index, id, name, arguments, choice, signature }, "
    .. "out:finish(word, choice, stop_sequence), out:usage { input, output, cached, reasoning, cache_written }, out:model(name), out:error { message, code }, out:done().",
    params = { event = "The event, decoded.", out = "Where it tells it." },
    example = [[
event = function(event, out)
  for _, part in ipairs(event.parts) do out:text(part.thought and "reasoning" or "content", part.text) end
end]] },
  { "provider.tool?", "sluice.ToolPlaces", "Where a tool call holds what; by default as OpenAI writes it." },
  { "provider.done?", "string", 'The data of the event that ends a stream, such as "[DONE]".' },
  { "provider.ends?", "string[]", "The kinds of event that end a stream. One of them must come." },
  { "provider.done_at?", "string", "The place that is true in the event that ends a stream, which must come." },
  { "provider.finish_words?", "table<string, string>", "Its words for why an answer is over, and OpenAI's: stop, length, tool_calls, content_filter. Others pass as they are." },
  { "provider.whole?", "sluice.Places", "Where an answer that is one document holds what: finish, usage, error, model." },
  { "provider.request", "fun(req: sluice.Request, model: sluice.Model): { path: string, headers: table<string, any>, body: table|string }|sluice.Verdict",
    "Makes the request for the upstream, of a stream. A header's value may be a list of texts and secrets, which are joined outside of Lua. What it cannot say it "
    .. "refuses with sluice.reject(400, ...) that names the field.",
    params = { req = "The request, as the hooks left it; not to be changed.", model = "name, model, url, key, provider, options." },
    errors = { "no path that begins with /, no body, a header with control characters" },
    example = [[
local echo = { name = "echo", provider = {
  places = { content = "text" }, done = "[END]",
  request = function(req, model)
    return { path = "/say", headers = { ["x-key"] = model.key }, body = { say = req:last_user() } }
  end,
} }]] },
  { "provider.prefill?", "boolean", "Its servers go on with a last message of the assistant: what `route.on_death` needs. A model may say otherwise (`model.prefill`)." },
  { "provider.error?", "fun(status: integer, body: table?): { message: string?, code: string?, type: string? }?", "Reads an answer that is no 200. What it says is "
    .. "wrong with the request (400, 413, 422) is told to the client, "
    .. "else it goes to the log. Without it error.message is read.", params = { status = "Its status.", body = "Its JSON, decoded; nil when it is none." },
    example = [[error = function(status, body) return body and { message = body.detail, code = tostring(status) } end]] },
  { "provider.embed?", "sluice.Embed", "Embeddings; without it they are refused." },
  { "embed.request", "fun(req: sluice.Request, model: sluice.Model): { path: string, headers: table<string, any>, body: table }|sluice.Verdict",
    "As `provider.request`, for embeddings.", params = { req = "The request: its texts are messages.", model = "As there." },
    example = [[request = function(req, model) return { path = "/embed", headers = {}, body = { model = model.model, input = req:text() } } end]] },
  { "embed.answer?", "fun(document: table, req: sluice.Request): table", "Makes OpenAI's document of the upstream's; without it the upstream's passes.",
    params = { document = "The upstream's, decoded.", req = "The request." },
    example = [[answer = function(document) return { object = "list", data = { { object = "embedding", index = 0, embedding = document.vector } } } end]] },

  { "places.content?", "string", "The answer's text." },
  { "places.reasoning?", "string", "What the model thinks." },
  { "places.refusal?", "string", "Its refusal." },
  { "places.finish?", "string", "Why it is over." },
  { "places.error?", "string", "An error that it reports within the stream." },
  { "places.usage_input?", "string", "Tokens of the prompt." },
  { "places.usage_output?", "string", "Tokens of the answer." },
  { "places.usage_cached?", "string", "Tokens of the prompt that came out of a cache." },
  { "places.usage_cache_written?", "string", "Tokens of the prompt that were put into a cache." },
  { "places.usage_reasoning?", "string", "Tokens of the answer that were thought." },
  { "places.tool_calls?", "string", "A list of pieces of tool calls." },
  { "places.model?", "string", "The model's name, which clients see as they asked for it." },
  { "places.choice?", "string", "The number of the choice that the event is of." },
  { "places.tool_index?", "string", "Of a piece of a tool call's arguments: which call it belongs to." },
  { "places.tool_arguments?", "string", "The piece." },
  { "places.logprobs?", "string", "A list of what it says of the text's tokens: { token, logprob, bytes, top_logprobs } each, as OpenAI's chat completions have them." },
  { "places.refusal_logprobs?", "string", "The same of the refusal's." },
  { "places.signature?", "string", "What the model wants back with the block of reasoning that ends here. `front.close` of a front that `speaks` the same is told it if no policy changed the block." },

  { "tool.index?", "string", 'Which of several calls a piece belongs to; "": each item is a call.' },
  { "tool.id?", "string", "The call's id." },
  { "tool.name?", "string", "The tool's name." },
  { "tool.arguments?", "string", "The arguments: JSON in pieces, or an object." },

  { "front.name?", "string", "A word for `head.dialect` and the log." },
  { "front.methods", "string", 'What its clients may use: "GET, HEAD, OPTIONS".' },
  { "front.operation?", "string", '"chat" (the default) or "embed".' },
  { "front.speaks?", "string", "The name of the provider that says the same: when no policy looks at the answer, its bytes pass untouched." },
  { "front.request_id?", "string", "The header in which its clients look for the request's id, beside X-Request-Id." },
  { "front.beside?", "integer", "So many bytes it may read beside a body (a conversation that it keeps): its functions get the time for that, too." },
  { "front.headers?", "table<string, string>", "Headers of each answer." },
  { "front.content?", "sluice.Framing", "What stands around a piece of the answer, when that is constant. Else there is `open`." },
  { "front.reasoning?", "sluice.Framing", "The same around a piece of reasoning; without it reasoning is not told." },
  { "front.finish?", "sluice.Framing|fun(answer: table): string", "What stands around the finish reason, which is then told before the end; or all that ends a "
    .. "stream: answer.finish[choice], answer.usage." },
  { "front.tool?", "sluice.Framing|fun(answer: table, call: table): string", "What stands around a tool call, { id, name, arguments } in JSON; or what tells one { "
    .. "index, choice, id, name, arguments }. Without it calls are not told." },
  { "front.done?", "string", "The bytes that end a stream." },
  { "front.begin?", "fun(answer: table): string?", "What stands before everything: answer has id, created, model, request and what you put there.",
    params = { answer = "One table for the whole answer." },
    example = [[begin = function(answer) return "data: " .. sluice.json.encode { id = answer.id } .. "\n\n" end]] },
  { "front.open?", "fun(answer: table, block: table): string?, string?, string?, string?", "A block of text begins, { choice, channel, index }: what is sent now, what "
    .. "stands before and behind each piece of it (\"\\1\" in it is the event's number), and what stands behind one that has logprobs (\"\\2\" in it is their list); "
    .. "answer.logprobs: the client wants them. block.signature: there is no text, only this. "
    .. "Nothing: this front cannot tell that channel.", params = { answer = "As for `front.begin`.", block = "Which." },
    example = [[open = function(_, block) if block.channel == "content" then return nil, 'data: {"text":', "}\n\n" end end]] },
  { "front.close?", "fun(answer: table, block: table): string?", "It ends; block.signature: what the model wants back with it.", params = { answer = "As for `front.begin`.", block = "Which." },
    example = [[close = function() return "data: {\"end\":true}\n\n" end]] },
  { "front.gather?", "boolean", "`close` is told the whole text of its block, block.text, and the list of its logprobs, block.logprobs (see `sluice.json.raw`)." },
  { "front.logprobs?", "fun(answer: table, list: table, block: table): table", "Where its clients read logprobs in another shape: what is written instead of the list of one piece.",
    params = { answer = "As for `front.begin`.", list = "{ token, logprob, bytes, top_logprobs } each.", block = "Which." },
    example = [[
logprobs = function(_, list)
  local sum = 0
  for _, v in ipairs(list) do sum = sum + v.logprob end
  return { sum = sum, n = #list }
end]] },
  { "front.fault?", "fun(answer: table, err: sluice.Error, body: table): string", "A failure within the stream; without it an event with what error returned.",
    params = { answer = "As for `front.begin`.", err = "See `err.code`.", body = "What error made of it." },
    example = [[fault = function(_, _, body) return "event: error\ndata: " .. sluice.json.encode(body) .. "\n\n" end]] },
  { "front.whole?", "fun(answer: table): table", "The answer as one document, for a client that does not stream: answer.blocks, a list of { choice, channel, text, "
    .. "logprobs, signature } and { choice, tool }. Without it all clients stream.",
    params = { answer = "As for `front.begin`, with finish and usage." },
    example = [[whole = function(answer) return { text = answer.blocks[1] and answer.blocks[1].text or "" } end]] },
  { "front.respond?", "fun(req: sluice.Request, names: string[]): table|sluice.Verdict", "Answers by itself, with a document or sluice.reject; no model is asked.",
    params = { req = "The request.", names = "The models that clients of the route may ask for." },
    example = [[respond = function(_, names) return { models = sluice.json.array(names) } end]] },
  { "front.read?", "fun(req: sluice.Request): sluice.Verdict?", "Reads the request: sets `req.messages` and what else it finds. It may be run again, and must then "
    .. "find the same.", params = { req = "The request, with query and body." },
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
