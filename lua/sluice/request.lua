-- What hooks see of a request: `head`, and `req` once the body was read (the same table; its metatable changes then).
local host = require "sluice.host"
local suggest = require "sluice.suggest"
local record = require "sluice.record"
local texts = require "sluice.texts"

local unknown = record.unknown
local set_of = record.set_of
local by_colon = record.by_colon
local facts = record.facts

local head_fields = { "method", "path", "headers", "query", "ip", "dialect" }
local body_fields = { "model", "messages", "params", "tools", "stream", "include_usage", "body" }
local methods = {}

local in_head = set_of(head_fields)
local settable = set_of(body_fields)

local in_req = set_of(head_fields, body_fields)

-- Whoever writes `req.q` means the query's.
local function in_query(name, k, known)
  return not suggest.nearest(k, known) and ("; did you mean %s.query.%s?"):format(name, tostring(k)) or nil
end

local head_mt = { __metatable = false, __name = "head" }
function head_mt.__index(head, k)
  if in_head[k] then return facts(head)[k] end
  unknown("head", k, in_head, in_req[k] and ": the body is not read yet, use the hook validate" or in_query("head", k, in_head))
end
function head_mt.__newindex(_, k) error(('head.%s cannot be set'):format(tostring(k)), 2) end

local req_mt = { __metatable = false, __name = "request" }
local lazy = { messages = true, params = true }
function req_mt.__index(req, k)
  local m = methods[k]
  if m then return m end
  if lazy[k] then
    local t = {}
    rawset(req, k, t)
    return t
  end
  if in_head[k] then return facts(req)[k] end
  if in_req[k] then return nil end
  local known = {}
  for name in pairs(in_req) do known[name] = true end
  for name in pairs(methods) do known[name] = true end
  unknown("request", k, known, in_query("req", k, known))
end
function req_mt.__newindex(req, k, v)
  if not settable[k] then
    if in_req[k] then error(("req.%s cannot be set"):format(k), 2) end
    unknown("request", k, in_req)
  end
  rawset(req, k, v)
end

local function role_matches(roles, role)
  if roles == nil or roles == role then return true end
  if type(roles) == "table" then
    for _, r in ipairs(roles) do if r == role then return true end end
  end
  return false
end

-- Each piece of text of each message: fn(text, role) may return another. What the client predicts the model to say counts as the model's.
local function each_text(req, roles, fn)
  for _, m in ipairs(req.messages) do
    if type(m) == "table" and role_matches(roles, m.role) then texts.message(m, fn, m.role) end
  end
  local prediction = rawget(req, "params") and req.params.prediction
  if type(prediction) == "table" and role_matches(roles, "assistant") then texts.message(prediction, fn, "assistant") end
end

function methods.text(req, role)
  local out = {}
  each_text(req, role, function(text) out[#out + 1] = text end)
  return host.table.concat(out, "\n")
end

function methods.map_text(req, fn, roles)
  if type(fn) ~= "function" then error("req:map_text takes a function(text, role)", 2) end
  each_text(req, roles, function(text, role)
    local new = fn(text, role)
    if new ~= nil and type(new) ~= "string" then error(("the function given to req:map_text returned a %s, not a text"):format(type(new)), 0) end
    return new
  end)
end

function methods.system(req, text)
  local messages = req.messages
  local first = messages[1]
  local has = type(first) == "table" and first.role == "system"
  if text == nil then return has and first.content or nil end
  if type(text) ~= "string" then error(("req:system takes a text, not a %s"):format(type(text)), 2) end
  if has and type(first.content) == "string" then
    first.content = first.content .. "\n\n" .. text
  else
    host.table.insert(messages, 1, { role = "system", content = text })
  end
end

function methods.last_user(req)
  local messages = req.messages
  for i = #messages, 1, -1 do
    local m = messages[i]
    if type(m) == "table" and m.role == "user" then
      if type(m.content) == "string" then return m.content end
      local out = {}
      for _, part in ipairs(type(m.content) == "table" and m.content or {}) do
        if type(part) == "table" and type(part.text) == "string" then out[#out + 1] = part.text end
      end
      return host.table.concat(out, "\n")
    end
  end
  return nil
end

function methods.tokens(req)                           -- an estimate: four bytes a token, four tokens a message
  local n = 4 * #req.messages
  each_text(req, nil, function(text) n = n + (#text + 3) // 4 end)
  return n
end

methods = by_colon("req", methods)

return { methods = methods, head_fields = head_fields, body_fields = body_fields, in_head = in_head, in_req = in_req, head_mt = head_mt, req_mt = req_mt }
