-- Models that are Lua functions: what they write, what they may return, how they fail. And the guide's snippets, which people copy.
local t = require "sluice.testing"

local function gateway(answer, policy, kind)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0", models = { m = { %s %s } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(policy or "", kind or "answer =", answer) })
end

describe("a Lua model", function()
  it("writes, waits and ends", function()
    local r = gateway('function(req, out) out:text "Hello " sluice.sleep "2s" out:text(req:last_user()) end'):ask { q = "you" }
    assert.equal("Hello you", r.text)
    assert.is_true(r.done)
  end)

  for name, answer in pairs {
    returned = 'function() return sluice.reject(418, "teapot", "No coffee here.") end',
    raised = 'function() error(sluice.reject(418, "teapot", "No coffee here.")) end',
  } do
    it("may refuse: " .. name, function()
      local r = gateway(answer):ask { q = "x" }
      assert.equal(418, r.status)
      assert.same({ error = "No coffee here.", code = "teapot" }, r.error)
    end)
  end

  it("is told to use a colon", function()
    local r = gateway('function(_, out) local _, why = pcall(function() out.text "Hello" end) out:text(why) end'):ask { q = "x" }
    assert.matches("write out:text%(%.%.%.%) with a colon, not a dot$", r.text)
  end)

  it("refuses in the stream when text has left", function()
    local r = gateway('function(req, out) out:text "Well" return sluice.reject(418, "teapot", "No coffee here.") end'):ask { q = "x" }
    assert.equal(200, r.status)
    assert.equal("Well", r.text)
    assert.equal("teapot", r.error.code)
    assert.is_nil(r.done)
  end)

  for name, answer in pairs {
    ["returns its text"] = 'function() return "Hello" end',
    ["returns a number"] = "function() return 7 end",
    ["returns a reply"] = 'function() return sluice.reply "Hello" end',
    ["raises"] = 'function() error "broken" end',
  } do
    it("that " .. name .. " has failed", function()
      local r = gateway(answer):ask { q = "x" }
      assert.equal(500, r.status)
      assert.equal("model_error", r.error.code)
    end)
  end

  it("that raises after text ends the stream with an error event", function()
    local r = gateway('function(_, out) out:text "Well" error "broken" end'):ask { q = "x" }
    assert.equal("Well", r.text)
    assert.equal("model_error", r.error.code)
    assert.is_nil(r.done)
  end)
end)

describe("the filter that the guide shows", function()
  local guide = assert(io.open("examples/ask/guide_text.lua")):read "a"
  local filter = assert(guide:match "```lua\n(P%.filter = .-)```", "the guide shows a filter")

  it("gives one result for all cuttings", function()
    local g = gateway('"m"', filter, 'provider = "openai", url = "http://m.test/v1", model =')
    local r = g:ask { q = "x", upstream = { "my sec", "ret is sec", "secret, a secr", "et" } }
    assert.equal("my ****** is sec******, a ******", r.text)
  end)
end)

describe("print_tokens.lua", function()
  it("prints text as it was, escapes undone", function()
    local events = os.tmpname()
    local f = assert(io.open(events, "w"))
    f:write('data: {"token":"a\\"b\\\\n\\nabcd\\u00e9f\\/"}\n\ndata: [DONE]\n\n')
    f:close()
    local p = assert(io.popen("lua5.4 examples/print_tokens.lua < " .. events))
    local said = p:read "a"
    os.remove(events)
    assert.is_true(p:close())
    assert.equal('a"b\\n\nabcdéf/\n', said)
  end)
end)

describe("the models of a route", function()
  local g = assert(t.load { source = [[
local sluice = require "sluice"
local function answer(_, out) out:text "Hello." end
return sluice.config { api = 1, listen = ":0", models = { m = { answer = answer } },
  routes = { api = { path = "/v1/*", models = { fast = "m", ["house/big"] = "m" } } } }
]] })
  local function get(path) return g:ask { method = "GET", path = path } end

  it("are told of, each below its own path", function()
    assert.equal(200, get("/v1/models").status)
    assert.matches('"id":"fast","object":"model"', get("/v1/models/fast").body)
    assert.matches('"id":"house/big"', get("/v1/models/house/big").body)
  end)

  it("are no others", function()
    local r = get "/v1/models/m"
    assert.same({ 404, "model_not_found" }, { r.status, r.error.code })
    assert.has_error(function() get "/v1/models/" end)
  end)
end)
