-- Lines of the log (logfmt, as src/base/log.h writes it), read.
local M = {}

local ESCAPES = { n = "\n", r = "\r", t = "\t" }

local function unquoted(quoted)
  return (quoted:gsub("\\(.)(%x*)", function(c, digits)
    if c == "u" then return utf8.char(tonumber(digits:sub(1, 4), 16)) .. digits:sub(5) end
    if c == "x" then return string.char(tonumber(digits:sub(1, 2), 16)) .. digits:sub(3) end
    return (ESCAPES[c] or c) .. digits
  end))
end

-- A line as a table: level, event, line, and each field as a text.
function M.read(line)
  local level, event, at = line:match "^%S+ (%S+) (%S+)()"
  local fields = { level = level, event = event, line = line }
  while true do
    local name, start = line:match("^ ([^=%s]+)=()", at)
    if not name then return fields end
    if line:sub(start, start) == '"' then
      local stop = start + 1
      while line:sub(stop, stop) ~= '"' do stop = stop + (line:sub(stop, stop) == "\\" and 2 or 1) end
      fields[name], at = unquoted(line:sub(start + 1, stop - 1)), stop + 1
    else
      fields[name], at = line:match("^(%S*)()", start)
    end
  end
end

return M
