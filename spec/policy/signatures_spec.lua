-- What a model wants back with its reasoning (Anthropic's signatures and redacted blocks, OpenAI's encrypted content) through a gateway whose policies look:
-- the client is told it where it speaks the model's own dialect and the reasoning is as the model thought it, and it goes back as it came.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local pairs_of = require "spec.policy.pairs"

local LOOKS = "function P.finish() end"
local KEEPS = 'P.filter = { unit = "sentence", text = function(text) return text end }'       -- holds and changes nothing
local CHANGES = 'P.filter = { on = "reasoning", match = sluice.match.regex "1", replace = "one" }'
local HIDES = 'P.filter = { on = "reasoning", text = function() return "" end }'

local function gateway(provider, code) return pairs_of.gateway(provider, "policies = { P }", code) end

local function data(name, value) return ("event: %s\ndata: %s\n\n"):format(name, json.encode(value)) end

local function ask(g, front, stream, bytes, cut, more)
  local want = pairs_of.request(front, { text = "Hi", stream = stream }, more)
  local pieces = { bytes }
  if cut then pieces = { bytes:sub(1, cut), bytes:sub(cut + 1) } end
  want.upstream = pairs_of.stream(front, pieces)
  local x = g:ask(want)
  assert.is_nil(x.error)
  return x
end

local function events(x)
  local out = {}
  for _, e in ipairs(x.wire) do
    for line in e.bytes:gmatch "data: ({[^\n]*)" do out[#out + 1] = json.decode(line) end
  end
  return out
end

-- ---- Anthropic

-- Two blocks of thinking behind each other, one that only its model can read between them, one whose text is not shown; text; a call.
local THOUGHTS = {
  { type = "thinking", thinking = "Is 1 odd? It is 1.", signature = "sig/A==" },
  { type = "redacted_thinking", data = "EmwKAh+/=" },
  { type = "thinking", thinking = "So 11 is.", signature = "sigB" },
  { type = "thinking", thinking = "", signature = "sigC" },
}

local function anthropic_stream()
  local out = { data("message_start", { type = "message_start", message = { id = "m", model = "claude", usage = { input_tokens = 1, output_tokens = 1 } } }) }
  local function add(name, value) out[#out + 1] = data(name, value) end
  for i, block in ipairs(THOUGHTS) do
    local index = i - 1
    local shown = block.type == "thinking" and { type = "thinking", thinking = "", signature = "" } or block
    add("content_block_start", { type = "content_block_start", index = index, content_block = shown })
    for at = 1, #(block.thinking or ""), 5 do
      add("content_block_delta", { type = "content_block_delta", index = index, delta = { type = "thinking_delta", thinking = block.thinking:sub(at, at + 4) } })
    end
    if block.signature then add("content_block_delta", { type = "content_block_delta", index = index, delta = { type = "signature_delta", signature = block.signature } }) end
    add("content_block_stop", { type = "content_block_stop", index = index })
  end
  add("content_block_start", { type = "content_block_start", index = 4, content_block = { type = "text", text = "" } })
  add("content_block_delta", { type = "content_block_delta", index = 4, delta = { type = "text_delta", text = "It is odd." } })
  add("content_block_stop", { type = "content_block_stop", index = 4 })
  add("content_block_start", { type = "content_block_start", index = 5, content_block = { type = "tool_use", id = "c1", name = "f", input = json.object {} } })
  add("content_block_delta", { type = "content_block_delta", index = 5, delta = { type = "input_json_delta", partial_json = '{"a":1}' } })
  add("content_block_stop", { type = "content_block_stop", index = 5 })
  add("message_delta", { type = "message_delta", delta = { stop_reason = "tool_use" }, usage = { output_tokens = 9 } })
  add("message_stop", { type = "message_stop" })
  return table.concat(out)
end

local CALL = { type = "tool_use", id = "c1", name = "f", input = { a = 1 } }
local TEXT = { type = "text", text = "It is odd." }

-- The blocks that an Anthropic client puts together of a stream.
local function message_of(x, stream)
  if not stream then return json.decode(x.body).content end
  local blocks, open = {}, nil
  for _, e in ipairs(events(x)) do
    if e.type == "content_block_start" then
      assert.equal(#blocks, e.index)
      open = e.content_block
      blocks[#blocks + 1] = open
      open.input = open.type == "tool_use" and "" or nil
    elseif e.type == "content_block_delta" then
      assert.equal(#blocks - 1, e.index)
      local d = e.delta
      if d.type == "thinking_delta" then open.thinking = open.thinking .. d.thinking end
      if d.type == "signature_delta" then open.signature = open.signature .. d.signature end
      if d.type == "text_delta" then open.text = open.text .. d.text end
      if d.type == "input_json_delta" then open.input = open.input .. d.partial_json end
    elseif e.type == "content_block_stop" and open.type == "tool_use" then
      open.input = json.decode(open.input)
    end
  end
  return blocks
end

describe("what Anthropic signed", function()
  local bytes = anthropic_stream()

  for name, code in pairs { ["a hook that looks"] = LOOKS, ["a filter that changes nothing"] = KEEPS } do
    it("is told behind " .. name .. ", wherever the bytes are cut", function()
      local g = gateway("anthropic", code)
      local want = { THOUGHTS[1], THOUGHTS[2], THOUGHTS[3], THOUGHTS[4], TEXT, CALL }
      for _, stream in ipairs { true, false } do
        assert.same(want, message_of(ask(g, "anthropic", stream, bytes), stream))
        for cut = 1, #bytes - 1, 11 do assert.same(want, message_of(ask(g, "anthropic", stream, bytes, cut), stream), "cut at byte " .. cut) end
      end
    end)
  end

  it("is not told of thinking that a policy changed", function()
    for _, stream in ipairs { true, false } do
      local blocks = message_of(ask(gateway("anthropic", CHANGES), "anthropic", stream, bytes), stream)
      assert.same({ type = "thinking", thinking = "Is one odd? It is one.", signature = "" }, blocks[1])
      assert.same(THOUGHTS[2], blocks[2])
      assert.same({ type = "thinking", thinking = "So oneone is.", signature = "" }, blocks[3])
      assert.same({ THOUGHTS[4], TEXT, CALL }, { blocks[4], blocks[5], blocks[6] })
    end
  end)

  it("is not told of thinking that a policy hides", function()
    for _, stream in ipairs { true, false } do
      local blocks = message_of(ask(gateway("anthropic", HIDES), "anthropic", stream, bytes), stream)
      assert.same({ THOUGHTS[2], THOUGHTS[4], TEXT, CALL }, blocks)
    end
  end)

  it("is nothing for clients of other dialects", function()
    for _, front in ipairs { "openai", "responses", "completions", "ui", "token" } do
      local want = pairs_of.request(front, { text = "Hi", stream = true })
      want.upstream = pairs_of.stream("anthropic", { bytes })
      local x = gateway("anthropic", LOOKS):ask(want)
      assert.is_nil(x.error)
      assert.is_nil(pairs_of.streamed(x):find("sig", 1, true))
      assert.is_nil(pairs_of.streamed(x):find("EmwKAh", 1, true))
    end
  end)

  local function sent_back(g, front, messages, more)
    local body = { model = "public", max_tokens = 9000, messages = messages, stream = true }
    for name, v in pairs(more) do body[name] = v end
    local x = g:ask { method = "POST", path = pairs_of.path[front], headers = { host = "x" }, body = json.encode(body), upstream = { t.fail(500) }, no_shake = true }
    return assert(x.upstream[1], x.body).body
  end

  local THINK = { thinking = { type = "enabled", budget_tokens = 2000 } }
  local function turn(blocks) return { { role = "user", content = "Hi" }, { role = "assistant", content = blocks }, { role = "user", content = { { type = "tool_result", tool_use_id = "c1", content = "7" } } } } end

  it("goes back as it came", function()
    local g = gateway("anthropic", LOOKS)
    local blocks = message_of(ask(g, "anthropic", true, bytes), true)
    local body = sent_back(g, "anthropic", turn(blocks), THINK)
    assert.same({ THOUGHTS[1], THOUGHTS[2], THOUGHTS[3], THOUGHTS[4], TEXT, CALL }, body.messages[2].content)
    assert.same(THINK.thinking, body.thinking)
  end)

  it("that is missing from the answer of a call lets the rest of that answer go without thinking, which Anthropic would refuse", function()
    local g = gateway("anthropic", LOOKS)
    local unsigned = { { type = "thinking", thinking = "Hm.", signature = "" }, TEXT, CALL }
    local body = sent_back(g, "anthropic", turn(unsigned), THINK)
    assert.is_nil(body.thinking)
    assert.same({ TEXT, CALL }, body.messages[2].content)

    local call = { { role = "user", content = "Hi" }, { role = "assistant", tool_calls = { { id = "c1", type = "function", ["function"] = { name = "f", arguments = "{}" } } } },
      { role = "tool", tool_call_id = "c1", content = "7" } }
    body = sent_back(g, "openai", call, { reasoning_effort = "medium" })
    assert.is_nil(body.thinking)
    assert.equal(9000, body.max_tokens)
    call[#call + 1] = { role = "assistant", content = "Seven." }
    call[#call + 1] = { role = "user", content = "And now?" }
    assert.equal("enabled", sent_back(g, "openai", call, { reasoning_effort = "medium" }).thinking.type)
  end)

  it("that is missing where the answer began is missing, however many calls came since", function()
    local g = gateway("anthropic", LOOKS)
    local function result(id) return { role = "user", content = { { type = "tool_result", tool_use_id = id, content = "7" } } } end
    local function used(id) return { type = "tool_use", id = id, name = "f", input = json.object {} } end
    for _, signed in ipairs { true, false } do
      local thought = { type = "thinking", thinking = "Hm.", signature = signed and "sig" or "" }
      local messages = { { role = "user", content = "Hi" }, { role = "assistant", content = { thought, used "c1" } }, result "c1", { role = "assistant", content = { used "c2" } }, result "c2" }
      assert.equal(signed, sent_back(g, "anthropic", messages, THINK).thinking ~= nil)
      messages[5].content[2] = { type = "text", text = "Hurry." }
      assert.equal(signed, sent_back(g, "anthropic", messages, THINK).thinking ~= nil)
      messages[#messages + 1] = { role = "assistant", content = "Seven." }
      messages[#messages + 1] = { role = "user", content = "And now?" }
      assert.is_truthy(sent_back(g, "anthropic", messages, THINK).thinking)
    end
  end)

  it("stays away where a policy says one of two turns in its own words", function()
    local g = gateway("anthropic", [[function P.prompt(req) local all = {} for i, m in ipairs(req.messages) do all[i] = m end
      for i, m in ipairs(all) do if m.content == "One." then all[i] = { role = "assistant", content = "One!" } end end req.messages = all end]])
    local function thought(text) return { role = "assistant", content = { { type = "thinking", thinking = "Hm.", signature = "" }, { type = "text", text = text } } } end
    local user = { role = "user", content = "Hi" }
    local body = json.encode { model = "public", max_tokens = 99, messages = { user, thought "One.", user, thought "Two.", user } }
    local raw = g:ask({ method = "POST", path = pairs_of.path.anthropic, headers = { host = "x" }, body = body, upstream = { t.fail(500) }, no_shake = true }).upstream[1].raw
    assert.is_nil(raw:find("thinking", 1, true), raw)
    assert.is_truthy(raw:find("One!", 1, true))
  end)

  it("keeps the rest of the client's words where one turn is said anew", function()
    local g = gateway("anthropic", LOOKS)
    local body = '{"model":"public","max_tokens":99,"stream":true,"messages":[{"role":"user","content":"Hi","x":1.10},'
      .. '{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":""},{"type":"text","text":"So."}]},{"content":"And?","role":"user","x_new":[1e3]}]}'
    local raw = g:ask({ method = "POST", path = pairs_of.path.anthropic, headers = { host = "x" }, body = body, upstream = { t.fail(500) }, no_shake = true }).upstream[1].raw
    for _, part in ipairs { '{"role":"user","content":"Hi","x":1.10}', '{"content":"And?","role":"user","x_new":[1e3]}' } do assert.is_truthy(raw:find(part, 1, true), raw) end
    assert.is_nil(raw:find("Hm.", 1, true))
  end)

  it("is nothing for a front of framings, which has no place for it", function()
    local g = assert(t.load { source = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
function P.finish() end
local own = { name = "own", speaks = "anthropic", methods = "POST", read = function(req) req.messages, req.stream = { { role = "user", content = "x" } }, true end,
  error = function(err) return { code = err.code } end,
  content = { before = 'data: {"text":', after = "}\n\n" }, reasoning = { before = 'data: {"thought":', after = "}\n\n" }, done = "data: [DONE]\n\n" }
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "anthropic", url = "http://up.test", model = "m" } },
  routes = { own = { path = "/own", front = own, models = { "m" }, policies = { P } } } }]] })
    local x = g:ask { method = "POST", path = "/own", headers = { host = "x" }, body = "{}", upstream = pairs_of.stream("anthropic", { bytes }) }
    local thought, text = "", ""
    for _, e in ipairs(events(x)) do thought, text = thought .. (e.thought or ""), text .. (e.text or "") end
    assert.equal("Is 1 odd? It is 1.So 11 is.", thought)
    assert.equal("It is odd.", text)
    assert.is_nil(x.error)
  end)

  it("is of its own block, also behind one that was not signed", function()
    local function start(index) return data("content_block_start", { type = "content_block_start", index = index, content_block = { type = "thinking", thinking = "", signature = "" } }) end
    local function delta(index, d) return data("content_block_delta", { type = "content_block_delta", index = index, delta = d }) end
    local all = start(0) .. delta(0, { type = "thinking_delta", thinking = "A" }) .. start(1) .. delta(1, { type = "thinking_delta", thinking = "B" })
      .. delta(1, { type = "signature_delta", signature = "S2" }) .. data("message_stop", { type = "message_stop" })
    for _, stream in ipairs { true, false } do
      assert.same({ { type = "thinking", thinking = "A", signature = "" }, { type = "thinking", thinking = "B", signature = "S2" } }, message_of(ask(gateway("anthropic", LOOKS), "anthropic", stream, all), stream))
    end
  end)

  it("that a client of Anthropic's left out itself is Anthropic's to judge", function()
    assert.same(THINK.thinking, sent_back(gateway("anthropic", LOOKS), "anthropic", turn { TEXT, CALL }, THINK).thinking)
  end)
end)

-- ---- OpenAI's Responses

describe("what OpenAI encrypted", function()
  local function item(id, summary, encrypted)
    local parts = {}
    for i, text in ipairs(summary) do parts[i] = { type = "summary_text", text = text } end
    return { id = id, type = "reasoning", summary = parts, encrypted_content = encrypted }
  end
  local ITEMS = { item("rs_up1", { "Is 1 odd? It is 1." }, "gAAA1=="), item("rs_up2", {}, "gAAA2==") }

  local function stream_of()
    local out = { data("response.created", { type = "response.created", response = { id = "resp_up", model = "gpt", output = {} } }) }
    for i, v in ipairs(ITEMS) do
      out[#out + 1] = data("response.output_item.added", { type = "response.output_item.added", output_index = i - 1, item = item(v.id, {}, "gAA") })
      for _, part in ipairs(v.summary) do
        for at = 1, #part.text, 5 do out[#out + 1] = data("response.reasoning_summary_text.delta", { type = "response.reasoning_summary_text.delta", item_id = v.id, delta = part.text:sub(at, at + 4) }) end
      end
      out[#out + 1] = data("response.output_item.done", { type = "response.output_item.done", output_index = i - 1, item = v })
    end
    out[#out + 1] = data("response.output_text.delta", { type = "response.output_text.delta", delta = "It is odd.", logprobs = {} })
    out[#out + 1] = data("response.completed", { type = "response.completed", response = { status = "completed", output = {} } })
    return table.concat(out)
  end

  local function output_of(x, stream)
    if not stream then return json.decode(x.body).output end
    local items, last = {}, nil
    for i, e in ipairs(events(x)) do
      assert.equal(i - 1, e.sequence_number)
      if e.type == "response.output_item.done" then
        assert.equal(#items, e.output_index)
        items[#items + 1] = e.item
      end
      if e.type == "response.completed" then last = e.response.output end
    end
    assert.same(items, last)
    return items
  end

  local MORE = { include = { "reasoning.encrypted_content" }, store = false }
  local bytes = stream_of()

  it("is told, and goes back as it came with the id that its model gave it", function()
    for _, code in ipairs { LOOKS, KEEPS } do
      local g = gateway("responses", code)
      for _, stream in ipairs { true, false } do
        local output = output_of(ask(g, "responses", stream, bytes, nil, MORE), stream)
        assert.same({ "reasoning", "reasoning", "message" }, { output[1].type, output[2].type, output[3].type })
        assert.same({ { type = "summary_text", text = "Is 1 odd? It is 1." } }, output[1].summary)
        assert.same({}, output[2].summary)
        local input = { { role = "user", content = "Hi" }, output[1], output[2], output[3], { role = "user", content = "And 2?" } }
        local x = g:ask { method = "POST", path = pairs_of.path.responses, headers = { host = "x" }, body = json.encode { model = "public", input = input, store = false }, upstream = { t.fail(500) }, no_shake = true }
        local sent = {}
        for _, v in ipairs(x.upstream[1].body.input) do
          if v.type == "reasoning" then sent[#sent + 1] = v end
        end
        assert.same(ITEMS, sent)
      end
      for cut = 1, #bytes - 1, 11 do output_of(ask(g, "responses", true, bytes, cut, MORE), true) end
    end
  end)

  it("stands where it stood among the calls", function()
    local function call(id) return data("response.output_item.done", { type = "response.output_item.done", item = { id = "fc_" .. id, type = "function_call", call_id = id, name = "f", arguments = "{}" } }) end
    local function thought(v) return data("response.output_item.done", { type = "response.output_item.done", item = v }) end
    local all = thought(ITEMS[2]) .. call "c1" .. thought(item("rs_up3", {}, "gAAA3")) .. call "c2" .. data("response.completed", { type = "response.completed", response = { status = "completed", output = {} } })
    for _, stream in ipairs { true, false } do
      local said = {}
      for i, v in ipairs(output_of(ask(gateway("responses", LOOKS), "responses", stream, all, nil, MORE), stream)) do said[i] = v.call_id or v.encrypted_content end
      assert.same({ "rs_up2 gAAA2==", "c1", "rs_up3 gAAA3", "c2" }, said)
    end
  end)

  it("is not told of reasoning that a policy changed or hides", function()
    for _, code in ipairs { CHANGES, HIDES } do
      for _, stream in ipairs { true, false } do
        local x = ask(gateway("responses", code), "responses", stream, bytes, nil, MORE)
        local output = output_of(x, stream)
        local all = json.encode(output)
        assert.is_nil(all:find("gAAA1", 1, true), all)
        assert.is_truthy(all:find("rs_up2 gAAA2", 1, true), all)
      end
    end
  end)

  it("is kept by clients of ours alone: what passes is as the model wrote it", function()
    local x = ask(pairs_of.gateway "responses", "responses", true, bytes, nil, MORE)
    assert.is_truthy(pairs_of.streamed(x):find('"encrypted_content":"gAAA1=="', 1, true))
    local body = json.encode { model = "public", input = { { role = "user", content = "Hi" }, ITEMS[1], { role = "user", content = "And 2?" } }, store = false }
    x = pairs_of.gateway("responses"):ask { method = "POST", path = pairs_of.path.responses, headers = { host = "x" }, body = body, upstream = { t.fail(500) }, no_shake = true }
    assert.same(ITEMS[1], x.upstream[1].body.input[2])
  end)
end)

describe("a tool's result that is an error", function()
  it("is told to Gemini as one", function()
    local g = gateway("gemini", LOOKS)
    local messages = { { role = "user", content = "Hi" }, { role = "assistant", content = { CALL } },
      { role = "user", content = { { type = "tool_result", tool_use_id = "c1", is_error = true, content = '{"no":"such city"}' } } } }
    local x = g:ask { method = "POST", path = pairs_of.path.anthropic, headers = { host = "x" }, body = json.encode { model = "public", max_tokens = 9, messages = messages }, upstream = { t.fail(500) }, no_shake = true }
    assert.same({ error = '{"no":"such city"}' }, x.upstream[1].body.contents[3].parts[1].functionResponse.response)
  end)
end)

-- ---- Gemini

describe("what Gemini signed", function()
  local recording = pairs_of.read "spec/wire/gemini/tools.sse"
  local signature = recording:match '"thoughtSignature": ?"([^"]+)"'

  it("is told beside the call as Google's own OpenAI endpoint has it, and goes back with it", function()
    local g = gateway("gemini", LOOKS)
    for _, stream in ipairs { true, false } do
      local want = pairs_of.request("openai", { text = "Hi", stream = stream })
      want.upstream = pairs_of.stream("gemini", { recording })
      local x, calls = g:ask(want), {}
      if stream then
        for _, e in ipairs(events(x)) do
          for _, call in ipairs(e.choices[1].delta.tool_calls or {}) do calls[#calls + 1] = call end
        end
      else
        calls = json.decode(x.body).choices[1].message.tool_calls
      end
      assert.equal(signature, calls[1].extra_content.google.thought_signature)
      for i = 2, #calls do assert.is_nil(calls[i].extra_content) end
      local messages = { { role = "user", content = "Hi" }, { role = "assistant", tool_calls = calls } }
      for _, call in ipairs(calls) do messages[#messages + 1] = { role = "tool", tool_call_id = call.id, content = "7" } end
      local back = g:ask { method = "POST", path = pairs_of.path.openai, headers = { host = "x" }, body = json.encode { model = "public", messages = messages }, upstream = { t.fail(500) }, no_shake = true }
      assert.equal(signature, back.upstream[1].body.contents[2].parts[1].thoughtSignature)
    end
  end)

  it("goes back to Google's endpoints, and not to OpenAI's, which would refuse it", function()
    local call = { id = "c", type = "function", ["function"] = { name = "f", arguments = "{}" }, extra_content = { google = { thought_signature = "sig" } } }
    local body = json.encode { model = "public", messages = { { role = "user", content = "Hi" }, { role = "assistant", tool_calls = { call } }, { role = "tool", tool_call_id = "c", content = "7" } } }
    for url, wanted in pairs { ["https://api.openai.com/v1"] = false, ["https://generativelanguage.googleapis.com/v1beta/openai"] = true } do
      local g = assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { public = { provider = "openai", url = "%s", model = "m" } }, routes = { v1 = { path = "/v1/*", models = { "public" } } } }]]):format(url) })
      local x = g:ask { method = "POST", path = "/v1/chat/completions", headers = { host = "x" }, body = body, upstream = { t.fail(500) }, no_shake = true }
      assert.equal(wanted, x.upstream[1].raw:find("thought_signature", 1, true) ~= nil)
    end
  end)

  it("is not told of a call that a policy changed", function()
    for _, code in ipairs { 'P.filter = { on = "tool_args", match = sluice.match.regex "Berlin", replace = "Bern" }', "function P.tool_call(call) call.args.city = 'Bern' end" } do
      local want = pairs_of.request("openai", { text = "Hi", stream = true })
      want.upstream = pairs_of.stream("gemini", { recording })
      local all = pairs_of.streamed(gateway("gemini", code):ask(want))
      assert.is_truthy(all:find("Bern", 1, true))
      assert.is_nil(all:find("thought_signature", 1, true))
    end
  end)
end)
