-- Cross-origin rules: which web pages may use a route, and the preflight's answer. It stands first: refusals of later
-- policies then carry its headers too, and pages can read them.
--
--   sluice.parts.cors { origins = { "https://app.example.com", "*.example.org" } }
local sluice = require "sluice"

local P = sluice.policy {
  name = "cors",
  api  = 1,
  doc  = "Lets pages of the listed origins read the answers and answers their preflights.",
  options = {
    origins = { type = "list", required = true, doc = 'Origins such as "https://app.example.com"; "*.example.com" is any subdomain, "*" any page.' },
    methods = { type = "list", default = { "GET", "HEAD", "POST", "OPTIONS" }, doc = "Methods that a preflight allows." },
    headers = {
      type = "list", doc = 'Request headers that a preflight allows; "x-stainless-*" is all that begin so.',
      default = { "authorization", "content-type", "last-event-id", "x-api-key", "api-key", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access",
        "openai-organization", "openai-project", "x-stainless-*" },          -- what the SDKs of OpenAI and Anthropic send
    },
    expose  = {
      type = "list", doc = "Answer headers that pages may read.",
      default = { "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "X-Request-Id", "X-Should-Retry", "X-Sluice-Error", "X-RateLimit-Limit-Requests",
        "X-RateLimit-Remaining-Requests", "X-RateLimit-Reset-Requests", "X-RateLimit-Limit-Tokens", "X-RateLimit-Remaining-Tokens" },
    },
    max_age = { type = "duration", default = "10m", doc = "How long a browser may remember a preflight." },
    credentials = { type = "boolean", default = false, doc = "Whether pages may send cookies; not with origins of \"*\"." },
  },
}

local function allowed(origin, list)
  for _, o in ipairs(list) do
    if o == "*" then return "*" end
    if o == origin then return origin end
    local scheme, suffix = o:match("^(%a*:?/?/?)%*(%..+)$")
    if suffix and origin:sub(-#suffix) == suffix and origin:sub(1, #scheme) == scheme then return origin end
  end
end

local function is_listed(name, list)
  for _, known in ipairs(list) do
    known = known:lower()
    local prefix = known:match "^(.+)%*$"
    if name == known or prefix and name:sub(1, #prefix) == prefix then return true end
  end
end

-- What a preflight is told of headers: the list, and of those that it names each that an entry such as "x-stainless-*" stands for.
local function allowed_headers(head, list)
  local out, seen = {}, {}
  local function add(name)
    if not seen[name] then out[#out + 1], seen[name] = name, true end
  end
  for _, name in ipairs(list) do
    if not name:find("*", 1, true) then add(name:lower()) end
  end
  for name in (head.headers["access-control-request-headers"] or ""):lower():gmatch "[%w%-_]+" do
    if is_listed(name, list) then add(name) end
  end
  return table.concat(out, ", ")
end

function P.accept(head, ctx)
  local origin = head.headers.origin
  local o = ctx.options
  local preflight = head.method == "OPTIONS" and head.headers["access-control-request-method"] ~= nil
  local answer = allowed(origin or "", o.origins)

  if answer ~= "*" then ctx:header("Vary", "Origin") end                -- the answer differs by page: caches must know
  if not origin then return end                                        -- not a page
  if not answer and origin:match("^%a+://(.+)$") == head.headers.host then return end      -- our own page
  if not answer then
    return sluice.reject(403, "origin_not_allowed", "this page may not use the API")
  end
  if answer == "*" and o.credentials then answer = origin; ctx:header("Vary", "Origin") end
  ctx:header("Access-Control-Allow-Origin", answer)
  if o.credentials then ctx:header("Access-Control-Allow-Credentials", "true") end
  if preflight then
    ctx:header("Access-Control-Allow-Methods", table.concat(o.methods, ", "))
    ctx:header("Access-Control-Allow-Headers", allowed_headers(head, o.headers))
    ctx:header("Access-Control-Max-Age", tostring(sluice.duration(o.max_age) // 1000))
    return sluice.reply { status = 204 }
  end
  if #o.expose > 0 then ctx:header("Access-Control-Expose-Headers", table.concat(o.expose, ", ")) end
end

return P
