-- The policy alone, then the gateway: `build/sluice test examples/front_door/spec`.
local t = require "sluice.testing"

describe("front_door", function()
  local g = t.load { policies = { { "policies.front_door", origins = { "https://app.example.com", "*.example.org" }, models = { "fast", "smart" }, max_messages = 3 } } }

  it("lets through who is no browser, and changes nothing", function()
    local r = g:chat { user = "hi", model = "fast", params = { max_tokens = 100 }, upstream = { "he", "llo" } }
    assert.equal("hello", r.text)
    assert.is_nil(r.headers["access-control-allow-origin"])
    assert.equal(100, r.upstream[1].max_tokens)
  end)

  it("knows the pages that may read answers", function()
    for origin, allowed in pairs { ["https://app.example.com"] = true, ["https://a.example.org"] = true, ["https://example.org"] = false, ["https://evil.com"] = false,
      ["https://app.example.com.evil.com"] = false } do
      local r = g:chat { user = "hi", headers = { origin = origin }, upstream = { "hello" } }
      if allowed then
        assert.equal(200, r.status)
        assert.equal(origin, r.headers["access-control-allow-origin"])
        assert.equal("Origin", r.headers.vary)
      else
        assert.equal(403, r.status, origin)
        assert.equal("origin_not_allowed", r.error.code)
        assert.equal(0, #r.upstream)
      end
    end
  end)

  it("answers a preflight itself", function()
    local r = g:chat { method = "OPTIONS", headers = { origin = "https://app.example.com", ["access-control-request-method"] = "POST" } }
    assert.equal(204, r.status)
    assert.equal("GET, POST, OPTIONS", r.headers["access-control-allow-methods"])
  end)

  it("refuses what is no conversation, or too long a one", function()
    assert.equal("messages_empty", g:chat({ messages = {} }).error.code)
    local m = { role = "user", content = "hi" }
    assert.equal("messages_too_many", g:chat({ messages = { m, m, m, m } }).error.code)
    assert.equal(200, g:chat({ messages = { m, m, m }, upstream = { "hello" } }).status)
  end)

  it("knows its models", function()
    local r = g:chat { user = "hi", model = "gpt-9" }
    assert.equal(404, r.status)
    assert.same({ "model_not_found", 'There is no model "gpt-9" here.' }, { r.error.code, r.error.message })
  end)

  it("clamps max_tokens and refuses logit_bias", function()
    assert.equal(4096, g:chat({ user = "hi", params = { max_tokens = 100000 }, upstream = { "hello" } }).upstream[1].max_tokens)
    assert.equal("param_not_allowed", g:chat({ user = "hi", params = { logit_bias = { ["50256"] = -100 } } }).error.code)
  end)
end)

describe("the gateway", function()
  local g = assert(t.load "gateway.lua")

  it("takes model and parameters from the query", function()
    assert.equal("You asked: hi\nI may answer with 1000 tokens.", g:ask({ query = "q=hi&max_tokens=5000" }).text)
    assert.equal("You asked: hi\nI may answer with any number of tokens.", g:ask({ query = "q=hi&model=fast" }).text)
    assert.equal("model_not_found", g:ask({ query = "q=hi&model=gpt-9" }).error.code)
  end)

  it("lets the listed pages in only", function()
    assert.equal(403, g:ask({ q = "hi", headers = { host = "test", origin = "https://evil.com" } }).status)
    assert.equal(200, g:ask({ q = "hi", headers = { host = "test", origin = "https://app.example.com" } }).status)
  end)
end)
