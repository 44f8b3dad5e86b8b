-- math.random: an exchange draws its own numbers, the same for the same id, so that what is asked again draws again what it drew.
local t = require "sluice.testing"

local function gateway(lua)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://up.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(lua) })
end

describe("math.random", function()
  it("draws alike whenever the exchange is asked again, so shaking does not mind", function()
    local g = gateway "function P.validate(_, ctx) ctx.state.n = math.random(1000000) end P.filter = { text = function(text, ctx) return (text:gsub('#', tostring(ctx.state.n))) end }"
    local r = g:ask { q = "x", upstream = { "drawn: ", "#", " and again #" } }
    assert.matches("^drawn: %d+ and again %d+$", r.text)
    local other = g:ask { q = "x", upstream = { "drawn: ", "#", " and again #" } }
    assert.not_equal(r.text, other.text)
  end)

  it("keeps to its bounds, and reaches all of them", function()
    local g = gateway [[
function P.validate()
  local seen, sum = {}, 0
  for _ = 1, 4000 do
    local n, f = math.random(-2, 3), math.random()
    assert(math.type(n) == "integer" and n >= -2 and n <= 3)
    assert(math.type(f) == "float" and f >= 0 and f < 1)
    seen[n], sum = (seen[n] or 0) + 1, sum + f
  end
  for n = -2, 3 do assert(seen[n] > 500, n) end
  assert(sum > 1800 and sum < 2200)
  for _ = 1, 100 do assert(math.random(1) == 1) end
  assert(math.type(math.random(0)) == "integer")
  assert(math.random(math.mininteger, math.maxinteger))
  return sluice.reply "good"
end]]
    assert.equal("good", g:ask({ q = "x" }).text)
  end)

  for call, said in pairs { ["math.random(2, 1)"] = "interval is empty", ["math.random(1.5)"] = "whole numbers", ["math.random(1, 2, 3)"] = "number of arguments", ["math.random(0, 'x')"] = "whole numbers" } do
    it("refuses " .. call .. " at its line", function()
      local r = gateway("function P.validate()\n  return " .. call .. "\nend"):ask { q = "x" }
      assert.equal("policy_error", r.error.code)
      assert.matches(said, r.logs[1].message)
      assert.matches(":4: ", r.logs[1].message)
    end)
  end
end)
