-- Names that an operator's file uses before all that it declares is known: services and models. config.lua looks at them when it is.
local M = { service = {}, model = {} }                  -- lists of { name, function(text) that complains where the name is written, kind }: of a service "redis" or nil

function M.add(what, name, complain, kind)
  local list = M[what]
  list[#list + 1] = { name, complain, kind }
end

return M
