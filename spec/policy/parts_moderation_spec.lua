-- sluice.parts.moderation: banned topics, judged by a service or a function, in questions and answers.
local t = require "sluice.testing"

local function gateway(options, before)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local own = sluice.service "own"
%s
return sluice.config { api = 1, listen = ":0", services = { mod = { url = "http://mod.test" }, own = { url = "http://own.test" } },
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { sluice.parts.moderation { %s } } } } }
]]):format(before or "", options) })
end

-- A judge that flags whatever holds the word.
local function judge(word, latency)
  return { mod = function(call) return { json = { flagged = call.json.text:find(word, 1, true) ~= nil, topic = "weapons" } }, latency or "50ms" end }
end

local function down() end

local BOTH = 'service = "mod", topics = { "weapons" }'

describe("moderation of questions", function()
  it("asks the service for text, topics and side, at its path", function()
    local r = gateway('service = "mod", path = "/judge/this", topics = { "weapons", "drugs" }'):ask { q = "hello", services = judge "bomb", upstream = { "Hi." }, no_shake = true }
    assert.equal("Hi.", r.text)
    assert.equal("POST", r.calls[1].method)
    assert.equal("/judge/this", r.calls[1].path)
    assert.same({ text = "hello", topics = { "weapons", "drugs" }, side = "input" }, r.calls[1].json)
    assert.same({ text = "Hi.", topics = { "weapons", "drugs" }, side = "output" }, r.calls[2].json)
  end)

  it("sends an empty list of topics as a list", function()
    assert.matches('"topics":%[%]', gateway('service = "mod"'):ask({ q = "x", services = judge "bomb", upstream = { "Hi." }, no_shake = true }).calls[1].body)
  end)

  it("refuses with a clean status although the model was asked already, and cancels it", function()
    local r = gateway(BOTH):ask { q = "build a bomb", services = judge("bomb", "300ms"), upstream = { "Sure, " } }
    assert.equal(422, r.status)
    assert.same({ error = "This assistant does not talk about weapons.", code = "topic_not_allowed" }, r.error)
    assert.equal("", r.text)
    assert.equal(1, #r.upstream)
    assert.is_true(r.canceled)
  end)

  it("costs nothing when the judge is faster than the model", function()
    local r = gateway(BOTH):ask { q = "hi", services = judge("bomb", "50ms"), upstream = { t.wait "400ms", "Hello" }, no_shake = true }
    assert.near(0.45, r.wire[1].at, 0.001)             -- the model, and the window of its answer
  end)

  it("may be left out, or be all", function()
    local r = gateway(BOTH .. ", input = false"):ask { q = "bomb", services = judge "bomb", upstream = { "fine" }, no_shake = true }
    assert.equal("fine", r.text)
    assert.equal(1, #r.calls)
    r = gateway(BOTH .. ", output = false"):ask { q = "hi", services = judge "bomb", upstream = { "bomb" }, no_shake = true }
    assert.equal("bomb", r.text)
    assert.equal(1, #r.calls)
  end)

  it("does not ask about nothing", function()
    assert.equal(1, #gateway(BOTH):ask({ q = "", services = judge "bomb", upstream = { "Hi" }, no_shake = true }).calls)
  end)
end)

describe("moderation of answers", function()
  it("ends the answer before the bad window leaves, however it is cut", function()
    local r = gateway(BOTH):ask { q = "hi", services = judge "bomb", upstream = { ("fine. "):rep(80), "now the bo", "mb recipe" } }
    assert.equal(("fine. "):rep(80):sub(1, 400) .. "\n\n[The rest of this answer was withheld.]", r.text)
    assert.is_true(r.done)
    assert.is_true(r.canceled)
  end)

  it("finds what stands across two windows", function()
    local g = gateway 'service = "mod", window = 10, overlap = 4, input = false, withheld = "[-]"'
    assert.equal("12345678bo[-]", g:ask({ q = "x", services = judge "bomb", upstream = { "12345678bomb 123456789" } }).text)
    g = gateway 'service = "mod", window = 10, overlap = 0, input = false, withheld = "[-]"'
    assert.equal("12345678bomb 123456789", g:ask({ q = "x", services = judge "bomb", upstream = { "12345678bomb 123456789" } }).text)
  end)

  it("judges the reasoning as well", function()
    local r = gateway(BOTH):ask { q = "hi", services = judge "bomb", upstream = { { reasoning_content = "a bomb, hm" }, "Hello" } }
    assert.equal("\n\n[The rest of this answer was withheld.]", r.text)
  end)
end)

describe("moderation without a judgement", function()
  local answers = { ["no connection"] = down, ["another status"] = function() return { status = 500, json = { flagged = false } } end, ["no JSON"] = function() return "yes" end,
    ["another shape"] = function() return { json = { verdict = "ok" } } end, ["no time"] = function() return { json = { flagged = false } }, "900ms" end }
  for name, answer in pairs(answers) do
    it("is closed: " .. name, function()
      local r = gateway(BOTH):ask { q = "hi", services = { mod = answer }, upstream = { "Hello" }, no_shake = true }
      assert.equal(503, r.status)
      assert.equal("dependency_failed", r.error.code)
      assert.equal("", r.text)
    end)

    it("is closed for an answer: " .. name, function()
      local r = gateway('service = "mod", window = 5'):ask { q = "hi", no_shake = true, upstream = { "first", "second" },
        services = { mod = function(call) if call.json.text:find "sec" then return answer(call) end return { json = { flagged = false } } end } }
      assert.equal("first", r.text)
      assert.equal("dependency_failed", r.error.code)
      assert.is_nil(r.done)
    end)

    it("is open if told to be: " .. name, function()
      local r = gateway(BOTH .. ', on_down = "open"'):ask { q = "hi", services = { mod = answer }, upstream = { "Hello" }, no_shake = true }
      assert.equal("Hello", r.text)
      assert.equal(2, #r.calls)
    end)
  end

  it("keeps its own time", function()
    local g = gateway(BOTH .. ', timeout = "100ms", output = false')
    assert.equal(503, g:ask({ q = "hi", services = judge("bomb", "150ms"), upstream = { "Hello" }, no_shake = true }).status)
    assert.equal("Hello", g:ask({ q = "hi", services = judge("bomb", "90ms"), upstream = { "Hello" } }).text)
  end)
end)

describe("moderation by a function", function()
  it("is asked in place of a service, and may wait", function()
    local g = gateway([[judge = f]], [[
      local function f(text, ctx, side)
        assert(ctx.options.window == 400)
        local res = own:post("/" .. side, { body = text })
        return res.body ~= "ok" and res.body
      end]])
    local function word(call) return call.body:find "bomb" and "weapons" or "ok", "10ms" end
    assert.equal("fine", g:ask({ q = "hi", services = { own = word }, upstream = { "fine" } }).text)
    assert.equal("This assistant does not talk about weapons.", g:ask({ q = "bomb", services = { own = word }, upstream = { "fine" } }).error.error)
    assert.equal("\n\n[The rest of this answer was withheld.]", g:ask({ q = "hi", services = { own = word }, upstream = { "bo", "mb" } }).text)
  end)

  it("need not name the topic", function()
    local r = gateway 'judge = function(text) return text == "bomb" end':ask { q = "bomb", upstream = { "fine" } }
    assert.equal("This assistant does not talk about that.", r.error.error)
  end)

  for name, f in pairs { ["a number"] = "function() return 7 end", ["an error"] = 'function() error "oops" end', ["a table"] = "function() return {} end" } do
    it("fails closed: " .. name, function()
      local r = gateway("output = false, judge = " .. f):ask { q = "hi", upstream = { "fine" } }
      assert.equal("policy_error", r.error.code)
      assert.equal("", r.text)
    end)
  end
end)

describe("moderation's options", function()
  for options, why in pairs {
    [""] = ': policy "moderation" needs the option "service" (or "judge"): Who judges: a service that the gateway file declares.',
    ['service = "mdo"'] = '.service: unknown service "mdo"; did you mean "mod"? (declared: mod)',
    ['service = "mod", topics = "weapons"'] = '.topics: must be a list, is the text "weapons"',
    ['service = "mod", topics = { "a", 2 }'] = ".topics[2]: must be a text, is 2",
    ['service = "mod", window = 0'] = ".window: must be at least 1, is 0",
    ['service = "mod", overlap = -1'] = ".overlap: must be at least 0, is -1",
    ['service = "mod", timeout = "5s"'] = '.timeout: must be at most "1900ms", is the text "5s"',
    ['service = "mod", on_down = "opne"'] = '.on_down: must be one of closed, open, is the text "opne"; did you mean "open"?',
    ['judge = "mod"'] = '.judge: must be a function, is the text "mod"',
    ['service = "mod", topic = {}'] = '.topic: policy "moderation" has no option "topic"; did you mean "topics"?',
  } do
    it("are refused: " .. options, function()
      local g, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print }, services = { mod = { url = "http://mod.test" } },\n' ..
        'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.moderation { ' .. options .. " } } } } }" }
      assert.is_nil(g)
      assert.equal("4: routes.a.policies[1]" .. why .. "\n", (said:gsub("^[^\n]*/lua_[^:]*:", "")))
    end)
  end
end)
