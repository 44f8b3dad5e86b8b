-- Policies made of others (sluice.chain, sluice.only_if) and policies that keep failing (their breaker).
local t = require "sluice.testing"

local function gateway(lua, list)
  return t.load { source = ([[
local sluice = require "sluice"
local function mark(name, options)
  local P = sluice.policy { name = name, on_error = options }
  function P.prompt(_, ctx) ctx.vars.seen = (ctx.vars.seen or "") .. name end
  return P
end
local A, B, C = mark "a", mark "b", mark "c"
local E = sluice.policy { name = "e" }
function E.prompt(_, ctx) return sluice.reply(ctx.vars.seen or "none") end
%s
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { %s } } } }
]]):format(lua, list) }
end

local function said(list, want)
  want = want or {}
  want.q = want.q or "x"
  return assert(gateway("", list)):ask(want).text
end

describe("sluice.chain", function()
  it("stands for its policies, in order", function()
    assert.equal("abc", said "A, sluice.chain { B, C }, E")
    assert.equal("abc", said "sluice.chain { A, sluice.chain { B, { C } } }, E")
  end)

  it("is checked like the list itself", function()
    for list, why in pairs { ["sluice.chain { A, A }, E"] = 'policy "a" is on this route twice', ["sluice.chain {}"] = "sluice.chain takes a list of policies",
      ["sluice.chain(A)"] = "sluice.chain takes a list of policies", ["sluice.chain { A, 7 }"] = "must be a policy", ["sluice.chain { { B, nope = 1 } }"] = 'no option "nope"' } do
      local g, complaints = gateway("", list)
      assert.is_nil(g)
      assert.truthy(complaints:find(why, 1, true), complaints)
    end
  end)
end)

describe("sluice.only_if", function()
  it("switches a policy, or several, for each exchange", function()
    local list = 'A, sluice.only_if(function(ctx, head) return head.headers["x-beta"] == "1" end, sluice.chain { B, C }), E'
    assert.equal("a", said(list))
    assert.equal("abc", said(list, { headers = { ["X-Beta"] = "1" } }))
  end)

  it("may be nested: all conditions must hold", function()
    local list = 'sluice.only_if(function(_, head) return head.query.a end, sluice.chain { A, sluice.only_if(function(_, head) return head.query.b end, B) }), E'
    assert.equal("none", said(list, { query = "q=x&b=1" }))
    assert.equal("a", said(list, { query = "q=x&a=1" }))
    assert.equal("ab", said(list, { query = "q=x&a=1&b=1" }))
  end)

  it("leaves out hooks and filters alike", function()
    local g = assert(gateway([[
      local F = sluice.policy { name = "f" }
      F.filter = { text = function(s) return s:upper() end }
      function F.accept() error "asked" end]], 'sluice.only_if(function(ctx) return ctx.client.ip == "9.9.9.9" end, F)'))
    assert.equal("abc", g:ask({ q = "x", upstream = { "abc" } }).text)
    assert.equal("policy_error", g:ask({ q = "x", ip = "9.9.9.9", upstream = { "abc" } }).error.code)
  end)

  it("that fails, or waits, refuses the request", function()
    for _, body in ipairs { 'error "x"', 'sluice.sleep "1s"', "return head.nope" } do
      local r = assert(gateway("", ("sluice.only_if(function(ctx, head) %s end, A), E"):format(body))):ask { q = "x" }
      assert.equal("policy_error", r.error.code)
    end
  end)

  it("names what is wrong with it", function()
    for list, why in pairs { ["sluice.only_if(A)"] = "takes a function(ctx, head) and a policy", ["sluice.only_if(function() end)"] = "the policy is missing" } do
      local g, complaints = gateway("", list)
      assert.is_nil(g)
      assert.truthy(complaints:find(why, 1, true), complaints)
    end
  end)
end)

describe("a policy that keeps failing", function()
  local failing = [[
    local F = sluice.policy { name = "f", on_error = %s }
    function F.validate(req) if req.query.q == "bad" then error "oops" end end
    function F.log(_, ctx) ctx:tag("ran", 1) end]]

  local function ask(g, q, n)
    local r
    for _ = 1, n do r = g:ask { q = q, upstream = { "ok" }, no_shake = true } end
    return r
  end

  it("is not run for a while: closed refuses", function()
    local g = assert(gateway(failing:format "nil", "F"))
    assert.equal("policy_error", ask(g, "bad", 20).error.code)
    local r = ask(g, "good", 1)
    assert.equal("policy_error", r.error.code)
    assert.equal(0, #r.upstream)
  end)

  it("is not run for a while: open passes it over", function()
    local g = assert(gateway(failing:format '"open"', "F"))
    assert.equal("ok", ask(g, "bad", 20).text)
    assert.equal("ok", ask(g, "bad", 1).text)
  end)

  it("is tried again after ten seconds; one good exchange brings it back", function()
    local g = assert(gateway(failing:format "nil", "F"))
    ask(g, "bad", 20)
    local r = g:ask { q = "good", upstream = { "ok", t.wait "11s" }, no_shake = true }
    assert.equal("policy_error", r.error.code)
    g:advance "11s"
    assert.equal("ok", ask(g, "good", 1).text)
    assert.equal("ok", ask(g, "good", 30).text)
  end)

  it("fails as before below half", function()
    local g = assert(gateway(failing:format "nil", "F"))
    for _ = 1, 40 do
      ask(g, "bad", 1)
      assert.equal("ok", ask(g, "good", 2).text)
    end
  end)
end)
