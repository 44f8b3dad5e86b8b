-- The part cors: which pages may ask, what a preflight is told, what pages may read of an answer.
local t = require "sluice.testing"

local function gateway(options)
  return assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = function(_, out) out:text "hi" end },
  routes = { chat = { path = "/v1/chat/completions", target = "m", policies = { sluice.parts.cors { %s } } } } }
]]):format(options) })
end

local function preflight(g, origin, wanted)
  return g:ask { method = "OPTIONS", path = "/v1/chat/completions", no_shake = true,
    headers = { host = "gateway.test", origin = origin, ["access-control-request-method"] = "POST", ["access-control-request-headers"] = wanted } }
end

local function set_of(list)
  local set = {}
  for name in list:gmatch "[^, ]+" do set[name] = true end
  return set
end

describe("a preflight", function()
  it("allows what the SDKs in browsers send, by name and by x-stainless-*", function()
    local r = preflight(gateway 'origins = { "https://app.test" }', "https://app.test", "Authorization,content-type, x-stainless-lang,x-stainless-retry-count,x-evil,anthropic-version")
    assert.equal(204, r.status)
    assert.equal("https://app.test", r.headers["access-control-allow-origin"])
    local allowed = set_of(r.headers["access-control-allow-headers"])
    for _, name in ipairs { "authorization", "content-type", "x-stainless-lang", "x-stainless-retry-count", "anthropic-version", "x-api-key" } do assert.is_true(allowed[name], name) end
    assert.is_nil(allowed["x-evil"])
    assert.is_nil(allowed["x-stainless-*"], "a browser takes no patterns")
    assert.truthy(r.headers["access-control-allow-methods"]:find("POST", 1, true))
  end)

  it("of another page is refused", function()
    local r = preflight(gateway 'origins = { "https://app.test", "https://*.apps.test" }', "https://evil.test", "authorization")
    assert.equal(403, r.status)
    assert.is_nil(r.headers["access-control-allow-origin"])
    assert.equal(204, preflight(gateway 'origins = { "https://*.apps.test" }', "https://a.apps.test").status)
    assert.equal(403, preflight(gateway 'origins = { "https://*.apps.test" }', "http://a.apps.test").status)
  end)

  it("allows the headers that the operator lists, and no others", function()
    local r = preflight(gateway 'origins = { "*" }, headers = { "X-Mine", "x-a-*" }', "https://any.test", "x-mine,x-a-b,authorization")
    assert.same({ ["x-mine"] = true, ["x-a-b"] = true }, set_of(r.headers["access-control-allow-headers"]))
  end)
end)

it("an answer may be read, with what tells of retries and limits", function()
  local r = gateway('origins = { "*" }'):ask { method = "POST", path = "/v1/chat/completions", headers = { host = "g", origin = "https://any.test", ["content-type"] = "application/json" },
    body = '{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}' }
  assert.equal(200, r.status)
  local exposed = set_of(r.headers["access-control-expose-headers"]:lower())
  for _, name in ipairs { "x-request-id", "retry-after", "x-should-retry", "x-sluice-error", "x-ratelimit-remaining-tokens", "ratelimit-remaining" } do assert.is_true(exposed[name], name) end
end)
