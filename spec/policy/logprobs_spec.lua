-- Logprobs: what one provider says of its tokens, every front that has a place for it tells, streaming and not; a filter that may change the text they tell of
-- and they exclude each other.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local fuzz = require "spec.policy.fuzz"
local pairs_of = require "spec.policy.pairs"

local FRONTS = { "openai", "responses", "completions" }
local PROVIDERS = { "openai", "responses", "gemini", "ollama" }

-- Tokens of one answer; the last is half of a character, whose other half never came.
local TOKENS = {
  { token = "The", logprob = -0.3125, top = { { "The", -0.3125 }, { "A", -1.5 } } },
  { token = " sky. ", logprob = -9999.0, top = { { " sky. ", -9999.0 }, { "\n", -2.25 } } },
  { token = "é", logprob = -0.001, top = { { "é", -0.001 } } },
  { token = " is", logprob = 0.0, top = {} },
}

local function bytes(text) return { text:byte(1, -1) } end

local function entry(v, with_bytes)
  local top = {}
  for i, other in ipairs(v.top) do top[i] = { token = other[1], logprob = other[2], bytes = with_bytes and bytes(other[1]) or nil } end
  return { token = v.token, logprob = v.logprob, bytes = with_bytes and bytes(v.token) or nil, top_logprobs = top }
end

local function data(value) return "data: " .. json.encode(value) .. "\n\n" end

-- What each provider streams for these tokens, an event each.
local stream_of = {}

function stream_of.openai(tokens)
  local out = { data { choices = { { index = 0, delta = { role = "assistant", content = "" } } } } }
  for _, v in ipairs(tokens) do
    out[#out + 1] = data { choices = { { index = 0, delta = { content = v.token }, logprobs = { content = { entry(v, true) }, refusal = json.null } } } }
  end
  out[#out + 1] = data { choices = { { index = 0, delta = json.object {}, logprobs = json.null, finish_reason = "stop" } } }
  return table.concat(out) .. "data: [DONE]\n\n"
end

function stream_of.responses(tokens)
  local out = {}
  for _, v in ipairs(tokens) do
    out[#out + 1] = "event: response.output_text.delta\n" .. data { type = "response.output_text.delta", delta = v.token, logprobs = { entry(v, false) } }
  end
  return table.concat(out) .. "event: response.completed\n" .. data { type = "response.completed", response = { status = "completed", output = {} } }
end

function stream_of.gemini(tokens)
  local function google(token, logprob) return { token = token, tokenId = 7, logProbability = logprob } end
  local out = {}
  for i, v in ipairs(tokens) do
    local others = {}
    for k, other in ipairs(v.top) do others[k] = google(other[1], other[2]) end
    out[i] = data { candidates = { { index = 0, content = { role = "model", parts = { { text = v.token } } }, finishReason = i == #tokens and "STOP" or nil, avgLogprobs = -1.5,
      logprobsResult = { chosenCandidates = { google(v.token, v.logprob) }, topCandidates = { { candidates = others } } } } } }
  end
  return table.concat(out)
end

function stream_of.ollama(tokens)
  local out = {}
  for i, v in ipairs(tokens) do out[i] = json.encode { message = { role = "assistant", content = v.token }, done = false, logprobs = { entry(v, true) } } .. "\n" end
  return table.concat(out) .. json.encode { message = { role = "assistant", content = "" }, done = true, done_reason = "stop", prompt_eval_count = 3, eval_count = 4 } .. "\n"
end

-- ---- what clients read

local function told_tokens(list)
  local out = {}
  for i, v in ipairs(list) do
    local top = {}
    for k, other in ipairs(v.top_logprobs) do
      assert.same(bytes(other.token), other.bytes)
      top[k] = { other.token, other.logprob }
    end
    assert.same(bytes(v.token), v.bytes)
    out[i] = { token = v.token, logprob = v.logprob, top = top }
  end
  return out
end

-- The four lists of the legacy API as one; its objects have no order.
local function legacy_tokens(v)
  local out = {}
  for i, token in ipairs(v.tokens) do out[i] = { token = token, logprob = v.token_logprobs[i], top = v.top_logprobs[i], at = v.text_offset[i] } end
  return out
end

local function wanted_legacy(tokens)
  local out, at = {}, 0
  for i, v in ipairs(tokens) do
    local top = {}
    for _, other in ipairs(v.top) do top[other[1]] = other[2] end
    out[i] = { token = v.token, logprob = v.logprob, top = top, at = at }
    at = at + utf8.len(v.token)
  end
  return out
end

local function each_event(x, fn)
  for _, e in ipairs(x.wire) do
    for line in e.bytes:gmatch "[^\n]+" do
      local event = line:match "^data: ({.*)$"
      if event then fn(json.decode(event)) end
    end
  end
end

local function join(to, list)
  for _, v in ipairs(list) do to[#to + 1] = v end
end

local function given(v) if v ~= json.null then return v end end

-- The tokens that a stream told; and for each of its events, how much text and how much of tokens was told by then.
local streamed = {}

function streamed.openai(x, odd)                         -- odd: tokens that are not the text's
  local out, text, said = {}, "", ""
  each_event(x, function(event)
    for _, c in ipairs(event.choices or {}) do
      if c.index == 0 then
        text = text .. (c.delta.content or "")
        local list = given(c.logprobs) and given(c.logprobs.content) or {}
        for _, v in ipairs(list) do said = said .. v.token end
        join(out, told_tokens(list))
        assert.is_true(odd or #said <= #text, said .. " came before its text: " .. text)
      end
    end
  end)
  return out
end

function streamed.completions(x)
  local out = {}
  each_event(x, function(event)
    for _, c in ipairs(event.choices or {}) do
      if given(c.logprobs) then join(out, legacy_tokens(c.logprobs)) end
    end
  end)
  return out
end

function streamed.responses(x)
  local out, last = {}, nil
  each_event(x, function(event)
    if event.type == "response.output_text.delta" then join(out, told_tokens(event.logprobs)) end
    if event.type == "response.output_text.done" then assert.same(out, told_tokens(event.logprobs)) end
    if event.type == "response.content_part.done" then assert.same(out, told_tokens(event.part.logprobs)) end
    if event.type == "response.output_item.done" then assert.same(out, told_tokens(event.item.content[1].logprobs)) end
    if event.type == "response.completed" then last = told_tokens(event.response.output[1].content[1].logprobs) end
  end)
  assert.same(out, last)
  return out
end

local whole = {
  openai = function(doc) return given(doc.choices[1].logprobs) and told_tokens(doc.choices[1].logprobs.content) end,
  completions = function(doc) return given(doc.choices[1].logprobs) and legacy_tokens(doc.choices[1].logprobs) end,
  responses = function(doc) return told_tokens(doc.output[1].content[1].logprobs) end,
}

-- How each front's clients ask for them.
local ASK = {
  openai = { logprobs = true, top_logprobs = 2 },
  completions = { logprobs = 2 },
  responses = { include = { "message.output_text.logprobs" }, top_logprobs = 2 },
}

-- A hook looks at the end of each answer, so that no bytes pass.
local LOOKS = "function P.finish() end"

local function ask(g, front, provider, stream, pieces, more)
  local want = pairs_of.request(front, { text = "Hi", stream = stream }, more or ASK[front])
  want.upstream = pairs_of.stream(provider, pieces)
  return g:ask(want)
end

local function tokens_of(front, x, stream)
  assert.is_nil(x.error)
  if stream then return streamed[front](x) end
  return whole[front](json.decode(x.body))
end

local function wanted(front) return front == "completions" and wanted_legacy(TOKENS) or (function()
  local out = {}
  for i, v in ipairs(TOKENS) do out[i] = { token = v.token, logprob = v.logprob, top = v.top } end
  return out
end)() end

describe("logprobs", function()
  for _, provider in ipairs(PROVIDERS) do
    for _, front in ipairs(FRONTS) do
      it(("cross from %s to %s, wherever the bytes are cut"):format(provider, front), function()
        local g = pairs_of.gateway(provider, "policies = { P }", LOOKS)
        local all = stream_of[provider](TOKENS)
        for _, stream in ipairs { true, false } do
          assert.same(wanted(front), tokens_of(front, ask(g, front, provider, stream, { all }), stream))
          for at = 1, #all - 1, 37 do
            assert.same(wanted(front), tokens_of(front, ask(g, front, provider, stream, { all:sub(1, at), all:sub(at + 1) }), stream), "cut at byte " .. at)
          end
        end
      end)
    end
  end

  for _, provider in ipairs(PROVIDERS) do
    it("are those of the recording spec/wire/" .. provider, function()
      local g = pairs_of.gateway(provider, "policies = { P }", LOOKS)
      local means = json.decode(pairs_of.read(("spec/wire/%s/logprobs.json"):format(provider)))
      local recording = pairs_of.read(("spec/wire/%s/logprobs.%s"):format(provider, pairs_of.framing[provider]))
      for _, stream in ipairs { true, false } do
        local x, list = ask(g, "openai", provider, stream, { recording }), {}
        local function add(logprobs)
          for _, v in ipairs(given(logprobs) and logprobs.content or {}) do list[#list + 1] = { v.token, v.logprob, v.bytes } end
        end
        if stream then each_event(x, function(event) add(event.choices[1].logprobs) end) else add(json.decode(x.body).choices[1].logprobs) end
        assert.same(means.logprobs, list)
        assert.equal(means.text, x.text)
      end
    end)
  end

  it("are asked for as the provider wants it", function()
    local function sent(provider, more)
      local x = ask(pairs_of.gateway(provider), "openai", provider, true, { stream_of[provider](TOKENS) }, more)
      return assert(x.upstream[1], x.body).body
    end
    local asked = { logprobs = true, top_logprobs = 2 }
    assert.is_true(sent("ollama", asked).logprobs)
    assert.equal(2, sent("ollama", asked).top_logprobs)
    assert.same({ responseLogprobs = true, logprobs = 2 }, sent("gemini", asked).generationConfig)
    assert.same({ "message.output_text.logprobs" }, sent("responses", asked).include)
    assert.equal(2, sent("responses", asked).top_logprobs)
    local x = ask(pairs_of.gateway "openai", "responses", "openai", true, { stream_of.openai(TOKENS) })
    assert.same({ true, 2 }, { x.upstream[1].body.logprobs, x.upstream[1].body.top_logprobs })
    assert.is_nil(x.upstream[1].body.include)
    for _, provider in ipairs { "ollama", "gemini" } do
      x = ask(pairs_of.gateway(provider), "openai", provider, true, { "" }, { top_logprobs = 2 })
      assert.same({ 400, "invalid_request" }, { x.status, x.error.code })
      assert.is_truthy(x.error.message:find("'top_logprobs' needs logprobs", 1, true))
    end
  end)

  it("that nobody asked for are not told", function()
    for _, provider in ipairs(PROVIDERS) do
      local g = pairs_of.gateway(provider, "policies = { P }", LOOKS)
      for _, front in ipairs(FRONTS) do
        assert.same({}, tokens_of(front, ask(g, front, provider, true, { stream_of[provider](TOKENS) }, {}), true))
      end
    end
  end)

  it("are not told when a policy takes the wish back", function()
    local g = pairs_of.gateway("openai", "policies = { P }", "function P.prompt(req) req.params.logprobs = nil end " .. LOOKS)
    local x = ask(g, "openai", "openai", true, { stream_of.openai(TOKENS) })
    assert.is_nil(x.upstream[1].body.logprobs)
    assert.same({}, tokens_of("openai", x, true))
  end)

  it("of each of several choices are its own", function()
    local g = pairs_of.gateway("openai", "policies = { P }", LOOKS)
    local function event(choice, token)
      return data { choices = { { index = choice, delta = { content = token }, logprobs = { content = { { token = token, logprob = -choice - 0.5, top_logprobs = {} } } } } } }
    end
    local both = data { choices = {
      { index = 0, delta = { content = "c" }, logprobs = { content = { { token = "c", logprob = -3.5, top_logprobs = {} } } } },
      { index = 1, delta = { content = "d" }, logprobs = { content = { { token = "d", logprob = -4.5, top_logprobs = {} } } } },
    } }
    local x = ask(g, "openai", "openai", false, { event(0, "a"), event(1, "b"), both, "data: [DONE]\n\n" }, { logprobs = true, n = 2 })
    local doc = json.decode(x.body)
    local function said(i)
      local out = {}
      for k, v in ipairs(doc.choices[i].logprobs.content) do out[k] = v.token .. v.logprob end
      return out
    end
    assert.same({ "a-0.5", "c-3.5" }, said(1))
    assert.same({ "b-1.5", "d-4.5" }, said(2))
  end)

  it("of a refusal stand where refusals do", function()
    local g = pairs_of.gateway("openai", "policies = { P }", LOOKS)
    local upstream = { data { choices = { { index = 0, delta = { refusal = "No." }, logprobs = { content = json.null, refusal = { { token = "No.", logprob = -0.5 } } } } } }, "data: [DONE]\n\n" }
    local x = ask(g, "openai", "openai", false, upstream)
    assert.same({ refusal = { { token = "No.", logprob = -0.5, bytes = { 78, 111, 46 }, top_logprobs = {} } } }, json.decode(x.body).choices[1].logprobs)
    x = ask(g, "openai", "openai", true, upstream)
    assert.is_truthy(pairs_of.streamed(x):find('"delta":{"refusal":"No."},"logprobs":{"content":null,"refusal":[{"token":"No."', 1, true))
  end)

  it("of what a model thinks are nobody's", function()
    local g = pairs_of.gateway("ollama", "policies = { P }", LOOKS)
    local function line(message, token) return json.encode { message = message, done = false, logprobs = { { token = token, logprob = -1 } } } .. "\n" end
    local x = ask(g, "openai", "ollama", true, { line({ thinking = "hm", content = "" }, "hm"), line({ content = "Yes" }, "Yes"), '{"done":true,"done_reason":"stop"}\n' })
    assert.same({ { token = "Yes", logprob = -1, top = {} } }, tokens_of("openai", x, true))
  end)

  it("may be long: what ends a stream leaves them out, a document does not", function()
    local top = {}
    for i = 1, 20 do top[i] = { "token" .. i, -i } end
    for _, front in ipairs(FRONTS) do
      for _, stream in ipairs { true, false } do
        local long, tokens = front == "responses" and stream, {}
        for i = 1, long and 1500 or 200 do tokens[i] = { token = " word" .. i, logprob = -0.5, top = top } end
        local x = ask(pairs_of.gateway("openai", "policies = { P }", LOOKS), front, "openai", stream, { stream_of.openai(tokens) })
        assert.is_nil(x.error)
        if long then
          assert.is_truthy(pairs_of.streamed(x):find('"logprobs":[],"text":" word1 word2', 1, true))
        else
          assert.equal(200, #tokens_of(front, x, stream))
        end
      end
    end
  end)

  it("are not told by a model that has none", function()
    for _, front in ipairs(FRONTS) do
      local x = ask(pairs_of.gateway "anthropic", front, "anthropic", true, { "" })
      assert.same({ 400, "param_not_supported" }, { x.status, x.error.code })
      assert.is_truthy(x.error.message:find("'logprobs'", 1, true), x.error.message)
      assert.equal(0, #x.upstream)
    end
  end)
end)

describe("logprobs of another shape", function()
  local g = pairs_of.gateway("openai", "policies = { P }", LOOKS)

  local function told(written)
    local upstream = { 'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":{"content":' .. written .. '}}]}\n\n', "data: [DONE]\n\n" }
    local x = ask(g, "openai", "openai", true, upstream)
    assert.is_nil(x.error)
    assert.equal("Hi", x.text)
    assert.is_true(utf8.len(pairs_of.streamed(x)) ~= nil)
    local all = pairs_of.streamed(x):match '"delta":{"content":"Hi"},"logprobs":(.-),"finish_reason"'
    return all
  end

  it("are none", function()
    for _, written in ipairs { "[]", "{}", "7", '"x"', "[7]", "[null]", "[[]]", "[{}]", '[{"token":7,"logprob":-1}]', '[{"token":"Hi"}]', '[{"token":"Hi","logprob":"-1"}]', '[{"token":"Hi","logprob":null}]', '[{"token":"Hi","logprob":-1e400}]' } do
      assert.equal("null", told(written), written)
    end
  end)

  it("are made right, and numbers stay as they were written", function()
    local function content(list) return ('{"content":[%s],"refusal":null}'):format(list) end
    assert.equal(content '{"token":"Hi","logprob":-1.50e-3,"bytes":[72,105],"top_logprobs":[]}', told '[{"top_logprobs":null,"x":{"y":[1]},"logprob":-1.50e-3,"token":"Hi"}]')
    assert.equal(content '{"token":"\u{fffd}","logprob":-1,"bytes":null,"top_logprobs":[]}', told '[{"token":"\xff","logprob":-1}]')
    assert.equal(content '{"token":"\u{fffd}","logprob":-1,"bytes":[240,159],"top_logprobs":[]}', told '[{"token":"\u{fffd}","logprob":-1,"bytes":[240,159]}]')
    assert.equal(content '{"token":"\u{fffd}","logprob":-1,"bytes":null,"top_logprobs":[]}', told '[{"token":"\\ud83c","logprob":-1}]')
    assert.equal(content '{"token":"\\u0000","logprob":-1,"bytes":[0],"top_logprobs":[]}', told '[{"token":"\\u0000","logprob":-1}]')
    assert.equal(content '{"token":"a","logprob":-1,"bytes":null,"top_logprobs":[]}', told '[{"token":"a","logprob":-1,"bytes":null}]')
    assert.equal(content '{"token":"a","logprob":-1,"bytes":[1],"top_logprobs":[]}', told '[{"token":"a","logprob":-1,"bytes":[1,"\xff",2]}]')
    assert.equal(content '{"token":"","logprob":-1,"bytes":[],"top_logprobs":[]}', told '[{"token":"","logprob":-1}]')
    assert.equal(content '{"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[{"token":"b","logprob":-2,"bytes":[98]}]}', told '[{"token":"a","logprob":-1,"top_logprobs":[{},{"token":"b","logprob":-2}]}]')
    assert.equal(content '{"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[]},{"token":"b","logprob":-2,"bytes":[98],"top_logprobs":[]}', told '[{"token":"a","logprob":-1},{"x":1},{"token":"b","logprob":-2}]')
  end)
end)

describe("logprobs and filters", function()
  local function gateway(before, route) return pairs_of.gateway("openai", route or "policies = { P }", before) end

  local function refused(g, name)
    for _, front in ipairs(FRONTS) do
      local x = ask(g, front, "openai", true, { stream_of.openai(TOKENS) })
      assert.same({ 400, "param_not_supported" }, { x.status, x.error and x.error.code })
      assert.is_truthy(x.error.message:find(("'logprobs' cannot be told here: the policy \"%s\" may change the text"):format(name), 1, true), x.error.message)
      assert.equal(0, #x.upstream)
    end
  end

  local function whole_list(g) assert.same(wanted "openai", tokens_of("openai", ask(g, "openai", "openai", true, { stream_of.openai(TOKENS) }), true)) end

  it("exclude each other where the filter may change the text", function()
    refused(gateway 'P.filter = { match = sluice.match.regex "sky", replace = "sea" }', "p")
    refused(gateway 'P.filter = { text = function(text) return text:upper() end }', "p")
    refused(gateway 'P.filter = { unit = "word", on = "refusal", text = function(text) return text end }', "p")
    refused(gateway("", "policies = { sluice.parts.redact {} }"), "redact")
  end)

  it("do not where it is of other channels, only watches, or takes no part", function()
    whole_list(gateway 'P.filter = { on = { "reasoning", "tool_args" }, match = sluice.match.regex "sky", replace = "sea" }')
    whole_list(gateway('P.filter = { match = sluice.match.regex "sky", replace = "sea" }', 'policies = { { P, mode = "monitor" } }'))
    whole_list(gateway('P.filter = { match = sluice.match.regex "sky", replace = "sea" }', "policies = { sluice.only_if(function() return false end, P) }"))
  end)

  it("leave with the text that a check lets go", function()
    for _, unit in ipairs { '"word"', '"sentence"', '"all"', "{ chars = 3 }" } do
      for _, more in ipairs { "", "parallel = 3,", "optimistic = true," } do
        whole_list(gateway(("P.filter = { unit = %s, %s check = function() sluice.sleep '5ms' end }"):format(unit, more)))
      end
    end
  end)

  it("do not tell what a check withheld", function()
    local g = gateway [[P.filter = { unit = "sentence", check = function(text) if text:find "sky" then return sluice.stop { reason = "content_filter" } end end }]]
    for _, stream in ipairs { true, false } do
      local x = ask(g, "openai", "openai", stream, { stream_of.openai(TOKENS) })
      assert.equal("", x.text)
      assert.is_nil((stream and pairs_of.streamed(x) or x.body):find("sky", 1, true))
    end
  end)

  -- The last words are the policy's; what stands behind the stop is withheld, and its tokens with it.
  it("do not tell what a stop withheld, wherever it comes and whatever it says", function()
    for _, unit in ipairs { '"word"', '"sentence"', '"all"', "{ chars = 4, overlap = 4 }" } do
      for _, words in ipairs { "", "text = 'I cannot say more, sorry; this is all there is.'," } do
        for _, more in ipairs { "", "parallel = 3," } do
          local g = gateway(([[P.filter = { unit = %s, %s check = function(text, _, part)
            if text:find "sky" or part.last then return sluice.stop { %s reason = "content_filter" } end end }]]):format(unit, more, words))
          for _, front in ipairs(FRONTS) do
            for _, stream in ipairs { true, false } do
              local x = ask(g, front, "openai", stream, { stream_of.openai(TOKENS) })
              assert.is_nil((stream and pairs_of.streamed(x) or x.body):find("sky", 1, true), unit .. words .. more .. front)
            end
          end
        end
      end
    end
  end)

  it("do not come before text that the model's server still holds", function()
    local function event(text, token)
      return data { choices = { { index = 0, delta = { content = text }, logprobs = { content = { { token = token, logprob = -0.5, top_logprobs = {} } } } } } }
    end
    local upstream = { event("Well. ", "Well. "), event("", "secret"), event("secr", "x"), event("et. ", "y"), "data: [DONE]\n\n" }
    for _, filter in ipairs { 'if text:find "secret" then return sluice.stop { reason = "no" } end', 'if text:find "secret" then return sluice.reject(422, "no", "No.") end' } do
      local x = ask(gateway('P.filter = { unit = "sentence", check = function(text) ' .. filter .. " end }"), "openai", "openai", true, upstream)
      assert.is_truthy(pairs_of.streamed(x):find("Well", 1, true))
      assert.is_nil(pairs_of.streamed(x):find("secret", 1, true))
    end
    local x = ask(gateway(LOOKS), "openai", "openai", true, upstream)
    local out = {}
    for i, v in ipairs(streamed.openai(x, true)) do out[i] = v.token end
    assert.same({ "Well. ", "secret", "x", "y" }, out)
  end)

  it("of an event that holds a call or a thought, too, are told to nobody", function()
    local g = gateway 'P.filter = { on = { "tool_args", "reasoning" }, match = sluice.match.regex "secret", replace = "***" }'
    local list = { { token = "secret", logprob = -0.5, top_logprobs = {} } }
    local call = { { index = 0, id = "c", type = "function", ["function"] = { name = "f", arguments = '{"a":"secret"}' } } }
    for _, delta in ipairs { { tool_calls = call }, { tool_calls = call, content = "x" }, { reasoning_content = "secret" }, { reasoning_content = "secret", content = "x" } } do
      for _, more in ipairs { "", ',{"index":9,"delta":{}}' } do
        local event = json.encode { index = 0, delta = json.object(delta), logprobs = { content = list } }
        local upstream = { 'data: {"choices":[' .. event .. more .. "]}\n\n", data { choices = { { index = 0, delta = { content = "y" }, finish_reason = "stop" } } }, "data: [DONE]\n\n" }
        for _, stream in ipairs { true, false } do
          local x = ask(g, "openai", "openai", stream, upstream)
          assert.is_nil(x.error)
          assert.is_nil((stream and pairs_of.streamed(x) or x.body):find("secret", 1, true))
        end
      end
    end
    for provider, event in pairs {
      gemini = data { candidates = { { index = 0, content = { parts = { { text = "x" }, { functionCall = { name = "f", args = { a = "secret" } } } } }, finishReason = "STOP",
        logprobsResult = { chosenCandidates = { { token = "secret", logProbability = -1 } }, topCandidates = {} } } } },
      ollama = json.encode { message = { content = "x", tool_calls = { { ["function"] = { name = "f", arguments = { a = "secret" } } } } }, logprobs = list, done = true, done_reason = "stop" } .. "\n",
    } do
      local x = ask(pairs_of.gateway(provider, "policies = { P }", 'P.filter = { on = "tool_args", match = sluice.match.regex "secret", replace = "***" }'), "openai", provider, true, { event })
      assert.is_nil(x.error)
      assert.is_nil(pairs_of.streamed(x):find("secret", 1, true))
    end
  end)

  -- Servers whose parser swallows the text of a call or a thought tell its tokens in events of their own; others tell tokens before their text.
  it("of events without text are told with the text that they stand for, or not at all", function()
    local function only(...)
      local list = {}
      for i, token in ipairs { ... } do list[i] = { token = token, logprob = -0.5, top_logprobs = {} } end
      return data { choices = { { index = 0, delta = json.object {}, logprobs = { content = list } } } }
    end
    local function text(content, ...)
      local list = {}
      for i, token in ipairs { ... } do list[i] = { token = token, logprob = -0.5, top_logprobs = {} } end
      return data { choices = { { index = 0, delta = { content = content }, logprobs = #list > 0 and { content = list } or nil } } }
    end
    local call = data { choices = { { index = 0, delta = { tool_calls = { { index = 0, id = "c", type = "function", ["function"] = { name = "f", arguments = '{"a":"secret"}' } } } } } } }
    local ends = data { choices = { { index = 0, delta = json.object {}, finish_reason = "stop" } } } .. "data: [DONE]\n\n"
    local TOOLS = 'P.filter = { on = { "tool_args" }, match = sluice.match.regex "secret", replace = "***" }'
    local JUDGES = 'P.filter = { unit = "word", %s check = function(text) if text:find "secret" then return sluice.stop { reason = "no" } end end }'
    for _, case in ipairs {
      { TOOLS, { text("Let me.", "Let", " me."), only "<tool_call>", only "secret", call, ends }, { "Let", " me." } },
      { TOOLS, { text "Let me.", only "secret", call, text(" So", " So"), ends }, { " So" } },
      { 'function P.tool_call() return sluice.drop end', { only "secret", call, text("Well", "Well"), ends }, { "Well" } },
      { JUDGES:format "", { only "fine", only " secret", text "fine ", text "secret ", ends }, { "fine" } },
      { JUDGES:format "", { text("fine ", "fine", " secret"), text "secret ", ends }, { "fine" } },
      { JUDGES:format "", { text "Hello. ", text("Fine. ", "Fine. ", "secret"), text "secret. ", ends }, { "Fine. " } },
      { TOOLS, { text("Hi. ", "Hi. "), call, only "Fine. ", text "Fine. ", ends }, { "Hi. ", "Fine. " } },
      { TOOLS, { text "Hi ", 'data: {"choices":[{"index":0,"delta":{},"logprobs":{"content":[{"token":"secret","logprob":-1,"bytes":[]}]}}]}\n\n', call, ends }, {} },
      { JUDGES:format "", { only "</think>", text("One. ", "One. "), text("Two. ", "Two. "), text("Three.", "\n\n", "Three."), ends }, { "One. ", "Two. ", "Three." } },
      { JUDGES:format "", { only "a long one ", text "a lo", text "ng on", text("e xyz", "x", "yz"), ends }, { "a long one ", "x", "yz" } },
      { JUDGES:format "parallel = 3,", { only "fine", only " secret", text "fine secret ", ends }, {} },      -- the stop comes with the text before it
      { JUDGES:format "", { text("", "We"), text("We", "ll"), text("ll done. ", " done."), ends }, { "We", "ll", " done." } },
    } do
      for _, stream in ipairs { true, false } do
        local x = ask(gateway(case[1]), "openai", "openai", stream, { table.concat(case[2]) })
        assert.is_nil((stream and pairs_of.streamed(x) or x.body):find('"secret', 1, true))
        local told = stream and streamed.openai(x) or whole.openai(json.decode(x.body)) or {}
        local names = {}
        for i, v in ipairs(told) do names[i] = v.token end
        assert.same(case[3], names)
      end
    end
  end)

  it("of many choices in one event are told of each", function()
    local choices, last = {}, {}
    for i = 0, 11 do
      choices[i + 1] = { index = i, delta = { content = "b" .. i .. ". " }, logprobs = { content = { { token = "b" .. i .. ". ", logprob = -0.5, top_logprobs = {} } } } }
      last[i + 1] = { index = i, delta = json.object {}, finish_reason = "stop" }
    end
    local g = gateway 'P.filter = { unit = "sentence", check = function() end }'
    local x = ask(g, "openai", "openai", false, { data { choices = choices } .. data { choices = choices } .. data { choices = last } .. "data: [DONE]\n\n" }, { logprobs = true, n = 12 })
    for i, c in ipairs(json.decode(x.body).choices) do
      local names = {}
      for k, v in ipairs(c.logprobs.content) do names[k] = v.token end
      assert.same({ ("b%d. "):format(i - 1), ("b%d. "):format(i - 1) }, names)
    end
  end)

  it("of one choice have nothing to do with another's", function()
    local function event(choice, delta, ...)
      local list = {}
      for i, token in ipairs { ... } do list[i] = { token = token, logprob = -0.5, top_logprobs = {} } end
      return data { choices = { { index = choice, delta = json.object(delta), logprobs = { content = list } } } }
    end
    local g = gateway 'P.filter = { unit = "sentence", check = function(text) if text:find "secret" then return sluice.stop { reason = "no" } end end }'
    local x = ask(g, "openai", "openai", true, { event(1, {}, "Fine. "), event(0, { reasoning_content = "hm" }), event(1, { content = "Fine. " }, "secret"), event(1, { content = "secret. " }),
      "data: [DONE]\n\n" }, { logprobs = true, n = 2 })
    assert.is_nil(pairs_of.streamed(x):find('"token":"secret"', 1, true))
    assert.is_truthy(pairs_of.streamed(x):find('"token":"Fine. "', 1, true))
  end)

  it("of Gemini stand with their own alternatives", function()
    local function token(name) return { token = name, logProbability = -0.5 } end
    local event = data { candidates = { { index = 0, content = { parts = { { text = "AB" } } }, finishReason = "STOP", logprobsResult = {
      chosenCandidates = { { tokenId = 1 }, token "A", token "B" }, topCandidates = { { candidates = { token "x" } }, { candidates = { token "a" } }, { candidates = { token "b" } } } } } } }
    local x = ask(pairs_of.gateway("gemini", "policies = { P }", LOOKS), "openai", "gemini", false, { event })
    local told = whole.openai(json.decode(x.body))
    assert.same({ "A", "a", "B", "b" }, { told[1].token, told[1].top[1][1], told[2].token, told[2].top[1][1] })
  end)

  it("stand beside an empty list of calls", function()
    local x = ask(gateway(LOOKS), "openai", "openai", true, { 'data: {"choices":[{"index":0,"delta":{"content":"Hi","tool_calls": [ ]},"logprobs":{"content":[{"token":"Hi","logprob":-1}]},'
      .. '"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n' })
    assert.equal("stop", x.finish)
    assert.equal(1, #streamed.openai(x))
  end)

  it("of a model that died are not told by the one that goes on", function()
    local g = assert(t.load { source = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
P.filter = { unit = "sentence", check = function() end }
local function model(name) return { provider = "openai", url = "http://" .. name .. ".test/v1", model = name, prefill = true } end
return sluice.config { api = 1, listen = ":0", models = { a = model "a", b = model "b" },
  routes = { ask = { path = "/v1/*", target = { "a", "b" }, on_death = "continue", policies = { P } } } }
]] })
    local function said(token, more)
      local list = { { token = token, logprob = -0.5, top_logprobs = {} } }
      if more then list[2] = { token = more, logprob = -0.5, top_logprobs = {} } end
      return t.raw(data { choices = { { index = 0, delta = { content = token }, logprobs = { content = list } } } })
    end
    local x = g:ask { method = "POST", path = "/v1/chat/completions", headers = { host = "x" }, body = '{"messages":[{"role":"user","content":"x"}],"stream":true,"logprobs":true}', no_shake = true,
      upstream = { a = { said("Hello. ", "lost"), t.reset() }, b = { said "World.", t.raw "data: [DONE]\n\n" } } }
    local names = {}
    for i, v in ipairs(streamed.openai(x, true)) do names[i] = v.token end
    assert.same({ "Hello. ", "World." }, names)
  end)

  it("a check cannot drop: it only judges", function()
    for _, more in ipairs { "", "parallel = 2," } do
      local x = ask(gateway(('P.filter = { unit = "word", %s check = function(text) if text:find "sky" then return sluice.drop end end }'):format(more)), "openai", "openai", true,
        { stream_of.openai(TOKENS) }, {})
      assert.equal("policy_error", x.error.code)
    end
  end)

  it("go together with a filter that only looks at the text", function()
    whole_list(gateway "P.filter = { changes = false, text = function() end }")
    whole_list(gateway "P.filter = { changes = false, text = function(text) return text end }")
    whole_list(gateway 'P.filter = { changes = false, text = function(text, _, part) if part.last then return text end return "", text end }')
    whole_list(gateway 'P.filter = { changes = false, unit = "word", text = function(text) return text end }')
    whole_list(gateway("", 'policies = { sluice.parts.audit { text = true }, sluice.parts.language { allow = { "latin" } } }'))
  end)

  it("a filter that says so and changes the text fails", function()
    for _, filter in ipairs {
      "text = function(text) return text .. '!' end", "text = function() return '' end", "text = function(text) return text:upper() end",
      "text = function(text) return text, 'more' end", "unit = 'word', text = function(text) return text:upper() end", "text = function(text) return text, '', 'thought' end",
    } do
      local x = ask(gateway(("P.filter = { on = 'content', changes = false, %s }"):format(filter)), "openai", "openai", true, { stream_of.openai(TOKENS) }, {})
      assert.equal("policy_error", x.error and x.error.code, filter)
    end
    assert.has_error(function() gateway "P.filter = { changes = false, check = function() end }" end)
    assert.has_error(function() gateway "P.filter = { changes = 1, text = function() end }" end)
  end)

  it("are nothing for the cache: each is asked for anew, and told", function()
    local g = gateway("", "policies = { sluice.parts.cache {} }")
    for _ = 1, 2 do
      whole_list(g)
    end
    local x = ask(g, "openai", "openai", true, { stream_of.openai(TOKENS) })
    assert.equal(1, #x.upstream)
    assert.is_nil(x.headers["x-cache"])
  end)
end)

-- Tokens come with their text, before it, and a part of it at a time; each is told once, in order, and never before its text.
describe("logprobs, however a server cuts text and tokens,", function()
  local WAYS = {
    LOOKS, "function P.tool_call() end", 'P.filter = { unit = "word", check = function() end }', 'P.filter = { unit = "sentence", parallel = 3, check = function() sluice.sleep "5ms" end }',
    'P.filter = { unit = "all", check = function() end }', 'P.filter = { unit = { chars = 3, overlap = 2 }, optimistic = true, check = function() sluice.sleep "2ms" end }',
    "P.filter = { changes = false, text = function() end }", 'P.filter = { on = { "tool_args", "reasoning" }, match = sluice.match.regex "x", replace = "" }',
  }

  -- Events of n choices, the names of each choice's tokens, and their texts.
  local function upstream(random, n)
    local events, truth, held = {}, {}, {}
    for i = 0, n - 1 do truth[i], held[i] = {}, "" end
    local function event(i, ends)
      local list = {}
      for k = 1, ends and 0 or random(4) - 1 do
        local name = ({ " ", "", ". ", "\u{e9}" })[random(4)] .. "t" .. #truth[i] .. ({ "", " " })[random(2)]
        list[k] = { token = name, logprob = -0.5, top_logprobs = {} }
        truth[i][#truth[i] + 1], held[i] = name, held[i] .. name
      end
      local cut = ends and #held[i] + 1 or utf8.offset(held[i], random(utf8.len(held[i]) + 1))
      local text = held[i]:sub(1, cut - 1)
      held[i] = held[i]:sub(cut)
      local delta = (text ~= "" or random(2) == 1) and { content = text } or {}
      events[#events + 1] = data { choices = { { index = i, delta = json.object(delta), logprobs = #list > 0 and { content = list } or nil, finish_reason = ends and "stop" or nil } } }
    end
    for _ = 1, random(23) + 2 do event(random(n) - 1) end
    for i = 0, n - 1 do event(i, true) end
    events[#events + 1] = "data: [DONE]\n\n"
    return events, truth
  end

  -- Per choice: the names that were told; fails where one is told before its text.
  local function told_of(x, stream, n, held)
    local names, texts = {}, {}
    for i = 0, n - 1 do names[i], texts[i] = {}, "" end
    local function add(i, logprobs)
      for _, v in ipairs(given(logprobs) and given(logprobs.content) or {}) do names[i][#names[i] + 1] = v.token end
      assert(not held or #table.concat(names[i]) <= #texts[i], table.concat(names[i]) .. " came before its text: " .. texts[i])
    end
    local function choice(c, text)
      texts[c.index] = texts[c.index] .. (given(text) or "")
      add(c.index, c.logprobs)
    end
    if stream then
      each_event(x, function(event) for _, c in ipairs(event.choices) do choice(c, c.delta.content) end end)
    else
      for _, c in ipairs(json.decode(x.body).choices) do choice(c, c.message.content) end
    end
    return names, texts
  end

  it("are told whole, in order, with their text", function()
    local gateways = {}
    for i, code in ipairs(WAYS) do gateways[i] = pairs_of.gateway("openai", "policies = { P }", code) end
    for case, random in fuzz.cases(400) do
      local n, way, stream = random(2), random(#WAYS), random(3) > 1
      local events, truth = upstream(random, n)
      local x = ask(gateways[way], "openai", "openai", stream, random(2) == 1 and events or { table.concat(events) }, { logprobs = true, n = n > 1 and n or nil })
      assert.is_nil(x.error)
      local names, texts = told_of(x, stream, n, way > 1)
      for i = 0, n - 1 do
        local what = ("case %d (FUZZ_SEED=%d FUZZ_CASES=1), %s"):format(case, case, WAYS[way])
        assert.equal(table.concat(truth[i]), texts[i], what)
        assert.same(truth[i], names[i], what)
      end
    end
  end)
end)

describe("sluice.json.raw", function()
  local g = assert(t.load { source = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.validate(req)
  local ok, v = pcall(sluice.json.raw, req:last_user())
  return sluice.reply { text = ok and sluice.json.encode { a = v, b = tostring(v) } or tostring(v) }
end
return sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } }, routes = { ask = { path = "/ask", front = "token", target = "m", policies = { P } } } }
]] })

  local function said(text) return g:ask { path = "/ask", q = text }.text end

  it("is written as it is", function()
    assert.equal('{"a":[1.10, 9007199254740993],"b":"[1.10, 9007199254740993]"}', said "[1.10, 9007199254740993]")
    assert.equal('{"a":[1,  2],"b":"[1,  2]"}', said "[1,\r\n2]")
    assert.equal('{"a":"\\u00e9","b":"\\"\\\\u00e9\\""}', said '"\\u00e9"')
  end)

  it("takes nothing but JSON", function()
    for _, text in ipairs { "{", "1 2", "nul", "[1],2", "{}}" } do assert.is_truthy(said(text):find("is not the JSON of one value, or", 1, true), text) end
  end)
end)
