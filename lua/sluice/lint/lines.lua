-- The lines of a compiled file that can run, with all functions in it: those that hold an instruction which something leads to. (A function that returns
-- on every way has one more return at its `end`, which nothing leads to.) These are the lines that a line hook tells.
local bytecode = require "sluice.lint.bytecode"
local flow = require "sluice.lint.flow"

local function reachable(code)
  local seen, work = {}, { 1 }
  while #work > 0 do
    local pc = table.remove(work)
    if code[pc] and not seen[pc] then
      seen[pc] = true
      for _, to in ipairs { flow.goes(pc, code[pc]) } do work[#work + 1] = to end
    end
  end
  return seen
end

local function add(p, set)
  local seen = reachable(p.code)
  for pc, i in ipairs(p.code) do
    if seen[pc] and i.op ~= "VARARGPREP" then set[i.line] = true end      -- hooks begin behind that one
  end
  for i = 0, #p.inner do
    if p.inner[i] then add(p.inner[i], set) end
  end
end

-- A list of numbers; empty when the code cannot be read.
return function(chunk)
  local p, set, list = bytecode.read(chunk), {}, {}
  if p then add(p, set) end
  for line in pairs(set) do list[#list + 1] = line end
  table.sort(list)
  return list
end
