-- The dialect "responses": items become messages and back, what is refused, and the named events that clients are told.
local json = require "sluice.testing.json"
local ask = require("spec.policy.dialect")().ask

local function read(body) return ask { call = "read", dialect = "responses", body = body } end
local function request(body, dialect) return ask { call = "request", dialect = dialect or "responses", front = "responses", body = body } end

-- A conversation as clients that keep it themselves send it.
local TALK = [[{"model":"smart","stream":true,"store":false,"instructions":"Be brief.","include":["reasoning.encrypted_content"],"max_output_tokens":99,"previous_response_id":null,
  "reasoning":{"effort":"low","summary":"auto"},"text":{"verbosity":"low","format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}},
  "tools":[{"type":"function","name":"weather","description":"w","parameters":{"type":"object"},"strict":true}],"tool_choice":{"type":"function","name":"weather"},
  "input":[{"role":"developer","content":"Mind."},
    {"role":"user","content":[{"type":"input_text","text":"What?"},{"type":"input_image","image_url":"https://x.test/a.png","detail":"low"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AA=="}]},
    {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm."},{"type":"summary_text","text":"So."}],"encrypted_content":"ENC"},
    {"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Let me see.","annotations":[]}]},
    {"type":"function_call","id":"fc_1","call_id":"c1","name":"weather","arguments":"{\"city\":\"Köln\"}"},{"type":"function_call","call_id":"c2","name":"weather","arguments":"{}"},
    {"type":"function_call_output","call_id":"c1","output":"7"},{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"8"}]},
    {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Seven."},{"type":"refusal","refusal":"No more."}]},
    {"role":"user","content":"Thanks"}]}]]

local function call(id, arguments) return { id = id, type = "function", ["function"] = { name = "weather", arguments = arguments } } end

describe("a client's response", function()
  it("becomes messages, tools and params of chat completions", function()
    assert.same({
      model = "smart", stream = true, include_usage = true,
      messages = {
        { role = "system", content = "Be brief.", instructions = true }, { role = "developer", content = "Mind." },
        { role = "user", content = { { type = "text", text = "What?" }, { type = "image_url", image_url = { url = "https://x.test/a.png", detail = "low" } },
          { type = "file", file = { filename = "a.pdf", file_data = "data:application/pdf;base64,AA==" } } } },
        { role = "assistant", content = "Let me see.", reasoning_content = "Hm.\n\nSo.", encrypted_reasoning = { id = "rs_1", content = "ENC" }, tool_calls = { call("c1", '{"city":"Köln"}'), call("c2", "{}") } },
        { role = "tool", tool_call_id = "c1", content = "7" }, { role = "tool", tool_call_id = "c2", content = "8" },
        { role = "assistant", content = "Seven.", refusal = "No more." }, { role = "user", content = "Thanks" },
      },
      tools = { { type = "function", ["function"] = { name = "weather", description = "w", parameters = { type = "object" }, strict = true } } },
      params = {
        store = false, include = { "reasoning.encrypted_content" }, max_completion_tokens = 99, reasoning_effort = "low", reasoning_summary = "auto", verbosity = "low",
        response_format = { type = "json_schema", json_schema = { name = "n", strict = true, schema = { type = "object" } } }, tool_choice = { type = "function", ["function"] = { name = "weather" } },
      },
    }, read(TALK))
  end)

  it("goes on to the Responses API with the same meaning", function()
    local body, sent = request(TALK).body, json.decode(TALK)
    for _, name in ipairs { "instructions", "include", "max_output_tokens", "reasoning", "text", "tools", "tool_choice", "store" } do assert.same(sent[name], body[name], name) end
    for i, item in ipairs(sent.input) do
      item.type = item.type or "message"
      if item.type ~= "reasoning" then item.id = nil end
      item.status = nil
      for _, part in ipairs(type(item.content) == "table" and item.content or {}) do part.annotations = nil end
      if item.call_id == "c2" and item.output then item.output = "8" end
      if item.summary then item.summary = { { type = "summary_text", text = "Hm.\n\nSo." } } end
      assert.same(item, body.input[i])
    end
    assert.equal(#sent.input, #body.input)
  end)

  it("goes on to chat completions", function()
    local body = request(TALK, "openai").body
    assert.same({ 8, 99, "low", "low", nil, nil }, { #body.messages, body.max_completion_tokens, body.reasoning_effort, body.verbosity, body.include, body.reasoning_summary })
    assert.is_nil(body.messages[4].encrypted_reasoning)
  end)

  it("may be a text", function() assert.same({ { role = "user", content = "Hi" } }, read({ input = "Hi" }).messages) end)

  it("keeps a message whose model only thought before it was cut", function()
    assert.same({ { role = "user", content = "Hi" } }, read({ input = { { role = "user", content = "Hi" }, { type = "reasoning", id = "r", summary = { { type = "summary_text", text = "Hm" } } } } }).messages)
  end)

  for body, said in pairs {
    ['{}'] = "'input' must be a text or a list of items, is missing", ['{"input":[]}'] = "'input' must hold at least one item",
    ['{"input":"x","conversation":"c"}'] = "'conversation' is not", ['{"input":"x","background":true}'] = "'background' is not", ['{"input":"x","prompt":{"id":"p"}}'] = "'prompt' is not",
    ['{"input":[{"type":"item_reference"}]}'] = "'input[0].id' must be a text, is missing", ['{"input":[{"type":"computer_call"}]}'] = "an item of type \"computer_call\"",
    ['{"input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}'] = "'input[0].content[0].file_id' is not", ['{"input":[{"role":"user","content":[{"type":"text","text":"x"}]}]}'] = "'input[0].content[0].type' is \"text\", which is not known",
    ['{"input":[{"role":"user","content":[{"type":"input_file"}]}]}'] = "must hold file_data, file_url or file_id", ['{"input":[{"role":"bot","content":"x"}]}'] = "'input[0].role' must be one of user, assistant",
    ['{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}'] = "'input[0].call_id' must be a text, is missing", ['{"input":"x","tools":[{"type":"function"}]}'] = "'tools[0].name' must be a text, is missing",
    ['{"input":"x","reasoning":"high"}'] = "'reasoning' must be an object", ['{"input":"x","instructions":["a"]}'] = "'instructions' must be a text, is a list",
  } do
    it("is refused: " .. body, function()
      local _, err = read(body)
      assert.equal(400, err.status)
      assert.is_truthy(err.message:find(said, 1, true))
    end)
  end
end)

describe("a tool of the Responses API", function()
  local body = { input = "x", tools = { { type = "web_search", filters = { a = 1 } } } }
  it("passes to it", function() assert.same(body.tools, request(body).body.tools) end)
  it("is refused by other providers", function() assert.equal("param_not_supported", select(2, request(body, "openai")).code) end)
end)

describe("a chat completion for the Responses API", function()
  local function chat(more)
    local body = { messages = { { role = "user", content = "Hi" } } }
    for k, v in pairs(more) do body[k] = v end
    return ask { call = "request", dialect = "responses", front = "openai", body = body, model = { model = "gpt-5", key = "K" } }
  end

  it("is stored nowhere, and its tools stay as strict as they were", function()
    local r = chat { max_tokens = 9, n = 1, stop = json.null, presence_penalty = 0, logprobs = true, user = "u", tools = { { type = "function", ["function"] = { name = "f" } } } }
    assert.same({
      path = "/responses", headers = { ["Content-Type"] = "application/json", Accept = "text/event-stream", Authorization = { "Bearer ", "K" } },
      body = { model = "gpt-5", stream = true, store = false, input = { { type = "message", role = "user", content = "Hi" } }, max_output_tokens = 9, user = "u",
        include = { "message.output_text.logprobs" }, tools = { { type = "function", name = "f", strict = false } } },
    }, r)
  end)

  it("leaves reasoning out that another model wrote", function()
    local r = chat { messages = { { role = "user", content = "Hi" }, { role = "assistant", content = "Ho", reasoning_content = "Hm" }, { role = "user", content = "?" } } }
    assert.same({ "message", "message", "message" }, { r.body.input[1].type, r.body.input[2].type, r.body.input[3].type })
    assert.equal(3, #r.body.input)
  end)

  for name, v in pairs { n = 2, stop = "x", seed = 7, presence_penalty = 1, logit_bias = { ["5"] = 1 }, modalities = { "audio" }, top_k = 5, x_unknown = true, functions = { { name = "f" } } } do
    it("is refused for " .. name, function()
      local _, err = chat { [name] = v }
      assert.same({ 400, "param_not_supported", ("'%s' cannot be told to this model (provider \"responses\")"):format(name) }, { err.status, err.code, err.message })
    end)
  end
end)

-- ---- what clients are told

local STEPS = {
  { channel = "reasoning", texts = { "Hm", "." } }, { channel = "content", texts = { "Hel", "lo" } }, { channel = "refusal", texts = { "No" } },
  { tool = { id = "c1", name = "f", arguments = '{"a": 1}' } }, { channel = "content", texts = { "!" } },
}
local USAGE = { input = 10, output = 20, cached = 4, reasoning = 6 }

local function events(more)
  local want, out = { call = "play", dialect = "responses", steps = STEPS }, {}
  for k, v in pairs(more or {}) do want[k] = v end
  for name, data in ask(want):gmatch "event: ([^\n]*)\ndata: ([^\n]*)\n\n" do
    out[#out + 1] = json.decode(data)
    assert.equal(name, out[#out].type)
    assert.equal(#out - 1, out[#out].sequence_number)
  end
  return out
end

local function of_type(all, kind)
  local out = {}
  for _, e in ipairs(all) do if e.type == "response." .. kind then out[#out + 1] = e end end
  return out
end

describe("a stream of named events", function()
  it("has OpenAI's order", function()
    local kinds = {}
    for i, e in ipairs(events()) do kinds[i] = e.type:gsub("^response%.", "") end
    assert.same({
      "created", "in_progress",
      "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
      "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done", "content_part.done",
      "content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done",
      "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
      "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
      "completed",
    }, kinds)
  end)

  it("is put together by its indices and ids to what it ends with, which is the whole document too", function()
    local all = events { usage = USAGE, finish = { "tool_calls" } }
    local output = {}
    for _, e in ipairs(all) do
      local item = e.output_index and output[e.output_index + 1]
      if e.item_id then assert.equal(item.id, e.item_id) end
      if e.type == "response.output_item.added" then
        assert.equal(#output, e.output_index)
        output[#output + 1] = e.item
      elseif e.type == "response.content_part.added" then
        assert.equal(#item.content, e.content_index)
        item.content[e.content_index + 1] = e.part
      elseif e.type == "response.reasoning_summary_part.added" then
        item.summary[e.summary_index + 1] = e.part
      elseif e.type == "response.output_text.delta" then
        item.content[e.content_index + 1].text = item.content[e.content_index + 1].text .. e.delta
      elseif e.type == "response.refusal.delta" then
        item.content[e.content_index + 1].refusal = item.content[e.content_index + 1].refusal .. e.delta
      elseif e.type == "response.reasoning_summary_text.delta" then
        item.summary[e.summary_index + 1].text = item.summary[e.summary_index + 1].text .. e.delta
      elseif e.type == "response.function_call_arguments.delta" then
        item.arguments = item.arguments .. e.delta
      elseif e.type == "response.output_item.done" then
        item.status = e.item.status
        assert.same(e.item, item)
      end
    end
    local last = all[#all].response
    assert.same(last.output, output)
    assert.same({ "completed", "resp_0123456789abcdef01234567", "smart", 1731000000, 30, 4, 6 },
      { last.status, last.id, last.model, last.created_at, last.usage.total_tokens, last.usage.input_tokens_details.cached_tokens, last.usage.output_tokens_details.reasoning_tokens })
    assert.same(last, ask { call = "whole", dialect = "responses", steps = STEPS, usage = USAGE, finish = { "tool_calls" } })
  end)

  it("is incomplete when it was cut, and says why", function()
    for word, reason in pairs { length = "max_output_tokens", content_filter = "content_filter" } do
      local all = events { steps = { { channel = "content", texts = { "a" } } }, finish = { word } }
      local r = all[#all].response
      assert.same({ "response.incomplete", "incomplete", reason, "incomplete" }, { all[#all].type, r.status, r.incomplete_details.reason, r.output[1].status })
    end
  end)

  it("tells the params that held", function()
    local all = events { req = { messages = {}, params = { temperature = 0.5, reasoning_effort = "low", max_completion_tokens = 9, metadata = { a = "b" },
      response_format = { type = "json_schema", json_schema = { name = "n", schema = {} } }, tool_choice = { type = "function", ["function"] = { name = "f" } } } } }
    local r = all[1].response
    assert.same({ 0.5, "low", 9, "b", "n", "f", "in_progress" }, { r.temperature, r.reasoning.effort, r.max_output_tokens, r.metadata.a, r.text.format.name, r.tool_choice.name, r.status })
  end)

  it("tells a failure to both kinds of clients", function()
    local all = events { steps = { STEPS[2] }, fault = { status = 502, code = "upstream_reset", message = "It broke." } }
    assert.same({ "error", "upstream_reset", "It broke.", "server_error" }, { all[#all - 1].type, all[#all - 1].code, all[#all - 1].error.message, all[#all - 1].error.type })
    assert.same({ "response.failed", "failed", "server_error", "It broke." }, { all[#all].type, all[#all].response.status, all[#all].response.error.code, all[#all].response.error.message })
  end)

  it("has one choice", function()
    assert.equal(0, #of_type(events { steps = { { channel = "content", texts = { "a" }, choice = 1 }, { tool = { id = "c", name = "f", arguments = "{}" }, choice = 1 } } }, "output_item.added"))
  end)
end)

describe("a provider's error", function()
  it("is read", function() assert.same({ message = "M", code = "C", type = "T" }, ask { call = "error", dialect = "responses", status = 400, body = { error = { message = "M", type = "T", code = "C" } } }) end)
end)
