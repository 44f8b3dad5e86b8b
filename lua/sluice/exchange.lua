-- The calls that script/ makes into Lua for an exchange, gathered from the files that say what a request, a context and an answer's steps look like.
local host = require "sluice.host"
local frozen = require "sluice.frozen"
local store = require "sluice.store"
local suggest = require "sluice.suggest"
local known_sets = require "sluice.known"
local record = require "sluice.record"
local request = require "sluice.request"
local context = require "sluice.context"
local shown = require "sluice.shown"
local answer = require "sluice.answer"
local upstream = require "sluice.upstream"
local affinity = require "sluice.affinity"
local verdicts = require "sluice.verdict"
local unit_of = require("sluice.policy").unit_of

local REQ, EXTRA, ROUTE = record.REQ, record.EXTRA, record.ROUTE
local unknown, set_of = record.unknown, record.set_of
local set_header = context.set_header

local M = {}
for _, file in ipairs { shown, answer, upstream, affinity } do
  for name, f in pairs(file) do if type(f) == "function" then M[name] = f end end
end

-- ---- part: one shared table for each channel and each `last`

for i, channel in ipairs { "content", "reasoning", "refusal", "tool_args" } do
  host.keep_part((i - 1) * 2, frozen.freeze({ channel = channel, last = false }, "field in part:"))
  host.keep_part((i - 1) * 2 + 1, frozen.freeze({ channel = channel, last = true }, "field in part:"))
end

-- ---- out: what a Lua model answers through

M.out = frozen.library("out", { text = host.out_text })

-- ---- calls from C

-- The front reads the request. Returns its verdict, or the plan of the model that the client named, where the route offers models.
function M.read(x, read, has_answer)
  local req = x[REQ]
  local verdict = read(req)
  if verdict ~= nil then return verdict end
  if type(req.messages) ~= "table" then error("the front set req.messages to something that is no list", 0) end
  if has_answer then answer.begin(x, req) end
  local offers, model = x[ROUTE].offers, rawget(req, "model")
  if not offers or model == nil then return nil end
  return offers.plans[model] or verdicts.reject(404, "model_not_found", ("There is no model %s here."):format(host.json.encode(model)))
end

local err_fields = set_of { "kind", "status", "code", "type", "message", "headers_sent", "policy", "hook", "retry_after", "upstream", "retryable", "request_id", "extra" }
local err_mt = { __metatable = false, __name = "error" }
function err_mt.__index(_, k)
  if err_fields[k] then return nil end
  unknown("error", k, err_fields)
end
function err_mt.__newindex(_, k) error(('err.%s cannot be set: return a table of the fields to change'):format(tostring(k)), 2) end

local RETRYABLE = { [408] = true, [425] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }

-- The table that error hooks and fronts see. f: the fields as C passes them.
local function err_of(x, status, code, message, kind, headers_sent, type_, policy, hook, retry_after, upstream_status, upstream_code, upstream_param)
  return setmetatable({
    status = status, code = code, message = message, kind = kind, headers_sent = headers_sent, type = type_, policy = policy, hook = hook,
    retry_after = retry_after, upstream = upstream_status and { status = upstream_status, code = upstream_code, param = upstream_param } or nil,
    retryable = RETRYABLE[status] or false, request_id = x[record.ID], extra = x[EXTRA] or nil,
  }, err_mt)
end

local changeable = { status = "number", code = "string", message = "string", type = "string", headers = "table", extra = "table", retry_after = "number" }

-- Runs one error hook; returns status, code, message, type, retry_after as they are to be, or nothing.
function M.error_hook(x, fn, ctx, ...)
  local err = err_of(x, ...)
  local t = fn(err, ctx)
  if t == nil then return end
  if type(t) ~= "table" or t[1] ~= nil then
    error(("the hook error returned %s; it may return nothing or a table of fields to change (%s)"):format(type(t) == "table" and "a list or verdict" or "a " .. type(t), suggest.list(changeable)), 0)
  end
  for k, v in pairs(t) do
    if not changeable[k] then error(('the hook error cannot change "%s"%s'):format(tostring(k), suggest.hint(k, changeable)), 0) end
    if type(v) ~= changeable[k] then error(("the hook error returned %s as %s, which must be a %s"):format(type(v), k, changeable[k]), 0) end
    if type(v) == "string" and not host.utf8(v) then error(("the hook error returned a %s that is no valid UTF-8"):format(k), 0) end
  end
  if t.status and (math.type(t.status) ~= "integer" or t.status < 400 or t.status > 599) then error("the hook error returned a status that is none from 400 to 599", 0) end
  if t.code and not t.code:find("^[%w_%.%-]+$") then error("the hook error returned a code that is no word", 0) end
  for name, value in pairs(t.headers or {}) do
    local ok, why = set_header(x, name, value)
    if not ok then error("the hook error: " .. why, 0) end
  end
  if t.extra then
    host.json.encode(t.extra)
    x[EXTRA] = t.extra
  end
  return t.status, t.code, t.message, t.type, t.retry_after and math.max(0, math.ceil(t.retry_after))
end

-- Asked once a block: whether a filter applies, its unit as C wants it (nothing: as configured), what it looks for (nothing: as configured).
function M.block(when, unit, match, ctx, judges)
  if when and not when(ctx) then return false end
  local kind, chars, overlap, matcher
  if unit then
    kind, chars, overlap = unit_of(unit(ctx), judges)
    if not kind then error("a filter's unit function returned something else: " .. chars, 0) end
  end
  if match then
    matcher = match(ctx)
    if not host.is_matcher(matcher) then error("a filter's match function returned a " .. type(matcher) .. ", not a matcher", 0) end
  end
  return true, kind, chars, overlap, matcher
end

M.give_back = store.give_back

-- A failure as the front tells it: what the hooks see of it, and the front's table.
function answer.error_of(x, front_error, ...)
  local err = err_of(x, ...)
  local body = front_error(err)
  if type(body) ~= "table" then error("the front's error returned no table", 0) end
  for k, v in pairs(err.extra or {}) do
    if body[k] == nil then body[k] = v end
  end
  return err, body
end

function M.error_body(...)
  local _, body = answer.error_of(...)
  return host.json.encode(body)
end

-- The headers that a verdict carries.
function M.verdict_headers(x, headers)
  for name, value in next, headers do
    if type(name) == "string" and name:lower() ~= "retry-after" then
      local ok, why = set_header(x, name, value)
      if not ok then error(why, 0) end
    end
  end
  for name, value in next, headers do
    if type(name) == "string" and name:lower() == "retry-after" then return math.tointeger(tonumber(value)) end
  end
end

known_sets.add { head = request.in_head, req = request.in_req, ["req:"] = request.methods, ctx = context.fixed, ["ctx:"] = context.methods,
  part = { channel = true, last = true }, ["out:"] = { text = host.out_text },
  err = err_fields, shape = changeable, sum = shown.known.sum, usage = shown.known.usage }
known_sets.add { ctx = context.live, try = shown.known.try, ["try:"] = request.methods, call = shown.known.call, ["call:"] = shown.known.call_methods }

host.keep("head", request.head_mt)
host.keep("req", request.req_mt)
host.keep("ctx", context.mt)
host.keep("over", context.over_mt)
host.keep("exchange", M)

return M
