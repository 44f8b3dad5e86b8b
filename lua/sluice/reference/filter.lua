-- Filters: what becomes of the answer's text.
return {
  title = "Filters",
  text = "A filter sees text, valid UTF-8, per channel. Where the model cut it means nothing: a filter must give the same result for any cutting. Text that was let go "
    .. "is final; text that is held was not sent. There are three kinds: match and replace, a unit with text or check, and raw text. A call has 20 ms of processor "
    .. "time and 2 s for waits.",
  classes = {
    { "filter", "sluice.Filter", "What becomes of the answer's text.", exact = true },
    { "channel", "sluice.Channel", "What text is: the answer itself, or what comes with it.", alias = true },
    { "unit", "sluice.Unit", "How text is cut for a filter.", alias = true, more = "{ chars: integer, overlap?: integer }" },
    { "part", "sluice.Part", "Where a piece of text belongs.", exact = true },
  },

  { "filter.match?", "sluice.Matcher|string|(sluice.Matcher|string)[]|fun(ctx: sluice.Context): sluice.Matcher",
    "What to find: a matcher, a Lua pattern, a list of these, or a function that is asked once a block. Nothing waits that could not become a match.",
    errors = { "with text or check in the same filter: write a list of filters", "a pattern that can match nothing" },
    example = [[
P.filter = {
  match   = { sluice.match.email, sluice.match.regex "proj-[0-9]{1,8}" },
  replace = function(m) return "[" .. m.kind .. " removed]" end,
}]] },
  { "filter.replace?", "string|(async fun(m: sluice.Match, ctx: sluice.Context): (string|sluice.Verdict|nil))",
    "What stands in for a match: a text, or a function; nil leaves the match as it is, sluice.stop ends the answer before it.",
    example = [[P.filter = { match = { "%d%d%d%d+" }, replace = "####" }]] },
  { "filter.text?", "async fun(text: string, ctx: sluice.Context, part: sluice.Part): released: string|sluice.Verdict|nil, held: string?, moved: string?",
    "Returns what becomes of the text: nil leaves it, \"\" drops it, sluice.stop ends the answer there, sluice.reject fails it. Raw (no unit): gets what it held, then the new "
    .. "text, and may return a second text that is held until more comes; nil and a held text hold that ending back. Raw on content: a third "
    .. "text goes to the reasoning channel, through the filters there that are nearer to the client.",
    params = { text = "With a unit: one unit. Raw: what was held, then the new text.", ctx = "This request.", part = "`part.channel`, `part.last`." },
    errors = { "a held text, or one to move, from a filter with a unit", "a text to move from a filter on another channel than content", "text that is no valid UTF-8" },
    example = [[
P.filter = {
  text = function(text, _, part)                  -- "(c)" may be cut anywhere
    local clean = text:gsub("%(c%)", "©")
    local open = part.last and 0 or #(clean:match "%(c?$" or "")
    return clean:sub(1, #clean - open), clean:sub(#clean - open + 1)
  end,
}]] },
  { "filter.check?", "async fun(text: string, ctx: sluice.Context, part: sluice.Part): sluice.Verdict?",
    "Only judges: nothing leaves before its check has returned. With `filter.unit`; { chars =, overlap = } shows it the end of the piece before again.",
    params = { text = "One unit.", ctx = "This request.", part = "`part.channel`, `part.last`." }, returns = "nothing, sluice.stop or sluice.reject",
    example = [[
P.filter = {
  unit  = "sentence",
  check = function(text)
    if text:find("forbidden", 1, true) then return sluice.stop { reason = "content_filter" } end
  end,
}]] },
  { "filter.parallel?", "integer", "For check: so many checks of one block may run at a time, 1 to 16; 1 by default. What they judge leaves in order, each piece after its check; "
    .. "what stands behind a stop never leaves. For checks that wait for a service.",
    errors = { "without check" },
    example = [[
local judge = sluice.service "judge"
P.filter = {
  unit = "sentence", parallel = 4,
  check = function(text)
    local res = judge:post("/", { json = { text = text } })
    if not res or res.status ~= 200 then return sluice.stop { reason = "content_filter" } end
  end,
}]] },
  { "filter.optimistic?", "boolean", "For check: text leaves as it comes, before its check is over; only the end of the answer waits for all checks. What a stop or a reject comes too "
    .. "late for was seen by the client: whatever the model said while `filter.parallel` checks (4 by default) were on their way. For judges whose no may come late.",
    errors = { "without check" },
    example = [[
P.filter = {
  unit = { chars = 400, overlap = 60 }, optimistic = true,
  check = function(text)
    sluice.sleep "200ms"                            -- a judge, say
    if text:find("forbidden", 1, true) then return sluice.stop { reason = "content_filter" } end
  end,
}]] },
  { "filter.on?", "sluice.Channel|sluice.Channel[]", "The channels; content, reasoning and refusal by default.",
    example = [[P.filter = { on = { "reasoning" }, text = function() return "" end }]] },
  { "filter.unit?", "sluice.Unit|fun(ctx: sluice.Context): sluice.Unit", 'How text is cut for text and check; a function is asked once a block. "delta" by default.',
    example = [[P.filter = { unit = { chars = 400, overlap = 60 }, check = function(text) if #text > 9999 then return sluice.stop() end end }]] },
  { "filter.when?", "fun(ctx: sluice.Context): boolean?", "Whether the filter applies, asked once a block, before its first text; it may not wait.",
    params = { ctx = "This request." },
    example = [[
P.filter = {
  when = function(ctx) return ctx.vars.strict end,
  match = { sluice.match.phone }, replace = "[phone]",
}]] },
  { "filter.max_hold?", "sluice.Size", 'The most that is held back of one block; "64kb" by default. What happens then says `filter.overflow`.',
    example = [[P.filter = { max_hold = "8kb", match = { sluice.match.private_key }, replace = "[key]" }]] },
  { "filter.overflow?", '"stop"|"release"', '"stop" (the default): the answer ends with policy_error. "release": decided as if the block ended here.' },

  { "filter.raw_json?", "boolean", "Needed for text on the channel tool_args: such a filter sees JSON, and must leave JSON.",
    example = [[P.filter = { on = { "tool_args" }, raw_json = true, text = function(text) return (text:gsub("\\u0000", "")) end }]] },

  { "filter.changes?", "boolean", "For text: false says that it only looks, and never returns another text than it was shown, which is then an error. Clients may have logprobs beside such "
    .. "a filter (and beside check); beside one that may change the text they are refused, since they would tell it as it was.", errors = { "without text" },
    example = [[P.filter = { changes = false, text = function(text, ctx) ctx.state.seen = (ctx.state.seen or 0) + #text end }]] },

  { "channel.content", '"content"', "The answer." },
  { "channel.reasoning", '"reasoning"', "What the model thinks before it answers, where its provider tells it." },
  { "channel.refusal", '"refusal"', "The model's refusal, where its provider tells it apart." },

  { "channel.tool_args", '"tool_args"', "The arguments of tool calls, as JSON; only when `filter.on` names it. What replaces a match is escaped as JSON strings are." },

  { "unit.delta", '"delta"', "As the text comes; any cutting." },
  { "unit.word", '"word"', "A word with the white space behind it." },
  { "unit.line", '"line"', "A line with its end." },
  { "unit.sentence", '"sentence"', "A sentence with the white space behind it." },
  { "unit.paragraph", '"paragraph"', "Up to an empty line." },
  { "unit.all", '"all"', "The whole block: nothing leaves before it is complete." },

  { "part.channel", "sluice.Channel", "Which channel the text is of." },
  { "part.last", "boolean", "Nothing follows in this block: what is held now would be lost, so it is let go." },
}
