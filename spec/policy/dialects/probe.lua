-- Dialects in the real sandbox, asked one by one: what they make of a request, of an answer's events, of errors and embeddings. Reading events follows the
-- promises of a provider's table: declared places, rare events to `event`, words of finish reasons, the ends. Used by the specs dialects_*_spec.lua.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local lfs = require "lfs"
local assert = require "luassert"

local M = {}

-- Within the sandbox: a model that runs what the question says and answers with JSON, or with the dialect's own refusal.
local SOURCE = [=[
local sluice = require "sluice"
local dialects = { gemini = require "sluice.dialects.gemini", ollama = require "sluice.dialects.ollama" }

local function at(event, place)
  local v = event
  for step in place:gmatch "[^%.%[%]]+" do
    if type(v) ~= "table" then return nil end
    v = v[math.tointeger(step) and math.tointeger(step) + 1 or step]
  end
  return v ~= sluice.json.null and v or nil
end

local function reader()
  local told = { text = {}, reasoning = {}, finish = {}, tools = sluice.json.array {}, rare = 0 }
  local out = {}
  function out:text(channel, text, choice) -- luacheck: ignore self
    local key = channel == "content" and "text" or channel
    choice = choice or 0
    told[key][choice] = (told[key][choice] or "") .. text
  end
  function out:tool(call) told.tools[#told.tools + 1] = call end -- luacheck: ignore self
  function out:finish(word, choice) told.finish[choice or 0] = word end -- luacheck: ignore self
  function out:usage(u) told.usage = told.usage or {} for k, v in pairs(u) do told.usage[k] = v end end -- luacheck: ignore self
  function out:model(name) told.model = name end -- luacheck: ignore self
  function out:error(e) told["end"], told.message = "upstream_error", e.message end -- luacheck: ignore self
  function out:done() told["end"] = "done" end -- luacheck: ignore self
  return told, out
end

local function is_rare(provider, event)
  for _, place in ipairs(provider.rare or {}) do
    if at(event, place) ~= nil then return true end
  end
end

local function read_places(provider, event, out)
  local function of(name) return provider.places[name] and at(event, provider.places[name]) end
  local choice = of "choice"
  if of "model" then out:model(of "model") end
  if of "reasoning" then out:text("reasoning", of "reasoning", choice) end
  if of "content" then out:text("content", of "content", choice) end
  if of "finish" then out:finish((provider.finish_words or {})[of "finish"] or of "finish", choice) end
  out:usage { input = of "usage_input", output = of "usage_output", cached = of "usage_cached", reasoning = of "usage_reasoning" }
  if of "error" then out:error(provider.error(200, event) or {}) elseif provider.done_at and at(event, provider.done_at) == true then out:done() end
end

local run = {}

function run.request(provider, q) return provider.request(q.req, q.model) end
function run.embed(provider, q) return provider.embed.request(q.req, q.model) end
function run.answer(provider, q) return { answer = provider.embed.answer(q.doc, q.req) } end
function run.failure(provider, q) return { failure = provider.error(q.status, q.body) } end

function run.stream(provider, q)
  local told, out = reader()
  for _, data in ipairs(q.events) do
    local event = sluice.json.decode(data)
    if is_rare(provider, event) then
      told.rare = told.rare + 1
      provider.event(event, out)
    else
      read_places(provider, event, out)
    end
    if told["end"] then break end
  end
  if told["end"] == nil then told["end"] = not provider.done_at and next(told.finish) ~= nil and "done" or "upstream_truncated" end
  local choices = {}
  for i = 0, q.choices - 1 do
    local finish = told.finish[i] or told["end"] == "done" and "stop" or nil
    if finish == "stop" and #told.tools > 0 then finish = "tool_calls" end     -- the gateway's part: a dialect sees one event at a time
    choices[i + 1] = { text = told.text[i] or "", reasoning = told.reasoning[i] or "", finish = finish }
  end
  return { choices = choices, tools = told.tools, usage = told.usage, ["end"] = told["end"], model = told.model, message = told.message, rare = told.rare }
end

local function model(req, out)
  local q = sluice.json.decode(req:last_user())
  local said = run[q.run](dialects[q.dialect].provider, q)
  if said.path == nil and next(said) == nil and q.run ~= "answer" and q.run ~= "failure" then return said end      -- a verdict shows nothing of itself
  out:text(sluice.json.encode(said))
end

return sluice.config { api = 1, listen = ":0", models = { m = model }, routes = { r = { path = "/r", front = require "sluice.dialects.spec", target = "m" } } }
]=]

local gateway

local function ask(q)
  gateway = gateway or assert(t.load { source = SOURCE })
  local r = gateway:ask { method = "POST", path = "/r", body = json.encode { stream = true, params = json.object {}, messages = { { role = "user", content = json.encode(q) } } } }
  if r.error then return nil, { status = r.status, code = r.error.code, message = r.error.message } end
  return json.decode(r.text), r.text
end

local MODELS = { gemini = { name = "m", model = "gemini-3-flash-preview", key = "KEY" }, ollama = { name = "m", model = "qwen3:8b", key = "KEY" } }

-- req: { messages =, tools =, params = }. more: members of the model, such as { model = "gemini-2.5-pro", options = { ... } }. The request, its JSON text; or
-- nil and { status, code, message }.
function M.request(dialect, req, more)
  local model = {}
  for k, v in pairs(MODELS[dialect]) do model[k] = v end
  for k, v in pairs(more or {}) do model[k] = v ~= json.null and v or nil end
  return ask { run = more and more.run or "request", dialect = dialect, model = model,
    req = { model = req.model, messages = req.messages or { { role = "user", content = "Hi" } }, tools = req.tools, params = json.object(req.params or {}) } }
end

function M.embed(dialect, texts, params)
  local messages = {}
  for i, text in ipairs(texts) do messages[i] = { role = "user", content = text } end
  return M.request(dialect, { messages = messages, params = params or {} }, { run = "embed" })
end
function M.answer(dialect, doc, params) return (ask { run = "answer", dialect = dialect, doc = doc, req = { model = "known", params = params or json.object {} } }).answer end
function M.failure(dialect, status, body) return (ask { run = "failure", dialect = dialect, status = status, body = body }).failure end

-- ---- recorded streams

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local EXT = { gemini = "sse", ollama = "ndjson" }

-- name -> { means =, told = } of all that spec/wire/DIALECT holds.
function M.recorded(dialect)
  local dir, out = "spec/wire/" .. dialect, {}
  for file in lfs.dir(dir) do
    local name = file:match("^(.+)%." .. EXT[dialect] .. "$")
    if name then
      local events = {}
      for line in read(("%s/%s"):format(dir, file)):gmatch "[^\r\n]+" do
        events[#events + 1] = EXT[dialect] == "ndjson" and line or line:match "^data: (.*)$"
      end
      out[name] = { means = json.decode(read(("%s/%s.json"):format(dir, name))), events = events }
    end
  end
  return out
end

function M.stream(dialect, events, choices) return assert(ask { run = "stream", dialect = dialect, events = events, choices = choices or 1 }) end

-- Fails unless a recorded stream means what it shall.
function M.holds(dialect, recorded)
  local means = recorded.means
  local choices = means.choices or { { text = means.text, reasoning = means.reasoning, finish = means.finish } }
  local told = M.stream(dialect, recorded.events, #choices)
  for i, choice in ipairs(choices) do
    assert.equal(choice.text, told.choices[i].text)
    assert.equal(choice.reasoning or "", told.choices[i].reasoning)
    assert.equal(choice.finish ~= json.null and choice.finish or nil, told.choices[i].finish)
  end
  assert.equal(#means.tools, #told.tools)
  local seen = {}
  for i, call in ipairs(means.tools) do
    local got = told.tools[i]
    assert.equal(call.name, got.name)
    assert.equal(call.arguments, got.arguments)
    if call.id and call.id ~= json.null then assert.equal(call.id, got.id) end
    assert.truthy(type(got.id) == "string" and got.id ~= "" and not seen[got.id])
    seen[got.id] = true
  end
  local usage = means.usage ~= json.null and means.usage or nil
  assert.same(usage, told.usage and next(told.usage) and told.usage or nil)
  assert.equal(means["end"], told["end"])
  return told
end

return M
