-- sluice.sha256 and sluice.equal.
local t = require "sluice.testing"

local function said(expression)
  local g = assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.validate() return sluice.reply(tostring(%s)) end
return sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }
]]):format(expression) })
  local r = g:ask { q = "x" }
  return r.error and r.logs[1].message or r.text
end

describe("sluice.sha256", function()
  for text, digest in pairs {                            -- FIPS 180-2, appendix B, and the empty text
    ['""'] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ['"abc"'] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ['"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"'] = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ['("a"):rep(1000000)'] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
  } do
    it(text, function() assert.equal(digest, said("sluice.sha256(" .. text .. ")")) end)
  end

  it("takes all bytes, zeros too", function()
    local p = assert(io.popen("printf 'a\\000b\\377' | sha256sum"))
    local want = p:read "a":match "^%x+"
    p:close()
    assert.equal(want, said [[sluice.sha256("a\0b\255")]])
  end)

  it("takes a text and nothing else", function() assert.matches("string expected, got nil", said "sluice.sha256(nil)") end)
end)

describe("sluice.equal", function()
  for expression, want in pairs {
    ['sluice.equal("", "")'] = "true", ['sluice.equal("ab", "ab")'] = "true", ['sluice.equal("ab", "ac")'] = "false", ['sluice.equal("ab", "abc")'] = "false",
    ['sluice.equal("a\\0b", "a\\0c")'] = "false",
  } do
    it(expression, function() assert.equal(want, said(expression)) end)
  end

  it("takes two texts", function() assert.matches("string expected", said 'sluice.equal("a")') end)
end)
