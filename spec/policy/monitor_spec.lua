-- mode = "monitor": a policy runs on copies, beside the answer; what it would have done is counted and logged, and nothing of it reaches anyone.
local t = require "sluice.testing"

local function gateway(lua, list, services)
  return assert(t.load { source = ([[
local sluice = require "sluice"
%s
local M = sluice.policy { name = "m", mode = "monitor" }
%s
return sluice.config { api = 1, listen = ":0", services = { judge = { url = "http://judge.test" } },
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { %s } } } }
]]):format(services or "", lua, list or "M") })
end

-- One question; how many findings it made.
local function ask(g, want)
  local before = g:count "monitor_findings"
  want.q, want.no_shake = want.q or "x", true
  local r = g:ask(want)
  return r, g:count "monitor_findings" - before
end

describe("a policy in monitor mode", function()
  it("changes nothing of the request, the answer or the headers", function()
    local g = gateway [[
      function M.validate(req) req.messages[1].content = "changed" end
      function M.prompt(req, ctx) req:system "changed" ctx:header("X-A", "b") end
      M.filter = { match = "%a+", replace = "-" }]]
    local r, found = ask(g, { upstream = { "one ", "two" } })
    assert.equal("one two", r.text)
    assert.same({ { role = "user", content = "x" } }, r.upstream[1].body.messages)
    assert.is_nil(r.headers["x-a"])
    assert.equal(1, found)
  end)

  for name, case in pairs {
    rejects = 'function M.validate() return sluice.reject(403, "no", "No.") end',
    replies = 'function M.prompt() return sluice.reply "canned" end',
    stops = 'M.filter = { match = "one", replace = function() return sluice.stop "[cut]" end }',
    ["rejects in a filter"] = 'M.filter = { unit = "all", check = function() return sluice.reject(403, "no", "No.") end }',
    raises = 'function M.validate() error "oops" end',
    ["raises in a filter"] = 'M.filter = { text = function() error "oops" end }',
    burns = "function M.prompt() while true do end end",
    ["stops at the end"] = 'function M.finish() return sluice.stop "[more]" end',
  } do
    it("that " .. name .. " is a finding, no more", function()
      local r, found = ask(gateway(case), { upstream = { "one ", "two" } })
      assert.equal("one two", r.text)
      assert.is_true(r.done)
      assert.equal(1, found)
    end)
  end

  it("that has nothing to say is no finding", function()
    local _, found = ask(gateway 'function M.validate() end M.filter = { match = "secret", replace = "-" }', { upstream = { "one ", "two" } })
    assert.equal(0, found)
  end)

  it("holds nothing back and makes nobody wait", function()
    local g = gateway 'function M.validate() sluice.sleep "3s" end M.filter = { unit = "all", text = function(s) sluice.sleep "1s" return s end }'
    local r, found = ask(g, { upstream = { "one ", t.wait "1s", "two" } })
    assert.same({ 0, 1 }, { r.wire[1].at, r.wire[2].at })
    assert.equal("one two", r.text)
    assert.equal(0, found)
  end)

  it("sees the text at its place in the chain", function()
    local enforced = 'local E = sluice.policy { name = "e" } E.filter = { match = "secret", replace = "***" }'
    local lua = 'M.filter = { match = "secret", replace = "-" }'
    local _, above = ask(gateway(lua, "M, E", enforced), { upstream = { "a sec", "ret" } })
    local _, below = ask(gateway(lua, "E, M", enforced), { upstream = { "a sec", "ret" } })
    assert.same({ 0, 1 }, { above, below })
  end)

  it("may call services, whose answers come in their time", function()
    local g = gateway([[M.filter = { unit = "all", check = function(s)
      local res = judge:post("/", { body = s })
      if res.body == "bad" then return sluice.reject(422, "bad", "Bad.") end
    end }]], nil, 'local judge = sluice.service "judge"')
    local asked
    local r, found = ask(g, { upstream = { "one ", "two" }, services = { judge = function(call) asked = call.body return "bad", "500ms" end } })
    assert.equal("one two", r.text)
    assert.equal("one two", asked)
    assert.equal(1, found)
  end)

  it("knows what policies before it shared, in a copy", function()
    local before = 'local E = sluice.policy { name = "e" } function E.validate(_, ctx) ctx.vars.t = { name = "acme" } end function E.finish(_, ctx) return sluice.stop(ctx.vars.t.name) end'
    local lua = 'function M.prompt(_, ctx) if ctx.vars.t.name ~= "acme" then error "lost" end ctx.vars.t.name = "changed" end'
    local r, found = ask(gateway(lua, "E, M", before), { upstream = { "hi " } })
    assert.equal("hi acme", r.text)
    assert.equal(0, found)
  end)

  it("ends with a client that leaves, and is not run when the request was refused", function()
    local g = gateway 'M.filter = { text = function(s) sluice.sleep "1s" return s:upper() end }'
    local r = ask(g, { upstream = { "one ", t.leave() } })
    assert.is_true(r.closed)
    local refused = 'local E = sluice.policy { name = "e" } function E.validate() return sluice.reject(400, "no", "No.") end'
    local _, found = ask(gateway('function M.validate() error "ran" end', "E, M", refused), { upstream = {} })
    assert.equal(0, found)
  end)

  it("that never ends is given up ten seconds after the answer", function()
    local g = gateway 'M.filter = { text = function(s) sluice.sleep "1900ms" return s end }'
    local pieces = {}
    for i = 1, 30 do pieces[i] = "word " end
    local r, found = ask(g, { upstream = pieces })
    assert.is_true(r.closed)
    assert.equal(("word "):rep(30), r.text)
    assert.equal(1, found)
  end)

  it("may be several, and set by the route's entry", function()
    local more = 'local E = sluice.policy { name = "e" } function E.validate() return sluice.reject(403, "no", "No.") end'
    local r, found = ask(gateway('function M.validate() return sluice.reject(403, "no", "No.") end', '{ E, mode = "monitor" }, M', more), { upstream = { "ok" } })
    assert.equal("ok", r.text)
    assert.equal(2, found)
  end)
end)
