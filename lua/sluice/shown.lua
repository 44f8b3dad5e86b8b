-- What the hooks of an answer are shown: the try, its failure, the model's head, a tool call, the end, the summary. Each is made by script/shown.c once a
-- phase and kept in its slot of the record.
local host = require "sluice.host"
local frozen = require "sluice.frozen"
local known_sets = require "sluice.known"
local record = require "sluice.record"
local request = require "sluice.request"
local texts = require "sluice.texts"

local REQ, ROUTE, ID, TARGET, TAGS = record.REQ, record.ROUTE, record.ID, record.TARGET, record.TAGS
local VARS, SHARED, SUMMARY, OPENED, PLAN = record.VARS, record.SHARED, record.SUMMARY, record.OPENED, record.PLAN
local TRY, FAILURE, RESPONSE, FINISH, CALL = record.TRY, record.FAILURE, record.RESPONSE, record.FINISH, record.CALL
local unknown = record.unknown
local set_of = record.set_of
local facts = record.facts
local methods, head_fields, body_fields, in_head = request.methods, request.head_fields, request.body_fields, request.in_head

local M = {}

-- ---- a try: what the hook attempt may change is a fresh copy of the request

local function copy(v, depth)
  if type(v) ~= "table" then return v end
  if depth > 100 then error("the request is nested more than 100 levels deep, or holds itself", 0) end
  local out = {}
  for k, item in next, v do out[k] = copy(item, depth + 1) end
  return setmetatable(out, debug.getmetatable(v))      -- an array stays one
end

local tries = setmetatable({}, { __mode = "k" })         -- try -> what of it cannot be set
local try_settable = set_of { "messages", "params", "tools", "headers" }
local in_try = set_of({ "target", "number", "continues" }, head_fields, body_fields)
local try_mt = { __metatable = false, __name = "try" }
function try_mt.__index(try, k)
  local m = methods[k]
  if m then return m end
  if in_try[k] then
    local v = tries[try][k]
    if v == nil and in_head[k] then v = facts(try)[k] end
    return v
  end
  local known = set_of { "target", "number", "continues" }
  for _, t in ipairs { in_try, methods } do for name in pairs(t) do known[name] = true end end
  unknown("try", k, known)
end
function try_mt.__newindex(try, k, v)
  if not try_settable[k] then
    if in_try[k] then error(("try.%s cannot be set"):format(k), 2) end
    unknown("try", k, try_settable)
  end
  rawset(try, k, v)
end

-- For a policy in monitor mode: a record with a copy of the request. Its tags are those of the log line; what it shares is its own.
function M.copy(x)
  local req, out = x[REQ], {}
  x[TAGS] = x[TAGS] or {}
  for _, slot in ipairs { ROUTE, ID, TARGET, OPENED, TAGS, PLAN } do out[slot] = x[slot] end
  out[REQ] = setmetatable({ rawget(req, 1), messages = copy(req.messages, 1), params = copy(req.params, 1), tools = copy(req.tools, 1), model = req.model,
    stream = req.stream, body = req.body }, debug.getmetatable(req))
  return out
end

function M.copy_shared(to, x)
  to[VARS], to[SHARED] = x[VARS] and copy(x[VARS], 1), x[SHARED] and copy(x[SHARED], 1)
end

function M.try(x, name, model, number, wants_copy, continues)
  x[TARGET] = name
  if not wants_copy then return end
  local req = x[REQ]
  local try = setmetatable({ rawget(req, 1), messages = copy(req.messages, 1), params = copy(req.params, 1), tools = copy(req.tools, 1), headers = {} }, try_mt)
  tries[try] = { target = name, number = number, continues = continues, model = model.model, stream = req.stream, include_usage = req.include_usage, body = req.body }
  x[TRY] = try
end

local NOT_FOR_UPSTREAM = set_of { "host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect", "accept-encoding" }

-- A dialect's headers with those that the hook attempt set in their place.
local function with_headers(own, set)
  local out, lower = {}, {}
  if type(set) ~= "table" then error("the hook attempt set try.headers to something that is no table", 0) end
  for name, value in pairs(set) do
    if type(name) ~= "string" or NOT_FOR_UPSTREAM[name:lower()] then
      error(("try.headers: %s cannot be set"):format(type(name) == "string" and "the header " .. name or "a header without a name"), 0)
    end
    out[name], lower[name:lower()] = value, true
  end
  for name, value in pairs(own) do
    if not lower[name:lower()] then out[name] = value end
  end
  return out
end

-- ---- what the other hooks of an answer are shown: read-only, unknown names refused

local function shown(what, owner, fields)
  local known = set_of(fields)
  known_sets.add { [owner] = known }
  return function(t) return frozen.freeze(t, ("field in %s:"):format(what), known) end
end

local failure = shown("failure", "failure", { "target", "number", "code", "message", "status", "retry_after" })
local response = shown("response", "res", { "target", "number", "status", "headers" })
local finish = shown("finish", "fin", { "reason", "target", "tokens", "usage" })

function M.failure(x, name, number, code, message, status, retry_after)
  x[FAILURE] = failure { target = name, number = number, code = code, message = message, status = status, retry_after = retry_after }
end

function M.response(x, name, number, status, headers)
  x[RESPONSE] = response { target = name, number = number, status = status, headers = headers }
end

-- A whole tool call: id, name, arguments (the JSON as the model wrote it), args (decoded; nil when it is no JSON). Only args may be changed.
local calls = setmetatable({}, { __mode = "k" })         -- call -> its facts
local call_fields = set_of { "id", "name", "arguments", "args" }
local call_methods = {}
local call_mt = { __metatable = false, __name = "tool call" }
function call_mt.__index(call, k)
  if call_methods[k] then return call_methods[k] end
  if call_fields[k] then return calls[call][k] end
  unknown("tool call", k, call_fields)
end
function call_mt.__newindex(call, k, v)
  if k ~= "args" then
    if call_fields[k] then error(("call.%s cannot be set"):format(k), 2) end
    unknown("tool call", k, call_fields)
  end
  calls[call].args = v
end

-- Arguments that are no JSON (a limit cut them short) are one text.
function call_methods.map_text(call, fn)
  if type(fn) ~= "function" then error("call:map_text takes a function(text)", 2) end
  local function checked(text)
    local new = fn(text)
    if new ~= nil and type(new) ~= "string" then error(("the function given to call:map_text returned a %s, not a text"):format(type(new)), 0) end
    return new
  end
  local c = calls[call]
  if c.args ~= nil then
    c.args = texts.map(c.args, checked)
  else
    c.arguments, c.rewritten = texts.map(c.arguments, checked)
  end
end
call_methods = record.by_colon("call", call_methods)

function M.tool(x, id, name, arguments)
  local args = host.json.decode(arguments)
  local call = setmetatable({}, call_mt)
  calls[call] = { id = id, name = name, arguments = arguments, args = args, was = args ~= nil and host.json.encode(args) or nil }
  x[CALL] = call
end

-- The arguments as JSON when a hook has changed them; else nothing. (call:map_text may have changed what is no JSON.)
function M.tool_args(x)
  local call = calls[x[CALL]]
  if call.args == nil and call.was == nil then return call.rewritten and call.arguments or nil end
  local now = host.json.encode(call.args)
  if now ~= call.was then return now end
end

local sum_fields = set_of { "finish", "status", "complete", "tokens", "bytes", "first_token_ms", "total_ms", "held_ms", "usage" }
local sum_mt = { __metatable = false, __name = "summary" }
function sum_mt.__index(_, k)
  if sum_fields[k] then return nil end
  unknown("summary", k, sum_fields)
end
local usage_fields = set_of { "input", "output", "cached", "cache_written", "reasoning", "estimated" }
local usage_mt = { __metatable = false, __name = "usage" }
function usage_mt.__index(_, k)
  if usage_fields[k] then return nil end
  unknown("usage", k, usage_fields)
end

-- What a model used, as far as it was told.
local function usage_of(x, tokens, input, output, cached, reasoning, cache_written)
  local asked = input == nil and type(rawget(x[REQ], "messages")) == "table" and methods.tokens(x[REQ]) or 0
  return setmetatable({ cached = cached, cache_written = cache_written, reasoning = reasoning, input = input or asked, output = output or tokens,
    estimated = input == nil or output == nil }, usage_mt)
end

function M.finish(x, reason, tokens, ...)
  x[FINISH] = finish { reason = reason, target = x[TARGET], tokens = tokens, usage = usage_of(x, tokens, ...) }
end

function M.summary(x, reason, status, tokens, bytes, first_token_ms, total_ms, held_ms, input, output, cached, reasoning, cache_written, complete)
  x[SUMMARY] = setmetatable({
    finish = reason, status = status, complete = complete, tokens = tokens, bytes = bytes, first_token_ms = first_token_ms, total_ms = total_ms, held_ms = held_ms,
    usage = usage_of(x, tokens, input, output, cached, reasoning, cache_written),
  }, sum_mt)
end

M.usage_of = usage_of
M.known = { try = in_try, call = call_fields, call_methods = call_methods, sum = sum_fields, usage = usage_fields }
M.with_headers = with_headers

return M
