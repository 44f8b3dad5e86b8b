-- policies/pii.lua: personal data never reaches the model; the user still sees it in the answer.
local sluice = require "sluice"
local match = sluice.match

local P = sluice.policy {
  name = "pii",
  api  = 1,
  doc  = "Swaps personal data for placeholders on the way up and back again on the way down.",
  options = {
    restore = { type = "boolean", default = true, doc = "Put the user's own data back into the answer. A model told to put <EMAIL_1> into a link then puts the user's address there." },
  },
}

local PERSONAL = match.any { match.email, match.card, match.phone }      -- at one place, the first of the list that fits

-- The placeholder of what was found; the same text has the same one all through a request.
local function placeholder(m, ctx)
  local s = ctx.state                                -- of this request, and of this policy alone
  s.to_real, s.to_mask, s.n = s.to_real or {}, s.to_mask or {}, s.n or 0
  if not s.to_mask[m.text] then
    s.n = s.n + 1
    local mask = ("<%s_%d>"):format(m.kind:upper(), s.n)
    s.to_mask[m.text], s.to_real[mask] = mask, m.text
  end
  return s.to_mask[m.text]
end

function P.prompt(req, ctx)
  req:map_text(function(text)
    return (PERSONAL:gsub(text, function(m) return placeholder(m, ctx) end))
  end)
end

P.filter = {
  -- in this order, from the model to the client:
  { -- 1. personal data that the model came up with by itself
    match   = PERSONAL,
    replace = function(m, ctx)
      ctx.state.found = (ctx.state.found or 0) + 1
      return "[" .. m.kind .. " removed]"
    end,
  },
  { -- 2. our own placeholders back to what the user wrote
    when    = function(ctx) return ctx.options.restore and (ctx.state.n or 0) > 0 end,
    match   = match.regex("<[A-Z]{4,5}_[0-9]{1,6}>", "placeholder"),
    replace = function(m, ctx) return ctx.state.to_real[m.text] end,     -- nil: not ours, leave it
  },
}

function P.log(_, ctx)
  ctx:tag("pii_masked", ctx.state.n or 0)
  ctx:tag("pii_removed", ctx.state.found or 0)
end

return P
