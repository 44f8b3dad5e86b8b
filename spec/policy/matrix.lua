-- What a front and a dialect were seen to do together, for the matrix of the README: one JSON line for each in SLUICE_MATRIX_DIR/golden.jsonl, if that
-- directory is named. Who wants the matrix joins such files.
local M = {}

local dir, seen, file = os.getenv "SLUICE_MATRIX_DIR", {}, nil

-- kind: "plain" (not streaming), "stream", "tools", "errors", "usage" or "reasoning".
function M.passed(front, dialect, kind)
  local line = ('{"front":"%s","dialect":"%s","kind":"%s","by":"golden"}\n'):format(front, dialect, kind)
  if not dir or seen[line] then return end
  seen[line] = true
  if not file then
    require("pl.path").mkdir(dir)
    file = assert(io.open(dir .. "/golden.jsonl", "wb"))
  end
  file:write(line)
  file:flush()
end

return M
