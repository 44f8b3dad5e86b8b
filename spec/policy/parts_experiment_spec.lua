-- sluice.parts.experiment: shares, and who stays with what.
local t = require "sluice.testing"

local function gateway(options, lua)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.accept(head, ctx) ctx.key = head.query.q end
%s
local function model(name) return { answer = function(_, out) out:text(name) end } end
return sluice.config { api = 1, listen = ":0", models = { a = model "a", b = model "b", c = model "c" },
  routes = { ask = { path = "/api/stream", front = "token", target = "c", policies = { P, sluice.parts.experiment { %s } } } } }
]]):format(lua or "", options) })
end

local function variant(g, key) return g:ask({ q = key }).text end

-- Who gets what, for keys k1 to kn.
local function draw(g, n)
  local got, count = {}, { a = 0, b = 0, c = 0 }
  for i = 1, n do
    got[i] = variant(g, "k" .. i)
    count[got[i]] = count[got[i]] + 1
  end
  return got, count
end

describe("an experiment", function()
  it("splits callers by share", function()
    local _, count = draw(gateway "split = { a = 90, b = 10 }", 2000)
    assert.is_true(count.b > 150 and count.b < 250)     -- the same callers each time: no chance in it
    assert.equal(0, count.c)
    _, count = draw(gateway "split = { a = 1, b = 1, c = 2 }", 1000)
    assert.is_true(count.a > 200 and count.a < 300 and count.b > 200 and count.b < 300)
  end)

  it("gives a caller the same in every world, today and tomorrow", function()
    assert.equal("babbaaabbbab", table.concat((draw(gateway "split = { a = 70, b = 30 }", 12))))
  end)

  it("moves no more callers than must when shares change", function()
    local before, after = draw(gateway "split = { a = 90, b = 10 }", 500), draw(gateway "split = { a = 80, b = 20 }", 500)
    local moved = 0
    for i, name in ipairs(before) do
      if name == "b" then assert.equal("b", after[i]) end
      if name ~= after[i] then moved = moved + 1 end
    end
    assert.is_true(moved > 25 and moved < 75)
  end)

  it("of another name is another draw", function()
    local one, other = draw(gateway "split = { a = 50, b = 50 }", 100), draw(gateway 'name = "other", split = { a = 50, b = 50 }', 100)
    assert.are_not.same(one, other)
  end)

  it("may be of one model", function()
    assert.equal("b", variant(gateway "split = { b = 0.5 }", "x"))
  end)

  it("goes by address, by the /64 for IPv6", function()
    local g = gateway 'split = { a = 50, b = 50 }, sticky = "ip"'
    for i = 1, 20 do
      local ip = ("2001:db8:0:%x::"):format(i)
      assert.equal(g:ask({ q = "x", ip = ip .. "1" }).text, g:ask({ q = "y", ip = ip .. "2" }).text)
    end
  end)

  it("goes by the id of a key that is a table, or by what a function says", function()
    local by_text = draw(gateway "split = { a = 50, b = 50 }", 30)
    assert.same(by_text, draw(gateway("split = { a = 50, b = 50 }", "function P.validate(req, ctx) ctx.key = { id = req.query.q } end"), 30))
    assert.same(by_text, draw(gateway("split = { a = 50, b = 50 }, sticky = function(ctx) return ctx.vars.who end", "function P.validate(req, ctx) ctx.vars.who = req.query.q end"), 30))
  end)

  it("draws anew for each request without a key", function()
    local g = gateway("split = { a = 50, b = 50 }", "function P.validate(_, ctx) ctx.key = nil end")
    local seen = {}
    for _ = 1, 60 do seen[variant(g, "x")] = true end    -- all alike: once in 2^59
    assert.same({ a = true, b = true }, seen)
  end)

  it("refuses a key that is none", function()
    assert.equal("policy_error", gateway("split = { a = 1 }", "function P.validate(_, ctx) ctx.key = true end"):ask({ q = "x" }).error.code)
  end)
end)

describe("an experiment's options", function()
  for options, why in pairs {
    [""] = ': policy "experiment" needs the option "split": Each model\'s share; 90 and 10 are the same as 9 and 1.',
    ["split = {}"] = ".split: must hold at least 1, holds 0",
    ["split = { mm = 1 }"] = '.split.mm: unknown model "mm"; did you mean "m"? (known: m)',
    ["split = { m = 0 }"] = ".split.m: must be at least 0.001, is 0",
    ["split = { m = -1 }"] = ".split.m: must be at least 0.001, is -1",
    ['split = { m = "90%" }'] = '.split.m: must be a number, is the text "90%"',
    ["split = { 1 }"] = ".split[1]: must be the name of a model, is 1",
    ["split = { m = 1/0 }"] = ".split.m: must be a number, is inf",
    ['split = { m = 1 }, sticky = "cookie"'] = '.sticky: must be one of key, ip, is the text "cookie"',
    ["split = { m = 1 }, share = 1"] = '.share: policy "experiment" has no option "share" (it has split, sticky)',
  } do
    it("are refused: " .. options, function()
      local g, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print },\n' ..
        'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.experiment { ' .. options .. " } } } } }" }
      assert.is_nil(g)
      assert.equal("4: routes.a.policies[1]" .. why .. "\n", (said:gsub("^[^\n]*/lua_[^:]*:", "")))
    end)
  end
end)
