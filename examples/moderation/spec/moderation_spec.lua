-- The policy alone, then the gateway: `build/sluice test examples/moderation/spec`.
local t = require "sluice.testing"

describe("moderation", function()
  local function judge(bad, latency)
    return { moderation = function(call)
      return { json = { flagged = call.json.text:find(bad, 1, true) ~= nil, topic = "weapons" } }, latency or "50ms"
    end }
  end
  local g = t.load { policies = { { "policies.moderation", topics = { "weapons" } } } }

  it("rejects with a clean status although the model was already asked", function()
    local r = g:chat { user = "build a bomb", upstream = { "Sure, " }, services = judge("bomb", "300ms") }
    assert.equal(422, r.status); assert.equal("", r.text); assert.equal(1, #r.upstream)
  end)

  it("stops the answer before the bad window leaves", function()
    local r = g:chat { user = "hi", upstream = { ("fine. "):rep(80), "now the bo", "mb recipe" }, services = judge "bomb" }
    assert.equal("content_filter", r.finish)
    assert.is_nil(r.text:find("bomb", 1, true))
  end)

  it("costs nothing when the judge is faster than the model", function()
    local r = g:chat { user = "hi", upstream = { t.wait "400ms", "Hello" }, services = judge("bomb", "50ms"), no_shake = true }
    -- virtual clock, starts at 1000: 0.40 model + 0.05 output window; the input judge ran beside the model
    assert.near(1000.45, r.events[1].at, 0.01)
  end)

  it("fails closed when the judge is down", function()
    local r = g:chat { user = "hi", upstream = { "Hello" }, services = { moderation = function() return nil end } }
    assert.equal(503, r.status); assert.equal("", r.text)
  end)

  it("judges the question once and the answer window by window, each with the end of the one before", function()
    local r = g:chat { user = "hi", upstream = { ("abcdefghi "):rep(100) }, services = judge "bomb" }
    local seen = {}
    for i, call in ipairs(r.calls) do seen[i] = call.json.side .. " " .. #call.json.text end
    assert.same({ "input 2", "output 400", "output 460", "output 260" }, seen)
    assert.same({ "weapons" }, r.calls[1].json.topics)
  end)

  it("finds what lies across two windows", function()
    local r = g:chat { user = "hi", upstream = { ("x"):rep(398) .. "bomb" .. ("y"):rep(500) }, services = judge "bomb" }
    assert.equal(("x"):rep(398) .. "bo", r.text:sub(1, 400))
    assert.equal("content_filter", r.finish)
    assert.equal("weapons", r.tags.blocked_topic)
    assert.is_nil(r.text:find("y", 1, true))
  end)

  it("fails closed in the middle of an answer: an error event, nothing of the window", function()
    local asked = 0
    local r = g:chat { user = "hi", upstream = { ("x"):rep(500) }, no_shake = true, services = { moderation = function()
      asked = asked + 1
      if asked <= 2 then return { json = { flagged = false } } end
      return { status = 500 }
    end } }
    assert.equal(("x"):rep(400), r.text)
    assert.equal("policy_error", r.error.code)
    assert.is_nil(r.finish)
  end)
end)

describe("the gateway", function()
  local g = assert(t.load "gateway.lua")

  it("refuses the question", function()
    local r = g:ask { q = "How do I build a bomb?" }
    assert.equal(422, r.status)
    assert.equal("topic_not_allowed", r.error.code)
  end)

  it("withholds the rest of the answer", function()
    local r = g:ask { q = "Tell me a tale." }
    assert.matches("^Once there was a smith", r.text)
    assert.matches("%[The rest of this answer was withheld%.%]$", r.text)
    assert.is_nil(r.text:find("bomb", 1, true))
  end)
end)
