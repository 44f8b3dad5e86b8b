-- Pools, bounds, breakers and retries of models, as the gateway file declares them: who is asked, when, and that every place is given back.
local t = require "sluice.testing"

local open = {}                                          -- what runs in a gateway that is not closed holds its places

-- what: the models' settings by name; smart: the pool's; route: the route's; lua: hooks of the policy P.
local function gateway(what)
  local models = {}
  for _, name in ipairs { "eu", "us", "ap", "plain" } do
    models[#models + 1] = ('%s = { provider = "openai", url = "http://%s.test/v1", model = "%s", %s }'):format(name, name, name, what[name] or "")
  end
  local g = assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.accept(head, ctx) local id = head.headers["x-key"] if id then ctx.key = { id = id } end end
%s
return sluice.config { api = 1, listen = ":0", models = { %s, %s },
  routes = { ask = { path = "/api/stream", front = "token", policies = { P }, target = %s, %s } } }
]]):format(what.lua or "", table.concat(models, ", "), what.smart and ("smart = { %s }"):format(what.smart) or "", what.target or '"smart"', what.route or "") })
  open[#open + 1] = g
  return g
end

-- A script that begins anew with each try.
local function always(...)
  local steps = { ... }
  return function() return steps end
end

local function asked(r)
  local names = {}
  for i, u in ipairs(r.upstream) do names[i] = u.target end
  return table.concat(names, " ")
end

local ok = { eu = { "e" }, us = { "u" }, ap = { "a" }, plain = { "p" } }
local function answers(changes)
  local out = {}
  for name, script in pairs(ok) do out[name] = changes and changes[name] or script end
  return out
end

local function line_of(r)
  for _, l in ipairs(r.logs) do if l.event == "request" then return l end end
end

local function said(r, event)
  local n = 0
  for _, l in ipairs(r.logs) do n = n + (l.event == event and 1 or 0) end
  return n
end

local function start_anew()
  for _, g in ipairs(open) do g:close() end
  open = {}
  t.forget()
end
before_each(start_anew)

describe("a weighted pool", function()
  it("gives each member exactly its share, evenly", function()
    local g = gateway { smart = 'pool = { "eu", "us" }, weights = { eu = 3 }' }
    local all = {}
    for i = 1, 400 do all[i] = asked(g:ask { q = "x", no_shake = true, upstream = ok }) end
    for from = 1, 397, 4 do
      local us = 0
      for i = from, from + 3 do us = us + (all[i] == "us" and 1 or 0) end
      assert.equal(1, us, "requests " .. from .. " to " .. from + 3)
    end
  end)

  it("counts a request that is asked again with other cuttings once", function()
    local g = gateway { smart = 'pool = { "eu", "us", "ap" }' }
    local all = {}
    for i = 1, 6 do all[i] = asked(g:ask { q = "x", upstream = { eu = { "one", "two" }, us = { "one", "two" }, ap = { "one", "two" } } }) end
    assert.same({ "eu", "us", "ap", "eu", "us", "ap" }, all)
  end)

  it("goes on with its other members, then with the plan", function()
    local g = gateway { smart = 'pool = { "eu", "us" }', target = '{ "smart", "plain" }' }
    local r = g:ask { q = "x", upstream = { eu = { t.fail(500) }, us = { t.reset() }, plain = { "ok" } } }
    assert.equal("ok", r.text)
    assert.equal("eu us plain", asked(r))
    assert.equal("3", line_of(r).tries)
    assert.equal("plain", line_of(r).model)
    assert.is_nil(line_of(r).pool)
    assert.equal(2, g:count "upstream_fallbacks")
  end)

  it("is not asked further when the request is to blame", function()
    local r = gateway { smart = 'pool = { "eu", "us" }', target = '{ "smart", "plain" }' }:ask { q = "x", upstream = answers { eu = { t.fail(400) } } }
    assert.equal("eu", asked(r))
    assert.equal(400, r.status)
  end)

  it("shows policies the member; the log names both", function()
    local g = gateway { smart = 'pool = { "eu", "us" }', lua = [[
      function P.attempt(try, ctx) ctx:tag("tried", try.target .. "," .. ctx.target) end
      function P.fallback(f, ctx) ctx:tag("failed", f.target) end
      function P.finish(fin, ctx) ctx:tag("done", fin.target .. "," .. ctx.target) end]] }
    local r = g:ask { q = "x", no_shake = true, upstream = answers { eu = { t.fail(503) } } }
    assert.same({ tried = "us,us", failed = "eu", done = "us,us" }, r.tags)
    assert.equal("us", line_of(r).model)
    assert.equal("smart", line_of(r).pool)
  end)

  it("may be what a hook route picks", function()
    local g = gateway { smart = 'pool = { "eu", "us" }', target = '"plain"', lua = 'function P.route() return { "smart", "plain" } end' }
    assert.equal("eu us plain", asked(g:ask { q = "x", upstream = { eu = { t.fail(503) }, us = { t.fail(503) }, plain = { "ok" } } }))
  end)
end)

describe("a pool by load", function()
  it("asks the member with the fewest running, for its weight", function()
    local g = gateway { smart = 'pool = { "eu", "us", "ap" }, balance = "least_busy", weights = { ap = 2 }' }
    local running, names = {}, {}
    for i = 1, 8 do
      running[i] = g:start { q = "x" }
      names[i] = asked(running[i])
    end
    local n = { eu = 0, us = 0, ap = 0 }
    for _, name in ipairs(names) do n[name] = n[name] + 1 end
    assert.same({ eu = 2, us = 2, ap = 4 }, n)
    for i = 1, 8 do                                      -- "us" is idle now
      if names[i] == "us" then running[i]:answer { "ok" } end
    end
    assert.equal("us", asked(g:start { q = "x" }))
    assert.equal("us", asked(g:start { q = "x" }))
  end)
end)

describe("affinity", function()
  local function by_key(i) return { headers = { host = "test", ["x-key"] = "key-" .. i } } end
  local function ask(g, how, i, upstream)
    local want = { q = "x", no_shake = true, upstream = upstream or ok }
    for k, v in pairs(how(i)) do want[k] = v end
    return g:ask(want)
  end
  local function map(g, how, n)
    local out = {}
    for i = 1, n or 40 do out[i] = asked(ask(g, how, i)):match "%S+$" end
    return out
  end
  it("sends a key where it went before; who leaves moves only its own, and gets them back", function()
    local g = gateway { smart = 'pool = { "eu", "us", "ap" }, affinity = "key"' }
    local first = map(g, by_key)
    local n = { eu = 0, us = 0, ap = 0 }
    for _, name in ipairs(first) do n[name] = n[name] + 1 end
    assert.is_true(n.eu > 4 and n.us > 4 and n.ap > 4)
    assert.same(first, map(g, by_key))
    local down, mine = answers { eu = { t.fail(503) } }, 0
    for i = 1, 40 do                                     -- until the breaker of "eu" is open
      if first[i] == "eu" and mine < 5 then
        mine = mine + 1
        assert.matches("^eu ", asked(ask(g, by_key, i, down)))
      end
    end
    local without = map(g, by_key)
    for i = 1, 40 do
      if first[i] == "eu" then assert.is_not.equal("eu", without[i]) else assert.equal(first[i], without[i]) end
    end
    assert.same(without, map(g, by_key))
    g:advance "10s"
    assert.same(first, map(g, by_key))
  end)

  it("goes by weights", function()
    local n = 0
    for _, name in ipairs(map(gateway { smart = 'pool = { "eu", "us" }, affinity = "key", weights = { eu = 9 }' }, by_key, 200)) do n = n + (name == "eu" and 1 or 0) end
    assert.is_true(n > 160 and n < 198)
  end)

  it("may be by address, or by what a function says of the request", function()
    local g = gateway { smart = 'pool = { "eu", "us", "ap" }, affinity = "client"' }
    local function by_ip(i) return { ip = "192.0.2." .. i } end
    assert.same(map(g, by_ip), map(g, by_ip))
    g = gateway { smart = 'pool = { "eu", "us", "ap" }, affinity = function(req, caller) return caller.route .. req:last_user():sub(1, 3) end' }
    local function by_text(i) return { q = ("%03d %d"):format(i % 5, i) } end
    local all = map(g, by_text)
    for i = 6, 40 do assert.equal(all[i - 5], all[i]) end
  end)

  it("of nobody is the balance; a function that fails is told and counts as nothing", function()
    local g = gateway { smart = 'pool = { "eu", "us" }, affinity = "key"' }
    assert.same({ "eu", "us", "eu", "us" }, map(g, function() return {} end, 4))
    g = gateway { smart = 'pool = { "eu", "us" }, affinity = function(req, caller) return caller.ip end' }
    local r = g:ask { q = "x", no_shake = true, upstream = ok }
    assert.equal("eu", asked(r))
    assert.equal(1, said(r, "affinity.failed"))
  end)
end)

describe("a breaker", function()
  local down = { t.fail(503) }
  local function fail(g, n, script)
    local last
    for _ = 1, n do last = g:ask { q = "x", no_shake = true, upstream = answers { eu = script or down } } end
    return last
  end

  it("opens after so many failures, is told once, and the model is not asked", function()
    local g = gateway { eu = "breaker = { failures = 3 }", target = '{ "eu", "plain" }' }
    assert.equal("eu plain", asked(fail(g, 2)))
    local r = fail(g, 1)
    assert.equal("eu plain", asked(r))
    assert.equal(1, said(r, "target.open"))
    r = fail(g, 1)
    assert.equal("plain", asked(r))
    assert.equal(0, said(r, "target.open"))
    assert.equal("p", r.text)
    assert.equal(1, g:count "breakers_opened")
    assert.equal(1, g:count "targets_passed_over")
  end)

  it("lets exactly one try once its time is over; that one decides", function()
    local g = gateway { eu = "breaker = { failures = 3, open = '5s' }", target = '{ "eu", "plain" }' }
    fail(g, 3)
    g:advance "5s"
    local trial = g:start { q = "x" }
    assert.equal("eu", asked(trial))
    for _ = 1, 3 do assert.equal("plain", asked(g:ask { q = "x", no_shake = true, upstream = ok })) end
    trial:answer { t.reset(), "p" }
    assert.equal(1, said(trial, "target.open"))
    g:advance "4s"
    assert.equal("plain", asked(fail(g, 1)))
    g:advance "1s"
    trial = g:start { q = "x" }
    assert.equal("eu", asked(trial))
    trial:answer { "ok" }
    assert.equal(1, said(trial, "target.closed"))
    for _ = 1, 3 do assert.equal("eu", asked(g:start { q = "x" })) end
  end)

  it("lets another try when the one that did was given up", function()
    local g = gateway { eu = "breaker = { failures = 3, open = '5s' }", target = '{ "eu", "plain" }' }
    fail(g, 3)
    g:advance "5s"
    g:start({ q = "x" }):answer { t.leave() }
    assert.equal("eu", asked(g:start { q = "x" }))
    assert.equal("plain", asked(g:start { q = "x" }))
  end)

  it("is closed by the first text of its trial, not by the last", function()
    local g = gateway { eu = "breaker = { failures = 3, open = '5s' }", target = '{ "eu", "plain" }' }
    fail(g, 3)
    g:advance "5s"
    local trial = g:start { q = "x" }
    assert.equal("plain", asked(g:start { q = "x" }))
    trial:step(trial.last, "a")
    assert.equal("eu", asked(g:start { q = "x" }))
    assert.equal("eu", asked(g:start { q = "x" }))
  end)

  it("counts what the model did, not what the request is to blame for", function()
    local good = { [400] = true, [401] = true, [404] = true, [422] = true, [429] = true }
    for _, status in ipairs { 400, 401, 404, 422, 429, 500, 502, 503, 529 } do
      start_anew()
      local g = gateway { eu = "breaker = { failures = 3 }", target = '{ "eu", "plain" }' }
      fail(g, 3, { t.fail(status) })
      assert.equal(good[status] and "eu" or "plain", asked(g:start { q = "x" }), status)
    end
    for what, script in pairs {
      connect = { t.break_with "upstream_connect_failed" }, connect_timeout = { t.break_with "upstream_connect_timeout" }, reset = { t.reset() }, cut = { "text", t.reset() },
      first_token = { t.head(200, { ["content-type"] = "text/event-stream" }), t.wait "61s" }, gap = { "text", t.wait "61s" }, truncated = { t.close() },
    } do
      start_anew()
      local g = gateway { eu = "breaker = { failures = 3, window = '10m' }", target = '{ "eu", "plain" }' }
      fail(g, 3, script)
      assert.equal("plain", asked(g:start { q = "x" }), what)
    end
  end)

  it("does not count clients that leave, nor policies that stop", function()
    local g = gateway { eu = "breaker = { failures = 1 }", target = '{ "eu", "plain" }', lua = 'function P.response() return sluice.reject(403, "no", "No.") end' }
    fail(g, 3, { "text" })
    fail(g, 3, { t.leave() })
    assert.equal("eu", asked(g:start { q = "x" }))
  end)

  it("stays closed while most tries go well", function()
    local g = gateway { eu = "breaker = { failures = 3 }", target = '{ "eu", "plain" }' }
    for _ = 1, 10 do
      for _ = 1, 3 do g:ask { q = "x", no_shake = true, upstream = ok } end
      fail(g, 2)
    end
    assert.equal("eu", asked(g:start { q = "x" }))
    assert.equal(1, said(fail(g, 1), "target.open"))     -- the third in a row
  end)

  it("is on for members of pools, off for others, and may be switched", function()
    local g = gateway { smart = 'pool = { "eu", "us" }', target = '"smart"', us = "breaker = false" }
    for _ = 1, 30 do g:ask { q = "x", no_shake = true, upstream = { eu = down, us = down } } end
    assert.equal("us", asked(g:start { q = "x" }))
    start_anew()
    g = gateway { target = '"eu"' }
    for _ = 1, 30 do assert.equal("eu", asked(fail(g, 1))) end
  end)

  it("of the last model gives 503 with the time until it may be asked", function()
    local g = gateway { eu = "breaker = { failures = 3, open = '30s' }", target = '"eu"' }
    fail(g, 3)
    g:advance "10s"
    local r = g:start { q = "x" }:answer()
    assert.equal(503, r.status)
    assert.equal("model_unavailable", r.error.code)
    assert.equal("20", r.headers["retry-after"])
    assert.equal("eu", line_of(r).model)
  end)
end)

describe("max_parallel", function()
  it("counts over all streams; then others are asked, then 429", function()
    local g = gateway { eu = "max_parallel = 2", us = "max_parallel = 1", smart = 'pool = { "eu", "us" }' }
    local all = {}
    for i = 1, 3 do all[i] = g:start { q = "x" } end
    assert.equal("eu us eu", asked(all[1]) .. " " .. asked(all[2]) .. " " .. asked(all[3]))
    local r = g:start { q = "x" }:answer()
    assert.equal(429, r.status)
    assert.equal("model_busy", r.error.code)
    assert.equal("1", r.headers["retry-after"])
    assert.equal(0, #r.upstream)
    all[2]:answer { "done" }
    assert.equal("us", asked(g:start { q = "x" }))
  end)

  it("is no reason to forget why the model before failed", function()
    local g = gateway { plain = "max_parallel = 1", target = '{ "eu", "plain" }' }
    g:start { q = "x" }:answer { t.fail(503) }
    g:start { q = "x" }                                  -- asks "eu"
    local r = gateway { plain = "max_parallel = 1", target = '{ "plain" }' }:start { q = "x" }
    assert.equal("plain", asked(r))                      -- and holds the only place
    r = g:ask { q = "x", upstream = answers { eu = { t.fail(500) } } }
    assert.equal("eu", asked(r))
    assert.equal(502, r.status)
    assert.equal("upstream_status", r.error.code)
  end)

  it("asks the hook fallback when no model is free; it may have them all looked at again", function()
    local g = gateway { eu = "max_parallel = 1", target = '"eu"', lua = [[function P.fallback(f, ctx)
      ctx:tag("why", f.code) sluice.sleep "1s" return "retry" end]] }
    local first = g:start { q = "x" }
    local second = g:start { q = "x" }
    assert.equal(0, #second.upstream)
    assert.equal(429, second:answer().status)            -- ten tries later
    assert.equal("model_busy", second.tags.why)
    assert.equal("10", line_of(second).tries)
    first:answer { "done" }
    assert.equal("eu", asked(g:start { q = "x" }))
    start_anew()
    g = gateway { eu = "max_parallel = 1", target = '"eu"', lua = 'function P.fallback(f) if f.code == "model_busy" then return sluice.reply "Please come back later." end end' }
    g:start { q = "x" }
    assert.equal("Please come back later.", g:start({ q = "x" }):answer().text)
  end)

  describe("is given back", function()
    local ways = {
      done = { { "a", "b" } },
      ["error status"] = { { t.fail(500) } },
      ["refusal"] = { { t.fail(400) } },
      ["connection failed"] = { { t.break_with "upstream_connect_failed" } },
      ["cut after text"] = { { "a", t.reset() } },
      ["client gone before the head"] = { { t.leave() } },
      ["client gone after the head"] = { { t.head(200, { ["content-type"] = "text/event-stream" }), t.leave() } },
      ["client gone in the text"] = { { "a", t.leave() } },
      ["client gone while it reads nothing"] = { { "a", t.slow(true), "b", t.leave() } },
      ["first token timeout"] = { { t.wait "61s" } },
      ["gap timeout"] = { { "a", t.wait "61s" } },
      ["total timeout"] = { { "a", t.wait "10s" }, route = 'timeout = { total = "5s" }' },
      ["shut down"] = { { "a", t.shutdown() } },
      ["reject of response"] = { { "a" }, lua = 'function P.response() return sluice.reject(403, "no", "No.") end' },
      ["reject of attempt"] = { {}, lua = 'function P.attempt() return sluice.reject(403, "no", "No.") end' },
      ["attempt that raises"] = { {}, lua = 'function P.attempt() error "no" end' },
      ["stop of a filter"] = { { "a", "b" }, lua = 'P.filter = { text = function() return sluice.stop { reason = "enough" } end }' },
      ["filter that raises"] = { { "a", "b" }, lua = 'P.filter = { text = function() error "no" end }' },
      ["a gate's reject"] = { { "a" }, lua = 'function P.prompt(_, ctx) ctx:gate(function() sluice.sleep "1s" return sluice.reject(403, "no", "No.") end) end' },
      ["a wait that is too long"] = { { "a" }, lua = 'function P.response() sluice.sleep "1h" end' },
      ["client gone while a hook waits"] = { { t.head(200, { ["content-type"] = "text/event-stream" }), t.leave() }, lua = 'function P.response() sluice.sleep "1s" end' },
      ["a retry that is waited for"] = { { t.fail(503), t.leave() }, route = 'retry = { times = 3, backoff = "5s" }' },
      ["retries"] = { { t.fail(503) }, route = 'retry = { times = 3 }' },
    }
    for name, way in pairs(ways) do
      it("after: " .. name, function()
        local g = gateway { eu = "max_parallel = 1, breaker = false", target = '"eu"', lua = way.lua, route = way.route }
        g:start({ q = "x" }):answer(way[1])
        -- Hooks may refuse before the upstream is asked: what counts is that there is a place.
        local r = g:start { q = "x" }
        if not (way.lua or ""):find "P.attempt" then assert.equal("eu", asked(r)) end
        r:answer { t.leave() }
        r:read()
        assert.is_not.equal("model_busy", r.error and r.error.code)
        assert.equal(0, g:count "targets_passed_over")
      end)
    end
  end)
end)

describe("retry", function()
  -- Seconds between the tries.
  local function waits(r)
    local out, last = {}, nil
    for _, entry in ipairs(r.log) do
      if entry.what == "attempt" then
        if last then out[#out + 1] = entry.at - last end
        last = entry.at
      end
    end
    return out
  end
  local function failing(...)
    local scripts, n = { ... }, 0
    return function() n = n + 1 return scripts[n] or { "ok" } end
  end

  it("asks the same model again, after waits that are drawn below a bound that doubles", function()
    local longest = { 0, 0, 0 }
    local g = gateway { target = '{ "eu", "plain" }', route = 'retry = { times = 3, backoff = "200ms", max = "500ms" }' }
    for _ = 1, 50 do
      local r = g:ask { q = "x", no_shake = true, upstream = { eu = always(t.fail(503)), plain = { "ok" } } }
      assert.equal("eu eu eu eu plain", asked(r))
      for i, bound in ipairs { 0.2, 0.4, 0.5 } do
        assert.is_true(waits(r)[i] > 0 and waits(r)[i] < bound + 0.0005)
        longest[i] = math.max(longest[i], waits(r)[i])
      end
    end
    assert.is_true(longest[2] > 0.2 and longest[3] > 0.4)
    assert.equal(150, g:count "upstream_retries")
    assert.equal(50, g:count "upstream_fallbacks")
  end)

  it("waits the same again when the same is played again", function()
    local function play()
      local g = gateway { target = '"eu"', route = "retry = { times = 3 }" }
      return waits(g:ask { q = "x", no_shake = true, upstream = failing({ t.fail(503) }, { t.reset() }, { t.fail(429) }) })
    end
    local first = play()
    assert.equal(3, #first)
    assert.same(first, play())
  end)

  it("gives a model the time that it asks for, or asks another", function()
    local g = gateway { target = '{ "eu", "plain" }', route = 'retry = { times = 2, backoff = "100ms", max = "3s" }' }
    local r = g:ask { q = "x", no_shake = true, upstream = { eu = failing({ t.fail(429, { ["retry-after"] = "3" }) }), plain = { "p" } } }
    assert.equal("eu eu", asked(r))
    assert.is_true(waits(r)[1] >= 3 and waits(r)[1] < 3.1)
    r = g:ask { q = "x", no_shake = true, upstream = { eu = failing({ t.fail(503, { ["retry-after"] = "4" }) }), plain = { "p" } } }
    assert.equal("eu plain", asked(r))
    assert.is_true(waits(r)[1] < 0.1)
    r = g:ask { q = "x", no_shake = true, upstream = { eu = failing({ t.fail(503, { ["retry-after"] = "99999999999999999" }) }), plain = { "p" } } }
    assert.equal("eu plain", asked(r))
  end)

  it("is for what may pass, not for what the request or the time is to blame for", function()
    local g = gateway { target = '{ "eu", "plain" }', route = 'retry = { times = 1 }' }
    for _, step in ipairs { t.fail(401), t.fail(404), t.wait "61s" } do
      assert.equal("eu plain", asked(g:ask { q = "x", no_shake = true, upstream = answers { eu = always(step) } }))
    end
    assert.equal("eu", asked(g:ask { q = "x", no_shake = true, upstream = answers { eu = always(t.fail(400)) } }))
  end)

  it("is a model's own, if it says so", function()
    local g = gateway { target = '{ "eu", "us", "plain" }', eu = "retry = { times = 2 }", us = "retry = false", route = "retry = { times = 1 }" }
    local bad = always(t.fail(503))
    assert.equal("eu eu eu us plain plain", asked(g:ask { q = "x", no_shake = true, upstream = { eu = bad, us = bad, plain = bad } }))
  end)

  it("comes before the other members of a pool, and ends when the breaker opens", function()
    local g = gateway { smart = 'pool = { "eu", "us" }', eu = "breaker = { failures = 3 }", route = "retry = { times = 9 }" }
    assert.equal("eu eu eu us", asked(g:ask { q = "x", no_shake = true, upstream = answers { eu = always(t.fail(503)) } }))
  end)

  it("makes ten tries at most", function()
    local g = gateway { target = '{ "eu", "us", "plain" }', route = "retry = { times = 9 }" }
    local bad = always(t.fail(503))
    assert.equal(10, #g:ask({ q = "x", no_shake = true, upstream = { eu = bad, us = bad, plain = bad } }).upstream)
    g = gateway { target = '{ "eu", "us", "plain" }', route = "retry = { times = 4 }" }
    assert.equal("eu eu eu eu eu us us us us us", asked(g:ask { q = "x", no_shake = true, upstream = { eu = bad, us = bad, plain = bad } }))
  end)

  it("does not wait beyond the time that the route has", function()
    local g = gateway { target = '{ "eu", "plain" }', route = 'retry = { times = 2, max = "30s" }, timeout = { total = "5s" }' }
    local r = g:ask { q = "x", no_shake = true, upstream = answers { eu = { t.fail(503, { ["retry-after"] = "6" }) } } }
    assert.equal("eu plain", asked(r))
  end)

  it("waits behind what the hook fallback says", function()
    local g = gateway { target = '{ "eu", "plain" }', route = "retry = { times = 2 }", lua = 'function P.fallback(f) if f.status == 503 then return "next" end end' }
    assert.equal("eu plain", asked(g:ask { q = "x", no_shake = true, upstream = answers { eu = { t.fail(503) } } }))
    assert.equal("eu eu eu plain", asked(g:ask { q = "x", no_shake = true, upstream = answers { eu = always(t.fail(500)) } }))
    g = gateway { target = '{ "eu", "plain" }', route = "retry = { times = 2 }", lua = 'function P.fallback(f) return "fail" end' }
    assert.equal("eu", asked(g:ask { q = "x", no_shake = true, upstream = answers { eu = { t.fail(503) } } }))
  end)

  it("sends heartbeats while it waits, and ends with its client", function()
    local g = gateway { target = '"eu"', route = 'retry = { times = 2, max = "1m" }, heartbeat = "10s"' }
    local r = g:ask { q = "x", no_shake = true, upstream = { eu = failing({ t.fail(503, { ["retry-after"] = "45" }) }) } }
    assert.equal("ok", r.text)
    assert.equal(4, r.comments)
    local x = g:start { q = "x" }
    x:step(x.last, t.fail(503, { ["retry-after"] = "45" }))
    x:pass(20000)
    x:step(x.last, t.leave())
    x:pass(60000)
    x:read()
    assert.equal(1, #x.upstream)
    assert.equal(2, x.comments)
    assert.equal("client_closed", line_of(x)["end"])
  end)
end)

describe("a first token that does not come", function()
  it("cancels the model before the next is asked", function()
    local g = gateway { smart = 'pool = { "eu", "us" }', eu = 'timeout = { first_token = "2s" }' }
    local r = g:ask { q = "x", no_shake = true, upstream = answers { eu = { t.head(200, { ["content-type"] = "text/event-stream" }), t.wait "2s" } } }
    local order = {}
    for _, e in ipairs(r.log) do
      if e.what == "attempt" or e.what == "cancel" then order[#order + 1] = e.what .. (e.target and " " .. e.target or "") end
    end
    assert.same({ "attempt eu", "cancel", "attempt us" }, order)
    assert.equal("u", r.text)
    assert.equal("2", line_of(r).tries)
  end)
end)

describe("what is written wrong", function()
  local function complaints(models)
    local g, why = t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { eu = { provider = "openai", url = "http://eu.test/v1", model = "m" }, %s },
  routes = { ask = { path = "/api/stream", front = "token", target = "eu" } } }
]]):format(models) }
    assert.is_nil(g)
    return why
  end

  for models, sentence in pairs {
    ['x = { pool = { "eu", "uss" } }'] = 'models.x.pool[2]: unknown model "uss"',
    ['x = { pool = { "eu" } }, y = { pool = { "x" } }'] = 'models.y.pool[1]: "x" is a pool itself; name its members here',
    ['x = { pool = { "eu", "eu" } }'] = 'models.x.pool[2]: names "eu" twice; give it a greater weight instead',
    ["x = { pool = {} }"] = "models.x.pool: names no model",
    ['x = { pool = "eu", weights = { us = 2 } }'] = 'models.x.weights.us: "us" is not in the pool',
    ['x = { pool = "eu", weights = { eu = 0 } }'] = "models.x.weights.eu: must be a whole number from 1 to 100, is 0",
    ['x = { pool = "eu", balance = "random" }'] = 'models.x.balance: must be "weighted" or "least_busy", is the text "random"',
    ['x = { pool = "eu", affinity = "ip" }'] = 'models.x.affinity: must be "key" or "client", is the text "ip"',
    ['x = { pool = "eu", max_parallel = 3 }'] = "models.x.max_parallel: a model with a pool has no max_parallel: its members have",
    ["x = { answer = function() end, balance = 'weighted' }"] = "models.x.balance: only a model with a pool has balance",
    ["x = { answer = function() end, breaker = { failure = 3 } }"] = 'models.x.breaker.failure: a breaker has no setting "failure"; did you mean "failures"?',
    ["x = { answer = function() end, probe = { path = '/' } }"] = "models.x.probe: a model with an answer function has no probe",
    ["x = { provider = 'openai', url = 'http://x', model = 'm', probe = { path = '/', timeout = '11s' } }"] = "models.x.probe: a probe's timeout must not be longer than the time between two (every)",
    ["x = { answer = function() end, retry = { times = 10 } }"] = "models.x.retry.times: must be a whole number from 1 to 9, is 10",
    ["x = { answer = function() end, retry = { times = 1, backoff = '9s' } }"] = "models.x.retry: max, the longest wait, must not be shorter than backoff, the first",
  } do
    it(models, function() assert.is_truthy(complaints(models):find(sentence, 1, true), complaints(models)) end)
  end
end)
