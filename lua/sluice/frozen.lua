-- Read-only views of tables, and tables that refuse unknown names.
local host = require "sluice.host"
local suggest = require "sluice.suggest"

local M = {}

-- A deep read-only view. With `what` reading an unknown name is an error ("no option "x" in policy ...").
-- `optional`: names that may be absent.
function M.freeze(t, what, optional)
  local real = {}
  for k, v in pairs(t) do
    real[k] = type(v) == "table" and getmetatable(v) == nil and M.freeze(v) or v
  end
  if what then
    setmetatable(real, { __index = function(_, k)
      if optional and optional[k] then return nil end
      local known = {}
      for name in pairs(real) do known[name] = true end
      for name in pairs(optional or {}) do known[name] = true end
      error(('no %s "%s"%s'):format(what, tostring(k), suggest.hint(k, known)), 2)
    end })
  end
  return host.view(real)
end

-- A library as scripts see it: its functions, nothing else, not changeable.
function M.library(name, functions, missing)
  local real = {}
  for k, v in pairs(functions) do real[k] = v end
  setmetatable(real, { __index = function(_, k)
    local why = missing and missing[k]
    if why then error(why, 2) end
    error(('there is no %s.%s here%s'):format(name, tostring(k), suggest.hint(k, real)), 2)
  end })
  return host.view(real)
end

return M
