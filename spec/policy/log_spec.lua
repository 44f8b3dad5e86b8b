-- sluice.log: lines of an operator's own, which cannot be mistaken for others.
local t = require "sluice.testing"

local function gateway(hook, env)
  return assert(t.load { env = env, source = ([[
local sluice = require "sluice"
local key = sluice.secret "SPEC_LOG_KEY"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0", models = { m = { answer = function(_, out) out:text "x" end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(hook) })
end

local function logged(call)
  local r = gateway("local _ = key\nfunction P.validate(req, ctx) " .. call .. " end", { SPEC_LOG_KEY = "sk-spec-of-the-log" }):ask { q = "x" }
  return r.logs[1]
end

-- The line without its time.
local function line(call) return (logged(call).line:gsub("^%S+ ", "")) end

describe("sluice.log", function()
  it("writes a line of named fields, sorted, numbers and booleans bare", function()
    assert.equal("info audit b=2 c=0.5 d=true e=text", line 'sluice.log("info", "audit", { e = "text", d = true, c = 0.5, b = 2 })')
    assert.equal("warn lone", line 'sluice.log("warn", "lone")')
  end)

  it("escapes what could forge a line or a field", function()
    assert.equal([[info audit a="x\ninfo request id=1" b="c=d \"e\"" c="\x80"]], line [[sluice.log("info", "audit", { a = "x\ninfo request id=1", b = 'c=d "e"', c = "\x80" })]])
  end)

  it("cuts what is too long", function()
    local l = line 'sluice.log("info", "audit", { a = ("x"):rep(100000), z = 1 })'
    assert.is_true(#l < 1100)
    assert.matches('%.%.%." z=1$', l)
  end)

  it("masks known secrets", function()
    assert.equal('info audit a="the key ***"', line 'sluice.log("info", "audit", { a = "the key sk-spec-of-the-log" })')
  end)

  it("is silent below the level, not wrong", function()
    assert.equal("request", logged('sluice.log("debug", "audit", { a = 1 })').event)
  end)

  for call, said in pairs {
    ['sluice.log("note", "a")'] = "a level is debug, error, info, warn", ['sluice.log("infp", "a")'] = 'did you mean "info"', ['sluice.log("info")'] = "an event is a word",
    ['sluice.log("info", "a b")'] = "an event is a word", ['sluice.log("info", "policy.failed")'] = "events with a dot", ['sluice.log("info", "a", 7)'] = "takes a table of fields",
    ['sluice.log("info", "a", { level = 1 })'] = 'the field "level"', ['sluice.log("info", "a", { ["a b"] = 1 })'] = "name is a word", ['sluice.log("info", "a", { 1 })'] = "name is a word",
    ['sluice.log("info", "a", { b = {} })'] = "must be a text, a number or a boolean, is a table", ['sluice.log("info", "a", { b = key })'] = 'field "b" is a secret',
    ['local f = {} for i = 1, 65 do f["n" .. i] = i end sluice.log("info", "a", f)'] = "65 fields; a line has at most 64",
  } do
    it("refuses " .. call, function()
      local l = logged(call)
      assert.equal("policy.failed", l.event)
      assert.matches(said, l.message)
    end)
  end

  it("refuses every event of the gateway's own", function()
    local p = assert(io.popen [[grep -rhoE 'log_(begin|say)\([^"]*"[a-z_.]+"' src]])
    local seen = 0
    for event in p:read "a":gmatch '"([a-z_.]+)"' do
      seen = seen + 1
      assert.equal("policy.failed", logged(('sluice.log("info", "%s")'):format(event)).event)
    end
    p:close()
    assert.is_true(seen > 10)
  end)
end)

describe("ctx.tags", function()
  it("are what was told so far, a copy", function()
    local r = gateway [[
function P.validate(_, ctx)
  ctx:tag("a", 1)
  ctx:tag("b", true)
  ctx.tags.a = "no"
end
function P.log(_, ctx) sluice.log("info", "seen", ctx.tags) end]]:ask { q = "x" }
    assert.equal("1", r.logs[1].a)
    assert.equal("true", r.logs[1].b)
    assert.equal("1", r.logs[2].a)
  end)
end)
