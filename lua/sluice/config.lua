-- `return sluice.config { ... }`: what an operator's file says, checked against the schema below and normalised for C (script/gateway.c).
-- Every mistake is named with its path, its line and, where a name is near, what was meant.
local host = require "sluice.host"
local complain = require "sluice.complain"
local dialect = require "sluice.dialect"
local frozen = require "sluice.frozen"
local hosts = require "sluice.hosts"
local locate = require "sluice.locate"
local policy = require "sluice.policy"
local prepare = require "sluice.prepare"
local sandbox = require "sluice.sandbox"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"
local targets = require "sluice.targets"
local tries = require "sluice.tries"
local wanted = require "sluice.wanted"

local M = {}

-- ---- single settings

local function listen(v, at)
  if schema.unset(v) then return nil end
  local function wrong(why)
    at:complain(('must be an address and a port such as "127.0.0.1:4001", "[::1]:4001" or ":8080", is %s%s'):format(schema.show(v), why or ""))
  end
  if type(v) ~= "string" then return wrong() end
  local name, port = v:match("^%[([%x:%.]+)%]:(%d+)$")
  if not name then name, port = v:match("^([^:]*):(%d+)$") end
  if not name then return wrong() end
  port = tonumber(port)
  if port > 65535 then return wrong("; a port is at most 65535") end
  if name == "" or name == "*" then return { host = "::", port = port } end
  if name == "localhost" then name = "127.0.0.1" end
  if not host.ip(name) then return wrong("; the address must be an IP address") end
  return { host = host.ip(name), port = port }
end

local function trusted(v, at)
  if schema.unset(v) then return {} end
  local list = v
  if type(v) == "string" then
    list = {}
    for part in v:gmatch("[^,]+") do
      part = part:match("^%s*(.-)%s*$")
      if part ~= "" then list[#list + 1] = part end
    end
  end
  local each = schema.list(function(c, here)
    if type(c) ~= "string" or not (schema.unset(c) or host.cidr(c)) then
      return here:complain(('must be a network such as "10.0.0.0/8" or an address, is %s'):format(schema.show(c)))
    end
    return c
  end)
  return each(list, at)
end

local clocks = schema.record({
  connect = { schema.duration }, first_token = { schema.duration }, gap = { schema.duration }, total = { schema.duration },
}, "timeout", '{ total = "60s" }')

local limits = schema.record({
  head = { schema.size }, body = { schema.size }, connections = { schema.integer(1, 10000000) },
  head_timeout = { schema.duration }, body_timeout = { schema.duration }, idle_timeout = { schema.duration }, write_stall = { schema.duration },
}, "limits", "{ connections = 1000 }")

local snapshot_record = schema.record({
  file = { schema.text("a file name", "."), required = 'such as file = "counters.snap"' }, every = { schema.duration },
}, "snapshot", '{ file = "counters.snap", every = "10s" }')

-- Where counters are kept over a restart. The file need not be there yet, its directory must.
local function snapshot(v, at)
  if schema.unset(v) then return nil end
  local s = snapshot_record(type(v) == "string" and { file = v } or v, at)
  if not s or not s.file then return s end
  s.file = sandbox.resolve(s.file)
  local directory = s.file:match "^(.*)/[^/]*$" or "."
  if not host.directory(directory == "" and "/" or directory) then at:complain(("there is no directory %s to write it into"):format(directory)) end
  if s.every and s.every < 100 then at:complain "every must be 100ms or more" end
  return s
end

-- How long answers to clients of the Responses API are kept for their next requests.
local function keep(v, at)
  if v == false then return 0 end
  return schema.duration(v, at)
end

local responses = schema.record({ keep = { keep }, max_bytes = { schema.size } }, "responses", '{ keep = "1h", max_bytes = "64mb" }')
local KEEP, KEEP_BYTES, KEEP_BYTES_LEAST = 3600000, 64 << 20, 1 << 20

-- ---- models

local function url(v, at)
  if schema.unset(v) then return nil end
  local scheme, rest
  if type(v) == "string" then scheme, rest = v:match("^(%a+)://(.+)$") end
  if not scheme or not (scheme:lower() == "http" or scheme:lower() == "https") or rest:find("[%s%c?#@\"<>\\]") or rest:sub(1, 1) == "/" then
    local why = type(v) == "string" and v:find("@", 1, true) and "; a key belongs in key, not in the URL" or ""
    return at:complain(('must be a URL such as "https://api.example.com/v1", is %s%s'):format(why ~= "" and "something else" or schema.show(v), why))
  end
  return (v:gsub("/+$", ""))
end

local function key(v, at)
  if host.is_secret(v) then return v end
  if schema.unset(v) then return nil end
  if type(v) ~= "string" or v == "" or v:find("[%c ]") then
    return at:complain('must be sluice.secret "NAME" (or a text without blanks)')
  end
  return host.secret("key", v)
end

-- A PEM file of CA certificates: its path. What is no such file would otherwise be noticed by the first question.
local function certificates(v, at)
  if schema.unset(v) then return nil end
  if type(v) ~= "string" then return at:complain(("must be a file name, is %s"):format(schema.show(v))) end
  local path = sandbox.resolve(v)
  local f, why = io.open(path, "rb")
  if not f then return at:complain(("cannot read it: %s"):format(why)) end
  local text = f:read "a" or ""
  f:close()
  if not text:find("-----BEGIN CERTIFICATE-----", 1, true) and not text:find("-----BEGIN TRUSTED CERTIFICATE-----", 1, true) then
    return at:complain(('holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----"): %s'):format(path))
  end
  return path
end

local model_members = {
  provider = { function(v, at) return dialect.resolve("provider", v, at) end },
  url = { url }, model = { schema.text("a text: the model's name at the provider, such as \"gpt-4o-mini\"", ".") }, key = { key }, ca = { certificates }, timeout = { clocks },
  answer = { schema.func }, prefill = { tries.prefill },
  options = { function(v, at) return type(v) == "table" and v or at:complain(("must be a table, is %s"):format(schema.show(v))) end },
}
for name, member in pairs(targets.members) do model_members[name] = member end
local model_record = schema.record(model_members, "a model")

local function model(v, at)
  if type(v) == "function" then v = { answer = v } end
  if type(v) ~= "table" then
    return at:complain(('must be a table or a function, such as { provider = "openai", model = "gpt-4o-mini" } or function(req, out) ... end, is %s'):format(schema.show(v)))
  end
  local m, meant = model_record(v, at)
  if meant.answer or meant.pool or targets.is_pool(v, at) then return m end
  if v.answer ~= nil then
    for _, k in ipairs { "provider", "url", "model", "key", "ca", "prefill" } do
      if v[k] ~= nil then at:child(k):complain(('a model with an answer function has no %s'):format(k)) end
    end
    return m
  end
  if v.provider == nil and not meant.provider then
    at:complain("needs a provider (and model), or an answer = function(req, out)")
    return m
  end
  if v.model == nil and not meant.model then at:complain('"model" is missing: the model\'s name at the provider') end
  m.url = m.url or (v.url == nil and m.provider and m.provider.url) or nil
  if v.url == nil and m.provider and not m.url and not meant.url then at:complain(('"url" is missing: the dialect "%s" has no default'):format(m.provider.name)) end
  return m
end

local service = hosts.checker { url = url, key = key, certificates = certificates }

-- ---- routes

local path = schema.text('a path such as "/api/stream"', "^/[^%s%c?#]*$")

local function directory(v, at)
  if schema.unset(v) then return nil end
  if type(v) ~= "string" then return at:complain(("must be a directory, is %s"):format(schema.show(v))) end
  local real, why = host.directory(sandbox.resolve(v))
  if not real then return at:complain(('cannot serve "%s": %s'):format(v, why)) end
  return real
end

local POLICIES_MAX = 64                                  -- as script/gateway.h says

-- The conditions of sluice.only_if around a policy, as one.
local function all_of(conditions)
  if #conditions < 2 then return conditions[1] end
  return function(ctx, head)
    for _, fn in ipairs(conditions) do if not fn(ctx, head) then return false end end
    return true
  end
end

local function policies(v, at)
  local out, seen = {}, {}
  if type(v) ~= "table" or policy.definitions[v] then return at:complain("must be a list of policies: { A, B }") end
  schema.list(function() end)(v, at)
  local function add(item, here, conditions)
    local p = policy.instance(item, here, sandbox.require)
    if not p then return end
    if p.name and seen[p.name] then
      here:complain(('policy "%s" is on this route twice; give one of them another name: { P, name = "..." }'):format(p.name))
    end
    seen[p.name or ""] = true
    p.only_if = all_of(conditions)
    out[#out + 1] = p
  end
  for i, item in ipairs(v) do policy.expand(item, at:child(i), add) end
  if #out > POLICIES_MAX then at:complain(("names %d policies; at most %d are possible"):format(#out, POLICIES_MAX)) end
  return out
end

-- The names or tables of fronts; what they are is looked up with the paths (dialect.fronts).
local function front_names(v)
  if type(v) ~= "table" or v[1] == nil then return { v } end
  return v
end

-- Which models clients may ask for: { "smart", "fast" }, or { ["gpt-4o"] = "smart", best = { "smart", "fast" } }. A list of { name =, plan = }.
local function offered(v, at)
  if type(v) ~= "table" or next(v) == nil then return at:complain('must be the models that clients may ask for: { "smart", "fast" } or { best = { "smart", "fast" } }') end
  local names, out = {}, {}
  local one = schema.text("the name of a model")
  for k in pairs(v) do names[#names + 1] = k end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(names) do
    local here = at:child(k)
    if type(k) == "string" then
      out[#out + 1] = { name = k, plan = schema.list(one)(v[k], here) }
    elseif one(v[k], here) then
      out[#out + 1] = { name = v[k], plan = { v[k] } }
    end
  end
  return out
end

local route_record = schema.record({
  path = { schema.list(path), required = 'such as path = "/api/stream"' }, files = { directory },
  front = { front_names }, models = { offered },
  target = { schema.list(schema.text("the name of a model")) }, timeout = { clocks }, prerelease = { tries.window }, on_death = { tries.death }, hedge = { tries.hedge },
  heartbeat = { schema.duration }, policies = { policies }, retry = { targets.retry },
}, "a route", '{ path = "/api/stream", front = "token", target = "NAME" }')

local function route(v, at)
  local r, meant = route_record(v, at)
  if not r then return nil end
  if v.files ~= nil and type(v.path) == "table" and #v.path > 1 then at:child("path"):complain("a route with files has one path") end
  if v.files ~= nil then
    for _, k in ipairs { "front", "target", "models", "policies", "timeout", "heartbeat", "prerelease", "on_death", "hedge", "retry" } do
      if v[k] ~= nil then at:child(k):complain(("a route with files has no %s"):format(k)) end
    end
  elseif not meant.files then
    if not meant.front and r.path then
      r.fronts = dialect.fronts(r.path, r.front, at)
      r.path = {}
      for i, f in ipairs(r.fronts) do r.path[i] = f.path end
    end
    if v.target == nil and v.models == nil and not meant.target then at:complain('"target" is missing: the name of the model that answers (or models, those that clients may ask for)') end
    if v.target == nil and r.models then r.target = r.models[1] and r.models[1].plan end
  end
  return r
end

-- ---- the whole

local api_version = function(v, at)
  if v ~= 1 then at:complain(("must be 1, the only version there is, is %s"):format(schema.show(v))) end
  return v
end

local whole = schema.record({
  api = { api_version, required = "write api = 1" },
  listen = { listen, required = 'such as listen = "127.0.0.1:4001"' },
  trusted_proxies = { trusted }, workers = { schema.integer(0, 1024) }, drain = { schema.duration }, limits = { limits },
  snapshot = { snapshot }, memory = { schema.size }, generations = { schema.integer(2, 64) },
  responses = { responses },
  services = { schema.map(service, "a service", "^[%w_%-%.]+$") },
  models = { schema.map(model, "a model", "^[%w_%-%.:/]+$") },
  routes = { schema.map(route, "a route", "^[%w_%-%.:/]+$"), required = "at least one route" },
}, "sluice.config")

local made = setmetatable({}, { __mode = "k" })         -- what sluice.config returned -> what it was given and where

local function config(t)
  local file_name, line = complain.where(3)
  if type(t) ~= "table" then complain.blame("sluice.config takes a table: sluice.config { api = 1, ... }") end
  local result = setmetatable({}, { __metatable = false, __tostring = function() return "<sluice.config>" end, [host.locked] = true })
  made[result] = { t = t, file = file_name, line = line }
  return result
end
M.config = host.seal(config)

-- Their cache is there only when a route has such clients.
local function keep_responses(routes, keep_ms, max_bytes)
  local speaks = false
  for _, r in ipairs(routes) do
    for _, f in ipairs(r.value.fronts or {}) do speaks = speaks or f.front.speaks == "responses" end
  end
  sandbox.public_module("sluice.dialects.responses_kept").configure(speaks and keep_ms or 0, max_bytes)
end

local CLOCKS = { "connect", "first_token", "gap", "total" }
local function clock_list(t, defaults)
  local out = {}
  for i, name in ipairs(CLOCKS) do out[i] = t and t[name] or defaults[i] end
  return out
end

local PLAN_MAX = 8                                      -- as script/gateway.h says

-- What must be declared: the names of a list such as c.models, and `check(name, complain)`, which complains about any other. Nothing is checked when the
-- list itself was mistyped.
local function declared(c, meant, what, list, word)
  local names = {}
  for _, item in ipairs(c[list] or {}) do names[item.name] = true end
  return function(name, say)
    if names[name] or meant[list] or schema.unset(name) then return end
    local all = next(names) and (" (%s: %s)"):format(word, suggest.list(names)) or (" (%s is empty)"):format(list)
    say(('unknown %s "%s"%s%s'):format(what, name, suggest.hint(name, names), all))
  end
end

local function check_wanted(c, meant)
  local check_model, check_service = declared(c, meant, "model", "models", "known"), declared(c, meant, "service", "services", "declared")
  for _, w in ipairs(wanted.model) do check_model(w[1], w[2]) end
  for _, w in ipairs(wanted.service) do
    check_service(w[1], w[2])
    hosts.check_kind(c.services or {}, w[1], w[3], w[2])
  end
end

-- Names that must agree with each other: models, paths.
local function check_names(c, raw, meant, at)
  local check_model, paths = declared(c, meant, "model", "models", "known"), {}
  targets.check_names(c.models, at, check_model)
  for _, r in ipairs(c.routes or {}) do
    local here = at:child("routes"):child(r.name)
    local v = r.value
    for _, target in ipairs(v and v.target or {}) do
      check_model(target, function(text) here:child("target"):complain(text) end)
    end
    if v and v.target and #v.target > PLAN_MAX then here:child("target"):complain(("names %d models; at most %d are tried"):format(#v.target, PLAN_MAX)) end
    for _, offer in ipairs(v and v.models or {}) do
      for _, target in ipairs(offer.plan) do
        check_model(target, function(text) here:child("models"):child(offer.name):complain(text) end)
      end
      if #offer.plan > PLAN_MAX then here:child("models"):child(offer.name):complain(("names %d models; at most %d are tried"):format(#offer.plan, PLAN_MAX)) end
    end
    local written = raw.routes[r.name].path
    for i, p in ipairs(v and v.path or {}) do
      if paths[p] then
        local where = here:child("path")
        if type(written) == "table" then where = where:child(i) end
        where:complain(('the path "%s" is taken by the route "%s"'):format(p, paths[p]))
      end
      paths[p] = r.name
    end
  end
  if type(raw.routes) == "table" and next(raw.routes) == nil then at:child("routes"):complain("at least one route is needed") end
end

-- Each use of a policy looks at its options once more, now that all names are known.
local function prepare_policies(c)
  local models = {}
  for i, m in ipairs(c.models or {}) do models[i] = m.name end
  for _, r in ipairs(c.routes or {}) do
    for _, instance in ipairs(r.value and r.value.policies or {}) do prepare.run(instance, r.name, models) end
  end
end

-- What C reads: plain lists, absent things false or absent.
local function normal_model(m, more)
  local v = m.value
  local d = v.provider
  local seen_by_dialect = frozen.freeze({ name = m.name, model = v.model, url = v.url, key = v.key, provider = d and d.name, options = v.options or {} },
    "field in a model:", { name = true, model = true, url = true, key = true, provider = true, options = true })
  return {
    name = m.name, url = v.url, ca = v.ca, options = v.options, clocks = clock_list(v.timeout, { 0, 0, 0, 0 }), answer = v.answer, prefill = tries.goes_on(v),
    prefill_with = type(v.prefill) == "table" and v.prefill or nil, prefill_said = v.prefill, table = seen_by_dialect,
    dialect = d and dialect.compiled(d) or nil, pool = more.pool, target = more.target, probe = more.probe, retry = more.retry,
  }
end

local function index_of(list, item)
  for i, x in ipairs(list) do if x == item then return i end end
end

local function normal_policies(list)
  local hooks, filters, out = {}, {}, {}
  for i in ipairs(policy.hooks) do hooks[i] = {} end
  local upward = { tool_call = true, finish = true }     -- what comes from the model passes bottom to top
  local shadows, shadow_of = {}, {}                      -- those in monitor mode, each with hooks and filters of its own
  for p, instance in ipairs(list) do
    local into = hooks
    if instance.mode == "monitor" then
      local shadow = { policy = p - 1, hooks = {}, filters = {} }
      for i in ipairs(policy.hooks) do shadow.hooks[i] = {} end
      shadows[#shadows + 1], shadow_of[p], into = shadow, shadow, shadow.hooks
    end
    out[p] = { name = instance.name, open_hooks = instance.open_hooks, options = instance.options, only_if = instance.only_if, instance = instance,
      prepared = instance.prepared }
    for i, h in ipairs(policy.hooks) do
      local fn = instance.def.hooks[h]
      if fn then table.insert(into[i], upward[h] and 1 or #into[i] + 1, { fn = fn, policy = p - 1 }) end
    end
  end
  for p = #list, 1, -1 do                                -- answers pass bottom to top
    local into = shadow_of[p] and shadow_of[p].filters or filters
    for _, f in ipairs(list[p].def.filters) do
      local filter = { policy = p - 1 }
      for k, v in pairs(f) do filter[k] = v end
      into[#into + 1] = filter
    end
    if shadow_of[p] then filters[#filters + 1] = { policy = p - 1, kind = policy.FILTER_SHADOW, shadow = index_of(shadows, shadow_of[p]) - 1, channels = 7 } end
  end
  return out, hooks, filters, shadows
end

local function normal_route(r)
  local v = r.value
  if v.files then return { name = r.name, paths = v.path, files = v.files, policies = {}, hooks = {}, filters = {}, clocks = { 0, 0, 0, 0 }, heartbeat = 0 } end
  local out, hooks, filters, shadows = normal_policies(v.policies or {})
  local clocks_ms = clock_list(v.timeout, { 10000, 60000, 60000, 0 })
  local fronts, offers = {}, nil
  for i, f in ipairs(v.fronts) do fronts[i] = dialect.compiled_front(f.front) end
  for _, offer in ipairs(v.models or {}) do
    offers = offers or { names = {}, plans = {} }
    offers.names[#offers.names + 1], offers.plans[offer.name] = offer.name, offer.plan
  end
  return {
    table = { name = r.name, total = clocks_ms[4], policies = out, plan = v.target, offers = offers, touched = #out > 0 },
    name = r.name, paths = v.path, plan = v.target, clocks = clocks_ms, retry = targets.normal_retry(v.retry),
    heartbeat = v.heartbeat or 15000, prerelease_chars = v.prerelease and v.prerelease.chars, prerelease_ms = v.prerelease and v.prerelease.time,
    on_death = v.on_death or "error", hedge_ms = v.hedge and v.hedge.after, hedge_budget = v.hedge and (v.hedge.budget or 1000),
    policies = out, hooks = hooks, filters = filters, shadows = shadows, fronts = fronts,
  }
end

-- Each policy's init, once however many routes it is on.
local function inits(routes)
  local out, seen = {}, {}
  for _, r in ipairs(routes) do
    for _, instance in ipairs(r.value.policies or {}) do
      local fn = instance.def.hooks.init
      if fn and not seen[fn] then out[#out + 1] = { fn = fn, policy = instance.def.name } end
      seen[fn or 0] = true
    end
  end
  return out
end

-- The normalised gateway of what the file returned, and where its settings stand; nil when there were complaints.
function M.check(result, main, for_spec)
  local given = made[result]
  if not given then
    complain.at(main, sandbox.last_line(main), ("the file must end with `return sluice.config { ... }`, but it returns %s"):format(
      result == nil and "nothing" or schema.show(result)))
    return nil
  end
  local file_name = given.file or main
  local source = sandbox.sources[file_name]
  local lines = source and locate.config(source, given.line) or {}
  lines[""] = lines[""] or given.line
  local at = schema.at(file_name, lines)
  local raw = given.t
  local c, meant = whole(raw, at)
  check_names(c, raw, meant, at)
  tries.check(c, at)
  prepare_policies(c)
  if for_spec then c.services = hosts.declare(c.services or {}, wanted.service) end
  check_wanted(c, meant)                                 -- prepare may have asked for services
  local kept = c.responses or {}
  if kept.max_bytes and kept.max_bytes < KEEP_BYTES_LEAST then at:child("responses"):child("max_bytes"):complain "must be at least 1mb: one answer may take a sixteenth of it" end
  if complain.any() then return nil end
  keep_responses(c.routes, kept.keep or KEEP, kept.max_bytes or KEEP_BYTES)

  local l = c.limits or {}
  local out = {
    host = c.listen.host, port = c.listen.port, trusted = c.trusted_proxies or {}, workers = c.workers or 0, drain = c.drain or 30000,
    memory = c.memory or 0, generations = c.generations or 4, snapshot = c.snapshot and c.snapshot.file,
    snapshot_every = c.snapshot and (c.snapshot.every or 10000), models = {}, routes = {},
    responses_keep = kept.keep or KEEP, responses_bytes = kept.max_bytes or KEEP_BYTES,
    limits = {
      head_bytes = l.head or 0, body_bytes = l.body or 0, connections = l.connections or 0, head_ms = l.head_timeout or 0,
      body_ms = l.body_timeout or 0, idle_ms = l.idle_timeout or 0, stall_ms = l.write_stall or 0,
    },
  }
  local index, pooled = {}, targets.pooled(c.models or {})
  for i, m in ipairs(c.models or {}) do index[m.name] = i end
  for i, m in ipairs(c.models or {}) do out.models[i] = normal_model(m, targets.normal(m, index, pooled)) end
  for i, r in ipairs(c.routes) do out.routes[i] = normal_route(r) end
  out.services, out.lua_services = hosts.normal(c.services or {})
  out.inits = inits(c.routes)
  return out, at
end

return M
