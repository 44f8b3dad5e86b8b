-- init: once for each VM, before the first request; it may wait, also for services, and one that fails refuses the gateway. On the virtual clock.
local t = require "sluice.testing"

local function load(lua, services, more)
  return t.load { services = services, source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
local list = sluice.service "list"
%s
return sluice.config { api = 1, listen = ":0", services = { list = { url = "http://list.test", timeout = "5s" }, own = { answer = function(call) return "own " .. call.path end } },
  models = { m = { answer = function() end } }, routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P %s } } } }
]]):format(lua, more or "") }
end

local function says(lua, services, more) return assert(load(lua, services, more)):ask({ q = "x" }).text end

local function refused(lua, services, more)
  local g, why = load(lua, services, more)
  assert.is_nil(g)
  return (why:gsub("[^\n]*/lua_[^:]*:", "file:"))
end

local function after(duration, answer) return { list = function() return answer, duration end } end

describe("init", function()
  it("runs once before the first request, and may sleep", function()
    local g = assert(load 'local n = 0 function P.init() sluice.sleep "3s" n = n + 1 end function P.validate() return sluice.reply("inits: " .. n) end')
    assert.equal("inits: 1", g:ask({ q = "x" }).text)
    assert.equal("inits: 1", g:ask({ q = "x" }).text)
  end)

  it("asks services: what requests need is there before the first", function()
    local asked
    assert.equal("darn, heck", says([[local words
      function P.init()
        local res, err = list:get("/words", { query = { n = 2 } })
        if not res then error(err) end
        words = res.json()
      end
      function P.validate() return sluice.reply(table.concat(words, ", ")) end]], { list = function(call)
        asked = call
        return { json = { "darn", "heck" } }, "4s"
      end }))
    assert.same({ "GET", "/words", { n = "2" } }, { asked.method, asked.path, asked.query })
  end)

  it("of policies alone too: t.load { policies = ... }", function()
    local g = t.load { policies = { "policies.listed" }, services = { words = function() return { json = { "heck" } }, "1s" end } }
    assert.equal("what the ***", g:chat({ user = "x", upstream = { "what the he", "ck" } }).text)
    local ok, why = pcall(t.load, { policies = { "policies.listed" }, services = { words = function() end } })
    assert.is_false(ok)
    assert.truthy(why:find('policies/listed.lua:8: service "words": connect (init of policy "listed")', 1, true), why)
  end)

  it("waits for several things at once: their times do not add up", function()
    local lua = [[local sum
      local function get(path) return function() return tonumber(list:get(path).body) end end
      function P.init()
        local a, b, c = %s
        sum = a + b + c
      end
      function P.validate() return sluice.reply(tostring(sum)) end]]
    local services = after("4s", "7")
    assert.equal("21", says(lua:format 'sluice.all { get "/a", get "/b", get "/c" }', services))
    assert.equal('file:5: init of policy "p" waited longer than 10 s\n', refused(lua:format 'get "/a"(), get "/b"(),\nget "/c"()', services):gsub("file:%d+", "file:5"))
  end)

  it("calls Lua services, which may wait as well", function()
    assert.equal("own /x", says 'local own, said = sluice.service "own" function P.init() said = own:get("/x").body end function P.validate() return sluice.reply(said) end')
  end)

  it("shares what it loads by a cache: the next VM, or the next policy, does not ask again", function()
    local n = 0
    local lua = [[local words
      local function ask() return list:get("/").body end
      function P.init() words = sluice.cache("init_spec"):fetch("words", ask) end
      local Q = sluice.policy { name = "q" }
      function Q.init() assert(sluice.cache("init_spec"):fetch("words", ask) == "heck") end
      function P.validate() return sluice.reply(words) end]]
    lua = lua:gsub('sluice.cache%("init_spec"%)', "kept"):gsub("^", 'local kept = sluice.cache("init_spec", { max_bytes = "64kb" })\n')
    local services = { list = function() n = n + 1 return "heck", "1s" end }
    local g = assert(load(lua, services, ", Q"))
    assert.equal("heck", says(lua, services, ", Q"))
    assert.equal(1, n)
    g:close()
    t.forget()
  end)

  it("has the breaker of its service, which requests then find open", function()
    assert.equal("connect 20, breaker_open 5; breaker_open", says([[local kinds = {}
      function P.init()
        for _ = 1, 25 do
          local _, err = list:get "/"
          kinds[err.kind] = (kinds[err.kind] or 0) + 1
        end
      end
      function P.validate()
        local _, err = list:get "/"
        return sluice.reply(("connect %d, breaker_open %d; %s"):format(kinds.connect, kinds.breaker_open, err.kind))
      end]], after("10ms", nil)))
  end)
end)

describe("init that fails refuses the gateway, with place and policy:", function()
  for name, case in pairs {
    ["an error"] = { 'function P.init()\nerror "no list" end', 'file:5: no list (init of policy "p")' },
    ["a service that is down"] = { 'function P.init()\nlocal _, err = list:get "/"\nerror(err) end', 'file:6: service "list": connect (init of policy "p")' },
    ["one that is too slow"] = { 'function P.init()\nassert(list:get "/") end', 'file:5: service "list": timeout (init of policy "p")', after("6s", "late") },
    ["one within sluice.all"] = { 'function P.init()\nsluice.all { function() error((select(2, list:get "/"))) end } end', 'file:5: service "list": connect (init of policy "p")' },
    ["a sleep that is too long"] = { 'function P.init()\nsluice.sleep "10001ms" end', 'file:5: init of policy "p" waited longer than 10 s' },
    ["sleeps that are, together"] = { 'function P.init()\nfor i = 1, 11 do sluice.sleep "1s" end end', 'file:5: init of policy "p" waited longer than 10 s' },
    ["sleeps of no time, for ever"] = { 'function P.init()\nwhile true do sluice.sleep "0ms" end end', 'file:5: init of policy "p" waited longer than 10 s' },
    ["a service that has more time than init"] = { 'function P.init()\nlist:get("/", { timeout = "1m" }) end', 'file:5: init of policy "p" waited longer than 10 s', after("11s", "late") },
    ["waits of many kinds"] = { 'function P.init()\nsluice.sleep "4s" list:get "/"\nsluice.sleep "4s" end', 'file:6: init of policy "p" waited longer than 10 s', after("3s", "ok") },
    ["a result"] = { 'function P.init() return 7 end', 'file:4: init of policy "p" returned a number; it may return nothing' },
    ["a verdict"] = { 'function P.init() error(sluice.reject(400, "a", "b")) end', 'file:4: init of policy "p" returned a table; it may return nothing' },
  } do
    it(name, function() assert.equal(case[2] .. "\n", refused(case[1], case[3] or after("10ms", nil))) end)
  end

  it("all of them are told", function()
    assert.equal('file:4: a (init of policy "p")\nfile:5: b (init of policy "q")\n',
      refused('function P.init() error "a" end\nlocal Q = sluice.policy { name = "q" } function Q.init() error "b" end', nil, ", Q"))
  end)

  it("but just ten seconds are allowed", function()
    assert.equal("ok", says('function P.init() for i = 1, 10 do sluice.sleep "1s" end end function P.validate() return sluice.reply "ok" end'))
  end)
end)

describe("init in specs", function()
  it("wants a script for each service that it calls", function()
    local ok, why = pcall(load, 'function P.init() list:get "/words" end')
    assert.is_false(ok)
    assert.truthy(why:find('the service "list" was called (GET /words), but has no script', 1, true), why)
  end)

  it("cannot be opened", function()
    assert.truthy(refused('sluice.policy { name = "q", on_error = { init = "open" } }'):find("init is always closed", 1, true))
  end)
end)
