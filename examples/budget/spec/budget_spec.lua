-- The policy alone, then the gateway: `build/sluice test examples/budget/spec`.
local t = require "sluice.testing"

local PRICES = { smart = { input = 3, output = 15 }, ["local"] = { input = 0, output = 0 }, fast = { input = 1, output = 2 } }

describe("budget", function()
  before_each(t.forget)

  local function load(daily_usd) return t.load { policies = { { "policies.budget", daily_usd = daily_usd, prices = PRICES } }, target = { "smart", "local" } } end
  local function usage(input, output) return { usage = { input = input, output = output } } end

  it("counts what the model reports", function()
    local g = load(1)
    local r = g:chat { key = "k1", user = "hi", params = { max_tokens = 100 }, upstream = { "hello", usage(1000, 200) } }
    assert.equal("hello", r.text)
    assert.equal("0.006", r.tags.cost_usd)               -- 1,000 at 3 and 200 at 15 dollars a million
    r = g:chat { key = "k1", user = "hi", params = { max_tokens = 100 }, upstream = { "hello", usage(1000, 200) } }
    assert.equal("0.9925", r.headers["x-budget-left-usd"])      -- 1 less 0.006 less what this one has reserved
  end)

  it("refuses when the worst case does not fit, and says until when", function()
    local g = load(0.02)
    assert.equal(200, g:chat({ key = "k1", params = { max_tokens = 1000 }, upstream = { "hello", usage(0, 1000) } }).status)      -- 0.015 of 0.02
    local r = g:chat { key = "k1", params = { max_tokens = 1000 }, upstream = { "hello" } }
    assert.equal(429, r.status)
    assert.same({ "budget_used_up", "insufficient_quota", "https://example.com/plans" }, { r.error.code, r.error.type, r.error.upgrade_url })
    assert.is_true(tonumber(r.headers["retry-after"]) <= 86400)
    assert.equal(0, #r.upstream)
    assert.equal(200, g:chat({ key = "k2", params = { max_tokens = 1000 }, upstream = { "hello" } }).status)      -- another key
    assert.equal(200, g:chat({ key = "k1", params = { max_tokens = 10 }, upstream = { "hello" } }).status)        -- a smaller question
    t.advance "24h"
    assert.equal(200, g:chat({ key = "k1", params = { max_tokens = 1000 }, upstream = { "hello" } }).status)
  end)

  it("has no date for what will never fit", function()
    local r = load(0.001):chat { key = "k1", params = { max_tokens = 1000 }, upstream = { "hello" } }
    assert.equal(429, r.status)
    assert.is_nil(r.headers["retry-after"])
  end)

  it("gives back what a failed try has reserved; the next model has its own price", function()
    local g = load(0.02)
    for _ = 1, 5 do
      local r = g:chat { key = "k1", params = { max_tokens = 1000 }, upstream = { smart = t.fail(503), ["local"] = { "hello", usage(500, 500) } } }
      assert.equal("hello", r.text)
      assert.equal("0.0", r.tags.cost_usd)
    end
    assert.equal(200, g:chat({ key = "k1", params = { max_tokens = 1000 }, upstream = { "hello" } }).status)
  end)

  it("costs nothing when no model has answered", function()
    local g = load(0.02)
    for _ = 1, 5 do g:chat { key = "k1", params = { max_tokens = 1000 }, upstream = { smart = t.fail(503), ["local"] = t.fail(503) } } end
    assert.equal(200, g:chat({ key = "k1", params = { max_tokens = 1000 }, upstream = { "hello" } }).status)
  end)

  it("asks for a key, and for a price", function()
    assert.equal("key_missing", load(1):chat({ user = "hi" }).error.code)
    local g = t.load { policies = { { "policies.budget", prices = { smart = PRICES.smart } } } }
    assert.equal("policy_error", g:chat({ key = "k1" }).error.code)
  end)

  it("takes a tenant's own limit", function()
    local tenants = t.lua [[sluice.policy { name = "tenants", validate = function(_, ctx) ctx.vars.tenant = { daily_usd = ctx.key.id == "k1" and 100 or nil } end }]]
    local g = t.load { policies = { tenants, { "policies.budget", daily_usd = 0.0001, prices = PRICES } } }
    assert.equal(200, g:chat({ key = "k1", upstream = { "hello" } }).status)
    assert.equal(429, g:chat({ key = "k2", upstream = { "hello" } }).status)
  end)
end)

describe("the gateway", function()
  it("answers two questions a day for each of its keys", function()
    t.forget()
    local g = assert(t.load "gateway.lua")
    local function ask(key) return g:ask({ q = "How are you?", headers = { host = "test", authorization = "Bearer " .. key } }).status end
    assert.same({ 200, 200, 429, 200, 401 }, { ask "k1", ask "k1", ask "k1", ask "k2", ask "k9" })
  end)
end)
