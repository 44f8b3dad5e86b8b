-- Services, gates and sluice.all on the virtual clock: what a policy waits for, side by side and one after another.
local t = require "sluice.testing"

local function gateway(lua, more)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local judge = sluice.service "judge"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0",
  services = { judge = { url = "http://judge.test/base", timeout = "800ms", auth = "sk-judge-key" %s } },
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" }, mine = { answer = function(req, out)
    local res, err = judge:get "/mine"
    out:text(res and res.body or err.kind)
  end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } }, mine = { path = "/mine", front = "token", target = "mine", policies = { P } } } }
]]):format(lua, more or "") })
end

local function refused(lua)
  local g, why = t.load { source = 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p" }\n' .. lua ..
    '\nreturn sluice.config { api = 1, listen = ":0", services = { judge = { url = "http://j.test" } }, models = { m = { answer = function() end } },' ..
    ' routes = { a = { path = "/a", front = "token", target = "m", policies = { P } } } }' }
  assert.is_nil(g)
  return (why:gsub("[^\n]*/lua_[^:]*:", "file:"))
end

local function failure(lua, services)
  return gateway(lua):ask({ q = "x", services = services, upstream = { "no" } }).error.code
end

describe("a service", function()
  it("is asked with path, query, headers, JSON and its key; answers with status, headers, body, json()", function()
    local g = gateway [[function P.validate()
      local res = judge:post("/v1/judge?a=1", { query = { q = "a b&c", n = 7 }, json = { text = "hi" }, headers = { ["X-Mine"] = "y" } })
      return sluice.reply(res.status .. " " .. res.headers["x-a"] .. " " .. res.json().verdict .. " " .. res.body)
    end]]
    local r = g:ask { q = "x", services = { judge = function(call)
      assert.equal("POST", call.method)
      assert.equal("/v1/judge", call.path)
      assert.same({ a = "1", q = "a b&c", n = "7" }, call.query)
      assert.same({ text = "hi" }, call.json)
      assert.equal("Bearer sk-judge-key", call.headers.authorization)
      assert.equal("application/json", call.headers["content-type"])
      assert.equal("y", call.headers["x-mine"])
      return { status = 404, headers = { ["X-A"] = "b" }, body = '{"verdict":"ok"}' }, "300ms"
    end } }
    assert.equal('404 b ok {"verdict":"ok"}', r.text)
  end)

  it("that cannot be reached gives nil and an error: kind, service, message", function()
    local g = gateway 'function P.validate() local res, err = judge:get "/" return sluice.reply(tostring(res) .. " " .. err.kind .. " " .. err.service .. " " .. tostring(err)) end'
    assert.equal('nil connect judge service "judge": connect', g:ask({ q = "x", services = { judge = function() end } }).text)
    assert.equal('nil tls judge service "judge": tls', g:ask({ q = "x", services = { judge = function() return { fail = "tls" } end } }).text)
  end)

  it("has its time: the service's or the call's own", function()
    local g = gateway 'function P.validate(req) local _, err = judge:get("/", { timeout = req.query.t }) return sluice.reply(err and err.kind or "in time") end'
    local function late() return "", "900ms" end
    assert.equal("timeout", g:ask({ q = "x", services = { judge = late } }).text)
    assert.equal("in time", g:ask({ query = "q=x&t=2s", services = { judge = late } }).text)
    assert.equal("timeout", g:ask({ query = "q=x&t=10ms", services = { judge = late } }).text)
  end)

  it("whose error is raised: 503 dependency_failed; on_error may open that", function()
    assert.equal("dependency_failed", failure('function P.validate() local res, err = judge:get "/" if not res then error(err) end end', { judge = function() end }))
    local g = gateway('P = sluice.policy { name = "o", on_error = "open" } function P.validate() local _, err = judge:get "/" error(err) end')
    assert.equal("ok", g:ask({ q = "x", services = { judge = function() end }, upstream = { "ok" } }).text)
    local r = gateway('function P.validate() local _, err = judge:get "/" error(err) end'):ask { q = "x", services = { judge = function() end } }
    assert.equal(503, r.status)
    assert.is_nil(r.error.error:find("judge", 1, true))
  end)

  it("serves filters, too: order is kept, the upstream is held meanwhile", function()
    local g = gateway 'P.filter = { unit = "word", text = function(w) return judge:post("/", { json = { w = w } }).json().w end }'
    local r = g:ask { q = "x", upstream = { "one two", " three" }, services = { judge = function(call) return { json = { w = call.json.w:upper() } }, call.json.w == "one " and "500ms" or "1ms" end } }
    assert.equal("ONE TWO THREE", r.text)
  end)

  it("serves Lua models", function()
    local g = gateway ""
    assert.equal("hello", g:ask({ path = "/mine", q = "x", services = { judge = function() return "hello", "100ms" end } }).text)
    assert.equal("connect", g:ask({ path = "/mine", q = "x", services = { judge = function() end } }).text)
  end)

  it("serves log hooks", function()
    local asked = 0
    local g = gateway 'function P.log() judge:post("/log", { body = "x" }) end'
    g:ask { q = "x", upstream = { "ok" }, services = { judge = function() asked = asked + 1 return "", "1s" end }, no_shake = true }
    assert.equal(1, asked)
  end)

  it("is left alone when the client leaves", function()
    local g = gateway 'function P.attempt() judge:get "/" end'
    local r = g:ask { q = "x", services = { judge = function() return "", "700ms" end } }
    assert.equal(1, #r.upstream)
    local gone = gateway 'P.filter = { text = function(s) judge:get "/" return s end }'
    r = gone:ask { q = "x", upstream = { "a", t.leave() }, services = { judge = function() return "", "700ms" end } }
    assert.is_true(r.closed)
  end)

  it("that keeps failing is not asked for a while", function()
    local asked = 0
    local g = gateway 'function P.validate() local res, err = judge:get "/" return sluice.reply(err and err.kind or "ok") end'
    local said = {}
    for i = 1, 25 do said[i] = g:ask({ q = "x", services = { judge = function() asked = asked + 1 end } }).text end
    assert.equal("connect", said[20])
    assert.equal("breaker_open", said[21])
    assert.equal(20, asked)
  end)

  for name, lua in pairs {
    ["an unknown option"] = 'judge:get("/", { timout = "1s" })', ["a path that leaves the host"] = 'judge:get("@evil.test/")', ["json and body"] = 'judge:post("/", { json = {}, body = "" })',
    ["a header of the connection"] = 'judge:get("/", { headers = { Host = "evil" } })', ["a line end in a header"] = 'judge:get("/", { headers = { ["X-A"] = "a\\r\\nb" } })',
    ["a dot"] = 'judge.get("/")', ["a method in small letters"] = 'judge:request("get", "/")', ["a bare timeout"] = 'judge:get("/", { timeout = 7 })',
    ["a wait in gsub"] = '("x"):gsub("x", function() judge:get "/" end)',
  } do
    it("refuses " .. name, function()
      assert.equal("policy_error", failure("function P.validate() " .. lua .. " end", { judge = function() error "asked" end }))
    end)
  end

  it("must be declared, and is named with its line when it is not", function()
    assert.equal('file:3: unknown service "jugde"; did you mean "judge"? (declared: judge)\n', refused 'local s = sluice.service "jugde"')
  end)

  it("is got while the file loads", function()
    assert.equal("policy_error", failure('function P.validate() sluice.service "judge" end'))
  end)
end)

describe("a Lua service", function()
  local function answering(answer, hook)
    return t.load { source = ([[
local sluice = require "sluice"
local judge = sluice.service "judge"
local P = sluice.policy { name = "p" }
function P.validate(req) %s end
return sluice.config { api = 1, listen = ":0", services = { judge = %s }, models = { m = function() end },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(hook or 'local res, err = judge:get("/a") return sluice.reply(res and res.status .. " " .. res.body or err.kind)', answer) }
  end

  it("is asked as a host would be, and answers as one", function()
    local g = answering([[function(call)
      assert(call.service == "judge" and call.method == "POST" and call.path == "/v1" and call.query.q == "a b&" and call.query.n == "1" and call.headers["x-a"] == "b")
      assert(call.json.text == "hi" and call.body == '{"text":"hi"}')
      sluice.sleep "2s"
      return { status = 201, headers = { ["X-C"] = "d" }, json = { ok = true } }
    end]], [[local res = judge:post("/v1?q=a%20b%26", { query = { n = 1 }, json = { text = "hi" }, headers = { ["X-A"] = "b" } })
      return sluice.reply(res.status .. " " .. res.headers["x-c"] .. " " .. res.headers["content-type"] .. " " .. tostring(res.json().ok))]])
    assert.equal("201 d application/json true", g:ask({ q = "x" }).text)
  end)

  it("may return a text, nothing, or raise", function()
    assert.equal("200 yes", answering('function() return "yes" end'):ask({ q = "x" }).text)
    assert.equal("200 yes", answering('{ answer = function() return { body = "yes" } end }'):ask({ q = "x" }).text)
    assert.equal("connect", answering("function() end"):ask({ q = "x" }).text)
    for _, answer in ipairs { 'function() error "broken" end', "function() return 7 end", "function() return { stats = 200 } end", 'function() return { status = "200" } end',
      "function() return { body = {} } end" } do
      assert.equal("policy_error", answering(answer):ask({ q = "x" }).error.code)
    end
  end)

  it("has nothing that a host has", function()
    local g, why = answering '{ answer = function() end, url = "http://judge.test" }'
    assert.is_nil(g)
    assert.matches(":5: services.judge.url: a service with an answer function has no url\n$", why)
    _, why = answering "{}"
    assert.matches(':5: services.judge: "url" is missing, such as url = "http://directory.internal:8000" %(or answer = function%(call%)%)\n$', why)
    _, why = answering "7"
    assert.matches(":5: services.judge: must be a table or a function, such as", why)
  end)
end)

describe("sluice.all", function()
  it("waits for all side by side: the longest counts", function()
    local g = gateway [[function P.validate(_, ctx)
      local a, b, c = sluice.all { function() return judge:get("/a").body end, function() sluice.sleep "200ms" return "slept" end, function() return judge:get("/b").body end }
      ctx.vars.said = a .. " " .. b .. " " .. c
    end
    function P.prompt(_, ctx) return sluice.reply(ctx.vars.said) end]]
    local r = g:ask { q = "x", services = { judge = function(call) return "answer " .. call.path, call.path == "/a" and "700ms" or "10ms" end } }
    assert.equal("answer /a slept answer /b", r.text)
    assert.near(0.7, r.log[#r.log].at - r.log[1].at, 0.01)
  end)

  it("may be nested, and keeps nil in its place", function()
    local g = gateway [[function P.validate()
      local a, b = sluice.all { function() return (sluice.all { function() sluice.sleep "10ms" return "inner" end }) end, function() end }
      return sluice.reply(a .. tostring(b))
    end]]
    assert.equal("innernil", g:ask({ q = "x" }).text)
  end)

  it("ends with the first error; what the others hold is closed", function()
    local g = gateway [[function P.validate(_, ctx)
      local closed = false
      local ok, why = pcall(sluice.all, {
        function() local guard <close> = setmetatable({}, { __close = function() closed = true end }) sluice.sleep "4s" end,
        function() sluice.sleep "10ms" error "broken" end,
      })
      return sluice.reply(tostring(ok) .. " " .. tostring(closed) .. " " .. why:match "broken")
    end]]
    assert.equal("false true broken", g:ask({ q = "x" }).text)
  end)

  it("raises a verdict and a service's error as they are", function()
    assert.equal("no", failure 'function P.validate() sluice.all { function() error(sluice.reject(403, "no", "No.")) end } end')
    assert.equal("dependency_failed", failure('function P.validate() sluice.all { function() local _, err = judge:get "/" error(err) end } end', { judge = function() end }))
  end)

  for name, lua in pairs { ["no list"] = "sluice.all(7)", ["an empty list"] = "sluice.all {}", ["no function"] = "sluice.all { 7 }", ["a yield"] = "sluice.all { coroutine.yield }" } do
    it("refuses " .. name, function() assert.equal("policy_error", failure("function P.validate() " .. lua .. " end")) end)
  end
end)

describe("ctx:gate", function()
  local guarded = [[function P.prompt(req, ctx) ctx:gate(function()
    local res, err = judge:post("/", { json = { text = req:text "user" } })
    if not res then error(err) end
    if res.json().bad then return sluice.reject(422, "topic", "Not about that.") end
  end) end]]
  local function judge(bad, latency) return { judge = function() return { json = { bad = bad } }, latency or "300ms" end } end

  it("lets nothing out before it has ended, and costs nothing when it is quicker than the model", function()
    local r = gateway(guarded):ask { q = "x", services = judge(false, "300ms"), upstream = { "a", "b" }, no_shake = true }
    assert.equal("ab", r.text)
    assert.near(0.3, r.wire[1].at, 0.001)
    r = gateway(guarded):ask { q = "x", services = judge(false, "50ms"), upstream = { t.wait "400ms", "a" }, no_shake = true }
    assert.near(0.4, r.wire[1].at, 0.001)
  end)

  it("wins: a clean status although the model has answered, which is cancelled", function()
    local r = gateway(guarded):ask { q = "x", services = judge(true), upstream = { "Sure, " } }
    assert.equal(422, r.status)
    assert.equal("", r.text)
    assert.is_true(r.canceled)
    assert.equal(1, #r.upstream)
  end)

  it("fails closed, with the service's failure; open when its hook is", function()
    assert.equal("dependency_failed", gateway(guarded):ask({ q = "x", services = { judge = function() end }, upstream = { "a" } }).error.code)
    local g = gateway('P = sluice.policy { name = "o", on_error = "open" } ' .. guarded)
    assert.equal("a", g:ask({ q = "x", services = { judge = function() end }, upstream = { "a" } }).text)
  end)

  it("has five seconds", function()
    local g = gateway 'function P.prompt(_, ctx) ctx:gate(function() sluice.sleep "6s" end) end'
    local r = g:ask { q = "x", upstream = { "a" } }
    assert.equal("policy_timeout", r.error.code)
  end)

  it("may be several; no heartbeat leaves while one is open", function()
    local g = gateway [[function P.prompt(_, ctx)
      ctx:gate(function() sluice.sleep "1s" end)
      ctx:gate(function() sluice.sleep "3s" end)
      ctx:gate(function() end)
    end]]
    local r = g:ask { q = "x", upstream = { "a" }, no_shake = true }
    assert.near(3, r.wire[1].at, 0.001)
  end)

  it("does not stand in the way of a fallback", function()
    local r = gateway(guarded .. ' function P.fallback() return "retry" end'):ask { q = "x", services = judge(false), upstream = { t.fail(500), "second" } }
    assert.equal("second", r.text)
  end)

  it("may reply instead of the model", function()
    local g = gateway 'function P.prompt(_, ctx) ctx:gate(function() sluice.sleep "1s" return sluice.reply "canned" end) end'
    assert.equal("canned", g:ask({ q = "x", upstream = { "model" } }).text)
  end)

  for name, lua in pairs { ["no function"] = "function P.prompt(_, ctx) ctx:gate(7) end", ["a filter's"] = "P.filter = { text = function(_, ctx) ctx:gate(function() end) end }",
    ["another verdict"] = 'function P.prompt(_, ctx) ctx:gate(function() return "text" end) end', ["an error"] = 'function P.prompt(_, ctx) ctx:gate(function() error "x" end) end' } do
    it("refuses " .. name, function()
      assert.equal("policy_error", gateway(lua):ask({ q = "x", upstream = { "a" }, no_shake = true }).error.code)
    end)
  end
end)
