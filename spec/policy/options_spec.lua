-- Options of policies: what is declared, what a route gives, what is said about what does not fit.
local t = require "sluice.testing"

-- A gateway whose policy P declares the option `o`; `use` is what the route gives; `hook` is P's.
local function source(declared, use, hook)
  return ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p", options = {
  o = %s } }
%s
return sluice.config { api = 1, listen = ":0", services = { judge = { url = "http://judge.test" } }, models = { m = print, n = print },
  routes = { a = { path = "/api/stream", front = "token", target = "m", policies = {
    { P, %s } } } } }
]]):format(declared, hook or "", use)
end

local function told(declared, use, hook)
  local g, why = t.load { source = source(declared, use, hook) }
  if g then g:close() return "" end
  return (why:gsub("[^\n]*/lua_[^:]*:", ""):gsub("\n$", ""))
end

-- What a hook reads.
local function read(declared, use, expression)
  local g = assert(t.load { source = source(declared, use, ("function P.validate(_, ctx) local o = ctx.options.o return sluice.reply(tostring(%s)) end"):format(expression)) })
  return g:ask({ q = "x" }).text
end

local AT = "7: routes.a.policies[1]"

describe("an option", function()
  for name, case in pairs {
    ["a list with a hole"] = { '{ type = "list" }', "o = { 1, nil, 3 }", ".o: the list has holes" },
    ["an empty list that may not be"] = { '{ type = "list", min = 1 }', "o = {}", ".o: must hold at least 1, holds 0" },
    ["a full map"] = { '{ type = "map", max = 1 }', "o = { a = 1, b = 2 }", ".o: must hold at most 1, holds 2" },
    ["a long wait"] = { '{ type = "duration", max = 4000 }', 'o = "5s"', '.o: must be at most "4000ms", is the text "5s"' },
    ["what is in a list"] = { '{ type = "list", of = { type = "string" } }', 'o = { "a", 7 }', ".o[2]: must be a text, is 7" },
    ["a word in a list"] = { '{ type = "list", of = { type = "string", one_of = { "connect", "reset" } } }', 'o = { "conect" }',
      '.o[1]: must be one of connect, reset, is the text "conect"; did you mean "connect"?' },
    ["what is in a map"] = { '{ type = "map", of = { type = "number", min = 0 } }', "o = { a = -1 }", ".o.a: must be at least 0, is -1" },
    ["a name in a map"] = { '{ type = "map", keys = { type = "model" } }', "o = { [1] = 2 }", ".o[1]: must be the name of a model, is 1" },
    ["a member"] = { '{ type = "map", fields = { times = { type = "integer" } } }', "o = { time = 2 }", '.o.time: there is no "time" here; did you mean "times"? (there are: times)' },
    ["a member's value"] = { '{ type = "map", fields = { times = { type = "integer" } } }', 'o = { times = "2" }', '.o.times: must be a whole number, is the text "2"' },
    ["a member that is missing"] = { '{ type = "map", fields = { input = { type = "number", required = true, doc = "USD." } } }', "o = {}", '.o: "input" is missing: USD.' },
    ["depth"] = { '{ type = "map", of = { type = "list", of = { type = "string" } } }', "o = { a = { 1 } }", ".o.a[1]: must be a text, is 1" },
    ["an unknown model"] = { '{ type = "model" }', 'o = "mm"', '.o: unknown model "mm"; did you mean "m"? (known: m, n)' },
    ["an unknown model in a list"] = { '{ type = "list", of = { type = "model" } }', 'o = { "m", "nope" }', '.o[2]: unknown model "nope" (known: m, n)' },
    ["an unknown model as a name"] = { '{ type = "map", keys = { type = "model" } }', "o = { nope = 1 }", '.o.nope: unknown model "nope" (known: m, n)' },
    ["a model that is none"] = { '{ type = "model" }', "o = print", ".o: must be the name of a model, is a function" },
    ["an unknown service"] = { '{ type = "service" }', 'o = "jugde"', '.o: unknown service "jugde"; did you mean "judge"? (declared: judge)' },
    ["a service that is none"] = { '{ type = "service" }', "o = { url = 1 }", ".o: must be the name of a service, is a table" },
  } do
    it("is held to its description: " .. name, function() assert.equal(AT .. case[3], told(case[1], case[2])) end)
  end

  it("may stand in for another", function()
    local declared = '{ type = "service", unless = "f", doc = "Who judges." }, f = { type = "function" }'
    assert.equal(AT .. ': policy "p" needs the option "o" (or "f"): Who judges.', told(declared, ""))
    assert.equal("", told(declared, "f = print"))
    assert.equal("", told(declared, 'o = "judge"'))
  end)

  it("is read with its defaults, also inside", function()
    assert.equal("2 1s", read('{ type = "map", default = {}, fields = { times = { type = "integer", default = 2 }, wait = { type = "duration", default = "1s" } } }', "", 'o.times .. " " .. o.wait'))
    assert.equal("3 1s", read('{ type = "map", fields = { times = { type = "integer" }, wait = { type = "duration", default = "1s" } } }', "o = { times = 3 }", 'o.times .. " " .. o.wait'))
    assert.equal("65536", read('{ type = "list", of = { type = "size" } }', 'o = { "64kb" }', "o[1]"))
  end)

  it("is not read before a variable of the environment was set, which is one mistake", function()
    assert.equal("7: the environment variable SPEC_NOT_SET is not set (give sluice.env a default if it need not be)",
      told('{ type = "list", of = { type = "model" } }', 'o = { sluice.env "SPEC_NOT_SET" }'))
  end)

  for name, case in pairs {
    ["of without a list"] = { '{ type = "string", of = { type = "string" } }', '3: option "o" of policy "p": "of" is for lists and maps' },
    ["of that is none"] = { '{ type = "list", of = "string" }', '3: what is in option "o" of policy "p" must be described by a table { type =, default =, doc = }' },
    ["a type inside"] = { '{ type = "list", of = { type = "strin" } }', '3: what is in option "o" of policy "p": unknown type the text "strin"; did you mean "string"?' },
    ["fields that are none"] = { '{ type = "map", fields = 7 }', '3: the fields of option "o" of policy "p" must be a table' },
  } do
    it("is described with care: " .. name, function() assert.equal(case[2], (told(case[1], ""):gsub("^2:", "3:"))) end)
  end
end)

describe("an option of the type service", function()
  local declared = '{ type = "service", required = true }'
  local hook = [[function P.validate(_, ctx)
    local res, err = ctx.options.o:get "/x"
    if not res then error(err) end
    return sluice.reply(tostring(ctx.options.o) .. " " .. res.body)
  end]]
  for name, use in pairs { ["by name"] = 'o = "judge"', ["as an object"] = 'o = sluice.service "judge"' } do
    it("is the service: " .. name, function()
      local g = assert(t.load { source = source(declared, use, hook) })
      assert.equal("<service judge> yes", g:ask({ q = "x", services = { judge = function() return "yes" end } }).text)
      assert.equal(503, g:ask({ q = "x", services = { judge = function() end } }).status)
    end)
  end
end)
