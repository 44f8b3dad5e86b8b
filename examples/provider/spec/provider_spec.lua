-- The made-up provider, asked by an OpenAI client: what the service gets, what the client is told, wherever the service cuts its lines.
local t = require "sluice.testing"

local g = assert(t.load { file = "gateway.lua", env = { PARROT_URL = "http://parrot.test", PARROT_KEY = "nut" } })

local function ask(body, upstream)
  return g:ask { method = "POST", path = "/v1/chat/completions", headers = { host = "g", ["content-type"] = "application/json" }, body = body, upstream = upstream, no_shake = true }
end

-- The service's lines, in pieces of n bytes.
local function squawks(lines, n)
  local all, script = table.concat(lines, "\n") .. "\n", { t.head(200, { ["content-type"] = "application/x-ndjson" }) }
  for from = 1, #all, n do script[#script + 1] = t.raw(all:sub(from, from + n - 1)) end
  script[#script + 1] = t.close()
  return script
end

local LINES = { '{"say":"Pieces"}', '{"say":" of ei"}', '{"say":"ght"}', '{"mood":"tired","beaks":12,"feathers":3,"over":true}' }

local function text_of(r)
  local text, finish = "", nil
  for _, e in ipairs(r.events) do
    local choice = e.choices and e.choices[1]
    if choice then text, finish = text .. (choice.delta.content or ""), choice.finish_reason or finish end
  end
  return text, finish
end

describe("the parrot", function()
  it("is asked in its own words", function()
    local r = ask('{"model":"polly","stream":true,"max_tokens":7,"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]}', squawks(LINES, 1000))
    assert.equal("http://parrot.test/squawk", r.upstream[1].url)
    assert.same({ voice = "grey", lines = { "system: be kind", "user: hi" }, breath = 7 }, r.upstream[1].body)
    assert.equal("nut", r.upstream[1].headers["x-cracker"])
  end)

  for n = 1, 40, 3 do
    it(("speaks OpenAI's language, cut to pieces of %d bytes"):format(n), function()
      local r = ask('{"model":"polly","stream":true,"messages":[{"role":"user","content":"hi"}]}', squawks(LINES, n))
      local text, finish = text_of(r)
      assert.equal("Pieces of eight", text)
      assert.equal("length", finish)
      assert.is_true(r.done)
    end)
  end

  it("answers whoever does not stream, with what it used", function()
    local r = ask('{"model":"polly","messages":[{"role":"user","content":"hi"}]}', squawks(LINES, 1000))
    assert.equal("Pieces of eight", r.document.choices[1].message.content)
    assert.same({ 12, 3, 15 }, { r.document.usage.prompt_tokens, r.document.usage.completion_tokens, r.document.usage.total_tokens })
  end)

  it("tells its client what it has no word for", function()
    local r = ask('{"model":"polly","logit_bias":{},"messages":[{"role":"user","content":"hi"}]}', {})
    assert.equal(400, r.status)
    assert.equal("'logit_bias' cannot be told to a parrot", r.document.error.message)
    assert.equal(0, #r.upstream)
  end)

  it("that falls off its perch in the middle ends in an error, not in half an answer", function()
    local r = ask('{"model":"polly","stream":true,"messages":[{"role":"user","content":"hi"}]}', squawks({ LINES[1], '{"fell_off_perch":"asleep"}' }, 1000))
    assert.equal("Pieces", (text_of(r)))
    assert.equal("upstream_error", r.error.code)
    assert.is_nil(r.done)
  end)

  it("that is cut off, too", function()
    local r = ask('{"model":"polly","stream":true,"messages":[{"role":"user","content":"hi"}]}', squawks({ LINES[1], LINES[2] }, 1000))
    assert.equal("upstream_truncated", r.error.code)
  end)
end)
