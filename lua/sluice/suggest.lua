-- "did you mean": the known word nearest to a mistyped one.
local M = {}

-- Edits (insert, delete, replace, swap neighbours) between two words, at most `limit` + 1.
function M.distance(a, b, limit)
  limit = limit or 100
  if math.abs(#a - #b) > limit then return limit + 1 end
  local before, last, now = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    now[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(last[j] + 1, now[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      now[j] = best
    end
    before, last, now = last, now, before
  end
  return last[#b]
end

-- The nearest of `known` (a list, or a table whose keys are the words), or nil when none is near.
function M.nearest(word, known)
  if type(word) ~= "string" or #word > 64 then return nil end
  local words = {}
  if #known > 0 then
    for _, w in ipairs(known) do words[#words + 1] = w end
  else
    for w in pairs(known) do if type(w) == "string" then words[#words + 1] = w end end
  end
  table.sort(words)
  local limit = math.max(1, #word // 3)
  local best, found
  for _, w in ipairs(words) do
    local d = M.distance(word:lower(), w:lower(), limit)
    if d <= limit and (not best or d < best) then best, found = d, w end
  end
  return found
end

-- The names of `known` that the unknown ones in `t` were meant to be, as a set: a mistyped name is one mistake, what is missing because of it no other.
function M.meant(t, known)
  local meant = {}
  for k in pairs(t) do
    local near = known[k] == nil and M.nearest(k, known)
    if near then meant[near] = true end
  end
  return meant
end

-- `; did you mean "x"?` or "".
function M.hint(word, known)
  local near = M.nearest(word, known)
  return near and ('; did you mean "%s"?'):format(near) or ""
end

-- The words of a list or the keys of a table, sorted, as text.
function M.list(known)
  local words = {}
  if #known > 0 then
    for _, w in ipairs(known) do words[#words + 1] = tostring(w) end
  else
    for w in pairs(known) do words[#words + 1] = tostring(w) end
    table.sort(words)
  end
  return table.concat(words, ", ")
end

return M
