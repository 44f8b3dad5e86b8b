-- Where front and provider speak the same and nobody looks: what bytes say is what came, but for the model's name, in both directions. And what is left of
-- that when a policy touches a request.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local pairs_of = require "spec.policy.pairs"

local FRONTS = { "openai", "responses", "anthropic" }
local PASSING = {                                         -- recordings of answers that went well
  openai = { "plain", "reasoning", "reasoning-name", "tools", "usage", "length", "filter", "refusal" },
  responses = { "plain", "reasoning", "reasoning-text", "tools", "usage", "length", "filter", "refusal", "builtin" },
  anthropic = { "plain", "reasoning", "redacted", "tools", "cache", "max-tokens", "refusal", "server-tool", "old-usage" },
}

local gateways = setmetatable({}, { __index = function(all, front)
  local g = pairs_of.gateway(front)
  rawset(all, front, g)
  return g
end })

local function ask(front, body, upstream) return gateways[front]:ask { method = "POST", path = pairs_of.path[front], headers = { host = "test" }, body = body, upstream = upstream, no_shake = true } end

local function raw_stream(x)
  local out = {}
  for i, entry in ipairs(x.wire) do out[i] = entry.bytes end
  return table.concat(out)
end

-- What is to come: the model under the name that clients know, and no comments, which are the upstream's own heartbeats.
local function renamed(bytes) return (bytes:gsub('("model": ?)"[^"]*"', '%1"public"'):gsub("%f[^\n\0]: [^\n]*\n\n", "")) end

describe("a stream in the client's own dialect", function()
  for _, front in ipairs(FRONTS) do
    for _, name in ipairs(PASSING[front]) do
      it(("passes as it came: %s/%s"):format(front, name), function()
        local bytes = pairs_of.read(("spec/wire/%s/%s.sse"):format(front, name))
        local body = pairs_of.body(front, { text = "Hi", stream = true, usage = true })
        assert.equal(renamed(bytes), raw_stream(ask(front, body, pairs_of.stream(front, { bytes }))))
        for at = 1, #bytes - 1, 97 do
          assert.equal(renamed(bytes), raw_stream(ask(front, body, pairs_of.stream(front, { bytes:sub(1, at), bytes:sub(at + 1) }))), "cut at byte " .. at)
        end
      end)
    end
  end

  local ODD = {                                           -- members that nobody knows, large numbers, spaces, escapes as they were written
    openai = {
      'data: {"id": "c", "x_big": 9007199254740993, "model":"upstream-1","choices":[{"index":0,"delta":{"content":"\\u00e9","x":[1.10, 1e3]},"logprobs":{"content":[{"token":"a","logprob":-0.30000000000000004}]}}]}\n\n',
      'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"service_tier":"x"}\n\n', "data: [DONE]\n\n",
    },
    anthropic = {
      'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"upstream-1","usage":{"input_tokens":1,"output_tokens":1},"container":null, "x_big":9007199254740993}}\n\n',
      'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"","citations":null}}\n\n', 'event: ping\ndata: {"type": "ping"}\n\n',
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\u00e9"},"x":1.10}\n\n',
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"char_location","start":0}}}\n\n',
      'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
      'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"pause_turn"},"usage":{"output_tokens":9007199254740993}}\n\n', 'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    },
    responses = {
      'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"upstream-1","x_big":9007199254740993, "output":[]}}\n\n',
      'event: response.new_thing\ndata: {"type":"response.new_thing","sequence_number":1, "obfuscation":"aGk"}\n\n',
      'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":2,"delta":"\\u00e9","logprobs":[],"x":1.10}\n\n',
      'event: response.completed\ndata: {"type":"response.completed","sequence_number":3,"response":{"id":"resp_1","model":"upstream-1","output":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n',
    },
  }
  for _, front in ipairs(FRONTS) do
    it("keeps what nobody here knows: " .. front, function()
      local bytes = table.concat(ODD[front])
      assert.equal(renamed(bytes), raw_stream(ask(front, pairs_of.body(front, { text = "Hi", stream = true }), pairs_of.stream(front, { bytes }))))
    end)
  end
end)

describe("a document in the client's own dialect", function()
  local DOCUMENTS = {
    openai = '{"id":"c","object":"chat.completion", "model":"upstream-1","x_big":9007199254740993,"choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9","annotations":[]},'
      .. '"finish_reason":"stop"}],\n  "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"system_fingerprint":null}',
    anthropic = '{"model":"upstream-1","id":"msg_1","type":"message", "role":"assistant","content":[{"type":"text","text":"\\u00e9","citations":[{"type":"x","big":9007199254740993}]}],'
      .. '"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1,"service_tier":"standard"}}',
    responses = '{"id":"resp_1","object":"response","status":"completed","model":"upstream-1", "output":[{"type":"web_search_call","id":"ws_1","status":"completed","x_big":9007199254740993},'
      .. '{"type":"message","role":"assistant","content":[{"type":"output_text","text":"\\u00e9","annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}',
  }
  for _, front in ipairs(FRONTS) do
    it("passes as it came: " .. front, function()
      for _, at in ipairs { 1, 40, 90, 200 } do
        local x = ask(front, pairs_of.body(front, { text = "Hi", stream = false }), {
          t.head(200, { ["content-type"] = "application/json" }), t.raw(DOCUMENTS[front]:sub(1, at)), t.raw(DOCUMENTS[front]:sub(at + 1)), t.close(),
        })
        assert.equal(renamed(DOCUMENTS[front]), x.body)
        assert.is_nil(x.upstream[1].body.stream)
      end
    end)
  end
end)

-- ---- requests

-- A body as a client writes it, and what must be found in it upstream, byte for byte. touched: the message that a policy changes.
local REQUESTS = {
  openai = {
    body = '{ "messages": [ {"role":"system","content":"Be  brief.", "x":1.10},\n {"content":[{"type":"text","text":"Hi \\u00e9"},{"type":"image_url","image_url":{"url":"https://x.test/a.png"}}],"role":"user"},\n'
      .. ' {"role":"assistant","content":null,"tool_calls":[{"type":"function","id":"c1","function":{"arguments":"{\\"a\\": 9007199254740993}","name":"f"},"x":2}]},{"role":"tool","tool_call_id":"c1","content":"7"},\n'
      .. ' {"role":"user", "content":"touch me", "name":"ann"} ],\n "model":"public", "seed": 9007199254740993, "x_new": {"b":1.10, "a":[null]}, "temperature": 0.70, "tools":[ {"function":{"parameters":{"type":"object","properties":{"z":{},"a":{}}},"name":"f"},"type":"function"} ],'
      .. ' "stream": true, "stream_options": {"include_usage": true, "x":1} }',
    members = { '"seed":9007199254740993', '"x_new":{"b":1.10, "a":[null]}', '"temperature":0.70', '"tools":[ {"function":{"parameters":{"type":"object","properties":{"z":{},"a":{}}},"name":"f"},"type":"function"} ]' },
    messages = {
      '{"role":"system","content":"Be  brief.", "x":1.10}', '{"content":[{"type":"text","text":"Hi \\u00e9"},{"type":"image_url","image_url":{"url":"https://x.test/a.png"}}],"role":"user"}',
      '{"role":"assistant","content":null,"tool_calls":[{"type":"function","id":"c1","function":{"arguments":"{\\"a\\": 9007199254740993}","name":"f"},"x":2}]}',
      '{"role":"tool","tool_call_id":"c1","content":"7"}',
    },
    list = '"messages":[ {"role":"system"',
  },
  anthropic = {
    body = '{ "system": [ {"text":"Be  brief.","type":"text", "cache_control":{"type":"ephemeral"}} ],\n "messages": [ {"content":[{"text":"Hi \\u00e9","type":"text"},{"type":"image","source":{"type":"url","url":"https://x.test/a.png"}}],"role":"user"},\n'
      .. ' {"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{"b": 9007199254740993, "a":1.10}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1", "content":"7"}]},\n'
      .. ' {"role":"assistant","content":"So."}, {"role":"user", "content":"touch me"} ],\n "model":"public", "max_tokens": 9007199254740993, "x_new": {"b":1.10, "a":[null]}, "temperature": 0.70,'
      .. ' "tools":[ {"input_schema":{"type":"object","properties":{"z":{},"a":{}}},"name":"f"} ], "stream": true, "thinking": {"budget_tokens": 2048, "type":"enabled"} }',
    members = { '"system":[ {"text":"Be  brief.","type":"text", "cache_control":{"type":"ephemeral"}} ]', '"max_tokens":9007199254740993', '"x_new":{"b":1.10, "a":[null]}', '"temperature":0.70',
      '"tools":[ {"input_schema":{"type":"object","properties":{"z":{},"a":{}}},"name":"f"} ]', '"thinking":{"budget_tokens": 2048, "type":"enabled"}' },
    messages = {
      '{"content":[{"text":"Hi \\u00e9","type":"text"},{"type":"image","source":{"type":"url","url":"https://x.test/a.png"}}],"role":"user"}',
      '{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{"b": 9007199254740993, "a":1.10}}]}', '{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1", "content":"7"}]}',
      '{"role":"assistant","content":"So."}',
    },
    list = '"messages":[ {"content"',
  },
  responses = {
    body = '{ "instructions": "Be  brief.\\u00e9", "input": [ {"content":[{"text":"Hi \\u00e9","type":"input_text"},{"type":"input_image","image_url":"https://x.test/a.png","detail":"auto"}],"role":"user", "type":"message"},\n'
      .. ' {"type":"function_call","call_id":"c1","name":"f","arguments":"{\\"a\\": 9007199254740993}", "id":"fc_1"},{"type":"function_call_output","call_id":"c1", "output":"7"},\n'
      .. ' {"role":"user", "content":"touch me"} ],\n "model":"public", "max_output_tokens": 9007199254740993, "metadata": {"b":"1", "a":"2"}, "temperature": 0.70,'
      .. ' "tools":[ {"parameters":{"type":"object","properties":{"z":{},"a":{}}},"name":"f","type":"function","strict":false}, {"type":"web_search", "x":1.10} ], "stream": true, "store": false }',
    members = { '"instructions":"Be  brief.\\u00e9"', '"max_output_tokens":9007199254740993', '"metadata":{"b":"1", "a":"2"}', '"temperature":0.70',
      '"tools":[ {"parameters":{"type":"object","properties":{"z":{},"a":{}}},"name":"f","type":"function","strict":false}, {"type":"web_search", "x":1.10} ]' },
    messages = {
      '{"content":[{"text":"Hi \\u00e9","type":"input_text"},{"type":"input_image","image_url":"https://x.test/a.png","detail":"auto"}],"role":"user", "type":"message"}',
      '{"type":"function_call","call_id":"c1","name":"f","arguments":"{\\"a\\": 9007199254740993}", "id":"fc_1"}', '{"type":"function_call_output","call_id":"c1", "output":"7"}',
    },
    list = '"input":[ {"content"',
  },
}

local TOUCH = 'function P.prompt(req) req:map_text(function(text) return (text:gsub("touch me", "touched")) end) end'

local function sent(g, front)
  local x = g:ask { method = "POST", path = pairs_of.path[front], headers = { host = "test" }, body = REQUESTS[front].body, upstream = { t.fail(500) }, no_shake = true }
  return assert(x.upstream[1], x.body).raw
end

local function holds(text, part) assert.is_truthy(text:find(part, 1, true), part .. "\nis not in\n" .. text) end

local function before(text, ...)                          -- in this order
  local at = 0
  for _, part in ipairs { ... } do
    local found = text:find(part, at + 1, true)
    assert.is_truthy(found and found > at, part .. " stands elsewhere in\n" .. text)
    at = found
  end
end

describe("a request in the provider's own dialect", function()
  for _, front in ipairs(FRONTS) do
    local r = REQUESTS[front]

    it("goes on as it was written: " .. front, function()
      local raw = sent(gateways[front], front)
      for _, part in ipairs(r.members) do holds(raw, part) end
      for _, part in ipairs(r.messages) do holds(raw, part) end
      holds(raw, r.list)                                  -- even the spaces between
      before(raw, table.unpack(r.messages))
      before(raw, r.list:match '^"%w+"', table.unpack(r.members, front == "anthropic" and 2 or front == "responses" and 2 or 1))
      holds(raw, '"model":"upstream-1"')
    end)

    it("keeps all but what a policy touched: " .. front, function()
      local raw = sent(pairs_of.gateway(front, "policies = { P }", TOUCH), front)
      for _, part in ipairs(r.members) do holds(raw, part) end
      for _, part in ipairs(r.messages) do holds(raw, part) end
      before(raw, table.unpack(r.messages))
      holds(raw, "touched")
      assert.is_nil(raw:find("touch me", 1, true))
      assert.is_table(json.decode(raw))
    end)
  end

  it("keeps each of two messages that say the same as it was written", function()
    local same = '{"role":"user","content":"a"}, {"content": "a", "role": "user"}, {"role":"user","content":"touch me"}'
    local g = pairs_of.gateway("openai", "policies = { P }", TOUCH)
    local x = g:ask { method = "POST", path = pairs_of.path.openai, headers = { host = "test" }, body = '{"model":"public","messages":[' .. same .. ']}', upstream = { t.fail(500) }, no_shake = true }
    holds(x.upstream[1].raw, '{"role":"user","content":"a"},{"content": "a", "role": "user"},')
  end)
end)
