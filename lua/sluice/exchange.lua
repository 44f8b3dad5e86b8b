-- The Lua side of one exchange: what `head`, `req`, `ctx` and `part` offer, and the few calls that script/exchange.c makes into Lua.
-- C makes the tables (script/request.c); the slots of its record of an exchange:
local REQ, ROUTE, ID, TARGET, HEADERS, TAGS, VARS, SHARED, SUMMARY, EXTRA, OPENED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local PLAN, TRY, FAILURE, RESPONSE, FINISH, CALL = 13, 14, 15, 16, 17, 18

local host = require "sluice.host"
local unit_of = require("sluice.policy").unit_of
local frozen = require "sluice.frozen"
local known_sets = require "sluice.known"
local suggest = require "sluice.suggest"

local M = {}

local function unknown(what, k, known, more)
  error(('no field "%s" in %s%s%s'):format(tostring(k), what, suggest.hint(k, known), more or ""), 3)
end

local function set_of(...)
  local s = {}
  for _, list in ipairs { ... } do for _, k in ipairs(list) do s[k] = true end end
  return s
end

-- Methods that tell who calls them with a dot to use a colon.
local function by_colon(what, methods)
  local checked = {}
  for name, method in pairs(methods) do
    checked[name] = function(self, ...)
      if type(self) ~= "table" then error(("write %s:%s(...) with a colon, not a dot"):format(what, name), 2) end
      return method(self, ...)
    end
  end
  return checked
end

-- ---- head and req: the same table; its metatable changes when the body was read

local head_fields = { "method", "path", "headers", "query", "ip", "dialect" }
local body_fields = { "model", "messages", "params", "tools", "stream", "body" }
local methods = {}

local in_head = set_of(head_fields)
local settable = set_of(body_fields)

local in_req = set_of(head_fields, body_fields)

-- What the client sent cannot be changed: it lies in a box that only we can open. The same for what ctx stands for.
local function facts(req) return host.unbox(rawget(req, 1)) end
local function of(ctx) return host.unbox(rawget(ctx, 1)) end

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

-- Each piece of text of each message: fn(text, role) may return another.
local function each_text(req, roles, fn)
  for _, m in ipairs(req.messages) do
    if type(m) == "table" and role_matches(roles, m.role) then
      if type(m.content) == "string" then
        local new = fn(m.content, m.role)
        if new ~= nil then m.content = new end
      elseif type(m.content) == "table" then
        for _, part in ipairs(m.content) do
          if type(part) == "table" and type(part.text) == "string" then
            local new = fn(part.text, m.role)
            if new ~= nil then part.text = new end
          end
        end
      end
    end
  end
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

-- ---- ctx

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
  "model", "monitor", "tries", "upstream_status", "detail", "finish" }

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

-- ---- part: one shared table for each channel and each `last`

for i, channel in ipairs { "content", "reasoning", "refusal", "tool_args" } do
  host.keep_part((i - 1) * 2, frozen.freeze({ channel = channel, last = false }, "field in part:"))
  host.keep_part((i - 1) * 2 + 1, frozen.freeze({ channel = channel, last = true }, "field in part:"))
end

-- ---- out: what a Lua model answers through

M.out = frozen.library("out", { text = host.out_text })

-- ---- calls from C

-- The front reads the request.
function M.read(x, read)
  local req = x[REQ]
  local verdict = read(req)
  if type(req.messages) ~= "table" then error("the front set req.messages to something that is no list", 0) end
  return verdict
end

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
local in_try = set_of({ "target", "number" }, head_fields, body_fields)
local try_mt = { __metatable = false, __name = "try" }
function try_mt.__index(try, k)
  local m = methods[k]
  if m then return m end
  if in_try[k] then
    local v = tries[try][k]
    if v == nil and in_head[k] then v = facts(try)[k] end
    return v
  end
  local known = set_of { "target", "number" }
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

function M.try(x, name, model, number, wants_copy)
  x[TARGET] = name
  if not wants_copy then return end
  local req = x[REQ]
  local try = setmetatable({ rawget(req, 1), messages = copy(req.messages, 1), params = copy(req.params, 1), tools = copy(req.tools, 1), headers = {} }, try_mt)
  tries[try] = { target = name, number = number, model = model.model, stream = req.stream, body = req.body }
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
local call_mt = { __metatable = false, __name = "tool call" }
function call_mt.__index(call, k)
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

function M.tool(x, id, name, arguments)
  local ok, args = host.base.pcall(host.json.decode, arguments)
  local call = setmetatable({}, call_mt)
  calls[call] = { id = id, name = name, arguments = arguments, args = ok and args or nil, was = ok and host.json.encode(args) or nil }
  x[CALL] = call
end

-- The arguments as JSON when a hook has changed them; else nothing.
function M.tool_args(x)
  local call = calls[x[CALL]]
  if call.args == nil and call.was == nil then return nil end
  local now = host.json.encode(call.args)
  if now ~= call.was then return now end
end

-- What the dialect wants to send: path, { name, value, name, value ... }, body text. A value may be a list whose parts (texts, secrets) C joins.
function M.request(x, request, model)
  local try = x[TRY]
  local r = request(try or x[REQ], model)
  if type(r) ~= "table" then error(("the dialect's request returned %s, not a table"):format(type(r)), 0) end
  if type(r.path) ~= "string" or not (r.path == "" or r.path:find("^[/?][^%s%c#]*$")) then error("the dialect's request returned no path that begins with /", 0) end
  local body = r.body
  if type(body) == "table" then body = host.json.encode(body) end
  if type(body) ~= "string" then error("the dialect's request returned no body", 0) end
  local headers, names = {}, {}
  if try then r.headers = with_headers(r.headers or {}, try.headers) end
  for name in pairs(r.headers or {}) do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then error(("the dialect's request returned %q as a header name"):format(tostring(name)), 0) end
    names[#names + 1] = name
  end
  host.table.sort(names)
  for _, name in ipairs(names) do headers[#headers + 1], headers[#headers + 2] = name, r.headers[name] end
  return r.path, headers, body
end

local err_fields = set_of { "kind", "status", "code", "type", "message", "headers_sent", "policy", "hook", "retry_after", "upstream", "retryable", "extra" }
local err_mt = { __metatable = false, __name = "error" }
function err_mt.__index(_, k)
  if err_fields[k] then return nil end
  unknown("error", k, err_fields)
end
function err_mt.__newindex(_, k) error(('err.%s cannot be set: return a table of the fields to change'):format(tostring(k)), 2) end

local RETRYABLE = { [408] = true, [425] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }

-- The table that error hooks and fronts see. f: the fields as C passes them.
local function err_of(x, status, code, message, kind, headers_sent, type_, policy, hook, retry_after, upstream_status)
  return setmetatable({
    status = status, code = code, message = message, kind = kind, headers_sent = headers_sent, type = type_, policy = policy, hook = hook,
    retry_after = retry_after, upstream = upstream_status and { status = upstream_status } or nil, retryable = RETRYABLE[status] or false,
    extra = x[EXTRA] or nil,
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

-- The front's JSON for an error.
function M.error_body(x, front_error, ...)
  local err = err_of(x, ...)
  local body = front_error(err)
  if type(body) ~= "table" then error("the front's error returned no table", 0) end
  for k, v in pairs(err.extra or {}) do
    if body[k] == nil then body[k] = v end
  end
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

local sum_fields = set_of { "finish", "status", "tokens", "bytes", "first_token_ms", "total_ms", "held_ms", "usage" }
local sum_mt = { __metatable = false, __name = "summary" }
function sum_mt.__index(_, k)
  if sum_fields[k] then return nil end
  unknown("summary", k, sum_fields)
end
local usage_fields = set_of { "input", "output", "cached", "reasoning", "estimated" }
local usage_mt = { __metatable = false, __name = "usage" }
function usage_mt.__index(_, k)
  if usage_fields[k] then return nil end
  unknown("usage", k, usage_fields)
end

-- What a model used, as far as it was told.
local function usage_of(x, input, output, tokens)
  return setmetatable({ input = input or (type(rawget(x[REQ], "messages")) == "table" and methods.tokens(x[REQ])) or 0, output = output or tokens,
    estimated = input == nil or output == nil }, usage_mt)
end

function M.finish(x, reason, tokens, usage_in, usage_out)
  x[FINISH] = finish { reason = reason, target = x[TARGET], tokens = tokens, usage = usage_of(x, usage_in, usage_out, tokens) }
end

function M.summary(x, reason, status, tokens, bytes, first_token_ms, total_ms, held_ms, usage_in, usage_out)
  x[SUMMARY] = setmetatable({
    finish = reason, status = status, tokens = tokens, bytes = bytes, first_token_ms = first_token_ms, total_ms = total_ms, held_ms = held_ms,
    usage = usage_of(x, usage_in, usage_out, tokens),
  }, sum_mt)
end

known_sets.add { head = in_head, req = in_req, ["req:"] = methods, ctx = fixed, ["ctx:"] = ctx_methods, part = { channel = true, last = true }, ["out:"] = { text = host.out_text },
  err = err_fields, shape = changeable, sum = sum_fields, usage = usage_fields }
known_sets.add { ctx = live, try = in_try, ["try:"] = methods, call = call_fields }

host.keep("head", head_mt)
host.keep("req", req_mt)
host.keep("ctx", ctx_mt)
host.keep("over", over_mt)
host.keep("exchange", M)

return M
