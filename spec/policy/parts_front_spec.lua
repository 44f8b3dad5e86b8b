-- The parts at the front door and behind it: api_keys and audit.
local t = require "sluice.testing"

local KEYS = { alice = "k-alice-5f3a9c", batch = "k-batch-77aa01", ["batch-new"] = "k-batch-new-02", bob = "k-bob-é\"x" }

local function hash(key)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(key)
  f:close()
  local p = assert(io.popen("sha256sum < " .. name))
  local digest = p:read "a":match "^%x+"
  p:close()
  os.remove(name)
  return "sha256:" .. digest
end

local FILE = table.concat({
  "\239\187\191# who may ask", "", "alice   " .. hash(KEYS.alice) .. "   # the first", "\tbatch\t" .. hash(KEYS.batch):upper():gsub("SHA", "sha") .. " models=fast,long rate=2/1h\r",
  "batch " .. hash(KEYS["batch-new"]) .. " models=fast,long rate=2/1h", "bob@example.com " .. hash(KEYS.bob) .. " models=long",
}, "\n")

local function source(options, before, behind, route)
  return ([[
local sluice = require "sluice"
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name } end
local who = sluice.policy { name = "who" }
function who.validate(_, ctx) ctx:header("X-Who", ctx.key and ctx.key.id or "nobody") end
return sluice.config { api = 1, listen = ":0", models = { fast = model "fast", long = model "long", smart = model "smart" },
  routes = { ask = { path = "/api/stream", front = "token", target = %s, policies = { %s
    sluice.parts.api_keys { file = "keys.txt", %s }, who, %s } } } }
]]):format(route or '"smart"', before or "", options or "", behind or "")
end

-- Limits outlive a world, so each gateway has a file of its own (its path is in the limit's name).
local function gateway(options, more)
  more = more or {}
  return assert(t.load { source = source(options, more.before, more.behind, more.route), files = { ["keys.txt"] = more.file or FILE } })
end

local function ask(g, headers, more)
  local want = { q = "x", headers = headers or {}, upstream = { "ok" }, no_shake = true }
  for k, v in pairs(more or {}) do want[k] = v end
  if want.query then want.q = nil end
  return g:ask(want)
end

local function bearer(key) return { authorization = "Bearer " .. key } end

describe("api_keys", function()
  local g = gateway()

  it("admits a known key and says whose it is", function()
    for headers, name in pairs {
      [bearer(KEYS.alice)] = "alice", [{ authorization = "bEARER  " .. KEYS.alice }] = "alice", [{ ["x-api-key"] = KEYS.alice }] = "alice",
      [{ ["api-key"] = KEYS.alice }] = "alice", [{ ["api-key"] = KEYS.alice, ["x-api-key"] = "" }] = "alice",
      [{ authorization = "Basic abc", ["x-api-key"] = KEYS.alice }] = "alice",
    } do
      local r = ask(g, headers)
      assert.equal("ok", r.text)
      assert.equal(name, r.headers["x-who"])
      assert.equal("alice", r.logs[#r.logs].key)
    end
  end)

  it("refuses a request without a key", function()
    for _, headers in ipairs { {}, { authorization = "Basic " .. KEYS.alice }, { authorization = "Bearer" }, { authorization = "Bearer " }, { ["x-api-key"] = "" }, { cookie = KEYS.alice } } do
      local r = ask(g, headers)
      assert.equal(401, r.status)
      assert.equal("key_missing", r.error.code)
      assert.equal("Bearer", r.headers["www-authenticate"])
      assert.equal(0, #r.upstream)
    end
  end)

  it("refuses a key that it does not know", function()
    for _, key in ipairs { "x", KEYS.alice .. "x", KEYS.alice:sub(1, -2), KEYS.alice:upper(), hash(KEYS.alice), hash(KEYS.alice):sub(8), ("k"):rep(100000), "\255\254", "alice" } do
      local r = ask(g, { ["x-api-key"] = key })
      assert.equal(401, r.status)
      assert.equal("key_unknown", r.error.code)
      assert.equal('Bearer error="invalid_token"', r.headers["www-authenticate"])
      assert.is_nil(r.logs[#r.logs].key)
    end
    assert.equal("key_unknown", ask(g, bearer(KEYS.alice .. ", Bearer " .. KEYS.alice)).error and "key_unknown")
  end)

  it("looks into the query only if told so", function()
    assert.equal("key_missing", ask(g, {}, { query = "q=x&key=" .. KEYS.alice }).error.code)
    local open = gateway 'query = "key"'
    assert.equal("alice", ask(open, {}, { query = "q=x&key=" .. KEYS.alice }).headers["x-who"])
    assert.equal("key_missing", ask(open, {}, { query = "q=x&key=" }).error.code)
    assert.equal("key_unknown", ask(open, {}, { query = "q=x&key=no" }).error.code)
  end)

  it("looks into the headers that it is told", function()
    local own = gateway 'header = "X-My-Key"'
    assert.equal("alice", ask(own, { ["x-my-key"] = KEYS.alice }).headers["x-who"])
    assert.equal("key_missing", ask(own, bearer(KEYS.alice)).error.code)
  end)

  it("need not be required, but a wrong key is still refused", function()
    local free = gateway "required = false"
    assert.equal("nobody", ask(free).headers["x-who"])
    assert.equal("alice", ask(free, bearer(KEYS.alice)).headers["x-who"])
    assert.equal("key_unknown", ask(free, bearer "no").error.code)
  end)

  it("lets a page's preflight by, which carries no key", function()
    local r = ask(gateway("", { before = 'sluice.parts.cors { origins = { "https://a.test" } },' }), { origin = "https://a.test", ["access-control-request-method"] = "GET" }, { method = "OPTIONS" })
    assert.equal(204, r.status)
    assert.equal(0, #r.upstream)
    r = ask(gateway("", { behind = 'sluice.parts.cors { origins = { "https://a.test" } }' }), { origin = "https://a.test", ["access-control-request-method"] = "GET" }, { method = "OPTIONS" })
    assert.equal(204, r.status)
  end)

  it("tells the key to nobody: no model, no log line, no answer", function()
    for _, key in ipairs { KEYS.alice, KEYS.bob, "k-unknown-99", KEYS.batch } do
      for _, headers in ipairs { bearer(key), { ["x-api-key"] = key }, { ["api-key"] = key } } do
        local r = ask(g, headers)
        for _, entry in ipairs(r.log) do
          for _, part in ipairs { entry.line or "", entry.bytes or "", entry.body or "" } do assert.is_nil(part:find(key, 1, true)) end
          for name, value in pairs(entry.headers or {}) do assert.is_nil((name .. value):find(key, 1, true)) end
        end
      end
    end
  end)
end)

describe("a key's models", function()
  it("are all that it may use", function()
    local r = ask(gateway(), bearer(KEYS.bob))
    assert.equal(403, r.status)
    assert.equal("model_not_allowed", r.error.code)
    assert.equal(0, #r.upstream)
    assert.equal("long", ask(gateway("", { route = '"long"' }), { ["x-api-key"] = KEYS.bob }).upstream[1].target)
  end)

  it("narrow a plan", function()
    local r = ask(gateway("", { route = '{ "smart", "long", "fast" }' }), { ["x-api-key"] = KEYS.bob }, { upstream = { long = { t.fail(503) } } })
    assert.equal(1, #r.upstream)
    assert.equal("long", r.upstream[1].target)
    assert.equal(200, ask(gateway("", { route = '{ "smart", "long", "fast" }' }), bearer(KEYS.alice), { upstream = { smart = { "ok" } } }).status)
  end)

  it("hold for what a later policy chooses", function()
    local table_by = 'sluice.parts.model_table { by = "query.m", table = { a = "long", b = { "long", "smart" }, c = "smart" } }'
    local g = gateway("", { behind = table_by })
    assert.equal("long", ask(g, { ["x-api-key"] = KEYS.bob }, { query = "q=x&m=a" }).upstream[1].target)
    for _, m in ipairs { "b", "c" } do assert.equal("model_not_allowed", ask(g, { ["x-api-key"] = KEYS.bob }, { query = "q=x&m=" .. m }).error.code) end
  end)
end)

describe("a key's rate", function()
  it("is counted by name, for all its keys together", function()
    local g = gateway("", { route = '"fast"' })
    assert.equal(200, ask(g, bearer(KEYS.batch)).status)
    assert.equal(200, ask(g, bearer(KEYS["batch-new"])).status)
    local r = ask(g, bearer(KEYS.batch))
    assert.equal(429, r.status)
    assert.equal("rate_limited", r.error.code)
    assert.is_true(tonumber(r.headers["retry-after"]) > 0)
    assert.equal(200, ask(g, bearer(KEYS.alice)).status)
    assert.equal(401, ask(g, bearer "no").status)
  end)
end)

describe("a file of keys", function()
  local h = hash "a"
  local function refused(file)
    local g, why = t.load { source = source(), files = { ["keys.txt"] = file } }
    assert.is_nil(g)
    return (why:gsub("/tmp/sluice_%w+/", ""))
  end

  for file, said in pairs {
    ["# none\n\n"] = "keys.txt:1: holds no key", [""] = "keys.txt:1: holds no key", ["\n\nalice"] = "keys.txt:3: behind the name stands sha256:", ["sk-live-abcdef"] = "keys.txt:1: behind the name",
    ["alice sk-live-abcdef"] = "keys.txt:1: behind the name", ["alice md5:abc"] = "keys.txt:1: behind", [h] = "keys.txt:1: a line begins with a name", ["alice " .. h .. "0"] = "keys.txt:1: behind",
    ["alice " .. h:sub(1, -2)] = "keys.txt:1: behind", ["al/ice " .. h] = "keys.txt:1: a line begins with a name", ["-x " .. h] = "keys.txt:1: a line begins", [("a"):rep(65) .. " " .. h] = "keys.txt:1: a line begins",
    ["a " .. h .. " model=fast"] = "keys.txt:1: behind the hash stand only", ["a " .. h .. " fast"] = "keys.txt:1: behind the hash stand only", ["a " .. h .. " models="] = "keys.txt:1: behind the hash",
    ["a " .. h .. " models=fsat"] = 'keys.txt:1: models= names "fsat", but there is no such model', ["a " .. h .. " models=fast,"] = 'keys.txt:1: models= names ""',
    ["a " .. h .. " models=fast models=long"] = "keys.txt:1: models= is given twice", ["a " .. h .. " rate=60"] = 'keys.txt:1: rate= is written 60/1m, is "60"',
    ["a " .. h .. " rate=0/1m"] = "keys.txt:1: rate=0/1m: rate must be a number above 0", ["a " .. h .. " rate=9/soon"] = "keys.txt:1: rate=9/soon: per: ", ["a " .. h .. " rate=9/0s"] = "keys.txt:1: rate=9/0s: per",
    ["a " .. h .. " concurrency=0"] = 'keys.txt:1: concurrency= is a whole number above 0, is "0"', ["a " .. h .. " concurrency=1.5"] = "keys.txt:1: concurrency= is a whole",
    ["a " .. h .. " concurrency=9999999999"] = "keys.txt:1: concurrency= is a whole", ["a " .. h .. " concurrency=five"] = "keys.txt:1: concurrency= is a whole",
    ["a " .. h .. " tokens=500"] = 'keys.txt:1: tokens= is written 200000/1d, is "500"', ["a " .. h .. " tokens=0/1d"] = "keys.txt:1: tokens=0/1d: must be a number above 0",
    ["a " .. h .. " tokens=99999999999999999999/1d"] = "keys.txt:1: tokens=99999999999999999999/1d: must be", ["a " .. h .. " tokens=5/0s"] = "keys.txt:1: tokens=5/0s: window must be longer",
    ["a " .. h .. " tokens=5/day"] = "keys.txt:1: tokens=5/day: window: ",
    ["a " .. h .. "\n# x\nb " .. h] = "keys.txt:3: this key is a's already (line 1)", ["a " .. h .. " tokens=5/1d\na " .. hash "b" .. " tokens=6/1d"] = "keys.txt:2: a may do", ["a " .. h .. "\na " .. hash "b" .. " rate=1/1m"] = "keys.txt:2: a may do something else on line 1",
    ["a " .. h .. "\n\0\1\2 x\n"] = "keys.txt:2: a line begins with a name", ["a " .. h .. "\rb " .. h] = "keys.txt:1: behind",
  } do
    it(("is refused: %q"):format(file:gsub(h, "HASH")), function()
      local why = refused(file)
      assert.equal(said, why:sub(1, #said))
    end)
  end

  it("never shows a line that may hold a key", function()
    for _, line in ipairs { "sk-live-abcdef", "alice sk-live-abcdef", "sk-live-abcdef alice", "alice " .. h .. " sk-live-abcdef", "alice " .. h .. " key=sk-live-abcdef" } do
      assert.is_nil(refused(line):find("sk-live", 1, true))
    end
  end)

  it("has every bad line told, but not without end", function()
    local _, lines = refused("a\nb\n" .. "c " .. h .. "\nd"):gsub("\n", "")
    assert.equal(3, lines)
    _, lines = refused(("x\n"):rep(5000)):gsub("\n", "")
    assert.equal(20, lines)
  end)

  it("may be large", function()
    local lines = {}
    for i = 1, 20000 do lines[i] = ("user%d sha256:%08x%056x rate=%d/1m"):format(i, i * 7919, i, 10 + i % 3) end
    lines[#lines + 1] = "alice " .. hash(KEYS.alice)
    assert.equal("alice", ask(gateway("", { file = table.concat(lines, "\n") }), bearer(KEYS.alice)).headers["x-who"])
  end)
end)

describe("audit", function()
  local function logged(part, want, more)
    more = more or {}
    local g = assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { sluice.parts.audit { %s }, %s } } } }
]]):format(part, more.behind or "") })
    want.q, want.no_shake = want.q or "my secret question", true
    want.upstream = want.upstream or { "the ", "answer" }
    local r = g:ask(want)
    for _, line in ipairs(r.logs) do if line.event == "audit" then return line, r end end
  end

  -- Names and values without those of the line itself.
  local function said(line)
    local out = {}
    for name, value in pairs(line) do
      if name ~= "level" and name ~= "event" and name ~= "line" and name ~= "total_ms" then out[#out + 1] = name .. "=" .. value end
    end
    table.sort(out)
    return table.concat(out, " ")
  end

  it("writes one line with the usual facts, and no text", function()
    local line, r = logged("", { ip = "192.0.2.7" }, { behind = 'sluice.policy { name = "k", validate = function(_, ctx) ctx.key = { id = "alice" } ctx:tag("tier", "gold") end }' })
    assert.equal("info", line.level)
    assert.equal("estimated=true finish=done id=test-1 input_tokens=9 ip=192.0.2.7 key=alice model=m output_tokens=2 route=ask status=200 tag.tier=gold", said(line))
    assert.is_nil(line.line:find("secret question", 1, true) or line.line:find("the answer", 1, true))
    assert.equal("request", r.logs[#r.logs].event)
  end)

  it("writes what it is told, and for refusals too", function()
    assert.equal("finish=done status=200", said(logged('fields = { "status", "finish" }', {})))
    assert.equal("finish=denied status=403", said(logged('fields = { "status", "finish", "key", "tags" }', {},
      { behind = 'sluice.policy { name = "no", accept = function() return sluice.reject(403, "denied", "No.") end }' })))
    assert.equal("", said(logged("fields = {}", {})))
  end)

  it("tells question and answer only when told so, cut between characters, and safe for the log", function()
    local line = logged('fields = { "id" }, text = true', { q = 'a"\ninfo request b=c', upstream = { "x\r\n", "y" } })
    assert.equal('a"\ninfo request b=c', line.question)
    assert.equal("x\r\ny", line.answer)
    assert.is_nil(line.line:find("[\r\n]"))
    line = logged('fields = {}, text = true', { q = ("é"):rep(5000), upstream = { "a", ("é"):rep(5000) } })
    assert.equal(("é"):rep(512), line.question)
    assert.equal("a" .. ("é"):rep(511), line.answer)
  end)

  it("tells the answer as the client got it", function()
    local line = logged('fields = {}, text = true', { upstream = { "what the he", "ck" } }, { behind = 'sluice.parts.banned_words { words = { "heck" } }' })
    assert.equal("what the ***", line.answer)
  end)

  it("has room for all fields and many tags", function()
    local line = logged('fields = { "bytes", "finish", "first_token_ms", "held_ms", "id", "ip", "key", "model", "route", "status", "tags", "tokens", "total_ms", "usage" }', {},
      { behind = 'sluice.policy { name = "k", validate = function(_, ctx) for i = 1, 32 do ctx:tag("t" .. i, i) end end }' })
    assert.equal("32", line["tag.t32"])
    assert.equal("ask", line.route)
  end)

  it("refuses fields that it does not know", function()
    local g, why = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } },\n' ..
      'routes = { a = { path = "/a", front = "token", target = "m", policies = { sluice.parts.audit {\nfields = { "id",\n"promt" } } } } } }' }
    assert.is_nil(g)
    assert.matches(":5: routes.a.policies%[1%].fields%[2%]: unknown field promt %(known: bytes, finish", why)
  end)
end)
