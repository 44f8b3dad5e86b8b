-- Every front before every provider dialect: one gateway for each dialect, on which each front has a path of its own, and what its client would post there.
-- Used by golden_spec.lua and leaks_spec.lua.
--
--   local pairs_of = require "spec.policy.pairs"
--   local g = pairs_of.gateway("gemini", "policies = { P }")
--   local x = g:ask { method = "POST", path = pairs_of.path.openai, body = pairs_of.body("openai", { text = "Hi", stream = true }), upstream = ... }
local t = require "sluice.testing"
local json = require "sluice.testing.json"

local M = {}

M.fronts = { "openai", "completions", "responses", "anthropic", "ui", "token" }
M.providers = { "anthropic", "gemini", "ollama", "openai", "responses" }
M.types = { sse = "text/event-stream", ndjson = "application/x-ndjson" }
M.framing = { anthropic = "sse", gemini = "sse", ollama = "ndjson", openai = "sse", responses = "sse" }

M.path = {
  openai = "/v1/chat/completions", completions = "/v1/completions", responses = "/v1/responses", anthropic = "/v1/messages", embeddings = "/v1/embeddings",
  ui = "/ui", token = "/token",
}
-- Fronts whose clients may ask for one document.
M.whole = { openai = true, completions = true, responses = true, anthropic = true }

-- The dialects that say the same on both sides: bytes may pass.
M.same = { openai = "openai", responses = "responses", anthropic = "anthropic" }

local SOURCE = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
local model = { provider = "%s", url = "http://up.test/v1", model = "upstream-1", key = "KEY", options = %s }
return sluice.config { api = 1, listen = ":0", models = { public = model },
  routes = {
    v1 = { path = "/v1/*", models = { "public" }, %s },
    ui = { path = "/ui", front = "ui", target = "public", %s },
    token = { path = "/token", front = "token", target = "public", %s },
  } }
]]

-- route: Lua text for each of the routes; before: Lua text that stands before them; options: the model's.
function M.gateway(provider, route, before, options)
  return assert(t.load { source = SOURCE:format(before or "", provider, options or "nil", route or "", route or "", route or "") })
end

local function merged(...)
  local out = {}
  for _, more in ipairs { ... } do
    for name, v in pairs(more) do out[name] = v end
  end
  return json.encode(json.object(out))
end

local bodies = {
  openai = function(want, more)
    return merged({ model = "public", stream = want.stream, messages = { { role = "user", content = want.text } } }, want.stream and want.usage and { stream_options = { include_usage = true } } or {}, more)
  end,
  completions = function(want, more)
    return merged({ model = "public", stream = want.stream, prompt = want.text }, want.stream and want.usage and { stream_options = { include_usage = true } } or {}, more)
  end,
  responses = function(want, more) return merged({ model = "public", stream = want.stream, input = want.text }, more) end,
  anthropic = function(want, more) return merged({ model = "public", stream = want.stream, max_tokens = 100, messages = { { role = "user", content = want.text } } }, more) end,
  embeddings = function(want, more) return merged({ model = "public", input = want.text }, more) end,
  ui = function(want, more) return merged({ messages = { { id = "1", role = "user", parts = { { type = "text", text = want.text } } } } }, more) end,
}

-- want: { text =, stream =, usage = whether a client that may choose asks for it }; more: other members of the body.
function M.body(front, want, more) return bodies[front](want, more or {}) end

local function encoded(text) return (text:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)) end

-- What g:ask takes, but for the upstream.
function M.request(front, want, more)
  if front == "token" then return { method = "GET", path = M.path.token, query = "q=" .. encoded(want.text), no_shake = true } end
  return { method = "POST", path = M.path[front], headers = { host = "test", ["content-type"] = "application/json" }, body = M.body(front, want, more), no_shake = true }
end

-- Steps of an upstream that sends these pieces of a stream, then closes.
function M.stream(provider, pieces)
  local script = { t.head(200, { ["content-type"] = M.types[M.framing[provider]] }) }
  for _, piece in ipairs(pieces) do script[#script + 1] = t.raw(piece) end
  script[#script + 1] = t.close()
  return script
end

-- What a client got, with what differs each time (ids, the time) written alike.
local function plain(x, bytes)
  -- An id that is hard to guess: 24 digits behind ours.
  bytes = bytes:gsub("test%-" .. x.id .. "(%x*)", function(more) return "ID" .. (#more >= 24 and more:sub(25) or more) end)
  return (bytes:gsub('"created":%d+', '"created":0'):gsub('"created_at":%d+', '"created_at":0'))
end

-- The bytes of its stream, or nil; the body of an answer that was none.
function M.streamed(x)
  if #x.wire == 0 then return nil end
  local out = {}
  for i, entry in ipairs(x.wire) do out[i] = entry.bytes end
  return plain(x, table.concat(out))
end

function M.body_of(x) return plain(x, x.body) end

function M.read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

return M
