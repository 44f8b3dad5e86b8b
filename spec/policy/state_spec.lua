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

  it("gives back what was never settled, at the end of the exchange", function()
    local lua = [[
local spend = sluice.counter("spec_unsettled", { window = "1h" })
function P.validate() return sluice.reply(spend:reserve("key", 6, 10) and "reserved" or "refused") end]]
    local g = gateway(lua)
    for _ = 1, 3 do assert.equal("reserved", g:ask({ q = "x" }).text) end
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

describe("sluice.semaphore", function()
  -- Two at a time for whoever q names; the answer says how many are left. /held tells how many are taken.
  local n = 0
  local function two(more, options)
    n = n + 1
    return assert(t.load { source = ([[
local sluice = require "sluice"
local running = sluice.semaphore("spec_running_%d", { limit = 2 })
local P, tell = sluice.policy { name = "p" }, sluice.policy { name = "tell" }
function P.accept(head, ctx)
  local ok, left = running:take(head.query.q)
  ctx:header("X-Left", left)
  if not ok then return sluice.reject(429, "full", "No.") end
end
function tell.validate(req) return sluice.reply(("%%d"):format(running:held(req.query.q))) end
%s
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" }, second = { provider = "openai", url = "http://s.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = { "m", "second" }, policies = { %s } }, held = { path = "/held", front = "token", target = "m", policies = { tell } } } }
]]):format(n, more or "", options or "P") })
  end

  local function held(g, key) return tonumber(g:ask({ path = "/held", q = key or "k", no_shake = true }).text) end
  local function ask(g, upstream, q) return g:ask { q = q or "k", upstream = upstream or { "a" }, no_shake = true } end

  it("has so many at a time, for each key", function()
    local g = two()
    local a, b = g:start { q = "k" }, g:start { q = "k" }
    assert.equal(2, held(g))
    local r = ask(g)
    assert.same({ 429, "full", "0" }, { r.status, r.error.code, r.headers["x-left"] })
    assert.equal(0, #r.upstream)
    assert.equal(2, held(g))                             -- who was refused has none to give back
    assert.equal("1", ask(g, nil, "other").headers["x-left"])
    a:answer { "a" }
    assert.equal("1", a.headers["x-left"])
    assert.equal("0", b:answer({ "b" }).headers["x-left"])
    assert.equal(0, held(g))
    assert.equal("1", ask(g).headers["x-left"])
  end)

  it("is held from the hook on to the answer's last piece, not to its head", function()
    local during = 'local watch = sluice.policy { name = "watch" } watch.filter = { text = function(text) return text .. running:held "k" end }'
      .. ' function watch.response(_, ctx) ctx:header("X-Held", running:held "k") end function watch.log(_, ctx) ctx:tag("held_at_log", running:held "k") end'
    local r = ask(two(during, "P, watch"), { "a", "b" })
    assert.equal("1", r.headers["x-held"])
    assert.matches("^a1b1", r.text)
    assert.equal("0", r.tags.held_at_log)                -- the client can ask again: log hooks may take their time
  end)

  for way, upstream in pairs {
    ["the client leaves before the head"] = { t.leave() }, ["the client leaves in the middle"] = { "a", "b", t.leave() }, ["the model breaks off"] = { "a", t.reset() },
    ["all models fail"] = { m = { t.fail(500) }, second = { t.fail(500) } }, ["another model takes over"] = { m = { t.fail(500) }, second = { "a" } },
    ["the model falls silent"] = { "a", t.wait "10m" }, ["the model is no model"] = { t.raw "data: {\n\n" },
  } do
    it("is given back when " .. way, function()
      local g = two()
      for _ = 1, 5 do
        assert.not_equal("full", (ask(g, upstream).error or {}).code)
        assert.equal(0, held(g))
      end
    end)
  end

  for what, hook in pairs {
    ["a hook raises"] = "function bad.validate() error 'no' end", ["a hook runs without end"] = "function bad.prompt() while true do end end",
    ["a hook needs too much memory"] = "function bad.validate() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end",
    ["a hook refuses"] = "function bad.attempt() return sluice.reject(400, 'no', 'No.') end", ["a hook answers"] = "function bad.validate() return sluice.reply 'hi' end",
    ["a hook waits too long"] = "function bad.validate() sluice.sleep '1h' end", ["a filter stops"] = "bad.filter = { text = function() return sluice.stop() end }",
    ["a filter raises"] = "bad.filter = { text = function() error 'no' end }", ["the log hook raises"] = "function bad.log() error 'no' end",
    ["the log hook runs without end"] = "function bad.log() while true do end end", ["the error hook raises"] = "function bad.validate() return sluice.reject(400, 'no', 'No.') end function bad.error() error 'no' end",
    ["its own hook raises"] = "function bad.accept(head) running:take(head.query.q) error 'no' end", ["a log hook takes one"] = "function bad.log() running:take 'k' end",
  } do
    it("is given back when " .. what, function()
      local g = two("local bad = sluice.policy { name = 'bad' }\n" .. hook, "P, bad")
      ask(g)
      assert.equal(0, held(g))
    end)
  end

  it("of a policy in monitor mode is its own, and given back", function()
    local g = two("", '{ P, mode = "monitor" }')
    for _ = 1, 5 do assert.equal("a", ask(g).text) end
    assert.equal(0, held(g))
  end)

  it("is given back with its gateway", function()
    local g = two()
    g:start { q = "k" }
    g:start { q = "k" }
    g:close()
    n = n - 1
    g = two()
    assert.equal(0, held(g))
  end)

  it("may have another limit for a key, and none for none", function()
    local g = two([[local wide = sluice.policy { name = "wide" }
function wide.accept(head, ctx)
  local ok, left = running:take(head.query.q, tonumber(head.query.limit))
  return sluice.reply(("%s %d"):format(ok, left))
end]], "wide")
    for limit, said in pairs { ["1"] = "true 0", ["0"] = "false 0", ["7"] = "true 6" } do assert.equal(said, g:ask({ query = "q=k&limit=" .. limit }).text) end
  end)

  it("belongs to a request, and not without end", function()
    assert.matches("take it in a hook", select(2, t.load { source = [[
local sluice = require "sluice"
local ok, why = pcall(function() sluice.semaphore("spec_early", { limit = 1 }):take "k" end)
error(why, 0)]] }))
    local g = two("local many = sluice.policy { name = 'many' } function many.accept(head) for i = 1, tonumber(head.query.n) do running:take('k' .. i) end end", "many")
    assert.equal("a", g:ask({ query = "q=x&n=64", upstream = { "a" } }).text)
    local r = g:ask { query = "q=x&n=65" }
    assert.equal("policy_error", r.error.code)
    assert.equal(0, held(g, "k1"))
  end)

  it("says what it was given in vain", function()
    for lua, said in pairs {
      ['sluice.semaphore("")'] = "takes a name", ['sluice.semaphore("a")'] = "takes a table", ['sluice.semaphore("a", { limt = 5 })'] = 'no field "limt"', ['sluice.semaphore("a", {})'] = "whole number above 0",
      ['sluice.semaphore("a", { limit = 0 })'] = "whole number above 0", ['sluice.semaphore("a", { limit = 1.5 })'] = "whole number above 0", ['sluice.semaphore("a", { limit = "5" })'] = "whole number above 0",
    } do
      local g, why = t.load { source = 'local sluice = require "sluice"\n' .. lua .. '\nreturn sluice.config { api = 1, listen = ":0", routes = { a = { path = "/", files = "." } } }' }
      assert.is_nil(g)
      assert.matches(said, why)
    end
    for _, call in ipairs { 'running:take()', 'running:take("k", -1)', 'running:take("k", 1.5)', 'running:held()', 'running.take("k")' } do
      assert.equal("policy_error", ask(two("function tell.accept() " .. call .. " end", "tell")).error.code)
    end
  end)
end)
