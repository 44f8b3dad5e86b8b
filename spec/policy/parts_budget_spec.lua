-- sluice.parts.budget: what is reserved, what is counted at the end, and that parallel requests never overspend.
local t = require "sluice.testing"

-- Spent money outlives a world as it outlives a reload: each gateway here has a budget of its own name. Output costs 1 USD per thousand tokens, input
-- nothing, unless said otherwise. /spent says what the key k has spent.
local n = 0
local function gateway(options, more)
  n = n + 1
  return assert(t.load { source = ([[
local sluice = require "sluice"
local spent = sluice.counter("budget/b%d", { window = "1d" })
local auth, P = sluice.policy { name = "auth" }, sluice.policy { name = "p" }
function auth.accept(head, ctx) ctx.key = { id = head.headers["x-key"] or "k" } end
local tell = sluice.policy { name = "tell" }
function tell.validate(req) return sluice.reply(("%%.6f"):format(spent:get(req.query.q or "k"))) end
%s
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name } end
local OUT = { input = 0, output = 1000 }
return sluice.config { api = 1, listen = ":0",
  models = { m = model "m", second = model "second", dear = model "dear", mine = { answer = function(_, out) out:text "a" out:text "b" end } },
  routes = {
    ask = { path = "/api/stream", front = "token", target = "m", policies = { auth, P,
      sluice.parts.budget { name = "b%d", prices = { m = OUT, second = OUT, mine = OUT }, %s } } },
    spent = { path = "/spent", front = "token", target = "m", policies = { tell } },
  } }
]]):format(n, more or "", n, options) })
end

local function spent(g, key) return tonumber(g:ask({ path = "/spent", q = key or "k", no_shake = true }).text) end

local function usage(input, output) return t.raw(('data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n'):format(input, output)) end

local function ask(g, want)
  want.q, want.no_shake = want.q or "x", true
  return g:ask(want)
end

describe("a budget", function()
  it("counts what the model says it used", function()
    local g = gateway "daily_usd = 5, max_tokens = 1000"
    local r = ask(g, { upstream = { "a", "b", usage(10, 123) } })
    assert.equal("ab", r.text)
    assert.equal("4.0000", r.headers["x-budget-left-usd"])      -- its most is still reserved
    assert.near(0.123, spent(g), 1e-9)
    r = ask(g, { upstream = { "a", usage(10, 100) } })
    assert.equal("3.8770", r.headers["x-budget-left-usd"])
    assert.near(0.223, spent(g), 1e-9)
  end)

  it("asks the model for its usage and bounds its answer, but keeps the client's own words", function()
    local body = ask(gateway "max_tokens = 1000", { upstream = { "a" } }).upstream[1].body
    assert.equal(1000, body.max_tokens)
    assert.same({ include_usage = true }, body.stream_options)
    body = ask(gateway("ask_usage = false", "function P.prompt(req) req.params.max_completion_tokens = 7 end"), { upstream = { "a" } }).upstream[1].body
    assert.is_nil(body.max_tokens)
    assert.equal(7, body.max_completion_tokens)
  end)

  it("counts an estimate when the model says nothing, also of a Lua model", function()
    local g = gateway "max_tokens = 1000"
    ask(g, { upstream = { "a", "b", "c" } })
    assert.near(0.003, spent(g), 1e-9)
    g = gateway("max_tokens = 1000", 'function P.route() return "mine" end')
    assert.equal("ab", ask(g, {}).text)
    assert.near(0.002, spent(g), 1e-9)
  end)

  it("counts the prompt, and reserves a token for each byte of it", function()
    local g = gateway "daily_usd = 1, prices = { m = { input = 1000, output = 0 } }"
    assert.equal(200, ask(g, { q = ("x"):rep(400), upstream = { "a", usage(100, 1) } }).status)
    assert.near(0.1, spent(g), 1e-9)
    assert.equal("budget_used_up", ask(g, { q = ("x"):rep(860) }).error.code)
    assert.equal("request_too_costly", ask(g, { q = ("x"):rep(1000) }).error.code)
  end)

  it("counts what was seen when the client leaves", function()
    local g = gateway "max_tokens = 1000"
    local r = ask(g, { upstream = { "a", "b", t.leave() } })
    assert.is_true(r.canceled)
    assert.near(0.002, spent(g), 1e-9)
  end)

  it("counts what was seen when the model breaks off", function()
    local g = gateway "max_tokens = 1000"
    assert.equal("upstream_reset", ask(g, { upstream = { "a", "b", "c", t.reset() } }).error.code)
    assert.near(0.003, spent(g), 1e-9)
  end)

  for name, failure in pairs { ["refused"] = t.fail(500), ["was busy"] = t.fail(429), ["could not be reached"] = t.break_with "upstream_connect_failed" } do
    it("counts nothing when the model " .. name, function()
      local g = gateway "max_tokens = 1000"
      assert.is_true(ask(g, { upstream = { failure } }).status >= 429)
      assert.equal(0, spent(g))
    end)
  end

  it("counts nothing of a request that another policy refused, before or after", function()
    local g = gateway("max_tokens = 1000", 'function P.prompt() return sluice.reject(403, "no", "No.") end')
    assert.equal(403, ask(g, {}).status)
    assert.equal(0, spent(g))
    g = gateway("max_tokens = 1000 }, { late", 'local late = sluice.policy { name = "late" } function late.attempt() return sluice.reject(403, "no", "No.") end')
    assert.equal(403, ask(g, {}).status)
    assert.equal(0, spent(g))
  end)
end)

describe("a budget that is used up", function()
  it("refuses with 429 and says when to come back", function()
    local g = gateway "daily_usd = 1, max_tokens = 600"
    ask(g, { upstream = { "a", usage(1, 500) } })
    local r = ask(g, {})
    assert.equal(429, r.status)
    assert.same({ error = "The budget of this key is used up for today.", code = "budget_used_up" }, r.error)
    assert.is_true(tonumber(r.headers["retry-after"]) > 0 and tonumber(r.headers["retry-after"]) <= 86400)
    assert.equal(0, #r.upstream)
    assert.near(0.5, spent(g), 1e-9)
  end)

  it("is of the type insufficient_quota", function()
    local g = gateway("daily_usd = 1, max_tokens = 600 }, { shown", [[local shown = sluice.policy { name = "shown" }
      function shown.error(err) return { extra = { type = err.type } } end]])
    ask(g, { upstream = { "a", usage(1, 500) } })
    assert.equal("insufficient_quota", ask(g, {}).error.type)
  end)

  it("lets a request through that costs less", function()
    local g = gateway("daily_usd = 1", "function P.prompt(req) req.params.max_tokens = tonumber(req.query.q) end")
    ask(g, { q = "600", upstream = { "a", usage(1, 500) } })
    assert.equal(429, ask(g, { q = "501" }).status)
    assert.equal(200, ask(g, { q = "500", upstream = { "a", usage(1, 1) } }).status)
  end)

  it("is fresh the next day", function()
    local g = gateway "daily_usd = 1, max_tokens = 600"
    ask(g, { upstream = { "a", usage(1, 500) } })
    local wait = tonumber(ask(g, {}).headers["retry-after"])
    g.world:skip((wait - 1) * 1000)
    assert.equal(429, ask(g, {}).status)
    g.world:skip(1000)
    assert.equal(200, ask(g, { upstream = { "a" } }).status)
  end)

  it("says so when a request can never fit", function()
    local r = ask(gateway "daily_usd = 1, max_tokens = 1001", {})
    assert.equal(400, r.status)
    assert.equal("request_too_costly", r.error.code)
    assert.equal("This request could cost up to 1.0010 USD; the budget of a day is 1.00 USD. Ask for fewer tokens (max_tokens).", r.error.error)
    assert.is_nil(r.headers["retry-after"])
  end)

  it("does not stand in the way of what is free", function()
    local g = gateway "daily_usd = 0, prices = { m = { input = 0, output = 0 } }"
    assert.equal("a", ask(g, { upstream = { "a" } }).text)
  end)
end)

describe("parallel requests", function()
  it("never overspend: the most that each may cost is reserved", function()
    local g = gateway "daily_usd = 1, max_tokens = 400"
    local running = {}
    for i = 1, 5 do running[i] = g:start { q = "x" } end
    local served = 0
    for _, x in ipairs(running) do
      if #x.upstream > 0 then
        served = served + 1
        x:answer { "a", usage(1, 400) }
        assert.equal("a", x.text)
      else
        assert.equal(429, x.status)
      end
    end
    assert.equal(2, served)
    assert.near(0.8, spent(g), 1e-9)
  end)

  it("give back what they did not use, to those that come later", function()
    local g = gateway "daily_usd = 1, max_tokens = 400"
    local a, b = g:start { q = "x" }, g:start { q = "x" }
    assert.equal(429, ask(g, {}).status)
    a:answer { "a", usage(1, 10) }
    assert.equal(200, ask(g, { upstream = { "a", usage(1, 10) } }).status)
    b:answer { t.leave() }
    assert.near(0.02, spent(g), 1e-9)
  end)

  it("hold their own keys apart", function()
    local g = gateway "daily_usd = 1, max_tokens = 1000"
    local a = g:start { q = "x" }
    assert.equal(429, ask(g, {}).status)
    assert.equal(200, ask(g, { headers = { host = "test", ["x-key"] = "other" }, upstream = { "a", usage(1, 5) } }).status)
    a:answer { "a", usage(1, 7) }
    assert.near(0.007, spent(g), 1e-9)
    assert.near(0.005, spent(g, "other"), 1e-9)
  end)

  it("that never end are given back with their gateway", function()
    local g = gateway "daily_usd = 1, max_tokens = 1000"
    g:start { q = "x" }
    assert.equal(1, spent(g))
    local name, again = n, n - 1
    g:close()
    n = again
    g = gateway "daily_usd = 1, max_tokens = 1000"
    assert.equal(name, n)
    assert.equal(0, spent(g))
  end)
end)

describe("tries", function()
  local plan = 'function P.route() return { "m", "second" } end'

  it("reserve one after another: a refused one costs nothing", function()
    local g = gateway("daily_usd = 1, max_tokens = 1000", plan)
    local r = ask(g, { upstream = { m = { t.fail(503) }, second = { "a", usage(1, 20) } } })
    assert.equal("a", r.text)
    assert.near(0.02, spent(g), 1e-9)
  end)

  it("that broke off after their model began to answer count in full", function()
    local g = gateway("daily_usd = 1, max_tokens = 400", plan)
    local r = ask(g, { upstream = { m = { t.head(200), t.reset() }, second = { "a", usage(1, 20) } } })
    assert.equal("a", r.text)
    assert.near(0.42, spent(g), 1e-9)
  end)

  it("end when the next would be too much", function()
    local g = gateway("daily_usd = 1, max_tokens = 600", plan)
    local r = ask(g, { upstream = { m = { t.head(200), t.reset() }, second = { "no" } } })
    assert.equal("budget_used_up", r.error.code)
    assert.equal(1, #r.upstream)
    assert.near(0.6, spent(g), 1e-9)
  end)

  it("of a model without a price are not made", function()
    local r = ask(gateway("", 'function P.route() return "dear" end'), {})
    assert.equal("policy_error", r.error.code)
    assert.equal(0, #r.upstream)
  end)
end)

describe("the owner of a budget", function()
  it("is the key: a text or a table with an id; without one the request is refused", function()
    local g = gateway("max_tokens = 1000", 'function P.validate(_, ctx) ctx.key = "plain" end')
    ask(g, { upstream = { "a", usage(1, 3) } })
    assert.near(0.003, spent(g, "plain"), 1e-9)
    local r = ask(gateway("", "function P.validate(_, ctx) ctx.key = nil end"), {})
    assert.equal(401, r.status)
    assert.equal("key_missing", r.error.code)
    assert.equal("policy_error", ask(gateway("", "function P.validate(_, ctx) ctx.key = { name = 'x' } end"), {}).error.code)
  end)

  it("may be the address", function()
    local g = gateway 'by = "ip", max_tokens = 1000'
    ask(g, { ip = "2001:db8:1:2::7", upstream = { "a", usage(1, 3) } })
    ask(g, { ip = "2001:db8:1:2::8", upstream = { "a", usage(1, 4) } })
    assert.equal(0, spent(g))
    local r = ask(g, { ip = "2001:db8:1:2::9", upstream = { "a" } })
    assert.equal("3.9930", r.headers["x-budget-left-usd"])
  end)

  it("may be what a function says; nil: no limit", function()
    local g = gateway('by = function(ctx) return ctx.vars.who end, daily_usd = 1, max_tokens = 1000', "function P.validate(req, ctx) if req.query.q == 'x' then ctx.vars.who = 'k' end end")
    local r = ask(g, { q = "free", upstream = { "a", usage(1, 900) } })
    assert.equal("a", r.text)
    assert.is_nil(r.headers["x-budget-left-usd"])
    ask(g, { q = "x", upstream = { "a", usage(1, 900) } })
    assert.near(0.9, spent(g), 1e-9)
  end)

  it("may have a limit of its own", function()
    local g = gateway("daily_usd = function(ctx) return ctx.vars.usd end, max_tokens = 1000", "function P.validate(req, ctx) ctx.vars.usd = tonumber(req.query.q) end")
    assert.equal(200, ask(g, { q = "1", upstream = { "a" } }).status)
    assert.equal("request_too_costly", ask(g, { q = "0.9" }).error.code)
    for _, bad in ipairs { "-1", "1e999", "text" } do assert.equal("policy_error", ask(g, { q = bad }).error.code) end
  end)
end)

describe("what a client sends", function()
  for name, value in pairs { ["a text"] = '"5"', ["nothing"] = "0", ["less"] = "-1", ["a fraction"] = "1.5", ["a list"] = "{}", ["too much"] = "math.huge" } do
    for _, param in ipairs { "max_tokens", "max_completion_tokens", "n" } do
      it(("as %s is refused: %s"):format(param, name), function()
        local g = gateway("", ("function P.prompt(req) req.params.%s = %s end"):format(param, value))
        local r = ask(g, {})
        assert.equal(400, r.status)
        assert.equal("param_invalid", r.error.code)
        assert.equal(param .. " must be a whole number above 0.", r.error.error)
        assert.equal(0, spent(g))
      end)
    end
  end

  it("may be null, or more than anyone can pay", function()
    local g = gateway("max_tokens = 100", 'function P.prompt(req) req.params.max_tokens = req.query.q == "null" and sluice.json.null or math.maxinteger end')
    assert.equal(100, ask(g, { q = "null", upstream = { "a" } }).upstream[1].body.max_tokens)
    assert.equal("request_too_costly", ask(g, { q = "x" }).error.code)
  end)

  it("asks for several answers, which cost several times", function()
    local g = gateway("daily_usd = 1, max_tokens = 400", "function P.prompt(req) req.params.n = 3 end")
    assert.equal("request_too_costly", ask(g, {}).error.code)
  end)
end)

describe("a budget's options", function()
  for options, why in pairs {
    [""] = ': policy "budget" needs the option "prices": What each model costs, in USD per million tokens.',
    ["prices = {}"] = ".prices: must hold at least 1, holds 0",
    ["prices = { mm = { input = 1, output = 1 } }"] = '.prices.mm: unknown model "mm"; did you mean "m"? (known: m)',
    ["prices = { m = 3 }"] = ".prices.m: must be a table, is 3",
    ["prices = { m = { input = 3 } }"] = '.prices.m: "output" is missing: USD per million tokens of the answer.',
    ['prices = { m = { input = "3", output = 1 } }'] = '.prices.m.input: must be a number, is the text "3"',
    ["prices = { m = { input = -3, output = 1 } }"] = ".prices.m.input: must be at least 0, is -3",
    ["prices = { m = { input = 0/0, output = 1 } }"] = ".prices.m.input: must be a number, is " .. tostring(0 / 0),
    ["prices = { m = { input = 1, ouput = 1 } }"] = '.prices.m.ouput: there is no "ouput" here; did you mean "output"? (there are: input, output)',
    ["daily_usd = -1, prices = { m = { input = 1, output = 1 } }"] = ".daily_usd: must be at least 0, is -1",
    ['daily_usd = "5", prices = { m = { input = 1, output = 1 } }'] = '.daily_usd: must be a number or a function, is the text "5"',
    ['by = "kye", prices = { m = { input = 1, output = 1 } }'] = '.by: must be one of key, ip, is the text "kye"; did you mean "key"?',
    ["max_tokens = 0, prices = { m = { input = 1, output = 1 } }"] = ".max_tokens: must be at least 1, is 0",
  } do
    it("are refused: " .. options, function()
      local g, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print },\n' ..
        'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.budget { ' .. options .. " } } } } }" }
      assert.is_nil(g)
      assert.equal("4: routes.a.policies[1]" .. why .. "\n", (said:gsub("^[^\n]*/lua_[^:]*:", "")))
    end)
  end
end)
