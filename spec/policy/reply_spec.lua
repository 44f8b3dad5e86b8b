-- sluice.reply { blocks = ... }: a whole answer by a policy, in place of a model's.
local t = require "sluice.testing"

describe("sluice.reply with blocks", function()
  local function replies(reply, hook)
    return t.load { policies = { t.lua 'sluice.policy { name = "upper", filter = { text = function(text) return text:upper() end } }',
      t.lua(('(function() local P = sluice.policy { name = "x" } P.filter = { text = function(text) return text .. "!" end } function P.%s() return sluice.reply %s end return P end)()'):format(hook or "prompt", reply)),
      t.lua 'sluice.policy { name = "behind", filter = { text = function() error "never" end } }' } }
  end

  it("is an answer: policies nearer to the client see it, those behind and its own do not", function()
    for _, hook in ipairs { "validate", "route", "prompt" } do
      local r = replies('{ blocks = { { text = "a", channel = "reasoning" }, { text = "b" }, { tool = { name = "f", arguments = { x = 1 } } }, { text = "c" } }, finish = "tool_calls", usage = { input = 3, output = 4 } }', hook):chat { user = "x" }
      assert.same({ "BC", "A", 1, "f", '{"x":1}', "tool_calls" }, { r.text, r.reasoning, #r.tools, r.tools[1].name, r.tools[1].arguments, r.finish })
      assert.same({ input = 3, output = 4, estimated = false }, r.usage)
      assert.truthy(r.tools[1].id:find "^call_")
      assert.same({ 0, true }, { #r.upstream, r.done })
    end
  end)

  it("in a document keeps the order of its blocks", function()
    local g = replies '{ blocks = { { text = "b" }, { tool = { id = "1", name = "f" } }, { text = "c" } } }'
    local r = g:chat { user = "x", stream = false }
    assert.same({ "BC", "f", "1", "{}", "tool_calls" }, { r.text, r.tools[1].name, r.tools[1].id, r.tools[1].arguments, r.finish })
  end)

  it("may follow a try that failed", function()
    local g = replies('{ blocks = { { text = "sorry" } } }', "fallback")
    local r = g:chat { user = "x", upstream = { t.fail(503) } }
    assert.same({ "SORRY", "stop", 200 }, { r.text, r.finish, r.status })
  end)

  it("HEAD is told that there is an answer, and gets none", function()
    local g = assert(t.load { source = [[local sluice = require "sluice"
local P = sluice.policy { name = "x" }
function P.prompt() return sluice.reply { blocks = { { text = "a" } } } end
return sluice.config { api = 1, listen = ":0", models = { m = function() end }, routes = { r = { path = "/api/stream", front = "token", target = "m", policies = { P } } } }]] })
    local r = g:ask { method = "HEAD", q = "x" }
    assert.same({ 200, "" }, { r.status, r.text })
    assert.equal("a", g:ask({ q = "x" }).text)
  end)

  local wrong = {
    ['{ blocks = "x" }'] = "blocks must be a list", ['{ blocks = {}, text = "x" }'] = "text and blocks exclude each other", ['{ blocks = {}, status = 201 }'] = "has the status 200",
    ['{ blocks = { "x" } }'] = "blocks[1] must be a table", ['{ blocks = { { txt = "x" } } }'] = 'blocks[1] has no field "txt"; did you mean "text"?',
    ['{ blocks = { {} } }'] = "blocks[1].text must be a text", ['{ blocks = { { text = "\\xff" } } }'] = "blocks[1].text is no valid UTF-8",
    ['{ blocks = { { text = "x", channel = "contents" } } }'] = 'did you mean "content"?', ['{ blocks = { { tool = { name = "f" }, text = "x" } } }'] = "holds nothing else",
    ['{ blocks = { { tool = { id = "x" } } } }'] = "blocks[1].tool.name must be a text", ['{ blocks = {}, finish = "a b" }'] = "finish must be a word",
    ['{ blocks = {}, usage = { input = 1.5 } }'] = "usage.input must be a whole number", ['{ usage = {} }'] = "usage is told of an answer of blocks only",
  }
  it("says what is wrong with it, at its line", function()
    for text, why in pairs(wrong) do
      local r = replies(text):chat { user = "x" }
      assert.equal(500, r.status)
      assert.truthy(r.logs[1].message:find(why, 1, true), r.logs[1].message)
    end
  end)

  it("is for hooks that know the request", function()
    local r = replies('{ blocks = { { text = "x" } } }', "accept"):chat { user = "x" }
    assert.equal(500, r.status)
    assert.truthy(r.logs[1].message:find("only the hooks validate, route, prompt and fallback may", 1, true))
  end)
end)
