-- Services: the hosts that the gateway file declares, called by name. And sluice.all, which waits for several things at once.
local host = require "sluice.host"
local complain = require "sluice.complain"
local handle = require "sluice.handle"
local known_sets = require "sluice.known"
local suggest = require "sluice.suggest"
local wanted = require "sluice.wanted"

local M = {}

M.index = {}                                            -- name -> its number in the loaded gateway
M.auth = {}                                             -- name -> secret
M.answers = {}                                          -- name -> function(call) of a Lua service

-- ---- errors: { sentence }, with its facts beside it

local facts = setmetatable({}, { __mode = "k" })
local error_mt = { __metatable = false, __name = "service error", __tostring = function(e) return e[1] end }
local fields = { kind = true, service = true, message = true }
function error_mt.__index(e, k)
  if fields[k] then return facts[e][k] end
  error(('no field "%s" in a service\'s error%s'):format(tostring(k), suggest.hint(k, fields)), 2)
end
function error_mt.__newindex() error("a service's error cannot be changed", 2) end
host.keep("service_error", error_mt)

local function failed(name, kind, message)
  local e = setmetatable({ ('service "%s": %s%s'):format(name, kind, message ~= "" and ": " .. message or "") }, error_mt)
  facts[e] = { kind = kind, service = name, message = e[1] }
  return nil, e
end

M.failed = failed

-- ---- a response

local function response(name, status, headers, body)
  local res = { status = status, headers = headers, body = body }
  function res.json()
    local ok, value = host.base.pcall(host.json.decode, body)
    if not ok then error(('service "%s" answered with a body that is no JSON'):format(name), 2) end
    return value
  end
  return res
end

-- ---- requests

local option_fields = { json = true, body = true, headers = true, query = true, timeout = true }

local function encode(text)
  return (tostring(text):gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function target_of(path, query)
  if type(path) ~= "string" or not path:find("^/[^%s%c#]*$") then return nil, ("a path begins with / and holds no blanks, is %s"):format(tostring(path)) end
  if query == nil then return path end
  if type(query) ~= "table" then return nil, "query must be a table of names and values" end
  local names, parts = {}, {}
  for name in pairs(query) do names[#names + 1] = tostring(name) end
  host.table.sort(names)
  for i, name in ipairs(names) do parts[i] = encode(name) .. "=" .. encode(query[name]) end
  return path .. (path:find("?", 1, true) and "&" or "?") .. host.table.concat(parts, "&")
end

local function add(list, name, value)
  list[#list + 1], list[#list + 2] = name, value
end

local NOT_YOURS = { host = true, ["content-length"] = true, ["transfer-encoding"] = true, connection = true, upgrade = true, te = true, trailer = true, expect = true,
  ["accept-encoding"] = true }

-- The headers of a request as a flat list, or nil and what is wrong.
local function headers_of(name, options)
  local list, seen = {}, {}
  for k, v in pairs(options.headers or {}) do
    if type(k) ~= "string" or not k:find("^[%w!#$%%&'*+%-.^_`|~]+$") then return nil, ("%s is no header name"):format(tostring(k)) end
    if NOT_YOURS[k:lower()] then return nil, ("the header %s cannot be set"):format(k) end
    seen[k:lower()] = true
    add(list, k, v)
  end
  if options.json ~= nil and not seen["content-type"] then add(list, "Content-Type", "application/json") end
  if M.auth[name] and not seen.authorization then add(list, "Authorization", { "Bearer ", M.auth[name] }) end
  return list
end

local function checked(options)
  for k in pairs(options) do
    if not option_fields[k] then return nil, ('there is no option "%s"%s'):format(tostring(k), suggest.hint(k, option_fields)) end
  end
  if options.json ~= nil and options.body ~= nil then return nil, "json and body exclude each other" end
  if options.body ~= nil and type(options.body) ~= "string" then return nil, "body must be a text (for a table write json =)" end
  if options.headers ~= nil and type(options.headers) ~= "table" then return nil, "headers must be a table" end
  if options.timeout == nil then return 0 end
  local ms, why = host.duration(tostring(options.timeout))
  if not ms then return nil, "timeout: " .. why end
  if ms == 0 then return nil, "timeout must be longer than nothing" end
  return ms
end

-- ---- Lua services: a function in place of a host

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function call_of(name, method, target, headers, body, json)
  local path, query = target:match "^([^?]*)%??(.*)$"
  local call = { service = name, method = method, path = path, query = {}, headers = {}, body = body, json = json }
  for k, v in query:gmatch "([^&=]+)=?([^&]*)" do call.query[decoded(k)] = decoded(v) end
  for i = 1, #headers, 2 do call.headers[headers[i]:lower()] = tostring(headers[i + 1]) end
  return call
end

local answer_fields = { status = true, headers = true, body = true, json = true }

-- What its function may return: a text, { status =, headers =, body = or json = }, or nothing: then it was not to be reached.
local function answered(name, answer)
  local function bad(why, ...) error(('service "%s": its answer '):format(name) .. why:format(...), 0) end
  if answer == nil then return failed(name, "connect", "it answered nothing") end
  if type(answer) == "string" then answer = { body = answer } end
  if type(answer) ~= "table" then bad("is a %s, not a text or a table", type(answer)) end
  for k in pairs(answer) do
    if not answer_fields[k] then bad('has no field "%s"%s', tostring(k), suggest.hint(k, answer_fields)) end
  end
  local headers, body, status = {}, answer.body or "", answer.status or 200
  if math.type(status) ~= "integer" then bad("has a status that is no whole number") end
  for k, v in pairs(answer.headers or {}) do headers[tostring(k):lower()] = tostring(v) end
  if answer.json ~= nil then
    body = host.json.encode(answer.json)
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  if type(body) ~= "string" then bad("has a body that is a %s, not a text", type(body)) end
  return response(name, status, headers, body)
end

-- ---- asking

local function request(name, method, path, options)
  local what = ('service "%s"'):format(name)
  local function bad(why) complain.blame(what .. ": " .. why) end
  if options == nil then options = {} end
  if type(options) ~= "table" then bad "options must be a table such as { json = ..., timeout = \"500ms\" }" end
  if type(method) ~= "string" or not method:find("^%u+$") then bad "a method is a word in capitals" end
  local timeout, why = checked(options)
  if not timeout then bad(why) end
  local target, wrong = target_of(path, options.query)
  if not target then bad(wrong) end
  local headers, no = headers_of(name, options)
  if not headers then bad(no) end
  local body = options.body
  if options.json ~= nil then body = host.json.encode(options.json) end
  if host.loading() then bad "can be called only in init and while requests are served" end

  local waiting = ("wait for " .. what)
  host.may_wait(waiting)                                -- or raises: before anything is asked for
  if M.answers[name] then return answered(name, M.answers[name](call_of(name, method, target, headers, body, options.json))) end
  local id = host.service_start(M.index[name], method, target, headers, body, timeout)
  while true do
    local status, second, third = host.service_take(id)
    if status then return response(name, status, second, third) end
    if status == false then return failed(name, second, third) end
    host.wait(waiting)
  end
end

local methods, new, name_of = handle("service", "service", {
  get = function(name, path, options) return request(name, "GET", path, options) end,
  post = function(name, path, options) return request(name, "POST", path, options) end,
  request = request,
})

M.service = host.seal(function(name)
  if type(name) ~= "string" then complain.blame 'sluice.service takes the name of a service that the gateway file declares: sluice.service "directory"' end
  if not host.loading() then complain.blame "sluice.service works only while the gateway file loads: keep its value in a local" end
  local file, line = complain.where(3)
  wanted.add("service", name, function(text) complain.at(file, line, text) end)
  return new(name)
end)

-- The service that an option names; one that was got by sluice.service is one already. nil: the option is something else.
function M.option(v, at)
  if name_of(v) then return v end
  if type(v) ~= "string" then return nil end
  wanted.add("service", v, function(text) at:complain(text) end)
  return new(v)
end

-- ---- sluice.all

-- Runs functions side by side, each on a coroutine of its own, until all have ended; their first results in order. The first error ends the others.
local function step(task)
  local state, value = host.step(task.co)
  if state == "failed" then return true, value end
  task.over = state == "done"
  if task.over then task.result = value return end
  task.asleep = state == "sleep"                        -- else it waits for news, and may look for it at any time
  task.due = value and host.now() + value
end

local function close_all(tasks)
  for _, task in ipairs(tasks) do
    if not task.over then host.base.pcall(host.coroutine.close, task.co) end
  end
end

M.all = host.seal(function(functions)
  if type(functions) ~= "table" or #functions == 0 then complain.blame "sluice.all takes a list of functions" end
  host.may_wait "wait for several things"
  local tasks = {}
  for i, f in ipairs(functions) do
    if type(f) ~= "function" then complain.blame(("sluice.all: item %d is a %s, not a function"):format(i, type(f))) end
    tasks[i] = { co = host.coroutine.create(f) }
  end
  local _ <close> = setmetatable({}, { __close = function() close_all(tasks) end })
  while true do
    local left, first = 0, nil
    for _, task in ipairs(tasks) do
      if not task.over and not (task.asleep and host.now() < task.due) then
        local bad, why = step(task)
        if bad then error(why, 0) end
      end
      if not task.over then
        left = left + 1
        if task.due and (not first or task.due < first) then first = task.due end
      end
    end
    if left == 0 then break end
    host.wait("wait for several things", first and math.max(1, first - (host.now())) or nil)
  end
  local results = {}
  for i, task in ipairs(tasks) do results[i] = task.result end
  return host.table.unpack(results, 1, #tasks)
end)

known_sets.add { ["service:"] = methods, service_error = fields, request = option_fields, answer = response("", 200, {}, "") }

return M
