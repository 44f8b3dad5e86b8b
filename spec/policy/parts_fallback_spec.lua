-- sluice.parts.fallback: which failures are worth another try, of whom, and after what wait.
local t = require "sluice.testing"

local function gateway(options, more)
  more = more or {}
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name } end
return sluice.config { api = 1, listen = ":0",
  models = { smart = model "smart", plain = model "plain", third = model "third", mine = { answer = function(_, out) out:text "mine" end }, broken = { answer = function() error "broken" end } },
  routes = { ask = { path = "/api/stream", front = "token", target = %s, timeout = { total = "%s" }, policies = { P, sluice.parts.fallback { %s } } } } }
]]):format(more.lua or "", more.target or '"smart"', more.total or "60s", options) })
end

local function asked(r)
  local names = {}
  for i, u in ipairs(r.upstream) do names[i] = u.target end
  return table.concat(names, " ")
end

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

describe("the plan", function()
  it("is the target first, then the models", function()
    local r = gateway('models = { "plain", "third" }'):ask { q = "x", upstream = { smart = { t.fail(503) }, plain = { t.fail(503) }, third = { "ok" } } }
    assert.equal("ok", r.text)
    assert.equal("smart plain third", asked(r))
  end)

  it("begins with what a policy before picked, and names no model twice", function()
    local r = gateway('models = { "smart", "plain", "plain", "third" }', { lua = 'function P.route() return "third" end' }):ask { q = "x",
      upstream = { smart = { t.fail(503) }, plain = { "ok" }, third = { t.fail(503) } } }
    assert.equal("third smart plain", asked(r))
  end)

  it("may end with a Lua model", function()
    assert.equal("mine", gateway('models = { "mine" }'):ask({ q = "x", upstream = { smart = { t.fail(503) } } }).text)
  end)

  it("ends with the last failure", function()
    local r = gateway('models = { "plain" }'):ask { q = "x", upstream = { smart = { t.fail(503) }, plain = { t.fail(429, { ["retry-after"] = "9" }) } } }
    assert.equal(429, r.status)
    assert.equal("9", r.headers["retry-after"])
  end)
end)

describe("a failure", function()
  local every = { connect = { t.break_with "upstream_connect_failed", t.break_with "upstream_connect_timeout", t.break_with "upstream_resolve_failed", t.break_with "upstream_tls_failed" },
    timeout = { t.wait "61s", t.break_with "upstream_connect_timeout" },
    broken = { t.reset(), t.close(), t.raw "data: {\n\n", t.head(200, { ["content-type"] = "text/html" }), t.break_with "upstream_protocol" },
    error = { t.raw 'data: {"error":{"message":"no"}}\n\n' }, ["429"] = { t.fail(429) }, ["5xx"] = { t.fail(500), t.fail(529) }, ["4xx"] = { t.fail(400), t.fail(429) }, ["401"] = { t.fail(401) } }
  for kind, failures in pairs(every) do
    for i, failure in ipairs(failures) do
      it(("is %s: %d"):format(kind, i), function()
        local r = gateway(('models = { "plain" }, on = { "%s" }'):format(kind), { total = "5m" }):ask { q = "x", upstream = { smart = { failure }, plain = { "ok" } } }
        assert.equal("ok", r.text)
      end)
    end
  end

  it("of a Lua model is an error", function()
    assert.equal("ok", gateway('models = { "plain" }, on = { "error" }', { target = '"broken"' }):ask({ q = "x", upstream = { plain = { "ok" } } }).text)
  end)

  it("that is not named is the client's at once", function()
    for failure, on in pairs { [t.fail(500)] = '"connect", "429", "4xx", "503"', [t.reset()] = '"connect", "5xx", "timeout", "error"', [t.fail(401)] = '"429", "5xx"' } do
      local r = gateway(('models = { "plain" }, on = { %s }, retry = { times = 3 }'):format(on)):ask { q = "x", upstream = { smart = { failure }, plain = { "no" } } }
      assert.equal("smart", asked(r))
      assert.equal("upstream", r.error.code:match "^%a+")
    end
  end)

  it("is a usual one without `on`; a request that was found wrong is not asked again", function()
    local g = gateway 'models = { "plain" }'
    for _, failure in ipairs { t.fail(500), t.fail(429), t.reset(), t.break_with "upstream_connect_failed" } do
      assert.equal("ok", g:ask({ q = "x", upstream = { smart = { failure }, plain = { "ok" } } }).text)
    end
    for _, status in ipairs { 400, 401, 404, 422 } do assert.equal("smart", asked(g:ask { q = "x", upstream = { smart = { t.fail(status) }, plain = { "no" } } })) end
  end)

  it("after text was sent is the client's", function()
    local r = gateway('models = { "plain" }, retry = { times = 2 }'):ask { q = "x", upstream = { smart = { "a", t.reset() }, plain = { "no" } } }
    assert.equal("a", r.text)
    assert.equal("upstream_reset", r.error.code)
    assert.equal("smart", asked(r))
  end)
end)

describe("a retry", function()
  it("waits, twice as long each time, then the next model is asked", function()
    local g = gateway 'models = { "plain" }, retry = { times = 3, backoff = "200ms" }, jitter = 0'
    local r = g:ask { q = "x", upstream = { smart = { t.fail(503), t.fail(503), t.fail(503), t.fail(503) }, plain = { "ok" } } }
    assert.equal("smart smart smart smart plain", asked(r))
    for i, s in ipairs { 0.2, 0.4, 0.8, 0 } do assert.near(s, waits(r)[i], 0.0015) end
  end)

  it("may succeed", function()
    local r = gateway('models = { "plain" }, retry = { times = 1 }'):ask { q = "x", upstream = { smart = { t.fail(503), "ok" } } }
    assert.equal("ok", r.text)
    assert.equal("smart smart", asked(r))
  end)

  it("is counted for each model on its own", function()
    local r = gateway('models = { "plain" }, retry = { times = 1, backoff = "1ms" }'):ask { q = "x", upstream = { smart = { t.fail(503), t.fail(503) }, plain = { t.fail(500), "ok" } } }
    assert.equal("smart smart plain plain", asked(r))
    assert.equal("ok", r.text)
  end)

  it("waits at most four seconds", function()
    local r = gateway('retry = { times = 4, backoff = "3s" }, jitter = 0'):ask { q = "x", upstream = { smart = { t.fail(503), t.fail(503), t.fail(503), "ok" } } }
    for i, s in ipairs { 3, 4, 4 } do assert.near(s, waits(r)[i], 0.0015) end
  end)

  it("is shortened at random by up to the jitter", function()
    local g = gateway 'retry = { times = 1, backoff = "1s" }, jitter = 0.5'
    local least, most = math.huge, 0
    for _ = 1, 50 do
      local wait = waits(g:ask { q = "x", no_shake = true, upstream = { smart = { t.fail(503), "ok" } } })[1]
      least, most = math.min(least, wait), math.max(most, wait)
    end
    assert.is_true(least >= 0.5 and most <= 1.001)
    assert.is_true(most - least > 0.1)                  -- fifty draws closer together than that: once in 2^100
  end)

  it("comes when the model asks for it, if that is soon", function()
    local function after(seconds)
      return gateway('models = { "plain" }, retry = { times = 1, backoff = "10ms" }'):ask { q = "x", upstream = { smart = { t.fail(429, { ["retry-after"] = seconds }), "ok" }, plain = { "other" } } }
    end
    local r = after "2"
    assert.equal("ok", r.text)
    assert.near(2, waits(r)[1], 0.0015)
    r = after "5"
    assert.equal("other", r.text)
    assert.near(0, waits(r)[1], 0.0015)
    assert.equal("other", after("9223372036854775807").text)
  end)

  it("is not made when its wait would outlast the route's time", function()
    local g = gateway('models = { "plain" }, retry = { times = 2, backoff = "1s" }, jitter = 0', { total = "2s" })
    local r = g:ask { q = "x", upstream = { smart = { t.fail(503), t.fail(503) }, plain = { "ok" } } }
    assert.equal("smart smart plain", asked(r))
    assert.equal("ok", r.text)
  end)

  it("comes to an end: ten tries", function()
    local fails = {}
    for i = 1, 20 do fails[i] = t.fail(503) end
    local r = gateway('models = { "plain" }, retry = { times = 9, backoff = "1ms" }'):ask { q = "x", upstream = { smart = fails, plain = fails } }
    assert.equal(10, #r.upstream)
    assert.equal("upstream_status", r.error.code)
  end)

  it("ends with the client", function()
    local g = gateway 'retry = { times = 5, backoff = "3s" }, jitter = 0'
    local x = g:start { q = "x" }
    x:take(x.world:head(x.id, x.last.which, 503))
    x:take(x.world:gone(x.id))
    assert.is_true(x.closed)
    assert.equal(1, #x.upstream)
  end)
end)

describe("fallback's options", function()
  for options, why in pairs {
    ['models = { "plian" }'] = '.models[1]: unknown model "plian"; did you mean "plain"? (known: m, plain)',
    ['models = "plain"'] = '.models: must be a list, is the text "plain"',
    ['models = { 7 }'] = ".models[1]: must be the name of a model, is 7",
    ['models = { "m", "m", "m", "m", "m", "m", "m", "m" }'] = ".models: must hold at most 7, holds 8",
    ["on = {}"] = ".on: must hold at least 1, holds 0",
    ['on = { "conect" }'] = '.on[1]: must be one of connect, timeout, broken, error, 4xx, 5xx, 400, 401, 402, 403, ' ..
      '404, 408, 409, 413, 422, 425, 429, 500, 502, 503, 504, 529, is the text "conect"; did you mean "connect"?',
    ["on = { 429 }"] = ".on[1]: must be a text, is 429",
    ["retry = 2"] = ".retry: must be a table, is 2",
    ["retry = { time = 2 }"] = '.retry.time: there is no "time" here; did you mean "times"? (there are: backoff, times)',
    ["retry = { times = 10 }"] = ".retry.times: must be at most 9, is 10",
    ["retry = { backoff = 200 }"] = '.retry.backoff: ambiguous duration 200: write "200ms" or "200s"',
    ['retry = { backoff = "5s" }'] = '.retry.backoff: must be at most "4000ms", is the text "5s"',
    ["jitter = 2"] = ".jitter: must be at most 1, is 2",
    ['hedge = "1s"'] = '.hedge: policy "fallback" has no option "hedge" (it has jitter, models, on, retry)',
    ['first_token = "1s"'] = '.first_token: policy "fallback" has no option "first_token" (it has jitter, models, on, retry)',
  } do
    it("are refused: " .. options, function()
      local g, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print, plain = print },\n' ..
        'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.fallback { ' .. options .. " } } } } }" }
      assert.is_nil(g)
      assert.equal("4: routes.a.policies[1]" .. why .. "\n", (said:gsub("^[^\n]*/lua_[^:]*:", "")))
    end)
  end
end)
