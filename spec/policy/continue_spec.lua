-- A model that dies behind text that was sent: another goes on with it, in the same answer (on_death = "continue").
local t = require "sluice.testing"

local function gateway(more)
  more = more or {}
  return t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
local function model(name, prefill) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name, prefill = prefill } end
return sluice.config { api = 1, listen = ":0",
  models = { a = model("a", true), b = model("b", { continue_final_message = true, add_generation_prompt = false }), never = model("never", false), plain = model "plain",
    claude = { provider = "anthropic", model = "c" }, mine = { answer = function(_, out) out:text "mine " error "no" end } },
  routes = { ask = { path = "/api/stream", front = "token", target = %s, on_death = "%s", timeout = { first_token = "5s", gap = "5s" }, policies = { P }, %s } } }
]]):format(more.lua or "", more.target or '{ "a", "b" }', more.on_death or "continue", more.more or "") }
end

local function wire(r)
  local out = {}
  for _, e in ipairs(r.log) do
    if e.what == "write" then out[#out + 1] = e.bytes end
  end
  return table.concat(out)
end

local function line(r) return r.logs[#r.logs] end
local function last(u) return u.messages[#u.messages] end

describe("a model that dies behind text", function()
  it("is followed by the next, which is told what was said and goes on", function()
    local g = gateway()
    local r = g:ask { q = "x", no_shake = true, upstream = { a = { "Once upon", t.reset() }, b = { " a time", "." } } }
    assert.equal("Once upon a time.", r.text)
    assert.is_true(r.done)
    assert.equal('data: {"token":"Once upon"}\n\n: continued\n\ndata: {"token":" a time"}\n\ndata: {"token":"."}\n\ndata: [DONE]\n\n', wire(r))
    assert.equal("b", r.upstream[2].target)
    assert.same({ role = "assistant", content = "Once upon" }, last(r.upstream[2]))
    assert.is_true(r.upstream[2].continue_final_message)
    assert.is_false(r.upstream[2].add_generation_prompt)
    assert.equal(#r.upstream[1].messages + 1, #r.upstream[2].messages)
    assert.equal("1", line(r).continued)
    assert.equal("done", line(r)["end"])
    assert.equal(1, g:count "upstream_continues")
  end)

  for what, death in pairs { ["a clean end without a mark"] = t.close(), ["an error event"] = t.raw 'data: {"error":{}}\n\n', ["silence"] = t.wait "6s" } do
    it("may die of " .. what, function()
      assert.equal("ab", gateway():ask({ q = "x", upstream = { a = { "a", death }, b = { "b" } } }).text)
    end)
  end

  it("is asked again itself when it is the only one; three times at most", function()
    local r = gateway({ target = '"a"' }):ask { q = "x", no_shake = true, upstream = { "1", t.reset(), "2", t.reset(), "3", t.reset(), "4", t.reset() } }
    assert.equal("1234", r.text)
    assert.equal("upstream_reset", r.error.code)
    assert.equal(4, #r.upstream)
    assert.equal("123", last(r.upstream[4]).content)
    assert.equal("3", line(r).continued)
  end)

  it("leaves out of the plan who cannot", function()
    local g = gateway { target = '{ "a", "mine", "b" }' }
    local r = g:ask { q = "x", upstream = { a = { "1", t.reset() }, b = { "2" } } }
    assert.equal("12", r.text)
  end)

  it("may be a Lua model, but not what goes on", function()
    local r = gateway({ target = '{ "mine", "b" }' }):ask { q = "x", no_shake = true, upstream = { b = { "and b" } } }
    assert.equal("mine and b", r.text)
    assert.equal("mine", last(r.upstream[1]).content)
  end)

  it("may be replaced before its text, as ever", function()
    local r = gateway():ask { q = "x", upstream = { a = { t.reset() }, b = { "all" } } }
    assert.equal("all", r.text)
    assert.equal("user", last(r.upstream[2]).role)
    assert.is_nil(line(r).continued)
  end)

  it("waits for the first text of who goes on as for any", function()
    local r = gateway():ask { q = "x", no_shake = true, upstream = { a = { "a", t.reset() }, b = { t.wait "6s", "late" } } }
    assert.equal("alate", r.text)                        -- b once more
    assert.equal(3, #r.upstream)
    assert.equal("2", line(r).continued)
  end)

  it("leaves no white space twice", function()
    for rest, want in pairs { [" world"] = "hello \nworld", [" \nworld"] = "hello \nworld", ["\n world"] = "hello \n\n world", world = "hello \nworld" } do
      local r = gateway():ask { q = "x", upstream = { a = { "hello \n", t.reset() }, b = { rest } } }
      assert.equal("hello", last(r.upstream[2]).content)
      assert.equal(want, r.text)
    end
  end)

  it("loses half a character, which nobody saw", function()
    local r = gateway():ask { q = "x", no_shake = true, upstream = { a = { t.raw 'data: {"choices":[{"delta":{"content":"ab\xc3"}}]}\n\n', t.reset() }, b = { "c" } } }
    assert.equal("abc", r.text)
    assert.equal("ab", last(r.upstream[2]).content)
  end)
end)

describe("filters", function()
  it("go on with what they hold, and the model is told what it said itself", function()
    local r = gateway({ lua = 'P.filter = { match = sluice.match.words { "secret word" }, replace = "[x]" }' })
      :ask { q = "x", upstream = { a = { "the secret word, then the secr", t.reset() }, b = { "et word again" } } }
    assert.equal("the [x], then the [x] again", r.text)
    assert.equal("the secret word, then the secr", last(r.upstream[2]).content)
  end)

  it("that held all of it: nothing was sent, so it begins anew", function()
    local r = gateway({ lua = 'P.filter = { unit = "all", text = function(s) return s:upper() end }' }):ask { q = "x", upstream = { a = { "lost", t.reset() }, b = { "kept" } } }
    assert.equal("KEPT", r.text)
    assert.equal("user", last(r.upstream[2]).role)
  end)

  it("in monitor mode see one answer", function()
    local g = assert(t.load { source = [[
local sluice = require "sluice"
local W = sluice.policy { name = "w", mode = "monitor" }
W.filter = { match = sluice.match.words { "ab" }, replace = "" }
local m = { provider = "openai", url = "http://a.test/v1", model = "a", prefill = true }
return sluice.config { api = 1, listen = ":0", models = { a = m }, routes = { ask = { path = "/api/stream", front = "token", target = "a", on_death = "continue", policies = { W } } } }]] })
    local r = g:ask { q = "x", no_shake = true, upstream = { "xx a", t.reset(), "b xx" } }
    assert.equal("xx ab xx", r.text)
    assert.equal("w:would_change", line(r).monitor)
  end)
end)

describe("nobody goes on", function()
  local function ends(steps, code, more)
    local r = assert(gateway(more)):ask { q = "x", no_shake = true, upstream = { a = steps, b = { "no" } } }
    assert.equal(1, #r.upstream)
    assert.equal(code, r.error.code)
    assert.is_nil(line(r).continued)
  end

  it("with on_death = error, the default", function() ends({ "a", t.reset() }, "upstream_reset", { on_death = "error" }) end)
  it("with restart, behind what was sent", function() ends({ "a", t.reset() }, "upstream_reset", { on_death = "restart" }) end)
  it("when the model had thought", function() ends({ { reasoning = "hm" }, "a", t.reset() }, "upstream_reset") end)
  it("when it had called a tool", function() ends({ "a", { tool = { "f", {} } }, t.reset() }, "upstream_reset") end)
  it("when it had said why it ended", function() ends({ "a", { finish = "stop" }, t.reset() }, "upstream_reset") end)
  it("with more than 256 KiB", function() ends({ ("x"):rep(300 * 1024), t.reset() }, "upstream_reset") end)
  it("when a policy is the cause", function()
    ends({ "a ", "b ", t.reset() }, "p", { lua = 'local n = 0\nP.filter = { unit = "word", check = function(w) if w:find "b" then return sluice.reject(403, "p", "P.") end end }' })
  end)
end)

describe("a window before it", function()
  it("begins anew within, goes on behind", function()
    local g = gateway { more = "prerelease = { chars = 4 }" }
    assert.equal("kept", g:ask({ q = "x", upstream = { a = { "los", t.reset() }, b = { "kept" } } }).text)
    local r = g:ask { q = "x", upstream = { a = { "sent,", t.reset() }, b = { "kept" } } }
    assert.equal("sent,kept", r.text)
  end)
end)

describe("hooks", function()
  it("are asked as for every try: attempt, response, fallback", function()
    local g = gateway { lua = [[
function P.attempt(try, ctx) try.messages[#try.messages + 1] = { role = "user", content = "try " .. try.number } end
function P.response(res, ctx) ctx:tag("answered_" .. res.number, res.target) end
function P.fallback(failure, ctx) ctx:tag("failed", failure.code) return "retry" end]] }
    local r = g:ask { q = "x", no_shake = true, upstream = { a = { "1", t.reset(), "2" } } }
    assert.equal("12", r.text)
    assert.equal("try 2", r.upstream[2].messages[#r.upstream[2].messages - 1].content)
    assert.equal("1", last(r.upstream[2]).content)
    assert.same({ "a", "a", "upstream_reset" }, { r.tags.answered_1, r.tags.answered_2, r.tags.failed })
  end)

  it("may say that it ends", function()
    local r = gateway({ lua = 'function P.fallback() return "fail" end' }):ask { q = "x", no_shake = true, upstream = { a = { "1", t.reset() } } }
    assert.equal("upstream_reset", r.error.code)
  end)

  it("are told usage of the whole as far as it is known", function()
    local r = gateway({ lua = 'function P.log(sum, ctx) ctx:tag("out", sum.usage.output) end' }):ask { q = "x", no_shake = true,
      upstream = { a = { "1", "2", t.reset() }, b = { "3", { usage = { input = 9, output = 5 } } } } }
    assert.equal("7", r.tags.out)
  end)
end)

describe("a message that the client began itself", function()
  it("is gone on with, and Anthropic's models are asked in their words", function()
    local g = assert(t.load { source = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.prompt(req) req.messages = { { role = "user", content = "count" }, { role = "assistant", content = "one, " } } end
return sluice.config { api = 1, listen = ":0", models = { c = { provider = "anthropic", url = "http://c.test/v1", model = "c" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "c", on_death = "continue", policies = { P } } } }]] })
    local function delta(text) return t.raw('event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"' .. text .. '"}}\n\n') end
    local r = g:ask { q = "x", upstream = { delta "two, ", t.reset(), delta " three", t.raw 'event: message_stop\ndata: {"type":"message_stop"}\n\n' } }
    assert.equal("two, three", r.text)
    assert.equal(2, #r.upstream[2].messages)
    local said = last(r.upstream[2])
    assert.equal("assistant", said.role)
    assert.truthy((type(said.content) == "string" and said.content or said.content[1].text) == "one, two,")
  end)
end)

describe("mistakes", function()
  local function why(more)
    local g, text = gateway(more)
    assert.is_nil(g)
    return text
  end

  it("are models that cannot", function()
    local text = why { target = '{ "a", "plain" }' }
    assert.truthy(text:find('routes.ask.on_death: the model "plain" (provider "openai") cannot go on with a text that was begun: say prefill = true there', 1, true), text)
    assert.truthy(why({ target = '"never"' }):find('"never"', 1, true))
    assert.truthy(gateway { target = '{ "claude", "mine" }' })
    assert.truthy(gateway { target = '"plain"', on_death = "error" })
  end)

  it("are words and values", function()
    assert.truthy(why({ on_death = "continu" }):find('did you mean "continue"', 1, true))
    assert.truthy(why({ more = "}, other = { path = '/o', front = 'token', target = 'a', on_death = 7" }):find('must be "error", "continue" or "restart", is 7', 1, true))
  end)
end)

-- What ready parts know of the answer so far still counts when another model goes on with it.
describe("a policy, when another model goes on with the text,", function()
  local function ask(part, a, b)
    local g = assert(t.load { source = ([[
local sluice = require "sluice"
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name, prefill = true } end
return sluice.config { api = 1, listen = ":0", models = { a = model "a", b = model "b" },
  routes = { ask = { path = "/v1/*", target = { "a", "b" }, on_death = "continue", policies = { %s } } } }
]]):format(part) })
    return g:ask { method = "POST", path = "/v1/chat/completions", headers = { host = "x" }, no_shake = true, upstream = { a = a, b = b },
      body = '{"messages":[{"role":"user","content":"x"}],"stream":true}' }
  end

  it("limits counts on", function()
    local r = ask("sluice.parts.limits { output_chars = 8 }", { "12345", t.reset() }, { "6789", "more" })
    assert.equal("12345678", r.text)
    assert.equal("length", r.finish)
  end)

  it("extract_think is where it was", function()
    local r = ask("sluice.parts.extract_think {}", { "<think>I wonder", t.reset() }, { " a lot</think>", "Yes." })
    assert.equal("Yes.", r.text)
    assert.equal("I wonder a lot", r.reasoning)
  end)

  it("json_mode judges the whole", function()
    assert.equal('{"a":1}', ask("sluice.parts.json_mode {}", { '{"a"', t.reset() }, { ":1}" }).text)
    assert.equal("bad_json", ask("sluice.parts.json_mode {}", { '{"a"', t.reset() }, { "1}" }).finish)
  end)

  it("language does not judge the rest by itself", function()
    local r = ask('sluice.parts.language { allow = { "latin" }, chars = 5 }', { "A long beginning", t.reset() }, { " \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}" })
    assert.is_nil(r.error)
    assert.equal("A long beginning \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}", r.text)
  end)

  it("is told so by try.continues", function()
    local r = ask([[(function() local P = sluice.policy { name = "p" }
      function P.attempt(try, ctx) ctx:tag("try" .. try.number, try.continues) end
      return P end)()]], { "a", t.reset() }, { "b" })
    assert.same({ "false", "true" }, { r.logs[#r.logs].try1, r.logs[#r.logs].try2 })
  end)
end)
