-- Waiting where Lua cannot be left in the middle (inside string.gsub, table.sort) or where nobody waits (the hook error, filter.when). And which counters and
-- limiters wait because of where they are, which is not seen where they are used.
local host = require "sluice.host"
local code = require "sluice.lint.code"
local real = require "sluice.tools.real"
local reference = require "sluice.reference"
local store = require "sluice.store"

-- The functions that wait, as the reference says: function -> name.
local function waiting_functions()
  local there, out = real.names(), {}
  for _, entry in ipairs(reference.entries) do
    if entry.waits and type(there[entry.name]) == "function" then out[there[entry.name]] = entry.name end
  end
  for fn, name in pairs(store.methods) do out[fn] = name .. ' (of one with a store)' end
  return out
end

-- The first wait among these events: its name, its line, its file when it is in another function.
local function wait_in(events, waits, seen)
  for e in code.all(events) do
    local callee = e.what == "call" and code.actual(e.fn)
    if callee and waits[callee] then return waits[callee], e.line end
    if callee and code.is_theirs(callee) and not seen[callee] then
      seen[callee] = true
      local name, line = wait_in(code.events(callee), waits, seen)
      if name then return name, line, (code.place(callee)) end
    end
  end
end

-- Which function that cannot be left takes this call's callback, if it is one.
local function cannot_be_left(e)
  local callee, key = code.actual(e.fn), e.fn and e.fn.kind == "field" and e.fn.key
  if callee == host.table.sort then return "table.sort" end
  if callee == host.string.gsub then return "string.gsub" end
  if key == "gsub" then return "gsub" end
end

local function callback(node)
  if not node then return nil end
  if node.kind == "closure" then return node.events or {} end
  local fn = code.actual(node)
  return code.is_theirs(fn) and code.events(fn) or nil
end

return function(kept, warn, note)
  for _, m in ipairs(store.made) do
    if kept.sources[m.file] then note(m.file, m.line, ('the %s "%s" is in the Redis server "%s": its methods wait, and raise when it does not answer'):format(m.what, m.name, m.server)) end
  end
  local waits, seen = waiting_functions(), {}
  for _, subject in ipairs(kept.subjects) do
    local top = code.place(subject.fn)
    if subject.no_wait or subject.hook == "error" then
      local name, line, file = wait_in(code.events(subject.fn, subject.params), waits, {})
      if name then warn(file or top, line, ("%s calls %s, but it may not wait"):format(subject.title, name)) end
    end
    code.each_function(subject, seen, function(fn, title, events)
      for e in code.all(events) do
        local where = e.what == "call" and cannot_be_left(e)
        for _, arg in ipairs(where and e.args or {}) do
          local inside = callback(arg)
          local name, line, file = wait_in(inside or {}, waits, {})
          if name then warn(file or code.place(fn), line, ("%s calls %s inside %s, which cannot be left in the middle: collect first, then wait"):format(title, name, where)) end
        end
      end
    end)
  end
end
