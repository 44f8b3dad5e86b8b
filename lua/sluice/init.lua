-- The public API: what `require "sluice"` gives to an operator's file.
local host = require "sluice.host"
local complain = require "sluice.complain"
local config = require "sluice.config"
local frozen = require "sluice.frozen"
local known_sets = require "sluice.known"
local logging = require "sluice.log"
local policy = require "sluice.policy"
local redis = require "sluice.redis"
local sandbox = require "sluice.sandbox"
local schema = require "sluice.schema"
local service = require "sluice.service"
local store = require "sluice.store"
local suggest = require "sluice.suggest"
local verdict = require "sluice.verdict"

local M = {}

M.config = config.config
M.policy, M.chain, M.only_if = policy.policy, policy.chain, policy.only_if
M.reject, M.reply, M.stop, M.drop = verdict.reject, verdict.reply, verdict.stop, verdict.drop
M.sleep = host.sleep
M.service, M.all = service.service, service.all
M.redis = redis.redis
M.trim = host.trim
M.ip_key = host.ip_key
M.log = logging.log
M.sha256, M.equal, M.random_bytes = host.sha256, host.equal, host.random

M.duration = host.seal(function(text)
  local ms, why = host.duration(tostring(text))
  if not ms then complain.blame("sluice.duration: " .. why) end
  return ms
end)

M.json = frozen.library("sluice.json", host.json)
M.match = frozen.library("sluice.match", host.match)

-- ---- environment and secrets: only while the gateway file loads

local function only_loading(what)
  if not host.loading() then complain.blame(what .. " works only while the gateway file loads: keep its value in a local") end
end

local function name_of(name, what)
  if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then complain.blame(what .. " takes the name of an environment variable") end
  return name
end

M.env = host.seal(function(name, default)
  name_of(name, "sluice.env")
  only_loading "sluice.env"
  local value = os.getenv(name)
  if value ~= nil then return value end
  if default ~= nil then return default end
  complain.here(('the environment variable %s is not set (give sluice.env a default if it need not be)'):format(name))
  return schema.UNSET
end)

local function secret_file(name)
  local f = io.open(sandbox.resolve("secrets/" .. name), "rb")
  if not f then return nil end
  local text = f:read(65536)
  f:close()
  return text and text:gsub("[\r\n]+$", "") or nil
end

M.secret = host.seal(function(name)
  name_of(name, "sluice.secret")
  only_loading "sluice.secret"
  local value = os.getenv(name) or secret_file(name)
  if not value or value == "" then
    complain.here(('the secret %s is %s: set the environment variable %s, or write it to the file %s'):format(
      name, value and "empty" or "missing", name, sandbox.resolve("secrets/" .. name)))
    return host.secret(name, "")
  end
  if value:find("[%c]") then
    complain.here(("the secret %s holds control characters: it could not go into a header"):format(name))
    return host.secret(name, "")
  end
  return host.secret(name, value)
end)

-- ---- files

M.file = host.seal(function(name)
  if type(name) ~= "string" then complain.blame 'sluice.file takes the name of a file beside the gateway file: sluice.file "prompts/help.txt"' end
  only_loading "sluice.file"
  local text, path = sandbox.text_file(name)
  if not text then complain.here("sluice.file: " .. path) end
  return text or ""
end)

-- ---- limiters

local limiter_fields = { rate = true, per = true, burst = true, store = true }

M.limiter = host.seal(function(name, rule)
  if type(name) ~= "string" or name == "" then complain.blame("sluice.limiter takes a name: limiters of one name share their state") end
  if type(rule) ~= "table" then complain.blame('sluice.limiter takes a table { rate = 60, per = "1m" }') end
  for k in pairs(rule) do
    if not limiter_fields[k] then complain.blame(('sluice.limiter has no field "%s"%s'):format(tostring(k), suggest.hint(k, limiter_fields))) end
  end
  local rate, burst = rule.rate, rule.burst
  if type(rate) ~= "number" or not (rate > 0 and rate < 1e12) then complain.blame("sluice.limiter: rate must be a number above 0") end
  if burst ~= nil and (type(burst) ~= "number" or not (burst >= 1 and burst < 1e12)) then complain.blame("sluice.limiter: burst must be a number of 1 or more") end
  local per, why = host.duration(tostring(rule.per or ""))
  if not per then complain.blame("sluice.limiter: per: " .. why) end
  if per == 0 then complain.blame("sluice.limiter: per must be longer than nothing") end
  if rule.store ~= nil then return store.limiter(name, rule, rate, per, burst) end
  return host.limiter(name, rate, per, burst or 0)
end)

-- ---- counters

local counter_fields = { window = true, store = true, lease = true }
local LEASE = "10m"

local function span(rule, name, default)
  if rule[name] == nil and not default then return 0 end
  local ms, why = host.duration(tostring(rule[name] or default))
  if not ms then complain.blame(("sluice.counter: %s: %s"):format(name, why)) end
  if ms == 0 then complain.blame(("sluice.counter: %s must be longer than nothing"):format(name)) end
  return ms
end

M.counter = host.seal(function(name, rule)
  if type(name) ~= "string" or name == "" then complain.blame("sluice.counter takes a name: counters of one name share their state") end
  if rule ~= nil and type(rule) ~= "table" then complain.blame('sluice.counter takes a table { window = "1d" }') end
  rule = rule or {}
  for k in pairs(rule) do
    if not counter_fields[k] then
      complain.blame(('sluice.counter has no field "%s"%s (it has %s)'):format(tostring(k), suggest.hint(k, counter_fields), suggest.list(counter_fields)))
    end
  end
  local window = span(rule, "window")
  if rule.store ~= nil then return store.counter(name, rule, window, span(rule, "lease", LEASE)) end
  if rule.lease ~= nil then complain.blame "sluice.counter: lease is for counters with a store" end
  return host.counter(name, window)
end)

-- ---- semaphores

M.semaphore = host.seal(function(name, rule)
  if type(name) ~= "string" or name == "" then complain.blame("sluice.semaphore takes a name: semaphores of one name share their slots") end
  if type(rule) ~= "table" then complain.blame("sluice.semaphore takes a table { limit = 5 }") end
  for k in pairs(rule) do
    if k ~= "limit" then complain.blame(('sluice.semaphore has no field "%s" (it has limit)'):format(tostring(k))) end
  end
  local limit = math.type(rule.limit) and math.tointeger(rule.limit)
  if not limit or limit < 1 then complain.blame("sluice.semaphore: limit must be a whole number above 0") end
  return host.semaphore(name, limit)
end)

-- ---- caches

local cache_fields = { ttl = true, max_bytes = true }
local MAX_BYTES_MIN = 65536

M.cache = host.seal(function(name, rule)
  if type(name) ~= "string" or name == "" then complain.blame("sluice.cache takes a name: caches of one name share their values") end
  if rule ~= nil and type(rule) ~= "table" then complain.blame('sluice.cache takes a table { ttl = "60s", max_bytes = "16mb" }') end
  for k in pairs(rule or {}) do
    if not cache_fields[k] then
      complain.blame(('sluice.cache has no field "%s"%s (it has %s)'):format(tostring(k), suggest.hint(k, cache_fields), suggest.list(cache_fields)))
    end
  end
  local ttl, why = 0
  if rule and rule.ttl ~= nil then
    ttl, why = host.duration(tostring(rule.ttl))
    if not ttl then complain.blame("sluice.cache: ttl: " .. why) end
    if ttl == 0 then complain.blame("sluice.cache: ttl must be longer than nothing; without ttl values stay until room is needed") end
  end
  local max_bytes, because = host.size(tostring(rule and rule.max_bytes or "16mb"))
  if not max_bytes then complain.blame("sluice.cache: max_bytes: " .. because) end
  if max_bytes < MAX_BYTES_MIN then complain.blame("sluice.cache: max_bytes must be at least 64kb: one value may take a sixteenth of it") end
  return host.cache(name, max_bytes, ttl)
end)

-- ---- what is here

local features = {}
for _, name in ipairs {
  "filter.raw", "filter.match", "filter.unit", "filter.when", "filter.parallel", "filter.optimistic", "filter.moved",
  "match.regex", "model.answer", "service.answer", "cache", "counter", "limiter", "semaphore", "service", "redis", "counter.store", "limiter.store", "all", "gate", "log",
  "chain", "parts",
} do features[name] = true end

function M.has(feature) return features[feature] == true end

local parts = {}
for _, name in ipairs {
  "api_keys", "audit", "banned_words", "budget", "cache", "cors", "experiment", "extract_think", "fallback", "hide_reasoning", "json_mode", "language",
  "limits", "mask_secrets", "model_table", "moderation", "rate_limit", "redact", "stop_sequences", "template",
} do parts[name], features["parts." .. name] = true, true end

M.parts = setmetatable({}, {
  __index = function(_, name)
    if not parts[name] then complain.blame(('there is no part "%s"%s (there are: %s)'):format(tostring(name), suggest.hint(name, parts), suggest.list(parts))) end
    local make = host.seal(function(options)
      if options ~= nil and type(options) ~= "table" then complain.blame(("sluice.parts.%s takes a table of options"):format(name)) end
      local entry = { sandbox.public_module("sluice.parts." .. name) }
      for k, v in pairs(options or {}) do
        if k == 1 then complain.blame(("sluice.parts.%s takes named options"):format(name)) end
        entry[k] = v
      end
      return entry
    end)
    policy.part_names[make] = name
    return make
  end,
  __newindex = function() error("sluice.parts is read-only", 2) end,
  __metatable = false,
  [host.locked] = true,
})

require "sluice.exchange"

known_sets.add { limiter = limiter_fields, counter = counter_fields, semaphore = { limit = true }, cache = cache_fields, cached = { ttl = true }, feature = features, parts = parts }

return frozen.library("sluice", M)
