-- What a model service finds wrong with the request itself (400, 413, 422): its own words reach the client, as far as they are words and policies let them.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local pairs_of = require "spec.policy.pairs"

local function ask(code, param, hook, front)
  local g = pairs_of.gateway("openai", "policies = { P }", hook)
  local want = pairs_of.request(front or "openai", { text = "Hi", stream = true })
  want.upstream = { t.fail(400, { ["content-type"] = "application/json" }, json.encode { error = { message = "Too long.", type = "invalid_request_error", code = code, param = param } }) }
  return g:ask(want)
end

describe("a request that the model service finds wrong", function()
  it("is told with its word and its field", function()
    for _, front in ipairs { "openai", "responses", "completions" } do
      local x = ask("context_length_exceeded", "messages[0].content", nil, front)
      assert.same({ 400, "Too long.", "context_length_exceeded", "messages[0].content" }, { x.status, x.error.message, x.error.code, x.error.param })
      assert.equal("upstream_refused", x.headers["x-sluice-error"] or x.headers["X-Sluice-Error"])
    end
  end)

  it("is told with our word where its own is none", function()
    for _, code in ipairs { "http://10.0.0.1:8000/v1", ("x"):rep(65), "two words", "\u{e9}", "a\nb", "" } do
      local x = ask(code, ("p"):rep(201))
      assert.equal("upstream_refused", x.error.code)
      assert.is_nil(x.error.param ~= json.null and x.error.param or nil)
    end
  end)

  it("is told as policies say it, once they do", function()
    local x = ask("context_length_exceeded", "messages", "function P.error() return { message = 'Not so.' } end")
    assert.same({ "Not so.", "upstream_refused" }, { x.error.message, x.error.code })
    assert.is_nil(x.error.param ~= json.null and x.error.param or nil)
    x = ask("context_length_exceeded", "messages", "function P.error(err) return { code = 'mine', extra = { theirs = err.upstream.code .. ' ' .. err.upstream.param } } end")
    assert.equal("mine", x.error.code)
    assert.is_truthy(x.body:find("context_length_exceeded messages", 1, true))
  end)

  it("never shows our key", function()
    local g = assert(t.load { env = { MODEL_KEY = "sk-key-of-the-spec" }, source = [[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { public = { provider = "openai", url = "http://up.test/v1", model = "m", key = sluice.secret "MODEL_KEY" } },
  routes = { v1 = { path = "/v1/*", models = { "public" } } } }]] })
    local want = pairs_of.request("openai", { text = "Hi" })
    want.upstream = { t.fail(400, { ["content-type"] = "application/json" }, json.encode { error = { message = "Bad sk-key-of-the-spec", code = "sk-key-of-the-spec", param = "x sk-key-of-the-spec" } }) }
    local x = g:ask(want)
    assert.equal(400, x.status)
    assert.is_nil(x.body:find("sk-key", 1, true))
  end)
end)
