-- What the gateway does with a request, as data: for `sluice explain`, its text and its JSON.
local host = require "sluice.host"
local affinity = require "sluice.affinity"
local known = require "sluice.known"
local policy = require "sluice.policy"
local reference = require "sluice.reference"
local sandbox = require "sluice.sandbox"
local order, array = host.json.order, host.json.array

local M = {}

-- ---- values as an operator would write them

local function place(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return "a built-in function" end
  return ("%s:%d"):format(info.source:gsub("^@", ""), info.linedefined)
end

local SPANS = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" } }

-- In the largest unit that it is several of: 60000 is "60s", 120000 is "2m".
local function duration(ms)
  for _, span in ipairs(SPANS) do
    local n = ms // span[1]
    if ms % span[1] == 0 and (n > 1 or n == 1 and span[2] == "s") then return ("%d%s"):format(n, span[2]) end
  end
  return ("%dms"):format(ms)
end

local function size(bytes)
  for _, unit in ipairs { { 1 << 30, "gb" }, { 1 << 20, "mb" }, { 1 << 10, "kb" } } do
    if bytes >= unit[1] and bytes % unit[1] == 0 then return ("%d%s"):format(bytes // unit[1], unit[2]) end
  end
  return ("%db"):format(bytes)
end

local function matchers(m)
  local out = {}
  for i, part in ipairs(host.matcher_parts(m)) do
    out[i] = part.form == "known" and part.kind or part.form == "words" and part.source or ("%s %q"):format(part.form, part.source)
  end
  return table.concat(out, ", ")
end

local function show(v, depth)
  local kind = type(v)
  if kind == "string" then return (("%q"):format(v):gsub("\\\n", "\\n")) end
  if kind == "function" then return ("function at %s"):format(place(v)) end
  if host.is_matcher(v) then return matchers(v) end
  local mt = debug.getmetatable(v)
  if kind ~= "table" or mt and mt.__tostring then return tostring(v) end      -- a service, say
  if (depth or 0) > 3 then return "{ ... }" end
  local out, named = {}, {}
  for i = 1, #v do out[i] = show(v[i], (depth or 0) + 1) end
  for k in pairs(v) do
    if math.type(k) ~= "integer" then named[#named + 1] = k end
  end
  table.sort(named, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(named) do
    local key = type(k) == "string" and (k:find "^[%a_][%w_]*$" and k or ("[%q]"):format(k)) or ("[%s]"):format(tostring(k))
    out[#out + 1] = ("%s = %s"):format(key, show(v[k], (depth or 0) + 1))
  end
  if #out == 0 then return "{}" end
  if #out > 12 then return ("{ %s, ... } (%d)"):format(table.concat(out, ", ", 1, 12), #out) end
  return ("{ %s }"):format(table.concat(out, ", "))
end
M.show, M.place, M.duration, M.size, M.matchers = show, place, duration, size, matchers

-- ---- policies

local function options_of(instance)
  local names, out = {}, array {}
  for name in pairs(instance.def.options) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = instance.options[name]
    if type(value) == "table" and instance.def.options[name].kinds[1] == "file" then value = value.path end
    out[#out + 1] = order({ name = name, value = value ~= nil and show(value) or nil, default = instance.given[name] == nil }, { "name", "value", "default" })
  end
  return out
end

-- The ready part that a policy is.
local function part_of(def)
  for name in pairs(known.of "parts") do
    if policy.definitions[sandbox.public_module("sluice.parts." .. name)] == def then return "sluice.parts." .. name end
  end
end

local function policy_of(p)
  local instance, def = p.instance, p.instance.def
  return order({
    name = p.name, policy = def.name ~= p.name and def.name or nil, doc = def.doc, mode = instance.mode, only_if = p.only_if and place(p.only_if) or nil,
    at = part_of(def) or ("%s:%d"):format(def.file, def.line), options = options_of(instance),
  }, { "name", "policy", "doc", "mode", "only_if", "at", "options" })
end

M.part_of = part_of

-- ---- hooks

local WHEN = { "load", "request", "try", "answer", "failure", "after" }
M.WHEN = WHEN

-- Whether a failure in this hook of a route's policy is passed over.
local function is_open(p, hook)
  if hook == "log" then return true end
  if hook == "filter" then return p.open_hooks & 1 << policy.FILTER_BIT ~= 0 end
  for i, name in ipairs(policy.hooks) do
    if name == hook then return p.open_hooks & 1 << (i - 1) ~= 0 end
  end
  return false
end

M.is_open = is_open
local function fails(p, hook) return is_open(p, hook) and "open" or "closed" end

local function hook_of(p, hook, fn)
  return order({ hook = hook, policy = p.name, on_error = fails(p, hook), at = place(fn) }, { "hook", "policy", "on_error", "at" })
end

-- lists: by number of the hook, as sluice.config made them. Grouped by the time at which they run.
local function hooks_of(r, lists)
  local out = {}
  for _, when in ipairs(WHEN) do out[when] = array {} end
  for i, hook in ipairs(policy.hooks) do
    local entry = reference.by_name[hook]
    local group = out[entry and entry.when or "request"]
    for _, h in ipairs(lists[i] or {}) do group[#group + 1] = hook_of(r.policies[h.policy + 1], hook, h.fn) end
  end
  return order(out, WHEN)
end

-- ---- filters

local UNIT_NAMES, CHANNEL_NAMES = {}, {}
for name, n in pairs(policy.UNITS) do UNIT_NAMES[n] = name end
for name, n in pairs(policy.CHANNELS) do CHANNEL_NAMES[n + 1] = name end

local function unit_of(f)
  if f.unit_fn then return "what " .. place(f.unit_fn) .. " gives" end
  if f.chars and f.chars > 0 then return f.overlap > 0 and ("%d characters, %d again"):format(f.chars, f.overlap) or ("%d characters"):format(f.chars) end
  return UNIT_NAMES[f.unit] or "delta"
end

local function filter_of(r, f)
  local p = r.policies[f.policy + 1]
  if f.kind == policy.FILTER_SHADOW then return order({ policy = p.name, kind = "monitor" }, { "policy", "kind" }) end
  local is_match = f.kind == policy.KIND.match
  local channels = array {}
  for i, name in ipairs(CHANNEL_NAMES) do
    if f.channels & 1 << (i - 1) ~= 0 then channels[#channels + 1] = name end
  end
  return order({
    policy = p.name, kind = is_match and "match" or f.judges and "check" or f.kind == policy.KIND.raw and "raw" or "text", channels = channels,
    unit = not is_match and unit_of(f) or nil, match = is_match and (f.match and matchers(f.match) or "what " .. place(f.match_fn) .. " gives") or nil,
    replace = f.replace, when = f.when and place(f.when) or nil, at = f.fn and place(f.fn) or nil, max_hold = size(f.max_hold),
    overflow = f.overflow_release and "release" or "stop", on_error = fails(p, "filter"),
    parallel = f.judges and f.parallel or nil, optimistic = f.judges and f.optimistic or nil,
  }, { "policy", "kind", "match", "replace", "unit", "channels", "parallel", "optimistic", "when", "max_hold", "overflow", "on_error", "at" })
end

local function filters_of(r, list)
  local out = array {}
  for i, f in ipairs(list) do out[i] = filter_of(r, f) end
  return out
end

-- ---- models and routes

local CLOCKS = { "connect", "first_token", "gap", "total" }
M.CLOCKS = CLOCKS

local function clocks(list, of)
  local out = {}
  for i, name in ipairs(CLOCKS) do
    local ms = of[i] > 0 and of[i] or list[i]
    out[name] = ms > 0 and duration(ms) or nil
  end
  return order(out, CLOCKS)
end

-- What is known of a model beside what it is.
local function guarded(m, r)
  local t, retry = m.target, m.retry or r.retry
  return {
    max_parallel = t and t.max_parallel > 0 and t.max_parallel or nil,
    breaker = t and t.failures > 0 and order({ failures = t.failures, window = duration(t.window), open = duration(t.open) }, { "failures", "window", "open" }) or nil,
    probe = m.probe and order({ url = m.probe.url, every = duration(m.probe.every), timeout = duration(m.probe.timeout), healthy = t.healthy, unhealthy = t.unhealthy },
      { "url", "every", "timeout", "healthy", "unhealthy" }) or nil,
    retry = retry and retry.times > 0 and order({ times = retry.times, backoff = duration(retry.backoff), max = duration(retry.max) }, { "times", "backoff", "max" }) or nil,
  }
end

local model_of

-- The word that stands for an affinity function; nil: it is the operator's.
function M.affinity(of)
  for word, fn in pairs(affinity.named) do
    if fn == of then return word end
  end
end

local function pool_of(gateway, r, m)
  local members, by = array {}, m.pool.affinity and (M.affinity(m.pool.affinity) or "what " .. place(m.pool.affinity) .. " gives")
  for i, member in ipairs(m.pool.members) do
    members[i] = model_of(gateway, r, member.name)
    members[i].weight = member.weight
  end
  return order({ name = m.name, balance = m.pool.least_busy and "least_busy" or "weighted", affinity = by, pool = members },
    { "name", "balance", "affinity", "pool" })
end

function model_of(gateway, r, name)
  for _, m in ipairs(gateway.models) do
    if m.name == name and m.pool then return pool_of(gateway, r, m) end
    if m.name == name then
      local g = guarded(m, r)
      return order({
        max_parallel = g.max_parallel, breaker = g.breaker, probe = g.probe, retry = g.retry,
        name = name, answer = m.answer and place(m.answer) or nil, provider = m.dialect and m.dialect.name, model = m.table.model, url = m.url,
        key = m.table.key and tostring(m.table.key) or nil, timeouts = clocks(r.clocks, m.clocks),
      }, { "name", "provider", "model", "url", "key", "answer", "timeouts", "max_parallel", "breaker", "probe", "retry", "weight" })
    end
  end
end

function M.window(r)
  if not (r.prerelease_chars or r.prerelease_ms) then return nil end
  return order({ chars = r.prerelease_chars, time = r.prerelease_ms and duration(r.prerelease_ms) }, { "chars", "time" })
end

function M.hedge(r)
  if not r.hedge_ms then return nil end
  return order({ after = duration(r.hedge_ms), budget = ("%g%%"):format(r.hedge_budget / 100) }, { "after", "budget" })
end

-- `path`: where the route stands in the file, such as "routes.ask".
function M.route(gateway, r, path)
  if r.files then return order({ name = r.name, paths = array(r.paths), files = r.files }, { "name", "paths", "files" }) end
  local fronts, methods, seen = {}, {}, {}
  for _, f in ipairs(r.fronts) do
    if not seen[f.name] then fronts[#fronts + 1], methods[#methods + 1], seen[f.name] = f.name, f.methods, true end
  end
  local offers = r.table.offers
  local out = {
    name = r.name, paths = array(r.paths), front = table.concat(fronts, ", "), methods = table.concat(methods, "; "),
    offers = offers and array(offers.names), heartbeat = duration(r.heartbeat), prerelease = M.window(r),
    hedge = M.hedge(r), on_death = r.on_death ~= "error" and r.on_death or nil, models = array {}, policies = array {},
    off = array {}, hooks = hooks_of(r, r.hooks), filters = filters_of(r, r.filters), monitored = array {},
  }
  for i, name in ipairs(r.plan) do out.models[i] = model_of(gateway, r, name) end
  for i, p in ipairs(r.policies) do
    out.policies[i] = policy_of(p)
    for _, hook in ipairs { "prepare", "init" } do
      local fn = p.instance.def.hooks[hook]
      if fn then table.insert(out.hooks.load, hook_of(p, hook, fn)) end
    end
  end
  for _, off in ipairs(policy.off) do
    if off.path:sub(1, #path + 1) == path .. "." then out.off[#out.off + 1] = off.name end
  end
  for i, shadow in ipairs(r.shadows or {}) do
    out.monitored[i] = order({ policy = r.policies[shadow.policy + 1].name, hooks = hooks_of(r, shadow.hooks), filters = filters_of(r, shadow.filters) }, { "policy", "hooks", "filters" })
  end
  return order(out, { "name", "paths", "front", "methods", "offers", "models", "heartbeat", "prerelease", "on_death", "hedge", "policies", "off", "hooks", "filters", "monitored" })
end

function M.service(s)
  if s.answer then return order({ name = s.name, answer = place(s.answer) }, { "name", "answer" }) end
  return order({ name = s.name, url = s.url or s.place, timeout = duration(s.timeout), max_parallel = s.max_parallel > 0 and s.max_parallel or nil }, { "name", "url", "timeout", "max_parallel" })
end

return M
