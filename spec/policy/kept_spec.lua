-- What clients of the Responses API refer to instead of saying it again: items of an answer and the answer itself, from every provider.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local pairs_of = require "spec.policy.pairs"

local PATH = pairs_of.path.responses
local ALICE, BOB = { host = "x", authorization = "Bearer alice" }, { host = "x", authorization = "Bearer bob" }

local function post(g, headers, body, upstream)
  body.model = "public"
  return g:ask { method = "POST", path = PATH, headers = headers, body = json.encode(json.object(body)), upstream = upstream, no_shake = true }
end

local function keeping(how_long)
  return assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", responses = { keep = %s }, models = { public = { provider = "openai", url = "http://up.test/v1", model = "m" } },
  routes = { v1 = { path = "/v1/*", models = { "public" } } } }]]):format(how_long) })
end

local function recorded(provider, name) return pairs_of.stream(provider, { pairs_of.read(("spec/wire/%s/%s.%s"):format(provider, name, pairs_of.framing[provider])) }) end

local function response_of(x)
  if #x.wire == 0 then return json.decode(x.body) end
  local last
  for _, e in ipairs(x.wire) do
    for line in e.bytes:gmatch "data: ({[^\n]*)" do last = json.decode(line) end
  end
  return last.response
end

-- What the chat provider was told, as role and content.
local function told(x)
  local out = {}
  for i, m in ipairs(assert(x.upstream[1], x.body).body.messages) do
    local calls = {}
    for k, c in ipairs(m.tool_calls or {}) do calls[k] = c["function"].name .. c["function"].arguments end
    out[i] = ("%s: %s%s"):format(m.role, type(m.content) == "string" and m.content or "", table.concat(calls))
  end
  return out
end

local LOOKS = "function P.finish() end"

describe("a conversation of the Responses API", function()
  local g = pairs_of.gateway("openai", "policies = { P }", LOOKS)
  before_each(t.forget)

  for _, stream in ipairs { true, false } do
    local how = stream and "streamed" or "whole"

    it("names the items of an answer, " .. how, function()
      local first = response_of(post(g, ALICE, { input = "Hi", stream = stream }, recorded("openai", "tools")))
      local input = { { role = "user", content = "Hi" } }
      for _, item in ipairs(first.output) do input[#input + 1] = { type = "item_reference", id = item.id } end
      for _, item in ipairs(first.output) do
        if item.type == "function_call" then input[#input + 1] = { type = "function_call_output", call_id = item.call_id, output = "7" } end
      end
      local x = post(g, ALICE, { input = input, stream = stream }, { t.fail(500) })
      assert.equal("user: Hi", told(x)[1])
      local calls = {}
      for i, c in ipairs(x.upstream[1].body.messages[2].tool_calls) do calls[i] = { c.id, c["function"].name, c["function"].arguments } end
      local wanted = {}
      for _, item in ipairs(first.output) do
        if item.type == "function_call" then wanted[#wanted + 1] = { item.call_id, item.name, item.arguments } end
      end
      assert.same(wanted, calls)
    end)

    it("goes on behind an answer, and behind that, " .. how, function()
      local first = response_of(post(g, ALICE, { input = "Hi", instructions = "Be brief.", stream = stream }, { "Hello" }))
      assert.is_true(first.store)
      local second = post(g, ALICE, { input = { { role = "user", content = "How are you?" } }, previous_response_id = first.id, stream = stream }, { "Well." })
      assert.same({ "user: Hi", "assistant: Hello", "user: How are you?" }, told(second))
      local third = post(g, ALICE, { input = "Good.", instructions = "Be long.", previous_response_id = response_of(second).id, stream = stream }, { t.fail(500) })
      assert.same({ "system: Be long.", "user: Hi", "assistant: Hello", "user: How are you?", "assistant: Well.", "user: Good." }, told(third))
    end)
  end

  it("is the client's own: another's key finds nothing", function()
    local first = response_of(post(g, ALICE, { input = "Hi" }, { "Hello" }))
    for _, more in ipairs { { previous_response_id = first.id, input = "x" }, { input = { { type = "item_reference", id = first.output[1].id } } } } do
      local x = post(g, BOB, more, { "Oh" })
      assert.equal(0, #x.upstream)
      assert.is_true(x.status == 400 or x.status == 404)
      assert.is_truthy(x.error.code:find "not_found$")
      assert.equal(1, #post(g, ALICE, more, { "Oh" }).upstream)
    end
  end)

  it("is not kept for who says store = false, nor where the file says so", function()
    local first = response_of(post(g, ALICE, { input = "Hi", store = false }, { "Hello" }))
    assert.is_false(first.store)
    assert.equal("previous_response_not_found", post(g, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" }).error.code)
    local off = keeping 'false'
    first = response_of(post(off, ALICE, { input = "Hi" }, { "Hello" }))
    assert.is_false(first.store)
    assert.equal("previous_response_not_found", post(off, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" }).error.code)
  end)

  it("is kept for as long as the file says, and no longer", function()
    local short = keeping '"10s"'
    local first = response_of(post(short, ALICE, { input = "Hi" }, { "Hello" }))
    assert.equal(1, #post(short, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" }).upstream)
    t.advance "11s"
    assert.equal("previous_response_not_found", post(short, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" }).error.code)
  end)

  it("is what the policies let the client see", function()
    local redacting = pairs_of.gateway("openai", "policies = { P }", 'P.filter = { match = sluice.match.regex "secret", replace = "***" }')
    local first = response_of(post(redacting, ALICE, { input = "Hi" }, { "a sec", "ret" }))
    assert.equal("assistant: a ***", told(post(redacting, ALICE, { input = "x", previous_response_id = first.id }, { t.fail(500) }))[2])
  end)

  it("holds what was said of an answer that failed: nothing", function()
    local x = post(g, ALICE, { input = "Hi", stream = true }, { "Hel", t.reset() })
    assert.equal("upstream_reset", x.error.code)
    local id = pairs_of.streamed(x):match '"id":"(resp_[^"]+)"'
    assert.equal("previous_response_not_found", post(g, ALICE, { input = "x", previous_response_id = id:gsub("ID", "test-1") }, { "Oh" }).error.code)
  end)

  it("of a provider of the same API is that provider's where its bytes pass", function()
    local passing = pairs_of.gateway "responses"
    local x = post(passing, ALICE, { input = { { type = "item_reference", id = "msg_theirs" } }, previous_response_id = "resp_theirs" }, { t.fail(500) })
    local sent = x.upstream[1].body
    assert.same({ { type = "item_reference", id = "msg_theirs" } }, sent.input)
    assert.equal("resp_theirs", sent.previous_response_id)
    assert.is_nil(sent.store)
  end)

  it("of a provider of the same API is told whole where policies look", function()
    local looked = pairs_of.gateway("responses", "policies = { P }", LOOKS)
    local first = response_of(post(looked, ALICE, { input = "Hi", stream = true }, recorded("responses", "plain")))
    local x = post(looked, ALICE, { input = { { role = "user", content = "Hi" }, { type = "item_reference", id = first.output[1].id }, { role = "user", content = "And?" } } }, { t.fail(500) })
    assert.same({ type = "message", role = "assistant", content = { { type = "output_text", text = first.output[1].content[1].text } } }, x.upstream[1].body.input[2])
    x = post(looked, ALICE, { input = "And?", previous_response_id = first.id }, { t.fail(500) })
    assert.equal(3, #x.upstream[1].body.input)
    assert.is_nil(x.upstream[1].body.previous_response_id)
  end)

  it("that is said in other words is refused where it stands", function()
    local x = post(g, ALICE, { input = "x", previous_response_id = 7 }, { "Oh" })
    assert.same({ 400, "previous_response_id" }, { x.status, x.error.param })
    local none, why = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", responses = { keep = true, max_bytes = "1kb" },\n'
      .. 'models = { m = { answer = function() end } }, routes = { a = { path = "/a", front = "token", target = "m" } } }' }
    assert.is_nil(none)
    assert.is_truthy(why:find("responses.keep", 1, true), why)
    assert.is_truthy(why:find("responses.max_bytes: must be at least 1mb", 1, true), why)
  end)

  it("has ids that nobody can guess, where it is kept", function()
    local seen = {}
    for _ = 1, 20 do
      local r = response_of(post(g, ALICE, { input = "Hi" }, { "Hello" }))
      for _, id in ipairs { r.id, r.output[1].id } do
        local secret = id:match "test%-(%x+)"
        assert.is_true(#secret >= 25)
        assert.is_nil(seen[id])
        seen[id] = true
      end
    end
  end)

  it("of one kind of id is nothing of the other", function()
    local first = response_of(post(g, ALICE, { input = "Hi" }, { "Hello" }))
    assert.equal("previous_response_not_found", post(g, ALICE, { input = "x", previous_response_id = first.output[1].id }, { "Oh" }).error.code)
    assert.equal("item_not_found", post(g, ALICE, { input = { { type = "item_reference", id = first.id } } }, { "Oh" }).error.code)
  end)

  it("is no larger than a body: a 400 says so, and nothing else is lost", function()
    local long = ("word "):rep(60000)
    local first = response_of(post(g, ALICE, { input = "Hi" }, { long }))
    local references = {}
    for i = 1, 10 do references[i] = { type = "item_reference", id = first.output[1].id } end
    local x = post(g, ALICE, { input = references }, { "Oh" })
    assert.same({ 400, "conversation_too_long" }, { x.status, x.error.code })
    local id = first.id
    for _ = 1, 10 do
      x = post(g, ALICE, { input = "x", previous_response_id = id }, { long })
      if x.error then break end
      id = response_of(x).id
    end
    assert.same({ 400, "conversation_too_long" }, { x.status, x.error and x.error.code })
  end)

  it("of many small items is read in time", function()
    local input = {}
    for i = 1, 9000 do input[i] = { role = i % 2 == 1 and "user" or "assistant", content = "word " .. i } end
    local first = response_of(post(g, ALICE, { input = input }, { "Hello" }))
    local x = post(g, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" })
    assert.is_nil(x.error)
    assert.equal(9002, #x.upstream[1].body.messages)
  end)

  for _, policy in ipairs { "function P.attempt(try) try.params.user = 'u' end",
    "function P.prompt(req) local all = {} for i, m in ipairs(req.messages) do all[i] = { role = m.role, content = m.content } end req.messages = all end" } do
    it("is told whole to a provider of the same API where a policy works on a copy: " .. policy:sub(1, 30), function()
      local looked = pairs_of.gateway("responses", "policies = { P }", policy)
      local first = response_of(post(looked, ALICE, { input = "Hi", stream = true }, recorded("responses", "plain")))
      if not first.id:find "test" then return end          -- it passed: then what is kept is the provider's
      local x = post(looked, ALICE, { input = "And?", previous_response_id = first.id }, { t.fail(500) })
      assert.equal(3, #x.upstream[1].body.input)
      x = post(looked, ALICE, { input = { { role = "user", content = "Hi" }, { type = "item_reference", id = first.output[1].id }, { role = "user", content = "And?" } } }, { t.fail(500) })
      assert.equal(first.output[1].content[1].text, x.upstream[1].body.input[2].content[1].text)
    end)
  end

  it("is for clients of that API alone", function()
    local function chat(provider, message)
      local body = json.encode { model = "public", messages = { message } }
      return pairs_of.gateway(provider):ask { method = "POST", path = pairs_of.path.openai, headers = ALICE, body = body, upstream = { t.fail(500) }, no_shake = true }
    end
    for _, v in ipairs { 5, "x", { id = "msg_other" }, {} } do
      local message = { role = "assistant", content = "hi", item_reference = v }
      assert.same({ { type = "message", role = "assistant", content = { { type = "output_text", text = "hi" } } } }, chat("responses", message).upstream[1].body.input)
      for _, provider in ipairs { "anthropic", "gemini", "ollama" } do assert.equal(1, #chat(provider, message).upstream) end
    end
    local x = pairs_of.gateway("responses"):ask { method = "POST", path = pairs_of.path.openai, headers = ALICE, upstream = { t.fail(500) }, no_shake = true,
      body = '{"model":"public","messages":[{"role":"user","content":"x"}],"previous_response_id":"resp_x"}' }
    assert.same({ 400, "previous_response_id" }, { x.status, x.error.param })
  end)

  it("is what the client asked for, whatever policies make of it", function()
    local changed = pairs_of.gateway("openai", "policies = { P }", "function P.prompt(req) req.params.store = nil end")
    local first = response_of(post(changed, ALICE, { input = "Hi", store = false }, { "Hello" }))
    assert.is_false(first.store)
    assert.equal("previous_response_not_found", post(changed, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" }).error.code)
  end)

  it("heeds headers of any bytes, and cookies only where nothing else tells who asks", function()
    local odd = { host = "x", cookie = "name=J\xf6rg" }
    local first = response_of(post(g, odd, { input = "Hi" }, { "Hello" }))
    assert.equal(1, #post(g, odd, { input = "x", previous_response_id = first.id }, { "Oh" }).upstream)
    assert.equal(0, #post(g, { host = "x", cookie = "name=other" }, { input = "x", previous_response_id = first.id }, { "Oh" }).upstream)
    first = response_of(post(g, { host = "x", authorization = "Bearer alice", cookie = "a=1" }, { input = "Hi" }, { "Hello" }))
    assert.equal(1, #post(g, ALICE, { input = "x", previous_response_id = first.id }, { "Oh" }).upstream)
  end)

  it("is kept anew with each turn", function()
    local short = keeping '"10s"'
    local r = response_of(post(short, ALICE, { input = "Hi" }, { "Hello" }))
    for _ = 1, 4 do
      t.advance "6s"
      r = response_of(post(short, ALICE, { input = "x", previous_response_id = r.id }, { "Oh" }))
    end
    assert.equal(9, #post(short, ALICE, { input = "x", previous_response_id = r.id }, { "Oh" }).upstream[1].body.messages + 0 - 2)
  end)

  it("goes on behind an answer that a provider keeps", function()
    local looked = pairs_of.gateway("responses", "policies = { P }", LOOKS)
    local first = response_of(post(looked, ALICE, { input = "Hi", previous_response_id = "resp_theirs", stream = true }, recorded("responses", "plain")))
    local sent = post(looked, ALICE, { input = "And?", previous_response_id = first.id }, { t.fail(500) }).upstream[1].body
    assert.equal("resp_theirs", sent.previous_response_id)
    assert.equal(3, #sent.input)
  end)

  it("keeps the rest of the client's words where one item is said anew", function()
    local looked = pairs_of.gateway("responses", "policies = { P }", LOOKS)
    local first = response_of(post(looked, ALICE, { input = "Hi", stream = true }, recorded("responses", "plain")))
    local body = '{"model":"public","input":[{"role":"user","content":"Hi","x_new":1.10},{"type":"item_reference","id":"' .. first.output[1].id .. '"},{"content":"And?","role":"user","x":[1e3]}]}'
    local x = looked:ask { method = "POST", path = PATH, headers = ALICE, body = body, upstream = { t.fail(500) }, no_shake = true }
    local raw = x.upstream[1].raw
    for _, part in ipairs { '{"role":"user","content":"Hi","x_new":1.10}', '{"content":"And?","role":"user","x":[1e3]}', '"text":"Der Himmel' } do
      assert.is_truthy(raw:find(part, 1, true), raw)
    end
    assert.is_nil(raw:find("item_reference", 1, true))
  end)

  it("never sends an id of ours upstream, whatever policies make of the messages", function()
    local rebuilt = pairs_of.gateway("responses", "policies = { P }", [[function P.prompt(req) local all = {}
      for i, m in ipairs(req.messages) do all[i] = type(m.content) == "string" and not m.tool_calls and { role = m.role, content = m.content, tool_call_id = m.tool_call_id } or m end
      req.messages = all end ]] .. LOOKS)
    local first = response_of(post(rebuilt, ALICE, { input = "Hi", previous_response_id = "resp_theirs", stream = true }, recorded("responses", "plain")))
    local called = response_of(post(rebuilt, ALICE, { input = "Hi", stream = true }, recorded("responses", "tools")))
    local call
    for _, item in ipairs(called.output) do
      if item.type == "function_call" then call = item end
    end
    local input = { { role = "user", content = "Hi" }, { type = "item_reference", id = first.output[1].id }, { role = "user", content = "And?" }, { type = "item_reference", id = call.id },
      { type = "function_call_output", call_id = call.call_id, output = "7" } }
    for _, previous in ipairs { false, first.id } do
      local raw = post(rebuilt, ALICE, { input = input, previous_response_id = previous or nil }, { t.fail(500) }).upstream[1].raw
      assert.is_nil(raw:find("test-", 1, true), raw)
      if previous then assert.is_truthy(raw:find('"previous_response_id":"resp_theirs"', 1, true), raw) end
    end
  end)

  it("says anew only what was referred to", function()
    local looked = pairs_of.gateway("responses", "policies = { P }", LOOKS)
    local first = response_of(post(looked, ALICE, { input = "Hi", stream = true }, recorded("responses", "plain")))
    local own = '{"type":"function_call","id":"fc_x","call_id":"c","name":"f","arguments":"{}","status":"completed"}'
    local body = '{"model":"public","input":[{"role":"user","content":"Hi"},{"type":"item_reference","id":"' .. first.output[1].id .. '"},' .. own
      .. ',{"type":"function_call_output","call_id":"c","output":"7"}]}'
    local raw = looked:ask({ method = "POST", path = PATH, headers = ALICE, body = body, upstream = { t.fail(500) }, no_shake = true }).upstream[1].raw
    assert.is_truthy(raw:find(own, 1, true), raw)
    assert.is_nil(raw:find("item_reference", 1, true))
  end)

  it("tells a system message once", function()
    local looked = pairs_of.gateway("responses", "policies = { P }", LOOKS)
    for instructions, want in pairs { [false] = { nil, 2 }, [true] = { "Be brief.", 2 } } do
      local sent = post(looked, ALICE, { instructions = instructions and "Be brief." or nil, input = { { role = "system", content = "S" }, { role = "user", content = "Hi" } } }, { t.fail(500) }).upstream[1].body
      assert.same(want, { sent.instructions, #sent.input })
    end
  end)

  it("may name an item without its type", function()
    local first = response_of(post(g, ALICE, { input = "Hi" }, { "Hello" }))
    assert.same({ "assistant: Hello", "user: x" }, told(post(g, ALICE, { input = { { id = first.output[1].id }, { role = "user", content = "x" } } }, { t.fail(500) })))
  end)
end)
