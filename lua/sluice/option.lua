-- The options of a policy: what it declares (`options = { rate = { type = "number", required = true } }`), and the values that a route gives them.
local host = require "sluice.host"
local complain = require "sluice.complain"
local known_sets = require "sluice.known"
local sandbox = require "sluice.sandbox"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"

local M = {}

local function whole(v) return math.type(v) == "integer" end
local function is_list(v)
  if type(v) ~= "table" then return false end
  for k in pairs(v) do if math.type(k) ~= "integer" then return false end end
  return true
end

local types = {
  string = function(v) return type(v) == "string" and v or nil, "a text" end,
  integer = function(v) return whole(v) and v or nil, "a whole number" end,
  number = function(v) return type(v) == "number" and v == v and math.abs(v) < math.huge and v or nil, "a number" end,
  boolean = function(v) if type(v) == "boolean" then return v end return nil, "true or false" end,
  list = function(v) return is_list(v) and v or nil, "a list" end,
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
}

function types.file(v)                                    -- becomes { path =, text = }, read now
  if type(v) ~= "string" then return nil, "the name of a file" end
  local text, path = sandbox.text_file(v)
  if not text then return nil, nil, path end
  return { path = path, text = text }
end

local fields = { type = true, required = true, default = true, one_of = true, min = true, max = true, doc = true }

function M.schemas(options, name)
  if options == nil then return {} end
  if type(options) ~= "table" then complain.here(('options of policy "%s" must be a table'):format(name)); return {} end
  local out = {}
  for k, o in pairs(options) do
    local what = ('option "%s" of policy "%s"'):format(tostring(k), name)
    if type(o) ~= "table" then
      complain.here(("%s must be described by a table { type =, default =, doc = }"):format(what))
    else
      for field in pairs(o) do
        if not fields[field] then complain.here(('%s: unknown setting "%s"%s'):format(what, tostring(field), suggest.hint(field, fields))) end
      end
      local kinds, good = type(o.type) == "table" and o.type or { o.type }, true
      if #kinds == 0 then
        good = false
        if not suggest.meant(o, fields).type then complain.here(what .. ": a type is missing") end
      end
      for _, t in ipairs(kinds) do
        if not types[t] then good = false; complain.here(('%s: unknown type %s%s'):format(what, schema.show(t), suggest.hint(t, types))) end
      end
      if good then out[k] = { kinds = kinds, o = o } end
    end
  end
  return out
end

-- The checked value of one option, or nil after complaining.
function M.value(s, v, at)
  local wanted, why = {}, nil
  local got
  for _, kind in ipairs(s.kinds) do
    local value, expected, reason = types[kind](v)
    if value ~= nil then got = value break end
    wanted[#wanted + 1], why = expected, reason or why
  end
  if got == nil then
    if why then at:complain(why) else at:complain(("must be %s, is %s"):format(table.concat(wanted, " or "), schema.show(v))) end
    return nil
  end
  local o = s.o
  if o.one_of and type(got) ~= "function" then
    local known = false
    for _, x in ipairs(o.one_of) do known = known or x == v end
    if not known then
      at:complain(("must be one of %s, is %s%s"):format(suggest.list(o.one_of), schema.show(v), suggest.hint(v, o.one_of)))
      return nil
    end
  end
  if s.kinds[1] == "duration" and o.min and host.duration(tostring(got)) < o.min then
    at:complain(('must be at least "%dms", is %s'):format(o.min, schema.show(v)))
    return nil
  end
  if type(got) == "number" then
    if o.min and got < o.min then at:complain(("must be at least %s, is %s"):format(o.min, tostring(v))) return nil end
    if o.max and got > o.max then at:complain(("must be at most %s, is %s"):format(o.max, tostring(v))) return nil end
  end
  return got
end

known_sets.add { option = fields, type = types }

return M
