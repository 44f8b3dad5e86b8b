-- Where in a spec we are: the first frame that is none of ours.
local M = {}

local function ours(source) return source:find("lua/sluice/testing", 1, true) ~= nil end

-- The spec's file, line, and its level for error() in the caller.
function M.where()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    if info.currentline > 0 and not ours(info.source) then return info.source:gsub("^@", ""), info.currentline, level - 1 end
    level = level + 1
  end
end

-- Raises an error at that line.
function M.blame(text)
  local _, _, level = M.where()
  error(text, level or 0)
end

-- A table of settings may have these names only.
function M.known(t, names, what)
  for name in pairs(t) do
    if not names[name] then
      local list = {}
      for known in pairs(names) do list[#list + 1] = known end
      table.sort(list)
      M.blame(('%s has no "%s" (it has %s)'):format(what, tostring(name), table.concat(list, ", ")))
    end
  end
end

-- "800ms" or "2s" in milliseconds.
function M.milliseconds(duration)
  local n, unit = tostring(duration):match "^(%d+%.?%d*)(%a+)$"
  local scale = ({ ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 })[unit]
  if not scale then M.blame(('a duration is such as "800ms" or "2s", not "%s"'):format(tostring(duration))) end
  return math.floor(tonumber(n) * scale)
end

return M
