-- The options of a policy: what it declares (`options = { rate = { type = "number", required = true } }`), and the values that a route gives them.
local host = require "sluice.host"
local complain = require "sluice.complain"
local known_sets = require "sluice.known"
local sandbox = require "sluice.sandbox"
local schema = require "sluice.schema"
local service = require "sluice.service"
local store = require "sluice.store"
local suggest = require "sluice.suggest"
local wanted_names = require "sluice.wanted"

local M = {}

local function whole(v) return math.type(v) == "integer" end
local function count(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

local function list(v)
  if type(v) ~= "table" then return nil, "a list" end
  for k in pairs(v) do if math.type(k) ~= "integer" then return nil, "a list" end end
  if count(v) ~= #v then return nil, nil, "the list has holes" end
  return v
end

-- By name: function(value, at) -> the value that hooks read; or nil, what it must be, and why it is not when there is more to say.
local types = {
  string = function(v) return type(v) == "string" and v or nil, "a text" end,
  integer = function(v) return whole(v) and v or nil, "a whole number" end,
  number = function(v) return type(v) == "number" and v == v and math.abs(v) < math.huge and v or nil, "a number" end,
  boolean = function(v) if type(v) == "boolean" then return v end return nil, "true or false" end,
  list = list,
  map = function(v) return type(v) == "table" and v or nil, "a table" end,
  secret = function(v) return host.is_secret(v) and v or nil, 'a secret: sluice.secret "NAME"' end,
  matcher = function(v)                                   -- several, or patterns as texts, become one matcher
    local why
    local m = schema.matcher(v, function(text) why = text end)
    return m, "a matcher such as sluice.match.email", why
  end,
  ["function"] = function(v) return type(v) == "function" and v or nil, "a function" end,
  duration = function(v)                                  -- stays as written, since every API takes it so
    if type(v) ~= "string" and type(v) ~= "number" then return nil, 'a duration such as "800ms"' end
    local ms, why = host.duration(tostring(v))
    if not ms then return nil, nil, why end
    return v
  end,
  size = function(v)                                      -- becomes a number of bytes
    if type(v) ~= "string" and type(v) ~= "number" then return nil, 'a size such as "64kb"' end
    local bytes, why = host.size(tostring(v))
    if not bytes then return nil, nil, why end
    return bytes
  end,
  service = function(v, at) return service.option(v, at), "the name of a service" end,      -- becomes the service
  store = store.option,
  model = function(v, at)
    if type(v) ~= "string" then return nil, "the name of a model" end
    wanted_names.add("model", v, function(text) at:complain(text) end)
    return v
  end,
}

function types.file(v)                                    -- becomes { path =, text = }, read now
  if type(v) ~= "string" then return nil, "the name of a file" end
  local text, path = sandbox.text_file(v)
  if not text then return nil, nil, path end
  return { path = path, text = text }
end

local fields = { type = true, required = true, unless = true, default = true, one_of = true, min = true, max = true, of = true, keys = true, fields = true, doc = true }

local schemas

-- One option as it is declared: { kinds = names of types, o = what was written, of =, keys =, fields = the same for what is in it }; nil after complaining.
local function schema_of(o, what)
  if type(o) ~= "table" then return complain.here(("%s must be described by a table { type =, default =, doc = }"):format(what)) end
  for field in pairs(o) do
    if not fields[field] then complain.here(('%s: unknown setting "%s"%s'):format(what, tostring(field), suggest.hint(field, fields))) end
  end
  local kinds, good = type(o.type) == "table" and o.type or { o.type }, true
  if #kinds == 0 then
    good = false
    if not suggest.meant(o, fields).type then complain.here(what .. ": a type is missing") end
  end
  local holds = false
  for _, t in ipairs(kinds) do
    if not types[t] then good = false; complain.here(('%s: unknown type %s%s'):format(what, schema.show(t), suggest.hint(t, types))) end
    holds = holds or t == "list" or t == "map"
  end
  local s = { kinds = kinds, o = o }
  for _, inner in ipairs { "of", "keys", "fields" } do
    if o[inner] ~= nil and not holds then complain.here(('%s: "%s" is for lists and maps'):format(what, inner)) end
  end
  if o.of ~= nil then s.of = schema_of(o.of, "what is in " .. what) end
  if o.keys ~= nil then s.keys = schema_of(o.keys, "a name in " .. what) end
  if o.fields ~= nil then
    if type(o.fields) ~= "table" then return complain.here(("the fields of %s must be a table"):format(what)) end
    s.fields = schemas(o.fields, function(k) return ('"%s" in %s'):format(tostring(k), what) end)
  end
  return good and s or nil
end

function schemas(options, what_of)
  local out = {}
  for k, o in pairs(options) do out[k] = schema_of(o, what_of(k)) end
  return out
end

function M.schemas(options, name)
  if options == nil then return {} end
  if type(options) ~= "table" then complain.here(('options of policy "%s" must be a table'):format(name)); return {} end
  return schemas(options, function(k) return ('option "%s" of policy "%s"'):format(tostring(k), name) end)
end

-- ---- values

-- What one of the kinds makes of it; nil after complaining.
local function of_kind(s, v, at)
  local expected, why = {}, nil
  for _, kind in ipairs(s.kinds) do
    local value, what, reason = types[kind](v, at)
    if value ~= nil then return value end
    expected[#expected + 1], why = what, reason or why
  end
  at:complain(why or ("must be %s, is %s"):format(table.concat(expected, " or "), schema.show(v)))
end

local function one_of(known, v, at)
  for _, x in ipairs(known) do
    if x == v then return true end
  end
  at:complain(("must be one of %s, is %s%s"):format(suggest.list(known), schema.show(v), suggest.hint(v, known)))
end

-- Is the number, duration, list or map neither too small nor too large?
local function in_bounds(s, got, at)
  local o, n = s.o, got
  local function bound(least, most)
    if o.min and n < o.min then at:complain(least) return false end
    if o.max and n > o.max then at:complain(most) return false end
    return true
  end
  if s.kinds[1] == "duration" then
    n = host.duration(tostring(got))
    return bound(('must be at least "%sms", is %s'):format(o.min, schema.show(got)), ('must be at most "%sms", is %s'):format(o.max, schema.show(got)))
  elseif type(got) == "number" then
    return bound(("must be at least %s, is %s"):format(o.min, tostring(got)), ("must be at most %s, is %s"):format(o.max, tostring(got)))
  elseif type(got) == "table" and (s.kinds[1] == "list" or s.kinds[1] == "map") then
    n = count(got)
    return bound(("must hold at least %s, holds %d"):format(o.min, n), ("must hold at most %s, holds %d"):format(o.max, n))
  end
  return true
end

-- One member of a list or map, checked; nil after complaining.
local function member(s, k, v, at)
  local inner = s.of
  if s.fields then
    inner = s.fields[k]
    if not inner then return at:complain(('there is no "%s" here%s (there are: %s)'):format(tostring(k), suggest.hint(k, s.fields), suggest.list(s.fields))) end
  end
  if s.keys and M.value(s.keys, k, at) == nil then return nil end
  if not inner then return v end
  return M.value(inner, v, at)
end

-- A copy of a list or map with its members as they are to be read.
local function inside(s, t, at)
  local out, names = {}, {}
  for k in pairs(t) do names[#names + 1] = k end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(names) do out[k] = member(s, k, t[k], at:child(k)) end
  if s.fields then M.absent(s.fields, t, out, at, function(k) return ('"%s" is missing'):format(k) end) end
  return out
end

-- The checked value of one option, or nil after complaining.
function M.value(s, v, at)
  if schema.unset(v) then return v end
  local got = of_kind(s, v, at)
  if got == nil then return nil end
  if s.o.one_of and type(got) ~= "function" and not one_of(s.o.one_of, v, at) then return nil end
  if not in_bounds(s, got, at) then return nil end
  if type(got) == "table" and (s.of or s.keys or s.fields) then return inside(s, got, at) end
  return got
end

-- Puts the defaults of what was not `given` into `values`; complains about what must be: needs(name) begins the sentence.
function M.absent(declared, given, values, at, needs)
  local names, meant = {}, suggest.meant(given, declared)
  for k in pairs(declared) do names[#names + 1] = k end
  table.sort(names)
  for _, k in ipairs(names) do
    local o = declared[k].o
    local needed = o.required or o.unless and given[o.unless] == nil
    if given[k] == nil and o.default ~= nil then
      values[k] = M.value(declared[k], o.default, at)
    elseif given[k] == nil and needed and not meant[k] then
      at:complain(("%s%s%s"):format(needs(k), o.unless and (' (or "%s")'):format(o.unless) or "", o.doc and ": " .. o.doc or ""))
    end
  end
end

known_sets.add { option = fields, type = types }

return M
