-- Bounds on how much is asked and answered.
--
--   sluice.parts.limits { input_tokens = 4000, output_chars = 20000 }
local sluice = require "sluice"

local P = sluice.policy {
  name = "limits",
  api  = 1,
  doc  = "Refuses prompts that are too long, ends answers that become too long.",
  options = {
    input_tokens = { type = "integer", min = 1, doc = "Most tokens of a prompt, estimated; beyond: 413." },
    output_chars = { type = "integer", min = 1, doc = "Most characters of an answer; there it ends with the reason \"length\"." },
  },
}

function P.prompt(req, ctx)
  local most = ctx.options.input_tokens
  if most and req:tokens() > most then
    return sluice.reject(413, "prompt_too_long", ("The question is too long: about %d tokens; the limit is %d."):format(req:tokens(), most))
  end
end

function P.attempt(_, ctx) ctx.state.left = nil end      -- another try begins a new answer

P.filter = {
  on   = { "content" },
  when = function(ctx) return ctx.options.output_chars ~= nil end,
  text = function(text, ctx)
    local left = ctx.state.left or ctx.options.output_chars
    if left == 0 then
      if text ~= "" then return sluice.stop { reason = "length" } end
      return
    end
    local n = utf8.len(text)
    ctx.state.left = math.max(left - n, 0)
    if n <= left then return end
    return text:sub(1, utf8.offset(text, left + 1) - 1)    -- what follows ends the answer
  end,
}

return P
