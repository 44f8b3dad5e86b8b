-- What the hooks fallback, response, tool_call, finish, error and log are told.
return {
  title = "What hooks are told",
  text = "All of it is read-only but `call.args`; `function P.error(err, ctx)` returns what is to be changed.",
  classes = {
    { "failure", "sluice.Failure", "A try that failed (fallback).", exact = true },
    { "res", "sluice.Response", "The head of a model's answer (response).", exact = true },
    { "call", "sluice.ToolCall", "A whole tool call (tool_call).", exact = true },
    { "fin", "sluice.Finish", "The end of a model's answer (finish).", exact = true },
    { "err", "sluice.Error", "A failure that is about to be told to the client.", exact = true },
    { "shape", "sluice.ErrorChange", "What the hook error may return: the fields to change.", exact = true },
    { "sum", "sluice.Summary", "How a request went.", exact = true },
    { "usage", "sluice.Usage", "What the model used, in tokens.", exact = true },
  },

  { "failure.target", "string", "The model that failed, by its name here." },
  { "failure.number", "integer", "Which try it was." },
  { "failure.code", "string", "The word for programs, such as upstream_connect_failed." },
  { "failure.message", "string", "The sentence for people." },
  { "failure.status", "integer?", "What the upstream answered; nil when it answered nothing." },
  { "failure.retry_after", "integer?", "Seconds that the upstream asks to wait." },

  { "res.target", "string", "The model that answers." },
  { "res.number", "integer", "Which try it is." },
  { "res.status", "integer", "The upstream's status; 200." },
  { "res.headers", "table<string, string>", "The upstream's headers, by name in lower case." },

  { "call.id", "string", "The call's id." },
  { "call.name", "string", "The tool's name." },
  { "call.arguments", "string", "The arguments as the model wrote them." },
  { "call.args", "any", "The arguments, decoded; nil when they are no JSON. Change it, or its members, to change the call." },
  { "call:map_text", "(fn: fun(text: string): string?)", "Passes each text in the arguments, keys too, through a function; what it returns takes its place. Arguments that are no JSON are one text.",
    params = { fn = "Returns the new text, or nil to leave it." }, errors = { "fn returned something else than a text" },
    example = [[
function P.tool_call(call)
  call:map_text(function(text) return (sluice.match.email:gsub(text, "[email]")) end)
end]] },

  { "fin.reason", "string?", 'Why the model ended: "stop", "length", ...' },
  { "fin.target", "string", "The model that answered." },
  { "fin.tokens", "integer", "Pieces of text that it sent." },
  { "fin.usage", "sluice.Usage", "What it used." },

  { "err.kind", '"client"|"policy"|"upstream"|"gateway"', "Whose doing it is." },
  { "err.status", "integer", "The HTTP status that is sent, or would be if nothing had been sent yet." },
  { "err.code", "string", "The word for programs, such as upstream_rate_limited." },
  { "err.type", "string?", "The type that `reject.type` set." },
  { "err.message", "string", "The sentence for people." },
  { "err.headers_sent", "boolean", "Whether the answer has begun: then the failure is its last event." },
  { "err.policy", "string?", "The policy that refused." },
  { "err.hook", "string?", "Its hook." },
  { "err.retry_after", "integer?", "Seconds." },
  { "err.upstream", "{ status: integer, code: string?, param: string? }?", "What the model service answered; where it found the request wrong (upstream_refused), its own word for that, "
    .. "which OpenAI's clients are told as code, and the field that it names." },
  { "err.request_id", "string", "The request's id, as the header X-Request-Id has it." },
  { "err.retryable", "boolean", "Whether asking again may help: 408, 425, 429, 500, 502, 503, 504." },
  { "err.extra", "table?", "What an error hook before this one added." },

  { "shape.status?", "integer", "From 400 to 599; it counts only while nothing was sent." },
  { "shape.code?", "string", "A word for programs." },
  { "shape.message?", "string", "The sentence for people." },
  { "shape.type?", "string", "The type of error." },
  { "shape.headers?", "table<string, string|integer>", "Headers of the answer, as `ctx:header` sets them." },
  { "shape.extra?", "table<string, any>", "More members for the error's JSON." },
  { "shape.retry_after?", "number", "Seconds." },

  { "sum.finish", "string", 'How it ended: "done", "stopped", "replied", "client_closed", a policy\'s word such as "length", or the code of a failure such as "gap_timeout".' },
  { "sum.complete", "boolean", "The model's answer was told whole: it did not fail, nobody stopped or replaced it, and the client was there to the end. Always false in monitor mode." },
  { "sum.status", "integer", "The HTTP status that was sent." },
  { "sum.tokens", "integer", "Pieces of text that the model sent." },
  { "sum.bytes", "integer", "Bytes sent to the client." },
  { "sum.first_token_ms", "integer?", "From the request's head to the first text sent." },
  { "sum.total_ms", "integer?", "From the request's head to the end." },
  { "sum.held_ms", "integer?", "How long policies waited." },
  { "sum.usage", "sluice.Usage", "What the model used." },

  { "usage.input", "integer", "Tokens of the prompt." },
  { "usage.output", "integer", "Tokens of the answer." },
  { "usage.cached", "integer?", "Tokens of the prompt that the provider had in its cache, where it tells." },
  { "usage.cache_written", "integer?", "Tokens of the prompt that the provider put into its cache, where it tells." },
  { "usage.reasoning", "integer?", "Tokens of reasoning, where the provider tells." },
  { "usage.estimated", "boolean", "The provider did not tell all of it: part of this is an estimate." },
}
