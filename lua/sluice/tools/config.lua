-- `sluice config FILE`: the configuration as it was understood, with its defaults, in an order that stays: for review and diffs. Secrets are told by their
-- names, functions by the line on which they begin. An outline for people; --json, the same as data.
local host = require "sluice.host"
local load = require "sluice.load"
local picture = require "sluice.tools.picture"
local policy = require "sluice.policy"
local array = host.json.array

-- ---- what is told: lists are arrays of host.json; anything else is a list of { name, value }

local function members(list)                             -- without those that have no value
  local out = {}
  for _, item in ipairs(list) do
    if item[2] ~= nil then out[#out + 1] = item end
  end
  return out
end

local function sorted(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

local function place(fn) return ("<function %s>"):format(picture.place(fn)) end

-- The value of an option as data.
local function data(v)
  local kind = type(v)
  if kind == "function" then return place(v) end
  if host.is_matcher(v) then return ("<match %s>"):format(picture.matchers(v)) end
  local mt = debug.getmetatable(v)
  if kind == "userdata" or kind == "table" and mt and mt.__tostring then return tostring(v) end       -- a secret, a service
  if kind ~= "table" then return v end
  local out, names = {}, sorted(v)                       -- what pairs gives: these may be read-only views
  if #v == #names then
    for i, item in ipairs(v) do out[i] = data(item) end
    return array(out)
  end
  for i, name in ipairs(names) do out[i] = { tostring(name), data(v[name]) } end
  return members(out)
end

local function some(n, show) return n and n > 0 and show(n) or nil end       -- 0: C's own default
local function text(v) return v and tostring(v) or nil end

local function clocks(list)                             -- nil when none is set
  local out = {}
  for i, name in ipairs(picture.CLOCKS) do out[i] = { name, some(list[i], picture.duration) } end
  out = members(out)
  return #out > 0 and out or nil
end

-- ---- policies

local function options(instance)
  local out = {}
  for i, name in ipairs(sorted(instance.def.options)) do
    local value, kind = instance.options[name], instance.def.options[name].kinds[1]
    if kind == "file" and type(value) == "table" then value = value.path end
    if kind == "size" and math.type(value) == "integer" then value = picture.size(value) end
    out[i] = { name, data(value) }
  end
  return members(out)
end

local function on_error(p)
  local open = array {}
  for _, hook in ipairs(sorted(p.instance.def.hooks)) do
    if hook ~= "init" and hook ~= "prepare" and hook ~= "log" and picture.is_open(p, hook) then open[#open + 1] = hook end
  end
  if #open == 0 then return "closed" end
  return members { { "open", open } }
end

local function one_policy(p)
  local def = p.instance.def
  return members {
    { "name", p.name }, { "policy", def.name ~= p.name and def.name or nil }, { "at", picture.part_of(def) or ("%s:%d"):format(def.file, def.line) },
    { "mode", p.instance.mode }, { "on_error", on_error(p) }, { "only_if", p.only_if and place(p.only_if) or nil }, { "options", options(p.instance) },
  }
end

-- ---- the rest

-- Their names, one when all are the same.
local function fronts(r)
  local names, seen = {}, {}
  for _, f in ipairs(r.fronts) do
    if not seen[f.name] then names[#names + 1], seen[f.name] = f.name, true end
  end
  return #names == 1 and names[1] or array(names)
end

local function offers(r)
  if not r.table.offers then return nil end
  local out = {}
  for i, name in ipairs(r.table.offers.names) do out[i] = { name, array(r.table.offers.plans[name]) } end
  return members(out)
end

local function retry(r)
  return r and members { { "times", r.times }, { "backoff", some(r.backoff, picture.duration) }, { "max", some(r.max, picture.duration) } }
end

local function part(t, ...)
  local out = {}
  for i, name in ipairs { ... } do out[i] = { name, t and t[name] } end
  return t and members(out)
end

local function route(r, path)
  if r.files then return members { { "path", array(r.paths) }, { "files", r.files } } end
  local policies, off = array {}, array {}
  for i, p in ipairs(r.policies) do policies[i] = one_policy(p) end
  for _, o in ipairs(policy.off) do
    if o.path:sub(1, #path + 1) == path .. "." then off[#off + 1] = o.name end
  end
  return members {
    { "path", array(r.paths) }, { "front", fronts(r) }, { "models", offers(r) }, { "target", array(r.plan) }, { "timeout", clocks(r.clocks) },
    { "heartbeat", picture.duration(r.heartbeat) }, { "prerelease", part(picture.window(r), "chars", "time") }, { "on_death", r.on_death },
    { "hedge", part(picture.hedge(r), "after", "budget") }, { "retry", retry(r.retry) },
    { "policies", policies }, { "off", #off > 0 and off or nil },
  }
end

local function whole_number(n) return n end

local function breaker(t) return members { { "failures", t.failures }, { "window", picture.duration(t.window) }, { "open", picture.duration(t.open) } } end

local function probe(p, t)
  return members { { "url", p.url }, { "every", picture.duration(p.every) }, { "timeout", picture.duration(p.timeout) }, { "healthy", t.healthy }, { "unhealthy", t.unhealthy } }
end

local function pool(p)
  local names, weights = array {}, {}
  for i, member in ipairs(p.members) do names[i], weights[i] = member.name, { member.name, member.weight } end
  return members {
    { "pool", names }, { "balance", p.least_busy and "least_busy" or "weighted" }, { "weights", weights }, { "affinity", p.affinity and (picture.affinity(p.affinity) or place(p.affinity)) },
  }
end

local function model(m)
  if m.pool then return pool(m.pool) end
  local t = m.target
  return members {
    { "provider", m.dialect and m.dialect.name }, { "model", m.table.model }, { "url", m.url }, { "key", text(m.table.key) }, { "ca", m.ca },
    { "answer", m.answer and place(m.answer) or nil }, { "timeout", clocks(m.clocks) }, { "prefill", data(m.prefill_said) },
    { "options", m.options and data(m.options) },
    { "max_parallel", t and some(t.max_parallel, whole_number) }, { "breaker", t and (t.failures > 0 and breaker(t)) }, { "probe", m.probe and probe(m.probe, t) },
    { "retry", retry(m.retry) },
  }
end

local function service(s, auth)
  if s.answer then return members { { "answer", place(s.answer) } } end
  return members {
    { "url", s.url or s.place }, { "user", s.user }, { "auth", text(auth) }, { "prefix", s.prefix }, { "ca", s.ca }, { "timeout", picture.duration(s.timeout) },
    { "connect", some(s.connect, picture.duration) },
    { "max_parallel", some(s.max_parallel, function(n) return n end) }, { "max_body", picture.size(s.max_body) },
  }
end

-- By name, in the order of the names.
local function named(list, show)
  local out = {}
  for _, item in ipairs(list) do out[#out + 1] = { item.name, show(item) } end
  table.sort(out, function(a, b) return a[1] < b[1] end)
  return members(out)
end

local function whole(g, at)
  local auth, services, l = require("sluice.service").auth, {}, g.limits
  for _, list in ipairs { g.services, g.lua_services } do table.move(list, 1, #list, #services + 1, services) end
  return members {
    { "api", 1 }, { "listen", (g.host:find ":" and "[%s]:%d" or "%s:%d"):format(g.host, g.port) }, { "trusted_proxies", array(g.trusted) }, { "workers", g.workers },
    { "drain", picture.duration(g.drain) }, { "memory", some(g.memory, picture.size) }, { "generations", g.generations },
    { "snapshot", g.snapshot and members { { "file", g.snapshot }, { "every", picture.duration(g.snapshot_every) } } },
    { "responses", members { { "keep", g.responses_keep > 0 and picture.duration(g.responses_keep) or false }, { "max_bytes", picture.size(g.responses_bytes) } } },
    { "limits", members {
      { "head", some(l.head_bytes, picture.size) }, { "body", some(l.body_bytes, picture.size) }, { "connections", some(l.connections, function(n) return n end) },
      { "head_timeout", some(l.head_ms, picture.duration) }, { "body_timeout", some(l.body_ms, picture.duration) },
      { "idle_timeout", some(l.idle_ms, picture.duration) }, { "write_stall", some(l.stall_ms, picture.duration) },
    } },
    { "services", named(services, function(s) return service(s, auth[s.name]) end) },
    { "models", named(g.models, model) },
    { "routes", named(g.routes, function(r) return route(r, at:child("routes"):child(r.name).path) end) },
  }
end

-- ---- as JSON, as an outline

local function is_list(v) return host.json.is_array(v) end

local function json(v, indent)
  if type(v) ~= "table" then return host.json.encode(v) end
  local out, inner, list = {}, indent .. "  ", is_list(v)
  for _, item in ipairs(v) do
    out[#out + 1] = list and inner .. json(item, inner) or ("%s%s: %s"):format(inner, host.json.encode(item[1]), json(item[2], inner))
  end
  if #out == 0 then return list and "[]" or "{}" end
  return ("%s\n%s\n%s%s"):format(list and "[" or "{", table.concat(out, ",\n"), indent, list and "]" or "}")
end

local function word(v)
  if type(v) ~= "string" then return tostring(v) end
  return v:find "^[%w/<%[_.][%w%s%-:/._*@#<>%[%]]*$" and v or (("%q"):format(v):gsub("\\\n", "\\n"))
end

-- A list of plain values, on one line; nil when it holds more than that.
local function in_line(list)
  local out = {}
  for i, item in ipairs(list) do
    if type(item) == "table" then return nil end
    out[i] = word(item)
  end
  return #out > 0 and table.concat(out, ", ") or "none"
end

local outline

local function line(name, value, indent, out)
  local plain = type(value) ~= "table" and word(value) or is_list(value) and in_line(value)
  if plain then
    out[#out + 1] = ("%s%s %s"):format(indent, name, plain)
  elseif #value > 0 then
    out[#out + 1] = indent .. name
    outline(value, indent .. "  ", out)
  end
end

function outline(v, indent, out)
  for _, item in ipairs(v) do
    if not is_list(v) then
      line(item[1], item[2], indent, out)
    elseif type(item) ~= "table" or is_list(item) or #item == 0 then
      line("-", type(item) == "table" and array(item) or item, indent, out)
    else
      local first = #out + 1
      outline(item, indent .. "  ", out)
      out[first] = indent .. "- " .. out[first]:sub(#indent + 3)
    end
  end
  return out
end

return function(_, asked)
  local kept = load.kept
  local told = whole(kept.gateway, kept.at)
  if asked.json then return 0, json(told, "") .. "\n" end
  return 0, table.concat(outline(told, "", {}), "\n") .. "\n"
end
