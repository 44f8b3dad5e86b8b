-- What a client's words cannot be told to a provider is a 400 that names the field, for each front before each provider; it is never dropped.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local pairs_of = require "spec.policy.pairs"

local gateways = setmetatable({}, { __index = function(all, provider)
  local g = pairs_of.gateway(provider)
  rawset(all, provider, g)
  return g
end })

local function ask(front, provider, more)
  local want = pairs_of.request(front, { text = "Hi", stream = true }, more)
  want.upstream = { t.fail(500) }
  return gateways[provider]:ask(want)
end

local object = json.object
local AUDIO = { messages = { { role = "user", content = { { type = "input_audio", input_audio = { data = "UklG", format = "wav" } } } } } }
local FILE_ID = { messages = { { role = "user", content = { { type = "file", file = { file_id = "file-1" } } } } } }
local FILE_URL = { messages = { { role = "user", content = { { type = "file", file = { file_url = "https://x.test/a.pdf" } } } } } }
local CUSTOM = { tools = { { type = "custom", custom = { name = "c" } } } }

-- front -> list of { what is asked, { provider = what the sentence names, ... } }. false: this provider has a word for it.
local TABLE = {
  openai = {
    { { logit_bias = object { ["50256"] = -100 } }, { anthropic = "'logit_bias'", gemini = "'logit_bias'", ollama = "'logit_bias'", responses = "'logit_bias'", openai = false } },
    { { n = 2 }, { anthropic = "'n'", gemini = false, ollama = "'n'", responses = "'n'", openai = false } },
    { { seed = 7 }, { anthropic = "'seed'", gemini = false, ollama = false, responses = "'seed'", openai = false } },
    { { stop = { "END" } }, { anthropic = false, gemini = false, ollama = false, responses = "'stop'", openai = false } },
    { { presence_penalty = 1 }, { anthropic = "'presence_penalty'", gemini = false, ollama = false, responses = "'presence_penalty'", openai = false } },
    { { logprobs = true }, { anthropic = "'logprobs'", gemini = false, ollama = false, responses = false, openai = false } },
    { { prediction = { type = "content", content = "x" } }, { anthropic = "'prediction'", gemini = "'prediction'", ollama = "'prediction'", responses = "'prediction'", openai = false } },
    { { modalities = { "text", "audio" } }, { anthropic = "'modalities'", gemini = "'modalities'", ollama = "'modalities'", responses = "'modalities'", openai = false } },
    { { web_search_options = object {} , audio = { voice = "x", format = "wav" } }, { anthropic = "'audio'", gemini = "'audio'", ollama = "'audio'", responses = "'audio'", openai = false } },
    { { reasoning_effort = "extreme" }, { anthropic = "'reasoning_effort'", gemini = "'reasoning_effort", ollama = "'reasoning_effort", openai = false } },
    { { tool_choice = "required", tools = { { type = "function", ["function"] = { name = "f" } } } }, { anthropic = false, gemini = false, ollama = "'tool_choice", responses = false, openai = false } },
    { { response_format = { type = "json_object" } }, { anthropic = "'response_format'", gemini = false, ollama = false, responses = false, openai = false } },
    { { parallel_tool_calls = false }, { anthropic = false, gemini = "'parallel_tool_calls'", ollama = "'parallel_tool_calls'", responses = false, openai = false } },
    { { x_new = 1 }, { gemini = "'x_new'", ollama = "'x_new'", responses = "'x_new'", openai = false } },
    { AUDIO, { anthropic = "'messages[0].content[0].input_audio'", gemini = false, ollama = false, responses = false, openai = false } },
    { FILE_ID, { anthropic = "'messages[0].content[0].file'", gemini = "'messages[0].content[0].file", ollama = "'messages[0].content[0] of type file'", responses = false, openai = false } },
    { FILE_URL, { anthropic = "'messages[0].content[0].file'", gemini = "'messages[0].content[0].file", ollama = "'messages[0].content[0] of type file'", responses = false, openai = "'messages[0]'" } },
    { CUSTOM, { anthropic = "'tools[0]'", gemini = "'tools[0] of type custom'", ollama = "'tools[0] of type custom'", responses = "'tools[0]'", openai = false } },
    { { messages = { { role = "user", content = "x", name = "ann" } } }, { anthropic = "'messages[0].name'", gemini = "'messages[0].name'", ollama = "'messages[0].name'", openai = false } },
  },
  completions = {
    { { suffix = "x" }, { anthropic = "'suffix'", gemini = "'suffix'", ollama = "'suffix'", responses = "'suffix'", openai = "'suffix'" } },
    { { logprobs = 3 }, { anthropic = "'logprobs'", gemini = false, ollama = false, responses = false, openai = false } },
    { { logprobs = -1 }, { anthropic = "'logprobs'", gemini = "'logprobs'", ollama = "'logprobs'", responses = "'logprobs'", openai = "'logprobs'" } },
    { { best_of = 3 }, { anthropic = "'best_of'", gemini = "'best_of'", ollama = "'best_of'", responses = "'best_of'", openai = "'best_of'" } },
    { { logit_bias = object { ["1"] = 2 } }, { anthropic = "'logit_bias'", gemini = "'logit_bias'", ollama = "'logit_bias'", responses = "'logit_bias'", openai = false } },
  },
  responses = {
    { { previous_response_id = "resp_1" }, { anthropic = "'previous_response_id'", gemini = "'previous_response_id'", ollama = "'previous_response_id'", responses = false, openai = "'previous_response_id'" } },
    { { conversation = "conv_1" }, { anthropic = "'conversation'", gemini = "'conversation'", ollama = "'conversation'", responses = "'conversation'", openai = "'conversation'" } },
    { { tools = { { type = "web_search" } } }, { anthropic = "'tools[0]'", gemini = "'tools[0] of type web_search'", ollama = "'tools[0] of type web_search'", openai = "'tools[0]'", responses = false } },
    { { truncation = "auto" }, { anthropic = "'truncation'", gemini = "'truncation", ollama = "'truncation", openai = "'truncation'", responses = false } },
    { { max_tool_calls = 2 }, { anthropic = "'max_tool_calls'", gemini = "'max_tool_calls'", ollama = "'max_tool_calls'", openai = "'max_tool_calls'", responses = false } },
    { { include = { "reasoning.encrypted_content" }, truncation = "disabled", reasoning = { summary = "auto" } }, { anthropic = false, gemini = false, ollama = false, openai = false, responses = false } },
    { { include = { "message.output_text.logprobs" }, top_logprobs = 1 }, { anthropic = "'logprobs'", gemini = false, ollama = false, openai = false, responses = false } },
    { { include = { "file_search_call.results" } }, { anthropic = "'include'", gemini = "'include'", ollama = "'include'", openai = "'include'", responses = false } },
    { { input = { { type = "item_reference", id = "x" } } }, { anthropic = "'input[0]'", gemini = "'input[0]'", ollama = "'input[0]'", responses = false, openai = "'input[0]'" }, 404 },
  },
  anthropic = {
    { { tools = { { type = "web_search_20250305", name = "web_search" } } }, { gemini = "'tools[0]", ollama = "'tools[0]", openai = "'tools[0]", responses = "'tools[0]", anthropic = false } },
    { { messages = { { role = "user", content = { { type = "search_result", source = "s", title = "t", content = { { type = "text", text = "x" } } } } } } },
      { gemini = "'messages[0].content[0]", ollama = "'messages[0].content[0]", openai = "'messages[0].content[0]", responses = "'messages[0].content[0]", anthropic = false } },
    { { container = "c_1" }, { gemini = "'container'", ollama = "'container'", openai = "'container'", responses = "'container'", anthropic = false } },
    { { top_k = 5 }, { gemini = false, ollama = false, openai = false, responses = "'top_k'", anthropic = false } },
    { { stop_sequences = { "END" } }, { gemini = false, ollama = false, openai = false, responses = "'stop'", anthropic = false } },
  },
  ui = {
    { { messages = { { id = "1", role = "user", parts = { { type = "file", mediaType = "application/pdf", url = "https://x.test/a.pdf" } } } } },
      { anthropic = "'messages[0].content[0].file'", gemini = "'messages[0].content[0].file", ollama = "'messages[0].content[0] of type file'", openai = "'messages[0]'", responses = false } },
    { { messages = { { id = "1", role = "user", parts = { { type = "file", mediaType = "audio/wav", url = "data:audio/wav;base64,UklG" } } } } },
      { anthropic = "'messages[0].content[0].input_audio'", gemini = false, ollama = false, openai = false, responses = false } },
  },
}

for front, rows in pairs(TABLE) do
  describe("front " .. front, function()
    for _, row in ipairs(rows) do
      for _, provider in ipairs(pairs_of.providers) do
        local more, named = row[1], row[2][provider]
        if named ~= nil then
          it(("before %s: %s %s"):format(provider, json.encode(object(more)):sub(1, 120), named and "names " .. named or "is told"), function()
            local x = ask(front, provider, more)
            if not named then
              assert.equal(1, #x.upstream, x.body)
              return
            end
            assert.equal(0, #x.upstream, x.upstream[1] and x.upstream[1].raw)
            assert.equal(row[3] or 400, x.status)
            assert.is_truthy(x.error.message:find(named, 1, true), x.error.message)
          end)
        end
      end
    end
  end)
end

describe("what is kept for Anthropic alone", function()
  local BODY = [[{"model":"public","max_tokens":100,"stream":true,"metadata":{"user_id":"u","x":1},"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
    "tools":[{"name":"f","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]},
    {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"tool_use","id":"c","name":"f","input":{},"cache_control":{"type":"ephemeral"}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"7","cache_control":{"type":"ephemeral"}}]}]}]]

  for _, provider in ipairs { "gemini", "ollama", "openai", "responses" } do
    it("reaches no other provider: " .. provider, function()
      local x = gateways[provider]:ask { method = "POST", path = pairs_of.path.anthropic, headers = { host = "test", ["anthropic-beta"] = "b-1" }, body = BODY, upstream = { t.fail(500) }, no_shake = true }
      assert.equal(1, #x.upstream, x.body)
      for _, word in ipairs { "anthropic", "ephemeral", "b-1", "signature\"" } do assert.is_nil(x.upstream[1].raw:find(word, 1, true), x.upstream[1].raw) end
    end)
  end
end)
