-- Keys and tokens neither reach the model nor come back from it.
--
--   sluice.parts.mask_secrets {}
--   sluice.parts.mask_secrets { match = { sluice.match.secret_key, sluice.match.regex "tok_[a-z0-9]{20}" } }
local sluice = require "sluice"
local match = sluice.match

local P = sluice.policy {
  name = "mask_secrets",
  api  = 1,
  doc  = "Replaces API keys, JSON web tokens and private keys, in both directions.",
  options = {
    match = { type = "matcher", default = { match.private_key, match.jwt, match.aws_key, match.secret_key }, doc = "What is secret." },
    mask  = { type = "string", default = "[secret removed]", doc = "What stands in for it." },
  },
}

local function masked(_, ctx)
  ctx.state.n = (ctx.state.n or 0) + 1
  return ctx.options.mask
end

local function clean(text, ctx)
  return ctx.options.match:gsub(text, function(m) return masked(m, ctx) end)
end

function P.prompt(req, ctx) req:map_text(function(text) return (clean(text, ctx)) end) end

P.filter = { match = function(ctx) return ctx.options.match end, replace = masked }

-- The arguments of a call are JSON: they are looked at decoded, whatever stands in them as an escape.
function P.tool_call(call, ctx) call:map_text(function(text) return (clean(text, ctx)) end) end

-- The sentence of a failure may be the upstream's own.
function P.error(err, ctx)
  local text, n = clean(err.message, ctx)
  if n > 0 then return { message = text } end
end

function P.log(_, ctx)
  if ctx.state.n then ctx:tag("secrets_masked", ctx.state.n) end
end

return P
