-- The policy alone, then the gateway: `build/sluice test examples/tenants/spec`.
local t = require "sluice.testing"

describe("tenants", function()
  local gold = function() return { json = { name = "acme", tier = "gold", system_prompt = "Be brief." } } end
  it("falls back to the next model when the first is down", function()
    local g = t.load { policies = { { "policies.tenants", tiers = { gold = { "smart", "local" } } } }, services = { directory = gold } }
    local r = g:chat { key = "k1", upstream = { smart = t.fail(503), ["local"] = { "he", "llo" } } }
    assert.equal("hello", r.text); assert.equal("smart", r.tags.fallback_from)
  end)

  local TIERS = { gold = { "smart", "local" }, free = { "local" } }
  local function directory(tenant) return { directory = function() return { json = tenant }, "20ms" end } end

  before_each(t.forget)                            -- what is known of tenants is shared by all gateways

  it("asks the directory once a minute for each key", function()
    local g = t.load { policies = { { "policies.tenants", tiers = TIERS } }, services = directory { name = "acme", tier = "free" } }
    local function calls(key) return #g:chat({ key = key, upstream = { "hello" } }).calls end
    assert.equal(1, calls "k1")
    assert.equal(0, calls "k1")
    assert.equal(1, calls "k2")
    t.advance "61s"
    assert.equal(1, calls "k1")
  end)

  it("tells the model the tenant's rules and name", function()
    local g = t.load { policies = { { "policies.tenants", tiers = TIERS } }, services = { directory = gold } }
    local r = g:chat { key = "k1", user = "hi", params = { logprobs = true }, upstream = { "hello" } }
    assert.same({ { role = "system", content = "Be brief." }, { role = "user", content = "hi" } }, r.upstream[1].messages)
    assert.equal("acme", r.upstream[1].headers["x-tenant"])
    assert.is_true(r.upstream[1].logprobs)
    r = g:chat { key = "k1", user = "hi", params = { logprobs = true }, upstream = { smart = t.fail(500), ["local"] = "hello" } }
    assert.is_nil(r.upstream[2].logprobs)
  end)

  it("lets nobody in without a key, with an unknown one, or on a guess", function()
    local g = t.load { policies = { { "policies.tenants", tiers = TIERS } } }
    assert.equal("key_missing", g:chat({ user = "hi" }).error.code)
    assert.equal("key_unknown", g:chat({ key = "k1", services = { directory = { status = 404 } } }).error.code)
    local r = g:chat { key = "k1", services = { directory = function() return nil end } }
    assert.equal(503, r.status)
    assert.equal("dependency_failed", r.error.code)
    assert.equal("dependency_failed", g:chat({ key = "k1", services = { directory = function() return "late", "600ms" end } }).error.code)
    assert.equal("policy_error", g:chat({ key = "k1", services = { directory = { status = 500 } } }).error.code)
    assert.equal("policy_error", g:chat({ key = "k1", services = { directory = { json = { name = "acme", tier = "none" } } } }).error.code)
  end)

  it("takes a key that was unknown a moment ago", function()
    local g = t.load { policies = { { "policies.tenants", tiers = TIERS } } }
    assert.equal(401, g:chat({ key = "new", services = { directory = { status = 404 } } }).status)
    assert.equal(200, g:chat({ key = "new", services = { directory = gold }, upstream = { "hello" } }).status)
  end)

  it("sends long prompts to the one model that takes them", function()
    local g = t.load { policies = { { "policies.tenants", tiers = TIERS } }, models = { "long" }, services = { directory = gold } }
    local r = g:chat { key = "k1", user = ("word "):rep(20000), upstream = { "hello" } }
    assert.equal("long", r.upstream[1].target)
  end)

  it("does not ask another model what the first found wrong with the request", function()
    local g = t.load { policies = { { "policies.tenants", tiers = TIERS } }, services = { directory = gold } }
    local r = g:chat { key = "k1", upstream = { smart = t.fail(400), ["local"] = "hello" } }
    assert.equal("model_refused_request", r.error.code)
    assert.equal(1, #r.upstream)
  end)
end)

describe("the gateway", function()
  local g = assert(t.load "gateway.lua")

  local function ask(key, upstream) return g:ask { q = "hi", headers = { host = "test", authorization = key and "Bearer " .. key }, upstream = upstream } end

  it("falls back to the local model", function()
    local r = ask("k1", { smart = t.break_with "upstream_connect_failed" })
    assert.equal("[local] rules: Be brief.\nYou asked: hi", r.text)
    assert.same({ tenant = "acme", fallback_from = "smart" }, r.tags)
  end)

  it("knows its tiers", function()
    assert.equal("[local] rules: none\nYou asked: hi", ask("k2").text)
    assert.equal("policy_error", ask("k3").error.code)
    assert.equal("key_unknown", ask("k9").error.code)
    assert.equal("key_missing", ask(nil).error.code)
  end)
end)
