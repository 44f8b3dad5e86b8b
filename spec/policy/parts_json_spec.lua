-- The part json_mode: nothing that cannot be JSON leaves; whole documents are judged at their end.
local t = require "sluice.testing"

local function source(part, more)
  return ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" }, n = { provider = "openai", url = "http://n.test/v1", model = "y" } },
  routes = { ask = { path = "/api/stream", front = "token", target = { "m", "n" }, policies = { %s
    sluice.parts.json_mode { %s } } } } }
]]):format(more or "", part)
end

local function gateway(part, more) return assert(t.load { source = source(part, more) }) end

-- The finish reason stands in the log line of the request.
local function finish_of(r) return r.logs[#r.logs].finish end

describe("json_mode", function()
  local g = gateway ""

  it("passes JSON as it comes", function()
    local r = g:ask { q = "x", upstream = { '{"a": [1, ', '2.5e', '3], "b', '": "\\u00', 'e9 é"} \n' } }
    assert.equal('{"a": [1, 2.5e3], "b": "\\u00e9 é"} \n', r.text)
    assert.is_true(r.done)
    assert.is_nil(finish_of(r))
  end)

  it("lets it go at once", function()
    local r = g:ask { q = "x", upstream = { '{"a', '":', "1", "}" }, no_shake = true }
    assert.same({ { token = '{"a' }, { token = '":' }, { token = "1" }, { token = "}" } }, r.events)
  end)

  for upstream, text in pairs {
    ["Sure! Here it is: {}"] = "", ["```json\n{}\n```"] = "", ['{"a": 1,}'] = '{"a": 1,', ["{} Is there more?"] = "{} ", ["{}{}"] = "{}", ["[1, 2"] = "[1, 2", ['{"a": tru'] = '{"a": tru',
    ['{"a": tree}'] = '{"a": tr', ["1 2"] = "1 ", ['"a\nb"'] = '"a', ["é"] = "", ["[é]"] = "[", [" "] = " ", ["01"] = "0",
  } do
    it(("ends %q where it stops being JSON"):format(upstream), function()
      local r = g:ask { q = "x", upstream = { upstream } }
      assert.equal(text, r.text)
      assert.is_true(r.done)
      assert.equal("bad_json", finish_of(r))
    end)
  end

  it("ends an answer without text", function()
    local r = g:ask { q = "x", upstream = {} }
    assert.equal("", r.text)
    assert.equal("bad_json", finish_of(r))
    assert.equal("bad_json", finish_of(g:ask { q = "x", upstream = { { refusal = "I cannot." } } }))
  end)

  it("takes deep nesting for what it is", function()
    assert.equal(128, #g:ask({ q = "x", upstream = { ("["):rep(200) } }).text)
  end)

  it("leaves the reasoning alone", function()
    assert.equal("{}", g:ask({ q = "x", upstream = { { reasoning_content = "well, {" }, "{}" } }).text)
  end)

  it("rejects if told so: a status before the first byte, an event after it", function()
    local strict = gateway 'on_bad = "reject"'
    local r = strict:ask { q = "x", upstream = { "Sorry." } }
    assert.equal(502, r.status)
    assert.equal("bad_json", r.error.code)
    r = strict:ask { q = "x", upstream = { "{", "}", "." }, no_shake = true }
    assert.equal(200, r.status)
    assert.equal("{}", r.text)
    assert.equal("bad_json", r.error.code)
    assert.is_nil(r.done)
    assert.equal("bad_json", strict:ask({ q = "x", upstream = { "[1" } }).error.code)
  end)

  it("asks the model for JSON, unless it is asked for something already, or not to", function()
    assert.same({ type = "json_object" }, g:ask({ q = "x", upstream = { "1" } }).upstream[1].body.response_format)
    assert.is_nil(gateway("ask = false"):ask({ q = "x", upstream = { "1" } }).upstream[1].body.response_format)
    local own = gateway("", 'sluice.policy { name = "own", prompt = function(req) req.params.response_format = { type = "mine" } end },')
    assert.same({ type = "mine" }, own:ask({ q = "x", upstream = { "1" } }).upstream[1].body.response_format)
  end)

  it("hold lets nothing go before all was checked", function()
    local held = gateway "hold = true"
    assert.equal('{"a":1}', held:ask({ q = "x", upstream = { '{"a"', ":1", "}" } }).text)
    assert.same({ { token = "[1]" } }, held:ask({ q = "x", upstream = { "[", "1", "]" }, no_shake = true }).events)
    for _, upstream in ipairs { '{"a":1,}', '{"a":1', "no" } do
      local r = held:ask { q = "x", upstream = { upstream } }
      assert.equal("", r.text)
      assert.equal("bad_json", finish_of(r))
    end
    local r = gateway('hold = true, on_bad = "reject"'):ask { q = "x", upstream = { '{"a"', ':1', ',}' } }
    assert.equal(502, r.status)
  end)

  it("what is good before the end passes the filters of other policies", function()
    local behind = gateway("", 'sluice.parts.banned_words { words = { "heck" } },')
    assert.equal('{"a": "***"', behind:ask({ q = "x", upstream = { '{"a": "he', 'ck" no' } }).text:gsub("%s+$", ""))
  end)

  it("begins anew with another try", function()
    local r = gateway("hold = true"):ask { q = "x", no_shake = true, upstream = { m = { '{"a":', t.reset() }, n = { "[1]" } } }
    assert.equal(2, #r.upstream)
    assert.equal("[1]", r.text)
  end)

  it("max bounds what is held, between two characters", function()
    local r = gateway 'schema = {}, max = "6b"':ask { q = "x", upstream = { '"aéé"', '    ' } }
    assert.equal('"aéé', r.text)
    assert.equal("bad_json", finish_of(r))
    assert.equal('"aéé', gateway('schema = {}, max = "7b"'):ask({ q = "x", upstream = { '"aééé"' } }).text)
  end)
end)

describe("json_mode with a schema", function()
  local schema = [[on_bad = "reject", schema = { title = "A trip", type = "object", required = { "city", "days" }, properties = {
    city = { type = "string", enum = { "Bern", "Rom" } }, days = { type = "integer" }, price = { type = { "number", "null" } },
    stops = { type = "array", items = { type = "object", required = { "name" } } } } }]]
  local g = gateway(schema)

  for document, fault in pairs {
    ['{"city":"Bern","days":3}'] = false, ['{"city":"Rom","days":1.0,"price":null,"more":[{}],"stops":[]}'] = false, ['{"city":"Rom","days":2,"price":1.5,"stops":[{"name":7}]}'] = false,
    ['{"city":"Bern"}'] = '$ has no "days"', ["[]"] = "$ is array", ["null"] = "$ is null", ['{"city":"Paris","days":3}'] = "$.city is none of the values",
    ['{"city":"Bern","days":3.5}'] = "$.days is number", ['{"city":"Bern","days":"3"}'] = "$.days is string", ['{"city":"Bern","days":3,"price":true}'] = "$.price is boolean",
    ['{"city":"Bern","days":3,"stops":{}}'] = "$.stops is object", ['{"city":"Bern","days":3,"stops":[{"name":1},{}]}'] = '$.stops[1] has no "name"',
    ['{"city":"Bern","days":1e999}'] = "a number that is too large", ['{"city":"Bern","days":3'] = "cut short",
  } do
    it(document, function()
      local r = g:ask { q = "x", upstream = { document } }
      if fault then
        assert.equal("bad_json", r.error.code)
        assert.equal(fault, r.logs[#r.logs].bad_json)
      else
        assert.equal(document, r.text)
        assert.is_true(r.done)
      end
    end)
  end

  for part, said in pairs {
    ['{ typ = "object" }'] = 'schema.typ: is not known here', ['{ type = "objekt" }'] = "schema.type: unknown type objekt", ["{ properties = { a = 1 } }"] = "schema.properties.a: must be a table",
    ['{ items = { type = "x" } }'] = "schema.items.type: unknown type x", ["{ enum = {} }"] = "schema.enum: must be a list", ["{ enum = { {} } }"] = "schema.enum: may hold",
    ["{ required = 7 }"] = "schema.required: must be a list", ["{ properties = { a = { items = { pattern = 1 } } } }"] = "schema.properties.a.items.pattern: is not known",
  } do
    it("refuses " .. part, function()
      local loaded, why = t.load { source = source("schema = " .. part) }
      assert.is_nil(loaded)
      assert.matches("^[^\n]*:5: routes.ask.policies%[1%]%." .. said:gsub("%.", "%%."), why)
    end)
  end

  it("refuses more than may be held", function()
    local loaded, why = t.load { source = source 'max = "2mb"' }
    assert.is_nil(loaded)
    assert.matches("max: must be at most 1048576", why)
  end)
end)
