-- The provider dialect "gemini": OpenAI's request in Google's words, Google's events in ours.
local json = require "sluice.testing.json"
local d = require "spec.policy.dialect" "gemini"

local function body(req, more) return assert(d.asked(req, more)).body end
local function refused(req, more)
  local made, no = d.asked(req, more)
  assert.is_nil(made)
  assert.equal(400, no.status)
  return no.code .. ": " .. no.message
end
local function unsaid(what) return ("param_not_supported: '%s' cannot be told to this model (provider \"gemini\")"):format(what) end
local function user(content) return { role = "user", content = content } end
local function call(id, name, arguments) return { id = id, type = "function", ["function"] = { name = name, arguments = arguments } } end
local function fn(f) return { type = "function", ["function"] = f } end
local function turns(messages, more) return body({ messages = messages }, more).contents end

describe("gemini is asked", function()
  it("at the model's own address, with the key in a header, for a stream", function()
    local r, text = d.asked({})
    assert.equal("/models/gemini-3-flash-preview:streamGenerateContent?alt=sse", r.path)
    assert.same({ ["Content-Type"] = "application/json", ["Accept"] = "text/event-stream", ["x-goog-api-key"] = { "KEY" } }, r.headers)
    assert.same({ contents = { { role = "user", parts = { { text = "Hi" } } } } }, r.body)
    assert.truthy(text:find('"body":{"contents":[', 1, true))
    assert.equal("/tunedModels/mine%3F:streamGenerateContent?alt=sse", d.asked({}, { model = "tunedModels/mine?" }).path)
    assert.is_nil(d.asked({}, { key = json.null, model = "x" }).headers["x-goog-api-key"])
  end)

  it("turns, with what rules them apart", function()
    local b = body { messages = { { role = "system", content = "Be brief." }, user "Hi", { role = "assistant", content = "Hello." },
      { role = "developer", content = { { type = "text", text = "In French." } } }, user { { type = "text", text = "And" }, { type = "text", text = " now?" } } } }
    assert.same({ parts = { { text = "Be brief." }, { text = "In French." } } }, b.systemInstruction)
    assert.same({ { role = "user", parts = { { text = "Hi" } } }, { role = "model", parts = { { text = "Hello." } } },
      { role = "user", parts = { { text = "And" }, { text = " now?" } } } }, b.contents)
  end)

  it("what the model said before, its thoughts and refusals among it", function()
    local t = turns { user "Hi", { role = "assistant", reasoning_content = "Hm.", content = "", refusal = "No." }, user "",
      { role = "assistant", content = { { type = "refusal", refusal = "Never." } } } }
    assert.same({ { text = "Hm.", thought = true }, { text = "No." } }, t[2].parts)
    assert.same({ { text = "" } }, t[3].parts)
    assert.same({ { text = "Never." } }, t[4].parts)
  end)

  it("pictures, sound and files", function()
    local b = body { messages = { user { { type = "image_url", image_url = { url = "data:image/png;base64,iVBO+/==" } },
      { type = "image_url", image_url = { url = "https://example.com/a/cat.JPG?size=1", detail = "auto" } }, { type = "image_url", image_url = { url = "https://example.com/cat" } },
      { type = "input_audio", input_audio = { data = "UklG", format = "wav" } }, { type = "file", file = { filename = "a.pdf", file_data = "data:application/pdf;base64,JVBE" } } } } }
    assert.same({ { inlineData = { mimeType = "image/png", data = "iVBO+/==" } }, { fileData = { fileUri = "https://example.com/a/cat.JPG?size=1", mimeType = "image/jpeg" } },
      { fileData = { fileUri = "https://example.com/cat" } }, { inlineData = { mimeType = "audio/wav", data = "UklG" } },
      { inlineData = { mimeType = "application/pdf", data = "JVBE" } } }, b.contents[1].parts)
    assert.is_nil(b.generationConfig)
  end)

  it("in how much detail pictures are to be seen: no picture in less than was asked for", function()
    local function detail(...)
      local parts = {}
      for i, word in ipairs { ... } do parts[i] = { type = "image_url", image_url = { url = "data:image/png;base64,aa", detail = word ~= "" and word or nil } } end
      return (body { messages = { user(parts) } }.generationConfig or {}).mediaResolution
    end
    assert.equal("MEDIA_RESOLUTION_LOW", detail("low", "low"))
    assert.equal("MEDIA_RESOLUTION_HIGH", detail("low", "high", "auto"))
    assert.is_nil(detail("low", "auto"))
    assert.is_nil(detail("low", ""))
  end)

  it("calls and their results: by name, parallel ones in one turn, with the word that Gemini 3 wants for calls that are not its own", function()
    local messages = { user "?", { role = "assistant", content = json.null, tool_calls = { call("c1", "weather", '{"city":"Berlin"}'), call("c2", "time", "") } },
      { role = "tool", tool_call_id = "c1", content = '{"sun": true}' }, { role = "tool", tool_call_id = "c2", content = { { type = "text", text = "12" }, { type = "text", text = ":00" } } },
      user "Thanks", { role = "assistant", tool_calls = { call("c3", "off", "{}") } }, { role = "tool", tool_call_id = "c3", content = "[1]" } }
    local t, text = turns(messages), select(2, d.asked({ messages = messages }))
    assert.same({ role = "model", parts = { { functionCall = { id = "c1", name = "weather", args = { city = "Berlin" } }, thoughtSignature = "skip_thought_signature_validator" },
      { functionCall = { id = "c2", name = "time", args = {} } } } }, t[2])
    assert.same({ role = "user", parts = { { functionResponse = { id = "c1", name = "weather", response = { sun = true } } },
      { functionResponse = { id = "c2", name = "time", response = { output = "12:00" } } } } }, t[3])
    assert.same({ "user", "model", "user" }, { t[4].role, t[5].role, t[6].role })
    assert.same({ { functionResponse = { id = "c3", name = "off", response = { output = "[1]" } } } }, t[6].parts)
    assert.truthy(text:find('"args":{}', 1, true))
    assert.is_nil(turns(messages, { model = "gemini-2.5-flash" })[2].parts[1].thoughtSignature)
    messages[2].tool_calls[1].extra_content = { google = { thought_signature = "QUJD" } }
    assert.equal("QUJD", turns(messages)[2].parts[1].thoughtSignature)
  end)

  it("with tools, whose schema goes as JSON Schema", function()
    local parameters = { type = "object", properties = { city = { anyOf = { { type = "string" }, { type = "null" } } } }, additionalProperties = false,
      ["$schema"] = "https://json-schema.org/draft/2020-12/schema" }
    local b = body { tools = { fn { name = "weather", description = "Of a city", parameters = parameters }, fn { name = "now" } } }
    parameters["$schema"] = nil
    assert.same({ { functionDeclarations = { { name = "weather", description = "Of a city", parametersJsonSchema = parameters }, { name = "now" } } } }, b.tools)
    assert.is_nil(b.toolConfig)
  end)

  it("which of them to call", function()
    local function config(choice, strict)
      local b = body { tools = { fn { name = "now", strict = strict } }, params = { tool_choice = choice } }
      return b.toolConfig and b.toolConfig.functionCallingConfig
    end
    local now = { fn { name = "now" } }
    assert.same({ mode = "AUTO" }, config "auto")
    assert.same({ mode = "NONE" }, config("none", true))
    assert.same({ mode = "ANY" }, config("required", true))
    assert.same({ mode = "ANY", allowedFunctionNames = { "now" } }, config(now[1]))
    assert.same({ mode = "ANY", allowedFunctionNames = { "now" } }, config { type = "allowed_tools", allowed_tools = { mode = "required", tools = now } })
    assert.same({ mode = "VALIDATED", allowedFunctionNames = { "now" } }, config { type = "allowed_tools", allowed_tools = { mode = "auto", tools = now } })
    assert.same({ mode = "VALIDATED" }, config(nil, true))
    assert.same({ mode = "VALIDATED" }, config("auto", true))
  end)

  it("with all that it has words for", function()
    assert.same({ temperature = 0.5, topP = 0.9, topK = 40, seed = 7, candidateCount = 2, presencePenalty = 1, frequencyPenalty = -1, maxOutputTokens = 20, stopSequences = { "\n", "END" },
      responseMimeType = "application/json", responseJsonSchema = { type = "object" }, thinkingConfig = { thinkingLevel = "MINIMAL", includeThoughts = true } },
      body { params = { temperature = 0.5, top_p = 0.9, top_k = 40, seed = 7, n = 2, presence_penalty = 1, frequency_penalty = -1, max_tokens = 10, max_completion_tokens = 20,
        stop = { "\n", "END" }, response_format = { type = "json_schema", json_schema = { name = "x", schema = { type = "object" } } }, reasoning_effort = "minimal" } }.generationConfig)
    local function config(params, more) return body({ params = params }, more).generationConfig end
    assert.same({ maxOutputTokens = 10, stopSequences = { "END" }, responseMimeType = "application/json" }, config { max_tokens = 10, stop = "END", response_format = { type = "json_object" } })
    local old = { model = "gemini-2.5-pro" }
    assert.same({ thinkingConfig = { thinkingBudget = 8192, includeThoughts = true } }, config({ reasoning_effort = "medium" }, old))
    assert.same({ thinkingConfig = { thinkingBudget = 0 } }, config({ reasoning_effort = "none" }, old))
    assert.same({ thinkingConfig = { thinkingLevel = "HIGH", includeThoughts = true } }, config({ reasoning_effort = "high" }, { model = "gemini-pro-latest" }))
    assert.equal("flex", body { params = { service_tier = "flex" } }.serviceTier)
  end)

  it("and nothing of what says nothing, or is only kept", function()
    assert.same({ contents = { { role = "user", parts = { { text = "Hi" } } } } }, body { tools = {}, params = { n = 1, logit_bias = json.object {}, logprobs = false, top_logprobs = 0,
      parallel_tool_calls = true, modalities = { "text" }, response_format = { type = "text" }, service_tier = "auto", verbosity = "medium", temperature = json.null, audio = json.null,
      user = "u1", metadata = { a = "b" }, store = true, anthropic = { meant = "low" }, stream_options = { include_usage = true }, safety_identifier = "x", prompt_cache_key = "k" } })
  end)

  it("with the operator's options, below what the client says", function()
    local options = { safetySettings = { { category = "HARM_CATEGORY_HARASSMENT", threshold = "BLOCK_NONE" } },
      generationConfig = { temperature = 0.1, topK = 1, thinkingConfig = { includeThoughts = true, thinkingBudget = 99 } } }
    local b = body({ params = { temperature = 0.7, reasoning_effort = "none" } }, { options = options })
    assert.same(options.safetySettings, b.safetySettings)
    assert.same({ temperature = 0.7, topK = 1, thinkingConfig = { includeThoughts = true, thinkingBudget = 0 } }, b.generationConfig)
  end)
end)

describe("gemini refuses, by name,", function()
  it("parameters that it has no word for", function()
    for name, value in pairs { logit_bias = { ["50256"] = -100 }, logprobs = 3, parallel_tool_calls = false, prediction = { type = "content" }, audio = { voice = "x" },
      web_search_options = json.object {}, verbosity = "low", modalities = { "text", "audio" }, functions = { { name = "f" } }, best_of = 3, response_format = { type = "grammar" } } do
      assert.equal(unsaid(name), refused { params = { [name] = value } })
    end
    assert.equal(unsaid "reasoning_effort: xhigh", refused { params = { reasoning_effort = "xhigh" } })
    assert.equal(unsaid "service_tier: scale", refused { params = { service_tier = "scale" } })
    assert.equal(unsaid "tool_choice", refused { params = { tool_choice = { type = "custom" } } })
    assert.equal(unsaid "best_of", refused { params = { best_of = 2, zeal = 1 } })
  end)

  it("messages and tools of other kinds", function()
    assert.equal(unsaid "tools[1] of type custom", refused { tools = { fn { name = "a" }, { type = "custom", custom = { name = "x" } } } })
    assert.equal(unsaid "messages[0].content[1] of type video", refused { messages = { user { { type = "text", text = "a" }, { type = "video" } } } })
    assert.equal(unsaid "tools[0].defer_loading", refused { tools = { { type = "function", ["function"] = { name = "a" }, anthropic = {}, defer_loading = true } } })
    assert.equal(unsaid "tools[0].function.examples", refused { tools = { fn { name = "a", examples = { 1 } } } })
    assert.equal(unsaid "messages[0].content[0] of type image_url",
      refused { messages = { { role = "system", content = { { type = "image_url", image_url = { url = "data:image/png;base64,aa" } } } } } })
    assert.equal(unsaid "messages[0] of role critic", refused { messages = { { role = "critic", content = "x" } } })
    assert.equal(unsaid "messages[0].name", refused { messages = { { role = "user", name = "ann", content = "x" } } })
    assert.equal(unsaid "messages[0].function_call", refused { messages = { { role = "assistant", function_call = { name = "x" } } } })
    assert.equal(unsaid "messages[0].content[0].file without a data: URL in file_data", refused { messages = { user { { type = "file", file = { file_id = "file-1" } } } } })
  end)

  it("what is wrong by itself", function()
    local function image(url, detail) return { messages = { user { { type = "image_url", image_url = { url = url, detail = detail } } } } } end
    assert.equal("invalid_request: 'messages[0].content[0].image_url.url' must be a data: URL with base64 or an https: URL for this model", refused(image "http://example.com/a.png"))
    assert.equal("invalid_request: 'messages[0].content[0].image_url.detail' must be \"auto\", \"low\" or \"high\"", refused(image("https://a.test/a.png", "fine")))
    local function args(text) return { messages = { { role = "assistant", tool_calls = { call("c", "f", text) } } } } end
    assert.equal("invalid_request: 'messages[0].tool_calls[0].function.arguments' must be the JSON of an object: it is another value", refused(args "[1]"))
    assert.truthy(refused(args '{"a":'):find("must be the JSON of an object: ", 1, true))
    assert.equal("invalid_request: 'messages[0].tool_call_id' is the id of no tool call before it: this model wants the function's name",
      refused { messages = { { role = "tool", tool_call_id = "c9", content = "x" } } })
  end)
end)

-- The last thing that an event says.
local function last(event)
  local said = d.ask { call = "event", event = event }
  return said[#said]
end

describe("gemini's events", function()
  it("have all of Google's finish reasons", function()
    for reason, word in pairs { STOP = "stop", MAX_TOKENS = "length", CONTINUATION = "length", SAFETY = "content_filter", RECITATION = "content_filter", LANGUAGE = "content_filter",
      BLOCKLIST = "content_filter", PROHIBITED_CONTENT = "content_filter", SPII = "content_filter", IMAGE_SAFETY = "content_filter", NEWEST = "NEWEST" } do
      assert.same({ "finish", word, 0 }, last { candidates = { { finishReason = reason } } })
    end
    for _, reason in ipairs { "OTHER", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_FUNCTION_CALL" } do
      assert.same({ "error", { code = "upstream_error", message = ("The model ended with %s."):format(reason) } }, last { candidates = { { finishReason = reason } } })
    end
  end)

  it("say why they are no answer", function()
    assert.equal("Malformed function call: x", last({ candidates = { { finishReason = "MALFORMED_FUNCTION_CALL", finishMessage = "Malformed function call: x" } } })[2].message)
    assert.equal("The model answered with a part that cannot be told here: inlineData.",
      last({ candidates = { { content = { parts = { { inlineData = { mimeType = "image/png", data = "aa" } } } } } } })[2].message)
  end)

  it("name the model", function() assert.same({ "model", "gemini-2.5-flash" }, d.ask({ call = "event", event = { modelVersion = "gemini-2.5-flash", candidates = {} } })[1]) end)
end)

describe("gemini's other answers", function()
  it("are errors, alone or in a list", function()
    local e = { error = { code = 429, message = "Quota exceeded.", status = "RESOURCE_EXHAUSTED" } }
    assert.same({ code = "resource_exhausted", message = "Quota exceeded." }, d.failure(429, e))
    assert.same({ code = "resource_exhausted", message = "Quota exceeded." }, d.failure(429, { e }))
    assert.is_nil(d.failure(502, json.null))
    assert.is_nil(d.failure(502, { error = "no" }))
  end)

  it("are embeddings", function()
    local r = d.embed({ "a", "b" }, { dimensions = 2, encoding_format = "float", user = "u" })
    assert.equal("/models/gemini-3-flash-preview:batchEmbedContents", r.path)
    assert.same({ requests = { { model = "models/gemini-3-flash-preview", content = { parts = { { text = "a" } } }, outputDimensionality = 2 },
      { model = "models/gemini-3-flash-preview", content = { parts = { { text = "b" } } }, outputDimensionality = 2 } } }, r.body)
    assert.same({ { text = "one" } }, d.embed({ "one" }).body.requests[1].content.parts)
    assert.same({ object = "list", model = "known", data = { { object = "embedding", index = 0, embedding = { 0.5, -1 } }, { object = "embedding", index = 1, embedding = { 0, 1 } } } },
      d.embedded({ embeddings = { { values = { 0.5, -1 } }, { values = { 0, 1 } } } }))
    assert.is_nil(d.embedded({ embedding = { 1 } }))
    assert.is_nil(d.embedded({ embeddings = { { values = json.null } } }))
  end)

  it("are refusals of embeddings that cannot be asked for", function()
    local function no(params) return select(2, d.embed({ "a" }, params)).message end
    assert.equal("'encoding_format: int8' cannot be told to this model (provider \"gemini\")", no { encoding_format = "int8" })
    assert.equal("'truncate' cannot be told to this model (provider \"gemini\")", no { truncate = true, user = "u" })
  end)
end)
