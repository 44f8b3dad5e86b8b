-- Policies: `local P = sluice.policy { ... }`, then `function P.validate(req, ctx) ... end`. What is wrong is noted at the line where it is written.
local host = require "sluice.host"
local complain = require "sluice.complain"
local known_sets = require "sluice.known"
local locate = require "sluice.locate"
local option = require "sluice.option"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"
local frozen = require "sluice.frozen"

local M = {}

M.hooks = { "accept", "validate", "route", "prompt", "attempt", "fallback", "response", "tool_call", "finish", "error", "log" }   -- the order of enum hook
local runs = {}
for _, h in ipairs(M.hooks) do runs[h] = true end
runs.init, runs.prepare = true, true                    -- once a VM; once a use, while the file loads; the others once an exchange
local all_hooks = { filter = true }
for h in pairs(runs) do all_hooks[h] = true end

local CHANNELS = { content = 0, reasoning = 1, refusal = 2, tool_args = 3 }
local DEFAULT_HOLD = 64 * 1024
local PARALLEL_MAX, OPTIMISTIC_PARALLEL = 16, 4         -- checks of one filter at a time

M.definitions = setmetatable({}, { __mode = "k" })      -- P -> what was said about it
M.part_names = setmetatable({}, { __mode = "k" })       -- what makes a part -> its name in sluice.parts

-- Since the last begin(): every definition, in order, and every place on a route that was switched off. For explain and the lints.
function M.begin() M.defined, M.off = {}, {} end
M.begin()

local function here(text) complain.here(text) end

-- ---- filters

local KIND = { raw = 0, match = 1, units = 2 }
M.FILTER_SHADOW = 3                                     -- as in script/gateway.h
local UNITS = { delta = 0, word = 1, line = 2, sentence = 3, paragraph = 4, all = 5 }
local UNIT_CHARS = 6

local filter_fields = { text = true, check = true, match = true, replace = true, on = true, unit = true, when = true, max_hold = true, overflow = true, raw_json = true,
  parallel = true, optimistic = true, changes = true }
local filter_known = {}
for k in pairs(filter_fields) do filter_known[k] = true end

-- A unit as C wants it: kind, chars, overlap; or nil and what is wrong.
local function unit_of(u, judges)
  if UNITS[u] then return UNITS[u], 0, 0 end
  if type(u) ~= "table" then
    return nil, ("unit must be %s, { chars =, overlap = } or a function(ctx), is %s%s"):format(suggest.list(UNITS), schema.show(u), type(u) == "string" and suggest.hint(u, UNITS) or "")
  end
  for k in pairs(u) do
    if k ~= "chars" and k ~= "overlap" then return nil, ('unit has no "%s": write { chars =, overlap = }'):format(tostring(k)) end
  end
  local overlap = u.overlap or 0
  if math.type(u.chars) ~= "integer" or u.chars < 1 then return nil, ("unit.chars must be a whole number, at least 1, is %s"):format(schema.show(u.chars)) end
  if math.type(overlap) ~= "integer" or overlap < 0 or overlap > 10000 then return nil, ("unit.overlap must be a whole number from 0 to 10000, is %s"):format(schema.show(overlap)) end
  if overlap > 0 and not judges then return nil, "unit.overlap is for check, which only judges: text would get the overlap twice" end
  return UNIT_CHARS, u.chars, overlap
end
M.unit_of = unit_of

local function match_filter(f, bad)
  local out = { kind = KIND.match }
  if type(f.match) == "function" then out.match_fn = f.match else out.match = schema.matcher(f.match, bad) end
  if f.unit ~= nil then bad "match finds by itself what belongs together: it takes no unit" end
  if type(f.replace) == "string" then
    out.replace = f.replace
  elseif type(f.replace) == "function" then
    out.fn = f.replace
  else
    bad(("replace must be a text or a function(m, ctx), is %s"):format(schema.show(f.replace)))
  end
  return out
end

local function unit_filter(f, bad)
  local judges = f.check ~= nil
  local out = { fn = f.text or f.check, judges = judges, kind = KIND.units }
  if judges and f.text ~= nil then bad "text and check exclude each other" end
  if type(out.fn) ~= "function" then bad(("%s must be a function(text, ctx, part), is %s"):format(judges and "check" or "text", schema.show(out.fn))) end
  if type(f.unit) == "function" then
    out.unit_fn, out.unit = f.unit, 0
  elseif (f.unit == nil or f.unit == "delta") and not judges then
    out.kind, out.unit = KIND.raw, 0
  else
    local kind, chars, overlap = unit_of(f.unit or "delta", judges)
    if not kind then bad(chars) end
    out.unit, out.chars, out.overlap = kind, chars, overlap
  end
  return out
end

-- How many checks run at a time, and whether the text waits for them.
local function width(f, out, bad)
  if (f.parallel ~= nil or f.optimistic ~= nil) and f.check == nil then
    bad(("%s is for check, which only judges"):format(f.parallel ~= nil and "parallel" or "optimistic"))
  end
  if f.optimistic ~= nil and type(f.optimistic) ~= "boolean" then bad(("optimistic must be true or false, is %s"):format(schema.show(f.optimistic))) end
  if f.parallel ~= nil and (math.type(f.parallel) ~= "integer" or f.parallel < 1 or f.parallel > PARALLEL_MAX) then
    bad(("parallel must be a whole number from 1 to %d, is %s"):format(PARALLEL_MAX, schema.show(f.parallel)))
  end
  out.optimistic = f.optimistic == true
  out.parallel = f.parallel or f.optimistic and OPTIMISTIC_PARALLEL or 1
end

local function one_filter(f, name)
  local what = ('filter of policy "%s"'):format(name)
  if type(f) ~= "table" then return here(("%s must be a table { text = function(text, ctx, part) ... end }, is %s"):format(what, schema.show(f))) end
  local good = true
  local function bad(text) good = false; here(("%s: %s"):format(what, text)) end
  local meant, keys = suggest.meant(f, filter_known), {}
  for k in pairs(f) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    if not filter_fields[k] then
      bad(('unknown setting "%s"%s'):format(tostring(k), suggest.hint(k, filter_known)))
    end
  end
  if f.match ~= nil and (f.text ~= nil or f.check ~= nil) then bad "match, text and check exclude each other: write a list of filters" end
  local works = f.match or f.text or f.check or meant.match or meant.text or meant.check
  if f.match == nil and f.replace ~= nil and not meant.match then bad "replace needs match" end
  if f.replace == nil and not works then bad "needs match and replace, or text = function(text, ctx, part), or check" end
  local out = good and (f.match ~= nil and match_filter(f, bad) or unit_filter(f, bad)) or {}
  width(f, out, bad)
  if f.changes ~= nil and type(f.changes) ~= "boolean" then bad(("changes must be true or false, is %s"):format(schema.show(f.changes))) end
  if f.changes ~= nil and f.text == nil then bad "changes is for text: check never changes it, match and replace may" end
  out.keeps = f.changes == false
  if f.when ~= nil and type(f.when) ~= "function" then bad(("when must be a function(ctx), is %s"):format(schema.show(f.when))) end
  out.when = f.when
  out.channels = 0
  local on = f.on == nil and { "content", "reasoning", "refusal" } or type(f.on) == "table" and f.on or { f.on }
  for _, c in ipairs(on) do
    if c == "tool_args" and f.text ~= nil and f.raw_json ~= true then
      bad('the channel "tool_args" holds JSON, which text = function may break: use match and replace, or check, or the hook tool_call; or say raw_json = true')
    elseif CHANNELS[c] then
      out.channels = out.channels | (1 << CHANNELS[c])
    else
      bad(('unknown channel %s%s (known: content, reasoning, refusal, tool_args)'):format(schema.show(c), suggest.hint(c, CHANNELS)))
    end
  end
  if out.channels == 0 and good then bad("on names no channel, so it would never run") end
  local hold, why = DEFAULT_HOLD
  if f.max_hold ~= nil then
    hold, why = host.size(tostring(f.max_hold))
    if not hold then bad("max_hold: " .. why) end
  end
  out.max_hold = hold
  if f.overflow ~= nil and f.overflow ~= "stop" and f.overflow ~= "release" then
    bad(('overflow must be "stop" or "release", is %s'):format(schema.show(f.overflow)))
  end
  out.overflow_release = f.overflow == "release"
  return good and out or nil
end

local function filters(v, name)
  local list = {}
  if type(v) == "table" and #v > 0 then
    for _, f in ipairs(v) do list[#list + 1] = one_filter(f, name) end
  else
    list[1] = one_filter(v, name)
  end
  return list
end

-- ---- hooks

local function set_hook(def, k, v)
  if k == "filter" then
    if def.hooks.filter ~= nil then return here(('policy "%s" has a filter already; write a list of filters'):format(def.name)) end
    def.hooks.filter = v
    def.filters = filters(v, def.name)
    def.filter_file, def.filter_line = select(2, complain.script_level())
    return
  end
  if not runs[k] then
    return here(('unknown hook "%s" in policy "%s"%s'):format(tostring(k), def.name, suggest.hint(k, all_hooks)))
  end
  if type(v) ~= "function" then
    return here(('hook "%s" of policy "%s" must be a function, is %s'):format(k, def.name, schema.show(v)))
  end
  if debug.getlocal(v, 1) == "self" then
    return here(('hook "%s" takes no self: write "function P.%s(...)" with a dot, not a colon'):format(k, k))
  end
  if def.hooks[k] then return here(('policy "%s" has two hooks "%s"'):format(def.name, k)) end
  def.hooks[k] = v
end

local policy_mt = {
  __newindex = function(P, k, v)
    if not host.loading() then complain.blame("a policy cannot be changed while requests are served") end
    set_hook(M.definitions[P], k, v)
  end,
  __index = function(P, k)
    local def = M.definitions[P]
    if k == "name" then return def.name end
    if all_hooks[k] then return def.hooks[k] end
    complain.blame(('policy "%s" has no "%s"%s'):format(def.name, tostring(k), suggest.hint(k, all_hooks)))
  end,
  __metatable = false,
  __tostring = function(P) return ("<policy %s>"):format(M.definitions[P].name) end,
  [host.locked] = true,
}

-- ---- on_error

local FILTER_BIT = 31
local function on_error_bits(v, complain_text)
  local bits = 0
  local function set(hook, mode)
    if mode ~= "closed" and mode ~= "open" then
      complain_text(('on_error must be "closed" or "open", is %s'):format(schema.show(mode)))
    elseif mode == "open" then
      if hook == "init" or hook == "prepare" then complain_text(("on_error: %s is always closed: when it fails, the gateway is not loaded"):format(hook)) end
      if hook == "filter" then bits = bits | (1 << FILTER_BIT) end
      for i, h in ipairs(M.hooks) do if h == hook then bits = bits | (1 << (i - 1)) end end
    end
  end
  if v == nil then return 0 end
  if type(v) ~= "table" then
    set("filter", v)
    if v == "open" then for _, h in ipairs(M.hooks) do set(h, v) end end
    return bits
  end
  for hook, mode in pairs(v) do
    if not all_hooks[hook] then
      complain_text(('on_error: unknown hook "%s"%s'):format(tostring(hook), suggest.hint(hook, all_hooks)))
    else
      set(hook, mode)
    end
  end
  return bits
end

local MODES = { enforce = true, monitor = true, off = true }
local function check_mode(mode, complain_text)
  if mode == nil or MODES[mode] then return mode end
  complain_text(('mode must be "enforce", "monitor" or "off", is %s%s'):format(schema.show(mode), suggest.hint(mode, MODES)))
end

-- ---- sluice.policy

local policy_fields = { name = true, api = true, doc = true, options = true, on_error = true, mode = true }
local policy_known = {}
for _, t in ipairs { policy_fields, all_hooks } do for k in pairs(t) do policy_known[k] = true end end

local function policy(spec)
  if type(spec) ~= "table" then complain.blame("sluice.policy takes a table: sluice.policy { name = ... }") end
  local P, def = {}, { hooks = {}, filters = {} }
  local meant = suggest.meant(spec, policy_known)
  if spec.name == nil then
    if not meant.name then here 'sluice.policy: "name" is missing, such as name = "ask"' end
  elseif type(spec.name) ~= "string" or not spec.name:find("^[%w_%-%.]+$") then
    here(('sluice.policy: name must be a word such as "ask", is %s'):format(schema.show(spec.name)))
  else
    def.name = spec.name
  end
  def.named, def.name = def.name ~= nil, def.name or "?"
  if spec.api ~= nil and spec.api ~= 1 then here(('policy "%s": api must be 1, is %s'):format(def.name, schema.show(spec.api))) end
  if spec.doc ~= nil and type(spec.doc) ~= "string" then here(('policy "%s": doc must be a text'):format(def.name)) end
  local function note(text) here(('policy "%s": %s'):format(def.name, text)) end
  def.doc = spec.doc
  def.options = option.schemas(spec.options, def.name)
  def.open_hooks = on_error_bits(spec.on_error, note)
  def.mode = check_mode(spec.mode, note) or "enforce"
  def.file, def.line = select(2, complain.script_level())
  M.definitions[P] = def
  M.defined[#M.defined + 1] = def
  local keys = {}
  for k in pairs(spec) do if not policy_fields[k] then keys[#keys + 1] = k end end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    if all_hooks[k] then
      set_hook(def, k, spec[k])
    else
      here(('sluice.policy has no field "%s"%s'):format(tostring(k), suggest.hint(k, policy_known)))
    end
  end
  return setmetatable(P, policy_mt)
end
M.policy = host.seal(policy)

-- ---- policies made of others

M.composites = setmetatable({}, { __mode = "k" })       -- what sluice.chain and sluice.only_if returned -> what it stands for

local composite_mt = { __metatable = false, __tostring = function() return "<policies>" end, [host.locked] = true,
  __newindex = function() complain.blame "sluice.chain and sluice.only_if cannot be changed" end }

local function composite(t)
  local c = setmetatable({}, composite_mt)
  M.composites[c] = t
  return c
end

M.chain = host.seal(function(list)
  if type(list) ~= "table" or M.definitions[list] or M.composites[list] or #list == 0 then complain.blame "sluice.chain takes a list of policies: sluice.chain { A, B }" end
  return composite { items = list }
end)

M.only_if = host.seal(function(fn, item)
  if type(fn) ~= "function" then complain.blame "sluice.only_if takes a function(ctx, head) and a policy" end
  if item == nil then complain.blame "sluice.only_if: the policy is missing: sluice.only_if(function(ctx, head) ... end, P)" end
  return composite { items = { item }, only_if = fn }
end)

-- Calls each(item, at, conditions) for every policy that an entry of a route stands for.
function M.expand(item, at, each, conditions)
  local t = M.composites[item]
  if not t then return each(item, at, conditions or {}) end
  local all = table.move(conditions or {}, 1, #(conditions or {}), 1, {})
  all[#all + 1] = t.only_if
  for i, inner in ipairs(t.items) do M.expand(inner, #t.items > 1 and at:child(i) or at, each, all) end
end

-- ---- a policy on a route

local entry_fields = { name = true, mode = true, on_error = true }

-- v: a policy, the name of a module that returns one, or a table of either with options. nil after complaining, or when it is off.
function M.instance(v, at, require)
  local given, P = {}, v
  if type(v) == "table" and not M.definitions[v] then
    P = v[1]
    given = v
  end
  if type(P) == "string" then
    if schema.unset(P) then return nil end
    local ok, module = host.base.pcall(require, P)
    if not ok then
      local text = tostring(module)
      if text:find("^[^\n:]+:%d+: ") then complain.raw(text) else at:complain(text) end
      return nil
    end
    if type(module) ~= "table" or not M.definitions[module] then
      return at:complain(('the module "%s" returns no policy: it must end with `return P`'):format(P))
    end
    P = module
  end
  if M.part_names[P] then return at:complain(("write sluice.parts.%s { ... }: a part needs its options, if only { }"):format(M.part_names[P])) end
  local def = type(P) == "table" and M.definitions[P]
  if not def then
    return at:complain(("must be a policy, the name of a module that returns one, or a table of either with options; is %s"):format(schema.show(P)))
  end
  local out, before = { name = def.named and def.name or nil, def = def, open_hooks = def.open_hooks, at = at }, complain.count()
  if given.name ~= nil and (type(given.name) ~= "string" or not given.name:find("^[%w_%-%.]+$")) then
    at:child("name"):complain(("must be a word, is %s"):format(schema.show(given.name)))
  elseif given.name then
    out.name = given.name
  end
  local mode = check_mode(given.mode, function(text) at:child("mode"):complain(text) end) or def.mode
  if given.on_error ~= nil then
    out.open_hooks = on_error_bits(given.on_error, function(text) at:child("on_error"):complain(text) end)
  end
  local values, keys, optional = {}, {}, {}
  for k in pairs(given) do if k ~= 1 and not entry_fields[k] then keys[#keys + 1] = k end end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    if not def.options[k] then
      local hint = suggest.hint(k, def.options)
      if hint == "" and next(def.options) then hint = (" (it has %s)"):format(suggest.list(def.options)) end
      at:child(k):complain(('policy "%s" has no option "%s"%s'):format(def.name, tostring(k), hint))
    elseif not schema.unset(given[k]) then
      values[k] = option.value(def.options[k], given[k], at:child(k))
    end
  end
  for k in pairs(def.options) do optional[k] = true end
  option.absent(def.options, given, values, at, function(k) return ('policy "%s" needs the option "%s"'):format(def.name, k) end)
  def.used, out.given = true, given
  out.file, out.line = at.file, locate.line(at.lines, at.path)
  if mode == "off" then
    M.off[#M.off + 1] = { name = out.name, path = at.path }
    return nil
  end
  out.mode, out.sound = mode, complain.count() == before
  out.options = frozen.freeze(values, ('option in policy "%s":'):format(def.name), optional)
  return out
end

-- For the tools.
M.UNITS, M.CHANNELS, M.KIND, M.FILTER_BIT = UNITS, CHANNELS, KIND, FILTER_BIT
known_sets.add { hook = all_hooks, filter = filter_fields, policy = policy_fields, entry = entry_fields, unit = UNITS, channel = CHANNELS }

return M
