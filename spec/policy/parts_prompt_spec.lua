-- The parts that build the prompt and pick the model: template and model_table.
local t = require "sluice.testing"

local function source(part, before)
  return ([[
local sluice = require "sluice"
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name } end
local before = sluice.policy { name = "before" }
function before.validate(req, ctx) %s end
return sluice.config { api = 1, listen = ":0", models = { fast = model "fast", long = model "long", smart = model "smart" },
  routes = { ask = { path = "/api/stream", front = "token", target = "smart", policies = { before,
    sluice.parts.%s } } } }
]]):format(before or "", part)
end

local function gateway(part, files, before) return assert(t.load { source = source(part, before), files = files }) end

local function refused(part, files)
  local g, why = t.load { source = source(part), files = files or {} }
  assert.is_nil(g)
  return (why:gsub("/tmp/sluice_%w+/", ""))
end

local function asked(g, want)
  want.upstream = { "ok" }
  local r = g:ask(want)
  return r.upstream[1] and r.upstream[1].body, r
end

-- The messages that the model got, as "role: text" lines.
local function messages(g, want)
  local out = {}
  for i, m in ipairs(asked(g, want).messages) do out[i] = m.role .. ": " .. m.content end
  return table.concat(out, "\n")
end

describe("template", function()
  it("fills the system prompt from a file beside the gateway file", function()
    local g = gateway('template { file = "help.txt", vars = { product = "Sluice", year = 2026, on = true } }',
      { ["help.txt"] = "\239\187\191You help with {{product}} ({{ year }}, {{on}}).\nAnswer in {{query.lang}}.\n" })
    assert.equal("system: You help with Sluice (2026, true).\nAnswer in Latin.\nuser: hi", messages(g, { query = "q=hi&lang=Latin" }))
  end)

  it("takes the place of the user's message", function()
    local g = gateway [[template { role = "user", text = "Translate:\n{{question}}\n{{vars.tenant}}" }]]
    assert.equal("user: Translate:\nhi\n", messages(g, { q = "hi" }))
    g = gateway([[template { role = "user", text = "{{question}} for {{vars.tenant}}" }]], nil, 'ctx.vars.tenant = "acme"')
    assert.equal("user: hi for acme", messages(g, { q = "hi" }))
  end)

  it("keeps the parts of a message that are no text", function()
    local g = gateway('template { role = "user", text = "About this: {{question}}" }', nil,
      'req.messages = { { role = "user", content = { { type = "text", text = "a" }, { type = "image_url", image_url = { url = "data:x" } }, { type = "text", text = "b" } } } }')
    assert.same({ { type = "text", text = "About this: a\nb" }, { type = "image_url", image_url = { url = "data:x" } } }, asked(g, { q = "x" }).messages[1].content)
  end)

  it("adds a message where no user has spoken", function()
    local g = gateway('template { role = "user", text = "Say hello{{question}}." }', nil, "req.messages = {}")
    assert.equal("user: Say hello.", messages(g, { q = "x" }))
  end)

  it("never expands a value again", function()
    local g = gateway('template { text = "A {{query.a}} B {{vars.b}}", vars = { secret = "hidden" } }', nil, 'ctx.vars.b = "{{secret}}{{question}}%1%%"')
    assert.equal("system: A {{secret}}{{{{ B {{secret}}{{question}}%1%%\nuser: {{vars.b}}", messages(g, { query = "q={{vars.b}}&a={{secret}}{{{{" }))
  end)

  it("writes braces, and takes all that is no name as text", function()
    local g = gateway [[template { text = "{{{{question}} {x} }} {\"a\":{\"b\":1}}" }]]
    assert.equal('system: {{question}} {x} }} {"a":{"b":1}}\nuser: q', messages(g, { q = "q" }))
  end)

  it("asks functions, and says what cannot be said", function()
    local g = gateway 'template { text = "{{who}}", vars = { who = function(req, ctx) return ctx.route .. #req.query.q end } }'
    assert.equal("system: ask3\nuser: abc", messages(g, { q = "abc" }))
    local r = gateway('template { text = "{{vars.t}}" }', nil, "ctx.vars.t = {}"):ask { q = "x" }
    assert.equal("policy_error", r.error.code)
    assert.matches("{{vars.t}} is a table", r.logs[1].message)
  end)

  it("holds a huge value, and bytes of all kinds", function()
    local huge = ("é{{"):rep(20000)
    assert.equal("system: <" .. huge .. ">\nuser: " .. huge, messages(gateway 'template { text = "<{{question}}>" }', { q = huge }))
  end)

  for text, said in pairs {
    ["line one\nline {{nmae}}"] = "t.txt:2: unknown name {{nmae}} (known: question, query.NAME, vars.NAME, name)", ["a\n\n{{question"] = 't.txt:3: "{{" has no name and "}}" behind it',
    ["{{question\n}}"] = "t.txt:1: ", ["{{{question}}}"] = "t.txt:1: ", ["{{ }}"] = "t.txt:1: unknown name {{}}", ["{{os.exit()}}"] = "t.txt:1: unknown name {{os.exit()}}", ["{{"] = "t.txt:1: ",
    ["{{{{{{"] = "t.txt:1: ", ["\n{{query.}}"] = "t.txt:2: unknown name {{query.}}", ["x\n{{header.a}} {{b}}\n{{c}}"] = "t.txt:2: unknown name {{header.a}}",
  } do
    it(("refuses %q"):format(text), function()
      local why = refused('template { file = "t.txt", vars = { name = 1 } }', { ["t.txt"] = text })
      assert.equal(said, why:sub(1, #said))
    end)
  end

  it("names every unknown name, with its line", function()
    assert.equal("t.txt:1: unknown name {{a}} (known: question, query.NAME, vars.NAME)\nt.txt:3: unknown name {{b}} (known: question, query.NAME, vars.NAME)\n",
      refused('template { file = "t.txt" }', { ["t.txt"] = "{{a}}\n{{{{\n{{question}}{{b}}" }))
  end)

  it("refuses what makes no sense", function()
    assert.matches("policies%[2%]: needs either file or text", refused "template {}")
    assert.matches("policies%[2%]: needs either file or text", refused('template { text = "a", file = "t.txt" }', { ["t.txt"] = "" }))
    assert.matches("policies%[2%].text: line 2: unknown name {{b}}", refused [[template { text = "a\n{{b}}" }]])
    assert.matches("vars.question: .*choose another name", refused 'template { text = "", vars = { question = "" } }')
    assert.matches("vars.a: must be a text, a number, a boolean or a function", refused 'template { text = "", vars = { a = {} } }')
    assert.matches("vars: a name is a word, is a%-b", refused 'template { text = "", vars = { ["a-b"] = 1 } }')
    assert.matches("policies%[2%].file: is no valid UTF%-8", refused('template { file = "t.txt" }', { ["t.txt"] = "a\255" }))
    assert.matches("policies%[2%].file: nothere.txt: No such file", refused 'template { file = "nothere.txt" }')
    assert.matches("leaves the gateway file's folder", refused 'template { file = "../secrets/key" }')
  end)
end)

describe("model_table", function()
  local function model(g, want) return (asked(g, want) or {}).model end

  it("routes by the query, with a default", function()
    local g = gateway 'model_table { by = "query.model", table = { quick = "fast", deep = { "long", "fast" } }, default = "long" }'
    assert.equal("fast", model(g, { query = "q=x&model=quick" }))
    assert.equal("long", model(g, { query = "q=x&model=deep" }))
    assert.equal("long", model(g, { query = "q=x&model=nothere" }))
    assert.equal("long", model(g, { q = "x" }))
    assert.equal("long", model(g, { query = "q=x&model=" .. ("a"):rep(60000) }))
  end)

  it("a list is a plan", function()
    local g = gateway 'model_table { by = "query.m", table = { a = { "long", "fast" } } }'
    local r = g:ask { query = "q=x&m=a", upstream = { long = { t.fail(503) }, fast = { "ok" } } }
    assert.equal("ok", r.text)
    assert.equal("fast", r.upstream[2].target)
  end)

  it("without a default refuses what it does not know, and leaves what says nothing", function()
    local g = gateway 'model_table { by = "query.model", table = { quick = "fast" } }'
    local _, r = asked(g, { query = "q=x&model=nothere" })
    assert.equal(404, r.status)
    assert.equal("model_not_found", r.error.code)
    assert.equal("smart", model(g, { q = "x" }))
  end)

  it("routes by a header, whatever its case", function()
    local g = gateway 'model_table { by = "header.X-Tenant", table = { acme = "long" }, default = "fast" }'
    assert.equal("long", model(g, { q = "x", headers = { host = "t", ["x-tenant"] = "acme" } }))
    assert.equal("fast", model(g, { q = "x", headers = { host = "t", ["x-tenant"] = "ACME" } }))
  end)

  it("routes by ctx.vars, the key and the model that was asked for", function()
    assert.equal("long", model(gateway('model_table { by = "vars.tier", table = { [3] = "long" }, default = "fast" }', nil, "ctx.vars.tier = 3"), { q = "x" }))
    assert.equal("fast", model(gateway('model_table { by = "vars.tier", table = { [3] = "long" }, default = "fast" }', nil, "ctx.vars.tier = {}"), { q = "x" }))
    assert.equal("long", model(gateway('model_table { by = "key", table = { acme = "long" } }', nil, 'ctx.key = { id = "acme" }'), { q = "x" }))
    assert.equal("smart", model(gateway 'model_table { by = "key", table = { acme = "long" } }', { q = "x" }))
    assert.equal("long", model(gateway('model_table { by = "model", table = { ["gpt-4o"] = "long" } }', nil, 'req.model = "gpt-4o"'), { q = "x" }))
  end)

  for _, part in ipairs {
    'model_table { by = "size", table = { { up_to = 1000, model = "smart" }, { model = "long" }, { up_to = 20, model = "fast" } } }',
    'model_table { by = "size", table = { ["<=1000"] = "smart", ["<= 20"] = { "fast" } }, default = "long" }',
  } do
    it("routes by the length: " .. part:sub(29, 60), function()
      local g = gateway(part)
      assert.equal("fast", model(g, { q = "hi" }))
      assert.equal("fast", model(g, { q = ("word"):rep(16) }))       -- 4 for the message and 16
      assert.equal("smart", model(g, { q = ("word"):rep(17) }))
      assert.equal("long", model(g, { q = ("word"):rep(1000) }))
    end)
  end

  for part, said in pairs {
    ['{ by = "query.model", table = { a = "fsat" } }'] = 'table.a: unknown model "fsat" %(known: fast, long, smart%)', ['{ by = "query.model", table = { a = { "fast", "x" } } }'] = 'table.a: unknown model "x"',
    ['{ by = "query", table = {} }'] = 'by: must be "query.NAME"', ['{ by = "size.x", table = {} }'] = 'by: must be', ['{ by = "color", table = {} }'] = 'by: must be .*, is "color"',
    ['{ by = "key", table = { a = {} } }'] = "table.a: must be a model or a list", ['{ by = "key", table = { a = 7 } }'] = "table.a: must be the name of a model",
    ['{ by = "key", table = {}, default = "x" }'] = 'default: unknown model "x"', ['{ by = "size", table = { { up_to = "2", model = "fast" } } }'] = "up_to must be a whole number of tokens, is 2",
    ['{ by = "size", table = { "fast" } }'] = "table%[1%]: must be { up_to = 2000", ['{ by = "size", table = { ["<2"] = "fast" } }'] = 'a size is written "<=2000"',
    ['{ by = "size", table = { ["<=2"] = "fast", ["<=02"] = "long" } }'] = "table: two rows are for the same size", ['{ by = "size", table = { { upto = 1, model = "fast" } } }'] = 'has no "upto"',
    ['{ table = {} }'] = 'needs the option "by"', ['{ by = "key", table = { a = { "fast", "fast", "fast", "fast", "fast", "fast", "fast", "fast", "fast" } } }'] = "up to 8 models",
  } do
    it("refuses " .. part, function() assert.matches("^gateway.lua:7: routes.ask.policies%[2%].*" .. said, refused("model_table " .. part)) end)
  end
end)
