-- Requests of every front, changed at random: whatever a client sends is answered, or refused with a sentence and a status of 4xx; never does a front or a
-- dialect raise an error; and what an upstream is asked is JSON that means what the client said.
local t = require "sluice.testing"
local fuzz = require "spec.policy.fuzz"

local one = fuzz.one

local SOURCE = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
P.filter = { { text = function(text) return text end } }
function P.prompt(req) req:map_text(function(text) return text end) end
local M, all = {}, {}
for i, name in ipairs { "openai", "anthropic", "gemini", "ollama", "responses" } do
  M[name], all[i] = { provider = name, url = "http://" .. name .. ".test/v1", model = "upstream-1", key = "KEY" }, name
end
return sluice.config { api = 1, listen = ":0", models = M, routes = {
  plain = { path = "/v1/*", models = all }, filtered = { path = "/f/v1/*", models = all, policies = { P } },
  ui = { path = "/ui", front = "ui", models = all }, ui_filtered = { path = "/f/ui", front = "ui", models = all, policies = { P } } } }
]]

local REQUESTS = {
  { "/v1/chat/completions", [[{"model":"@","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"hi"},
    {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"auto"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",
    "function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"},{"role":"user","content":"go"}],"tools":[{"type":"function",
    "function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"number"}}},"strict":false}}],"tool_choice":"auto","max_tokens":100,
    "temperature":0.5,"stop":["a","b"],"user":"u","metadata":{"k":"v"}}]] },
  { "/v1/chat/completions", [[{"model":"@","messages":[{"role":"developer","content":[{"type":"text","text":"d"}]},{"role":"user","content":[{"type":"text","text":"a"},
    {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]},
    {"role":"assistant","content":[{"type":"text","text":"x"},{"type":"refusal","refusal":"no"}],"refusal":null,"reasoning_content":"r"},{"role":"user","content":"z"}],
    "n":2,"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}},"tool_choice":{"type":"function","function":{"name":"f"}},
    "reasoning_effort":"low","logit_bias":{},"seed":7,"top_p":1,"max_completion_tokens":2000,"parallel_tool_calls":false,"modalities":["text"],"service_tier":"auto"}]] },
  { "/v1/chat/completions", [[{"model":"@","messages":[{"role":"user","name":"bob","content":"a"}],"tools":[{"type":"function","function":{"name":"f"}}],
    "tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}},"include":["x"],"truncation":"disabled",
    "top_k":3,"logprobs":true,"top_logprobs":2,"verbosity":"low","safety_identifier":"s","reasoning_summary":"auto","response_format":{"type":"json_object"},
    "prediction":{"type":"content","content":"x"},"web_search_options":{},"anthropic":{"thinking":{"type":"enabled"},"notes":[{"at":1,"block":{}}],"betas":["x"]}}]] },
  { "/v1/completions", [[{"model":"@","prompt":"once","stream":false,"max_tokens":5,"echo":false,"suffix":"","best_of":1,"n":1,"stop":"x"}]] },
  { "/v1/embeddings", [[{"model":"@","input":["a","b"],"encoding_format":"float","dimensions":3,"user":"u"}]] },
  { "/v1/responses", [[{"model":"@","stream":true,"instructions":"i","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},
    {"type":"input_image","image_url":"https://x.test/a.png","detail":"low"},{"type":"input_file","filename":"f.pdf","file_data":"data:application/pdf;base64,AAAA"}]},
    {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"e"},{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},
    {"type":"function_call_output","call_id":"c1","output":"o"},{"role":"assistant","content":[{"type":"output_text","text":"p"},{"type":"refusal","refusal":"n"}]},
    {"role":"user","content":"q"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true},{"type":"web_search"}],
    "tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]},"max_output_tokens":99,"reasoning":{"effort":"low","summary":"auto"},
    "text":{"format":{"type":"json_schema","name":"s","schema":{}},"verbosity":"low"},"include":["reasoning.encrypted_content"],"store":false,"truncation":"disabled"}]] },
  { "/v1/responses", [[{"model":"@","input":"hi","metadata":{"a":"b"},"parallel_tool_calls":true,"temperature":1,"previous_response_id":null}]] },
  { "/v1/messages", [[{"model":"@","max_tokens":1000,"stream":true,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[
    {"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"document","source":{"type":"text","media_type":"text/plain",
    "data":"d"},"title":"t"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"c1","name":"f","input":{"a":1}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"r"}]},{"type":"text","text":"b"}]}],"tools":[{"name":"f",
    "description":"d","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
    "thinking":{"type":"enabled","budget_tokens":2000},"metadata":{"user_id":"u"},"stop_sequences":["x"],"output_config":{"effort":"low","format":{"type":"json_schema","schema":{}}},
    "service_tier":"auto","top_k":5}]] },
  { "/v1/messages", [[{"model":"@","max_tokens":9,"system":"s","messages":[{"role":"user","content":"a"},{"role":"system","content":"m"},{"role":"assistant","content":"b"},
    {"role":"user","content":"c"}]}]] },
  { "/ui", [[{"id":"x","model":"@","trigger":"submit-message","messages":[{"id":"1","role":"system","parts":[{"type":"text","text":"s"}]},{"id":"2","role":"user","parts":[
    {"type":"text","text":"a"},{"type":"file","mediaType":"image/png","url":"data:image/png;base64,AAAA","filename":"a.png"},{"type":"file","mediaType":"audio/wav",
    "url":"data:audio/wav;base64,AAAA"}]},{"id":"3","role":"assistant","parts":[{"type":"step-start"},{"type":"reasoning","text":"r"},{"type":"text","text":"b"},{"type":"tool-f",
    "toolCallId":"c1","state":"output-available","input":{"a":1},"output":{"b":2}},{"type":"dynamic-tool","toolName":"g","toolCallId":"c2","state":"output-error","rawInput":"x",
    "errorText":"e"}]},{"id":"4","role":"user","parts":[{"type":"text","text":"c"}]}]}]] },
}

for _, r in ipairs(REQUESTS) do r.tree = assert(fuzz.parse(r[2])) end

-- ---- upstreams that answer whatever they are asked

local STREAMS = {
  openai = 'data: {"model":"m","choices":[{"index":0,"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
  anthropic = 'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ok"}}\n\ndata: {"type":"message_stop"}\n\n',
  gemini = 'data: {"candidates":[{"content":{"parts":[{"text":"ok"}]},"finishReason":"STOP"}]}\n\n',
  ollama = '{"message":{"content":"ok"},"done":true,"done_reason":"stop"}\n',
  responses = 'data: {"type":"response.output_text.delta","delta":"ok"}\n\ndata: {"type":"response.completed","response":{"output":[]}}\n\n',
}

local DOCUMENTS = {
  openai = '{"object":"list","data":[],"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}',
  anthropic = '{"type":"message","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn"}',
  gemini = '{"embeddings":[{"values":[1]}]}', ollama = '{"embeddings":[[1]]}', responses = '{"object":"response","output":[]}',
}

local function answer(embeds)
  return function(request)
    local who = request.url:match "^http://(%w+)"
    local tree = fuzz.parse(request.raw)
    local whole = embeds or (who ~= "gemini" and fuzz.text(tree and tree.kind == "object" and fuzz.members(tree).stream or { kind = "raw", text = "" }) ~= "true")
    local kind = whole and "application/json" or who == "ollama" and "application/x-ndjson" or "text/event-stream"
    return { t.head(200, { ["content-type"] = kind }), t.raw(whole and DOCUMENTS[who] or STREAMS[who]), t.close() }
  end
end

-- ---- what must hold

local OURS = { model = true, stream = true, stream_options = true }
local KEPT = { anthropic = true, encrypted_reasoning = true }      -- what other fronts keep so for one provider, and tell no other

-- What the members say that are not the gateway's own; null says nothing, and neither does an empty list of tools.
local function said(tree)
  local out = {}
  for name, node in pairs(fuzz.members(tree)) do
    local meaning = fuzz.meaning(node, KEPT)
    if not OURS[name] and not KEPT[name] and meaning ~= "null" and not (name == "tools" and meaning == "[]") then out[#out + 1] = name .. "=" .. meaning end
  end
  table.sort(out)
  return table.concat(out, "\n")
end

local function check(x, r, provider, body)
  local failed = fuzz.failed(x)
  assert(not failed, failed)
  assert(x.closed, "the stream has no end")
  assert(x.status == 200 or (x.status >= 400 and x.status < 500), ("status %s: %s"):format(tostring(x.status), x.body))
  if x.status ~= 200 then
    local tree = assert(fuzz.parse(x.body))
    assert.is_truthy(x.body:find '"message":"[^"]', "a refusal without a sentence")
    assert(#x.body < 2000, "a refusal that repeats what was sent: " .. x.body:sub(1, 100))
    assert.equal("object", tree.kind)
    assert(not x.body:find ": 0x", "a refusal that shows an address: " .. x.body)
  end
  for _, request in ipairs(x.upstream) do
    local tree, why = fuzz.parse(request.raw)
    assert(tree, "the upstream is asked with no JSON: " .. tostring(why))
    local asked = provider == "openai" and r[1] == "/v1/chat/completions" and fuzz.parse(body)
    if asked then assert.equal(said(asked), said(tree)) end
  end
end

local DIALECTS = { "openai", "anthropic", "gemini", "ollama", "responses" }
local PROVIDERS = { "openai", "openai", "anthropic", "gemini", "ollama", "responses" }

describe("requests of every front, changed at random", function()
  local g = assert(t.load { source = SOURCE })

  local function ask(path, body, gateway)
    local x = (gateway or g):start { method = "POST", path = path, headers = { host = "x", ["content-type"] = "application/json" }, body = body }
    x:play(answer(path:find "/embeddings" ~= nil))
    return x
  end

  local function play(random)
    local r, provider = one(random, REQUESTS), one(random, PROVIDERS)
    local body = fuzz.text(fuzz.mutated(random, r.tree, random(4) - 1)):gsub('"@"', '"' .. provider .. '"')
    if random(8) == 1 then body = fuzz.damaged(random, body, random(3)) end
    local path = (random(3) == 1 and "/f" or "") .. r[1]
    return ask(path, body), r, provider, body, path
  end

  it("are answered or refused, and reach upstreams as they were meant", function()
    for case, random in fuzz.cases(1000) do
      local x, r, provider, body, path = fuzz.quiet(play, random)
      local ok, why = pcall(check, x, r, provider, body)
      if not ok then error(("case %d (FUZZ_SEED=%d FUZZ_CASES=1): %s\n  asked %s: %s"):format(case, case, tostring(type(why) == "table" and why.message or why), path, body:sub(1, 3000)), 0) end
    end
  end)

  -- ---- what was found so

  local CHAT = '{"model":"%s",%s"messages":[{"role":"user","content":"%s"}]}'

  it("are asked for in UTF-8 where a client's was none", function()
    for _, path in ipairs { "/v1/chat/completions", "/f/v1/chat/completions" } do
      local x = ask(path, CHAT:format("openai", '"x":"\255",', "a\240\159b"))
      local members = fuzz.members(assert(fuzz.parse(x.upstream[1].raw)))
      assert.equal('"\u{FFFD}"', members.x.text)
      assert.equal('[{"content":"a\u{FFFD}b","role":"user"}]', fuzz.meaning(members.messages))
    end
  end)

  it("are refused in a sentence, however long a name is that a client made up", function()
    for _, model in ipairs { ("x"):rep(100000), ("\u{e9}"):rep(100000) } do
      local x = ask("/v1/chat/completions", CHAT:format(model, "", "hi"))
      assert.equal(404, x.status)
      assert.is_truthy(x.body:find('"There is no model \\"' .. model:sub(1, 2), 1, true))
      assert.is_true(#x.body < 700)
      assert(fuzz.parse(x.body))
    end
  end)

  it("are refused with words, not with addresses", function()
    for _, provider in ipairs { "gemini", "ollama" } do
      local x = ask("/v1/chat/completions", ('{"model":"%s","messages":[{"role":"user","content":[{"type":"x"}]}]}'):format(provider))
      assert.is_truthy(x.body:find("of type x", 1, true))
      x = ask("/v1/embeddings", ('{"model":"%s","input":"a","encoding_format":{}}'):format(provider))
      assert.is_truthy(x.body:find("encoding_format: an object", 1, true))
    end
  end)

  it("keep what only their server knows: what the Responses API calls so is nothing of chat's", function()
    local members = '"include":["x"],"truncation":"auto","max_tool_calls":3,"reasoning_summary":"auto",'
    local body = CHAT:format("openai", members, "hi")
    local x = ask("/v1/chat/completions", body)
    assert.equal(said(fuzz.parse(body)), said(fuzz.parse(x.upstream[1].raw)))
  end)

  it("may hold lists of anything", function()
    for _, members in ipairs { '"tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[1,null,{"function":2}]}},', '"include":5,', '"include":5,"logprobs":true,',
      '"response_format":false,' } do
      for _, provider in ipairs(PROVIDERS) do check(ask("/v1/chat/completions", CHAT:format(provider, members, "hi")), { "" }, provider) end
    end
  end)

  -- Items without end, up to the limit of a body. What a front and a dialect do with one takes longer than a hook of a policy may.
  local LONG = {
    { "/v1/chat/completions", '{"model":"@","messages":[', '{"role":"user","content":"a"}', "]}" },
    { "/v1/chat/completions", '{"model":"@","messages":[{"role":"user","content":[', '{"type":"text","text":"a"}', "]}]}" },
    { "/v1/responses", '{"model":"@","input":[', '{"role":"user","content":"a"}', "]}" },
    { "/v1/messages", '{"model":"@","max_tokens":1,"messages":[', '{"role":"user","content":"a"}', "]}" },
    { "/ui", '{"model":"@","messages":[', '{"role":"user","parts":[{"type":"text","text":"a"}]}', "]}" },
  }

  it("may be as long as a body may be", function()
    for i, l in ipairs(LONG) do
      local provider = DIALECTS[i]
      local open, item, close = l[2]:gsub("@", provider), l[3], l[4]
      local own = assert(t.load { source = SOURCE })     -- with memory of its own: no other's garbage is collected at this one's cost
      local x = ask(l[1], open .. (item .. ","):rep(((1 << 20) - #open - #close) // (#item + 1) - 1) .. item .. close, own)
      own:close()
      local failed = fuzz.failed(x)
      assert(not failed, failed)
      assert.equal(1, #x.upstream)
    end
  end)
end)
