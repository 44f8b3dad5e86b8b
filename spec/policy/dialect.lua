-- For specs of dialects: calls a dialect's functions in the sandbox (policies/dialect.lua). Values are JSON, compared exactly.
--
--   local d = require("spec.policy.dialect") "anthropic"
--   local said, why = d.ask { calls = { { "front", "read", "@req" } }, body = "{}" }
local assert = require "luassert"
local t = require "sluice.testing"
local json = require "sluice.testing.json"

local function decode(text) return (json.decode(text, 1, json.null)) end

-- want: a JSON text; got: what it says, decoded.
local function same(want, got) assert.equal(json.encode(decode(want)), json.encode(got)) end

return function(name)
  local g = t.load { policies = { { "policies.dialect", dialect = name } }, dir = "spec/policy" }
  local d = { same = same }

  -- What policies/dialect.lua replies; or nil and the error.
  function d.ask(params)
    local r = g:chat { user = "x", params = params }
    if r.status == 200 then return decode(r.text) end
    return nil, r.error
  end

  -- A client's body -> what of it the core sees; or nil and the error.
  function d.read(body, headers)
    local said, why = d.ask { calls = { { "front", "read", "@req" } }, body = body, headers = headers and json.object(headers) }
    return said and said.req, why
  end

  -- A canonical request -> what the upstream is asked; or nil and the error.
  function d.request(req, model)
    local said, why = d.ask { calls = { { "provider", "request", req, model or '{"model":"claude-x"}' } } }
    return said and said.returned[1][1], why
  end

  return d
end
