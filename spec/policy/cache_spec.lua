-- sluice.cache: values that workers share, that one loads for all.
local t = require "sluice.testing"

local function source(lua)
  return ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(lua)
end

local function gateway(lua) return assert(t.load { source = source(lua) }) end

local names = 0
local function fresh(rest)                                    -- a cache that no other test has seen
  names = names + 1
  return ('local c = sluice.cache("spec_%d"%s)\n'):format(names, rest and ", " .. rest or "")
end

-- What a hook with this body answers.
local function says(lua, q)
  local r = gateway(lua):ask { q = q or "x" }
  return r.error and ("error " .. r.error.code) or r.text
end

describe("sluice.cache", function()
  it("gives back what it was given, of each type", function()
    assert.equal("ok", says(fresh() .. [[
function P.validate()
  c:set("i", 9007199254740993) c:set("f", 1.0) c:set("z", -0.0) c:set("inf", math.huge) c:set("t", true) c:set("F", false) c:set("s", "\0\255") c:set("n", sluice.json.null)
  local said = ("%s %d %s %s %s %s %s %s %s %s"):format(math.type(c:get "i"), c:get "i", math.type(c:get "f"), c:get "f", c:get "z", c:get "inf", c:get "t", c:get "F",
    c:get "s" == "\0\255" and "same", c:get "n" == sluice.json.null and "null")
  assert(said == "integer 9007199254740993 float 1.0 -0.0 inf true false same null", said)
  assert(c:get "missing" == nil)
  return sluice.reply "ok"
end]]))
  end)

  it("keeps tables whole: lists, maps, both, JSON's arrays and null, keys of every type", function()
    assert.equal("ok", says(fresh() .. [[
function P.validate()
  local sparse = { 1, 2, [7] = "seven", name = "n", [true] = "yes", [1.5] = "half", [-3] = math.mininteger }
  c:set("k", { list = { "a", { "b" } }, sparse = sparse, array = sluice.json.decode '[]', json = sluice.json.decode '{"a":[1,null,{"b":[]}],"c":{}}', empty = {} })
  local v = c:get "k"
  assert(#v.list == 2 and v.list[2][1] == "b" and v.list[3] == nil)
  for k, x in pairs(sparse) do assert(v.sparse[k] == x, tostring(k)) end
  local n = 0
  for k, x in pairs(v.sparse) do n = n + 1 assert(sparse[k] == x) end
  assert(n == 7 and math.type(v.sparse[-3]) == "integer")
  assert(sluice.json.encode(v.array) == "[]" and sluice.json.encode(v.empty) == "{}")
  assert(sluice.json.encode(v.json) == '{"a":[1,null,{"b":[]}],"c":{}}', sluice.json.encode(v.json))
  for i, x in ipairs(v.list) do assert(i ~= 1 or x == "a") end
  assert(table.concat({ table.unpack(v.list, 1, 1) }) == "a")
  c:set("again", v)
  assert(sluice.json.encode(c:get("again").json) == sluice.json.encode(v.json))
  return sluice.reply "ok"
end]]))
  end)

  it("copies in and out: no later change is seen, and a change is an error at its line", function()
    assert.equal("ok", says(fresh() .. [[
function P.validate()
  local mine = { n = 1, deep = { 1 } }
  c:set("k", mine)
  mine.n, mine.deep[1] = 2, 2
  local v = c:get "k"
  assert(v.n == 1 and v.deep[1] == 1 and v ~= c:get "k")
  for _, change in ipairs { function() v.n = 3 end, function() v.new = 1 end, function() v.deep[1] = 3 end, function() table.insert(v.deep, 1) end, function() rawset(v, "n", 3) end,
      function() setmetatable(v, {}) end } do
    local ok, why = pcall(change)
    assert(not ok)
  end
  local _, why = pcall(function()
    v.deep[1] = 3
  end)
  assert(why:find '^[^ ]*:16: "1" cannot be set: this table is read%-only', why)
  assert(v.n == 1 and v.deep[1] == 1)
  return sluice.reply "ok"
end]]))
  end)

  it("forgets after its ttl, or the value's own, and when told", function()
    local g = gateway(fresh '{ ttl = "10s" }' .. [[
function P.validate(req)
  local q = req.query.q
  if q == "set" then c:set("usual", 1) c:set("brief", 2, { ttl = "2s" }) c:set("gone", 3) c:delete "gone" c:delete "never" return sluice.reply "set" end
  return sluice.reply(("%s %s %s"):format(c:get "usual", c:get "brief", c:get "gone"))
end]])
    g:ask { q = "set" }
    assert.equal("1 2 nil", g:ask({ q = "get" }).text)
    local function pass(ms) g.world:advance(select(2, g.world:ask { path = "/api/stream", query = "q=get" }), ms) end
    pass(1999)
    assert.equal("1 2 nil", g:ask({ q = "get" }).text)
    pass(1)
    assert.equal("1 nil nil", g:ask({ q = "get" }).text)
    pass(8000)
    assert.equal("nil nil nil", g:ask({ q = "get" }).text)
  end)

  it("is one for all that use its name, and outlives a reading of the file", function()
    local first = gateway 'local a, b = sluice.cache "spec_one", sluice.cache("spec_one", { ttl = "1s" })\nfunction P.validate() a:set("k", "v") return sluice.reply(b:get "k") end'
    assert.equal("v", first:ask({ q = "x" }).text)
    first:close()
    assert.equal("v", says 'local c = sluice.cache "spec_one"\nfunction P.validate() return sluice.reply(c:get "k" or "nothing") end')
  end)

  it("stays within max_bytes; a value that is too large is nil and a sentence, and the old one is gone", function()
    assert.equal("ok", says(fresh '{ max_bytes = "64kb" }' .. [[
function P.validate()
  for i = 1, 500 do assert(c:set("key" .. i, ("x"):rep(1000))) end
  assert(c:get "key500" and not c:get "key1")
  c:set("k", "small")
  local ok, why = c:set("k", ("x"):rep(5000))
  assert(ok == nil and why:find "the value takes 51%d%d bytes with its key, more than the 4096 that one may take", why)
  assert(c:get "k" == nil)
  return sluice.reply "ok"
end]]))
  end)
end)

describe("cache:fetch", function()
  it("loads what is missing once", function()
    local g = gateway(fresh() .. [[
local loads = 0
function P.validate(req)
  local v = c:fetch(req.query.q, function() loads = loads + 1 return { n = loads } end)
  return sluice.reply(("%d of %d"):format(v.n, loads))
end]])
    assert.equal("1 of 1", g:ask({ q = "a" }).text)
    assert.equal("1 of 1", g:ask({ q = "a" }).text)
    assert.equal("2 of 2", g:ask({ q = "b" }).text)
  end)

  it("gives its loader's caller what all others get: a read-only copy", function()
    assert.equal("ok", says(fresh '{ max_bytes = "64kb" }' .. [[
function P.validate()
  local mine = { 1 }
  local v = c:fetch("k", function() return mine end)
  assert(v ~= mine and not pcall(function() v[1] = 2 end))
  assert(c:fetch("false", function() return false end) == false and c:get "false" == false)
  local large = c:fetch("large", function() return { ("x"):rep(5000) } end)
  assert(#large[1] == 5000 and not pcall(function() large[1] = 2 end) and c:get "large" == nil)
  local key = ("k"):rep(10000)
  assert(c:fetch(key, function() return 1 end) == 1 and c:get(key) == nil)
  return sluice.reply "ok"
end]]))
  end)

  -- Many exchanges in flight: their hooks run until they wait; then time passes for each in turn.
  local function crowd(g, questions)
    local said, ids = {}, {}
    local function note(i, entries)
      for _, e in ipairs(entries) do
        if e.what == "reply" then said[i] = e.status >= 400 and "error" or e.body end
        if e.what == "write" then said[i] = (said[i] or "") .. (e.bytes:match '"token":"(.-)"' or "") end
      end
    end
    for i, q in ipairs(questions) do
      local entries
      entries, ids[i] = g.world:ask { path = "/api/stream", query = "q=" .. q, ip = "10.9.9." .. i }
      note(i, entries)
    end
    return said, ids, function(ms)
      for _ = 1, ms do
        for i, id in ipairs(ids) do note(i, g.world:advance(id, i == 1 and 1 or 0)) end
      end
    end
  end

  local slow = [[
local loads = 0
function P.validate(req)
  local why
  local v, because = c:fetch("k", function()
    loads = loads + 1
    sluice.sleep "100ms"
    if req.query.q == "raise" then error "the loader is down" end
    if req.query.q == "nothing" then return nil, "no such tenant" end
    if req.query.q == "burn" then while true do end end
    return "loaded by " .. req.query.q
  end)
  return sluice.reply(("%s %s (%d)"):format(v, because, loads))
end]]

  it("has one caller load while all others wait", function()
    local g = gateway(fresh() .. slow)
    local said, _, pass = crowd(g, { "a", "b", "c", "d", "e" })
    assert.same({}, said)
    pass(99)
    assert.same({}, said)
    pass(60)
    for i = 1, 5 do assert.equal("loaded by a nil (1)", said[i]) end
  end)

  it("has the next load when a loader raised; its caller alone gets the error", function()
    local said, _, pass = crowd(gateway(fresh() .. slow), { "raise", "b", "c" })
    pass(300)
    assert.same({ "error", "loaded by b nil (2)", "loaded by b nil (2)" }, said)
  end)

  it("does not keep nil: its caller gets nil and what else the loader said, the next loads", function()
    local said, _, pass = crowd(gateway(fresh() .. slow), { "nothing", "b" })
    pass(300)
    assert.same({ "nil no such tenant (1)", "loaded by b nil (2)" }, said)
  end)

  it("has the next load when a loader was killed", function()
    local said, _, pass = crowd(gateway(fresh() .. slow), { "burn", "b" })
    pass(300)
    assert.same({ "error", "loaded by b nil (2)" }, said)
  end)

  it("has the next load when the client of the loading call has left", function()
    local g = gateway(fresh() .. slow)
    local said, ids, pass = crowd(g, { "a", "b" })
    g.world:gone(ids[1])
    pass(200)
    assert.equal("loaded by b nil (2)", said[2])
  end)

  it("has the next load when a loader's coroutine was left lying there", function()
    local g = gateway(fresh() .. [[
function P.validate(req)
  if req.query.q == "leave" then
    coroutine.wrap(function() c:fetch("k", function() coroutine.yield() end) end)()
    return sluice.reply "left"
  end
  return sluice.reply(c:fetch("k", function() return "loaded" end))
end]])
    assert.equal("left", g:ask({ q = "leave" }).text)
    assert.equal("loaded", g:ask({ q = "x" }).text)
  end)

  it("lets loaders fetch other keys, on coroutines too, and wait in them", function()
    assert.equal("outer inner", says(fresh() .. [[
function P.validate()
  return sluice.reply(c:fetch("outer", coroutine.wrap(function()
    sluice.sleep "10ms"
    return "outer " .. c:fetch("inner", function() sluice.sleep "10ms" return "inner" end)
  end)))
end]]))
  end)

  it("tells a loader that would wait for itself", function()
    local lua = fresh() .. [[
function P.validate()
  local v = c:fetch("k", function()
    local ok, why = pcall(c.fetch, c, "k", function() return 1 end)
    assert(not ok and why:find "already: its loader would wait for itself", why)
    return c:fetch("other", function() return c:fetch("k", function() return 1 end) end)
  end)
end]]
    local g = gateway(lua)
    assert.equal("policy_error", g:ask({ q = "x" }).error.code)
    assert.equal("policy_error", g:ask({ q = "x" }).error.code)         -- it is not in anyone's way afterwards
  end)

  it("tells the tasks of a sluice.all apart: they wait for each other, not for what they are inside of", function()
    assert.equal("1 1 2 2", says(fresh() .. [[
local loads = 0
local function load() loads = loads + 1 sluice.sleep "10ms" return loads end
function P.validate()
  local a, b = sluice.all { function() return c:fetch("k", load) end, function() return c:fetch("k", load) end }
  local d, e
  c:fetch("outer", function()
    d, e = sluice.all {
      function() return c:fetch("l", load) end,
      function()
        local ok, why = pcall(c.fetch, c, "outer", load)
        assert(not ok and why:find "would wait for itself", why)
        return sluice.all { function() sluice.sleep "1ms" return c:fetch("l", load) end }
      end,
    }
    return true
  end)
  return sluice.reply(("%d %d %d %d"):format(a, b, d, e))
end]]))
  end)

  it("loads from a service; a service that is down is not remembered", function()
    local g = assert(t.load { source = (source(fresh() .. [[
local directory = sluice.service "directory"
function P.validate(req)
  local tenant = c:fetch(req.query.q, function()
    local res, err = directory:get("/tenants/" .. req.query.q)
    if not res then error(err) end
    return res.json()
  end)
  return sluice.reply(tenant.name .. " " .. tenant.models[1])
end]]):gsub('listen = ":0",', '%0 services = { directory = { url = "http://directory.test" } },')) })
    local asked, up = 0, false
    local services = { directory = function()
      asked = asked + 1
      return up and { json = { name = "acme", models = { "m" } } } or nil, "20ms"
    end }
    assert.equal("dependency_failed", g:ask({ q = "acme", services = services }).error.code)
    up = true
    assert.equal("acme m", g:ask({ q = "acme", services = services }).text)
    assert.equal("acme m", g:ask({ q = "acme", services = services }).text)
    assert.equal(2, asked)
  end)

  it("does not keep what was loaded before a set or a delete", function()
    local g = gateway(fresh() .. [[
function P.validate(req)
  if req.query.q == "set" then c:set("k", "set") return sluice.reply "set" end
  if req.query.q == "delete" then c:delete "k" return sluice.reply "deleted" end
  if req.query.q == "get" then return sluice.reply(tostring(c:get "k")) end
  return sluice.reply(c:fetch("k", function() sluice.sleep "50ms" return "loaded" end))
end]])
    local said, _, pass = crowd(g, { "load", "set", "get", "load2" })
    pass(100)
    assert.same({ "loaded", "set", "set", "set" }, said)
    assert.equal("set", g:ask({ q = "get" }).text)
    g:ask { q = "delete" }
    said, _, pass = crowd(g, { "load", "delete", "get" })
    pass(100)
    assert.same({ "loaded", "deleted", "nil" }, said)
    assert.equal("nil", g:ask({ q = "get" }).text)
  end)

  it("keeps for its own ttl", function()
    local g = gateway(fresh '{ ttl = "1h" }' .. [[
local n = 0
function P.validate() return sluice.reply(tostring(c:fetch("k", function() n = n + 1 return n end, { ttl = "1s" }))) end]])
    assert.equal("1", g:ask({ q = "x" }).text)
    local _, _, pass = crowd(g, { "x" })
    pass(1000)
    assert.equal("2", g:ask({ q = "x" }).text)
  end)
end)

describe("sluice.cache says what is wrong", function()
  it("when the file loads", function()
    for lua, said in pairs {
      ["sluice.cache()"] = "takes a name", ['sluice.cache("")'] = "takes a name", ['sluice.cache("a", "60s")'] = "takes a table", ['sluice.cache("a", { tll = "1s" })'] = 'no field "tll"; did you mean "ttl"',
      ['sluice.cache("a", { ttl = 60 })'] = 'ttl: ambiguous duration 60: write "60ms"', ['sluice.cache("a", { ttl = "0s" })'] = "longer than nothing",
      ['sluice.cache("a", { max_bytes = "1kb" })'] = "at least 64kb", ['sluice.cache("a", { max_bytes = "many" })'] = "max_bytes: ", ['sluice.cache("a", { max_bytes = true })'] = "max_bytes: ",
      ['sluice.cache("a"):fetch("k", function() return 1 end)'] = "cannot fetch here: the gateway file is being loaded",
    } do
      local g, why = t.load { source = source(lua) }
      assert.is_nil(g, lua)
      assert.matches(said, why, 1, true)
      assert.matches("^[^ ]+:3: ", why)
    end
  end)

  local mistakes = {
    { 'c:get()', "the key of a cached value is text, not no value" }, { 'c:get({})', "the key of a cached value is text, not table" }, { 'c.get("k")', "write cache:get(...) with a colon" },
    { 'c.fetch("k", print)', "write cache:fetch(...) with a colon" }, { 'c:gett("k")', 'a cache has no "gett" (it has delete, fetch, get, set)' }, { 'c:set("k")', "a cache keeps no nil; cache:delete(key)" },
    { 'c:set("k", nil)', "a cache keeps no nil" }, { 'c:set("k", print)', "a function cannot be kept in a cache" }, { 'c:set("k", { a = { function() end } })', "a function cannot be kept" },
    { 'c:set("k", { [{}] = 1 })', "a table with a key that is a table cannot be kept" }, { 'local a = {} a.a = a c:set("k", a)', "a table that contains itself cannot be kept" },
    { 'local a = {} for i = 1, 200 do a = { a } end c:set("k", a)', "nested too deeply cannot be kept" }, { 'c:set("k", setmetatable({}, {}))', "a table with a metatable cannot be kept" },
    { 'c:set("k", c)', "a userdata cannot be kept" }, { 'c:set("k", coroutine.create(print))', "a thread cannot be kept" }, { 'c:set("k", { key })', "a secret cannot be kept" },
    { 'local a = {} for i = 1, 17 do a[i] = ("x"):rep(1 << 20) end c:set("k", a)', "a value of more than 16 MiB cannot be kept" },
    { 'c:set("k", 1, { tl = "5s" })', 'no option "tl" (it has ttl)' }, { 'c:set("k", 1, "5s")', 'a table such as { ttl = "5s" }, not a string' }, { 'c:set("k", 1, { ttl = 5 })', "ttl: ambiguous duration 5" },
    { 'c:set("k", 1, { ttl = "0s" })', "ttl must be longer than nothing" }, { 'c:fetch("k")', "takes a function that loads the value, not no value" }, { 'c:fetch("k", 1)', "takes a function that loads the value, not number" },
    { 'c:fetch("k", function() return print end)', "a function cannot be kept" }, { 'c:fetch("k", function() error "boom" end)', "boom" }, { 'c.x = 1', "" },
    { '("x"):gsub("x", function() return c:fetch("k", function() return "y" end) end)', "cannot fetch inside string.gsub, table.sort" },
    { 'table.sort({ 1, 2 }, function() return c:fetch("k", function() return true end) end)', "cannot fetch inside string.gsub, table.sort" },
  }

  it("when a hook runs, at the hook's line, and what follows still works", function()
    for _, m in ipairs(mistakes) do
      local g = t.load { source = source(fresh() .. ([[
local key = sluice.secret "CACHE_SPEC_KEY"
function P.validate(req)
  local ok, why = pcall(function()
    %s
  end)
  assert(not ok, "nothing was wrong")
  return sluice.reply(why .. " then " .. c:fetch("k", function() return "fine" end))
end]]):format(m[1])), env = { CACHE_SPEC_KEY = "sk-cache-spec" } }
      local said = g:ask({ q = "x" }).text
      assert.matches(m[2], said, 1, true)
      assert.matches("^[^ ]+:7: ", said)
      assert.matches(" then fine$", said)
      g:close()
    end
  end)

  it("in a hook that may not wait", function()
    assert.equal("fetch: cannot; get: true", says(fresh() .. [[
function P.validate() c:set("k", true) return sluice.reject(400, "no", "no") end
function P.error(err)
  local ok, why = pcall(c.fetch, c, "k", function() return 1 end)
  assert(not ok and why:find "cannot fetch here: the hook error may not wait", why)
  return { message = "fetch: cannot; get: " .. tostring(c:get "k"), code = "said" }
end]]):gsub("^error said$", "fetch: cannot; get: true"))
  end)
end)
