-- The pre-release window: the beginning of an answer is held back, and until it leaves a try that dies is replaced unseen and a refusal has its own status.
local t = require "sluice.testing"

local FRONTS = {
  token = '"token"',
  -- With functions: keeps what it counted in `answer`, which must begin anew with each try.
  told = [[{ name = "told", methods = "GET, POST",
    read = function(req) req.messages = { { role = "user", content = "x" } } end,
    error = function(err) return { error = { code = err.code } } end,
    begin = function(answer) answer.n_open = 0 return 'data: {"begin":true}\n\n' end,
    open = function(answer) answer.n_open = answer.n_open + 1 return ('data: {"open":%d}\n\n'):format(answer.n_open), 'data: {"token":', '}\n\n' end,
    finish = function() return "data: [DONE]\n\n" end }]],
  -- The upstream's own: its bytes pass.
  same = [[{ name = "same", speaks = "openai", methods = "GET, POST",
    read = function(req) req.messages, req.stream = { { role = "user", content = "x" } }, true end,
    error = function(err) return { error = { code = err.code } } end,
    open = function() return nil, 'data: {"token":', '}\n\n' end, finish = function() return "data: [DONE]\n\n" end }]],
}

local function gateway(window, more)
  more = more or {}
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name } end
return sluice.config { api = 1, listen = ":0", models = { a = model "a", b = model "b", mine = { answer = function(_, out) out:text "mi" error "no" end } },
  routes = { ask = { path = "/api/stream", front = %s, target = %s, prerelease = %s, heartbeat = "%s", policies = { %s } } } }
]]):format(more.lua or "", FRONTS[more.front or "token"], more.target or '{ "a", "b" }', window, more.heartbeat or "15s", more.policies or "P") })
end

local function writes(r)
  local out = {}
  for _, e in ipairs(r.log) do
    if e.what == "write" then out[#out + 1] = e.bytes end
  end
  return out
end

local function wire(r) return table.concat(writes(r)) end
local function asked(r)
  local names = {}
  for i, u in ipairs(r.upstream) do names[i] = u.target end
  return table.concat(names, " ")
end

describe("a window of characters", function()
  it("holds the beginning, then lets all go", function()
    local r = gateway("{ chars = 5 }"):ask { q = "x", no_shake = true, upstream = { "ab", "c", t.wait "1s", "déf", "g" } }
    assert.equal("abcdéfg", r.text)
    assert.equal(1001, r.events[1].at)
    local first = writes(r)[1]
    assert.equal('data: {"token":"ab"}\n\ndata: {"token":"c"}\n\ndata: {"token":"déf"}\n\n', first)
    assert.is_nil(r.logs[#r.logs].unreleased)
  end)

  it("lets a shorter answer go at its end", function()
    local r = gateway("{ chars = 100 }"):ask { q = "x", upstream = { "ab", "c" } }
    assert.equal("abc", r.text)
    assert.is_true(r.done)
  end)

  it("counts what the filters leave", function()
    local r = gateway("{ chars = 3 }", { lua = 'P.filter = { match = "x+", replace = "" }' }):ask { q = "x", no_shake = true, upstream = { "axxxxx", "b", t.wait "1s", "c" } }
    assert.equal("abc", r.text)
    assert.equal(1001, r.events[1].at)
  end)

  for name in pairs(FRONTS) do
    it("replaces a try that dies within it, unseen: front " .. name, function()
      local g = gateway("{ chars = 10 }", { front = name, policies = "" })
      local r = g:ask { q = "x", upstream = { a = { "lost", t.reset() }, b = { "kept, all of it" } } }
      assert.equal(200, r.status)
      assert.is_nil(wire(r):find "lost")
      assert.truthy(wire(r):find "kept")
      if name == "told" then assert.equal('data: {"begin":true}\n\ndata: {"open":1}\n\ndata: {"token":"kept, all of it"}\n\ndata: [DONE]\n\n', wire(r)) end
      assert.truthy(wire(r):find "%[DONE%]\n\n$")
      assert.equal("a b", asked(r))
      assert.is_true(g:count "prerelease_drops" > 0)
    end)

    it("has a clean status when all die within it: front " .. name, function()
      local r = gateway("{ chars = 10 }", { front = name, policies = "" }):ask { q = "x", upstream = { a = { "lost", t.reset() }, b = { "too", t.close() } } }
      assert.equal(502, r.status)
      assert.equal("", wire(r))
      assert.equal("7", r.logs[#r.logs].unreleased)
    end)

    it("does not replace one that dies behind it: front " .. name, function()
      local r = gateway("{ chars = 3 }", { front = name, policies = "" }):ask { q = "x", no_shake = true, upstream = { a = { "seen", t.reset() }, b = { "no" } } }
      assert.equal("a", asked(r))
      assert.truthy(wire(r):find "seen")
      assert.truthy(wire(r):find "upstream_reset")
    end)
  end

  it("gives a filter's refusal its own status", function()
    local g = gateway("{ chars = 30 }", { lua = 'P.filter = { unit = "word", check = function(w) if w:find "bad" then return sluice.reject(451, "bad_word", "No.") end end }' })
    local r = g:ask { q = "x", upstream = { a = { "good ", "words then bad ", "more" } } }
    assert.equal(451, r.status)
    assert.equal("bad_word", r.error.code)
    assert.equal("", wire(r))
  end)

  it("lets go what stands before a stop", function()
    local g = gateway("{ chars = 30 }", { lua = 'P.filter = { unit = "word", check = function(w) if w:find "bad" then return sluice.stop "[cut]" end end }' })
    local r = g:ask { q = "x", upstream = { a = { "good bad more" } } }
    assert.equal("good [cut]", r.text)
  end)

  it("holds a Lua model's text too", function()
    local r = gateway("{ chars = 30 }", { target = '{ "mine", "b" }' }):ask { q = "x", upstream = { b = { "other" } } }
    assert.equal("other", r.text)
  end)

  it("does not stop heartbeats, which leave what is held where it is", function()
    local g = gateway("{ chars = 30 }", { heartbeat = "1s" })
    local r = g:ask { q = "x", upstream = { a = { "lost", t.wait "2500ms", t.reset() }, b = { "kept" } } }
    assert.equal(2, r.comments)
    assert.equal("kept", r.text)
    r = g:ask { q = "x", upstream = { a = { "lost", t.wait "2500ms", t.reset() }, b = { "too", t.reset() } } }
    assert.equal("", r.text)
    assert.equal(200, r.status)
    assert.equal("upstream_reset", r.error.code)
  end)

  it("is no reason to hold a client that leaves", function()
    local r = gateway("{ chars = 30 }"):ask { q = "x", upstream = { a = { "held", t.leave() } } }
    assert.equal("client_closed", r.logs[#r.logs]["end"])
    assert.equal("", wire(r))
  end)

  it("never holds more than 256 KiB of events", function()
    local r = gateway("{ chars = 20000 }", { lua = 'P.filter = { text = function(s) return s end }' })
      :ask { q = "x", no_shake = true, upstream = { a = { ("\1"):rep(19000), t.wait "1s", ("\1"):rep(19000) } } }
    assert.equal(1001, r.events[1].at)
    assert.is_true(#writes(r)[1] > 200000)
    r = gateway('{ time = "9s" }'):ask { q = "x", no_shake = true, upstream = { a = { ("\1"):rep(50000), t.wait "1s", "x" } } }
    assert.equal(1000, r.events[1].at)
  end)

  it("shows a policy in monitor mode the answer that counts, once", function()
    local g = gateway("{ chars = 30 }", { lua = 'local W = sluice.policy { name = "w", mode = "monitor" }\nW.filter = { match = "lost", replace = "" }', policies = "W" })
    local r = g:ask { q = "x", upstream = { a = { "los", t.reset() }, b = { "t kept" } } }
    assert.equal("t kept", r.text)
    assert.is_nil(r.logs[#r.logs].monitor)
  end)
end)

describe("a window of time", function()
  it("ends so long after the first text", function()
    local r = gateway('{ time = "500ms" }'):ask { q = "x", no_shake = true, upstream = { t.wait "2s", "a", t.wait "400ms", "b", t.wait "400ms", "c" } }
    assert.equal(1002.5, r.events[1].at)
    assert.equal('data: {"token":"a"}\n\ndata: {"token":"b"}\n\n', writes(r)[1])
    assert.equal("abc", r.text)
  end)

  it("ends when one of the two is over", function()
    local r = gateway('{ chars = 2, time = "500ms" }'):ask { q = "x", no_shake = true, upstream = { "ab", t.wait "5s", "c" } }
    assert.equal(1000, r.events[1].at)
  end)

  it("begins anew with each try", function()
    local r = gateway('{ time = "500ms" }'):ask { q = "x", no_shake = true, upstream = { a = { "lost", t.wait "300ms", t.reset() }, b = { "kept", t.wait "400ms", "!", t.wait "1s" } } }
    assert.equal("kept!", r.text)
    assert.equal('data: {"token":"kept"}\n\ndata: {"token":"!"}\n\n', writes(r)[1])
  end)
end)

describe("a window's mistakes", function()
  for text, want in pairs { ["{}"] = "says how much is held back", ['{ chars = 0 }'] = "must be a whole number from 1 to 20000", ['{ time = "11s" }'] = 'at most "10s"',
    ["{ char = 3 }"] = 'did you mean "chars"' } do
    it("are told: " .. text, function()
      local g, why = t.load { source = ('return require "sluice".config { api = 1, listen = ":0", models = { m = function() end },\nroutes = { r = { path = "/", front = "token", target = "m",\nprerelease = %s } } }'):format(text) }
      assert.is_nil(g)
      assert.truthy(why:find(want, 1, true), why)
      assert.truthy(why:find(":3:", 1, true), why)
    end)
  end
end)
