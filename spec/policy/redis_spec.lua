-- sluice.redis, and counters and limiters whose state is in a Redis server: on the virtual clock, against the server in memory or a script of the spec's.
local t = require "sluice.testing"

local function gateway(lua, more)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" %s }
%s
return sluice.config { api = 1, listen = ":0",
  services = { shared = { url = "redis://redis.test:6380/2", timeout = "800ms" } },
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(more or "", lua) })
end

local function refused(lua, services)
  local g, why = t.load { source = ([[local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0", services = { %s }, models = { m = { answer = function() end } },
  routes = { a = { path = "/a", front = "token", target = "m", policies = { P } } } }]]):format(lua, services or 'shared = { url = "redis://r.test" }, web = { url = "http://w.test" }') }
  assert.is_nil(g)
  return (why:gsub("[^\n]*/lua_[^:]*:", "file:"):gsub("\n$", ""))
end

local ASK = [[local r = sluice.redis "shared"
function P.validate(req)
  local words = {}
  for word in req.query.q:gmatch "%S+" do words[#words + 1] = word end
  local reply, err = r:command(table.unpack(words))
  if err then return sluice.reply(err.kind .. ": " .. tostring(err)) end
  return sluice.reply(reply == nil and "nothing" or sluice.json.encode(reply))
end]]

describe("sluice.redis", function()
  it("asks for commands, and gives texts, integers, lists, maps and nil", function()
    local g = gateway(ASK)
    for _, one in ipairs {
      { "SET a hello", '"OK"' }, { "GET a", '"hello"' }, { "get b", "nothing" }, { "INCR n", "1" }, { "HSET h x 1 y two", "2" }, { "HGETALL h", '{"x":"1","y":"two"}' },
      { "HMGET h y z", '["two",false]' }, { "HGETALL none", "{}" }, { "EVAL return{1,{},{2,'x'}} 0", '[1,{},[2,"x"]]' },
    } do assert.equal(one[2], g:ask({ q = one[1] }).text, one[1]) end
  end)

  it("sets with a time to live, and forgets in time", function()
    local g = gateway [[local r = sluice.redis "shared"
function P.validate(req)
  if req.query.q == "set" then r:set("k", 7, { ttl = "2s" }) end
  return sluice.reply(r:get "k" or "gone")
end]]
    assert.equal("7", g:ask({ q = "set" }).text)
    g:advance "1s"
    assert.equal("7", g:ask({ q = "get" }).text)
    g:advance "1s"
    assert.equal("gone", g:ask({ q = "get" }).text)
  end)

  it("gives a server's own error as nil and an error of the kind reply, also from within a list", function()
    local g = gateway(ASK)
    g:ask { q = "SET a x" }
    assert.equal('reply: service "shared": reply: ERR value is not an integer or out of range', g:ask({ q = "INCR a" }).text)
    local r = gateway(ASK):ask { q = "GET a", services = { shared = function() return { "fine", { error = "ERR inside" } } end } }
    assert.equal('reply: service "shared": reply: ERR inside', r.text)
  end)

  it("gives failures of the way there as nil and an error, by kind", function()
    for _, kind in ipairs { "connect", "broken", "protocol", "too_large", "timeout" } do
      local r = gateway(ASK):ask { q = "GET a", services = { shared = function() return { fail = kind } end } }
      assert.equal(kind .. ': service "shared": ' .. kind, r.text)
    end
    local slow = gateway(ASK):ask { q = "GET a", services = { shared = function() return "late", "801ms" end } }
    assert.truthy(slow.text:find("^timeout: "))
    assert.equal('"in time"', gateway(ASK):ask({ q = "GET a", services = { shared = function() return "in time", "799ms" end } }).text)
  end)

  it("is not asked while its breaker is open", function()
    local g, asked = gateway(ASK), 0
    for _ = 1, 25 do g:ask { q = "GET a", services = { shared = function() asked = asked + 1; return { fail = "connect" } end } } end
    assert.equal(20, asked)
    assert.truthy(g:ask({ q = "GET a" }).text:find "^breaker_open: ")
    g:advance "11s"
    assert.equal("nothing", g:ask({ q = "GET a" }).text)
  end)

  it("can be asked by init, and what it was told then is there", function()
    local g = gateway [[local r = sluice.redis "shared"
local c = sluice.counter("c", { store = "redis:shared" })
function P.init() assert(r:set("motto", "first")) c:add("starts") end
function P.validate() return sluice.reply(r:get "motto" .. " " .. c:get "starts") end]]
    assert.equal("first 1.0", g:ask({ q = "x" }).text)
  end)

  it("lets a spec see and script what was asked", function()
    local r = gateway(ASK):ask { q = "GET a", services = { shared = function(call)
      assert.same({ "GET", "a" }, call.command)
      return "scripted"
    end } }
    assert.equal('"scripted"', r.text)
    assert.same({ "GET", "a" }, r.calls[1].command)
    local g = gateway(ASK)
    assert.equal("OK", g:redis "shared" { "SET", "a", "by the spec" })
    assert.equal('"by the spec"', g:ask({ q = "GET a" }).text)
  end)

  it("waits, so that what cannot wait says so; and refuses what would change a shared connection", function()
    local g = gateway [[local r = sluice.redis "shared"
function P.validate(req)
  local ok, why = pcall(function()
    if req.query.q == "gsub" then return (("a"):gsub("a", function(k) return r:get(k) end)) end
    return r:command(req.query.q, "x")
  end)
  return sluice.reply(ok and "ok" or tostring(why))
end]]
    assert.truthy(g:ask({ q = "gsub" }).text:find('cannot wait for service "shared" inside string.gsub', 1, true))
    for _, word in ipairs { "subscribe", "MULTI", "Select", "AUTH", "CLIENT" } do
      assert.truthy(g:ask({ q = word }).text:find(word:upper() .. " is refused: connections are shared", 1, true), word)
    end
    assert.truthy(g:ask({ q = "A B" }).text:find("a command begins with its name", 1, true))
  end)

  it("is told of where it is misspelt, or is something else", function()
    assert.equal('file:3: unknown service "shard"; did you mean "shared"? (declared: shared, web)', refused 'local r = sluice.redis "shard"')
    assert.equal('file:3: the service "web" is no Redis server: its url must be such as "redis://127.0.0.1:6379/0"', refused 'local r = sluice.redis "web"')
    assert.equal('file:3: the service "shared" is a Redis server: sluice.redis "shared" reaches it', refused 'local r = sluice.service "shared"')
    assert.truthy(refused('local c = sluice.counter("c", { store = "redis" })'):find('store must be "redis:NAME"', 1, true))
    assert.equal('file:3: unknown service "no" (declared: shared, web)', refused 'local c = sluice.counter("c", { store = "redis:no" })')
    assert.truthy(refused('local c = sluice.counter("c", { lease = "1m" })'):find("lease is for counters with a store", 1, true))
  end)

  it("has settings that are checked", function()
    for setting, said in pairs {
      ['url = "rediss://r.test"'] = "TLS to Redis is not supported by this version", ['url = "redis://:pw@r.test"'] = "the password belongs in auth, the user in user",
      ['url = "redis://r.test:99999"'] = 'must be a URL such as "redis://127.0.0.1:6379/0"', ['url = "redis://r.test/x"'] = "must be a URL",
      ['url = "redis://r.test", ca = "x.pem"'] = "a Redis server has no ca", ['url = "http://r.test", prefix = "a:"'] = 'only a Redis server (url = "redis://...") has a prefix',
      ['url = "redis://r.test", prefix = "a b"'] = "must be a text without blanks",
    } do assert.truthy(refused("", "shared = { " .. setting .. " }"):find(said, 1, true), setting .. " -> " .. refused("", "shared = { " .. setting .. " }")) end
  end)
end)

local LIMIT = [[local rate = sluice.limiter("rpm", { rate = 3, per = "30s", store = "redis:shared" })
function P.accept(head)
  local ok, retry_in, left, reset_in = rate:take(head.query.q)
  return sluice.reply(("%s %d %d %d"):format(ok, retry_in, left, reset_in))
end]]

describe("a limiter in Redis", function()
  it("counts as the one in memory does", function()
    local local_one = gateway((LIMIT:gsub(', store = "redis:shared"', "")))
    local shared = gateway(LIMIT)
    for step = 1, 12 do
      assert.equal(local_one:ask({ q = "k" }).text, shared:ask({ q = "k" }).text, "step " .. step)
      local ms = (step * 2711) % 9000
      local_one:advance(ms .. "ms")
      shared:advance(ms .. "ms")
    end
  end)

  it("keeps its bucket under a name of its own, and only until it is full again", function()
    local g = gateway(LIMIT)
    g:ask { q = "k" }
    assert.equal(11000, g:redis "shared" { "PTTL", "sluice:limiter:rpm:k" })
    g:ask { q = ("x"):rep(200) }
    local long
    for key in pairs(g:redis "shared".keys) do long = key:match "^sluice:limiter:rpm:(x+#%x+)$" or long end
    assert.equal(48 + 1 + 64, #long)
  end)

  it("that does not answer lets nobody pass, unless the policy is open", function()
    local down = { shared = function() return { fail = "connect" } end }
    local r = gateway(LIMIT):ask { q = "k", services = down }
    assert.equal(503, r.status)
    assert.equal("dependency_failed", r.error.code)
    local open = gateway((LIMIT:gsub("return sluice.reply.-\n", "\n")), ', on_error = "open"'):ask { q = "k", services = down, upstream = { "passed" } }
    assert.equal("passed", open.text)
  end)

  it("sends a script whole only when the server does not know it", function()
    local g, verbs = gateway(LIMIT), {}
    local function one(call)
      verbs[#verbs + 1] = call.command[1]
      return g:redis "shared"(call)
    end
    for _ = 1, 3 do g:ask { q = "k", services = { shared = one } } end
    g:redis "shared".scripts = {}                        -- SCRIPT FLUSH
    g:ask { q = "k", services = { shared = one } }
    assert.equal("EVALSHA EVAL EVALSHA EVALSHA EVALSHA EVAL", table.concat(verbs, " "))
  end)
end)

local COUNT = [[local c = sluice.counter("c", { window = "1h", store = "redis:shared" })
local held = {}
function P.validate(req, ctx)
  local what, n, limit = req.query.q:match "^(%a+) ?([%d.]*) ?([%d.]*)$"
  if what == "add" then return sluice.reply(tostring(c:add("k", tonumber(n)))) end
  if what == "get" then return sluice.reply(tostring(c:get "k")) end
  if what == "leave" then c:reserve("k", tonumber(n), tonumber(limit)) return end
  if what == "settle" then held[1]:settle(tonumber(n)) return sluice.reply "settled" end
  local r, retry_in = c:reserve("k", tonumber(n), tonumber(limit))
  if what == "keep" then held[1] = r end
  if what == "spend" and r then ctx.state.r, ctx.state.n = r, tonumber(n) end
  return sluice.reply(r and "reserved" or "no " .. tostring(retry_in))
end
function P.log(_, ctx)
  if ctx.state.r then ctx.state.r:settle(ctx.state.n / 2) end
end]]

describe("a counter in Redis", function()
  it("adds, reserves and settles as the one in memory does, also when a window ends", function()
    local local_one = gateway((COUNT:gsub(', store = "redis:shared"', "")))
    local shared = gateway(COUNT)
    for step, q in ipairs { "get", "add 2.5", "add 0.1", "spend 4 10", "get", "spend 6 10", "get", "spend 20 10", "spend 4 10", "get", "LATER", "get", "add 1", "spend 8 10", "get" } do
      if q == "LATER" then
        for _, g in ipairs { local_one, shared } do g:advance "1h" end
      else
        assert.equal(local_one:ask({ q = q }).text, shared:ask({ q = q }).text, ("step %d: %s"):format(step, q))
      end
    end
  end)

  it("gives back at the end of the exchange what was never settled, also when the client leaves or the policy fails", function()
    local g = gateway(COUNT)
    assert.equal("text", g:ask({ q = "leave 6 10", upstream = { "text" }, no_shake = true }).text)
    assert.equal("0.0", g:ask({ q = "get" }).text)
    g:ask { q = "leave 6 10", upstream = { "text", t.leave() }, no_shake = true }
    assert.equal("0.0", g:ask({ q = "get" }).text)
    local x = g:start { q = "leave 6 10" }
    assert.equal("6.0", g:ask({ q = "get" }).text)       -- while it runs
    x:answer { "text" }
    assert.equal("0.0", g:ask({ q = "get" }).text)
  end)

  it("gives back when its lease is over what a gateway that died had reserved; settling later counts on top", function()
    local g = gateway(COUNT)
    g:redis "shared" { "EVAL", [[redis.call("HSET", KEYS[1], "window", ARGV[1], "sum", "1", "held", "6") redis.call("ZADD", KEYS[2], ARGV[2], "dead 6")]], "2",
      "sluice:counter:c:k", "sluice:held:c:k", "0", tostring(1000000 + 600000) }
    assert.equal("7.0", g:ask({ q = "get" }).text)
    assert.equal("no 2600", g:ask({ q = "reserve 4 10" }).text)
    g:advance "601s"
    assert.equal("1.0", g:ask({ q = "get" }).text)
    assert.equal("reserved", g:ask({ q = "reserve 4 10" }).text)
  end)

  it("keeps its keys no longer than its window", function()
    local g = gateway(COUNT)
    g:ask { q = "add 1" }
    local left = g:redis "shared" { "PTTL", "sluice:counter:c:k" }
    assert.is_true(left > 0 and left <= 3601000)
  end)

  it("that does not answer fails the policy, and so do reservations; what was lost on the way is given back", function()
    local g, lost = gateway(COUNT), false
    local r = g:ask { q = "spend 4 10", services = { shared = function() return { fail = "timeout" } end } }
    assert.equal("dependency_failed", r.error.code)
    g:ask { q = "spend 4 10", services = { shared = function(call)      -- done, but nobody hears of it
      local reply = g:redis "shared"(call)
      if call.command[7] == "reserve" and reply[1] == 1 then
        lost = true
        return { fail = "broken" }
      end
      return reply
    end } }
    assert.is_true(lost)
    assert.equal("0.0", g:ask({ q = "get" }).text)
  end)

  it("settles once when the answer to that is lost", function()
    local g, lost = gateway(COUNT), false
    g:ask { q = "spend 4 10", services = { shared = function(call)
      local reply = g:redis "shared"(call)
      if call.command[7] == "settle" then
        lost = true
        return { fail = "broken" }
      end
      return reply
    end } }
    assert.is_true(lost)
    assert.equal("2.0", g:ask({ q = "get" }).text)
  end)

  it("is as it was before when an answer is asked for again under other cuttings", function()
    local g = gateway [[local c = sluice.counter("c", { store = "redis:shared" })
function P.prompt() if c:add("k") > 1 then return sluice.reject(429, "again", "Once.") end end]]
    assert.equal("a text", g:ask({ q = "x", upstream = { "a text" } }).text)
    assert.equal("again", g:ask({ q = "x" }).error.code)
  end)
end)
