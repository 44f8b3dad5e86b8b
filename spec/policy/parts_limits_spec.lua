-- sluice.parts.limits: how much is asked and answered, and how long that takes.
local t = require "sluice.testing"

-- An observer says in its log hook how the stream ended.
local function gateway(options, more)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local seen = sluice.service "seen"
local observer = sluice.policy { name = "observer" }
function observer.log(sum) seen:post("/", { json = { finish = sum.finish } }) end
local upper = sluice.policy { name = "upper" }
upper.filter = { text = function(text) return text:upper() end }
return sluice.config { api = 1, listen = ":0", services = { seen = { url = "http://seen.test" } },
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { observer, %s sluice.parts.limits { %s } } } } }
]]):format(more or "", options), services = { seen = function() return "" end } })
end

local function finish_of(r) return r.calls[1].json.finish end

describe("limits", function()
  it("ends long answers at the character, with the reason length", function()
    local g = gateway "output_chars = 5"
    for _, upstream in ipairs { { "hé", "llo wor", "ld" }, { "héllo world" }, { "héllo", " ", "world" } } do
      local r = g:ask { q = "x", upstream = upstream }
      assert.equal("héllo", r.text)
      assert.is_true(r.done)
      assert.equal("length", finish_of(r))
    end
  end)

  it("leaves an answer of just that length alone", function()
    local r = gateway("output_chars = 5"):ask { q = "x", upstream = { "12", "345" } }
    assert.equal("12345", r.text)
    assert.equal("done", finish_of(r))
  end)

  it("shows what it leaves to the filters before the client", function()
    assert.equal("HÉLLO", (gateway("output_chars = 5", "upper,"):ask({ q = "x", upstream = { "hé", "llo wor" } }).text:gsub("é", "É")))
  end)

  it("does not count what a model thinks", function()
    assert.equal("12345", gateway("output_chars = 5"):ask({ q = "x", upstream = { { reasoning_content = "a long thought" }, "12345" } }).text)
  end)

  it("refuses long prompts", function()
    local r = gateway("input_tokens = 10"):ask { q = ("word "):rep(50) }
    assert.equal(413, r.status)
    assert.equal("prompt_too_long", r.error.code)
    assert.equal("ok", gateway("input_tokens = 10"):ask({ q = "hi", upstream = { "ok" } }).text)
  end)

  it("ends answers that take too long, with the reason length", function()
    local g = gateway 'duration = "10s"'
    local r = g:ask { q = "x", upstream = { "a", t.wait "6s", "b", t.wait "5s", "c", "d" } }
    assert.equal("ab", r.text)
    assert.is_true(r.done)
    assert.is_true(r.canceled)
    assert.equal("length", finish_of(r))
    r = g:ask { q = "x", upstream = { "a", t.wait "9s", "b" } }
    assert.equal("ab", r.text)
    assert.is_nil(r.canceled)
  end)

  it("leaves an answer alone that is complete, though late", function()
    local r = gateway('duration = "10s"'):ask { q = "x", upstream = { "a", t.wait "11s" } }
    assert.equal("a", r.text)
    assert.is_nil(r.canceled)
  end)

  it("counts the time that a model thinks", function()
    local r = gateway('duration = "10s"'):ask { q = "x", upstream = { { reasoning_content = "hm" }, t.wait "11s", { reasoning_content = "hm" }, "a" } }
    assert.equal("", r.text)
    assert.is_true(r.done)
  end)

  it("puts no limit where none is given", function()
    assert.equal("abc", gateway(""):ask({ q = ("x"):rep(1000), upstream = { "abc" } }).text)
  end)

  for options, why in pairs {
    ["output_chars = 0"] = "output_chars: must be at least 1, is 0", ['output_chars = "5"'] = 'output_chars: must be a whole number, is the text "5"',
    ["duration = 5"] = 'duration: ambiguous duration 5: write "5ms" or "5s"', ['duration = "0s"'] = 'duration: must be at least "1ms", is the text "0s"',
    ["input_tokens = 1.5"] = "input_tokens: must be a whole number, is 1.5", ["output_tokens = 5"] = 'output_tokens: policy "limits" has no option "output_tokens"; did you mean "input_tokens"?',
  } do
    it("refuses " .. options, function()
      local g, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print },\n' ..
        'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.limits { ' .. options .. " } } } } }" }
      assert.is_nil(g)
      assert.equal("4: routes.a.policies[1]." .. why .. "\n", (said:gsub("^[^\n]*/lua_[^:]*:", "")))
    end)
  end
end)
