-- Shaking by other ways to ask: what a client asked for as a stream is asked for as one document, and g:chat's questions through the fronts of real clients,
-- streaming and not. What an answer says must be the same. (Through `completions` and `token` most of it could not be told.)
local json = require "sluice.testing.json"

local M = {}

-- The paths of t.load { policies = ... }, and the dialect of each.
M.paths = { ["/chat"] = "spec", ["/chat/openai"] = "openai", ["/chat/anthropic"] = "anthropic", ["/chat/responses"] = "responses", ["/chat/ui"] = "ui" }

-- ---- a question in each front's words; nil: it cannot say this

local function with(params, members)
  local out = {}
  for name, v in pairs(params) do out[name] = v end
  for name, v in pairs(members) do out[name] = v end
  return out
end

local function said_by_openai(m)
  return type(m) == "table" and (type(m.content) == "string" or type(m.content) == "table" or type(m.tool_calls) == "table") and type(m.role) == "string"
end

local function plain(m) return said_by_openai(m) and type(m.content) == "string" and not m.tool_calls and not m.name end

local function all(list, is)
  for _, v in ipairs(list) do
    if not is(v) then return false end
  end
  return #list > 0
end

local function only(params, names)
  local out = {}
  for name, v in pairs(params) do
    if not names[name] then return nil end
    out[names[name]] = v
  end
  return out
end

local bodies = {}

function bodies.openai(q, stream)
  if all(q.messages, said_by_openai) then return with(q.params, { messages = q.messages, model = q.model, tools = q.tools, stream = stream }) end
end

function bodies.responses(q, stream)
  local params = only(q.params, { temperature = "temperature", top_p = "top_p", max_tokens = "max_output_tokens", max_completion_tokens = "max_output_tokens" })
  if not params or q.tools or not all(q.messages, function(m) return plain(m) and m.role ~= "tool" end) then return nil end
  return with(params, { input = q.messages, model = q.model, stream = stream })
end

local ANTHROPIC = { user = true, assistant = true, system = true }

function bodies.anthropic(q, stream)
  local params = only(q.params, { temperature = "temperature", top_p = "top_p", max_tokens = "max_tokens" })
  if not params or q.tools or not all(q.messages, function(m) return plain(m) and ANTHROPIC[m.role] end) then return nil end
  return with(params, { messages = q.messages, model = q.model or "fast", stream = stream })
end

function bodies.ui(q, stream)
  if not stream or next(q.params) or q.tools or not all(q.messages, function(m) return plain(m) and ANTHROPIC[m.role] end) then return nil end
  local messages = {}
  for i, m in ipairs(q.messages) do messages[i] = { id = tostring(i), role = m.role, parts = { { type = "text", text = m.content } } } end
  return { messages = messages, model = q.model }
end

local function again(request, members)
  local out = {}
  for name, v in pairs(request) do out[name] = v end
  for name, v in pairs(members) do out[name] = v end
  return out
end

-- ---- what an answer says

local WORDS = {
  responses = { stop = true, length = true, content_filter = true, tool_calls = true },
  ui = { stop = true, length = true, content_filter = true, tool_calls = true },
}
local OTHER = { responses = "stop", ui = "other" }
local REFUSAL_IS_TEXT = { anthropic = true, ui = true }

local function arguments(text)
  local v = json.decode(text)
  return type(v) == "table" and json.encode(v) or text
end

-- front: through which it is to be compared.
local function gist(x, front)
  local out = {}
  if x.error then return "error" end
  local word = x.finish or "stop"
  if WORDS[front] and not WORDS[front][word] then word = OTHER[front] end
  out[1] = ("%q"):format(REFUSAL_IS_TEXT[front] and x.text .. x.refusal or x.text)
  out[2] = ("reasoning %q"):format(x.reasoning)
  for _, tool in ipairs(x.tools) do out[#out + 1] = ("tool %s %s"):format(tool.name, arguments(tool.arguments)) end
  out[#out + 1] = "finish=" .. word
  return table.concat(out, " ")
end

-- A front that has only a failure's sentence is compared by that.
local function failed_alike(first, other)
  local a, b = first.error, other.error
  if not a or not b then return a == b end
  if b.code then return a.code == b.code end
  return a.message == b.message
end

-- A document was asked for upstream, too, for its bytes could pass: a script is a stream's.
local function passed(x)
  local asked = x.upstream[#x.upstream]
  return asked ~= nil and not asked.raw:find('"stream":true', 1, true)
end

-- What to say when the other way made another result; nil when it did not.
function M.difference(first, other, way)
  if passed(other) then return nil end
  if REFUSAL_IS_TEXT[way.front] and first.refusal ~= "" and first.text ~= "" then return nil end
  local a, b = gist(first, way.front), gist(other, way.front)
  if a == b and failed_alike(first, other) then return nil end
  local function shown(x, said) return x.error and ("error %s: %s"):format(x.error.code, x.error.message) or said end
  return ("the result depends on how the client asks (%s)\n  as given: %s\n  so:       %s"):format(way.name, shown(first, a), shown(other, b))
end

-- ---- the ways

-- The other ways to put this request: { name =, front =, request = }. q: what g:chat was given, { messages =, params =, tools =, model = }; nil for g:ask.
function M.ways(request, q)
  local out = {}
  if request.method ~= "POST" or type(request.body) ~= "string" then return out end
  local body, n = request.body:gsub('("stream"%s*:%s*)true', "%1false", 1)
  if n == 0 then return out end
  for path, front in pairs(q and M.paths or {}) do
    for _, stream in ipairs { true, false } do
      local told = bodies[front] and bodies[front](q, stream)
      if told then
        local name = ("front %s, %s"):format(front, stream and "streaming" or "not streaming")
        out[#out + 1] = { name = name, front = front, request = again(request, { path = path, body = json.encode(json.object(told)) }) }
      end
    end
  end
  table.sort(out, function(a, b) return a.name < b.name end)
  table.insert(out, 1, { name = "not streaming", request = again(request, { body = body }) })
  return out
end

return M
