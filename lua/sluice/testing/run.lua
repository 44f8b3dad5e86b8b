-- `sluice test`: busted with the words that the operator gave it (in `arg`), and behind its own report what else was asked for.
local coverage = require "sluice.testing.coverage"
local wants = require "sluice.testing.wants"

local function count(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

local function told()
  local out, written = {}, 0
  if wants.fuzz > 0 then
    local f = wants.fuzzed
    out[#out + 1] = ("fuzz: %s of %s, %s with failing services; seed %d (the same again: --fuzz %d --seed %d)"):format(
      count(f.cuttings, "random cutting"), count(f.exchanges, "exchange"), count(f.failures, "run"), wants.seed, wants.fuzz, wants.seed)
  end
  for _ in pairs(wants.written) do written = written + 1 end
  if wants.update then out[#out + 1] = ("golden answers: %d written"):format(written) end
  if wants.lines then out[#out + 1] = coverage(wants.lines()) end
  return table.concat(out, "\n") .. (#out > 0 and "\n" or "")
end

local EXIT = {}

-- given: what `wants` is to hold. The exit code.
return function(given)
  for name, value in pairs(given) do wants[name] = value end
  local found, compatibility = pcall(require, "busted.compatibility")
  if not found then
    io.stderr:write("sluice: test: busted is missing (Debian: lua-busted)\n", compatibility, "\n")
    return 2
  end
  local code = 0
  compatibility.exit = function(n)                       -- before the runner takes it: this program ends by itself
    code = n == 0 and 0 or 1
    error(EXIT, 0)
  end
  local ok, why = pcall(load("require 'busted.runner' { standalone = false }", "=busted"))
  if not ok and why ~= EXIT then error(why, 0) end
  io.stdout:write(told())
  return code
end
