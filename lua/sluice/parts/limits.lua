-- Bounds on how much is asked and answered, and on how long that takes.
--
--   sluice.parts.limits { input_tokens = 4000, output_chars = 20000, duration = "45s" }
--
-- The duration is looked at whenever text arrives: a model that falls silent is left to timeout.gap, which ends the stream with an error.
local sluice = require "sluice"

local P = sluice.policy {
  name = "limits",
  api  = 1,
  doc  = "Refuses prompts that are too long, ends answers that become too long or take too long.",
  options = {
    input_tokens = { type = "integer", min = 1, doc = "Most tokens of a prompt, estimated; beyond: 413." },
    output_chars = { type = "integer", min = 1, doc = "Most characters of an answer; there it ends with the reason \"length\"." },
    duration     = { type = "duration", min = 1, doc = "How long a request may take; an answer that goes on then ends with the reason \"length\"." },
  },
}

function P.prepare(o) return o.duration and sluice.duration(o.duration) end

function P.prompt(req, ctx)
  local most = ctx.options.input_tokens
  if most and req:tokens() > most then
    return sluice.reject(413, "prompt_too_long", ("The question is too long: about %d tokens; the limit is %d."):format(req:tokens(), most))
  end
end

function P.attempt(try, ctx)
  if not try.continues then ctx.state.left, ctx.state.cut = nil, nil end     -- another try begins a new answer
end

local function ends() return sluice.stop { reason = "length" } end

P.filter = {
  {
    when = function(ctx) return ctx.options.duration ~= nil end,
    text = function(text, ctx)
      if text ~= "" and ctx.elapsed >= ctx.prepared then return ends() end
    end,
  },
  {
    on   = { "content" },
    when = function(ctx) return ctx.options.output_chars ~= nil end,
    text = function(text, ctx)
      local left = ctx.state.left or ctx.options.output_chars
      if left == 0 and text ~= "" then return ends() end
      local n = utf8.len(text)
      ctx.state.left = math.max(left - n, 0)
      if n <= left then return end
      ctx.state.cut = true
      return text:sub(1, utf8.offset(text, left + 1) - 1)      -- it still passes the filters before the client; what follows ends the answer
    end,
  },
}

function P.finish(_, ctx)                              -- nothing followed what was cut
  if ctx.state.cut then return ends() end
end

return P
