-- Mistakes in an operator's files, gathered while they load, so that one run names them all.
local host = require "sluice.host"

local M = {}

local found, order

function M.begin() found, order = {}, {} end

-- Where the function `level` frames up (1: the caller of this) stands: file, line.
function M.where(level)
  local info = debug.getinfo(level + 1, "Sl")
  if not info then return nil end
  return (info.source:gsub("^@", "")), info.currentline
end

-- The operator's code that led here, whatever of ours lies between: its level for error() in the caller, file, line.
function M.script_level()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    if info.currentline > 0 and info.source:sub(1, 12) ~= "@lua/sluice/" then return level - 1, info.source:gsub("^@", ""), info.currentline end
    level = level + 1
  end
end

-- Raises an error at the line of the operator's code that led here.
function M.blame(text)
  local level = M.script_level()
  error(text, level or 0)
end

-- Notes a mistake at that line; outside of loading it is an error there.
function M.here(text)
  local level, file, line = M.script_level()
  if not host.loading() then error(text, level or 0) end
  M.at(file, line, text)
end

-- Notes a mistake. Outside of loading there is nobody to tell: then it is an error.
function M.at(file, line, text)
  if not host.loading() or not found then
    error(line and ("%s:%d: %s"):format(file, line, text) or text, 0)
  end
  order[file or ""] = order[file or ""] or #found + 1
  found[#found + 1] = { file = file, line = line, text = text, n = #found }
end

-- A mistake whose text begins with its own place already ("gateway.lua:3: ...", as errors do).
function M.raw(text)
  local file, line, rest = tostring(text):match("^([^\n]-):(%d+): (.*)$")
  if file then M.at(file, tonumber(line), rest) else M.at(nil, nil, tostring(text)) end
end

function M.count() return found and #found or 0 end

function M.any() return found and #found > 0 end

-- The mistakes as lines: file by file, from top to bottom.
function M.finish()
  table.sort(found, function(a, b)
    local fa, fb = order[a.file or ""], order[b.file or ""]
    if fa ~= fb then return fa < fb end
    if (a.line or 0) ~= (b.line or 0) then return (a.line or 0) < (b.line or 0) end
    return a.n < b.n
  end)
  local lines, seen = {}, {}
  for _, m in ipairs(found) do
    local text = m.line and ("%s:%d: %s"):format(m.file, m.line, m.text) or m.file and ("%s: %s"):format(m.file, m.text) or m.text
    text = text:gsub("[\r\n]+%s*", " ")
    if not seen[text] then lines[#lines + 1] = text end
    seen[text] = true
  end
  found, order = nil, nil
  return lines
end

return M
