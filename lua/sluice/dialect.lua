-- What clients and upstreams speak. A dialect is a table with a `provider` part (how to ask an upstream and where its events hold text), a
-- `front` part (how clients ask and are answered), or both. Ours lie in dialects/; an operator may give a table of the same shape.
local sandbox = require "sluice.sandbox"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"

local M = {}

local KNOWN = { "openai", "token" }

-- In this order C reads them (enum place).
M.places = { "content", "reasoning", "refusal", "finish", "error", "usage_input", "usage_output", "tool_calls" }
-- In one item of the list that tool_calls names (enum tool_place).
M.tool_places = { "index", "id", "name", "arguments" }
local TOOL = { index = "index", id = "id", name = "function.name", arguments = "function.arguments" }

local function place_check(v, at)
  local check = schema.text('a place such as "choices[0].delta.content"', "^[%w_%-]+[%w_%-%.%[%]]*$")
  return check(v, at)
end

local places = {}
for _, name in ipairs(M.places) do places[name] = { place_check } end

local tool_places = {}
for _, name in ipairs(M.tool_places) do tool_places[name] = { place_check } end

local provider = schema.record({
  name = { schema.text("a name", "^[%w_%-]+$") },
  url = { schema.text("a URL") },
  places = { schema.record(places, "places"), required = "where its events hold text, such as { content = \"choices[0].delta.content\" }" },
  tool = { schema.record(tool_places, "tool") },
  done = { schema.text("the data of the event that ends a stream") },
  request = { schema.func, required = "function(req, model) that returns { path =, headers =, body = }" },
}, "a provider dialect")

local framing = schema.record({
  before = { schema.text(), required = true },
  after = { schema.text(), required = true },
}, "a framing")

local front = schema.record({
  name = { schema.text("a name", "^[%w_%-]+$") },
  methods = { schema.text("methods such as \"GET, HEAD, OPTIONS\"", "^%u[%u, ]*$"), required = true },
  content = { framing, required = "{ before =, after = }: what stands around the JSON text of a piece" },
  reasoning = { framing },
  finish = { framing },
  tool = { framing },
  done = { schema.text("the bytes that end a stream"), required = true },
  read = { schema.func, required = "function(req) that fills req.messages" },
  error = { schema.func, required = "function(err) that returns the table to send" },
}, "a front dialect")

local checks = { provider = provider, front = front }
local cache = setmetatable({}, { __mode = "k" })

local function named(name, role, at)
  for _, known in ipairs(KNOWN) do
    if known == name then
      local t = sandbox.public_module("sluice.dialects." .. name)
      if t[role] then return t end
    end
  end
  local able = {}
  for _, known in ipairs(KNOWN) do
    if sandbox.public_module("sluice.dialects." .. known)[role] then able[#able + 1] = known end
  end
  at:complain(('unknown dialect "%s"%s (known here: %s)'):format(name, suggest.hint(name, able), table.concat(able, ", ")))
end

-- What the core does not read yet of the providers that lie here.
local UNREAD = { kind = true, events = true, rare = true, ends = true, event = true, whole = true, error = true, embed = true }

local function readable(part)
  local out = {}
  for k, v in pairs(part) do
    if not UNREAD[k] then out[k] = v end
  end
  if type(part.places) == "table" then
    out.places = {}
    for _, name in ipairs(M.places) do out.places[name] = part.places[name] end
  end
  return out
end

-- role: "provider" or "front"; v: a name, a whole dialect, or that part of one. The same table gives the same result.
function M.resolve(role, v, at)
  if schema.unset(v) then return nil end
  if type(v) == "string" then v = named(v, role, at) end
  if v == nil then return nil end
  if type(v) ~= "table" then return at:complain(("must be the name of a dialect or a table, is %s"):format(schema.show(v))) end
  local name, part = v.name, v
  if type(v[role]) == "table" then
    part = v[role]
  elseif type(v.provider) == "table" or type(v.front) == "table" then
    return at:complain(('the dialect "%s" has no %s part'):format(tostring(name), role))
  end
  if cache[part] then return cache[part] end
  local made = checks[role](name == "openai" and role == "provider" and readable(part) or part, at)
  if not made then return nil end
  if role == "provider" then made.tool = made.tool or TOOL end
  made.name = made.name or (type(name) == "string" and name) or "custom"
  cache[part] = made
  return made
end

return M
