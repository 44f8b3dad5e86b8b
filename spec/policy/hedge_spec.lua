-- Hedging: a second try beside one that gave no text in time. Who answers first, at which time, and what becomes of the other.
local t = require "sluice.testing"

local function gateway(more)
  more = more or {}
  return t.load { source = ([[
local sluice = require "sluice"
local judge = sluice.service "judge"
local P = sluice.policy { name = "p" }
%s
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name, prefill = true } end
return sluice.config { api = 1, listen = ":0", services = { judge = { url = "http://judge.test" } },
  models = { a = model "a", b = model "b", c = model "c", claude = { provider = "anthropic", url = "http://claude.test/v1", model = "claude" },
    mine = { answer = function(_, out) sluice.sleep "2s" out:text "mine" end } },
  routes = { ask = { path = "/api/stream", front = %s, target = %s, hedge = { after = "800ms"%s }, timeout = { first_token = "5s", gap = "5s" },
    policies = { P }, %s } } }
]]):format(more.lua or "", more.front or '"token"', more.target or '{ "a", "b", "c" }', more.budget or ', budget = "100%"', more.more or "") }
end

-- What the host was asked for: "a?0" a was asked at 0 ms, "a!800" it was cancelled at 800.
local function race(r)
  local names, out = {}, {}
  for _, e in ipairs(r.log) do
    if e.what == "attempt" then names[e.which] = e.target end
    local mark = ({ attempt = "?", cancel = "!" })[e.what]
    if mark then out[#out + 1] = ("%s%s%.0f"):format(names[e.which], mark, (e.at - r.began) * 1000) end
  end
  return table.concat(out, " ")
end

local function ask(g, upstream) return g:ask { q = "x", no_shake = true, upstream = upstream } end
local function line(r) return r.logs[#r.logs] end

describe("a first try that gives its text in time", function()
  it("is alone", function()
    local g = gateway()
    local r = ask(g, { a = { t.wait "799ms", "a" } })
    assert.equal("a?0", race(r))
    assert.is_nil(line(r).hedge)
    assert.equal(0, g:count "hedges_started")
  end)
end)

describe("a first try that is slow", function()
  it("gets a second beside it, whose text wins when it comes first", function()
    local g = gateway()
    local r = ask(g, { a = { t.wait "5s", "a" }, b = { t.wait "300ms", "b1", t.wait "1s", "b2" } })
    assert.equal("b1b2", r.text)
    assert.equal("a?0 b?800 a!1100", race(r))
    assert.equal(1001.1, r.events[1].at)
    assert.is_true(r.done)
    local l = line(r)
    assert.same({ "won", "b", "2" }, { l.hedge, l.model, l.tries })
    assert.equal(1, g:count "hedges_started")
    assert.equal(1, g:count "hedges_won")
  end)

  it("wins when it is first all the same; the other is cancelled at once", function()
    local g = gateway()
    local r = ask(g, { a = { t.wait "1s", "a1", t.wait "1s", "a2" }, b = { t.wait "300ms", "b" } })
    assert.equal("a1a2", r.text)
    assert.equal("a?0 b?800 b!1000", race(r))
    assert.same({ "lost", "a" }, { line(r).hedge, line(r).model })
    assert.equal(1, g:count "hedges_started")
    assert.equal(0, g:count "hedges_won")
  end)

  local formalities = t.raw ': ping\n\ndata: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
  it("is not held to have begun by a head, a role or a comment; nor is the second", function()
    local r = ask(gateway(), { a = { formalities, t.wait "2s", "a" }, b = { formalities, t.wait "500ms", "b" } })
    assert.equal("b", r.text)
    assert.equal("a?0 b?800 a!1300", race(r))
    r = ask(gateway(), { a = { t.wait "900ms", formalities, t.wait "200ms", "a" }, b = { formalities, t.wait "500ms", "b" } })
    assert.equal("a", r.text)
    assert.equal("a?0 b?800 b!1100", race(r))
  end)

  for what, first in pairs { reasoning = { reasoning = "hm" }, ["a tool call"] = { tool = { "f", {} } } } do
    it("has begun with " .. what, function()
      assert.equal("a?0", race(ask(gateway(), { a = { first, t.wait "2s", "a" } })))
      assert.equal("a?0 b?800 a!900", race(ask(gateway(), { a = { t.wait "3s", "a" }, b = { t.wait "100ms", first, t.wait "1s", "b" } })))
    end)
  end

  it("is asked a second time itself when the plan has no other", function()
    local n = 0
    local r = ask(gateway { target = '"a"' }, function()
      n = n + 1
      return n == 1 and { t.wait "5s", "one" } or { "two" }
    end)
    assert.equal("two", r.text)
    assert.equal("a?0 a?800 a!800", race(r))
  end)

  it("passes over Lua models, and is none itself when it is one", function()
    assert.equal("a?0 c?800 a!800", race(ask(gateway { target = '{ "a", "mine", "c" }' }, { a = { t.wait "2s" }, c = { "c" } })))
    local r = ask(gateway { target = '{ "mine", "a" }' }, { a = { "no" } })
    assert.equal("mine", r.text)
    assert.equal(0, #r.upstream)
  end)

  it("may be hedged by another provider, whose rare events count, too", function()
    local function event(data) return t.raw(("event: x\ndata: %s\n\n"):format(data)) end
    local r = ask(gateway { target = '{ "a", "claude" }' }, { a = { t.wait "5s", "a" },
      claude = { event '{"type":"message_start","message":{"model":"c"}}', t.wait "100ms", event '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"begun"}}',
        event '{"type":"content_block_delta","index":0,"delta":{"text":", done"}}', event '{"type":"message_delta","delta":{"stop_reason":"end_turn"}}', event '{"type":"message_stop"}' } })
    assert.equal("begun, done", r.text)
    assert.equal("a?0 claude?800 a!900", race(r))
  end)
end)

describe("one of the two fails", function()
  it("the first: the second goes on alone, and no hook is asked", function()
    local g = gateway { lua = 'function P.fallback(failure, ctx) ctx:tag("fallback", failure.target) end' }
    local r = ask(g, { a = { t.wait "1s", t.reset() }, b = { t.wait "700ms", "b" } })
    assert.equal("b", r.text)
    assert.equal("a?0 b?800", race(r))
    assert.equal("won", line(r).hedge)
    assert.is_nil(r.tags.fallback)
  end)

  it("the first, by its clock: the second has its own from then on", function()
    local r = ask(gateway(), { a = { t.wait "9s" }, b = { t.wait "9s", "b" } })
    assert.equal("b", r.text)
    assert.equal("a?0 b?800 a!5000", race(r))
  end)

  for what, death in pairs { reset = t.reset(), ["a status"] = t.fail(503), ["another type"] = t.head(200, { ["content-type"] = "text/html" }),
    ["bad JSON"] = t.raw "data: {\n\n", ["an error event"] = t.raw 'data: {"error":{}}\n\n', ["a close"] = t.close() } do
    it("the second, by " .. what .. ": the first goes on alone", function()
      local r = ask(gateway(), { a = { t.wait "2s", "a" }, b = { death } })
      assert.equal("a", r.text)
      assert.equal("lost", line(r).hedge)
      assert.equal(2, #r.upstream)
    end)

    it("both, by " .. what .. ": the plan goes on, behind both", function()
      for _, first in ipairs { "100ms", "900ms" } do
        local r = ask(gateway(), { a = { t.wait "1s", death }, b = { t.wait(first), death }, c = { "c" } })
        assert.equal("c", r.text)
        assert.equal("c", r.upstream[3].target)
        assert.equal(3, #r.upstream)
        assert.is_nil(line(r).continued)
      end
    end)
  end

  it("both, and none is left: the last failure is told", function()
    local r = ask(gateway { target = '{ "a", "b" }' }, { a = { t.wait "1s", t.fail(503) }, b = { t.wait "1s", t.fail(429, { ["retry-after"] = "7" }) } })
    assert.equal(429, r.status)
    assert.equal("7", r.headers["retry-after"])
  end)

  it("there is no second hedge for the tries behind", function()
    local r = ask(gateway(), { a = { t.wait "1s", t.reset() }, b = { t.wait "1s", t.reset() }, c = { t.wait "4s", "c" } })
    assert.equal("c", r.text)
    assert.equal(3, #r.upstream)
  end)

  it("but for those behind one that failed before the time was over", function()
    local r = ask(gateway(), { a = { t.wait "700ms", t.reset() }, b = { t.wait "4s", "b" }, c = { "c" } })
    assert.equal("a?0 b?700 c?1500 b!1500", race(r))
    assert.equal("c", r.text)
  end)

  it("the same model is retried when the hook says so, not the other's", function()
    local g = gateway { lua = 'function P.fallback(failure, ctx) ctx:tag("last", failure.target) return "retry" end' }
    local r = ask(g, { a = { t.wait "1s", t.reset(), "again" }, b = { t.reset() } })
    assert.equal("again", r.text)
    assert.equal("a", r.upstream[3].target)
    assert.equal("a", r.tags.last)
  end)
end)

describe("hooks", function()
  local LUA = [[
function P.attempt(try, ctx) try.messages[#try.messages + 1] = { role = "user", content = ("%s %d"):format(try.target, try.number) } end
function P.response(res, ctx) ctx:tag("response_" .. res.number, res.target) ctx:header("x-from", res.headers["x-name"] or "?") end
function P.log(sum, ctx) ctx:tag("target", ctx.target) end]]

  local function named(name) return t.head(200, { ["content-type"] = "text/event-stream", ["x-name"] = name }) end

  it("attempt runs for each, on its own copy; response for the winner only", function()
    local r = ask(gateway { lua = LUA }, { a = { named "A", t.wait "5s", "a" }, b = { named "B", t.wait "200ms", "b" } })
    assert.equal("a 1", r.upstream[1].messages[#r.upstream[1].messages].content)
    assert.equal("b 2", r.upstream[2].messages[#r.upstream[2].messages].content)
    assert.equal(#r.upstream[1].messages, #r.upstream[2].messages)
    assert.same({ "b", "b" }, { r.tags.response_2, r.tags.target })
    assert.is_nil(r.tags.response_1)
    assert.equal("B", r.headers["x-from"])
    r = ask(gateway { lua = LUA }, { a = { named "A", t.wait "1s", "a" }, b = { named "B", t.wait "900ms", "b" } })
    assert.same({ "a", "a" }, { r.tags.response_1, r.tags.target })
    assert.is_nil(r.tags.response_2)
    assert.equal("A", r.headers["x-from"])
  end)

  it("response may refuse, at the first text", function()
    local r = ask(gateway { lua = 'function P.response() return sluice.reject(403, "no", "No.") end' }, { a = { t.wait "1s", "a" }, b = { t.wait "5s", "b" } })
    assert.equal(403, r.status)
    assert.equal("a?0 b?800 b!1000 a!1000", race(r))
  end)

  it("attempt may wait: the first try is paused meanwhile", function()
    local r = ask(gateway { lua = 'function P.attempt(try) if try.number == 2 then sluice.sleep "400ms" end end' }, { a = { t.wait "1s", "a" }, b = { "b" } })
    assert.equal("a?0 b?1200 b!1200", race(r))
    assert.equal("a", r.text)
    r = ask(gateway { lua = 'function P.attempt(try) if try.number == 2 then sluice.sleep "400ms" end end' }, { a = { t.wait "1s", t.reset() }, b = { "b" } })
    assert.equal("b", r.text)
  end)

  for how, lua in pairs { refuse = 'return sluice.reject(403, "no", "No.")', fail = 'error "oops"', ["say nonsense"] = "return 7", ["wait too long"] = 'sluice.sleep "6s"' } do
    it(("attempt may %s: then there is no second"):format(how), function()
      local g = gateway { lua = ("function P.attempt(try) if try.number == 2 then %s end end"):format(lua), more = "heartbeat = '1m'" }
      local r = ask(g, { a = { t.wait "3s", "a" }, b = { "b" } })
      assert.equal("a", r.text)
      assert.equal("a?0", race(r))
      assert.equal(0, g:count "hedges_started")
    end)
  end
end)

describe("what is around it", function()
  it("a gate holds the winner's text, not the race", function()
    local g = gateway { lua = [[
function P.prompt(req, ctx) ctx:gate(function() local res = judge:get "/" if res.body == "no" then return sluice.reject(403, "gate", "No.") end end) end]] }
    local function with(body, upstream)
      return g:ask { q = "x", no_shake = true, upstream = upstream, services = { judge = function() return body, "1400ms" end } }
    end
    local r = with("yes", { a = { t.wait "5s", "a" }, b = { t.wait "100ms", "b" } })
    assert.equal("b", r.text)
    assert.equal("a?0 b?800 a!900", race(r))
    assert.equal(1001.4, r.events[1].at)
    r = with("no", { a = { t.wait "5s", "a" }, b = { t.wait "3s", "b" } })
    assert.equal("gate", r.error.code)
    assert.equal("a?0 b?800 a!1400 b!1400", race(r))
  end)

  it("filters see the winner's text alone", function()
    local g = gateway { lua = 'P.filter = { match = sluice.match.words { "secret" }, replace = "[x]" }' }
    assert.equal("a [x]", ask(g, { a = { t.wait "5s", "no" }, b = { "a sec", t.wait "1s", "ret" } }).text)
    assert.equal("a [x]", ask(g, { a = { t.wait "1s", "a sec", "ret" }, b = { t.wait "1s", "no" } }).text)
  end)

  it("a window: who dies within it is replaced by the plan's next", function()
    local g = gateway { more = "prerelease = { chars = 9 }" }
    local r = ask(g, { a = { t.wait "5s", "no" }, b = { "lost", t.reset() }, c = { "kept" } })
    assert.equal("kept", r.text)
    assert.equal("won", line(r).hedge)
  end)

  it("a winner that dies later is gone on with", function()
    local r = ask(gateway { more = 'on_death = "continue"' }, { a = { t.wait "5s", "no" }, b = { "said, ", t.reset() }, c = { "and done" } })
    assert.equal("said, and done", r.text)
    assert.equal("1", line(r).continued)
  end)

  it("the client leaves, or the gateway: both are cancelled", function()
    for _, what in ipairs { t.leave(), t.shutdown() } do
      local r = ask(gateway(), { a = { t.wait "1s", what }, b = { t.wait "5s", "b" } })
      assert.equal("a?0 b?800 a!1000 b!1000", race(r))
      assert.equal("lost", line(r).hedge)
    end
  end)

  it("a client that reads nothing is no slow model", function()
    local g = gateway { more = 'heartbeat = "100ms"' }
    local r = ask(g, { a = { t.slow(true), t.wait "3s", t.slow(false), t.wait "700ms", "a" } })
    assert.equal("a", r.text)
    assert.equal("a?0", race(r))
  end)

  it("answers that are one document are hedged as they come", function()
    local front = [[{ name = "w", speaks = "openai", methods = "POST", read = function(req) req.messages = { { role = "user", content = "x" } } req.stream = false end,
      error = function(err) return { error = { code = err.code } } end, open = function() end, finish = function() end,
      whole = function(answer) return { model = answer.model, text = answer.blocks[1].text, finish = answer.finish[0] } end }]]
    local r = ask(gateway { front = front }, { a = { t.wait "5s", "no" }, b = { "b1 ", t.wait "1s", "b2", { finish = "length" } } })
    assert.equal("a?0 b?800 a!800", race(r))
    assert.equal(200, r.status)
    assert.equal("b1 b2", require("dkjson").decode(r.body).text)
    assert.equal("b", require("dkjson").decode(r.body).model)
    assert.is_true(r.upstream[1].stream)
  end)

  it("bytes that pass are the winner's", function()
    local front = [[{ name = "same", speaks = "openai", methods = "GET, POST", read = function(req) req.messages, req.stream = { { role = "user", content = "x" } }, true end,
      error = function(err) return { error = { code = err.code } } end, open = function() end, finish = function() end }]]
    local r = ask(gateway { front = front }, { a = { t.raw 'data: {"choices":[{"delta":{"role":"a"}}]}\n\n', t.wait "5s", "no" },
      b = { t.raw 'data: {"choices":[{"delta":{"role":"b"}}]}\n\n', "yes" } })
    local bytes = {}
    for _, e in ipairs(r.log) do if e.what == "write" then bytes[#bytes + 1] = e.bytes end end
    assert.equal('data: {"choices":[{"delta":{"role":"b"}}]}\n\ndata: {"choices":[{"delta":{"content":"yes"},"index":0}]}\n\ndata: [DONE]\n\n', table.concat(bytes))
  end)
end)

describe("the budget", function()
  it("is a share of the requests, counted", function()
    local g = gateway { budget = ', budget = "25%"' }
    local hedged = ""
    for _ = 1, 12 do
      local r = ask(g, { a = { t.wait "1s", "a" }, b = { t.wait "1s", "b" } })
      hedged = hedged .. (#r.upstream - 1)
    end
    assert.equal("000100010001", hedged)
    assert.equal(3, g:count "hedges_started")
    assert.equal(9, g:count "hedges_unpaid")
  end)

  it("is a tenth by default, of which a quiet time saves ten", function()
    local g = gateway { budget = "" }
    for _ = 1, 150 do ask(g, { a = { "a" } }) end
    local hedges = 0
    for _ = 1, 30 do hedges = hedges + #ask(g, { a = { t.wait "1s", "a" }, b = { t.wait "1s", "b" } }).upstream - 1 end
    assert.is_true(hedges >= 12 and hedges <= 13, hedges)
  end)
end)

describe("mistakes", function()
  for text, want in pairs { [', budget = "101%"'] = 'must be a share of the requests from "0.1%" to "100%", is the text "101%"', [", budget = 10"] = "must be a share", [', buget = "1%"'] = 'did you mean "budget"' } do
    it("are told: " .. text, function()
      local g, why = gateway { budget = text }
      assert.is_nil(g)
      assert.truthy(why:find("routes.ask.hedge", 1, true) and why:find(want, 1, true), why)
    end)
  end
end)

-- ---- beside pools, places and breakers (stream/pick.c)

local function pooled(more)
  return assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0",
  models = {
    a = { provider = "openai", url = "http://a.test/v1", model = "a", max_parallel = 1, breaker = { failures = 1, open = "30s" } },
    b = { provider = "openai", url = "http://b.test/v1", model = "b", max_parallel = 1, breaker = { failures = 1, open = "30s" } },
    c = { provider = "openai", url = "http://c.test/v1", model = "c" },
    both = { pool = { "a", "b" } },
  },
  routes = { ask = { path = "/api/stream", front = "token", target = { "both", "c" }, hedge = { after = "1s", budget = "100%%" }, %s } } }
]]):format(more or "") })
end

local SLOW = { t.wait "5s", "slow" }

describe("a hedge of a pool", function()
  before_each(t.forget)

  it("goes to another member, and both places are given back", function()
    local g = pooled()
    for _ = 1, 3 do
      local r = g:ask { q = "x", no_shake = true, upstream = { a = SLOW, b = { "b" }, c = { "c" } } }
      assert.equal("b", r.text)
      assert.same({ "a", "b" }, { r.upstream[1].target, r.upstream[2].target })
      g:advance "1s"
      r = g:ask { q = "x", no_shake = true, upstream = { a = { "a" }, b = SLOW, c = { "c" } } }
      assert.equal("a", r.text)
    end
  end)

  it("goes on to the plan when the other member is full", function()
    local g = pooled()
    local held = g:start { q = "x" }
    local r = g:ask { q = "x", no_shake = true, upstream = { a = SLOW, b = SLOW, c = { "c" } } }
    assert.equal("c", r.text)
    assert.equal(2, #r.upstream)
    held:step(held.last, t.leave())
  end)

  it("that fails opens its own breaker, not that of the first", function()
    local g = pooled()
    local r = g:ask { q = "x", no_shake = true, upstream = { a = SLOW, b = { t.fail(500) }, c = { "c" } } }
    assert.equal("slow", r.text)
    r = g:ask { q = "x", no_shake = true, upstream = { a = { "a" }, b = { "b" }, c = { "c" } } }
    assert.same({ "a", "a" }, { r.text, r.upstream[1].target })
    r = g:ask { q = "x", no_shake = true, upstream = { a = { "a" }, b = { "b" }, c = { "c" } } }
    assert.equal("a", r.text)
  end)

  it("whose first one fails goes on alone; the plan then goes on behind both", function()
    local g = pooled()
    local r = g:ask { q = "x", no_shake = true, upstream = { a = { t.wait "2s", t.fail(500) }, b = { t.wait "2s", t.fail(500) }, c = { "c" } } }
    assert.equal("c", r.text)
    assert.same({ "a", "b", "c" }, { r.upstream[1].target, r.upstream[2].target, r.upstream[3].target })
  end)
end)
