-- The Anthropic dialect: requests both ways. What it answers is in dialect_anthropic_answers_spec.lua.
local json = require "sluice.testing.json"
local dialect = require "spec.policy.dialect"
local d = dialect "anthropic"
local same, read, request = d.same, d.read, d.request

local function refused(why, status, code, message)
  assert.is_table(why)
  assert.same({ status, code, message }, { why.status, why.code, why.message })
end

-- What an Anthropic model gets of an Anthropic client's body, in its own words.
local function through(body, headers)
  local req = assert(read(body, headers))
  return assert(request(json.encode(req)))
end

describe("a request in OpenAI's words", function()
  local function asks(req, want, model)
    local r, why = request(req, model)
    assert.is_table(r, why and why.message)
    same(want, r.body)
  end
  local function params_are(given, want, model)
    local r, why = request(('{"messages":[],"params":%s}'):format(given), model)
    assert.is_table(r, why and why.message)
    r.body.model, r.body.stream, r.body.messages = nil, nil, nil
    same(want, r.body)
  end
  local function cannot(req, message)
    local r, why = request(req)
    assert.is_nil(r)
    refused(why, 400, "param_not_supported", message)
  end

  it("is posted with the version and the key", function()
    local r = assert(request([[{"messages":[],"params":{}}]], [[{"model":"claude-x","key":"sk-1","options":{"beta":"a-1"}}]]))
    same([[{"path":"/messages","headers":{"Content-Type":"application/json","Accept":"text/event-stream","anthropic-version":"2023-06-01",
      "anthropic-beta":"a-1","x-api-key":"sk-1"},"body":{"model":"claude-x","stream":true,"max_tokens":4096,"messages":[]}}]], r)
  end)

  it("has its system messages apart, wherever they stood", function()
    asks([[{"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"}],"params":{}}]],
      [[{"model":"claude-x","stream":true,"max_tokens":4096,"system":"Be kind.","messages":[{"role":"user","content":"Hi"}]}]])
    asks([[{"messages":[{"role":"developer","content":"Be kind."},{"role":"user","content":"Hi"},{"role":"system","content":[{"type":"text","text":"Be brief."}]}],"params":{}}]],
      [[{"model":"claude-x","stream":true,"max_tokens":4096,"system":[{"type":"text","text":"Be kind."},{"type":"text","text":"Be brief."}],
        "messages":[{"role":"user","content":"Hi"}]}]])
  end)

  it("has one turn for what one side says in a row", function()
    asks([[{"messages":[{"role":"user","content":"Hi"},{"role":"user","content":[{"type":"text","text":"there"},{"type":"text","text":""}]},
        {"role":"assistant","content":""},{"role":"assistant","content":"Yes","refusal":null},{"role":"user","content":"Go"}],"params":{}}]],
      [[{"model":"claude-x","stream":true,"max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"text","text":"there"}]},
        {"role":"assistant","content":"Yes"},{"role":"user","content":"Go"}]}]])
  end)

  it("has calls as blocks and all results first in the user's turn after them", function()
    asks([[{"messages":[{"role":"user","content":"Weather?"},
        {"role":"assistant","content":"Looking.","tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"id\":9007199254740993,\"in\":[]}"}},
          {"id":"c2","type":"function","function":{"name":"now","arguments":""}}]},
        {"role":"tool","tool_call_id":"c1","name":"weather","content":"Sun"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"Noon"}]},
        {"role":"user","content":"And?"}],"params":{}}]],
      [[{"model":"claude-x","stream":true,"max_tokens":4096,"messages":[{"role":"user","content":"Weather?"},
        {"role":"assistant","content":[{"type":"text","text":"Looking."},{"type":"tool_use","id":"c1","name":"weather","input":{"id":9007199254740993,"in":[]}},
          {"type":"tool_use","id":"c2","name":"now","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"Sun"},{"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"Noon"}]},
          {"type":"text","text":"And?"}]}]}]])
  end)

  it("has a lone call and nothing else", function()
    asks([[{"messages":[{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"now","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c1","content":""}],"params":{}}]],
      [[{"model":"claude-x","stream":true,"max_tokens":4096,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"now","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1"}]}]}]])
  end)

  it("has images by URL and by value, and PDFs", function()
    asks([[{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO+/==","detail":"high"}},
        {"type":"image_url","image_url":{"url":"https://x/y.png"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}}]}],"params":{}}]],
      [[{"model":"claude-x","stream":true,"max_tokens":4096,"messages":[{"role":"user","content":[
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO+/=="}},{"type":"image","source":{"type":"url","url":"https://x/y.png"}},
        {"type":"document","title":"a.pdf","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}}]}]}]])
  end)

  it("has tools and how they are to be chosen", function()
    local function choice(params, want)
      asks(([[{"messages":[],"tools":[{"type":"function","function":{"name":"f","description":"F","parameters":{"type":"object","properties":{"a":{}}},"strict":true}},
          {"type":"function","function":{"name":"g"}}],"params":%s}]]):format(params),
        ([[{"model":"claude-x","stream":true,"max_tokens":4096,"messages":[],"tools":[{"name":"f","description":"F","input_schema":{"type":"object","properties":{"a":{}}},"strict":true},
          {"name":"g","input_schema":{"type":"object","properties":{}}}]%s}]]):format(want))
    end
    choice('{}', '')
    choice('{"tool_choice":"auto"}', ',"tool_choice":{"type":"auto"}')
    choice('{"tool_choice":"required","parallel_tool_calls":true}', ',"tool_choice":{"type":"any"}')
    choice('{"tool_choice":"none","parallel_tool_calls":false}', ',"tool_choice":{"type":"none"}')
    choice('{"tool_choice":{"type":"function","function":{"name":"f"}}}', ',"tool_choice":{"type":"tool","name":"f"}')
    choice('{"parallel_tool_calls":false}', ',"tool_choice":{"type":"auto","disable_parallel_tool_use":true}')
  end)

  it("has its other params under Anthropic's names", function()
    params_are('{"max_tokens":5,"temperature":0.5,"top_p":0.9,"top_k":3,"stop":"END","user":"u1"}',
      '{"max_tokens":5,"temperature":0.5,"top_p":0.9,"top_k":3,"stop_sequences":["END"],"metadata":{"user_id":"u1"}}')
    params_are('{"max_tokens":5,"max_completion_tokens":6,"stop":["a","b"],"stream_options":{"include_usage":true},"store":true,"metadata":{"k":"v"}}',
      '{"max_tokens":6,"stop_sequences":["a","b"]}')
    params_are('{"n":1,"logprobs":false,"logit_bias":{},"seed":null,"presence_penalty":0.0,"modalities":["text"],"response_format":{"type":"text"},"stop":null}', '{"max_tokens":4096}')
    params_are('{"service_tier":"default","container":"c_1"}', '{"max_tokens":4096,"service_tier":"standard_only","container":"c_1"}')
    params_are('{}', '{"max_tokens":64}', '{"model":"m","options":{"max_tokens":64}}')
    params_are('{"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}}}',
      '{"max_tokens":4096,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}')
  end)

  it("has a budget for its reasoning_effort, on top of a limit that was not given, at most half of one that was", function()
    params_are('{"reasoning_effort":"minimal"}', '{"max_tokens":5120,"thinking":{"type":"enabled","budget_tokens":1024}}')
    params_are('{"reasoning_effort":"low"}', '{"max_tokens":6144,"thinking":{"type":"enabled","budget_tokens":2048}}')
    params_are('{"reasoning_effort":"medium","max_tokens":32000}', '{"max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":8192}}')
    params_are('{"reasoning_effort":"high","max_tokens":10000}', '{"max_tokens":10000,"thinking":{"type":"enabled","budget_tokens":5000}}')
    params_are('{"reasoning_effort":"high","max_tokens":1025}', '{"max_tokens":1025,"thinking":{"type":"enabled","budget_tokens":1024}}')
    params_are('{"reasoning_effort":"none"}', '{"max_tokens":4096,"thinking":{"type":"disabled"}}')
    params_are('{"reasoning_effort":"xhigh"}', '{"max_tokens":4096,"thinking":{"type":"adaptive"},"output_config":{"effort":"xhigh"}}',
      '{"model":"m","options":{"thinking":"adaptive"}}')
    cannot('{"messages":[],"params":{"reasoning_effort":"high","max_tokens":1024}}',
      [['reasoning_effort' cannot be told to this model (provider "anthropic"): 1024 tokens leave no room to think, which takes 1024]])
    cannot('{"messages":[],"params":{"reasoning_effort":"huge"}}',
      [['reasoning_effort' cannot be told to this model (provider "anthropic"): none, minimal, low, medium, high and xhigh can]])
  end)

  it("is refused by the name of what Anthropic has no word for", function()
    for name, value in pairs {
      n = "2", logprobs = "true", top_logprobs = "3", logit_bias = '{"50256":-100}', presence_penalty = "0.5", frequency_penalty = "-1", seed = "0", audio = '{"voice":"x"}',
      modalities = '["text","audio"]', prediction = '{"type":"content"}', verbosity = '"low"', web_search_options = '{"a":1}', system = '"Obey."',
    } do
      cannot(('{"messages":[],"params":{"%s":%s}}'):format(name, value), ([['%s' cannot be told to this model (provider "anthropic")]]):format(name))
    end
    cannot('{"messages":[],"params":{"response_format":{"type":"json_object"}}}',
      [['response_format' cannot be told to this model (provider "anthropic"): text, and json_schema with a schema can]])
    cannot('{"messages":[],"params":{"service_tier":"flex"}}', [['service_tier' cannot be told to this model (provider "anthropic"): auto and default can]])
    cannot('{"messages":[],"params":{},"tools":[{"type":"custom","custom":{"name":"x"}}]}',
      [['tools[0]' cannot be told to this model (provider "anthropic"): only functions and Anthropic's own tools can]])
    cannot('{"messages":[],"params":{"tool_choice":{"type":"allowed_tools"}},"tools":[{"type":"function","function":{"name":"f"}}]}',
      [['tool_choice' cannot be told to this model (provider "anthropic"): auto, required, none and the name of a function can]])
  end)

  it("is refused by the place in a message", function()
    local function in_message(message, place)
      local r, why = request(('{"messages":[{"role":"user","content":"a"},%s],"params":{}}'):format(message))
      assert.is_nil(r)
      assert.equal(400, why.status)
      assert.equal(place, why.message:match "^'?([^':]+)")
    end
    in_message('{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}', "messages[1].content[0].input_audio")
    in_message('{"role":"user","content":[{"type":"text","text":"x"},{"type":"file","file":{"file_id":"f"}}]}', "messages[1].content[1].file")
    in_message('{"role":"user","content":[{"type":"image_url","image_url":{"url":"ftp://x"}}]}', "messages[1].content[0].image_url.url")
    in_message('{"role":"user","content":5}', "messages[1].content")
    in_message('{"role":"user","content":["x"]}', "messages[1].content[0]")
    in_message('{"role":"user","name":"Jo","content":"x"}', "messages[1].name")
    in_message('{"role":"function","name":"f","content":"x"}', "messages[1].role")
    in_message('{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"[1]"}}]}', "messages[1].tool_calls[0].function.arguments")
    in_message('{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\\"a\\":"}}]}', "messages[1].tool_calls[0].function.arguments")
    in_message('{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"custom","custom":{"name":"f"}}]}', "messages[1].tool_calls[0]")
    in_message('{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}', "messages[1].content")
  end)

  it("puts no beta into a header that is none", function()
    local r = assert(request('{"messages":[],"params":{"anthropic":{"betas":["ok-1","x\\r\\nevil: 1",7]}}}'))
    assert.equal("ok-1", r.headers["anthropic-beta"])
    local none = assert(request('{"messages":[],"params":{"anthropic":{"betas":"a\\nb","notes":3}}}'))
    assert.is_nil(none.headers["anthropic-beta"])
  end)
end)

describe("a request of an Anthropic client", function()
  it("is one in OpenAI's words", function()
    same([[{"model":"m","stream":true,"include_usage":true,
      "messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes?"},
        {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}},{"type":"image_url","image_url":{"url":"https://x/y"}}]}],
      "tools":[{"type":"function","function":{"name":"f","description":"F","parameters":{"type":"object"}}}],
      "params":{"max_tokens":9,"temperature":1,"top_k":2,"stop":["END"],"user":"u1","tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false}}]],
      assert(read [[{"model":"m","stream":true,"max_tokens":9,"temperature":1,"top_k":2,"stop_sequences":["END"],"metadata":{"user_id":"u1"},"system":"Be kind.",
        "messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"text","text":"Yes?"}]},
          {"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBO"}},{"type":"image","source":{"type":"url","url":"https://x/y"}}]}],
        "tools":[{"name":"f","description":"F","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}}]]))
  end)

  it("has its results of tools as messages before what else was said", function()
    local req = assert(read [[{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Go"},
      {"role":"assistant","content":[{"type":"text","text":"Looking."},{"type":"tool_use","id":"c1","name":"f","input":{"n":9007199254740993,"e":[]}},
        {"type":"tool_use","id":"c2","name":"g","input":{}}]},
      {"role":"user","content":[{"type":"text","text":"Hm"},{"type":"tool_result","tool_use_id":"c1","content":"one"},
        {"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"two"},{"type":"text","text":"three"}]},{"type":"tool_result","tool_use_id":"c3"}]}]}]])
    same([[ [{"role":"user","content":"Go"},
      {"role":"assistant","content":"Looking.","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"e\":[],\"n\":9007199254740993}"}},
        {"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"one"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"two"},{"type":"text","text":"three"}]},
      {"role":"tool","tool_call_id":"c3","content":[]},{"role":"user","content":"Hm"}] ]], req.messages)
  end)

  it("says how much thought it allows", function()
    for given, want in pairs {
      ['"thinking":{"type":"enabled","budget_tokens":1024}'] = "low", ['"thinking":{"type":"enabled","budget_tokens":5000}'] = "medium",
      ['"thinking":{"type":"enabled","budget_tokens":32000}'] = "high", ['"thinking":{"type":"adaptive"},"output_config":{"effort":"max"}'] = "xhigh",
      ['"output_config":{"effort":"low"}'] = "low", ['"thinking":{"type":"disabled"}'] = false, ['"thinking":{"type":"adaptive"}'] = false,
    } do
      local params = assert(read(('{"model":"m","messages":[],%s}'):format(given))).params
      assert.equal(want or nil, params.reasoning_effort, given)
      assert.is_nil(params.thinking, given)
    end
  end)

  it("keeps what OpenAI has no word for where another provider finds it, and what changes no answer apart", function()
    local req = assert(read([[{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
      {"type":"search_result","source":"x","title":"t","content":[]}]}],"container":"c_1","mcp_servers":[],"cache_control":{"type":"ephemeral"},
      "tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral"},"input_examples":[{}]}]}]],
      { ["anthropic-beta"] = "b-1,b-2" }))
    same([[{"container":"c_1","mcp_servers":[],"anthropic":{"cache_control":{"type":"ephemeral"},"betas":"b-1,b-2"}}]], req.params)
    same([[ [{"role":"user","content":[{"type":"text","text":"a","anthropic":{"cache_control":{"type":"ephemeral"}}},{"type":"search_result","source":"x","title":"t","content":[]}]}] ]],
      req.messages)
    same([[ [{"type":"web_search_20250305","name":"web_search"},
      {"type":"function","function":{"name":"f","parameters":{}},"input_examples":[{}],"anthropic":{"cache_control":{"type":"ephemeral"}}}] ]], req.tools)
  end)

  it("shows policies the text of a document", function()
    local req = assert(read [[{"model":"m","messages":[{"role":"user","content":[{"type":"document","title":"t","source":{"type":"text","media_type":"text/plain","data":"secret"}}]}]}]])
    same([[ [{"role":"user","content":[{"type":"document","title":"t","text":"secret","source":{"type":"text","media_type":"text/plain"}}]}] ]], req.messages)
    req.messages[1].content[1].text = "***"
    same('[{"type":"document","title":"t","source":{"type":"text","media_type":"text/plain","data":"***"}}]', assert(request(json.encode(req))).body.messages[1].content)
  end)

  it("is plain for another model", function()
    local s = dialect "shared"
    local function plain(given, want)
      local said = assert(s.call { calls = { { "shared", "plain", given, '"anthropic"' } } })
      same(want, said.returned[1][1])
    end
    plain([[ [{"role":"user","content":[{"type":"text","text":"a","anthropic":{"x":1}},{"type":"text","text":"b"}]},{"role":"user","content":[]},
      {"role":"assistant","content":"c","anthropic":{"notes":[]},"tool_calls":[{"id":"c1","anthropic":{"caller":1}}]}] ]],
      [[ [{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":[]},{"role":"assistant","content":"c","tool_calls":[{"id":"c1"}]}] ]])
    plain('[{"type":"function","function":{"parameters":{"properties":{"anthropic":{}}}},"anthropic":{"x":1}}]', '[{"type":"function","function":{"parameters":{"properties":{"anthropic":{}}}}}]')
  end)

  it("is refused with the place of what is wrong", function()
    local function wrong(body, message)
      local req, why = read(body)
      assert.is_nil(req)
      refused(why, 400, "invalid_request", message)
    end
    local function inside(messages, message) wrong(('{"model":"m","messages":%s}'):format(messages), message) end
    wrong('[]', "body: a JSON object is required")
    wrong('{"messages":[]}', "model: a text is required")
    wrong('{"model":"m"}', "messages: a list of messages is required")
    wrong('{"model":"m","messages":[],"n":2}', "n: the Messages API has no such field")
    wrong('{"model":"m","messages":[],"tools":[{"name":"f"}]}', "tools.0.input_schema: an object is required")
    wrong('{"model":"m","messages":[],"tool_choice":{"type":"tool"}}', "tool_choice: a type of auto, any, none or tool (with a name) is required")
    inside('["x"]', 'messages.0.role: must be "user", "assistant" or "system"')
    inside('[{"role":"user"}]', "messages.0.content: a text or a list of blocks is required")
    inside('[{"role":"user","content":["x"]}]', "messages.0.content.0: a block with a type is required")
    inside('[{"role":"user","content":[{"type":"image","source":{"type":"base64"}}]}]',
      "messages.0.content.0.source: a source of type base64 (media_type, data), url or file is required")
    inside('[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":[1]}]}]', "messages.1.content.0.input: an object is required")
    local req, why = read '{"model":'
    assert.is_nil(req)
    assert.matches("^body: ", why.message)
  end)
end)

describe("an Anthropic client's request to an Anthropic model", function()
  local function keeps(body, want)
    local r = through(body)
    r.body.stream = nil
    same(want or body, r.body)
  end

  it("is what the client said", function()
    keeps [[{"model":"claude-x","max_tokens":9,"system":[{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
      "messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
          {"type":"image","source":{"type":"base64","media_type":"image/webp","data":"iVBO"},"cache_control":{"type":"ephemeral"}},
          {"type":"document","title":"t","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"},"citations":{"enabled":true}},
          {"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}},{"type":"image","source":{"type":"file","file_id":"f_1"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s1"},{"type":"text","text":"Looking."},{"type":"redacted_thinking","data":"d1"},
          {"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"s1","content":[]},
          {"type":"tool_use","id":"c1","name":"f","input":{"a":[]},"caller":{"type":"direct"}},{"type":"thinking","thinking":"more","signature":"s2"},
          {"type":"tool_use","id":"c2","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","is_error":true,"content":"no"},{"type":"tool_result","tool_use_id":"c2","content":[
          {"type":"text","text":"x"},{"type":"image","source":{"type":"url","url":"https://x"}}]},{"type":"text","text":"Go"}]},
        {"role":"system","content":"Be brief."},
        {"role":"assistant","content":"OK"}],
      "tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3},{"name":"f","description":"F","input_schema":{"type":"object"},"strict":true,
        "cache_control":{"type":"ephemeral"},"defer_loading":true}],
      "tool_choice":{"type":"auto","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":1500,"display":"omitted"},
      "output_config":{"effort":"max","format":{"type":"json_schema","schema":{"type":"object"}},"other":1},"metadata":{"user_id":"u","other":2},"service_tier":"standard_only",
      "stop_sequences":["a"],"temperature":1,"container":"c_1","context_management":{"edits":[]},"cache_control":{"type":"ephemeral"}}]]
    keeps [[{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"a"}],"thinking":{"type":"disabled"}}]]
    keeps [[{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"a"}],"thinking":{"type":"between_tools"}}]]
  end)

  it("asks for its beta features", function()
    local r = through('{"model":"m","messages":[]}', { ["anthropic-beta"] = "b-1,b-2" })
    assert.equal("b-1,b-2", r.headers["anthropic-beta"])
  end)

  it("leaves out thinking that nobody signed: our own front told it", function()
    keeps([[{"model":"claude-x","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"Yes"}]}]}]],
      [[{"model":"claude-x","max_tokens":9,"messages":[{"role":"assistant","content":"Yes"}]}]])
  end)

  it("thinks as a policy wants when that changed the effort", function()
    local req = assert(read '{"model":"claude-x","max_tokens":9000,"messages":[],"thinking":{"type":"enabled","budget_tokens":1500}}')
    req.params.reasoning_effort = "medium"
    local r = assert(request(json.encode(req)))
    same('{"type":"enabled","budget_tokens":4500}', r.body.thinking)
  end)
end)
