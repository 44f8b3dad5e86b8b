-- The gateway file's `services`: hosts that speak HTTP, Redis servers, or functions in their place. What config.lua checks and hands on.
local redis = require "sluice.redis"
local schema = require "sluice.schema"
local services = require "sluice.service"

local M = {}

local REDIS_PORT = 6379
local REDIS_CALLS = 32                                   -- of one worker at a time, so as many connections; more wait for their turn
local DATABASE_MOST = 65535

-- "redis://HOST:PORT/DATABASE" as a table.
local function redis_url(v, at)
  local function wrong(why) return at:complain(('must be a URL such as "redis://127.0.0.1:6379/0"%s'):format(why)) end
  if v:lower():find "^rediss:" then
    return wrong ", is rediss://: TLS to Redis is not supported by this version; use redis:// within a trusted network, or to a TLS proxy beside the gateway"
  end
  if v:find("@", 1, true) then return wrong ", is something else; the password belongs in auth, the user in user, not in the URL" end
  local place, db = v:match "^%a+://([^/]+)/?(%d*)$"
  if not place or place:find "[%s%c?#\"<>\\]" then return wrong((", is %s"):format(schema.show(v))) end
  local name, port = place:match "^%[([%x:.]+)%]:?(%d*)$"
  if not name then name, port = place:match "^([^:%[%]]+):?(%d*)$" end
  port = tonumber(port ~= "" and port or REDIS_PORT)
  if not name or not port or port < 1 or port > 65535 then return wrong((", is %s"):format(schema.show(v))) end
  if db ~= "" and tonumber(db) > DATABASE_MOST then return wrong((", is %s"):format(schema.show(v))) end
  return { host = name, port = port, db = db ~= "" and tonumber(db) ~= 0 and ("%d"):format(db) or nil }
end

local function is_redis(v) return type(v) == "string" and v:lower():find "^rediss?:" ~= nil end

local ONLY_REDIS, ONLY_HTTP = { "user", "prefix" }, { "ca" }

-- checks: those of single settings that models have as well: { url, key, certificates }.
function M.checker(checks)
  local function url(v, at)
    if is_redis(v) then return redis_url(v, at) end
    return checks.url(v, at)
  end
  local record = schema.record({
    url = { url }, auth = { checks.key }, ca = { checks.certificates }, timeout = { schema.duration }, connect = { schema.duration },
    max_parallel = { schema.integer(1, 100000) }, max_body = { schema.size }, answer = { schema.func },
    user = { schema.text("a text without blanks", "^[^%s%c]+$") }, prefix = { schema.text("a text without blanks", "^[^%s%c]*$") },
  }, "a service")

  return function(v, at)
    if type(v) == "function" then v = { answer = v } end
    if type(v) ~= "table" then
      return at:complain(('must be a table or a function, such as { url = "http://directory.internal:8000" } or function(call) ... end, is %s'):format(schema.show(v)))
    end
    local s, meant = record(v, at)
    if v.answer ~= nil then
      for k in pairs(v) do
        if k ~= "answer" then at:child(k):complain(('a service with an answer function has no %s'):format(tostring(k))) end
      end
    elseif v.url == nil and not meant.url and not meant.answer then
      at:complain('"url" is missing, such as url = "http://directory.internal:8000" (or answer = function(call))')
    elseif v.url ~= nil then
      for _, k in ipairs(is_redis(v.url) and ONLY_HTTP or ONLY_REDIS) do
        if v[k] ~= nil then at:child(k):complain(is_redis(v.url) and ("a Redis server has no %s"):format(k) or ("only a Redis server (url = \"redis://...\") has a %s"):format(k)) end
      end
    end
    return s
  end
end

-- What is asked of a service must be what it is: complains about sluice.redis of a host that speaks HTTP, and the other way round.
function M.check_kind(list, name, kind, say)
  for _, s in ipairs(list) do
    local v = s.name == name and s.value
    local is = v and (v.answer and "function" or type(v.url) == "table" and "redis" or "http")
    if is == "redis" and kind ~= "redis" then say(('the service "%s" is a Redis server: sluice.redis "%s" reaches it'):format(name, name)) end
    if is and is ~= "redis" and kind == "redis" then
      say(('the service "%s" is no Redis server: its url must be such as "redis://127.0.0.1:6379/0"%s'):format(name, is == "function" and ", it is a function" or ""))
    end
  end
end

local function show_place(r)
  return ("redis://%s:%d/%s"):format(r.host:find ":" and ("[%s]"):format(r.host) or r.host, r.port, r.db or "0")
end

-- What C reads: hosts, each at its number; and those that are functions, called where they are asked for.
function M.normal(list)
  local hosts, functions = {}, {}
  for _, s in ipairs(list) do
    local v = s.value
    services.answers[s.name], services.auth[s.name] = v.answer, v.auth
    if v.answer then
      functions[#functions + 1] = { name = s.name, answer = v.answer }
    else
      local h = { name = s.name, url = v.url, ca = v.ca, timeout = v.timeout or 1500, connect = v.connect or 0, max_parallel = v.max_parallel or 0,
        max_body = v.max_body or 1024 * 1024 }
      if type(v.url) == "table" then
        h.url, h.place, h.redis, h.port, h.db, h.user, h.auth = nil, show_place(v.url), v.url.host, v.url.port, v.url.db, v.user, v.auth
        if h.max_parallel == 0 then h.max_parallel = REDIS_CALLS end
        h.prefix = v.prefix or "sluice:"
        redis.prefix[s.name] = h.prefix
      end
      hosts[#hosts + 1] = h
      services.index[s.name] = #hosts
    end
  end
  return hosts, functions
end

-- For specs, which script them: what policies asked for is added to a gateway's list.
function M.declare(list, asked)
  local declared = {}
  for _, s in ipairs(list) do declared[s.name] = true end
  for _, w in ipairs(asked) do
    local url = w[3] == "redis" and { host = "redis.test", port = REDIS_PORT } or "http://service.test"
    if not declared[w[1]] then list[#list + 1] = { name = w[1], value = { url = url } } end
    declared[w[1]] = true
  end
  return list
end

return M
