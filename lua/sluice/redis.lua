-- Redis servers: services of the gateway file whose url is redis://..., asked by name with sluice.redis. A call waits as a service's does; connections, time,
-- breaker and bounds are C's (net/redis.h).
local host = require "sluice.host"
local complain = require "sluice.complain"
local handle = require "sluice.handle"
local known_sets = require "sluice.known"
local service = require "sluice.service"
local suggest = require "sluice.suggest"
local wanted = require "sluice.wanted"

local M = {}

M.prefix = {}                                            -- name -> what the keys of counters and limiters begin with; the gateway's, once it is read

-- Connections are shared: what would leave one in another state, or have it receive what nobody asked for, is refused.
local NOT_SHARED = {}
for word in ("AUTH HELLO SELECT QUIT RESET CLIENT MONITOR SYNC PSYNC REPLCONF SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MULTI EXEC "
  .. "DISCARD WATCH UNWATCH ASKING READONLY READWRITE"):gmatch "%u+" do
  NOT_SHARED[word] = true
end

local MAPS = { HGETALL = true, ["CONFIG GET"] = true }   -- answered as a flat list of names and values, meant as a map

local function map_of(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

-- ---- asking

local function word_of(v)
  if type(v) == "string" then return v end
  if math.type(v) == "integer" then return ("%d"):format(v) end
  if math.type(v) == "float" and v == v and v ~= math.huge and v ~= -math.huge then return ("%.17g"):format(v) end
end

-- Asks for a command whose words are texts. The reply; or nil and an error.
local function ask(name, words)
  local waiting = ('wait for service "%s"'):format(name)
  host.may_wait(waiting)                                -- or raises: before anything is asked for
  local id = host.service_command(service.index[name], words)
  while true do
    local status, second, third = host.service_take(id)
    if status then return second end
    if status == false then return service.failed(name, second, third) end
    host.wait(waiting)
  end
end

local function command(name, ...)
  local words, n = {}, select("#", ...)
  local function bad(why) complain.blame(('redis "%s": %s'):format(name, why)) end
  for i = 1, n do
    words[i] = word_of((select(i, ...)))
    if not words[i] then bad(("a command is made of texts and numbers, but word %d is a %s"):format(i, type((select(i, ...))))) end
  end
  local verb = n > 0 and words[1]:upper() or ""
  if not verb:find "^%u[%u%d_.]*$" then bad 'a command begins with its name, such as r:command("INCR", key)' end
  if NOT_SHARED[verb] then bad(("%s is refused: connections are shared, and it would change one for whoever comes next"):format(verb)) end
  if host.loading() then bad "can be asked only while requests are served" end
  local reply, err = ask(name, words)
  if type(reply) == "table" and (MAPS[verb] or MAPS[verb .. " " .. (words[2] or ""):upper()]) then return map_of(reply) end
  return reply, err
end

-- Runs one of our own scripts; the server knows it by its digest, unless it was restarted or told to forget. For store.lua.
local digests = {}
function M.run(name, script, keys, arguments)
  digests[script] = digests[script] or host.sha1(script)
  local words = { "EVALSHA", digests[script], ("%d"):format(#keys) }
  for _, list in ipairs { keys, arguments } do
    for _, v in ipairs(list) do words[#words + 1] = word_of(v) end
  end
  local reply, err = ask(name, words)
  if err and err.kind == "reply" and err.message:find("NOSCRIPT", 1, true) then
    words[1], words[2] = "EVAL", script
    reply, err = ask(name, words)
  end
  return reply, err
end

-- ---- as scripts hold one

local set_fields = { ttl = true }

local methods, new = handle("redis", "Redis server", {
  command = command,
  get = function(name, key) return command(name, "GET", key) end,
  set = function(name, key, value, rule)
    if rule == nil then return command(name, "SET", key, value) end
    if type(rule) ~= "table" then complain.blame 'redis:set takes a table { ttl = "60s" } behind the value' end
    for k in pairs(rule) do
      if not set_fields[k] then complain.blame(('redis:set has no field "%s"%s'):format(tostring(k), suggest.hint(k, set_fields))) end
    end
    if rule.ttl == nil then return command(name, "SET", key, value) end
    local ms, why = host.duration(tostring(rule.ttl))
    if not ms then complain.blame("redis:set: ttl: " .. why) end
    if ms == 0 then complain.blame "redis:set: ttl must be longer than nothing" end
    return command(name, "SET", key, value, "PX", ms)
  end,
}, "; r:command(...) asks anything")

M.redis = host.seal(function(name)
  if type(name) ~= "string" then complain.blame 'sluice.redis takes the name of a service that the gateway file declares with a URL redis://...: sluice.redis "shared"' end
  if not host.loading() then complain.blame "sluice.redis works only while the gateway file loads: keep its value in a local" end
  local _, file, line = complain.script_level()
  wanted.add("service", name, function(text) complain.at(file, line, text) end, "redis")
  return new(name)
end)

known_sets.add { ["redis:"] = methods, redis_set = set_fields }

return M
