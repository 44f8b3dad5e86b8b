-- A small Redis server in memory, for specs: texts, numbers, hashes, sorted sets, keys that expire by the virtual clock, and scripts. What it does not know it
-- says, as the real one would.
local M = {}

-- ---- replies as they travel

-- nil, a text, a number, a boolean, a list (false in it: nothing), or { error = "ERR ..." }.
function M.reply(v)
  if v == nil or v == false then return "$-1\r\n" end
  if v == true then return ":1\r\n" end
  if math.type(v) == "integer" then return (":%d\r\n"):format(v) end
  if type(v) == "number" then v = ("%.17g"):format(v) end
  if type(v) == "string" then return ("$%d\r\n%s\r\n"):format(#v, v) end
  if v.error then return ("-%s\r\n"):format(v.error) end
  local out = { ("*%d\r\n"):format(#v) }
  for _, item in ipairs(v) do out[#out + 1] = M.reply(item) end
  return table.concat(out)
end

-- ---- commands: function(server, word, word, ...) -> reply

local WRONG = { error = "WRONGTYPE Operation against a key holding the wrong kind of value" }
local NO_NUMBER = { error = "ERR value is not an integer or out of range" }

local commands = {}

-- What a key holds, unless it has expired. With `make` a missing one begins as that kind; the wrong kind raises.
local function at(server, key, kind, make)
  local v = server.keys[key]
  if v and v.expires and v.expires <= server.now() then
    server.keys[key], v = nil, nil
  end
  if v and v.kind ~= kind and kind then error(WRONG, 0) end
  if not v and make then
    v = { kind = kind, value = kind == "text" and "" or {} }
    server.keys[key] = v
  end
  return v
end

local function value(server, key, kind)
  local v = at(server, key, kind)
  return v and v.value
end

local function integer(text) return math.tointeger(tonumber(text)) or error(NO_NUMBER, 0) end

local function text(n) return math.type(n) == "integer" and ("%d"):format(n) or (("%.17g"):format(n)) end

function commands.PING() return "PONG" end
function commands.GET(s, key) return value(s, key, "text") end

function commands.SET(s, key, v, ...)
  local options, expires, must = { ... }, nil, nil
  for i, word in ipairs(options) do
    local upper = word:upper()
    if upper == "PX" or upper == "EX" then expires = s.now() + integer(options[i + 1]) * (upper == "EX" and 1000 or 1) end
    if upper == "NX" or upper == "XX" then must = upper end
  end
  local there = at(s, key) ~= nil
  if must and there ~= (must == "XX") then return nil end
  s.keys[key] = { kind = "text", value = v, expires = expires }
  return "OK"
end

function commands.DEL(s, ...)
  local n = 0
  for _, key in ipairs { ... } do
    if at(s, key) then n = n + 1 end
    s.keys[key] = nil
  end
  return n
end

function commands.EXISTS(s, ...)
  local n = 0
  for _, key in ipairs { ... } do n = n + (at(s, key) and 1 or 0) end
  return n
end

function commands.INCRBY(s, key, by)
  local n = integer(value(s, key, "text") or "0") + integer(by)
  at(s, key, "text", true).value = text(n)
  return n
end
function commands.INCR(s, key) return commands.INCRBY(s, key, "1") end
function commands.DECR(s, key) return commands.INCRBY(s, key, "-1") end

function commands.PEXPIRE(s, key, ms)
  local v = at(s, key)
  if not v then return 0 end
  v.expires = s.now() + (math.tointeger(tonumber(ms)) or math.floor(tonumber(ms) or error(NO_NUMBER, 0)))
  return 1
end
function commands.EXPIRE(s, key, seconds) return commands.PEXPIRE(s, key, text(integer(seconds) * 1000)) end

function commands.PTTL(s, key)
  local v = at(s, key)
  return not v and -2 or v.expires and v.expires - s.now() or -1
end

function commands.HSET(s, key, ...)
  local fields, n, h = { ... }, 0, at(s, key, "hash", true).value
  for i = 1, #fields, 2 do
    if not h[fields[i]] then n = n + 1 end
    h[fields[i]] = fields[i + 1]
  end
  return n
end
function commands.HGET(s, key, field) return (value(s, key, "hash") or {})[field] end
function commands.HMGET(s, key, ...)
  local out, h = {}, value(s, key, "hash") or {}
  for i, field in ipairs { ... } do out[i] = h[field] or false end
  return out
end
function commands.HGETALL(s, key)
  local out, names = {}, {}
  local h = value(s, key, "hash") or {}
  for name in pairs(h) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do out[#out + 1], out[#out + 2] = name, h[name] end
  return out
end

function commands.ZADD(s, key, score, member)
  local z = at(s, key, "sorted", true).value
  local fresh = z[member] == nil
  z[member] = tonumber(score)
  return fresh and 1 or 0
end
function commands.ZREM(s, key, member)
  local z = value(s, key, "sorted")
  if not z or z[member] == nil then return 0 end
  z[member] = nil
  if next(z) == nil then s.keys[key] = nil end
  return 1
end
function commands.ZCARD(s, key)
  local n = 0
  for _ in pairs(value(s, key, "sorted") or {}) do n = n + 1 end
  return n
end
function commands.ZRANGEBYSCORE(s, key, from, to)
  local function bound(v) return v == "-inf" and -math.huge or v == "+inf" and math.huge or tonumber(v) end
  local out, z = {}, value(s, key, "sorted") or {}
  for member, score in pairs(z) do
    if score >= bound(from) and score <= bound(to) then out[#out + 1] = member end
  end
  table.sort(out, function(a, b) if z[a] ~= z[b] then return z[a] < z[b] end return a < b end)
  return out
end

function commands.TIME(s)
  local ms = s.now()
  return { text(ms // 1000), text(ms % 1000 * 1000) }
end

-- ---- scripts: Lua 5.1 there, 5.4 here; ours are written for both

-- A script's result as a reply: numbers are cut to whole ones, as Redis does.
local function result_of(v)
  if type(v) == "number" then return v < 0 and math.ceil(v) or math.floor(v) end
  if type(v) ~= "table" or v.error then return v end
  local out = {}
  for i, item in ipairs(v) do out[i] = result_of(item) end
  return out
end

function commands.EVAL(s, script, n, ...)
  local words, keys, arguments = { ... }, {}, {}
  for i, word in ipairs(words) do
    if i <= integer(n) then keys[i] = word else arguments[#arguments + 1] = word end
  end
  local function call(name, ...)
    local list = { ... }
    for i, v in ipairs(list) do list[i] = type(v) == "number" and text(v) or v end
    local reply = s(table.pack(name, table.unpack(list)))
    if type(reply) == "table" and reply.error then error(reply, 0) end
    if reply == nil then return false end
    return reply
  end
  local chunk, why = load(script, "=script", "t", { redis = { call = call }, KEYS = keys, ARGV = arguments, math = math, string = string, table = table, tonumber = tonumber,
    tostring = tostring, ipairs = ipairs, pairs = pairs })
  if not chunk then return { error = "ERR Error compiling script: " .. why } end
  s.scripts[s.sha1(script)] = script
  return result_of(chunk())
end

function commands.EVALSHA(s, digest, ...)
  if not s.scripts[digest] then return { error = "NOSCRIPT No matching script. Please use EVAL." } end
  return commands.EVAL(s, s.scripts[digest], ...)
end

-- ---- the server

local Server = {}
Server.__index = Server

-- Asks it: server { "SET", "key", "1" }, or { command = { ... } } as a spec's script is called.
function Server:__call(call)
  local words = call.command or call
  local run = commands[words[1]:upper()]
  if not run then return { error = ("ERR unknown command '%s' (of this server in memory; give the service a script)"):format(words[1]) } end
  local ok, reply = pcall(run, self, table.unpack(words, 2))
  if ok then return reply end
  return type(reply) == "table" and reply or { error = "ERR " .. tostring(reply) }
end

local function copy(v)
  if type(v) ~= "table" then return v end
  local out = {}
  for k, item in pairs(v) do out[k] = copy(item) end
  return out
end

function Server:save() return copy(self.keys) end
function Server:restore(keys) self.keys = copy(keys or {}) end

-- now: function() -> ms; sha1: function(text) -> hex.
function M.server(now, sha1) return setmetatable({ now = now, sha1 = sha1, keys = {}, scripts = {} }, Server) end

return M
