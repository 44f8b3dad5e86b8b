-- The report of `sluice test --coverage`. files: a list of { path =, lines = { [line] = whether it ran } }.

-- "12, 20-31": what did not run. Lines without code in between part nothing; one that ran does.
local function gaps(lines)
  local numbers, out, first, last = {}, {}, nil, nil
  for n in pairs(lines) do numbers[#numbers + 1] = n end
  table.sort(numbers)
  local function close()
    if first then out[#out + 1] = first == last and tostring(first) or ("%d-%d"):format(first, last) end
    first = nil
  end
  for _, n in ipairs(numbers) do
    if lines[n] then
      close()
    else
      first, last = first or n, n
    end
  end
  close()
  return table.concat(out, ", "), #numbers
end

-- Rounded down: 100 % is all.
local function percent(ran, all) return all == 0 and 100.0 or (ran * 1000 // all) / 10 end

return function(files)
  local here = require "pl.path".currentdir() .. "/"
  local out, ran_in_all, all, wide = { "coverage: lines that ran" }, 0, 0, 0
  for _, f in ipairs(files) do
    if f.path:sub(1, #here) == here then f.path = f.path:sub(#here + 1) end
    wide = math.max(wide, #f.path)
  end
  table.sort(files, function(a, b) return a.path < b.path end)
  for _, f in ipairs(files) do
    local ran = 0
    for _, yes in pairs(f.lines) do ran = ran + (yes and 1 or 0) end
    local missing, n = gaps(f.lines)
    out[#out + 1] = ("  %5.1f %%  %s%s"):format(percent(ran, n), f.path, missing ~= "" and (" "):rep(wide - #f.path) .. "  not: " .. missing or "")
    ran_in_all, all = ran_in_all + ran, all + n
  end
  if #files == 0 then return "coverage: no policy was loaded from a file" end
  out[#out + 1] = ("  %5.1f %%  of %d lines in %d file%s"):format(percent(ran_in_all, all), all, #files, #files == 1 and "" or "s")
  return table.concat(out, "\n")
end
