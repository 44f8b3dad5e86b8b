-- What a hook may say: values that C recognises by their metatable. Made by sluice.reject, sluice.reply, sluice.stop and sluice.drop.
local host = require "sluice.host"
local known_sets = require "sluice.known"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"
local answer = require "sluice.reply"
local blame = require("sluice.complain").blame

local M = {}

local REJECT, REPLY, STOP, DROP = 1, 2, 3, 4
local names = { "sluice.reject", "sluice.reply", "sluice.stop", "sluice.drop" }

local said = setmetatable({}, { __mode = "k" })          -- verdict -> { kind, fields }: scripts see an empty table
host.keep("said", said)

local mt = {
  __metatable = false,
  __tostring = function(v) return ("<%s>"):format(names[said[v][1]]) end,
  __index = function() return nil end,
  __newindex = function() error("a verdict cannot be changed", 2) end,
  [host.locked] = true,
}
host.keep("verdict", mt)

local function verdict(fields)
  local v = setmetatable({}, mt)
  said[v] = fields
  return v
end

function M.is(v) return v ~= nil and said[v] ~= nil end

local function field(v, name, kind, what)
  if v ~= nil and type(v) ~= kind then
    blame(("%s: %s must be a %s, is %s"):format(what, name, kind, schema.show(v)))
  end
  return v
end

local function known_fields(t, known, what)
  for k in pairs(t) do
    if not known[k] then blame(('%s has no field "%s"%s'):format(what, tostring(k), suggest.hint(k, known))) end
  end
end

local function status_of(v, lowest, what)
  if math.type(v) ~= "integer" or v < lowest or v > 599 then
    blame(("%s: status must be a whole number from %d to 599, is %s"):format(what, lowest, schema.show(v)))
  end
  return v
end

local reject_fields = { status = true, code = true, message = true, type = true, headers = true, retry_after = true }

local function reject(status, code, message)
  local what = "sluice.reject"
  local t = { status = status, code = code, message = message }
  if type(status) == "table" then
    t = status
    known_fields(t, reject_fields, what)
  end
  status_of(t.status, 400, what)
  if type(t.code) ~= "string" or #t.code > 64 or not t.code:find("^[%w_%.%-]+$") then
    blame(what .. ': code must be a word for programs, such as "query_required"')
  end
  if type(t.message) ~= "string" then blame(what .. ": message must be a sentence for people") end
  if not host.utf8(t.message) then blame(what .. ": message is no valid UTF-8") end
  field(t.type, "type", "string", what)
  field(t.headers, "headers", "table", what)
  local retry = t.retry_after
  if retry ~= nil then
    if type(retry) == "string" then retry = (host.duration(retry) or blame(what .. ": retry_after: " .. select(2, host.duration(retry)))) / 1000 end
    if type(retry) ~= "number" or not (retry >= 0 and retry <= 1e9) then blame(what .. ": retry_after must be a number of seconds") end
    retry = math.ceil(retry)
  end
  return verdict({ REJECT, status = t.status, code = t.code, message = t.message, type = t.type, headers = t.headers, retry_after = retry })
end

local reply_fields = { text = true, status = true, finish = true, blocks = true, usage = true }

local function reply(t)
  local what = "sluice.reply"
  if type(t) == "string" then t = { text = t } end
  if type(t) ~= "table" then blame(what .. " takes a text or a table") end
  known_fields(t, reply_fields, what)
  field(t.text, "text", "string", what)
  field(t.finish, "finish", "string", what)
  if t.blocks ~= nil then return verdict({ REPLY, finish = t.finish, steps = answer.steps(t) }) end
  if t.usage ~= nil then blame(what .. ": usage is told of an answer of blocks only") end
  if t.text and not host.utf8(t.text) then blame(what .. ": text is no valid UTF-8") end
  return verdict({ REPLY, text = t.text or "", status = t.status and status_of(t.status, 200, what) or 200, finish = t.finish or "stop" })
end

local stop_fields = { reason = true, text = true }

local function stop(t)
  local what = "sluice.stop"
  if type(t) == "string" then t = { text = t } end
  if t == nil then t = {} end
  if type(t) ~= "table" then blame(what .. " takes a table { reason =, text = }") end
  known_fields(t, stop_fields, what)
  field(t.text, "text", "string", what)
  field(t.reason, "reason", "string", what)
  if t.text and not host.utf8(t.text) then blame(what .. ": text is no valid UTF-8") end
  return verdict({ STOP, text = t.text or "", finish = t.reason or "stop" })
end

M.reject = host.seal(reject)
M.reply = host.seal(reply)
M.stop = host.seal(stop)
M.drop = verdict({ DROP })

known_sets.add { reject = reject_fields, reply = reply_fields, stop = stop_fields }

return M
