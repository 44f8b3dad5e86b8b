-- The dialect "openai" and its neighbours: what clients' requests become, what is asked of a provider, what clients are told.
local json = require "sluice.testing.json"
local ask = require("spec.policy.dialect")().ask

local function read(body, dialect) return ask { call = "read", dialect = dialect or "openai", body = body } end

local function refusal(body, dialect)
  local _, err = read(body, dialect)
  assert.equal(400, err.status)
  return err.message, err.code
end

local HI = { { role = "user", content = "Hi" } }

local function chat(more)
  local body = { messages = HI }
  for k, v in pairs(more) do body[k] = v end
  return body
end

describe("a client's chat completion", function()
  it("is taken apart no further than need be", function()
    local req = assert(read [[{"model":"smart","stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"seed":null,"x_unknown":{"a":[1]},"tools":[],
      "messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":"https://x.test/a.png"}}]},
        {"role":"assistant","content":null,"refusal":null,"audio":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"7"}]}]])
    assert.same({
      model = "smart", stream = true, include_usage = true, params = { temperature = 0.5, x_unknown = { a = { 1 } } },
      messages = {
        { role = "system", content = "Be brief." },
        { role = "user", content = { { type = "text", text = "What?" }, { type = "image_url", image_url = { url = "https://x.test/a.png" } } } },
        { role = "assistant", tool_calls = { { id = "c1", type = "function", ["function"] = { name = "f", arguments = "{}" } } } },
        { role = "tool", tool_call_id = "c1", content = "7" },
      },
    }, req)
  end)

  it("that does not stream wants no usage event", function()
    local req = read(chat { stream_options = { include_usage = true } })
    assert.is_false(req.stream)
    assert.is_nil(req.include_usage)
  end)

  it("that streams and does not ask for usage is told none, also where bytes pass", function()
    assert.is_false(read(chat { stream = true }).include_usage)
    assert.is_false(read(chat { stream = true, stream_options = { include_usage = false } }).include_usage)
  end)

  for body, said in pairs {
    ["{"] = "the body is no JSON: ", ["[]"] = "the body must be a JSON object", ["{}"] = "'messages' must be a list of messages, is missing",
    ['{"messages":{}}'] = "'messages' must be a list of messages, is an object", ['{"messages":[]}'] = "'messages' must hold at least one message",
    ['{"messages":["x"]}'] = "'messages[0]' must be an object, is the text \"x\"", ['{"messages":[{"content":"x"}]}'] = "'messages[0].role' must be one of system, developer, user, assistant, tool, is missing",
    ['{"messages":[{"role":"bot","content":"x"}]}'] = "is the text \"bot\"", ['{"messages":[{"role":"user"}]}'] = "'messages[0].content' is missing",
    ['{"messages":[{"role":"user","content":7}]}'] = "'messages[0].content' must be a text or a list of parts, is 7",
    ['{"messages":[{"role":"user","content":[{"text":"x"}]}]}'] = "'messages[0].content[0].type' must be a word such as text or image_url, is missing",
    ['{"messages":[{"role":"user","content":[{"type":"text"}]}]}'] = "'messages[0].content[0].text' must be a text, is missing",
    ['{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"x"}]}]}'] = "'messages[0].content[0].image_url' must be an object such as",
    ['{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}]}]}'] = "'messages[0].tool_calls[0].function.arguments' must be JSON in a text, is an object",
    ['{"messages":[{"role":"tool","content":"x"}]}'] = "'messages[0].tool_call_id' must be a text, is missing",
    ['{"messages":[{"role":"user","content":"x"}],"stream":"yes"}'] = "'stream' must be true or false, is the text \"yes\"",
    ['{"messages":[{"role":"user","content":"x"}],"model":4}'] = "'model' must be a text: the name of a model, is 4",
    ['{"messages":[{"role":"user","content":"x"}],"tools":{}}'] = "'tools' must be a list, is an object",
    ['{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}'] = "'tools[0].function' must be an object { name, description, parameters }, is missing",
  } do
    it("is refused: " .. body, function() assert.is_truthy(refusal(body):find(said, 1, true)) end)
  end
end)

describe("a failure", function()
  local function told(err) return ask { call = "error", dialect = "openai", err = err }.error end

  it("has OpenAI's words for its type, and the field that its sentence begins with", function()
    for status, word in pairs { [400] = "invalid_request_error", [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error", [413] = "invalid_request_error", [429] = "rate_limit_error", [502] = "server_error" } do
      assert.equal(word, told { status = status, code = "x", message = "No." }.type)
    end
    assert.equal("policy_error", told { status = 400, type = "policy_error", code = "x", message = "No." }.type)
    assert.same({ message = "'messages[0].role' must be a word", type = "invalid_request_error", param = "messages[0].role", code = "x" },
      told { status = 400, code = "x", message = "'messages[0].role' must be a word" })
  end)
end)

describe("the request for a provider", function()
  local function request(more)
    local want = { call = "request", dialect = "openai", req = { messages = HI } }
    for k, v in pairs(more) do want[k] = v end
    return ask(want)
  end

  it("asks for a stream and its usage", function()
    local r = request { req = { messages = HI, params = { temperature = 0, x_unknown = 1 } }, model = { model = "gpt-4o", key = "K" } }
    assert.same({ path = "/chat/completions", headers = { ["Content-Type"] = "application/json", Accept = "text/event-stream", Authorization = { "Bearer ", "K" } },
      body = { model = "gpt-4o", stream = true, stream_options = { include_usage = true }, messages = HI, temperature = 0, x_unknown = 1 } }, r)
  end)

  it("says nothing of usage to a server that refuses it", function() assert.is_nil(request { model = { model = "m", options = { usage = false } } }.body.stream_options) end)

  it("lies below a deployment on Azure, with the key in its header", function()
    local r = request { model = { model = "gpt 4/o", key = "K", options = { azure = { api_version = "2024-10-21" } } } }
    assert.equal("/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21", r.path)
    assert.same({ "K" }, r.headers["api-key"])
    assert.is_nil(r.headers.Authorization)
    r = request { model = { model = "gpt-4o", options = { azure = { api_version = "v", deployment = "mine" } } } }
    assert.equal("/openai/deployments/mine/chat/completions?api-version=v", r.path)
  end)

  it("leaves out what clients of the Responses API are only offered", function()
    local r = request { req = { dialect = "responses", messages = { { role = "assistant", content = "a", encrypted_reasoning = { content = "E" } } },
      params = { include = { "reasoning.encrypted_content" }, reasoning_summary = "auto", truncation = "disabled", reasoning_effort = "low" } } }
    assert.same({ model = "m", stream = true, stream_options = { include_usage = true }, messages = { { role = "assistant", content = "a" } }, reasoning_effort = "low" }, r.body)
  end)

  for name, req in pairs {
    include = { params = { include = { "web_search_call.action.sources" } } }, truncation = { params = { truncation = "auto" } }, max_tool_calls = { params = { max_tool_calls = 3 } },
    ["tools[0]"] = { tools = { { type = "web_search" } } },
    ["messages[0]"] = { messages = { { role = "user", content = { { type = "file", file = { file_url = "https://x.test/a.pdf" } } } } } },
  } do
    it("is refused for " .. name, function()
      req.messages = req.messages or HI
      local r, err = request { req = req }
      assert.is_nil(r)
      assert.equal("param_not_supported", err.code)
      assert.is_truthy(err.message:find("'" .. name .. "'", 1, true))
    end)
  end

  it("passes tools on that only the server knows", function()
    local tools = { { type = "builtin_function", ["function"] = { name = "$web_search" } }, { type = "custom", custom = { name = "c" } } }
    assert.same(tools, request { req = { messages = HI, tools = tools } }.body.tools)
  end)
end)

describe("a provider's error", function()
  for body, e in pairs {
    ['{"error":{"message":"M","type":"T","code":"C"}}'] = { message = "M", type = "T", code = "C" }, ['{"error":{"message":"M","code":404}}'] = { message = "M", code = "404" },
    ['{"error":"M"}'] = { message = "M" }, ['{"object":"error","message":"M","type":"T","code":null}'] = { message = "M", type = "T" }, ['{"detail":"M"}'] = { message = "M" },
    ['{"detail":[{"msg":"x"}]}'] = {}, ['[1]'] = {}, ['"x"'] = {},
  } do
    it(body, function() assert.same(e, ask { call = "error", dialect = "openai", status = 400, body = json.decode(body, 1, nil) }) end)
  end
end)

-- ---- what clients are told

local USAGE = { input = 10, output = 20, cached = 4, reasoning = 6 }

local STEPS = {
  { channel = "reasoning", texts = { "Hm", "." } }, { channel = "content", texts = { "Hel", "lo \"x\"" } }, { tool = { id = "c1", name = "f", arguments = '{"a": 1}' } },
  { tool = { id = "c2", name = "g", arguments = "" } }, { channel = "content", texts = { "!" } },
}

local function events(bytes)
  local out = {}
  for data in bytes:gmatch "data: ([^\n]*)\n\n" do out[#out + 1] = json.decode(data) or data end
  return out
end

local function play(dialect, more)
  local want = { call = "play", dialect = dialect, steps = STEPS }
  for k, v in pairs(more or {}) do want[k] = v end
  return ask(want)
end

describe("a stream of chat chunks", function()
  it("is a role, deltas, whole calls, the reason, usage if it was asked for, the mark", function()
    local deltas, all = {}, events(play("openai", { finish = { "tool_calls" }, usage = USAGE, include_usage = true }))
    for i = 1, #all - 3 do deltas[i] = all[i].choices[1].delta end
    local function call(index, id, name, arguments) return { tool_calls = { { index = index, id = id, type = "function", ["function"] = { name = name, arguments = arguments } } } } end
    assert.same({ { role = "assistant", content = "" }, { reasoning_content = "Hm" }, { reasoning_content = "." }, { content = "Hel" }, { content = "lo \"x\"" },
      call(0, "c1", "f", '{"a": 1}'), call(1, "c2", "g", ""), { content = "!" } }, deltas)
    local last = all[#all - 2]
    assert.same({ "chat.completion.chunk", 1731000000, "smart", "tool_calls" }, { last.object, last.created, last.model, last.choices[1].finish_reason })
    assert.same({ {}, { prompt_tokens = 10, completion_tokens = 20, total_tokens = 30, prompt_tokens_details = { cached_tokens = 4 }, completion_tokens_details = { reasoning_tokens = 6 } } },
      { all[#all - 1].choices, all[#all - 1].usage })
    assert.equal("[DONE]", all[#all])
  end)

  it("tells usage only to who asked", function()
    local bytes = play("openai", { usage = USAGE })
    assert.is_nil(bytes:find("usage", 1, true))
    assert.is_truthy(bytes:find('"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n', 1, true))
  end)

  it("tells several choices by their numbers", function()
    local all = events(play("openai", { n = 2, steps = { { channel = "content", texts = { "a" }, choice = 1 }, { tool = { id = "c", name = "f", arguments = "{}" }, choice = 1 } }, finish = { "stop", "tool_calls" } }))
    local numbers = {}
    for i = 1, #all - 1 do numbers[i] = all[i].choices[1].index end
    assert.same({ 0, 1, 1, 1, 0, 1 }, numbers)
    assert.equal(0, all[4].choices[1].delta.tool_calls[1].index)
  end)

  it("says the same as the whole document", function()
    assert.same({
      id = "chatcmpl-0123456789abcdef01234567", object = "chat.completion", created = 1731000000, model = "smart",
      choices = { { index = 0, finish_reason = "tool_calls", message = { role = "assistant", content = "Hello \"x\"!", reasoning_content = "Hm.",
        tool_calls = { { id = "c1", type = "function", ["function"] = { name = "f", arguments = '{"a": 1}' } }, { id = "c2", type = "function", ["function"] = { name = "g", arguments = "" } } } } } },
      usage = { prompt_tokens = 10, completion_tokens = 20, total_tokens = 30, prompt_tokens_details = { cached_tokens = 4 }, completion_tokens_details = { reasoning_tokens = 6 } },
    }, ask { call = "whole", dialect = "openai", steps = STEPS, finish = { "tool_calls" }, usage = USAGE })
  end)

  it("tells a failure as its last event", function()
    local all = events(play("openai", { steps = {}, fault = { status = 502, code = "upstream_reset", message = "It broke." } }))
    assert.same({ error = { message = "It broke.", type = "server_error", code = "upstream_reset" } }, all[#all])
  end)
end)

describe("legacy completions", function()
  it("are a user's message and its answer", function()
    local req = assert(read({ prompt = { "Once" }, max_tokens = 5, echo = false, best_of = 1, suffix = "", stream = true, model = "m" }, "openai_completions"))
    assert.same({ model = "m", stream = true, include_usage = false, messages = { { role = "user", content = "Once" } }, params = { max_tokens = 5 } }, req)
    local text, all = "", events(play("openai_completions", { usage = USAGE, include_usage = true }))
    for i = 1, #all - 2 do text = text .. all[i].choices[1].text end
    assert.same({ 'Hello "x"!', "text_completion", "stop", 30, "[DONE]" }, { text, all[1].object, all[#all - 2].choices[1].finish_reason, all[#all - 1].usage.total_tokens, all[#all] })
    local whole = ask { call = "whole", dialect = "openai_completions", steps = STEPS, usage = USAGE }
    assert.same({ 'Hello "x"!', "stop", 30 }, { whole.choices[1].text, whole.choices[1].finish_reason, whole.usage.total_tokens })
  end)

  for body, said in pairs {
    ['{}'] = "'prompt' must be a text", ['{"prompt":["a","b"]}'] = "'prompt' may be one text only", ['{"prompt":[1,2]}'] = "a list of tokens cannot be read here", ['{"prompt":[[1]]}'] = "a list of tokens",
    ['{"prompt":"a","suffix":"x"}'] = "'suffix' is not supported", ['{"prompt":"a","echo":true}'] = "'echo' is not", ['{"prompt":"a","best_of":2}'] = "'best_of' is not", ['{"prompt":"a","logprobs":-1}'] = "'logprobs' must be a whole number from 0 to 5",
  } do
    it("are refused: " .. body, function() assert.is_truthy(refusal(body, "openai_completions"):find(said, 1, true)) end)
  end
end)

describe("embeddings", function()
  it("are asked for with each text as a message", function()
    local body = { model = "e", input = { "one", "two" }, encoding_format = "base64" }
    local req = assert(read(body, "openai_embeddings"))
    assert.same({ { role = "user", content = "one" }, { role = "user", content = "two" } }, req.messages)
    local r = ask { call = "embed", dialect = "openai", front = "openai_embeddings", body = body, model = { model = "text-embedding-3-small", key = "K" } }
    assert.same({ "/embeddings", { "Bearer ", "K" }, { model = "text-embedding-3-small", input = { "one", "two" }, encoding_format = "base64" } }, { r.path, r.headers.Authorization, r.body })
    assert.same({ "one" }, ask({ call = "embed", dialect = "openai", front = "openai_embeddings", body = { input = "one" } }).body.input)
  end)

  for body, said in pairs { ['{}'] = "'input' must be a text or a list of texts, is missing", ['{"input":[]}'] = "'input' must hold at least one text", ['{"input":[1]}'] = "a list of tokens", ['{"input":[[1]]}'] = "a list of tokens", ['{"input":["a",{}]}'] = "'input[1]' must be a text" } do
    it("are refused: " .. body, function() assert.is_truthy(refusal(body, "openai_embeddings"):find(said, 1, true)) end)
  end
end)

describe("the list of models", function()
  it("has those that there are, and each alone", function()
    local function respond(path) return ask { call = "respond", dialect = "openai_models", path = path, names = { "smart", "org/fast" } } end
    local list = respond "/v1/models"
    assert.same({ "list", "smart", "org/fast", "model" }, { list.object, list.data[1].id, list.data[2].id, list.data[1].object })
    assert.equal("org/fast", respond("/v1/models/org%2Ffast").id)
    assert.equal("smart", respond("/v1/models/smart").id)
    local _, err = respond "/v1/models/other"
    assert.same({ 404, "model_not_found" }, { err.status, err.code })
  end)
end)
