-- The dialect "ui": the AI SDK's messages become ours, our answers its stream.
local json = require "sluice.testing.json"
local ask = require("spec.policy.dialect")().ask

local function read(body) return ask { call = "read", dialect = "ui", body = body } end

local function message(role, ...) return { id = "1", role = role, parts = { ... } } end

describe("what useChat posts", function()
  it("becomes messages", function()
    local req = assert(read { id = "chat", trigger = "submit-message", messageId = "4", model = "smart", webSearch = true, messages = {
      message("system", { type = "text", text = "Be " }, { type = "text", text = "brief." }),
      message("user", { type = "text", text = "Hi" }, { type = "data-time", data = 5 }),
      message("assistant", { type = "step-start" }, { type = "reasoning", text = "Hm", state = "done" }, { type = "text", text = "Let me ", state = "done" }, { type = "text", text = "see." },
        { type = "tool-get-weather", toolCallId = "c1", state = "output-available", input = { city = "Köln" }, output = { t = 7 } },
        { type = "dynamic-tool", toolName = "time", toolCallId = "c2", state = "output-error", input = {}, errorText = "No clock." },
        { type = "tool-x", toolCallId = "c3", state = "input-streaming", input = {} }, { type = "source-url", sourceId = "s", url = "https://x.test" },
        { type = "step-start" }, { type = "text", text = "Seven." }),
      message("user", { type = "text", text = "And" }, { type = "file", mediaType = "image/png", url = "data:image/png;base64,AA==" }, { type = "file", mediaType = "audio/mpeg", url = "data:audio/mpeg;base64,BB==" },
        { type = "file", mediaType = "application/pdf", filename = "a.pdf", url = "data:application/pdf;base64,CC==" }, { type = "file", mediaType = "application/pdf", url = "https://x.test/b.pdf" }),
    } })
    assert.same({
      model = "smart", stream = true, params = {},
      messages = {
        { role = "system", content = "Be brief." }, { role = "user", content = "Hi" },
        { role = "assistant", content = "Let me see.", reasoning_content = "Hm", tool_calls = {
          { id = "c1", type = "function", ["function"] = { name = "get-weather", arguments = '{"city":"Köln"}' } }, { id = "c2", type = "function", ["function"] = { name = "time", arguments = "[]" } } } },
        { role = "tool", tool_call_id = "c1", content = '{"t":7}' }, { role = "tool", tool_call_id = "c2", content = "No clock." },
        { role = "assistant", content = "Seven." },
        { role = "user", content = { { type = "text", text = "And" }, { type = "image_url", image_url = { url = "data:image/png;base64,AA==" } }, { type = "input_audio", input_audio = { data = "BB==", format = "mp3" } },
          { type = "file", file = { filename = "a.pdf", file_data = "data:application/pdf;base64,CC==" } }, { type = "file", file = { file_url = "https://x.test/b.pdf" } } } },
      },
    }, req)
  end)

  it("says what became of a tool that was denied, and of a text", function()
    local req = read { messages = { message("assistant", { type = "tool-f", toolCallId = "c1", state = "output-denied", input = { a = 1 }, approval = { id = "a", approved = false, reason = "Not now." } },
      { type = "tool-f", toolCallId = "c2", state = "output-denied", input = { a = 1 } }, { type = "tool-f", toolCallId = "c3", state = "output-available", input = { a = 1 }, output = "plain" }) } }
    assert.same({ "Not now.", "Tool call execution denied.", "plain" }, { req.messages[2].content, req.messages[3].content, req.messages[4].content })
  end)

  for body, said in pairs {
    ['{}'] = "'messages' must be a list of UI messages, is missing", ['{"messages":[]}'] = "'messages' must hold at least one message", ['{"messages":[{"role":"user","content":"x"}]}'] = "'messages[0].parts' must be a list of parts, is missing",
    ['{"messages":[{"role":"tool","parts":[]}]}'] = "'messages[0].role' must be one of system, user, assistant", ['{"messages":[{"role":"user","parts":[{"type":"text"}]}]}'] = "'messages[0].parts[0].text' must be a text, is missing",
    ['{"messages":[{"role":"user","parts":[]}]}'] = "'messages[0].parts' holds nothing for a model", ['{"messages":[{"role":"user","parts":[{"type":"reasoning","text":"x"}]}]}'] = "is \"reasoning\", which a message of role user cannot hold",
    ['{"messages":[{"role":"assistant","parts":[{"type":"file","url":"data:,"}]}]}'] = "which a message of role assistant cannot hold", ['{"messages":[{"role":"assistant","parts":[{"type":"tool-f","state":"input-available"}]}]}'] = "toolCallId' must be a text",
    ['{"messages":[{"role":"user","parts":[{"type":"text","text":"x"}]}],"model":{}}'] = "'model' must be a text: the name of a model, is an object",
  } do
    it("is refused: " .. body, function()
      local _, err = read(body)
      assert.equal(400, err.status)
      assert.is_truthy(err.message:find(said, 1, true))
    end)
  end
end)

local function events(more)
  local want, out = { call = "play", dialect = "ui" }, {}
  for k, v in pairs(more) do want[k] = v end
  for data in ask(want):gmatch "data: ([^\n]*)\n\n" do out[#out + 1] = json.decode(data) or data end
  return out
end

describe("a UI message stream", function()
  it("has parts with ids, whole tool inputs, one step, a reason and the mark", function()
    assert.same({
      { type = "start" }, { type = "start-step" },
      { type = "reasoning-start", id = "0" }, { type = "reasoning-delta", id = "0", delta = "Hm" }, { type = "reasoning-end", id = "0" },
      { type = "text-start", id = "1" }, { type = "text-delta", id = "1", delta = "Hel" }, { type = "text-delta", id = "1", delta = "lo" }, { type = "text-end", id = "1" },
      { type = "tool-input-available", toolCallId = "c1", toolName = "f", input = { a = { 1 } } }, { type = "tool-input-available", toolCallId = "c2", toolName = "g", input = {} },
      { type = "text-start", id = "4" }, { type = "text-delta", id = "4", delta = "No" }, { type = "text-end", id = "4" },
      { type = "finish-step" }, { type = "finish", finishReason = "tool-calls" }, "[DONE]",
    }, events { finish = { "tool_calls" }, steps = {
      { channel = "reasoning", texts = { "Hm" } }, { channel = "content", texts = { "Hel", "lo" } }, { tool = { id = "c1", name = "f", arguments = '{"a":\r\n [1]}' } },
      { tool = { id = "c2", name = "g", arguments = "" } }, { channel = "refusal", texts = { "No" } } } })
  end)

  it("says so when a model wrote arguments that are no JSON", function()
    local e = events { steps = { { tool = { id = "c1", name = "f", arguments = '{"a":' } } } }[3]
    assert.same({ "tool-input-error", "c1", "f", '{"a":' }, { e.type, e.toolCallId, e.toolName, e.input })
    assert.is_string(e.errorText)
  end)

  it("has the SDK's words for reasons", function()
    for word, said in pairs { stop = "stop", length = "length", content_filter = "content-filter", tool_calls = "tool-calls", odd = "other" } do
      local all = events { steps = {}, finish = { word } }
      assert.equal(said, all[#all - 1].finishReason)
    end
  end)

  it("tells a failure, then ends", function()
    local all = events { steps = {}, fault = { status = 502, code = "x", message = "It broke." } }
    assert.same({ { type = "error", errorText = "It broke." }, "[DONE]" }, { all[#all - 1], all[#all] })
  end)
end)
