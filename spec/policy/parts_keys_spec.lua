-- api_keys: what each key may use. Requests at a time, requests in a time, tokens a day.
local t = require "sluice.testing"

-- Keys are "alice" for alice. Limits outlive a world, so each gateway has a file of its own (its path is in their names).
local HASHES = {
  alice = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90", bob = "81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9",
  new = "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437",
}
local function line(name, may, key) return ("%s sha256:%s %s"):format(name, HASHES[key or name], may) end

local code = [[
local sluice = require "sluice"
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name } end
local P = sluice.policy { name = "p" }
function P.prompt(req) for name, n in pairs(req.query) do if name ~= "q" then req.params[name] = tonumber(n) end end end
local function keys(more) more.file = "keys.txt" return sluice.parts.api_keys(more) end
return sluice.config { api = 1, listen = ":0", models = { m = model "m", second = model "second", mine = { answer = function(_, out) out:text "a" out:text "b" end } },
  routes = {
    ask = { path = "/api/stream", front = "token", target = { "m", "second" }, policies = { keys { %s }, %s P } },
    other = { path = "/other", front = "token", target = "m", policies = { keys {} } },
    mine = { path = "/mine", front = "token", target = "mine", policies = { keys {} } },
  } }
]]

local function gateway(file, options, behind)
  return assert(t.load { source = code:format(options or "", behind or ""), files = { ["keys.txt"] = file } })
end

local function question(key, more)
  local want = { q = "x", headers = { ["x-api-key"] = key or "alice" } }
  for k, v in pairs(more or {}) do want[k] = v end
  if want.query then want.q = nil end
  return want
end

local function ask(g, key, more)
  local want = question(key, more)
  want.no_shake, want.upstream = true, want.upstream or { "ok" }
  return g:ask(want)
end

local function usage(input, output) return t.raw(('data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}\n\n'):format(input, output)) end
local function left(r) return tonumber(r.headers["x-ratelimit-remaining-tokens"]) end

describe("concurrency=", function()
  it("is how many requests a name has at a time, with all its keys, on all routes", function()
    local g = gateway(line("alice", "concurrency=2") .. "\n" .. line("bob", "concurrency=1") .. "\n" .. line("alice", "concurrency=2", "new"))
    local a, b = g:start(question "alice"), g:start(question("new", { path = "/other" }))
    for _, key in ipairs { "alice", "new" } do
      local r = ask(g, key)
      assert.equal(429, r.status)
      assert.same({ code = "concurrency_limited", error = "This API key may have 2 requests at a time; wait until one has ended." }, r.error)
      assert.is_nil(r.headers["retry-after"])              -- nobody knows
      assert.equal(0, #r.upstream)
    end
    assert.equal("ok", ask(g, "bob").text)
    a:answer { "a" }
    assert.equal("ok", ask(g, "new").text)
    b:answer { "b", t.leave() }
    local c, d = g:start(question "alice"), g:start(question "alice")
    assert.same({ 1, 1 }, { #c.upstream, #d.upstream })
    assert.equal("concurrency_limited", ask(g).error.code)
  end)

  it("has its message for one", function()
    local g = gateway(line("alice", "concurrency=1"))
    g:start(question())
    assert.equal("This API key may have 1 request at a time; wait until one has ended.", ask(g).error.error)
  end)

  it("does not use up the rate of who is refused", function()
    local g = gateway(line("alice", "concurrency=1 rate=2/1h"))
    local a = g:start(question())
    for _ = 1, 5 do assert.equal("concurrency_limited", ask(g).error.code) end
    a:answer { "a" }
    assert.equal("ok", ask(g).text)
    assert.equal("rate_limited", ask(g).error.code)
    g:advance "30m"
    assert.equal("ok", ask(g).text)                      -- who was refused for the rate holds no slot
  end)

  it("lets preflights and unknown keys by, which hold none", function()
    local g = gateway(line("alice", "concurrency=1"))
    local a = g:start(question())
    assert.equal("key_unknown", ask(g, "bob").error.code)
    assert.equal(204, ask(g, "alice", { method = "OPTIONS" }).status)
    a:answer { "a" }
    assert.equal("ok", ask(g).text)
  end)
end)

describe("rate=", function()
  it("tells what is left", function()
    local g = gateway(line("alice", "rate=2/1m") .. "\n" .. line("bob", ""))
    local r = ask(g)
    assert.same({ "2", "1", "30s" }, { r.headers["x-ratelimit-limit-requests"], r.headers["x-ratelimit-remaining-requests"], r.headers["x-ratelimit-reset-requests"] })
    ask(g)
    r = ask(g)
    assert.same({ 429, "2", "0", "60s", "30" }, { r.status, r.headers["x-ratelimit-limit-requests"], r.headers["x-ratelimit-remaining-requests"],
      r.headers["x-ratelimit-reset-requests"], r.headers["retry-after"] })
    assert.is_nil(ask(g, "bob").headers["x-ratelimit-limit-requests"])
  end)
end)

describe("tokens=", function()
  it("counts prompt and answer as the model says, and tells what is left once this request has used its most", function()
    local g = gateway(line("alice", "tokens=10000/1d"), "max_tokens = 1000")
    local r = ask(g, "alice", { upstream = { "a", usage(100, 23) } })
    assert.equal("10000", r.headers["x-ratelimit-limit-tokens"])
    assert.equal(10000 - 5 - 1000, left(r))              -- "x" is 5 tokens by estimate
    assert.equal("123", r.tags.key_tokens)
    assert.is_nil(r.tags.key_tokens_estimated)
    assert.equal(10000 - 123 - 1005, left(ask(g)))
    assert.same({ include_usage = true }, r.upstream[1].body.stream_options)
    assert.is_nil(r.upstream[1].body.max_tokens)         -- the request stays as it is
  end)

  it("reserves what the client asks for", function()
    local g = gateway(line("alice", "tokens=10000/1d"))
    assert.equal(10000 - 5 - 300, left(ask(g, "alice", { query = "q=x&max_tokens=300", upstream = { "a", usage(0, 0) } })))
    assert.equal(10000 - 5 - 600, left(ask(g, "alice", { query = "q=x&max_completion_tokens=300&n=2", upstream = { "a", usage(0, 0) } })))
    assert.equal("param_invalid", ask(g, "alice", { query = "q=x&max_tokens=-5" }).error.code)
  end)

  it("cannot be overspent by requests at once", function()
    local g = gateway(line("alice", "tokens=1000/1d"), "max_tokens = 395")
    local running, served = {}, 0
    for i = 1, 5 do running[i] = g:start(question()) end
    for _, x in ipairs(running) do
      if #x.upstream > 0 then
        served = served + 1
        x:answer { "a", usage(5, 395) }
      else
        assert.equal(429, x.status)
        assert.equal("200", x.headers["x-ratelimit-remaining-tokens"])
      end
    end
    assert.equal(2, served)
    assert.equal(0, left(ask(g, "alice", { query = "q=x&max_tokens=195" })))
  end)

  it("that are used up are there again with the next window", function()
    local g = gateway(line("alice", "tokens=1000/1d"), "max_tokens = 900")
    ask(g, "alice", { upstream = { "a", usage(100, 500) } })
    local r = ask(g)
    assert.same({ 429, "tokens_used_up" }, { r.status, r.error.code })
    assert.equal(0, #r.upstream)
    local wait = tonumber(r.headers["retry-after"])
    assert.is_true(wait > 0 and wait <= 86400)
    g.world:skip((wait - 1) * 1000)
    assert.equal(429, ask(g).status)
    g.world:skip(1000)
    assert.equal("ok", ask(g).text)
  end)

  it("are counted when the client leaves or the model breaks off: what was seen", function()
    for _, last in ipairs { t.leave(), t.reset() } do
      local g = gateway(line("alice", "tokens=10000/1d"), "max_tokens = 1000")
      local r = ask(g, "alice", { upstream = { "a", "b", last } })
      local used = tonumber(r.tags.key_tokens)
      assert.is_true(used >= 2 and used < 30)
      assert.equal("true", r.tags.key_tokens_estimated)
      assert.equal(10000 - used - 1005, left(ask(g)))
    end
  end)

  it("are counted as told when the client leaves after the model told them", function()
    local r = ask(gateway(line("alice", "tokens=10000/1d")), "alice", { upstream = { "a", usage(40, 60), t.leave() } })
    assert.equal("100", r.tags.key_tokens)
  end)

  it("of a try that failed count nothing; of one that broke off, what was reserved", function()
    local g = gateway(line("alice", "tokens=10000/1d"), "max_tokens = 1000")
    assert.equal("20", ask(g, "alice", { upstream = { m = { t.fail(503) }, second = { "a", usage(15, 5) } } }).tags.key_tokens)
    assert.equal(10000 - 20 - 1005, left(ask(g, "alice", { upstream = { m = { t.fail(503) }, second = { t.fail(503) } } })))
    ask(g, "alice", { upstream = { m = { t.head(200), t.reset() }, second = { "a", usage(15, 5) } } })
    assert.equal(10000 - 20 - 1005 - 20 - 1005, left(ask(g)))
  end)

  it("are not used by who is refused or answered without a model, before or after", function()
    for hook, how in pairs { prompt = "sluice.reject(403, 'no', 'No.')", attempt = "sluice.reject(403, 'no', 'No.')", validate = "sluice.reply 'hi'" } do
      local g = gateway(line("alice", "tokens=10000/1d"), "max_tokens = 1000", ("sluice.policy { name = 'no', %s = function() return %s end },"):format(hook, how))
      ask(g)
      assert.equal(10000 - 5 - 4096, left(ask(g, "alice", { path = "/other" })))
    end
  end)

  it("of a Lua model are estimated", function()
    assert.equal("true", ask(gateway(line("alice", "tokens=10000/1d")), "alice", { path = "/mine" }).tags.key_tokens_estimated)
  end)

  it("say so when a request can never fit", function()
    local r = ask(gateway(line("alice", "tokens=1000/1d")))
    assert.same({ 400, "request_too_costly" }, { r.status, r.error.code })
    assert.equal("This request could use 4101 tokens; this API key has 1000 in 1d. Ask for fewer (max_tokens).", r.error.error)
  end)

  it("are of the type insufficient_quota, and of nobody else's", function()
    local g = gateway(line("alice", "tokens=1000/1d") .. "\n" .. line("bob", ""), "max_tokens = 900", "sluice.policy { name = 'shown', error = function(err) return { extra = { type = err.type } } end },")
    ask(g, "alice", { upstream = { "a", usage(100, 500) } })
    assert.equal("insufficient_quota", ask(g).error.type)
    local r = ask(g, "bob")
    assert.is_nil(r.headers["x-ratelimit-limit-tokens"])
    assert.is_nil(r.tags.key_tokens)
  end)
end)
