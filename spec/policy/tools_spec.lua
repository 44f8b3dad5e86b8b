-- Tool calls: gathered whole, through the filters of tool_args and the hooks tool_call, to a front that can tell them.
local t = require "sluice.testing"
local json = require "dkjson"

local function gateway(lua, list)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local front = { name = "tools", methods = "GET", done = "data: [DONE]\n\n", content = { before = 'data: {"token":', after = "}\n\n" },
  tool = { before = 'data: {"tool":', after = "}\n\n" },
  read = function(req) req.messages = { { role = "user", content = req.query.q } } end, error = function(err) return { error = err.message, code = err.code } end }
local P = sluice.policy { name = "p" }
local Q = sluice.policy { name = "q" }
%s
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" }, other = { provider = "openai", url = "http://o.test/v1", model = "y" } },
  routes = { ask = { path = "/api/stream", front = front, target = { "m", "other" }, policies = { %s } },
             plain = { path = "/plain", front = "token", target = "m" } } }
]]):format(lua, list or "P") })
end

local function piece(index, id, name, arguments)
  return t.raw("data: " .. json.encode { choices = { { index = 0, delta = { tool_calls = { { index = index, id = id, ["function"] = { name = name, arguments = arguments } } } } } } } .. "\n\n")
end
local finish = t.raw 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n'

-- What the client was told: text and calls in order.
local function told(r)
  local out = {}
  for i, e in ipairs(r.events) do out[i] = e.token or e.tool and ("%s %s %s"):format(e.tool.id, e.tool.name, e.tool.arguments) or e.code end
  return table.concat(out, " | ")
end

local WEATHER = { piece(0, "c1", "weather", ""), piece(0, nil, nil, '{"city":"Be'), piece(0, nil, nil, 'rlin","n":12345678901234567890}'), finish }

describe("tool calls", function()
  it("reach the client whole, byte for byte, in order, in parallel", function()
    local r = gateway "":ask { q = "x", upstream = { "Let me see. ", piece(0, "c1", "weather", '{"city":"Berlin",'), piece(1, "c2", "time", '{"tz":'), piece(0, nil, nil, ' "n":1.50}'),
      piece(1, nil, nil, '"CET"}'), finish } }
    assert.equal('Let me see.  | c1 weather {"city":"Berlin", "n":1.50} | c2 time {"tz":"CET"}', told(r))
    assert.is_true(r.done)
  end)

  it("leave before text that comes after them, and before the end without a finish reason", function()
    assert.equal("a | c1 f {} | b", told(gateway "":ask { q = "x", upstream = { "a", piece(0, "c1", "f", "{}"), "b" } }))
    assert.equal("c1 f {}", told(gateway "":ask { q = "x", upstream = { piece(0, "c1", "f", "{}") } }))
  end)

  it("are nothing to a front that cannot tell them, and no reason to wait", function()
    local r = gateway "":ask { path = "/plain", q = "x", upstream = { t.wait "50s", WEATHER[1], t.wait "50s", WEATHER[2], WEATHER[3], finish } }
    assert.is_true(r.done)
    assert.equal("", r.text)
  end)

  it("that break off leave nothing behind: the next model answers", function()
    local r = gateway "":ask { q = "x", upstream = { m = { WEATHER[1], WEATHER[2], t.reset() }, other = { "hello" } } }
    assert.equal("hello", told(r))
  end)

  it("have their bounds", function()
    local r = gateway "":ask { q = "x", upstream = { m = { piece(0, "c", "f", ("x"):rep(600000)), piece(0, nil, nil, ("x"):rep(600000)) }, other = { t.fail(500) } } }
    assert.equal("upstream_status", r.error.code)
    local many = {}
    for i = 0, 64 do many[i + 1] = piece(i, "c" .. i, "f", "{}") end
    r = gateway "":ask { q = "x", upstream = { m = many, other = { t.fail(500) } } }
    assert.equal("upstream_status", r.error.code)
  end)
end)

describe("the hook tool_call", function()
  it("sees a whole call and may change its arguments; untouched ones stay byte for byte", function()
    local g = gateway [[function P.tool_call(call, ctx)
      assert(call.id == "c1" and call.name == "weather" and call.arguments:find("Berlin", 1, true))
      if call.args.city == "Berlin" then call.args.city = "Paris" end
    end]]
    assert.equal('c1 weather {"city":"Paris","n":1}', told(g:ask { q = "x", upstream = { piece(0, "c1", "weather", '{"n": 1, "city":"Berlin"}'), finish } }))
    g = gateway 'function P.tool_call(call) local _ = call.args.city end'
    assert.equal('c1 weather {"city":"Berlin","n":12345678901234567890}', told(g:ask { q = "x", upstream = WEATHER }))
  end)

  it("may drop one of several", function()
    local g = gateway 'function P.tool_call(call) if call.name == "shell" then return sluice.drop end end'
    assert.equal("c2 time {}", told(g:ask { q = "x", upstream = { piece(0, "c1", "shell", '{"cmd":"rm"}'), piece(1, "c2", "time", "{}"), finish } }))
  end)

  it("may stop, and may reject with a status while nothing was sent", function()
    local g = gateway 'function P.tool_call() return sluice.stop { reason = "content_filter", text = "[no tools]" } end'
    assert.equal("Well | [no tools]", told(g:ask { q = "x", upstream = { "Well", WEATHER[1], WEATHER[2], WEATHER[3], finish } }))
    local r = gateway 'function P.tool_call(call) return sluice.reject(403, "tool_not_allowed", "Not " .. call.name .. ".") end':ask { q = "x", upstream = WEATHER }
    assert.equal(403, r.status)
    assert.equal("Not weather.", r.error.error)
  end)

  it("may wait; its order is bottom to top; the first verdict counts", function()
    local g = gateway([[
      function P.tool_call(call, ctx) call.args.seen = (call.args.seen or "") .. "p" end
      function Q.tool_call(call, ctx) sluice.sleep "1s" call.args.seen = (call.args.seen or "") .. "q" end]], "P, Q")
    assert.equal('c f {"seen":"qp"}', told(g:ask { q = "x", upstream = { piece(0, "c", "f", "{}"), finish } }))
    g = gateway('function P.tool_call() error "asked" end function Q.tool_call() return sluice.drop end', "P, Q")
    assert.equal("", told(g:ask { q = "x", upstream = { piece(0, "c", "f", "{}"), finish } }))
  end)

  it("gets nil for arguments that are no JSON, which pass as they are", function()
    local g = gateway 'function P.tool_call(call) if call.args ~= nil then error "decoded" end end'
    assert.equal('c f {"a":', told(g:ask { q = "x", upstream = { piece(0, "c", "f", '{"a":'), finish } }))
  end)

  it("that fails is closed", function()
    for _, lua in ipairs { 'error "x"', "call.nmae = 1", "call.name = 1", "return 7", 'return "text"', "call.args = print", "call.args = { a = 0/0 }", 'return sluice.reply "x"' } do
      local r = gateway("function P.tool_call(call) " .. lua .. " end"):ask { q = "x", upstream = WEATHER }
      assert.equal("policy_error", r.error.code, lua)
    end
  end)
end)

describe("filters of tool_args", function()
  it("replace within the JSON, escaped as its strings are", function()
    local g = gateway [[P.filter = { on = { "tool_args" }, match = "<%u+_%d+>", replace = function(m) return 'Jane "JJ" Roe\n' end }]]
    assert.equal('c f {"to":"Jane \\"JJ\\" Roe\\n"}', told(g:ask { q = "x", upstream = { "<EMAIL_1>", piece(0, "c", "f", '{"to":"<EMA'), piece(0, nil, nil, 'IL_1>"}'), finish } }):match "| (.*)")
  end)

  it("are the same filter as the content's when it names both channels", function()
    local g = gateway 'P.filter = { on = { "content", "tool_args" }, match = sluice.match.email, replace = "[email]" }'
    local r = g:ask { q = "x", upstream = { "to a@b.io: ", piece(0, "c", "f", '{"to":"a@'), piece(0, nil, nil, 'b.io"}'), finish } }
    assert.equal('to [email]:  | c f {"to":"[email]"}', told(r))
  end)

  it("may judge", function()
    local g = gateway 'P.filter = { on = { "tool_args" }, unit = "all", check = function(text) if text:find "rm" then return sluice.reject(403, "no", "No.") end end }'
    assert.equal("no", g:ask({ q = "x", upstream = { piece(0, "c", "f", '{"cmd":"r'), piece(0, nil, nil, 'm"}'), finish } }).error.code)
  end)

  it("that break the JSON are closed", function()
    local g = gateway 'P.filter = { on = { "tool_args" }, raw_json = true, text = function(text) return (text:gsub("}", "")) end }'
    assert.equal("policy_error", g:ask({ q = "x", upstream = WEATHER }).error.code)
  end)

  it("with text = function need raw_json", function()
    local g, why = t.load { source = 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p" }\nP.filter = { on = { "tool_args" }, text = function() end }\n' ..
      'return sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } }, routes = { a = { path = "/a", front = "token", target = "m", policies = { P } } } }' }
    assert.is_nil(g)
    assert.truthy(why:find(':3: filter of policy "p": the channel "tool_args" holds JSON', 1, true), why)
  end)
end)

-- What a filter holds at the end of a text was said before the call behind it.
describe("text before a tool call leaves before it", function()
  local pairs_of = require "spec.policy.pairs"
  local HOLDS = [[P.filter = { unit = "all", text = function(text) return text end }]]
  local LATER = { anthropic = "tool_use", responses = '"type":"function_call"', ui = "tool-input", openai = "tool_calls" }

  for front, call in pairs(LATER) do
    for _, provider in ipairs(pairs_of.providers) do
      it(("to a client of %s, from %s"):format(front, provider), function()
        local want = pairs_of.request(front, { text = "x", stream = true })
        want.upstream = pairs_of.stream(provider, { pairs_of.read(("spec/wire/%s/tools.%s"):format(provider, pairs_of.framing[provider])) })
        local all = pairs_of.streamed(pairs_of.gateway(provider, "policies = { P }", HOLDS):ask(want))
        local means = require("sluice.testing.json").decode(pairs_of.read(("spec/wire/%s/tools.json"):format(provider)))
        if means.text == "" then return end
        local text, tool = all:find(means.text:sub(1, 12), 1, true), all:find(call, 1, true)
        assert.is_truthy(text and tool and text < tool, all)
      end)
    end
  end
end)

describe("an answer whose calls were all dropped", function()
  local pairs_of = require "spec.policy.pairs"

  it("has stopped, for clients and for policies", function()
    local DROPS = "function P.tool_call() return sluice.drop end function P.finish(fin, ctx) ctx:tag('reason', fin.reason) end"
    for front, word in pairs { openai = '"finish_reason":"stop"', anthropic = '"stop_reason":"end_turn"', responses = '"status":"completed"', ui = '"finishReason":"stop"' } do
      for _, provider in ipairs(pairs_of.providers) do
        local want = pairs_of.request(front, { text = "x", stream = true })
        want.upstream = pairs_of.stream(provider, { pairs_of.read(("spec/wire/%s/tools.%s"):format(provider, pairs_of.framing[provider])) })
        local x = pairs_of.gateway(provider, "policies = { P }", DROPS):ask(want)
        assert.is_truthy(pairs_of.streamed(x):find(word, 1, true), front .. provider)
        assert.equal("stop", x.logs[#x.logs].reason)
      end
    end
  end)
end)
