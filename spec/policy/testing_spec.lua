-- The harness itself: what g:chat says of an exchange, what shaking finds and leaves as it was, what it says to who writes a spec.
local t = require "sluice.testing"

local function load(options)
  local entry = { "policies.loud" }
  for k, v in pairs(options or {}) do entry[k] = v end
  return t.load { policies = { entry } }
end

-- The message of what fn raises, and that it points into this file.
local function raised(fn, ...)
  local ok, why = pcall(fn, ...)
  assert.is_false(ok)
  return (tostring(why):gsub("^.-testing_spec%.lua:%d+: ", "here: "))
end

describe("g:chat", function()
  before_each(t.forget)

  it("tells what came of it", function()
    local r = load():chat { user = "hi", model = "fast", params = { max_tokens = 7 }, key = "k1", headers = { ["X-A"] = "b" }, upstream = {
      { reasoning = "hm" }, "he", "llo", { tool = { "weather", { city = "Rome" } } }, { finish = "tool_calls" }, { usage = { input = 12, output = 3 } } } }
    assert.equal(200, r.status)
    assert.equal("HELLO", r.text)
    assert.equal("hm", r.reasoning)
    assert.same({ { id = "call_1", name = "weather", arguments = '{"city":"Rome"}' } }, r.tools)
    assert.equal("tool_calls", r.finish)
    assert.is_nil(r.error)
    assert.same({ { reasoning = "hm" }, { content = "HE" }, { content = "LLO" }, { tool = r.tools[1] },
      { finish = "tool_calls", usage = { input = 12, output = 3, estimated = false } } }, r.events)
    assert.equal("text/event-stream; charset=utf-8", r.headers["content-type"])
    assert.equal(1, #r.upstream)
    assert.same({ "fast", "http://fast.test/v1/chat/completions" }, { r.upstream[1].target, r.upstream[1].url })
    assert.same({ { role = "user", content = "hi" } }, r.upstream[1].messages)
    assert.equal(7, r.upstream[1].max_tokens)
    assert.equal(r.upstream[1].messages, r.upstream[1].body.messages)
  end)

  it("shows a document of a front that it does not speak as it is", function()
    local g = assert(t.load { source = [[return require "sluice".config { api = 1, listen = ":0", models = { m = { answer = function(_, out) out:text "hello" end } },
      routes = { a = { path = "/v1/messages", front = "anthropic", target = "m" } } }]] })
    local r = g:ask { path = "/v1/messages", method = "POST", body = '{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}' }
    assert.equal("hello", r.document.content[1].text)
  end)

  it("tells a refusal with all that belongs to it", function()
    local r = load():chat { user = "hi", params = { refuse = true }, upstream = { "no" } }
    assert.equal(418, r.status)
    assert.same({ code = "teapot", message = "No coffee.", status = 418, kind = "policy", retry_after = 3 }, r.error)
    assert.equal("", r.text)
    assert.is_nil(r.finish)
    assert.equal(0, #r.upstream)
  end)

  it("tells when: on a clock that stands at 1000 as the client asks", function()
    local g = load()
    for _ = 1, 2 do
      local r = g:chat { user = "hi", upstream = { t.wait "2s", "a", t.wait "500ms", "b" } }
      assert.same({ 1002, 1002.5, 1002.5 }, { r.events[1].at, r.events[2].at, r.events[3].at })
    end
  end)

  it("tells tags, what was held, and the log", function()
    local r = load({ hold = 3, shared = true }):chat { user = "hi", params = { print = 'say "a"\n' }, upstream = { "abcdef" } }
    assert.same({ seen = "1.0", known = "nothing" }, r.tags)
    assert.equal(3, r.held_max)
    assert.same({ "script.print", "request" }, { r.logs[1].event, r.logs[2].event })
    assert.matches('policies/loud.lua:21: say "a"\n$', r.logs[1].message)
    assert.same({ "info", "200", "done", "1.0" }, { r.logs[2].level, r.logs[2].status, r.logs[2]["end"], r.logs[2].seen })
  end)

  it("takes messages as they are, and who asks for what is ctx.key", function()
    local show = t.lua [[sluice.policy { name = "show", prompt = function(req, ctx) return sluice.reply(ctx.key.id .. " " .. #req.messages .. " " .. tostring(req.stream)) end }]]
    assert.equal("k1 2 false", t.load({ policies = { show } }):chat({ key = "k1", messages = { { role = "user", content = "a" }, { role = "user", content = "b" } }, stream = false }).text)
  end)
end)

describe("scripts of upstreams", function()
  local g = t.load { policies = { "policies.loud" }, target = { "smart", "fast", "deep" }, models = { "deep", fast = { model = "fast-2" } } }

  it("are one for all, or one for each model, or functions, or a single step", function()
    assert.equal("A", g:chat({ upstream = "a" }).text)
    local r = g:chat { upstream = { smart = t.fail(500), fast = t.reset(), deep = { "a", "b" } } }
    assert.equal("AB", r.text)
    assert.equal("fast-2", r.upstream[2].model)
    r = g:chat { user = "hi", upstream = function(request) return request.target == "smart" and t.fail(503) or { "to ", request.target, ": ", request.messages[1].content } end }
    assert.equal("TO FAST: HI", r.text)
  end)

  it("go on where the try before them stopped", function()
    local again = t.load { policies = { t.lua [[sluice.policy { name = "again", fallback = function() return "retry" end }]] } }
    assert.equal("third", again:chat({ upstream = { t.fail(500), t.fail(500), "third" } }).text)
  end)

  it("are missed, and wrong steps named", function()
    assert.equal('here: the model "smart" was asked, but has no script', raised(g.chat, g, { upstream = { fast = { "a" } } }))
    assert.matches("^here: an upstream's step is a text, { content =, .*, not { contnet = ... }$", raised(g.chat, g, { upstream = { "a", { contnet = "x" } } }))
    assert.matches("not a number$", raised(g.chat, g, { upstream = { 7 } }))
  end)
end)

describe("services", function()
  local asking = t.lua [[(function()
    local judge = sluice.service "judge"
    return sluice.policy { name = "ask", validate = function() local res, err = judge:post("/v1?a=b", { json = { n = 1 }, timeout = "800ms" }) return sluice.reply(res and res.body or err.kind) end }
  end)()]]

  it("need no declaration, only a script: of the gateway, of the exchange, or an answer", function()
    local g = t.load { policies = { asking }, services = { judge = function() return "yes" end } }
    local r = g:chat {}
    assert.equal("yes", r.text)
    assert.same({ "judge", "POST", "/v1", "b", 1 }, { r.calls[1].service, r.calls[1].method, r.calls[1].path, r.calls[1].query.a, r.calls[1].json.n })
    assert.equal('{"n":2}', g:chat({ services = { judge = { json = { n = 2 } } } }).text)
    assert.equal("timeout", g:chat({ services = { judge = function() return "late", "1s" end } }).text)
  end)

  it("without one are named", function()
    local g = t.load { policies = { asking } }
    assert.equal('here: the service "judge" was called (POST /v1?a=b), but has no script: services = { judge = function(call) ... end }', raised(g.chat, g, {}))
  end)
end)

describe("shaking", function()
  before_each(t.forget)

  it("finds a filter whose result depends on the pieces", function()
    local g = load { hold = -1 }
    local why = raised(g.chat, g, { upstream = { "ab", "cd" } })
    assert.equal('here: the result depends on where the upstream cuts its text (one character each)\n  as given: 200 "ab!cd!" finish=stop\n  re-cut:   200 "a!b!c!d!" finish=stop', why)
    assert.equal("ab!cd!", g:chat({ upstream = { "ab", "cd" }, no_shake = true }).text)
    raised(g.chat, g, { upstream = { fast = { "ab", t.wait "1s", "cd" } } })      -- waits and names make no difference
    raised(g.chat, g, { upstream = function() return { "ab", "cd" } end })
  end)

  it("finds a policy whose result depends on how the client asks", function()
    local function depending(condition)
      local g = load { depends = t.lua(("function(req) return %s end"):format(condition)) }
      return raised(g.chat, g, { user = "hi", upstream = { "ab" } })
    end
    assert.equal('here: the result depends on how the client asks (not streaming)\n  as given: "AB" reasoning "" finish=stop\n  so:       "AB?" reasoning "" finish=stop', depending "not req.stream")
    for _, front in ipairs { "openai", "anthropic", "responses", "ui" } do
      assert.truthy(depending(("req.dialect == %q"):format(front)):find(("how the client asks (front %s, "):format(front), 1, true))
    end
  end)

  it("leaves counters, limiters, caches, breakers, counts and the clock as one exchange does", function()
    local g = load { shared = true }
    local r = g:chat { upstream = { "ab", "cd" } }
    assert.same({ seen = "1.0", known = "nothing" }, r.tags)
    r = g:chat { upstream = { t.wait "1s", "ab", "cd" } }
    assert.same({ seen = "2.0", known = "something" }, r.tags)
    assert.equal("too_often", g:chat({ upstream = { "ab", "cd" } }).error.code)
    assert.equal(3, g:count "streams_total")
    assert.equal(1001000, g.world:now())
    for _ = 1, 10 do assert.equal("policy_error", g:chat({ params = { fail = true }, upstream = { "ab" } }).error.code) end
    assert.equal(13, g:count "streams_total")             -- of 20 failures the breaker would have opened
  end)

  it("is not for scripts in which the client leaves", function()
    local r = load({ hold = -1 }):chat { upstream = { "ab", "cd", t.leave() } }
    assert.is_true(r.closed)
  end)
end)

describe("secrets", function()
  local function leaky(code) return t.load { policies = { t.lua("sluice.policy { name = 'leaky', " .. code .. " }") } } end
  local function found(code, upstream) return raised(leaky(code).chat, leaky(code), { user = "my pin is 1234", upstream = upstream or { "ok" }, secrets = { "9999", "1234" } }) end

  it("are looked for in all that is sent", function()
    assert.equal('here: the secret "1234" reached the client, in the text', found("", { "it is 1", "23", "4." }))
    assert.equal('here: the secret "1234" reached the client, in the reasoning', found("", { { reasoning = "12" }, { reasoning = "34" } }))
    assert.equal('here: the secret "1234" reached the client, in a tool call', found("", { { tool = { "call", { pin = "1234" } } } }))
    assert.equal('here: the secret "1234" reached the client, in a header', found("prompt = function(req, ctx) ctx:header('X-Pin', '1234') end"))
    assert.equal('here: the secret "1234" reached the client, in the body', found("validate = function(req) return sluice.reject(400, 'no', req:last_user()) end"))
    assert.equal('here: the secret "1234" reached the client, in an event', found("filter = { text = function(text) error(sluice.reject(400, 'no', '12' .. '34')) end }, response = function() end",
      { t.wait "20s", "a" }))
  end)

  it("are no secrets to the model, and must be told as texts", function()
    local g = leaky "prompt = function(req) req.messages[1].content = 'a pin' end"
    assert.equal("ok", g:chat({ user = "my pin is 1234", upstream = { "o", "k" }, secrets = { "1234" } }).text)
    assert.equal('here: secrets is a list of texts: secrets = { "4111 1111 1111 1111" }', raised(g.chat, g, { upstream = { "a" }, secrets = "1234" }))
    assert.equal('here: secrets is a list of texts: secrets = { "4111 1111 1111 1111" }', raised(g.chat, g, { upstream = { "a" }, secrets = { "" } }))
  end)
end)

describe("accidents", function()
  local function accidents(body)
    local g = t.load { policies = { t.lua("sluice.policy { name = 'a', validate = function(req) " .. body .. " end }") } }
    assert.equal("policy_error", g:chat({ user = "hi" }).error.code)
    return g:count "lua_accidents"
  end

  it("are errors that no script raised itself", function()
    assert.equal(1, accidents "local t = nil return t.x")
    assert.equal(1, accidents "return req:no_such_thing()")
    assert.equal(1, accidents "return ('x'):rep(-1):find(nil)")
    assert.equal(1, accidents "local ok, why = pcall(error, 'mine') local t = nil return t.x")
    assert.equal(1, accidents "coroutine.wrap(function() local t = nil return t.x end)()")
    assert.equal(1, accidents "sluice.all { function() local t = nil return t.x end }")
    assert.equal(0, accidents "error 'on purpose'")
    assert.equal(0, accidents "error('on purpose', 0)")
    assert.equal(0, accidents "error { 'on purpose' }")
    assert.equal(0, accidents "assert(nil, 'on purpose')")
    assert.equal(0, accidents "assert(1 > 2)")
    assert.equal(0, accidents "local ok, why = pcall(error, 'on purpose') error(why, 0)")
    assert.equal(0, accidents "coroutine.wrap(function() error 'on purpose' end)()")
    assert.equal(0, accidents "sluice.all { function() error 'on purpose' end }")
    assert.equal(0, accidents "sluice.cache('accidents'):fetch('k', function() error 'on purpose' end)")
  end)
end)

describe("time and state", function()
  before_each(t.forget)

  it("t.advance moves every gateway's clock, t.forget empties what they share", function()
    local one, two = load { shared = true }, load { shared = true }
    for _, g in ipairs { one, two } do assert.equal(200, g:chat({ upstream = "a" }).status) end
    assert.equal(429, one:chat({}).status)
    t.advance "61s"
    assert.equal(200, two:chat({ upstream = "a" }).status)
    assert.equal(200, one:chat({ upstream = "a" }).status)
    assert.equal(429, two:chat({}).status)
    t.forget()
    assert.same({ seen = "1.0", known = "nothing" }, two:chat({ upstream = "a" }).tags)
    assert.matches('^here: a duration is such as "800ms" or "2s", not "5"$', raised(t.advance, 5))
  end)
end)

describe("t.load", function()
  it("hands options over as data, or as Lua", function()
    local g = load { match = t.lua 'sluice.match.regex "[0-9]+"' }
    assert.equal("A***B", g:chat({ upstream = { "a1", "2b" } }).text)
    g = load { match = { "%d+", "B" } }
    assert.equal("A******", g:chat({ upstream = { "a1", "2b" } }).text)
    assert.equal('here: t.load: policies: a function cannot be handed to a policy from here; write it as a text: t.lua "function(ctx) ... end"', raised(load, { mark = function() end }))
  end)

  it("tells mistakes at the spec's line", function()
    assert.equal('here: policies[1].marc: policy "loud" has no option "marc"; did you mean "mark"?', raised(t.load, { policies = { { "policies.loud", marc = "?" } } }))
    assert.equal("here: policies[2].hold: must be a whole number, is the text \"many\"", raised(t.load, { policies = { t.lua "sluice.policy { name = 'a' }", { "policies.loud", hold = "many" } } }))
    assert.matches('^here: policies%[1%]: no module "policies.quiet": looked for .*spec/policy/policies/quiet.lua, ', raised(t.load, { policies = { "policies.quiet" } }))
    assert.equal('here: t.load has no "polices" (it has dir, env, file, files, services, source)', raised(t.load, { polices = {} }))
    assert.equal('here: target: unknown model "fats"; did you mean "fast"? (known: fast, local, smart)', raised(t.load, { policies = {}, target = "fats" }))
  end)

  it("looks beside the folder above spec/, beside `dir`, or from here", function()
    assert.equal("cards removed: ***", t.load({ policies = { { "policies.loud", match = t.lua "sluice.match.card", hold = 1 } } }):chat({ upstream = { "cards removed: 4111 1111", " 1111 1111" } }).text)
    assert.equal("A", t.load({ dir = "spec", policies = { "policy.policies.loud" } }):chat({ upstream = "a" }).text)
    assert.truthy(t.load "examples/ask/gateway.lua")
    assert.truthy(t.load { file = "gateway.lua", dir = "examples/ask" })
  end)

  it("knows ready parts", function()
    local g = t.load { policies = { { "sluice.parts.stop_sequences", list = { "END" } } } }
    assert.equal("to the ", g:chat({ upstream = { "to the E", "ND of it" } }).text)
    g = t.load { policies = { { "sluice.parts.moderation", service = "judge", topics = { "weapons" } } }, services = { judge = { json = { flagged = true, topic = "weapons" } } } }
    assert.equal("topic_not_allowed", g:chat({ user = "hi", upstream = "no" }).error.code)
  end)

  it("knows who asks how", function()
    local g = load()
    assert.matches('^here: g:chat has no "usr" %(it has ', raised(g.chat, g, { usr = "hi" }))
    assert.matches("^here: g:chat is for t.load { policies = ... }", raised(t.load("examples/ask/gateway.lua").chat, t.load "examples/ask/gateway.lua", { user = "hi" }))
  end)
end)
