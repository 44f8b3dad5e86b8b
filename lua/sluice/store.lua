-- Counters and limiters whose state is in a Redis server (store = "redis:NAME"), so that all gateways that use it share them. Each method is one small script
-- that the server runs as a whole, by its own clock; each waits. A store that does not answer raises: a limit that could not be looked at must not let pass.
local host = require "sluice.host"
local complain = require "sluice.complain"
local record = require "sluice.record"
local redis = require "sluice.redis"
local suggest = require "sluice.suggest"
local wanted = require "sluice.wanted"

local M = {}

local KEY_MOST = 128                                     -- of a longer key a part and a digest are kept: keys may come from clients
local NEVER = math.maxinteger // 1000

-- What the scripts say first. "%.17g" keeps a number as it is; Redis itself would cut it down to a whole one.
local CLOCK = [[
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(x) return string.format("%.17g", x) end
]]

-- KEYS: the bucket. ARGV: rate, per ms, burst, cost. As base/limiter.c counts. -> { taken, ms until it could be (-1: never), left, ms until it is full }
local TAKE = CLOCK .. [[
local rate, per, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local dust, longest = 1e-9, 3e12
local held = redis.call("HMGET", KEYS[1], "level", "at")
local level, at = tonumber(held[1] or ARGV[3]), tonumber(held[2] or now)
if now > at then
  level = level + (now - at) * rate / per
  at = now
end
level = math.min(level, burst)
local taken = level + dust >= cost
if taken then level = math.max(level - cost, 0) end
local function wait(missing) return math.min(math.ceil(math.max(missing, 0) * per / rate), longest) end
local retry = taken and 0 or cost > burst + dust and -1 or wait(cost - level - dust)
local full = wait(burst - level - dust)
if taken then
  redis.call("HSET", KEYS[1], "level", text(level), "at", text(at))
  redis.call("PEXPIRE", KEYS[1], text(full + 1000))
end
return { taken and 1 or 0, retry, math.floor(level + dust), full }
]]

-- KEYS: the sum; what is reserved of it, by the end of each lease. ARGV: window ms (0: none), what to do, then as each says. As base/counter.c counts: sums of
-- an earlier window are over, and so are its reservations.
local SUM = CLOCK .. [[
local window, what = tonumber(ARGV[1]), ARGV[2]
local begins = window > 0 and now - now % window or 0
local was = redis.call("HMGET", KEYS[1], "window", "sum", "held")
local from, sum, held = tonumber(was[1] or "0"), tonumber(was[2] or "0"), tonumber(was[3] or "0")
local over = begins > from
if over then from, sum, held = begins, 0, 0 end
local late = over and {} or redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", text(now))
for _, one in ipairs(late) do held = held - tonumber(string.match(one, " (.*)$")) end
if what == "get" then return text(sum + held) end

if over then redis.call("DEL", KEYS[2]) end
for _, one in ipairs(late) do redis.call("ZREM", KEYS[2], one) end
local answer
if what == "add" then
  sum = sum + tonumber(ARGV[3])
elseif what == "reserve" then
  local n, limit, lease = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  if sum + held + n <= limit then
    held = held + n
    redis.call("ZADD", KEYS[2], text(now + lease), ARGV[3] .. " " .. ARGV[4])
    redis.call("PEXPIRE", KEYS[2], text(lease + 1000))
    answer = { 1, 0 }
  else
    answer = { 0, window > 0 and n <= limit and begins + window - now or -1 }
  end
else
  local there = redis.call("ZREM", KEYS[2], ARGV[3] .. " " .. ARGV[4]) == 1
  if there then held = held - tonumber(ARGV[4]) end
  if there or what == "settle" then sum = sum + tonumber(ARGV[5]) end
end
if redis.call("ZCARD", KEYS[2]) == 0 then held = 0 end
redis.call("HSET", KEYS[1], "window", text(from), "sum", text(sum), "held", text(held))
if window > 0 then redis.call("PEXPIRE", KEYS[1], text(begins + window - now + 1000)) end
return answer or text(sum + held)
]]

-- ---- names

-- The server that `store` names, or nil and what is wrong.
local function server_of(store)
  local name = type(store) == "string" and store:match "^redis:([%w_%-%.]+)$"
  if name then return name end
  return nil, ('store must be "redis:NAME", NAME being a service with a URL redis://..., is %s'):format(type(store) == "string" and ('"%s"'):format(store) or "a " .. type(store))
end

-- An option of a policy: stays as it is.
function M.option(store, at)
  local name, why = server_of(store)
  if not name then return nil, why end
  wanted.add("service", name, function(text) at:complain(text) end, "redis")
  return store
end

local function plain(key)
  if #key <= KEY_MOST then return key end
  return key:sub(1, 48) .. "#" .. host.sha256(key)
end

local function key_of(c, kind, key)
  return ("%s%s:%s:%s"):format(redis.prefix[c.server] or "", kind, c.name, plain(key))
end

local function check_key(key, what)
  if type(key) == "number" then key = tostring(key) end
  if type(key) ~= "string" then complain.blame(("%s takes a key that is a text, not a %s"):format(what, type(key))) end
  return key
end

local function check_number(n, what, least)
  if type(n) ~= "number" or n ~= n or n == math.huge or n == -math.huge then complain.blame(what .. " takes a number that is not infinite") end
  if least and n < least then complain.blame(("%s takes a number of %d or more"):format(what, least)) end
  return ("%.17g"):format(n)
end

local function run(c, script, keys, arguments)
  local reply, err = redis.run(c.server, script, keys, arguments)
  if err then error(err, 0) end
  return reply
end

local function seconds_up(ms) return ms < 0 and NEVER or (ms + 999) // 1000 end

-- ---- values that scripts hold

local real = setmetatable({}, { __mode = "k" })          -- limiter, counter, reservation -> what it stands for

local function kind(what, methods)
  for verb, f in pairs(methods) do
    methods[verb] = host.seal(function(self, ...)
      if not real[self] then complain.blame(("write %s:%s(...) with a colon"):format(what, verb)) end
      return f(real[self], ...)
    end)
  end
  local mt = { __metatable = false, __name = what, [host.locked] = true }
  function mt.__index(_, k)
    if methods[k] then return methods[k] end
    error(('a %s has no "%s"%s'):format(what, tostring(k), suggest.hint(k, methods)), 2)
  end
  function mt.__newindex() error(("a %s cannot be changed"):format(what), 2) end
  return function(fields)
    local v = setmetatable({}, mt)
    real[v] = fields
    return v
  end, methods
end

local new_limiter, limiter_methods = kind("limiter", {
  take = function(l, key, cost)
    key = key_of(l, "limiter", check_key(key, "limiter:take"))
    cost = check_number(cost or 1, "limiter:take", 0)
    local r = run(l, TAKE, { key }, { l.rate, l.per, l.burst, cost })
    return r[1] == 1, seconds_up(r[2]), r[3], seconds_up(r[4])
  end,
})

local function name_of_its_own()
  return (host.random(12):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- What an exchange has reserved and not settled, in its record: given back when it ends, whatever became of the policy that reserved it.
local function note(r)
  local x = host.exchange()
  if not x then return end
  local held = x[record.HELD]
  if not held then held = {}; x[record.HELD] = held end
  held[r], r.noted = true, held
end

local function forget(r)
  if not r.noted then return end
  r.noted[r], r.noted = nil, nil
end

local function settle(r, what, actual)
  run(r.counter, SUM, r.keys, { r.counter.window, what, r.id, r.n, actual })
  forget(r)
end

local new_reservation, reservation_methods = kind("reservation", {
  settle = function(r, actual)
    actual = check_number(actual, "reservation:settle", 0)
    if r.settled then return end
    r.settled, r.actual = true, actual                   -- should the answer be lost the end of the exchange tries again
    settle(r, "settle", actual)
  end,
})

-- At the end of an exchange; called from C. What was settled without an answer counts once: only a reservation that is still there gives way.
function M.give_back(x)
  for r in pairs(x[record.HELD]) do settle(r, "give back", r.actual or "0") end
end

local function sum_keys(c, key, what)
  key = check_key(key, what)
  return { key_of(c, "counter", key), key_of(c, "held", key) }
end

local new_counter, counter_methods = kind("counter", {
  add = function(c, key, n)
    return tonumber(run(c, SUM, sum_keys(c, key, "counter:add"), { c.window, "add", check_number(n or 1, "counter:add") })) + 0.0
  end,
  get = function(c, key) return tonumber(run(c, SUM, sum_keys(c, key, "counter:get"), { c.window, "get" })) + 0.0 end,
  reserve = function(c, key, n, limit)
    local keys = sum_keys(c, key, "counter:reserve")
    n, limit = check_number(n, "counter:reserve", 0), check_number(limit, "counter:reserve")
    local r = { counter = c, keys = keys, n = n, id = name_of_its_own() }
    note(r)                                              -- before it is asked for: an answer may be lost
    local reply = run(c, SUM, keys, { c.window, "reserve", r.id, n, limit, c.lease })
    if reply[1] == 1 then return new_reservation(r) end
    forget(r)
    if reply[2] < 0 then return nil end
    return nil, seconds_up(reply[2])
  end,
})

-- ---- making them

M.made = {}                                              -- while a gateway file loads: { file, line, what, name, server }, for the lints

local function server_for(store, what, name)
  local server, why = server_of(store)
  if not server then complain.blame(("%s: %s"):format(what, why)) end
  local _, file, line = complain.script_level()
  if not host.loading() then
    if not redis.prefix[server] then complain.blame(('%s: there is no service "%s" with a URL redis://...'):format(what, server)) end
  elseif file then
    wanted.add("service", server, function(text) complain.at(file, line, text) end, "redis")
    M.made[#M.made + 1] = { file = file, line = line, what = what:gsub("^sluice%.", ""), name = name, server = server }
  end
  return server, (name:gsub("[%%:]", { ["%"] = "%25", [":"] = "%3A" }))
end

function M.limiter(name, rule, rate, per, burst)
  local server, escaped = server_for(rule.store, "sluice.limiter", name)
  return new_limiter { server = server, name = escaped, rate = rate, per = per, burst = burst or math.max(rate, 1) }
end

function M.counter(name, rule, window, lease)
  local server, escaped = server_for(rule.store, "sluice.counter", name)
  return new_counter { server = server, name = escaped, window = window, lease = lease }
end

M.methods = {}                                           -- function -> what it is called
for what, methods in pairs { limiter = limiter_methods, counter = counter_methods, reservation = reservation_methods } do
  for verb, f in pairs(methods) do M.methods[f] = ("%s:%s"):format(what, verb) end
end

return M
