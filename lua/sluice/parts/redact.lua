-- Personal data never reaches the model; the user's own comes back in the answer, and what the model makes up is removed.
--
--   sluice.parts.redact { match = { sluice.match.email, sluice.match.regex("proj-[0-9]+", "project") }, restore = true }
local sluice = require "sluice"
local match = sluice.match

local P = sluice.policy {
  name = "redact",
  api  = 1,
  doc  = "Swaps what is found for placeholders on the way up and back again on the way down.",
  options = {
    match   = { type = "matcher", default = { match.email, match.card, match.iban, match.phone }, doc = "What is personal." },
    restore = { type = "boolean", default = true, doc = "Put the user's own data back into the answer. A model told to put <EMAIL_1> into a link then puts the user's address there." },
    removed = { type = "string", default = "[%s removed]", doc = "What stands in for data that the model made up; %s is its kind." },
  },
}

local function placeholder(s, m)
  s.real, s.mask, s.n = s.real or {}, s.mask or {}, s.n or 0
  if not s.mask[m.text] then
    s.n = s.n + 1
    local name = ("<%s_%d>"):format(m.kind:upper():gsub("%W", "_"), s.n)
    s.mask[m.text], s.real[name] = name, m.text
  end
  return s.mask[m.text]
end

function P.prompt(req, ctx)
  req:map_text(function(text)
    return (ctx.options.match:gsub(text, function(m) return placeholder(ctx.state, m) end))
  end)
end

-- What the model came up with by itself.
local function removed(m, ctx)
  ctx.state.removed = (ctx.state.removed or 0) + 1
  return (ctx.options.removed:gsub("%%s", (m.kind:gsub("%%", "%%%%"))))
end

-- Our own placeholders, back to what the user wrote; others are nobody's: nil leaves them.
local PLACEHOLDER = match.regex("<[A-Z0-9_]{1,40}_[0-9]{1,6}>", "placeholder")
local function restores(ctx) return ctx.options.restore and (ctx.state.n or 0) > 0 end
local function restored(m, ctx) return ctx.state.real[m.text] end

P.filter = {
  { match = function(ctx) return ctx.options.match end, replace = removed },
  { when = restores, match = PLACEHOLDER, replace = restored },
}

-- The arguments of a call are JSON, in which "@" may be written as \u0040: they are looked at decoded.
function P.tool_call(call, ctx)
  call:map_text(function(text)
    local clean = ctx.options.match:gsub(text, function(m) return removed(m, ctx) end)
    return restores(ctx) and (PLACEHOLDER:gsub(clean, function(m) return restored(m, ctx) end)) or clean
  end)
end

-- The sentence of a failure may be the upstream's own.
function P.error(err, ctx)
  local clean, n = ctx.options.match:gsub(err.message, function(m) return removed(m, ctx) end)
  if n > 0 then return { message = clean } end
end

function P.log(_, ctx)
  if ctx.state.n then ctx:tag("redact_masked", ctx.state.n) end
  if ctx.state.removed then ctx:tag("redact_removed", ctx.state.removed) end
end

return P
