-- What upstreams send, changed at random: the recordings of spec/wire/DIALECT with events lost, doubled, out of order, cut short or changed within, through every
-- front, streaming and not, passing and filtered. The client gets one end, nothing behind it, and whatever it gets is well formed.
local t = require "sluice.testing"
local fuzz = require "spec.policy.fuzz"
local json = require "sluice.testing.json"
local lfs = require "lfs"

local one = fuzz.one

local SOURCE = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
P.filter = { { text = function(text) return text end }, { match = sluice.match.regex "\\x{7f}never", replace = "" },
  { on = { "content" }, unit = "sentence", text = function(text) return text end } }
local L = sluice.policy { name = "l" }
function L.finish() end
local M, all = {}, {}
for i, name in ipairs { "openai", "anthropic", "gemini", "ollama", "responses" } do
  M[name], all[i] = { provider = name, url = "http://" .. name .. ".test/v1", model = "upstream-1", key = "KEY" }, name
end
return sluice.config { api = 1, listen = ":0", models = M, routes = {
  plain = { path = "/v1/*", models = all }, filtered = { path = "/f/v1/*", models = all, policies = { P } }, looked = { path = "/l/v1/*", models = all, policies = { L } },
  ui = { path = "/ui", front = "ui", models = all }, ui_filtered = { path = "/f/ui", front = "ui", models = all, policies = { P } } } }
]]

-- ---- what is sent

local DIALECTS = { "openai", "anthropic", "gemini", "ollama", "responses" }

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

-- A stream as a list of events { before =, tree =, after = }; data that is no JSON stays a text.
local function events_of(bytes, kind)
  local out = {}
  for event in (bytes .. "\n"):gmatch(kind == "sse" and "(.-\n)\r?\n" or "([^\n]*\n)") do
    local before, data = event:match "^(.-data: ?)(.*)\n$"
    if kind == "ndjson" then before, data = "", event:sub(1, -2) end
    out[#out + 1] = { before = before or event, tree = data and fuzz.parse(data), text = data or "", after = kind == "sse" and "\n\n" or "\n" }
  end
  return out
end

local recordings = {}
for _, dialect in ipairs(DIALECTS) do
  recordings[dialect] = {}
  local names = {}
  for file in lfs.dir("spec/wire/" .. dialect) do
    if not file:find "^%." and not file:find "%.json$" then names[#names + 1] = file end
  end
  table.sort(names)
  for i, file in ipairs(names) do recordings[dialect][i] = events_of(read(("spec/wire/%s/%s"):format(dialect, file)), file:match "%a+$") end
end

local DOCUMENTS = {
  openai = fuzz.parse [[{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","tool_calls":[{"id":"a",
    "type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}]],
  anthropic = fuzz.parse [[{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,
    "output_tokens":2,"cache_read_input_tokens":0}}]],
  responses = fuzz.parse [[{"id":"r","object":"response","model":"m","status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],
    "usage":{"input_tokens":1,"output_tokens":2,"input_tokens_details":{"cached_tokens":0}}}]],
}

local EMBEDDINGS = {
  openai = fuzz.parse '{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[0.5,1]}],"usage":{"prompt_tokens":1,"total_tokens":1}}',
  gemini = fuzz.parse '{"embeddings":[{"values":[0.5,1]}]}', ollama = fuzz.parse '{"embeddings":[[0.5,1]],"prompt_eval_count":3}',
}

local EXTRA = { ": a comment\n\n", "data\n\n", "data:\n\n", "event: x\n\n", "retry: 1\n", "id: 1\n\n", "\n", "data: null\n\n", "data: []\n\n", "data: 1\n\n", "data: {}\n\n", "data: \"\"\n\n",
  "null\n", "[]\n", "{}\n", "data: [DONE]\n\n", "\r\r", "data: {\ndata: }\n\n", "event: error\ndata: {\"type\":\"error\",\"error\":1}\n\n", "data: {\"error\":null}\n\n",
  "data: {\"error\":\"x\"}\n\n" }

local function event_text(e) return e.before .. (e.tree and fuzz.text(e.tree) or e.text) .. e.after end

local function stream_bytes(random, events)
  local list = {}
  for i, e in ipairs(events) do
    list[i] = e
    if e.tree and random(#events) <= 2 then list[i] = { before = e.before, tree = fuzz.mutated(random, e.tree, random(3)), after = e.after } end
  end
  for _ = 1, random(4) - 1 do
    if #list == 0 then break end
    local at, what = random(#list), random(5)
    if what == 1 then
      table.remove(list, at)
    elseif what == 2 then
      table.insert(list, at, list[random(#list)])
    elseif what == 3 then
      local other = random(#list)
      list[at], list[other] = list[other], list[at]
    elseif what == 4 then
      table.insert(list, at, { before = one(random, EXTRA), text = "", after = "" })
    else
      for i = #list, at + 1, -1 do list[i] = nil end
    end
  end
  local out = {}
  for i, e in ipairs(list) do out[i] = event_text(e) end
  local bytes = table.concat(out)
  if random(6) == 1 then bytes = bytes:gsub("\n", random(2) == 1 and "\r" or "\r\n") end
  if random(4) == 1 then bytes = fuzz.damaged(random, bytes, random(3)) end
  return bytes
end

local function pieces(random, bytes, script)
  local at = 1
  while at <= #bytes do
    local n = random(3) == 1 and random(7) or random(400)
    if #bytes > 20000 then n = n * 100 end
    script[#script + 1] = t.raw(bytes:sub(at, at + n - 1))
    at = at + n
  end
  local ends = random(6)
  script[#script + 1] = ends == 1 and t.reset() or t.close()
  return script
end

-- ---- what is asked, and what its client must get

local ENDS = {}                                          -- what ends a stream of a front, and what may stand in its place

local function is_end(front, name, data)
  if data == "[DONE]" then return front ~= "anthropic" and front ~= "responses" end
  local tree = fuzz.parse(data)
  if not tree or tree.kind ~= "object" then return false end
  return ENDS[front](name, fuzz.members(tree), function(node) return node and node.text end)
end

local function openai_end(_, m) return m.error ~= nil and fuzz.meaning(m.error) ~= "null" end
ENDS.chat, ENDS.completions, ENDS.embeddings = openai_end, openai_end, openai_end
function ENDS.anthropic(_, m, text) return text(m.type) == '"message_stop"' or text(m.type) == '"error"' end
function ENDS.responses(_, m, text)
  local kind = text(m.type)
  return kind == '"response.completed"' or kind == '"response.incomplete"' or kind == '"response.failed"'
end
function ENDS.ui() return false end

local function chat(w)
  return { model = w.model, stream = w.stream, n = w.n, messages = { { role = "user", content = "hi" } }, stream_options = w.usage and { include_usage = true } or nil,
    logprobs = w.logprobs }
end

local FRONTS = {
  { "chat", "/v1/chat/completions", chat },
  { "chat", "/v1/chat/completions", chat },
  { "completions", "/v1/completions", function(w) return { model = w.model, stream = w.stream, prompt = "hi", logprobs = w.logprobs and 2 } end },
  { "responses", "/v1/responses", function(w)
    return { model = w.model, stream = w.stream, input = "hi", include = w.logprobs and { "message.output_text.logprobs" } }
  end },
  { "anthropic", "/v1/messages", function(w) return { model = w.model, stream = w.stream, max_tokens = 5, messages = { { role = "user", content = "hi" } } } end },
  { "embeddings", "/v1/embeddings", function(w) return { model = w.model, input = "hi", encoding_format = w.usage and "base64" or nil } end, documents = EMBEDDINGS },
  { "ui", "/ui", function(w) return { model = w.model, messages = { { role = "user", parts = { { type = "text", text = "hi" } } } } } end, streams = true },
}

local function wire_of(x)
  local out = {}
  for i, entry in ipairs(x.wire) do out[i] = entry.bytes end
  return table.concat(out)
end

local function check_stream(front, bytes)
  assert(utf8.len(bytes), "what was sent is no UTF-8")
  assert(not bytes:find "\r", "a carriage return in the stream")
  local ends, at = 0, 1
  while at <= #bytes do
    local stop = bytes:find("\n\n", at, true)
    assert(stop, "the stream ends within an event: " .. bytes:sub(-200))
    local event = bytes:sub(at, stop)
    at = stop + 2
    if event:sub(1, 1) ~= ":" then
      local name, data = event:match "^event: ([^\n]*)\ndata: ([^\n]*)\n$"
      data = data or event:match "^data: ([^\n]*)\n$"
      assert(data, "an odd event: " .. event:sub(1, 200))
      if data ~= "[DONE]" then
        local tree, why = fuzz.parse(data)
        assert(tree, ("data that is no JSON (%s): %s"):format(tostring(why), data:sub(1, 300)))
      end
      assert(ends == 0, "behind the end: " .. event:sub(1, 300))
      if is_end(front, name, data) then ends = ends + 1 end
    end
  end
  assert(ends == 1, "no end: " .. bytes:sub(-300))
end

local function check(x, front)
  local failed = fuzz.failed(x)
  assert(not failed, failed)
  assert(x.closed, "the stream was never closed")
  local closed = 0
  for _, entry in ipairs(x.log) do closed = closed + (entry.what == "closed" and 1 or 0) end
  assert(closed == 1, "closed twice")
  assert(x.status and x.status ~= 500 and (x.status == 200 or x.status >= 400), "status " .. tostring(x.status))
  if #x.wire > 0 then return check_stream(front, wire_of(x)) end
  local tree, why = fuzz.parse(x.body)
  assert(tree, ("the document is no JSON (%s): %s"):format(tostring(why), x.body:sub(1, 300)))
end

describe("what upstreams send, changed at random", function()
  local g = assert(t.load { source = SOURCE })

  local function play(random, note)
    local front, dialect, way = one(random, FRONTS), one(random, DIALECTS), one(random, { "", "/f", "/l" })
    if way == "/l" and front[1] == "ui" then way = "" end
    local stream = front.streams or random(3) > 1
    local want = { model = dialect, stream = stream, n = random(4) == 1 and (dialect == "openai" or dialect == "gemini") and random(3) or nil, usage = random(2) == 1, logprobs = random(3) == 1 or nil }
    local bytes = stream_bytes(random, one(random, recordings[dialect]))
    note.front, note.path, note.bytes, note.stream, note.dialect = front[1], way .. front[2], bytes, stream, dialect
    local x = g:start { method = "POST", path = note.path, headers = { host = "x" }, body = json.encode(front[3](want)) }
    local asked = x.upstream[1]
    local document = (front.documents or DOCUMENTS)[dialect]
    if asked and document and asked.body.stream ~= true then
      bytes = fuzz.text(fuzz.mutated(random, document, random(3) - 1))
      if random(4) == 1 then bytes = fuzz.damaged(random, bytes, random(3)) end
      note.bytes = bytes
      x:play(pieces(random, bytes, { t.head(200, { ["content-type"] = "application/json" }) }))
    else
      x:play(pieces(random, bytes, { t.head(200, { ["content-type"] = dialect == "ollama" and "application/x-ndjson" or "text/event-stream" }) }))
    end
    return x
  end

  it("comes to one end, well formed to the last byte", function()
    for case, random in fuzz.cases(1000) do
      local note = {}
      local x = fuzz.quiet(play, random, note)
      local path, provider = note.path, note.dialect
      local ok, why = pcall(check, x, note.front)
      if not ok then error(("case %d (FUZZ_SEED=%d FUZZ_CASES=1): %s\n  %s of %s (stream: %s) from: %s"):format(case, case, tostring(why), path, provider, note.stream, note.bytes:sub(1, 3000)), 0) end
    end
  end)

  -- ---- what was found so

  local BODIES = {
    chat = '{"model":"%s","stream":%s,"messages":[{"role":"user","content":"hi"}]}', anthropic = '{"model":"%s","stream":%s,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}',
  }

  -- One exchange with the dialect `model`, streamed unless it is to be a document; n: choices.
  local function ask(path, model, bytes, document, n)
    local body = BODIES[path:find "messages" and "anthropic" or "chat"]:format(model, not document)
    local x = g:start { method = "POST", path = path, headers = { host = "x" }, body = n and body:gsub("^{", ('{"n":%d,'):format(n)) or body }
    x:play { t.head(200, { ["content-type"] = document and "application/json" or model == "ollama" and "application/x-ndjson" or "text/event-stream" }), t.raw(bytes), t.close() }
    check(x, path:find "messages" and "anthropic" or "chat")
    return x
  end

  it("is UTF-8 for the client where its bytes pass and were none", function()
    local x = ask("/v1/chat/completions", "openai", 'data: {"choices":[{"index":0,"delta":{"content":"a\255b"}}]}\n\ndata: [DONE]\n\n')
    assert.is_truthy(wire_of(x):find("a\u{FFFD}b", 1, true))
    x = ask("/v1/chat/completions", "openai", '{"model":"m","choices":[{"message":{"content":"a\255b"}}]}', true)
    assert.is_truthy(x.body:find("a\u{FFFD}b", 1, true))
  end)

  it("may be an event that nobody can read: upstream_bad_json, and no accident of the dialect", function()
    for model, event in pairs {
      openai = 'data: {"choices":[{"index":0,"delta":{"content":"a"}},{"x":1e400}]}\n\n', anthropic = 'data: {"type":"message_delta","usage":{"output_tokens":1e400}}\n\n',
      gemini = 'data: {"candidates":[{"finishReason":"STOP","x":1e400}]}\n\n', ollama = '{"message":{"tool_calls":[1e400]}}\n',
      responses = 'data: {"type":"response.completed","x":1e400}\n\n',
    } do
      local x = ask("/f/v1/chat/completions", model, event)
      assert.is_truthy(x.body:find('"code":"upstream_bad_json"', 1, true))
    end
  end)

  it("may hold choices, calls and errors of any kind", function()
    local done = "data: [DONE]\n\n"
    ask("/f/v1/chat/completions", "openai", 'data: {"choices":[1,{"index":0,"delta":{"content":"a","tool_calls":[1,{"function":2}]}}]}\n\n' .. done)
    ask("/f/v1/chat/completions", "anthropic", 'data: {"type":"content_block_start","content_block":{"type":"tool_use","id":1,"name":{}}}\n\ndata: {"type":"message_stop"}\n\n')
    local x = ask("/f/v1/chat/completions", "anthropic", 'data: {"type":"error","error":{"message":[],"type":{}}}\n\n')
    assert.is_truthy(x.body:find('"code":"upstream_error"', 1, true))
  end)

  it("says nothing for a choice that nobody asked for, however large its number is", function()
    local x = ask("/f/v1/chat/completions", "openai", 'data: {"choices":[{"index":4294967296,"delta":{"content":"a"}},{"index":0,"delta":{"content":"b"}}]}\n\ndata: [DONE]\n\n')
    assert.is_truthy(wire_of(x):find('"content":"b"', 1, true))
    assert.is_nil(wire_of(x):find('"content":"a"', 1, true))
  end)

  -- Seen by the leak check of the sanitizer's build.
  it("leaves nothing of the text that a filter held of a second choice", function()
    ask("/f/v1/chat/completions", "openai", 'data: {"choices":[{"index":2,"delta":{"content":"a text that is held"}}]}\n\n', false, 3)
  end)
end)
