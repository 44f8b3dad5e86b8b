-- What a gateway file says of models beside what they are: pools of several, bounds, breakers, probes, retries. Checked, and as C reads it (script/target.c).
local affinity = require "sluice.affinity"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"

local M = {}

local POOL_MAX = 16                                      -- as base/balance.h says
local BREAKER = { failures = 5, window = 10000, open = 10000 }
local PROBE = { every = 10000, timeout = 2000, healthy = 2, unhealthy = 3 }
local RETRY = { backoff = 200, max = 5000 }

-- ---- single settings

local function one_of(words)
  return function(v, at)
    for _, word in ipairs(words) do if v == word then return v end end
    if schema.unset(v) then return nil end
    at:complain(('must be "%s", is %s%s'):format(table.concat(words, '" or "'), schema.show(v), type(v) == "string" and suggest.hint(v, words) or ""))
  end
end

local function moment(v, at)                             -- a duration that is none is no duration
  local ms = schema.duration(v, at)
  if ms == 0 then return at:complain("must be longer than nothing") end
  return ms
end

local breaker_record = schema.record({ failures = { schema.integer(1, 10000) }, window = { moment }, open = { moment } }, "a breaker", "{ failures = 5 }")
local probe_record = schema.record({
  path = { schema.text('a path such as "/models"', "^/[^%s%c#]*$"), required = 'such as path = "/models"' }, every = { moment }, timeout = { moment },
  healthy = { schema.integer(1, 100) }, unhealthy = { schema.integer(1, 100) },
}, "a probe", '{ path = "/models" }')
local retry_record = schema.record({ times = { schema.integer(1, 9), required = "such as times = 2" }, backoff = { moment }, max = { moment } }, "a retry", "{ times = 2 }")

local function with(defaults, t)
  if type(t) ~= "table" then return t end
  for k, v in pairs(defaults) do if t[k] == nil then t[k] = v end end
  return t
end

local function breaker(v, at)
  if v == false then return false end
  return with(BREAKER, (breaker_record(v == true and {} or v, at)))
end

local function probe(v, at)
  local p = with(PROBE, (probe_record(v, at)))
  if p and p.timeout > p.every then at:complain("a probe's timeout must not be longer than the time between two (every)") end
  return p
end

function M.retry(v, at)
  if v == false then return false end
  local r = with(RETRY, (retry_record(v, at)))
  if r and r.backoff > r.max then at:complain("max, the longest wait, must not be shorter than backoff, the first") end
  return r
end

local function weights(v, at)
  if type(v) ~= "table" then return at:complain(("must be a table such as { eu = 3, us = 1 }, is %s"):format(schema.show(v))) end
  local out, whole = {}, schema.integer(1, 100)
  for name, n in pairs(v) do out[name] = whole(n, at:child(name)) end
  return out
end

local affinity_word = one_of { "key", "client" }

local function affine(v, at)
  if type(v) == "function" then return v end
  if type(v) ~= "string" then return at:complain(('must be "key", "client" or a function(req, caller), is %s'):format(schema.show(v))) end
  local word = affinity_word(v, at)
  return word and affinity.named[word]
end

M.members = {
  pool = { schema.list(schema.text("the name of a model")) }, balance = { one_of { "weighted", "least_busy" } }, weights = { weights }, affinity = { affine },
  max_parallel = { schema.integer(1, 1000000) }, breaker = { breaker }, probe = { probe }, retry = { M.retry },
}

-- ---- what must agree

local OF_POOLS = { "balance", "weights", "affinity" }

-- A model that stands for several has nothing else; one that does not has nothing of a pool. True: it is a pool.
function M.is_pool(v, at)
  if v.pool == nil then
    for _, k in ipairs(OF_POOLS) do
      if v[k] ~= nil then at:child(k):complain(("only a model with a pool has %s"):format(k)) end
    end
    if v.answer ~= nil and v.probe ~= nil then at:child("probe"):complain("a model with an answer function has no probe") end
    return false
  end
  local names = {}
  for k in pairs(v) do names[#names + 1] = tostring(k) end
  table.sort(names)
  for _, k in ipairs(names) do
    if M.members[k] == nil or k == "max_parallel" or k == "breaker" or k == "probe" or k == "retry" then
      at:child(k):complain(("a model with a pool has no %s: its members have"):format(k))
    end
  end
  return true
end

-- `check_model`: complains about a name that is no model's.
function M.check_names(models, at, check_model)
  local pools = {}
  for _, m in ipairs(models or {}) do pools[m.name] = m.value and m.value.pool ~= nil end
  for _, m in ipairs(models or {}) do
    local here, seen = at:child("models"):child(m.name), {}
    local pool = m.value and m.value.pool or {}
    for i, name in ipairs(pool) do
      local function say(text) here:child("pool"):child(i):complain(text) end
      check_model(name, say)
      if pools[name] then say(('"%s" is a pool itself; name its members here'):format(name)) end
      if seen[name] then say(('names "%s" twice; give it a greater weight instead'):format(name)) end
      seen[name] = true
    end
    if m.value and m.value.pool and #pool == 0 then here:child("pool"):complain("names no model") end
    if #pool > POOL_MAX then here:child("pool"):complain(("names %d models; at most %d are possible"):format(#pool, POOL_MAX)) end
    for name in pairs(m.value and m.value.pool and m.value.weights or {}) do
      if not seen[name] then here:child("weights"):child(name):complain(('"%s" is not in the pool%s'):format(tostring(name), suggest.hint(name, seen))) end
    end
  end
end

-- ---- what C reads

-- By name, whether the model is a member of a pool: then its breaker is on unless it says otherwise.
function M.pooled(models)
  local out = {}
  for _, m in ipairs(models) do
    for _, name in ipairs(m.value.pool or {}) do out[name] = true end
  end
  return out
end

local function pool(m, index)
  local v, members, words = m.value, {}, {}
  for i, name in ipairs(v.pool) do
    members[i] = { name = name, index = index[name], weight = v.weights and v.weights[name] or 1 }
    words[i] = ("%s=%d"):format(name, members[i].weight)
  end
  return { members = members, least_busy = v.balance == "least_busy", affinity = v.affinity, name = ("%s: %s"):format(m.name, table.concat(words, " ")) }
end

local function target(v, pooled)
  local b, p = v.breaker, v.probe
  if b == nil and pooled then b = BREAKER end
  if not (pooled or v.max_parallel or b or p) then return nil end
  b, p = b or {}, p or {}
  return { max_parallel = v.max_parallel or 0, failures = b.failures or 0, window = b.window or 0, open = b.open or 0, healthy = p.healthy or 0, unhealthy = p.unhealthy or 0,
    back = p.every and p.every * p.healthy or 0 }
end

-- The members pool, target, probe and retry of the normalised model. index: of each model, by its name.
function M.normal(m, index, pooled)
  local v = m.value
  if v.pool then return { pool = pool(m, index) } end
  local p = v.probe
  return { target = target(v, pooled[m.name]), probe = p and { url = v.url .. p.path, every = p.every, timeout = p.timeout }, retry = M.normal_retry(v.retry) }
end

-- `false` is a retry of no times: the route's does not count.
function M.normal_retry(r)
  if r == false then return { times = 0, backoff = 0, max = 0 } end
  return r
end

return M
