-- What a file is told when it loads, word for word: a place, what was found, what to write; and one line for one mistake.
local t = require "sluice.testing"

local GOOD = { code = "", listen = 'listen = ":0"', models = "models = { m = { answer = print } }", path = 'path = "/a"', front = 'front = "token"', target = 'target = "m"', policies = "" }

-- The lines about a good gateway with some of its members replaced, without the file's name.
local function told(with)
  local text = [[
local sluice = require "sluice"
${code}
return sluice.config { api = 1, ${listen},
  ${models},
  routes = {
    a = { ${path}, ${front}, ${target}, policies = { ${policies} } },
  } }
]]
  local g, why = t.load { source = text:gsub("%${(%w+)}", function(name) return with[name] or GOOD[name] end) }
  if g then g:close() return "" end
  return (why:gsub("[^\n]*/lua_[^:]*:", ""):gsub("\n$", ""))
end

local CASES = {
  { "the frame of these specs is a good gateway", {}, "" },

  { "a model that is a text", { models = 'models = { m = "gpt-4o" }' },
    '4: models.m: must be a table or a function, such as { provider = "openai", model = "gpt-4o-mini" } or function(req, out) ... end, is the text "gpt-4o"' },
  { "a model's name at its provider", { models = 'models = { m = { provider = "openai", model = 4 } }' },
    '4: models.m.model: must be a text: the model\'s name at the provider, such as "gpt-4o-mini", is 4' },
  { "a model without a name", { models = "models = { { answer = print }, m = { answer = print } }" }, "4: models[1]: a model needs a name: write NAME = ..." },
  { "a model's name", { models = 'models = { ["m m"] = { answer = print }, m = { answer = print } }' },
    '4: models["m m"]: the name of a model may have letters, digits and - _ . : / only, is the text "m m"' },
  { "a time without its name", { target = 'target = "m", timeout = "60s"' }, '6: routes.a.timeout: must be a table such as { total = "60s" }, is the text "60s"' },

  { "a part without its braces", { policies = "sluice.parts.cors" }, "6: routes.a.policies[1]: write sluice.parts.cors { ... }: a part needs its options, if only { }" },
  { "a policy without a name", { code = "local P = sluice.policy { doc = 'x' }", policies = "P, P" }, '2: sluice.policy: "name" is missing, such as name = "ask"' },
  { "a policy's name", { code = "local P = sluice.policy { name = 'a b' }", policies = "P" }, '2: sluice.policy: name must be a word such as "ask", is the text "a b"' },
  { "a status", { code = "local no = sluice.reject('400', 'code', 'Sentence.')" }, '2: sluice.reject: status must be a whole number from 400 to 599, is the text "400"' },
  { "a status that is missing", { code = "local no = sluice.reject { code = 'code', message = 'Sentence.' }" }, "2: sluice.reject: status must be a whole number from 400 to 599, is nil" },

  { "sluice.config", { listen = 'lisen = ":0"' }, '3: lisen: sluice.config has no setting "lisen"; did you mean "listen"?' },
  { "models", { models = "model = { m = print }" }, '4: model: sluice.config has no setting "model"; did you mean "models"?' },
  { "services", { code = "local d = sluice.service 'd'", listen = 'listen = ":0", servces = { d = { url = "http://d.test" } }' },
    '3: servces: sluice.config has no setting "servces"; did you mean "services"?' },
  { "a path", { path = 'pth = "/a"' }, '6: routes.a.pth: a route has no setting "pth"; did you mean "path"?' },
  { "a front", { front = 'fornt = "token"' }, '6: routes.a.fornt: a route has no setting "fornt"; did you mean "front"?' },
  { "a target", { target = 'taget = "m"' }, '6: routes.a.taget: a route has no setting "taget"; did you mean "target"?' },
  { "an answer", { models = "models = { m = { anser = print } }" }, '4: models.m.anser: a model has no setting "anser"; did you mean "answer"?' },
  { "a provider", { models = 'models = { m = { provder = "openai", model = "x" } }' }, '4: models.m.provder: a model has no setting "provder"; did you mean "provider"?' },
  { "a model", { models = 'models = { m = { provider = "openai", mdel = "x" } }' }, '4: models.m.mdel: a model has no setting "mdel"; did you mean "model"?' },
  { "a needed option", { policies = 'sluice.parts.cors { orgins = { "*" } }' }, '6: routes.a.policies[1].orgins: policy "cors" has no option "orgins"; did you mean "origins"?' },
  { "a policy's field", { code = "local P = sluice.policy { nme = 'p' }", policies = "P" }, '2: sluice.policy has no field "nme"; did you mean "name"?' },
  { "an option's type", { code = "local P = sluice.policy { name = 'p', options = { o = { tpye = 'string' } } }", policies = "P" },
    '2: option "o" of policy "p": unknown setting "tpye"; did you mean "type"?' },
  { "a filter's match", { code = "local P = sluice.policy { name = 'p' } P.filter = { mach = 'a', replace = 'b' }", policies = "P" },
    '2: filter of policy "p": unknown setting "mach"; did you mean "match"?' },
  { "a filter's text", { code = "local P = sluice.policy { name = 'p' } P.filter = { tex = print }", policies = "P" }, '2: filter of policy "p": unknown setting "tex"; did you mean "text"?' },
}

describe("the sentence for", function()
  for _, case in ipairs(CASES) do
    it(case[1], function() assert.equal(case[3], told(case[2])) end)
  end

  it("a file that returns something else: its last written line", function()
    local _, why = t.load { source = "local sluice = require 'sluice'\n\nsluice.config { api = 1 }\n\n\n" }
    assert.matches(":3: the file must end with `return sluice.config { ... }`, but it returns nothing\n$", why)
    _, why = t.load { source = "return {\n  api = 1,\n}\n" }
    assert.matches(":3: the file must end with `return sluice.config { ... }`, but it returns a table\n$", why)
  end)
end)
