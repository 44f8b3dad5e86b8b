-- The Anthropic dialect: the rare events of an upstream's answer, and what a front tells its client.
local d = require("spec.policy.dialect") "anthropic"
local same, ask = d.same, d.call

describe("a rare event", function()
  local function tells(event, want)
    local said = assert(ask { calls = { { "provider", "event", event, "@out" } } })
    same(want, said.told)
  end

  it("message_start names the model and counts the input with what the cache held", function()
    tells([[{"type":"message_start","message":{"id":"m","model":"claude-x","usage":{"input_tokens":3,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"output_tokens":1}}}]],
      [=[[["model","claude-x"],["usage",{"input":123,"cached":100,"cache_written":20,"output":1}]]]=])
    tells([[{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":3,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"output_tokens":1}}}]],
      [=[[["model","claude-x"],["usage",{"input":3,"cached":0,"cache_written":0,"output":1}]]]=])
    tells([[{"type":"message_start","message":null}]], "[]")
  end)

  it("content_block_start begins a call, and what other servers put there", function()
    tells([[{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c1","name":"f","input":{}}}]], [=[[["tool",{"index":1,"id":"c1","name":"f","arguments":""}]]]=])
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c1","name":"f","input":{"a":9007199254740993}}}]],
      [=[[["tool",{"index":0,"id":"c1","name":"f","arguments":"{\"a\":9007199254740993}"}]]]=])
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}]], "[]")
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}]], [=[[["text","content","Hi"]]]=])
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"Hm","signature":""}}]], [=[[["signature",""],["text","reasoning","Hm"]]]=])
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}]], [=[[["signature","redacted_thinking x"]]]=])
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"Hm","signature":"abc"}}]], [=[[["signature",""],["text","reasoning","Hm"],["signature","abc"]]]=])
    tells([[{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}]], "[]")
  end)

  it("message_delta says why it ends and what it cost", function()
    tells([[{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":15}}]], [=[[["usage",{"output":15}],["finish","max_tokens",0]]]=])
    tells([[{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"}}]], [=[[["finish","stop_sequence",0,"END"]]]=])
    tells([[{"type":"message_delta","delta":{"stop_reason":null},"usage":{"input_tokens":5,"cache_read_input_tokens":7,"output_tokens":15,"output_tokens_details":{"thinking_tokens":9}}}]],
      [=[[["usage",{"input":12,"cached":7,"cache_written":0,"output":15,"reasoning":9}]]]=])
  end)

  it("error is one", function()
    tells([[{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}]], [=[[["error",{"code":"overloaded_error","message":"Overloaded"}]]]=])
  end)

  it("of an answer that is an error tells its words, and of another body nothing", function()
    local function reads(body, want)
      local said = assert(ask { calls = { { "provider", "error", "529", body } } })
      same(want, said.returned[1])
    end
    reads('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', '[{"message":"Overloaded","code":"overloaded_error","type":"overloaded_error"}]')
    reads('{"error":"no"}', "[]")
    reads("null", "[]")
  end)
end)

describe("an answer to an Anthropic client", function()
  local function tell(calls, answer)
    local made = {}
    for i, call in ipairs(calls) do made[i] = { "front", call[1], "@answer", call[2] } end
    return assert(ask { calls = made, answer = answer }).returned
  end
  local ANSWER = [[{"id":"0123456789abcdef01234567","model":"m","finish":{},"usage":{}%s}]]

  it("is a stream of named events", function()
    local r = tell({
      { "begin" }, { "open", '{"choice":0,"channel":"reasoning","index":0}' }, { "close", '{"choice":0,"channel":"reasoning","index":0}' },
      { "open", '{"choice":0,"channel":"content","index":1}' }, { "close", '{"choice":0,"channel":"content","index":1}' },
      { "tool", [[{"index":0,"choice":0,"id":"c1","name":"f","arguments":"{\"a\":\"é\"}"}]] }, { "tool", '{"index":1,"choice":0,"id":"c2","name":"g","arguments":""}' },
    }, ANSWER:format "")
    assert.equal('event: message_start\ndata: {"type":"message_start","message":{"id":"msg_0123456789abcdef01234567","type":"message","role":"assistant","model":"m","content":[],'
      .. '"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n', r[1][1])
    assert.same({
      'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}\n\n',
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":', "}}\n\n",
    }, { r[2][1], r[2][2], r[2][3] })
    assert.equal('event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n', r[3][1])
    assert.same({
      'event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}\n\n',
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":', "}}\n\n",
    }, { r[4][1], r[4][2], r[4][3] })
    assert.equal('event: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n', r[5][1])
    assert.equal('event: content_block_start\ndata: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"c1","name":"f","input":{}}}\n\n'
      .. 'event: content_block_delta\ndata: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":\\"é\\"}"}}\n\n'
      .. 'event: content_block_stop\ndata: {"type":"content_block_stop","index":2}\n\n', r[6][1])
    assert.matches('"partial_json":"{}"', r[7][1], 1, true)
    assert.matches('"index":3', r[7][1], 1, true)
  end)

  it("has one choice and no gap in its numbers", function()
    local r = tell({ { "open", '{"choice":1,"channel":"content","index":0}' }, { "open", '{"choice":0,"channel":"refusal","index":1}' }, { "close", '{"choice":1,"channel":"content","index":0}' },
      { "tool", '{"index":0,"choice":1,"id":"c","name":"f","arguments":"{}"}' }, { "close", '{"choice":0,"channel":"refusal","index":1}' } }, ANSWER:format "")
    assert.same({}, r[1])
    assert.matches('"index":0,"content_block":{"type":"text","text":""}', r[2][1], 1, true)
    assert.same({ "", "" }, { r[3][1], r[4][1] })
    assert.equal('event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n', r[5][1])
  end)

  it("ends with why and what it cost", function()
    local function ends(answer, reason, usage, tool)
      local calls = { { "finish" } }
      if tool then table.insert(calls, 1, { "tool", '{"index":0,"choice":0,"id":"c","name":"f","arguments":"{}"}' }) end
      local r = tell(calls, ('{"id":"a","model":"m",%s}'):format(answer))
      assert.equal(('event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"%s","stop_sequence":null,"stop_details":null},"usage":%s}\n\n'
        .. 'event: message_stop\ndata: {"type":"message_stop"}\n\n'):format(reason, usage), r[#r][1])
    end
    local none = '{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}'
    for word, reason in pairs { stop = "end_turn", length = "max_tokens", tool_calls = "tool_use", content_filter = "refusal", pause_turn = "pause_turn" } do
      ends(('"by_choice":["%s"]'):format(word), reason, none)
    end
    ends('"finish":{}', "end_turn", none)
    ends('"by_choice":["stop"]', "tool_use", none, true)
    ends('"by_choice":["length"]', "max_tokens", none, true)
    ends('"usage":{"input":123,"cached":80,"cache_written":20,"output":7,"reasoning":5}', "end_turn",
      '{"input_tokens":23,"cache_creation_input_tokens":20,"cache_read_input_tokens":80,"output_tokens":7,"output_tokens_details":{"thinking_tokens":5}}')
  end)

  it("is one document for a client that does not stream", function()
    local r = tell({ { "whole" } }, ANSWER:format [=[,"by_choice":["tool_calls"],"usage":{"input":5,"output":2},"blocks":[{"choice":0,"channel":"reasoning","text":"Hm"},
      {"choice":0,"channel":"content","text":"Hi"},{"choice":1,"channel":"content","text":"no"},{"choice":0,"tool":{"id":"c1","name":"f","arguments":"{\"a\":9007199254740993}"}},
      {"choice":0,"tool":{"id":"c2","name":"g","arguments":""}},{"choice":0,"tool":{"id":"c3","name":"g","arguments":"{\"cu"}}]]=])
    same([[{"id":"msg_0123456789abcdef01234567","type":"message","role":"assistant","model":"m","stop_reason":"tool_use","stop_sequence":null,"stop_details":null,
      "content":[{"type":"thinking","thinking":"Hm","signature":""},{"type":"text","text":"Hi"},{"type":"tool_use","id":"c1","name":"f","input":{"a":9007199254740993}},
        {"type":"tool_use","id":"c2","name":"g","input":{}},{"type":"tool_use","id":"c3","name":"g","input":"{\"cu"}],
      "usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}]], r[1][1])
    local empty = tell({ { "whole" } }, ANSWER:format ',"blocks":[]')
    same("[]", empty[1][1].content)
  end)

  it("that failed says so in Anthropic's words", function()
    for status, word in pairs {
      [400] = "invalid_request_error", [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error", [413] = "request_too_large",
      [422] = "invalid_request_error", [429] = "rate_limit_error", [500] = "api_error", [502] = "api_error", [503] = "overloaded_error", [504] = "timeout_error",
      [529] = "overloaded_error",
    } do
      local said = assert(ask { calls = { { "front", "error", ('{"status":%d,"code":"why","message":"Because."}'):format(status) } } })
      same(('{"type":"error","error":{"type":"%s","message":"Because.","details":{"error_code":"why"}}}'):format(word), said.returned[1][1])
    end
    local r = tell({ { "fault", '{"status":502,"code":"upstream_error","message":"It broke."}' } }, ANSWER:format "")
    assert.equal('event: error\ndata: {"type":"error","error":{"type":"api_error","message":"It broke.","details":{"error_code":"upstream_error"}}}\n\n', r[1][1])
  end)
end)
