-- The closed sets of names that an operator may write or read, each under the name that the reference (lua/sluice/reference/) calls its owner by. A file
-- with such a set adds it here; `sluice help --audit`, which is a test, holds the reference to exactly these sets.
local M = { sets = {} }

-- sets: { filter = { text = true, ... }, ... }; values may be anything but false.
function M.add(sets)
  for owner, set in pairs(sets) do
    local all = M.sets[owner] or {}
    all[#all + 1] = set
    M.sets[owner] = all
  end
end

-- The names that `owner` has: { name = what was given for it }.
function M.of(owner)
  local names = {}
  for _, set in ipairs(M.sets[owner] or {}) do
    for name, value in pairs(set) do names[name] = value end
  end
  return names
end

return M
