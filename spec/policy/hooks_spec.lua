-- The hooks of an answer: attempt, fallback, response, finish. On the virtual clock, with models that fail as scripted.
local t = require "sluice.testing"

-- P is the policy; `target` names the plan.
local function gateway(lua, target)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0",
  models = {
    smart = { provider = "openai", url = "http://smart.test/v1", model = "smart-1" },
    plain = { provider = "openai", url = "http://plain.test/v1", model = "plain-1" },
    mine = { answer = function(req, out) out:text("mine: " .. req:last_user()) end },
    broken = { answer = function() error "broken" end },
  },
  routes = { ask = { path = "/api/stream", front = "token", target = %s, policies = { P } } } }
]]):format(lua, target or '{ "smart", "plain" }') })
end

local function refused(lua)
  local g, why = t.load { source = 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p" }\n' .. lua ..
    '\nreturn sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } }, routes = { a = { path = "/a", front = "token", target = "m", policies = { P } } } }' }
  assert.is_nil(g)
  return (why:gsub("[^\n]*/lua_[^:]*:", "file:"))
end

describe("the plan", function()
  for name, failure in pairs { ["a 503"] = t.fail(503), ["a 429"] = t.fail(429), ["a 401"] = t.fail(401), ["a reset"] = t.reset(), ["no connection"] = t.break_with "upstream_connect_failed",
    ["an error event"] = t.raw 'data: {"error":{"message":"no"}}\n\n', ["rubbish"] = t.raw "data: {\n\n", ["silence"] = t.wait "61s" } do
    it("goes on to the next model after " .. name, function()
      local r = gateway(""):ask { q = "x", upstream = { smart = { failure }, plain = { "he", "llo" } } }
      assert.equal("hello", r.text)
      assert.same({ "smart", "plain" }, { r.upstream[1].target, r.upstream[2].target })
      assert.equal("plain-1", r.upstream[2].body.model)
    end)
  end

  it("ends with the last model's failure", function()
    local r = gateway(""):ask { q = "x", upstream = { smart = { t.fail(503) }, plain = { t.fail(429, { ["retry-after"] = "7" }) } } }
    assert.equal(429, r.status)
    assert.equal("upstream_rate_limited", r.error.code)
    assert.equal("7", r.headers["retry-after"])
    assert.equal("true", r.headers["x-should-retry"])
    r = gateway("", '"smart"'):ask { q = "x", upstream = { t.fail(429, { ["retry-after-ms"] = "1200" }) } }
    assert.equal("2", r.headers["retry-after"])
    for status, headers in pairs { [429] = {}, [503] = {}, [500] = { ["retry-after"] = "7" } } do
      assert.equal("true", gateway("", '"smart"'):ask({ q = "x", upstream = { t.fail(status, headers) } }).headers["x-should-retry"])
    end
    assert.equal("false", gateway("", '"smart"'):ask({ q = "x", upstream = { t.fail(429, { ["retry-after"] = "86400" }) } }).headers["x-should-retry"])
    assert.equal("false", gateway("", '"smart"'):ask({ q = "x", upstream = { t.fail(400) } }).headers["x-should-retry"])
  end)

  it("does not ask another model what the first found wrong with the request", function()
    for _, status in ipairs { 400, 413, 422 } do
      local r = gateway(""):ask { q = "x", upstream = { smart = { t.fail(status, nil, { error = { message = "'q' is too odd" } }) }, plain = { "hello" } } }
      assert.equal("upstream_refused", r.error.code)
      assert.equal("'q' is too odd", r.error.error)
      assert.equal(status, r.status)
      assert.equal(1, #r.upstream)
    end
  end)

  it("tells nobody what a model says of our own key or name for it", function()
    for _, status in ipairs { 401, 403, 404 } do
      local r = gateway("", '"smart"'):ask { q = "x", upstream = { t.fail(status, nil, { error = { message = "bad key" } }) } }
      assert.equal("upstream_status", r.error.code)
      assert.equal(502, r.status)
      assert.is_nil(r.error.error:find "bad key")
      assert.equal("bad key", r.logs[#r.logs].detail)
    end
  end)

  it("is over once text was sent: an error event, no second model", function()
    local r = gateway(""):ask { q = "x", upstream = { smart = { "he", t.reset() }, plain = { "hello" } } }
    assert.equal("he", r.text)
    assert.equal("upstream_reset", r.error.code)
    assert.equal(1, #r.upstream)
  end)

  it("is not over while a filter holds all that came: the failed try leaves nothing behind", function()
    local g = gateway 'P.filter = { unit = "sentence", text = function(s) return "[" .. s .. "]" end }'
    local r = g:ask { q = "x", upstream = { smart = { "half a sen", t.reset() }, plain = { "Whole. Two." } } }
    assert.equal("[Whole. ][Two.]", r.text)
  end)

  it("may mix upstreams and Lua models", function()
    assert.equal("mine: x", gateway("", '{ "smart", "mine" }'):ask({ q = "x", upstream = { smart = { t.fail(500) } } }).text)
    assert.equal("hello", gateway("", '{ "broken", "plain" }'):ask({ q = "x", upstream = { plain = { "hello" } } }).text)
  end)

  it("is what route returns: a name, a list, a plan; ctx.plan and ctx.target show it", function()
    for _, said in ipairs { '"plain"', '{ "plain", "mine" }', '{ models = { "plain" } }' } do
      local g = gateway('function P.route() return ' .. said .. ' end function P.prompt(req, ctx) req:system(ctx.target .. " of " .. #ctx.plan.models) end')
      local r = g:ask { q = "x", upstream = { plain = { "ok" } } }
      assert.equal("ok", r.text)
      assert.equal("plain of " .. (said:find "mine" and 2 or 1), r.upstream[1].body.messages[1].content)
    end
  end)

  it("may stand in an option", function()
    local g = gateway [[P = sluice.policy { name = "o", options = { tiers = { type = "map", default = { gold = { "plain", "mine" }, free = { models = { "mine" } } } } } }
      function P.route(req, ctx) return ctx.options.tiers[req.query.q] end]]
    assert.equal("ok", g:ask({ q = "gold", upstream = { plain = { "ok" } } }).text)
    assert.equal("mine: free", g:ask({ q = "free" }).text)
  end)

  it("refuses what is no plan, with the place", function()
    for said, why in pairs { ["{}"] = "names no model", ['{ "plain", "plane" }'] = "no model of that name", ["{ 1 }"] = "among the names" } do
      local r = gateway("function P.route() return " .. said .. " end"):ask { q = "x", upstream = { "no" } }
      assert.equal("policy_error", r.error.code, why)
    end
  end)
end)

describe("attempt", function()
  it("changes a fresh copy each time; the headers are those of that try", function()
    local g = gateway [[function P.attempt(try, ctx)
      try.params.max_tokens = (try.params.max_tokens or 0) + 1
      try.messages[1].content = try.messages[1].content .. "!"
      try:system("to " .. try.target .. " " .. try.number)
      try.headers["X-Try"] = tostring(try.number)
      assert(ctx.target == try.target)
    end]]
    local r = g:ask { q = "hi", upstream = { smart = { t.fail(500) }, plain = { "ok" } } }
    assert.equal("ok", r.text)
    for i, name in ipairs { "smart", "plain" } do
      assert.equal(1, r.upstream[i].body.max_tokens)
      assert.same({ { role = "system", content = "to " .. name .. " " .. i }, { role = "user", content = "hi!" } }, r.upstream[i].body.messages)
      assert.equal(tostring(i), r.upstream[i].headers["x-try"])
    end
  end)

  it("reaches a Lua model, too", function()
    assert.equal("mine: hi!", gateway('function P.attempt(try) try.messages[1].content = "hi!" end', '"mine"'):ask({ q = "hi" }).text)
  end)

  it("may reject and may wait", function()
    local r = gateway('function P.attempt() sluice.sleep "1s" return sluice.reject(429, "used_up", "No more today.") end'):ask { q = "x", upstream = { "no" } }
    assert.equal(429, r.status)
    assert.equal(0, #r.upstream)
    assert.equal("late", gateway('function P.attempt() sluice.sleep "1s" end'):ask({ q = "x", upstream = { "late" } }).text)
  end)

  for name, lua in pairs { ["a misspelt field"] = "try.mesages = {}", ["a header of the connection"] = 'try.headers["Content-Length"] = "9"', ["another target"] = 'try.target = "plain"',
    ["a reply"] = 'do return sluice.reply "x" end', ["headers that are none"] = "try.headers = 7", ["a header with a line end"] = 'try.headers["X-A"] = "a\\r\\nb"' } do
    it("refuses " .. name, function()
      local r = gateway("function P.attempt(try) " .. lua .. " end"):ask { q = "x", upstream = { "no" } }
      assert.equal(500, r.status)
      assert.equal(0, #r.upstream)
    end)
  end
end)

describe("fallback", function()
  it("is told why, and may go on, repeat, refuse or reply", function()
    local g = gateway [[function P.fallback(failure, ctx)
      ctx.vars.seen = (ctx.vars.seen or "") .. failure.target .. ":" .. failure.code .. ":" .. tostring(failure.status) .. ":" .. failure.number .. " "
      if failure.number < 3 then return "retry" end
      if failure.target == "smart" then return "next" end
      return sluice.reply(ctx.vars.seen)
    end]]
    local r = g:ask { q = "x", upstream = { smart = { t.fail(500), t.fail(400), t.reset() }, plain = { t.close() } } }
    assert.equal("smart:upstream_status:500:1 smart:upstream_refused:400:2 smart:upstream_reset:nil:3 plain:upstream_truncated:nil:4 ", r.text)
    assert.equal(4, #r.upstream)
  end)

  it("goes on although the built-in plan would not", function()
    local r = gateway('function P.fallback() return "next" end'):ask { q = "x", upstream = { smart = { t.fail(400) }, plain = { "ok" } } }
    assert.equal("ok", r.text)
  end)

  it("gives up: the client gets this failure", function()
    local g = gateway 'function P.fallback() return "fail" end'
    local r = g:ask { q = "x", upstream = { smart = { t.fail(429, { ["retry-after"] = "7" }) } } }
    assert.equal("upstream_rate_limited", r.error.code)
    assert.equal("7", r.headers["retry-after"])
    assert.equal(1, #r.upstream)
  end)

  it("leaves it to the built-in plan by saying nothing", function()
    assert.equal("ok", gateway("function P.fallback() end"):ask({ q = "x", upstream = { smart = { t.fail(500) }, plain = { "ok" } } }).text)
  end)

  it("may wait before a retry, and does not retry for ever", function()
    local g = gateway('function P.fallback() sluice.sleep "1s" return "retry" end', '"smart"')
    assert.equal("ok", g:ask({ q = "x", upstream = { smart = { t.fail(500), "ok" } } }).text)
    local steps = {}
    for i = 1, 50 do steps[i] = t.fail(500) end
    local r = g:ask { q = "x", upstream = { smart = steps } }
    assert.equal("upstream_status", r.error.code)
    assert.equal(10, #r.upstream)
  end)

  it("may reject", function()
    local r = gateway('function P.fallback(f) return sluice.reject(400, "model_refused", "Not accepted: " .. f.status) end'):ask { q = "x", upstream = { smart = { t.fail(422) } } }
    assert.same({ error = "Not accepted: 422", code = "model_refused" }, r.error)
  end)

  it("is not asked when a policy refused, nor when text was sent", function()
    local g = gateway 'function P.fallback() error "asked" end function P.response() return sluice.reject(403, "no", "No.") end'
    assert.equal("no", g:ask({ q = "x", upstream = { smart = { "hello" } }, no_shake = true }).error.code)
    local r = gateway('function P.fallback() error "asked" end'):ask { q = "x", upstream = { smart = { "he", t.reset() } } }
    assert.equal("upstream_reset", r.error.code)
  end)

  it("still helps after a heartbeat, which is no text", function()
    local r = gateway(""):ask { q = "x", upstream = { smart = { t.wait "20s", t.reset() }, plain = { "ok" } } }
    assert.equal("ok", r.text)
    assert.equal(1, r.comments)
  end)

  it("refuses another word", function()
    assert.equal("policy_error", gateway('function P.fallback() return "nxt" end'):ask({ q = "x", upstream = { smart = { t.fail(500) } } }).error.code)
  end)
end)

describe("response", function()
  it("sees the upstream's head and sets ours", function()
    local g = gateway 'function P.response(res, ctx) ctx:header("X-Model", res.target .. " " .. res.status .. " " .. res.headers["x-region"]) end'
    local r = g:ask { q = "x", upstream = { smart = { t.head(200, { ["Content-Type"] = "text/event-stream", ["X-Region"] = "eu" }), "hello" } } }
    assert.equal("smart 200 eu", r.headers["x-model"])
    assert.equal("hello", r.text)
  end)

  it("runs for each try that answered, before its text; a Lua model's too", function()
    local g = gateway('function P.response(res, ctx) ctx:header("X-Number", res.number) end', '{ "smart", "mine" }')
    local r = g:ask { q = "x", upstream = { smart = { t.head(200), t.reset() } } }
    assert.equal("mine: x", r.text)
    assert.equal("2", r.headers["x-number"])
  end)

  it("may wait: the text waits with it", function()
    local r = gateway('function P.response() sluice.sleep "2s" end'):ask { q = "x", upstream = { smart = { "a", "b" } } }
    assert.equal("ab", r.text)
  end)

  it("may reject with a status, since nothing was sent", function()
    local r = gateway('function P.response() return sluice.reject(402, "pay", "Pay first.") end'):ask { q = "x", upstream = { smart = { "a" } } }
    assert.equal(402, r.status)
    assert.is_true(r.canceled)
  end)
end)

describe("finish", function()
  it("knows how the model ended and may add the last words", function()
    local g = gateway 'function P.finish(fin) if fin.reason == "length" then return sluice.stop { reason = "length", text = " [" .. fin.tokens .. " pieces, cut off]" } end end'
    local cut = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"%s"}]}\n\n'
    local r = g:ask { q = "x", upstream = { smart = { "a", "b", t.raw(cut:format "length") } }, no_shake = true }
    assert.equal("ab [2 pieces, cut off]", r.text)
    assert.is_true(r.done)
    assert.equal("ab", g:ask({ q = "x", upstream = { smart = { "a", "b", t.raw(cut:format "stop") } } }).text)
  end)

  it("comes after the filters have let go, before the end mark; it may wait", function()
    local g = gateway [[
      P.filter = { unit = "all", text = function(s, ctx) ctx.state.n = #s return s end }
      function P.finish(_, ctx) sluice.sleep "1s" return sluice.stop { text = "(" .. ctx.state.n .. ")" } end]]
    assert.equal("hello(5)", g:ask({ q = "x", upstream = { smart = { "he", "llo" } } }).text)
  end)

  it("that fails is closed: an error event, no end mark", function()
    local r = gateway('function P.finish() error "oops" end'):ask { q = "x", upstream = { smart = { "a" } } }
    assert.equal("policy_error", r.error.code)
    assert.is_nil(r.done)
  end)

  it("sees usage as reported", function()
    local g = gateway 'function P.finish(fin) return sluice.stop { text = fin.usage.input .. "/" .. fin.usage.output .. "/" .. tostring(fin.usage.estimated) } end'
    local r = g:ask { q = "x", upstream = { smart = { t.raw 'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n' } } }
    assert.equal("7/9/false", r.text)
  end)
end)

describe("the order", function()
  it("is top to bottom for what goes up and for the head, bottom to top for what comes down", function()
    local seen = {}
    local source = { 'local sluice = require "sluice"', "local list = {}" }
    for _, name in ipairs { "a", "b" } do
      source[#source + 1] = ('local %s = sluice.policy { name = "%s" }'):format(name, name)
      for _, hook in ipairs { "accept", "validate", "route", "prompt", "attempt", "response", "finish" } do
        source[#source + 1] = ('function %s.%s(_, ctx) ctx.vars.seen = (ctx.vars.seen or "") .. "%s.%s " end'):format(name, hook, name, hook)
      end
      source[#source + 1] = ('function %s.log(_, ctx) print(ctx.vars.seen) end'):format(name)
    end
    source[#source + 1] = [[function a.finish(_, ctx) return sluice.stop(ctx.vars.seen .. "a.finish") end
      return sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } },
        routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { a, b } } } }]]
    source = table.concat(source, "\n"):gsub("function a%.finish%(_, ctx%) ctx[^\n]*\n", "", 1)
    seen = assert(t.load { source = source }):ask({ q = "x" }).text
    assert.equal("a.accept b.accept a.validate b.validate a.route b.route a.prompt b.prompt a.attempt b.attempt a.response b.response b.finish a.finish", seen)
  end)
end)

describe("what a hook is shown", function()
  for name, lua in pairs { attempt = "function P.attempt(try) try.number = 7 end", failure = 'function P.fallback(f) f.code = "x" end', response = "function P.response(res) res.status = 7 end",
    finish = "function P.finish(fin) fin.tokens = 7 end", misspelt = "function P.response(res) return res.stattus end" } do
    it("cannot be changed: " .. name, function()
      local r = gateway(lua, '"smart"'):ask { q = "x", upstream = { smart = name == "failure" and { t.fail(500) } or { "a" } }, no_shake = true }
      assert.equal("policy_error", r.error.code)
    end)
  end
end)

describe("misuse", function()
  it("is told at the line", function()
    assert.equal('file:3: unknown hook "finnish" in policy "p"; did you mean "finish"?\n', refused "function P.finnish() end")
    assert.equal('file:3: hook "attempt" takes no self: write "function P.attempt(...)" with a dot, not a colon\n', refused "function P:attempt() end")
  end)
end)
