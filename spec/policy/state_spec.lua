-- State that workers share and reloads keep.
local t = require "sluice.testing"

local function gateway(lua)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(lua) })
end

describe("sluice.counter", function()
  it("counts, for all worlds of one name", function()
    local lua = [[
local seen = sluice.counter("spec_seen", { window = "1d" })
function P.validate(req) return sluice.reply(("%d"):format(seen:add(req.query.q))) end]]
    local g = gateway(lua)
    assert.equal("1", g:ask({ q = "a", no_shake = true }).text)
    assert.equal("2", g:ask({ q = "a", no_shake = true }).text)
    assert.equal("1", g:ask({ q = "b", no_shake = true }).text)
    assert.equal("3", gateway(lua):ask({ q = "a", no_shake = true }).text)
  end)

  it("reserves the worst case and settles what it was", function()
    local g = gateway [[
local spend = sluice.counter("spec_spend", { window = "1h" })
function P.validate(req, ctx)
  local held, retry_in = spend:reserve("key", 6, 10)
  if not held then return sluice.reject { status = 429, code = "budget_used_up", message = "No.", retry_after = retry_in } end
  ctx.state.held = held
end
function P.log(sum, ctx)
  if ctx.state.held then ctx.state.held:settle(sum.tokens) end
end]]
    assert.equal(200, g:ask({ q = "x", upstream = { "a", "b", "c" }, no_shake = true }).status)      -- costs 3
    assert.equal(200, g:ask({ q = "x", upstream = { "a", "b" }, no_shake = true }).status)           -- 5 in all
    local r = g:ask { q = "x" }
    assert.equal(429, r.status)
    assert.equal("budget_used_up", r.error.code)
    assert.is_true(tonumber(r.headers["retry-after"]) > 0)
  end)

  it("gives back what was never settled", function()
    local lua = [[
local spend = sluice.counter("spec_unsettled", { window = "1h" })
function P.validate() return sluice.reply(spend:reserve("key", 6, 10) and "reserved" or "refused") end]]
    local g = gateway(lua)
    assert.equal("reserved", g:ask({ q = "x" }).text)
    g:close()
    assert.equal("reserved", gateway(lua):ask({ q = "x" }).text)
  end)

  it("says what it was given in vain", function()
    for lua, said in pairs {
      ['sluice.counter("")'] = "takes a name", ['sluice.counter("a", { windows = "1d" })'] = 'no field "windows"', ['sluice.counter("a", { window = "0s" })'] = "longer than nothing",
      ['sluice.counter("a", { window = "1 fortnight" })'] = "window: ",
    } do
      local g, why = t.load { source = 'local sluice = require "sluice"\n' .. lua .. '\nreturn sluice.config { api = 1, listen = ":0", routes = { a = { path = "/", files = "." } } }' }
      assert.is_nil(g)
      assert.matches(said, why)
    end
  end)

  it("numbers that are none are errors of the policy, not of the gateway", function()
    for _, call in ipairs {
      'c:add("k", 0/0)', 'c:add("k", 1/0)', 'c:reserve("k", -1, 5)', 'c:reserve("k", 1)', "c:get()", 'c.add("k")', 'c:reserve("k", 1, 5):settle(-1)',
      'c:reserve("k", 1, 5).settle(1)',
    } do
      local g = gateway('local c = sluice.counter("spec_bad")\nfunction P.validate() ' .. call .. " end")
      assert.equal("policy_error", g:ask({ q = "x" }).error.code)
    end
  end)
end)
