-- Checks that run beside the text (filter.parallel, filter.optimistic), and text that a filter moves to the reasoning channel; on the virtual clock, shaken.
local t = require "sluice.testing"

-- A front that tells the reasoning, too.
local FRONT = [[{ name = "f", methods = "GET", done = "data: [DONE]\n\n", content = { before = 'data: {"token":', after = "}\n\n" },
  reasoning = { before = 'data: {"reasoning":', after = "}\n\n" }, read = function(req) req.messages = { { role = "user", content = req.query.q } } end,
  error = function(err) return { error = err.message, code = err.code } end }]]

local function gateway(lua, list)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = %s, target = "m", policies = { %s } } } }
]]):format(lua, FRONT, list or "P") })
end

-- A judge who takes 900 ms for what is slow and 100 ms for the rest, counts how many it judges at a time, and says no to what is bad.
local JUDGE = [[
P.filter = { unit = "sentence", %s, check = function(text, ctx)
  local s = ctx.state
  s.now = (s.now or 0) + 1
  s.most = math.max(s.most or 0, s.now)
  sluice.sleep(text:find "slow" and "900ms" or "100ms")
  s.now = s.now - 1
  if text:find "bad" then return sluice.stop { reason = "content_filter", text = "[cut]" } end
  if text:find "worse" then return sluice.reject(422, "worse", "No.") end
  if text:find "oops" then error "oops" end
end }
function P.log(_, ctx) sluice.log("info", "judged", { most = ctx.state.most }) end]]

local function judge(how, list) return gateway(JUDGE:format(how), list) end

local function most(g, question)
  question.q, question.no_shake = "x", true
  local r = g:ask(question)
  for _, line in ipairs(r.logs) do
    if line.most then return tonumber(line.most) end
  end
end

describe("parallel", function()
  it("keeps the order, whichever check is over first", function()
    assert.equal("A slow one. Two. Three. ", judge("parallel = 3"):ask({ q = "x", upstream = { "A slow one. Tw", "o. Three. " } }).text)
  end)

  it("lets each piece go after its check and all before it", function()
    local r = judge("parallel = 3"):ask { q = "x", upstream = { "One. A slow one. Two. ", t.wait "5s", "Three. " }, no_shake = true }
    local said = {}
    for i, e in ipairs(r.events) do said[i] = e.token end
    assert.same({ "One. ", "A slow one. Two. ", "Three. " }, said)
  end)

  it("runs so many at a time, and no more", function()
    local upstream = { "One. Two. Three. Four. Five. Six. " }
    assert.equal(1, most(judge "parallel = 1", { upstream = upstream }))
    assert.equal(2, most(judge "parallel = 2", { upstream = upstream }))
    assert.equal(6, most(judge "parallel = 16", { upstream = upstream }))
  end)

  it("nothing behind a stop leaves, though its check was over before", function()
    local r = judge("parallel = 4"):ask { q = "x", upstream = { "Good. A slow bad one. Never. ", "Nor this. " } }
    assert.equal("Good. [cut]", r.text)
    assert.is_true(r.done)
    assert.is_true(r.canceled)
  end)

  it("a reject or an error ends the answer in its place", function()
    local r = judge("parallel = 4"):ask { q = "x", upstream = { "Good. A slow worse one. Never. " } }
    assert.is_nil(r.text:find("Never", 1, true))
    assert.equal("worse", r.error.code)
    assert.equal("policy_error", judge("parallel = 4"):ask({ q = "x", upstream = { "Good. A slow oops. Never. " } }).error.code)
  end)

  it("an open filter that fails is taken out; what it held goes on once, in order", function()
    local g = gateway('local O = sluice.policy { name = "o", on_error = { filter = "open" } }\n' .. JUDGE:format("parallel = 4"):gsub("P%.", "O.") .. '\nP.filter = { match = "e", replace = "E" }', "P, O")
    assert.equal("OnE. A slow oops. BEhind. MorE. ", g:ask({ q = "x", upstream = { "One. A slow oops. Behind. ", "More. " } }).text)
  end)

  it("a check that waits too long is a time-out", function()
    assert.equal("policy_timeout", gateway('P.filter = { unit = "word", parallel = 2, check = function() sluice.sleep "3s" end }'):ask({ q = "x", upstream = { "a b c" }, no_shake = true }).error.code)
  end)

  it("what is checked is cut and shown again as without it", function()
    local g = gateway [[
P.filter = { unit = { chars = 4, overlap = 2 }, parallel = 3, check = function(text) sluice.sleep "10ms" if text:find "bomb" then return sluice.stop "[cut]" end end }]]
    assert.equal("abcdefghij", g:ask({ q = "x", upstream = { "abcdef", "ghij" } }).text)
    assert.equal("xxbo[cut]", g:ask({ q = "x", upstream = { "xxb", "ombyy" } }).text)
  end)

  it("several such filters and channels mix", function()
    local g = gateway([[
P.filter = { unit = "word", parallel = 2, check = function(text) sluice.sleep "20ms" end }
local Q = sluice.policy { name = "q" }
Q.filter = { { unit = "sentence", parallel = 4, check = function(text) sluice.sleep(#text .. "ms") end }, { match = "a", replace = "A" } }]], "P, Q")
    local r = g:ask { q = "x", upstream = { { reasoning = "hm a" }, "One a. ", { reasoning = "b a" }, "Two a. Three. " } }
    assert.equal("One A. Two A. Three. ", r.text)
    assert.equal("hm AB A", (r.reasoning:gsub("b", "B")))
  end)

  it("a client that leaves ends the checks", function()
    local g = judge "parallel = 3"
    local r = g:ask { q = "x", upstream = { "A slow one. Two. Three. ", t.leave() } }
    assert.equal("", r.text)
    assert.is_true(r.canceled)
  end)
end)

describe("optimistic", function()
  it("lets text leave as it comes; a no that comes later stops what follows", function()
    local r = judge("optimistic = true"):ask { q = "x", upstream = { "Good. A ba", "d one. So", t.wait "5s", "me more. " }, no_shake = true }
    assert.equal("Good. A bad one. So[cut]", r.text)
    assert.same({ token = "Good. A ba" }, r.events[1])
    assert.is_true(r.canceled)
  end)

  it("the end waits for every check", function()
    local r = judge("optimistic = true"):ask { q = "x", upstream = { "Good. A slow bad one." } }
    assert.equal("Good. A slow bad one.[cut]", r.text)
    assert.equal("worse", judge("optimistic = true"):ask({ q = "x", upstream = { "Good. A slow worse one." } }).error.code)
  end)

  it("runs four at a time unless told otherwise", function()
    local upstream = { "One. Two. Three. Four. Five. Six. " }
    assert.equal(4, most(judge "optimistic = true", { upstream = upstream }))
    assert.equal(2, most(judge "optimistic = true, parallel = 2", { upstream = upstream }))
  end)

  it("an open filter that fails loses and doubles nothing", function()
    local g = gateway('local O = sluice.policy { name = "o", on_error = { filter = "open" } }\n' .. JUDGE:format("optimistic = true"):gsub("P%.", "O."), "P, O")
    assert.equal("One. A slow oops. Behind. More. ", g:ask({ q = "x", upstream = { "One. A slow oops. Behi", "nd. More. " } }).text)
  end)
end)

describe("text that moves", function()
  local MOVES = [[local M = sluice.policy { name = "m" }
M.filter = { on = "content", text = function(text, _, part)
  local from, to = text:find "%b()"
  if from then return text:sub(1, from - 1), text:sub(to + 1), text:sub(from, to) end
  local open = text:find("(", 1, true)
  if open and not part.last then return text:sub(1, open - 1), text:sub(open) end
  return text
end }
]]

  it("is reasoning, and passes the filters there that are nearer to the client", function()
    local g = gateway(MOVES .. 'P.filter = { on = "reasoning", match = "secret", replace = "***" }', "P, M")
    local r = g:ask { q = "x", upstream = { "(a secret)Yes" }, no_shake = true }
    assert.equal("(a ***)", r.reasoning)
    assert.equal("Yes", r.text)
  end)

  it("is a block that ends where the answer goes on", function()
    local g = gateway(MOVES .. 'P.filter = { on = "reasoning", unit = "all", text = function(text) return "[" .. text .. "]" end }', "P, M")
    assert.equal("[(ab)]", g:ask({ q = "x", upstream = { "(ab)Yes" }, no_shake = true }).reasoning)
  end)

  it("a stop there ends the answer, too", function()
    local g = gateway(MOVES .. 'P.filter = { on = "reasoning", match = "secret", replace = function() return sluice.stop { reason = "stop" } end }', "P, M")
    local r = g:ask { q = "x", upstream = { "(a secret)Yes" }, no_shake = true }
    assert.equal("(a ", r.reasoning)
    assert.equal("", r.text)
    assert.is_true(r.done)
  end)

  for how, said in pairs {
    ['P.filter = { on = "reasoning", text = function(text) return text, nil, "x" end }'] = "policy_error",
    ['P.filter = { unit = "word", text = function(text) return text, nil, "x" end }'] = "policy_error",
    ["P.filter = { text = function(text) return text, nil, 7 end }"] = "policy_error",
    ['P.filter = { text = function(text) return text, nil, "\\xff" end }'] = "policy_error",
  } do
    it(how, function()
      assert.equal(said, gateway(how):ask({ q = "x", upstream = { { reasoning = "a" }, "b" }, no_shake = true }).error.code)
    end)
  end
end)

describe("what is refused when the file loads", function()
  for lua, said in pairs {
    ["parallel = 0, check = function() end"] = "file:3: .*parallel must be a whole number from 1 to 16, is 0",
    ["parallel = 17, check = function() end"] = "1 to 16",
    ["parallel = 2, text = function() end"] = "file:3: .*parallel is for check",
    ["optimistic = 1, check = function() end"] = "file:3: .*optimistic must be true or false",
    ['optimistic = true, match = "a", replace = ""'] = "file:3: .*optimistic is for check",
  } do
    it(lua, function()
      local g, why = t.load { source = 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p" }\nP.filter = { ' .. lua ..
        ' }\nreturn sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } }, routes = { a = { path = "/a", front = "token", target = "m", policies = { P } } } }' }
      assert.is_nil(g)
      assert.matches(said, (why:gsub("[^\n]*/lua_[^:]*:", "file:")))
    end)
  end
end)
