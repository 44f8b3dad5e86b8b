-- ctx: what a policy has of the exchange beside the request.
local host = require "sluice.host"
local suggest = require "sluice.suggest"
local record = require "sluice.record"

local REQ, ROUTE, ID, TARGET, HEADERS = record.REQ, record.ROUTE, record.ID, record.TARGET, record.HEADERS
local TAGS, VARS, SHARED, SUMMARY, OPENED = record.TAGS, record.VARS, record.SHARED, record.SUMMARY, record.OPENED
local PLAN, FINISH = record.PLAN, record.FINISH
local unknown = record.unknown
local by_colon = record.by_colon
local set_of, of = record.set_of, record.of

local ctx_methods = {}
local OWNED = { connection = true, ["content-length"] = true, ["transfer-encoding"] = true, ["keep-alive"] = true, upgrade = true, trailer = true,
  te = true, ["content-type"] = true, date = true, ["proxy-connection"] = true, ["x-request-id"] = true, ["x-sluice-error"] = true, ["x-accel-buffering"] = true }

local BLANK = { [32] = true, [9] = true }

local function set_header(x, name, value)
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then return nil, ("%q is no header name"):format(tostring(name)) end
  local lower = name:lower()
  if OWNED[lower] then return nil, ("the header %s belongs to the gateway"):format(name) end
  if math.type(value) == "integer" then value = ("%d"):format(value) end
  if type(value) ~= "string" then return nil, ("the header %s needs a text, not a %s"):format(name, type(value)) end
  if #value > 8192 then return nil, ("the header %s is longer than 8192 bytes"):format(name) end
  local from, to = 1, #value                             -- without the blanks around it
  while from <= to and BLANK[value:byte(from)] do from = from + 1 end
  while to >= from and BLANK[value:byte(to)] do to = to - 1 end
  value = value:sub(from, to)
  if value:find("[\0-\8\10-\31\127]") then return nil, ("the header %s may not hold control characters"):format(name) end
  local list = x[HEADERS]
  if not list then list = {}; x[HEADERS] = list end
  if lower ~= "set-cookie" then
    for i = 1, #list, 2 do
      if list[i]:lower() == lower then
        if lower == "vary" then
          if not (", " .. list[i + 1]:lower() .. ","):find(", " .. value:lower() .. ",", 1, true) then list[i + 1] = list[i + 1] .. ", " .. value end
        else
          list[i + 1] = value
        end
        return true
      end
    end
  end
  if #list >= 64 then return nil, "more than 32 headers were set" end
  list[#list + 1], list[#list + 2] = name, value
  return true
end

function ctx_methods.header(ctx, name, value)
  local ok, why = set_header(of(ctx), name, value)
  if not ok then error("ctx:header: " .. why, 2) end
end

-- What the log line says itself.
local line_names = set_of { "time", "level", "event", "id", "route", "generation", "status", "tokens", "first_token_ms", "held_ms", "total_ms", "bytes", "end",
  "model", "pool", "monitor", "tries", "upstream_status", "detail", "finish", "ended_by", "held_bytes" }

function ctx_methods.tag(ctx, name, value)
  local x = of(ctx)
  if type(name) ~= "string" or not name:find("^[%w_%-%.]+$") then error("ctx:tag: a name is a word", 2) end
  if line_names[name] then error(('ctx:tag: "%s" is what the log line itself says; choose another name'):format(name), 2) end
  local t = type(value)
  if t ~= "string" and t ~= "number" and t ~= "boolean" then error(("ctx:tag: a value is a text, a number or a boolean, not a %s"):format(t), 2) end
  local list = x[TAGS]
  if not list then list = {}; x[TAGS] = list end
  value = tostring(value)
  for i = 1, #list, 2 do
    if list[i] == name then list[i + 1] = value return end
  end
  if #list >= 64 then error("ctx:tag: more than 32 tags were set", 2) end
  list[#list + 1], list[#list + 2] = name, value
end

function ctx_methods.gate(ctx, fn)
  local _, p = of(ctx)
  if type(fn) ~= "function" then error(("ctx:gate takes a function, not a %s"):format(type(fn)), 2) end
  host.gate(fn, p)
end

ctx_methods = by_colon("ctx", ctx_methods)

local function shared(x)
  local t = x[SHARED]
  if not t then t = {}; x[SHARED] = t end
  return t
end

-- Kept in ctx once asked for.
local fixed = {
  id = function(x) return x[ID] end,
  route = function(x) return x[ROUTE].name end,
  policy = function(x, p) return x[ROUTE].policies[p + 1].name end,
  options = function(x, p) return x[ROUTE].policies[p + 1].options end,
  prepared = function(x, p) return x[ROUTE].policies[p + 1].prepared end,
  state = function() return {} end,
  vars = function(x)
    local t = x[VARS]
    if not t then t = {}; x[VARS] = t end
    return t
  end,
  client = function(x) return { ip = x[REQ].ip } end,
}

-- Asked for anew each time.
local live = {
  key = function(x) local s = x[SHARED] return s and s.key or nil end,
  plan = function(x)
    local models = {}
    for i, name in ipairs(x[PLAN] or x[ROUTE].plan) do models[i] = name end
    return { models = models }
  end,
  target = function(x) return x[TARGET] end,
  tags = function(x)
    local t, list = {}, x[TAGS] or {}
    for i = 1, #list, 2 do t[list[i]] = list[i + 1] end
    return t
  end,
  usage = function(x) local s = x[SUMMARY] or x[FINISH] return s and s.usage or nil end,
  sent = function(x) local s = x[SUMMARY] return s and s.bytes or 0 end,
  elapsed = function(x) return (host.now()) - x[OPENED] end,
  deadline = function(x)
    local total = x[ROUTE].total
    if total == 0 then return nil end
    return math.max(0, x[OPENED] + total - (host.now()))
  end,
}

local function ctx_known()
  local known = {}
  for _, t in ipairs { fixed, live, ctx_methods } do for k in pairs(t) do known[k] = true end end
  return known
end

local ctx_mt = { __metatable = false, __name = "context" }
function ctx_mt.__index(ctx, k)
  local m = ctx_methods[k]
  if m then return m end
  local get = fixed[k]
  if get then
    local v = get(of(ctx))
    rawset(ctx, k, v)
    return v
  end
  get = live[k]
  if get then return get((of(ctx))) end
  unknown("context", k, ctx_known())
end
function ctx_mt.__newindex(ctx, k, v)
  if k == "key" then shared((of(ctx))).key = v return end
  if fixed[k] or live[k] or ctx_methods[k] then error(("ctx.%s cannot be set"):format(k), 2) end
  error(('no field "%s" in context%s; keep what is yours in ctx.state'):format(tostring(k), suggest.hint(k, ctx_known())), 2)
end

local function over() error("this exchange is over: its ctx cannot be used any more", 2) end
local over_mt = { __index = over, __newindex = over, __metatable = false, __name = "context", __pairs = over, __len = over }

return { set_header = set_header, methods = ctx_methods, fixed = fixed, live = live, mt = ctx_mt, over_mt = over_mt }
