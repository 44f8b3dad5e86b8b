-- For specs of dialects: calls a dialect's functions in the sandbox (policies/dialect.lua).
--
--   local d = require "spec.policy.dialect" "gemini"
--   local said, why = d.ask { call = "event", event = { ... } }
local assert = require "luassert"
local t = require "sluice.testing"
local json = require "sluice.testing.json"

local function decode(text) return (json.decode(text, 1, json.null)) end

-- want: a JSON text; got: what it says, decoded.
local function same(want, got) assert.equal(json.encode(decode(want)), json.encode(got)) end

local MODELS = { gemini = "gemini-3-flash-preview", ollama = "qwen3:8b" }

return function(name)
  local g = t.load { policies = { "policies.dialect" }, dir = "spec/policy" }
  local d = { same = same }

  local function replied(want)
    want.dialect = want.dialect or name
    local r = g:chat { user = json.encode(want) }
    if r.error then return nil, r.error end
    return r.text
  end

  -- What policies/dialect.lua replies, without nulls; or nil and the error. What is no JSON comes as it is.
  function d.ask(want)
    local text, why = replied(want)
    if not text then return nil, why end
    return json.decode(text) or text
  end

  -- Any functions (calls.functions there), with nulls.
  function d.call(want)
    want.call = "functions"
    local text, why = replied(want)
    return text and decode(text), why
  end

  -- A client's body -> what of it the core sees; or nil and the error.
  function d.read(body, headers)
    local said, why = d.call { calls = { { "front", "read", "@req" } }, body = body, headers = headers and json.object(headers) }
    return said and said.req, why
  end

  -- The JSON of a canonical request -> what the upstream is asked; or nil and the error.
  function d.request(req, model)
    local said, why = d.call { calls = { { "provider", "request", req, model or '{"model":"claude-x"}' } } }
    return said and said.returned[1][1], why
  end

  -- req: { messages =, tools =, params = }; more: members of the model, such as { options = { ... } }. The request and its JSON text; or nil and the error.
  function d.asked(req, more, call)
    local model = { name = "m", model = MODELS[name], key = "KEY" }
    for k, v in pairs(more or {}) do model[k] = v ~= json.null and v or nil end
    local text, why = replied { call = call or "request", model = model,
      req = { model = req.model, messages = req.messages or { { role = "user", content = "Hi" } }, tools = req.tools, params = json.object(req.params or {}) } }
    if not text then return nil, { status = why.status, code = why.code, message = why.message } end
    return json.decode(text), text
  end

  -- What is asked to embed these texts.
  function d.embed(texts, params)
    local messages = {}
    for i, text in ipairs(texts) do messages[i] = { role = "user", content = text } end
    return d.asked({ messages = messages, params = params }, nil, "embed")
  end

  function d.embedded(doc, params) return d.ask({ call = "embedded", doc = doc, params = json.object(params or {}) }).answer end

  -- What an answer that is an error says, or nil.
  function d.failure(status, body)
    local said = d.ask { call = "error", status = status, body = body }
    return next(said) and said or nil
  end

  return d
end
