-- sluice.parts.language: the script of an answer's first letters.
local t = require "sluice.testing"

local function gateway(options)
  return assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { sluice.parts.language { text = "[-]", %s } } } } }
]]):format(options) })
end

local SAMPLES = {
  latin = "Straße, naïveté, Łódź", greek = "Καλημέρα", cyrillic = "Здравствуйте, Київ", armenian = "Բարեւ", hebrew = "שלום", arabic = "مرحبا",
  devanagari = "नमस्ते", bengali = "নমস্কার", tamil = "வணக்கம்", telugu = "నమస్కారం", thai = "สวัสดี", hangul = "안녕하세요", kana = "こんにちは カタカナ", han = "你好世界",
  georgian = "გამარჯობა", ethiopic = "ሰላም", khmer = "សួស្តី", lao = "ສະບາຍດີ", myanmar = "မင်္ဂလာပါ", sinhala = "ආයුබෝවන්", gujarati = "નમસ્તે", kannada = "ನಮಸ್ಕಾರ",
  malayalam = "നമസ്കാരം", gurmukhi = "ਸਤ ਸ੍ਰੀ ਅਕਾਲ",
}

describe("language", function()
  for script, text in pairs(SAMPLES) do
    it("knows " .. script, function()
      assert.equal(text, gateway(('allow = { "%s" }, share = 1'):format(script)):ask({ q = "x", upstream = { text } }).text)
      local other = script == "latin" and "greek" or "latin"
      assert.equal("[-]", gateway(('allow = { "%s" }, share = 0.1'):format(other)):ask({ q = "x", upstream = { text } }).text)
    end)
  end

  it("holds the first characters only, and nothing of a refused answer leaves", function()
    local g = gateway 'allow = { "latin" }, chars = 10'
    local r = g:ask { q = "x", upstream = { "Hello", " you ", "there ", "Здравствуйте" } }
    assert.equal("Hello you there Здравствуйте", r.text)
    assert.equal(3, #r.wire - 1)                        -- the two that were held leave as one
    r = g:ask { q = "x", upstream = { "Здравствуйте", " Hello" } }
    assert.equal("[-]", r.text)
    assert.is_true(r.done)
    assert.is_true(r.canceled)
  end)

  it("judges just these characters, however the answer is cut", function()
    assert.equal("abcdЗдравствуйте", gateway 'allow = { "latin" }, chars = 4':ask({ q = "x", upstream = { "abcdЗдравствуйте" } }).text)
    assert.equal("[-]", gateway 'allow = { "latin" }, chars = 4':ask({ q = "x", upstream = { "Здраabcdefghijklm" } }).text)
  end)

  it("goes by the share of the letters", function()
    local g = gateway 'allow = { "latin" }, share = 0.5'
    assert.equal("abcd вгде", g:ask({ q = "x", upstream = { "abcd вгде" } }).text)
    assert.equal("[-]", g:ask({ q = "x", upstream = { "abc вгде" } }).text)
  end)

  it("lets pass what has no letters", function()
    assert.equal("1 + 1 = 2 ✓", gateway 'allow = { "greek" }, share = 1':ask({ q = "x", upstream = { "1 + 1 ", "= 2 ✓" } }).text)
  end)

  it("takes several scripts", function()
    assert.equal("日本語です", gateway 'allow = { "han", "kana" }, share = 1':ask({ q = "x", upstream = { "日本", "語です" } }).text)
  end)

  it("judges each try's answer anew", function()
    local g = assert(t.load { source = [[
local sluice = require "sluice"
local hold = sluice.policy { name = "hold", filter = { unit = "all", text = function(text) return text end } }
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = "x" } end
return sluice.config { api = 1, listen = ":0", models = { a = model "a", b = model "b" },
  routes = { ask = { path = "/api/stream", front = "token", target = { "a", "b" }, policies = { hold, sluice.parts.language { allow = { "latin" }, chars = 3, text = "[-]" } } } } }
]] })
    assert.equal("[-]", g:ask({ q = "x", upstream = { a = { "Hello", t.reset() }, b = { "你好世界" } } }).text)
  end)

  it("does not judge what a model thinks", function()
    assert.equal("Hello", gateway 'allow = { "latin" }':ask({ q = "x", upstream = { { reasoning_content = "你好" }, "Hello" } }).text)
  end)

  it("may refuse with a status", function()
    local r = gateway 'allow = { "latin" }, action = "reject"':ask { q = "x", upstream = { "你", "好" } }
    assert.equal(422, r.status)
    assert.equal("language_not_allowed", r.error.code)
  end)

  for options, why in pairs {
    [""] = ': policy "language" needs the option "allow": The scripts.',
    ["allow = {}"] = ".allow: must hold at least 1, holds 0",
    ['allow = "latin"'] = '.allow: must be a list, is the text "latin"',
    ['allow = { "latin" }, share = 50'] = ".share: must be at most 1, is 50",
    ['allow = { "latin" }, chars = 0'] = ".chars: must be at least 1, is 0",
    ['allow = { "latin" }, action = "mask"'] = '.action: must be one of stop, reject, is the text "mask"',
  } do
    it("refuses " .. options, function()
      local g, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print },\n' ..
        'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.language { ' .. options .. " } } } } }" }
      assert.is_nil(g)
      assert.equal("4: routes.a.policies[1]" .. why .. "\n", (said:gsub("^[^\n]*/lua_[^:]*:", "")))
    end)
  end

  it("names the scripts", function()
    local _, said = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = print },\n' ..
      'routes = { a = { path = "/a", front = "token", target = "m", policies = { sluice.parts.language { allow = { "latn" } } } } } }' }
    assert.matches('allow%[1%]: must be one of arabic, armenian, .*, is the text "latn"; did you mean "latin"%?\n$', said)
  end)
end)
