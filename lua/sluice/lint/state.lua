-- What a request's code leaves behind in Lua variables is per worker and lost on a reload.
local host = require "sluice.host"
local code = require "sluice.lint.code"

local INSTEAD = "this is per worker and lost on reload; use sluice.counter%s"

-- A table of the file's own, to which a store leads. A table with weak keys or values is a cache, which may be lost.
local function kept_table(node)
  local root = code.root(node)
  if not root or root.kind ~= "upvalue" or root.name == "_ENV" or not code.is_plain(root.value) then return nil end
  local there = code.actual(node)
  if there ~= nil and type(there) == "table" and not code.is_plain(there) then return nil end
  return root
end

local STORES = { [host.table.insert] = "table.insert", [host.table.remove] = "table.remove", [host.table.sort] = "table.sort", [host.base.rawset] = "rawset" }

return function(kept, warn)
  local seen = {}
  local function look(fn, title, events)
    local file = code.place(fn)
    for e in code.all(events) do
      if e.what == "set_upvalue" and e.slot and e.slot.kind == "upvalue" then
        warn(file, e.line, ('%s writes the upvalue "%s": %s'):format(title, e.slot.name, INSTEAD:format ""))
      end
      local into = e.what == "set" and kept_table(e.of) or e.what == "call" and STORES[code.actual(e.fn) or 0] and kept_table(e.args[1])
      if into then
        warn(file, e.line, ('%s stores into the upvalue "%s": %s'):format(title, into.name, INSTEAD:format ", or ctx.state for one request"))
      end
    end
  end
  for _, subject in ipairs(kept.subjects) do
    if subject.hook ~= "init" then code.each_function(subject, seen, look) end      -- what init sets is meant for its worker
  end
end
