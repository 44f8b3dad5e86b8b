-- A vector on the virtual clock: each exchange is played, and held to what it expects.
local t = require "sluice.testing"
local assert = require "luassert"
local json = require "sluice.testing.json"
local client = require "spec.policy.conformance.client"
local model = require "spec.policy.conformance.model"
local vectors = require "spec.policy.conformance.vectors"

local M = {}

-- ---- the world

local function address(kind, name) return ("http://%s.%s.test/%s"):format(name, kind, kind == "model" and "v1" or "base") end

function M.load(vector)
  local env = vectors.environment(vector, address)
  return t.load { source = vector.gateway, env = env }
end

local function query(fields)
  local out = {}
  for name, value in pairs(fields or {}) do
    out[#out + 1] = name .. "=" .. value:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)
  end
  table.sort(out)
  return table.concat(out, "&")
end

-- A service that gives its answers one after another.
local function canned(name, answers)
  if answers == "unreachable" then return function() end end
  local at = 0
  return function()
    at = at + 1
    local a = answers[at] or error(('the service "%s" was called %d times and has %d answers'):format(name, at, at - 1), 0)
    if a == "silent" then return {}, "1h" end
    return { json = a.json, status = a.status, headers = a.headers, body = a.body }, a.after and "1ms"     -- by then its model was asked
  end
end

-- The request as g:start wants it, and whether its answer is a stream.
local function ask(request, front, stream)
  local body, headers, streams = request.body, { host = "conformance.test" }, front == "token"
  if type(body) == "table" then
    headers["content-type"] = "application/json"
    local sent = json.object {}
    for name, value in pairs(body) do sent[name] = value end
    if sent.stream == nil then sent.stream = stream end
    streams = streams or sent.stream
    body = json.encode(sent)
  end
  for name, value in pairs(request.headers or {}) do headers[name] = value end
  return { method = request.method or (body and "POST" or "GET"), path = request.path, query = query(request.query), headers = headers, body = body }, streams
end

-- ---- playing

local function header(x, name)
  for n, value in pairs(x.headers) do
    if n:lower() == name then return value end
  end
end

local function told(x, front)
  local bytes = {}
  for i, entry in ipairs(x.wire) do bytes[i] = entry.bytes end
  return client.read(front, x.status, header(x, "content-type") or "", x.body and x.body ~= "" and x.body or table.concat(bytes))
end

local function step_of(piece)
  if piece.type then return t.head(200, { ["content-type"] = piece.type }) end
  if piece.bytes then return t.raw(piece.bytes) end
  if piece.status then return t.fail(piece.status, piece.headers, piece.body) end
  return ({ reset = t.reset, close = t.close })[piece.ends]()
end

-- The pieces as an upstream's script; it is asked for a step when the one before has had its effect, so that is when `until` is looked at.
local function script_of(pieces, hold_until)
  local at = 0
  return setmetatable({}, { __index = function()
    at = at + 1
    while pieces[at] and pieces[at].until_text do
      hold_until(pieces[at].until_text)
      at = at + 1
    end
    return pieces[at] and step_of(pieces[at])
  end })
end

local function play(g, exchange, stream, cutting)
  local front, services, tries = client.front_of(exchange.request.path), {}, {}
  local want, streams = ask(exchange.request, front, stream)
  for name, answers in pairs(exchange.services) do services[name] = canned(name, answers) end
  want.services = services
  local x = g:start(want)
  x:answer(function(try)
    tries[try.target] = (tries[try.target] or 0) + 1
    local scripts = exchange.upstream[try.target] or error(('the model "%s" was asked and has no script'):format(try.target), 0)
    if scripts == "unreachable" then return { t.break_with "upstream_connect_failed" } end
    local steps = scripts[tries[try.target]] or error(('the model "%s" was asked too often'):format(try.target), 0)
    return script_of(model.pieces(steps, try.url, try.body.stream == true, cutting), function(text)
      if streams then assert.equal(text, x.status and told(x, front).text or "", "what the client has read by now") end
    end)
  end)
  return x, told(x, front), streams
end

-- ---- comparing

-- Of `got` what `want` speaks of, to be compared with it: members of objects that it names, lists whole. null: there is none.
local function spoken_of(want, got)
  if type(want) ~= "table" or want == json.null then
    if want == json.null and got == nil then return json.null end
    return got
  end
  if type(got) ~= "table" then return got end
  local out = {}
  for name, value in pairs(want) do out[name] = spoken_of(value, got[name]) end
  if json.is_list(want) then
    for i = #want + 1, #got do out[i] = got[i] end
  end
  return out
end

local function same(want, got, what) assert.same(want, spoken_of(want, got), what) end

local function lower(headers)
  local out = {}
  for name, value in pairs(headers or {}) do out[name:lower()] = value end
  return out
end

local function texts(fields)
  local out = {}
  for name, value in pairs(fields) do out[name] = value == json.null and value or tostring(value) end
  return out
end

local function hold_models(want, x, at)
  local names = {}
  for i, try in ipairs(x.upstream) do names[i] = try.target end
  local wanted = {}
  for i, try in ipairs(want or {}) do wanted[i] = try.model end
  assert.same(wanted, names, at .. "the models that were asked")
  for i, try in ipairs(want or {}) do
    if try.body then same(try.body, x.upstream[i].body, at .. "what " .. try.model .. " got") end
    if try.headers then same(try.headers, lower(x.upstream[i].headers), at .. "the headers that " .. try.model .. " got") end
  end
end

local function hold_services(want, x, at)
  local got = {}
  for _, call in ipairs(x.calls) do
    got[call.service] = got[call.service] or {}
    table.insert(got[call.service], { method = call.method, path = call.path, query = call.query, headers = lower(call.headers), json = call.json, body = call.body })
  end
  for name, calls in pairs(got) do assert.equal(#((want or {})[name] or {}), #calls, at .. "calls of the service " .. name) end
  same(want or {}, got, at .. "what services were asked")
end

local function hold_log(expect, x, at)
  local function find(want)
    for _, line in ipairs(x.logs) do
      if pcall(same, want, line) then return line end
    end
  end
  local lines = {}
  for i, line in ipairs(x.logs) do lines[i] = line.line end
  for _, want in ipairs(expect.log or {}) do
    assert.truthy(find(texts(want)), at .. "no such log line: " .. json.encode(want) .. " in\n" .. table.concat(lines, ""))
  end
  if expect.tags then
    local line
    for _, l in ipairs(x.logs) do line = l.event == "request" and l or line end
    same(texts(expect.tags), line, at .. "tags")
  end
end

local FINISHES = { openai = "stop", anthropic = "end_turn" }

local function hold(expect, x, r, front, streams, at)
  local failed = expect.error
  local as_event = failed and streams and expect.status == 200
  assert.equal(failed and not as_event and failed.status or expect.status or 200, x.status, at .. "the status")
  assert.equal(1, r.ended, at .. "the ends that were told")
  if failed then
    local wanted = {}
    for name, value in pairs(failed) do wanted[name] = name ~= "status" and value or nil end
    same(wanted, r.error, at .. "the error")
  else
    assert.is_nil(r.error and json.encode(r.error), at .. "the error")
    if r.finish then assert.equal(expect.finish or FINISHES[front], r.finish, at .. "the finish") end
    if expect.finish then assert.equal(expect.finish, r.finish, at .. "the finish") end
    if expect.usage then same(expect.usage, r.usage, at .. "the usage") end
  end
  local nothing_left = failed and not as_event
  assert.equal(not nothing_left and expect.text or "", r.text, at .. "the text")
  assert.equal(not nothing_left and expect.reasoning or "", r.reasoning, at .. "the reasoning")
  assert.equal(not nothing_left and expect.refusal or "", r.refusal, at .. "the refusal")
  assert.equal(#(expect.tools or {}), #r.tools, at .. "the number of tool calls")
  same(expect.tools or {}, r.tools, at .. "the tool calls")
  if expect.headers then same(lower(expect.headers), lower(x.headers), at .. "the headers") end
  hold_models(expect.models, x, at)
  hold_services(expect.services, x, at)
  hold_log(expect, x, at)
end

local function run(g, vector, stream, cutting)
  for i, exchange in ipairs(vector.exchanges) do
    local at = ("%s%s, exchange %d: "):format(cutting, stream and "" or ", not streamed", i)
    local ok, x, r, streams = pcall(play, g, exchange, stream, cutting)
    if not ok then error(at .. tostring(x), 0) end
    hold(exchange.expect, x, r, client.front_of(exchange.request.path), streams, at)
  end
end

-- Plays the vector under each cutting, and with clients that stream and that do not where it leaves that open. Runs share a gateway, but those of vectors whose
-- exchanges leave something for one another (fresh).
function M.all(vector)
  local g, why
  for _, cutting in ipairs(model.cuttings) do
    for _, stream in ipairs(vectors.either_way(vector) and { true, false } or { true }) do
      if vector.fresh or not g then
        if g then g:close() end
        t.forget()
        g, why = M.load(vector)
        assert.truthy(g, why)
      end
      run(g, vector, stream, cutting)
    end
  end
  g:close()
end

return M
