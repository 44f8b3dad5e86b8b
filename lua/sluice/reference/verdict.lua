-- What a hook returns to say more than "go on".
return {
  title = "Verdicts",
  text = "A hook that returns nothing lets things go on. A verdict ends the request or the answer; it may also be raised: `error(sluice.reject(...))`.",
  classes = {
    { "reject", "sluice.Refusal", "What sluice.reject takes as a table.", exact = true },
    { "reply", "sluice.Answer", "What sluice.reply takes as a table.", exact = true },
    { "block", "sluice.AnswerBlock", "A piece of a reply: text of one channel, or a tool call.", exact = true },
    { "block_tool", "sluice.AnswerTool", "A tool call of a reply.", exact = true },
    { "reply_usage", "sluice.AnswerUsage", "What clients are told of the tokens used by a reply.", exact = true },
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
    "A normal, complete answer without a model. A text is a policy's own word (a canned text, a polite refusal, the answer to a preflight) and leaves as it is. "
    .. "`blocks` are an answer in place of the model's, such as one that was kept: gates are waited for, and the filters, tool_call and finish hooks of the policies "
    .. "nearer to the client see it as they would see the model's.",
    params = { text = "The text, or a table." },
    errors = { "a field that is unknown or of the wrong kind", "a filter may not return it: use sluice.stop there", "accept and gates may not reply with blocks" },
    example = [[
function P.validate(req)
  if req:last_user() == "ping" then return sluice.reply "pong" end
  if req:last_user() == "weather" then
    return sluice.reply { blocks = { { text = "I look." }, { tool = { name = "weather", arguments = { city = "Bern" } } } }, finish = "tool_calls" }
  end
end]] },
  { "reply.text?", "string", "The answer's text; nothing by default." },
  { "reply.status?", "integer", "The HTTP status, from 200 to 599; 200 by default. With another one the text is the body as it is, not in the client's dialect." },
  { "reply.finish?", "string", 'Why the answer is over, for clients and the log; "stop" by default.' },
  { "reply.blocks?", "sluice.AnswerBlock[]", "A whole answer, in order: at most 1000 blocks, 64 of them tool calls. Not with `reply.text`." },
  { "reply.usage?", "sluice.AnswerUsage", "With `reply.blocks`: what was used; an estimate without it." },
  { "block.channel?", "sluice.Channel", '"content" (the default), "reasoning" or "refusal".' },
  { "block.text?", "string", "Its text; valid UTF-8. It leaves in pieces of a kilobyte, so that a slow client is waited for." },
  { "block.tool?", "sluice.AnswerTool", "A tool call in place of text." },
  { "block_tool.id?", "string", "Its id; one is made without it." },
  { "block_tool.name", "string", "The tool's name." },
  { "block_tool.arguments?", "string|table<string, any>", "Its arguments, as JSON or as a table; none by default." },
  { "reply_usage.input?", "integer", "Tokens of the prompt." },
  { "reply_usage.output?", "integer", "Tokens of the answer." },
  { "reply_usage.cached?", "integer", "Tokens of the prompt that came out of a provider's cache." },
  { "reply_usage.cache_written?", "integer", "Tokens of the prompt that were put into a provider's cache." },
  { "reply_usage.reasoning?", "integer", "Tokens of reasoning." },

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
