-- What looks like a mistake in a gateway that loads: `sluice check` tells it as warnings. A lint is a function(kept, warn, note): kept is what sluice.load left,
-- with `defined` (the operator's policies) and `subjects` (the functions that a request may run); warn takes file, line and a sentence, and so does note, for what is no
-- mistake but better known.
local code = require "sluice.lint.code"
local policy = require "sluice.policy"

local LINTS = { "state", "names", "waiting", "patterns", "routes" }

local M = {}

-- The warnings, { file, line, text, note = is it a note }, file by file from top to bottom.
function M.run(kept)
  local found, seen, order = {}, {}, { [kept.file] = 0 }
  local function add(file, line, text, note)
    local key = ("%s:%s: %s"):format(file, line, text)
    if seen[key] then return end
    seen[key] = true
    found[#found + 1] = { file = file, line = line, text = text, note = note }
  end
  local function warn(file, line, text) add(file, line, text) end
  local function note(file, line, text) add(file, line, text, true) end
  kept.defined = {}
  for _, def in ipairs(policy.defined) do
    if def.file and kept.sources[def.file] then kept.defined[#kept.defined + 1] = def end
  end
  kept.subjects = code.subjects(kept, kept.defined)
  for _, name in ipairs(LINTS) do require("sluice.lint." .. name)(kept, warn, note) end
  table.sort(found, function(a, b)
    local x, y = order[a.file] or 1, order[b.file] or 1
    if x ~= y then return x < y end
    if a.file ~= b.file then return a.file < b.file end
    if a.line ~= b.line then return a.line < b.line end
    return a.text < b.text
  end)
  return found
end

return M
