-- The tools of the command line that are written in Lua. Each is a function(words, options) -> exit code, text for stdout, text for stderr.
local M = {}

local tools = {
  check = function() return require "sluice.tools.check" end,
  config = function() return require "sluice.tools.config" end,
  explain = function() return require "sluice.tools.explain" end,
  help = function() return require "sluice.tools.help" end,
  key = function() return require "sluice.tools.key" end,
  types = function() return require "sluice.tools.types" end,
}

-- Called by script/tool.c with what the operator wrote: words, and options such as "--json".
function M.run(name, ...)
  local words, options = {}, {}
  for _, arg in ipairs { ... } do
    local option = arg:match "^%-%-(%a+)$"
    if option then options[option] = true else words[#words + 1] = arg end
  end
  local code, out, err = tools[name]()(words, options)
  return code, out or "", err or ""
end

return M
