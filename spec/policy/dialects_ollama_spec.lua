-- The provider dialect "ollama": OpenAI's request in Ollama's words, Ollama's lines in ours.
local json = require "sluice.testing.json"
local d = require "spec.policy.dialect" "ollama"

local function body(req, more) return assert(d.asked(req, more)).body end
local function refused(req)
  local made, no = d.asked(req)
  assert.is_nil(made)
  assert.equal(400, no.status)
  return no.code .. ": " .. no.message
end
local function unsaid(what) return ("param_not_supported: '%s' cannot be told to this model (provider \"ollama\")"):format(what) end
local function user(content) return { role = "user", content = content } end
local function call(id, name, arguments) return { id = id, type = "function", ["function"] = { name = name, arguments = arguments } } end
local function fn(f) return { type = "function", ["function"] = f } end

describe("ollama is asked", function()
  it("for a stream, with a key when there is one", function()
    local r, text = d.asked({})
    assert.equal("/api/chat", r.path)
    assert.same({ ["Content-Type"] = "application/json", ["Accept"] = "application/x-ndjson", ["Authorization"] = { "Bearer ", "KEY" } }, r.headers)
    assert.truthy(text:find('"body":{"model":"qwen3:8b","stream":true,"messages":[{"role":"user","content":"Hi"}]}', 1, true))
    assert.is_nil(d.asked({}, { key = json.null }).headers.Authorization)
  end)

  it("messages, with pictures beside their text and calls as objects", function()
    local messages = { { role = "developer", content = "Be brief." }, { role = "system", content = { { type = "text", text = "In" }, { type = "text", text = "French." } } },
      user { { type = "text", text = "What is" }, { type = "image_url", image_url = { url = "data:image/png;base64,iVBO+/==", detail = "auto" } }, { type = "text", text = "this?" },
        { type = "input_audio", input_audio = { data = "UklG", format = "wav" } } },
      { role = "assistant", content = json.null, reasoning_content = "Hm.", tool_calls = { call("c1", "look", '{"at":[1,2]}'), call("c2", "now", "") } },
      { role = "tool", tool_call_id = "c1", content = "A cat." }, { role = "tool", name = "now", content = { { type = "text", text = "12" } } },
      { role = "assistant", content = "Well,", refusal = "no." }, { role = "assistant", content = { { type = "refusal", refusal = "Never." } } } }
    assert.same({ { role = "system", content = "Be brief." }, { role = "system", content = "In\nFrench." }, { role = "user", content = "What is\nthis?", images = { "iVBO+/==", "UklG" } },
      { role = "assistant", content = "", thinking = "Hm.",
        tool_calls = { { id = "c1", ["function"] = { name = "look", arguments = { at = { 1, 2 } } } }, { id = "c2", ["function"] = { name = "now", arguments = {} } } } },
      { role = "tool", content = "A cat.", tool_name = "look", tool_call_id = "c1" }, { role = "tool", content = "12", tool_name = "now" },
      { role = "assistant", content = "Well,\nno." }, { role = "assistant", content = "Never." } }, body { messages = messages }.messages)
    assert.truthy(select(2, d.asked({ messages = messages })):find('"arguments":{}', 1, true))
  end)

  it("with tools, or without them when none may be called", function()
    local tools = { fn { name = "weather", description = "Of a city", parameters = { type = "object", properties = { city = { type = "string" } } }, strict = false }, fn { name = "now" } }
    local b, text = body { tools = tools, params = { tool_choice = "auto" } }, select(2, d.asked({ tools = tools }))
    assert.same({ type = "object", properties = { city = { type = "string" } } }, b.tools[1]["function"].parameters)
    assert.same({ name = "now", parameters = { type = "object", properties = {} } }, b.tools[2]["function"])
    assert.truthy(text:find('"properties":{}', 1, true))
    assert.is_nil(body({ tools = tools, params = { tool_choice = "none" } }).tools)
  end)

  it("with all that it has words for", function()
    local b = body { params = { temperature = 0.5, top_p = 0.9, top_k = 40, seed = 7, presence_penalty = 1, frequency_penalty = -1, min_p = 0.1, repeat_penalty = 1.1,
      max_tokens = 10, max_completion_tokens = 20, stop = "END", response_format = { type = "json_schema", json_schema = { name = "x", schema = { type = "object" } } }, reasoning_effort = "medium" } }
    assert.same({ temperature = 0.5, top_p = 0.9, top_k = 40, seed = 7, presence_penalty = 1, frequency_penalty = -1, min_p = 0.1, repeat_penalty = 1.1,
      num_predict = 20, stop = { "END" } }, b.options)
    assert.same({ type = "object" }, b.format)
    assert.equal("medium", b.think)
    b = body { params = { max_tokens = 10, stop = { "a", "b" }, response_format = { type = "json_object" }, reasoning_effort = "none" } }
    assert.same({ num_predict = 10, stop = { "a", "b" } }, b.options)
    assert.equal("json", b.format)
    assert.is_false(b.think)
    assert.equal("max", body { params = { reasoning_effort = "xhigh" } }.think)
  end)

  it("and nothing of what says nothing, or is only kept", function()
    assert.same({ model = "qwen3:8b", stream = true, messages = { user "Hi" } }, body { tools = {}, params = { n = 1, logit_bias = json.object {}, logprobs = false, top_logprobs = 0,
      parallel_tool_calls = true, modalities = { "text" }, response_format = { type = "text" }, service_tier = "default", temperature = json.null, user = "u1",
      metadata = { a = "b" }, store = false, anthropic = { meant = "low" }, stream_options = { include_usage = true } } })
  end)

  it("with the operator's options, below what the client says", function()
    local b = body({ params = { seed = 2 } }, { options = { keep_alive = "1h", options = { num_ctx = 32768, seed = 1 } } })
    assert.equal("1h", b.keep_alive)
    assert.same({ num_ctx = 32768, seed = 2 }, b.options)
  end)
end)

describe("ollama refuses, by name,", function()
  it("parameters that it has no word for", function()
    for name, value in pairs { logit_bias = { ["50256"] = -100 }, logprobs = 3, parallel_tool_calls = false, n = 2, prediction = { type = "content" }, audio = { voice = "x" },
      web_search_options = json.object {}, modalities = { "audio" }, functions = { { name = "f" } }, best_of = 3, response_format = { type = "grammar" },
      tool_choice = { type = "function", ["function"] = { name = "now" } } } do
      assert.equal(unsaid(name), refused { params = { [name] = value } })
    end
    assert.equal(unsaid "tool_choice: required", refused { params = { tool_choice = "required" } })
    assert.equal(unsaid "reasoning_effort: much", refused { params = { reasoning_effort = "much" } })
    assert.equal(unsaid "service_tier", refused { params = { service_tier = "flex" } })
  end)

  it("messages and tools of other kinds", function()
    assert.equal(unsaid "tools[0] of type custom", refused { tools = { { type = "custom", custom = { name = "x" } } } })
    assert.equal(unsaid "tools[0].function.strict", refused { tools = { fn { name = "a", strict = true } } })
    assert.equal(unsaid "messages[0].content[0] of type file", refused { messages = { user { { type = "file", file = { file_id = "f" } } } } })
    assert.equal(unsaid "tools[0].defer_loading", refused { tools = { { type = "function", ["function"] = { name = "a" }, anthropic = {}, defer_loading = true } } })
    assert.equal(unsaid "tools[0].function.examples", refused { tools = { fn { name = "a", examples = { 1 } } } })
    assert.equal(unsaid "messages[0].content[0] of type image_url",
      refused { messages = { { role = "assistant", content = { { type = "image_url", image_url = { url = "data:image/png;base64,aa" } } } } } })
    assert.equal(unsaid "messages[0].content[0].image_url.detail", refused { messages = { user { { type = "image_url", image_url = { url = "data:image/png;base64,aa", detail = "low" } } } } })
    assert.equal(unsaid "messages[0] of role critic", refused { messages = { { role = "critic", content = "x" } } })
    assert.equal(unsaid "messages[0].name", refused { messages = { { role = "user", name = "ann", content = "x" } } })
    assert.equal(unsaid "messages[0].audio", refused { messages = { { role = "assistant", audio = { id = "a" } } } })
  end)

  it("what is wrong by itself", function()
    assert.equal("invalid_request: 'messages[0].content[0].image_url.url' must be a data: URL with base64 for this model, which fetches nothing",
      refused { messages = { user { { type = "image_url", image_url = { url = "https://example.com/a.png" } } } } })
    assert.equal("invalid_request: 'messages[0].tool_calls[0].function.arguments' must be the JSON of an object: it is another value",
      refused { messages = { { role = "assistant", tool_calls = { call("c", "f", '"x"') } } } })
    assert.equal("invalid_request: 'messages[0].tool_call_id' is the id of no tool call before it: this model wants the function's name",
      refused { messages = { { role = "tool", tool_call_id = "c9", content = "x" } } })
    assert.equal("invalid_request: 'response_format.json_schema.schema' must be a JSON schema", refused { params = { response_format = { type = "json_schema" } } })
  end)
end)

describe("ollama's events", function()
  it("name the model", function() assert.same({ "model", "qwen3:8b" }, d.ask({ call = "event", event = { model = "qwen3:8b", message = {} } })[1]) end)

  it("of a call that has no id give it one that no other event gives", function()
    local function id(at)
      for _, said in ipairs(d.ask { call = "event", event = { created_at = at, message = { tool_calls = { { ["function"] = { name = "f", arguments = json.object {} } } } } } }) do
        if said[1] == "tool" then return said[2].id end
      end
    end
    assert.matches("^call_%x+$", id "1")
    assert.equal(id "1", id "1")
    assert.not_equal(id "1", id "2")
  end)
end)

describe("ollama's other answers", function()
  it("are errors", function()
    assert.same({ message = "model 'x' not found" }, d.failure(404, { error = "model 'x' not found" }))
    assert.same({ message = "too hot" }, d.failure(400, { error = { message = "too hot" } }))
    assert.is_nil(d.failure(502, json.null))
  end)

  it("are embeddings", function()
    local r = d.embed({ "a", "b" }, { dimensions = 2, encoding_format = "float", user = "u" })
    assert.equal("/api/embed", r.path)
    assert.same({ model = "qwen3:8b", input = { "a", "b" }, dimensions = 2 }, r.body)
    assert.same({ model = "qwen3:8b", input = { "one\ntwo" } }, d.embed({ { { type = "text", text = "one" }, { type = "text", text = "two" } } }).body)
    assert.same({ object = "list", model = "known", usage = { prompt_tokens = 8, total_tokens = 8 }, data = { { object = "embedding", index = 0, embedding = { 0.5, -1 } } } },
      d.embedded({ model = "m", embeddings = { { 0.5, -1 } }, prompt_eval_count = 8 }))
    assert.is_nil(d.embedded({ error = "x" }))
    assert.is_nil(d.embedded({ embeddings = { 0.5 } }))
  end)

  it("are embeddings in base64, of any length", function()
    local function base64(vector) return d.embedded({ embeddings = { vector } }, { encoding_format = "base64" }).data[1].embedding end
    assert.equal("AAAAPw==", base64 { 0.5 })
    assert.equal("AAAAPwAAgL8=", base64 { 0.5, -1 })
    assert.equal("AAAAPwAAgL8AAKBA", base64 { 0.5, -1, 5 })
    local long = {}
    for i = 1, 100 do long[i] = 0.5 end
    assert.equal(("AAAAPwAAAD8AAAA/"):rep(33) .. "AAAAPw==", base64(long))
  end)

  it("are refusals of embeddings that cannot be asked for", function()
    local function no(params) return select(2, d.embed({ "a" }, params)).message end
    assert.equal("'encoding_format: int8' cannot be told to this model (provider \"ollama\")", no { encoding_format = "int8" })
    assert.equal("'truncate' cannot be told to this model (provider \"ollama\")", no { truncate = true, user = "u" })
  end)
end)
