-- Text for people: wrapped, in columns.
local M = { WIDTH = 100 }

-- Words of `text` in lines of at most `width` columns; `indent` stands before each. Line ends of the text stay.
function M.wrap(text, indent, width)
  local out = {}
  width = (width or M.WIDTH) - #indent
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local now = ""
    for word in line:gmatch "%S+" do
      if now ~= "" and utf8.len(now) + 1 + utf8.len(word) > width then
        out[#out + 1] = indent .. now
        now = word
      else
        now = now == "" and word or now .. " " .. word
      end
    end
    out[#out + 1] = now ~= "" and indent .. now or ""
  end
  return table.concat(out, "\n")
end

local function width_of(s) return utf8.len(s) or #s end

-- Rows of texts below each other; the last column is wrapped. No trailing blanks.
function M.columns(rows, indent)
  local wide = {}
  for _, row in ipairs(rows) do
    for i = 1, #row - 1 do wide[i] = math.max(wide[i] or 0, width_of(row[i])) end
  end
  local out = {}
  for _, row in ipairs(rows) do
    local line = indent
    for i = 1, #row - 1 do line = line .. row[i] .. (" "):rep(wide[i] - width_of(row[i]) + 2) end
    local room = (" "):rep(width_of(line))
    local last = M.wrap(row[#row], room, math.max(M.WIDTH, #room + 40)):sub(#room + 1)
    out[#out + 1] = ((line .. last):gsub("%s+$", ""))
  end
  return table.concat(out, "\n")
end

-- The first sentence.
function M.first(text)
  return text:match "^(.-%.)%s" or text
end

-- Lua text, each line indented.
function M.code(text, indent)
  local clean = text:gsub("%s+$", "")
  return (clean:gsub("[^\n]+", function(line) return indent .. line end))
end

return M
