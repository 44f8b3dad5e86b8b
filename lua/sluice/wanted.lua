-- Names that an operator's file uses before all that it declares is known: services and models. config.lua looks at them when it is.
local M = { service = {}, model = {} }                  -- lists of { name, function(text) that complains where the name is written }

function M.add(what, name, complain)
  local list = M[what]
  list[#list + 1] = { name, complain }
end

return M
