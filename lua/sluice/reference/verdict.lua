-- What a hook returns to say more than "go on".
return {
  title = "Verdicts",
  text = "A hook that returns nothing lets things go on. A verdict ends the request or the answer; it may also be raised: `error(sluice.reject(...))`.",
  classes = {
    { "reject", "sluice.Refusal", "What sluice.reject takes as a table.", exact = true },
    { "reply", "sluice.Answer", "What sluice.reply takes as a table.", exact = true },
    { "stop", "sluice.End", "What sluice.stop takes as a table.", exact = true },
  },
  aliases = { { "sluice.Verdict", false, "What sluice.reject, sluice.reply and sluice.stop return. Scripts cannot look into it." } },

  { "sluice.reject", "(status: integer, code: string, message: string): sluice.Verdict",
    "Refuses the request. Before anything was sent it is an HTTP status with a body in the client's dialect; afterwards it is an error event, and the stream ends.",
    also = "(refusal: sluice.Refusal): sluice.Verdict",
    params = { status = "From 400 to 599.", code = "A word for programs: letters, digits, _ . - and at most 64 of them.", message = "A sentence for people." },
    errors = { "a field that is unknown or of the wrong kind" },
    example = [[
function P.validate(req)
  if #req:last_user() > 4000 then
    return sluice.reject { status = 413, code = "too_long", message = "Please ask shorter.", retry_after = 0 }
  end
end]] },
  { "reject.status", "integer", "From 400 to 599." },
  { "reject.code", "string", "A word for programs." },
  { "reject.message", "string", "A sentence for people; valid UTF-8." },
  { "reject.type?", "string", "The type of error, for fronts whose clients expect one." },
  { "reject.headers?", "table<string, string|integer>", "Headers of the answer. A retry-after in here counts as `reject.retry_after`." },
  { "reject.retry_after?", "number|sluice.Duration", "Seconds, or a duration: when it makes sense to ask again. Sent as Retry-After, rounded up." },

  { "sluice.reply", "(text: string|sluice.Answer): sluice.Verdict",
    "A normal, complete answer without a model: a canned text, a polite refusal, the answer to a preflight. It does not pass the filters.",
    params = { text = "The text, or a table." },
    errors = { "a field that is unknown or of the wrong kind", "a filter may not return it: use sluice.stop there" },
    example = [[
function P.validate(req)
  if req:last_user() == "ping" then return sluice.reply "pong" end
end]] },
  { "reply.text?", "string", "The answer's text; nothing by default." },
  { "reply.status?", "integer", "The HTTP status, from 200 to 599; 200 by default. With another one the text is the body as it is, not in the client's dialect." },
  { "reply.finish?", "string", 'Why the answer is over, for clients and the log; "stop" by default.' },

  { "sluice.stop", "(ending?: string|sluice.End): sluice.Verdict",
    "Ends this answer cleanly: what stands before it still passes the other filters, then comes `text`, then the end mark. The model is told to stop.",
    params = { ending = "The last text, or a table { reason =, text = }." },
    errors = { "a field that is unknown or of the wrong kind", "only filters may return it" },
    example = [[
P.filter = { match = { "END OF ANSWER" }, replace = function() return sluice.stop { reason = "stop" } end }]] },
  { "stop.reason?", "string", 'Why the answer is over: "stop" (the default), "length", "content_filter" or a word of yours.' },
  { "stop.text?", "string", "What is still sent before the end; nothing by default." },

  { "sluice.drop", "sluice.Verdict", "From a filter: this text is not sent. The same as returning \"\".",
    example = [[P.filter = { unit = "line", text = function(line) if line:find "^DEBUG" then return sluice.drop end end }]] },
}
