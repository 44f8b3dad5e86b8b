-- policies/front_door.lua: who may talk to us, from which page, with what.
local sluice = require "sluice"

local P = sluice.policy {
  name = "front_door",
  api  = 1,
  doc  = "CORS, size and shape checks. Runs before any other policy.",
  options = {
    origins      = { type = "list",    default = {},         doc = "Browser origins; '*.example.com' is any subdomain." },
    methods      = { type = "string",  default = "GET, POST, OPTIONS", doc = "What a preflight allows." },
    max_messages = { type = "integer", default = 100,        doc = "Longest conversation we accept." },
    max_tokens   = { type = "integer", default = 4096,       doc = "Upper bound for max_tokens." },
    models       = { type = "list",    default = { "fast" }, doc = "Model names a client may ask for." },
  },
}

local function origin_allowed(origin, list)
  for _, o in ipairs(list) do
    if o == origin then return true end
    local suffix = o:match("^%*(%..+)$")
    if suffix and origin:sub(-#suffix) == suffix then return true end
  end
  return false
end

function P.accept(head, ctx)                       -- headers only, the body is not read yet
  local origin = head.headers.origin
  if not origin then return end                    -- not a browser, or our own page
  if not origin_allowed(origin, ctx.options.origins) then
    return sluice.reject { status = 403, code = "origin_not_allowed", message = "This page may not use the API." }
  end
  ctx:header("access-control-allow-origin", origin)
  ctx:header("vary", "Origin")
  if head.method == "OPTIONS" then
    ctx:header("access-control-allow-methods", ctx.options.methods)
    ctx:header("access-control-allow-headers", "authorization, content-type")
    return sluice.reply { status = 204 }
  end
end

function P.validate(req, ctx)
  local o = ctx.options
  if #req.messages == 0 then
    return sluice.reject(400, "messages_empty", "messages must hold at least one message.")
  end
  if #req.messages > o.max_messages then
    return sluice.reject(400, "messages_too_many", ("%d messages; the limit is %d."):format(#req.messages, o.max_messages))
  end
  local known = req.model == nil                   -- who names none gets the route's
  for _, m in ipairs(o.models) do known = known or m == req.model end
  if not known then
    return sluice.reject(404, "model_not_found", ("There is no model %q here."):format(tostring(req.model)))
  end
  if (tonumber(req.params.max_tokens) or 0) > o.max_tokens then
    req.params.max_tokens = o.max_tokens           -- clamp, do not fail
  end
  if req.params.logit_bias then
    return sluice.reject(400, "param_not_allowed", "logit_bias is switched off here.")
  end
end

return P
