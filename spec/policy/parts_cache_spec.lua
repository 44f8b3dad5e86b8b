-- sluice.parts.cache: complete answers, again for exact repeats.
local t = require "sluice.testing"

local function gateway(options, before, behind)
  local policies = {}
  for _, p in ipairs(before or {}) do policies[#policies + 1] = t.lua(p) end
  policies[#policies + 1] = t.lua(("sluice.parts.cache { %s }"):format(options or ""))
  for _, p in ipairs(behind or {}) do policies[#policies + 1] = t.lua(p) end
  t.forget()
  return t.load { policies = policies }
end

local IP = "192.0.2.9"

-- Asks as one client; more: what is different this time. (Each front has entries of its own.)
local function ask(g, upstream, more)
  local want = { user = "hi", ip = IP, upstream = upstream, one_front = true }
  for k, v in pairs(more or {}) do want[k] = v end
  return g:chat(want)
end

-- Whether a request is answered from the cache. One that is not gets "fresh".
local function is_hit(g, more)
  local r = ask(g, function() return { "fresh" } end, more)
  assert.equal(200, r.status)
  assert.equal(r.headers["x-cache"], #r.upstream == 0 and "hit" or "miss")
  return #r.upstream == 0
end

local RICH = { { reasoning = "Let me " }, { reasoning = "think." }, "Hello", " w\u{f6}rld", { tool = { "look", { city = "Bern" } } }, { tool = { "look", '{"city" : "Basel"}' } },
  { usage = { input = 12, output = 7 } }, { finish = "tool_calls" } }

local function told(r) return { r.text, r.reasoning, r.refusal, r.tools, r.finish, r.usage, r.done } end

describe("cache", function()
  it("answers a repeat with all that was said, and asks no model", function()
    local g = gateway()
    for _, upstream in ipairs { { "Hello" }, RICH, { { refusal = "I would rather not." } } } do
      t.forget()
      local miss = ask(g, upstream)
      assert.equal("miss", miss.headers["x-cache"])
      assert.equal(1, #miss.upstream)
      local hit = ask(g)
      assert.equal("hit", hit.headers["x-cache"])
      assert.equal(0, #hit.upstream)
      hit.usage.output = miss.usage.estimated and miss.usage.output or hit.usage.output      -- an estimate counts pieces
      assert.same(told(miss), told(hit))
      assert.equal("hit", hit.tags.cache)
    end
  end)

  it("does so for clients that stream and those that do not, whoever asked first", function()
    for _, first in ipairs { true, false } do
      local g = gateway()
      local miss = ask(g, RICH, { stream = first })
      for _, second in ipairs { true, false } do
        local hit = ask(g, nil, { stream = second })
        assert.equal(0, #hit.upstream)
        assert.same({ miss.text, miss.reasoning, miss.finish }, { hit.text, hit.reasoning, hit.finish })
        assert.same(miss.usage, hit.usage)
        assert.equal('{"city" : "Basel"}', hit.tools[2].arguments)
      end
    end
  end)

  it("streams a long answer in pieces, none of them within a character", function()
    local g, long = gateway(), ("\u{f6}\u{1F600}"):rep(2000)
    ask(g, { long }, { no_shake = true })
    local hit = ask(g)
    assert.equal(long, hit.text)
    assert.is_true(#hit.events > 10)
  end)

  it("tells a repeat by what changes the answer, and by nothing else", function()
    local tools = { { type = "function", ["function"] = { name = "look" } } }
    local other = {
      ["another question"] = { user = "ho" }, ["more messages"] = { messages = { { role = "system", content = "x" }, { role = "user", content = "hi" } } },
      ["tools"] = { tools = tools }, ["a temperature"] = { params = { temperature = 0.5 } }, ["a seed"] = { params = { seed = 1 } },
      ["a format"] = { params = { response_format = { type = "json_object" } } }, ["another address"] = { ip = "192.0.2.10" }, ["a key"] = { key = "alice" },
      ["a key that nobody checks"] = { headers = { authorization = "Bearer x" } }, ["an unknown parameter"] = { params = { verbosity = "low" } },
    }
    for what, more in pairs(other) do
      local g = gateway()
      ask(g, { "Hello" })
      assert.is_false(is_hit(g, more), what)
      assert.is_true(is_hit(g), what)
    end
    local same = { ["a user"] = { params = { user = "u1" } }, ["metadata"] = { params = { metadata = { a = "b" } } }, ["no stream"] = { stream = false } }
    for what, more in pairs(same) do
      local g = gateway()
      ask(g, { "Hello" })
      assert.is_true(is_hit(g, more), what)
    end
  end)

  it("tells models apart", function()
    local route = 'sluice.policy { name = "route", route = function(req) return req.model end }'
    local g = gateway("", { route })
    ask(g, { "Hello" }, { model = "smart" })
    assert.is_true(is_hit(g, { model = "smart" }))
    assert.is_false(is_hit(g, { model = "fast" }))
  end)

  it("keeps clients apart, by the key that a policy knows or that they send; shared = true does not", function()
    local g = gateway()
    ask(g, { "for alice" }, { key = "alice" })
    assert.is_true(is_hit(g, { key = "alice", ip = "192.0.2.77" }))
    assert.is_false(is_hit(g, { key = "bob" }))
    g = gateway()
    ask(g, { "for x" }, { headers = { ["x-api-key"] = "x" } })
    assert.is_true(is_hit(g, { headers = { ["x-api-key"] = "x" }, ip = "192.0.2.77" }))
    assert.is_false(is_hit(g, { headers = { ["x-api-key"] = "y" } }))
    g = gateway "shared = true"
    ask(g, { "for all" }, { key = "alice" })
    assert.is_true(is_hit(g, { key = "bob" }))
  end)

  it("takes a text of the operator's into the key; nil leaves a request alone", function()
    local g = gateway 'key = function(req, ctx) return req.headers["x-lang"] end'
    ask(g, { "Hello" }, { headers = { ["x-lang"] = "en" } })
    assert.is_true(is_hit(g, { headers = { ["x-lang"] = "en" } }))
    assert.is_false(is_hit(g, { headers = { ["x-lang"] = "de" } }))
    for _ = 1, 2 do
      local r = ask(g, { "Hello" })
      assert.same({ 1, nil }, { #r.upstream, r.headers["x-cache"] })
    end
  end)

  it("forgets after ttl", function()
    local g = gateway 'ttl = "1m"'
    ask(g, { "Hello" })
    g:advance "59s"
    assert.is_true(is_hit(g))
    g:advance "2s"
    assert.is_false(is_hit(g))
  end)

  it("keeps no answer above a sixteenth of max_bytes, and no more than max_bytes in all", function()
    local g = gateway 'max_bytes = "64kb"'
    ask(g, { ("x"):rep(5000) }, { no_shake = true })
    assert.is_false(is_hit(g))
    for i = 1, 40 do ask(g, { ("x"):rep(3000) }, { user = "q" .. i, no_shake = true }) end
    local hits = 0                                        -- which ones stay is the hash's to say: each of 16 parts has its own share
    for i = 40, 1, -1 do
      local hit = is_hit(g, { user = "q" .. i })
      assert.is_true(hit or i < 40)                       -- the last one for sure
      hits = hits + (hit and 1 or 0)
    end
    assert.is_true(hits <= 64 * 1024 // 3000, hits)
    g = gateway 'max_bytes = "1gb"'
    ask(g, { ("x"):rep(700000), ("y"):rep(700000) }, { no_shake = true })
    assert.is_false(is_hit(g))
  end)

  it("leaves several choices and empty answers alone", function()
    local g = gateway()
    for _ = 1, 2 do assert.equal(1, #ask(g, { "Hello" }, { params = { n = 2 } }).upstream) end
    ask(g, {})
    assert.is_false(is_hit(g))
  end)
end)

describe("cache: what is no complete answer is not kept:", function()
  -- Each of these between any two pieces of a rich answer, and behind the last one.
  local ends = { ["the client leaves"] = t.leave(), ["a reset"] = t.reset(), ["a close without the mark"] = t.close(), ["an error object"] = t.raw 'data: {"error":{"message":"x"}}\n\n',
    ["bad JSON"] = t.raw 'data: {"choices":[\n\n', ["silence"] = t.wait "61s", ["the drain deadline"] = t.shutdown() }

  for what, last in pairs(ends) do
    it(what .. ", at each event", function()
      for n = 0, #RICH - 1 do
        local g, script = gateway(), {}
        for i = 1, n do script[i] = RICH[i] end
        script[n + 1] = last
        if what == "a close without the mark" and n == #RICH then break end
        ask(g, script, { no_shake = true })
        assert.is_false(is_hit(g), ("after %d events"):format(n))
      end
    end)
  end

  local AGAIN = '(function() local P = sluice.policy { name = "again" } function P.fallback() return "retry" end return P end)()'
  local HOLD = 'sluice.policy { name = "hold", filter = { unit = "all", text = function() end } }'

  -- The first of two tries dies.
  local function dying(script)
    local tries = 0
    return function()
      tries = tries + 1
      return tries == 1 and script or { "right" }
    end
  end

  it("what a try said that died unseen, of it nothing; what follows is", function()
    local g = gateway("", {}, { AGAIN, HOLD })
    local r = ask(g, dying { "wrong ", t.reset() }, { no_shake = true })
    assert.same({ "right", 2 }, { r.text, #r.upstream })
    assert.same({ "right", 0 }, { ask(g).text, #ask(g).upstream })
  end)

  it("an answer of which some came from a try that died", function()
    local g = gateway("", { HOLD }, { AGAIN })
    local r = ask(g, dying { "wrong ", { tool = { "f", {} } }, t.reset() }, { no_shake = true })
    assert.same({ "right", 2 }, { r.text, #r.upstream })
    assert.is_false(is_hit(g))
  end)

  it("an answer that one model began and another went on with", function()
    t.forget()
    local g = assert(t.load { source = [[local sluice = require "sluice"
local function model(host) return { provider = "openai", url = "http://" .. host .. ".test/v1", model = "x", prefill = true } end
return sluice.config { api = 1, listen = ":0", models = { m = model "m", n = model "n" },
  routes = { ask = { path = "/api/stream", front = "token", target = { "m", "n" }, on_death = "continue", policies = { sluice.parts.cache {} } } } }]] })
    for _ = 1, 2 do
      local r = g:ask { q = "x", ip = IP, no_shake = true, upstream = { m = { "one ", "two", t.reset() }, n = { " three" } } }
      assert.same({ "one two three", 2, "miss" }, { r.text, #r.upstream, r.headers["x-cache"] })
    end
  end)

  local policies = {
    ["a filter that stops"] = 'sluice.policy { name = "x", filter = { match = "world", replace = function() return sluice.stop() end } }',
    ["a filter that rejects"] = 'sluice.policy { name = "x", filter = { match = "world", replace = function() return sluice.reject(403, "x", "x") end } }',
    ["a filter that fails"] = 'sluice.policy { name = "x", filter = { match = "world", replace = function() error "x" end } }',
    ["a check behind the text that stops"] = 'sluice.policy { name = "x", filter = { unit = "all", optimistic = true, check = function() return sluice.stop() end } }',
    ["a finish hook that stops"] = '(function() local P = sluice.policy { name = "x" } function P.finish() return sluice.stop() end return P end)()',
    ["a tool call that is refused"] = '(function() local P = sluice.policy { name = "x" } function P.tool_call() return sluice.reject(403, "x", "x") end return P end)()',
    ["limits"] = "sluice.parts.limits { output_chars = 7 }",
  }
  for what, policy in pairs(policies) do
    it(what .. ", on either side", function()
      for _, side in ipairs { 2, 3 } do
        local around = { {}, {} }
        around[side - 1] = { policy }
        local g = gateway("", around[1], around[2])
        for _ = 1, 2 do assert.equal(1, #ask(g, { "Hello ", "world", { tool = { "f", {} } } }, { no_shake = true }).upstream) end
      end
    end)
  end

  it("one that ended for want of tokens, or that the provider filtered", function()
    for _, reason in ipairs { "length", "content_filter" } do
      local g = gateway()
      ask(g, { "Hello", { finish = reason } })
      assert.is_false(is_hit(g))
    end
  end)

  it("a request that was refused, and HEAD", function()
    local g = gateway("", { '(function() local P = sluice.policy { name = "x" } function P.validate(req) if req.headers["x-no"] then return sluice.reject(403, "no", "No.") end end return P end)()' })
    assert.equal(403, ask(g, nil, { headers = { ["x-no"] = "1" } }).status)
    assert.is_false(is_hit(g))
    assert.equal(403, ask(g, nil, { headers = { ["x-no"] = "1" } }).status)
  end)

  it("anything that a cache in monitor mode sees", function()
    local g = gateway 'mode = "monitor"'
    ask(g, RICH)
    ask(g, { "Hello ", t.leave() })
    assert.equal(1, #ask(g, { "x" }).upstream)
    g:close()
    g = t.load { policies = { t.lua "sluice.parts.cache {}" } }
    assert.is_false(is_hit(g))
  end)
end)

describe("cache: with what a route may say of its models", function()
  for what, said in pairs { ["a window"] = 'prerelease = { chars = 50, time = "10s" }', ["a hedge"] = 'hedge = { after = "1s" }', ["retries"] = "retry = { times = 2 }" } do
    it(what .. " changes nothing for hits", function()
      t.forget()
      local g = assert(t.load { source = ([[local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", %s, policies = { sluice.parts.cache {} } } } }]]):format(said) })
      local miss = g:ask { q = "x", ip = IP, no_shake = true, upstream = { "short ", "and good" } }
      local hit = g:ask { q = "x", ip = IP }
      assert.same({ "short and good", true, 0 }, { miss.text, miss.done, miss.comments })
      assert.same({ "short and good", true, 0, 0 }, { hit.text, hit.done, hit.comments, #hit.upstream })
    end)
  end
end)

describe("cache: its place in the list", function()
  local upper = 'sluice.policy { name = "%s", filter = { text = function(text) return (text:gsub("o", "%s")) end } }'

  it("keeps what comes there: policies nearer to the client work on hits, those behind have worked", function()
    local g = gateway("", { upper:format("client", "0") }, { upper:format("model", "oo") })
    assert.equal("Hell00", ask(g, { "Hello" }).text)
    assert.equal("Hell00", ask(g).text)
  end)

  it("a redaction that is nearer gives back to each client its own", function()
    local g = gateway("shared = true", { "sluice.parts.redact { match = { sluice.match.email }, restore = true }" })
    local jane = ask(g, { "Mail <EMA", "IL_1>" }, { user = "I am jane@example.com", key = "jane" })
    assert.equal("Mail jane@example.com", jane.text)
    local bob = ask(g, nil, { user = "I am bob@example.com", key = "bob", secrets = { "jane@example.com" } })
    assert.same({ 0, "Mail bob@example.com" }, { #bob.upstream, bob.text })
  end)

  it("in tool calls, too", function()
    local g = gateway("shared = true", { 'sluice.policy { name = "names", filter = { on = "tool_args", match = "<WHO>", replace = function(_, ctx) return ctx.key.id end } }' })
    local jane = ask(g, { { tool = { "mail", { to = "<WHO>" } } } }, { key = "jane" })
    assert.equal('{"to":"jane"}', jane.tools[1].arguments)
    local bob = ask(g, nil, { key = "bob", secrets = { "jane" } })
    assert.same({ 0, '{"to":"bob"}' }, { #bob.upstream, bob.tools[1].arguments })
  end)

  local change = '(function() local P = sluice.policy { name = "%s" } function P.tool_call(call) call.args.%s = 1 end return P end)()'
  it("tool_call hooks of both sides: what those behind changed is kept, those nearer see hits", function()
    local g = gateway("", { change:format("client", "a") }, { change:format("model", "b") })
    for _ = 1, 2 do
      local r = ask(g, function() return { { tool = { "f", {} } } } end)
      assert.equal('{"a":1,"b":1}', r.tools[1].arguments)
    end
    assert.is_true(is_hit(g))
    local drop = '(function() local P = sluice.policy { name = "drop" } function P.tool_call(call) if call.name == "f" then return sluice.drop end end return P end)()'
    g = gateway("", {}, { drop })
    ask(g, { { tool = { "f", { x = 1 } } }, { tool = { "g", {} } } })
    local hit = ask(g)
    assert.same({ 0, 1, "g", "{}" }, { #hit.upstream, #hit.tools, hit.tools[1].name, hit.tools[1].arguments })
  end)

  it("a tool call whose arguments were changed on both sides is not kept, since nobody can tell them apart", function()
    local g = gateway("", { 'sluice.policy { name = "names", filter = { on = "tool_args", match = "<WHO>", replace = "jane" } }' }, { change:format("model", "b") })
    for _ = 1, 2 do
      local r = ask(g, { { tool = { "f", { a = "<WHO>" } } } })
      assert.same({ 1, '{"a":"jane","b":1}' }, { #r.upstream, r.tools[1].arguments })
    end
  end)

  it("a gate that was opened before it holds a hit, and may refuse it", function()
    local g = gateway("", { [[(function() local P = sluice.policy { name = "judge" }
      function P.prompt(req, ctx) ctx:gate(function() sluice.sleep "300ms" if req.headers["x-no"] then return sluice.reject(422, "topic", "No.") end end) end return P end)()]] })
    ask(g, { "Hello" })
    local hit = ask(g)
    assert.same({ 0, "Hello" }, { #hit.upstream, hit.text })
    assert.is_true(hit.events[1].at >= 1000.299)
    local no = ask(g, nil, { headers = { ["x-no"] = "1" } })
    assert.same({ 0, 422, "" }, { #no.upstream, no.status, no.text })
  end)

  it("a hit waits for filters between its pieces", function()
    local g = gateway('', { 'sluice.policy { name = "slow", filter = { text = function() sluice.sleep "1s" end } }' })
    ask(g, { ("x"):rep(3000) }, { no_shake = true })
    local hit = ask(g)
    assert.same({ 0, 3000, 3 }, { #hit.upstream, #hit.text, #hit.events - 1 })
    assert.is_true(hit.events[3].at - hit.events[1].at >= 2)
  end)

  it("a budget that is nearer counts nothing for a hit; the log says whose word it was", function()
    local g = gateway("", { 'sluice.parts.budget { by = "ip", daily_usd = 1, prices = { fast = { input = 1, output = 10 } } }' })
    assert.is_not_nil(ask(g, { "Hello", { usage = { input = 12, output = 7 } } }).tags.cost_usd)
    local hit = ask(g)
    assert.is_nil(hit.tags.cost_usd)
    local line = hit.logs[#hit.logs]
    assert.same({ "replied", "cache.prompt" }, { line["end"], line.ended_by })
  end)
end)

describe("cache: each front", function()
  local json = require "sluice.testing.json"
  local source = [[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "%s", front = "%s", target = "m", policies = { sluice.parts.cache {} } } } }]]
  local user = { { role = "user", content = "hi" } }
  local fronts = {
    openai = { path = "/v1/chat/completions", body = { model = "m", messages = user, stream_options = { include_usage = true } }, stream = true },
    ["openai, responses"] = { front = "openai", path = "/v1/responses", body = { model = "m", input = "hi" }, stream = true },
    ["openai, completions"] = { front = "openai", path = "/v1/completions", body = { model = "m", prompt = "hi" }, stream = true, text = true },
    anthropic = { path = "/v1/messages", body = { model = "m", max_tokens = 100, messages = user }, stream = true },
    ui = { path = "/v1/x", body = { messages = { { role = "user", parts = { { type = "text", text = "hi" } } } } } },
    token = { path = "/v1/x", text = true },
  }

  -- All that the client got; the first answer's id in a fresh world is test-1, the second's test-2.
  local function bytes_of(r)
    local out = {}
    for i, w in ipairs(r.wire) do out[i] = w.bytes end
    local bytes = (#out > 0 and table.concat(out) or r.body):gsub("test%-[12]%x*", "ID")
    return (bytes:gsub('(event: message_start.-"usage":){.-}', "%1{}"))       -- what is known at the beginning may be more the second time
  end

  for name, front in pairs(fronts) do
    for _, streams in ipairs(front.stream and { true, false } or { false }) do
      it(("%s, %s"):format(name, front.stream and (streams and "streaming" or "as a document") or "as it is"), function()
        t.forget()
        local g = assert(t.load { source = source:format(name:find "^openai" and "/v1/*" or front.path, front.front or name) })
        local want = { path = front.path, ip = IP, no_shake = true, headers = { host = "test", ["content-type"] = "application/json" } }
        if front.body then
          front.body.stream = front.stream and streams or nil
          want.method, want.body = "POST", json.encode(front.body)
        else
          want.q = "hi"
        end
        local script = { "Hello w\u{f6}rld" }
        if not front.text then script = { { reasoning = "Let me think." }, "Hello w\u{f6}rld", { tool = { "look", { city = "Bern" } } }, { finish = "tool_calls" } } end
        script[#script + 1] = { usage = { input = 12, output = 7 } }
        want.upstream = script
        local miss = g:ask(want)
        want.upstream = nil
        local hit = g:ask(want)
        assert.same({ 200, 1, "miss" }, { miss.status, #miss.upstream, miss.headers["x-cache"] })
        assert.same({ 200, 0, "hit" }, { hit.status, #hit.upstream, hit.headers["x-cache"] })
        assert.equal(bytes_of(miss), bytes_of(hit))
        assert.truthy(bytes_of(hit):find("rld", 1, true))
      end)
    end
  end

  it("embeddings are not its business, and no chat's answer is given for them", function()
    t.forget()
    local g = assert(t.load { source = source:format("/v1/*", "openai") })
    local function asks(path, body, script)
      return g:ask { path = path, ip = IP, method = "POST", body = json.encode(body), no_shake = true, upstream = script, headers = { host = "test" } }
    end
    asks("/v1/chat/completions", { model = "m", messages = user }, { "Hello" })
    for _ = 1, 2 do
      local r = asks("/v1/embeddings", { model = "m", input = "hi" }, { t.head(200, { ["content-type"] = "application/json" }), t.raw '{"data":[{"embedding":[1]}]}', t.close() })
      assert.same({ 1, '{"data":[{"embedding":[1]}]}' }, { #r.upstream, r.body })
    end
  end)
end)
