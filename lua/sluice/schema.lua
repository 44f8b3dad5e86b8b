-- Checks a table that an operator wrote against what it may hold. A checker is `function(value, at) -> normalised value`; it complains through
-- `at` and goes on, so that all mistakes are found in one run. `at` knows the path ("routes.ask.timeout") and the line it is written on.
local host = require "sluice.host"
local complain = require "sluice.complain"
local known_sets = require "sluice.known"
local locate = require "sluice.locate"
local suggest = require "sluice.suggest"

local M = {}

-- The value of a `sluice.env` that was not set (already complained about) passes everywhere.
M.UNSET = "\1unset\1"
local function unset(v) return type(v) == "string" and v:find(M.UNSET, 1, true) ~= nil end

local At = {}
At.__index = At

function M.at(file, lines, path)
  return setmetatable({ file = file, lines = lines, path = path or "" }, At)
end

function At:child(key) return M.at(self.file, self.lines, locate.join(self.path, key)) end

function At:complain(text)
  complain.at(self.file, locate.line(self.lines, self.path), self.path == "" and text or ("%s: %s"):format(self.path, text))
end

local function show(v)
  if type(v) == "string" then
    return #v > 60 and ('the text "%s..."'):format(v:sub(1, 57)) or ('the text "%s"'):format(v)
  end
  if type(v) == "number" or type(v) == "boolean" or v == nil then return tostring(v) end
  return "a " .. type(v)
end
M.show = show

local function must(what)
  return function(v, at) at:complain(("must be %s, is %s"):format(what, show(v))) end
end

function M.text(what, pattern)
  local wrong = must(what or "a text")
  return function(v, at)
    if type(v) ~= "string" or (pattern and not v:find(pattern) and not unset(v)) then return wrong(v, at) end
    return v
  end
end

function M.integer(lowest, highest)
  local wrong = must(("a whole number from %d to %d"):format(lowest, highest))
  return function(v, at)
    if unset(v) then return nil end
    if type(v) == "string" then v = math.tointeger(tonumber(v)) or v end      -- sluice.env gives text
    if type(v) ~= "number" or math.tointeger(v) == nil or v < lowest or v > highest then return wrong(v, at) end
    return math.tointeger(v)
  end
end

local function with_unit(parse)
  return function(v, at)
    if unset(v) then return nil end
    if type(v) == "number" then v = math.type(v) == "integer" and tostring(v) or ("%.14g"):format(v) end
    if type(v) ~= "string" then return must("a text with a unit")(v, at) end
    local n, why = parse(v)
    if not n then return at:complain(why) end
    return n
  end
end

M.duration = with_unit(host.duration)     -- "60s" -> 60000
M.size = with_unit(host.size)             -- "64kb" -> 65536

function M.flag(v, at)
  if type(v) ~= "boolean" then return must("true or false")(v, at) end
  return v
end

function M.func(v, at)
  if type(v) ~= "function" then return must("a function")(v, at) end
  return v
end

-- A table with these members and no others: { name = { checker, required = true } }. `such_as`: how one is written, for who wrote no table.
-- The second result says which members were mistyped: the caller need not miss them.
function M.record(members, what, such_as)
  local wrong = must(such_as and "a table such as " .. such_as or "a table")
  local known = {}
  local sorted = {}
  for name in pairs(members) do known[name], sorted[#sorted + 1] = true, name end
  table.sort(sorted)
  known_sets.add { [what:gsub("^an? ", ""):gsub("^sluice%.", ""):gsub(" dialect$", "")] = members }
  return function(v, at)
    if type(v) ~= "table" then return wrong(v, at) end
    local out = {}
    local meant = suggest.meant(v, known)
    local names = {}
    for k in pairs(v) do names[#names + 1] = k end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    for _, k in ipairs(names) do
      if not known[k] then
        at:child(k):complain(('%s has no setting "%s"%s'):format(what, tostring(k), suggest.hint(k, known)))
      else
        out[k] = members[k][1](v[k], at:child(k))
      end
    end
    for _, k in ipairs(sorted) do
      local member = members[k]
      if member.required and v[k] == nil and not meant[k] then
        at:complain(('"%s" is missing%s'):format(k, type(member.required) == "string" and ": " .. member.required or ""))
      end
    end
    return out, meant
  end
end

-- { name = value, ... } with free names: a list of { name = , value = } sorted by name. `what`: "a model".
function M.map(check, what, pattern)
  return function(v, at)
    if type(v) ~= "table" then return must("a table of named entries")(v, at) end
    local names, out = {}, {}
    for k in pairs(v) do
      if type(k) ~= "string" then
        at:child(k):complain(("%s needs a name: write NAME = ..."):format(what))
      elseif not k:find(pattern) then
        at:child(k):complain(("the name of %s may have letters, digits and %s only, is %s"):format(what, pattern:find(":", 1, true) and "- _ . : /" or "- _ .", show(k)))
      else
        names[#names + 1] = k
      end
    end
    table.sort(names)
    for _, k in ipairs(names) do out[#out + 1] = { name = k, value = check(v[k], at:child(k)) } end
    return out
  end
end

-- A list; a single value stands for a list of one.
function M.list(check)
  return function(v, at)
    if type(v) ~= "table" then return { check(v, at) } end
    local out, n = {}, 0
    for k in pairs(v) do
      n = n + 1
      if math.type(k) ~= "integer" then
        at:child(k):complain(("a list has no members with names, but here is %q"):format(tostring(k)))
        return out
      end
    end
    if n ~= #v then at:complain("the list has holes") end
    for i, item in ipairs(v) do out[#out + 1] = check(item, at:child(i)) end
    return out
  end
end

-- Matchers, or Lua patterns as texts, or a list of either: one matcher.
function M.matcher(v, bad)
  local list = type(v) == "table" and v or { v }
  if #list == 0 then return bad "match names nothing, so it would never run" end
  local out = {}
  for i, m in ipairs(list) do
    if type(m) == "string" then
      local ok, made = host.base.pcall(host.match.pattern, m)
      if not ok then return bad("match: " .. tostring(made)) end
      out[i] = made
    elseif host.is_matcher(m) then
      out[i] = m
    else
      return bad(("match must be a matcher such as sluice.match.email, a Lua pattern, a list of these or a function(ctx), is %s"):format(show(m)))
    end
  end
  return #out == 1 and out[1] or host.match.any(out)
end

M.unset = unset

return M
