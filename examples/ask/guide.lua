-- A Lua model: answers questions about Sluice from its own guide (guide_text.lua). No key, no internet.
-- It finds the section whose words fit the question best and streams it at a pace that a person can read.
local sluice = require "sluice"
local sections = require "guide_text"

local PACE = "33ms"                                   -- about 30 pieces a second

local COMMON = {}
for word in ("a an and are as at be by can do does for from get has have how i if in is it its me my no not of on or our please say show so "
  .. "sluice tell that the their there this to use used want was we what when where which who why will with work works you your"):gmatch "%S+" do
  COMMON[word] = true
end

-- "filters", "filtering" and "filter" are one word here.
local function stem(word)
  for _, ending in ipairs { "ing", "ies", "es", "s", "ed" } do
    if #word > #ending + 3 and word:sub(-#ending) == ending then return word:sub(1, -#ending - 1) end
  end
  return word
end

local function words(text)
  local found = {}
  for word in text:lower():gmatch "[%w_]+" do
    if not COMMON[word] then
      local root = stem(word)
      found[root] = (found[root] or 0) + 1
    end
  end
  return found
end

-- Worked out once, when the file is loaded: how often each word stands in each section, and in how many sections it stands.
local index, spread = {}, {}
for i, section in ipairs(sections) do
  index[i] = { title = words(section.title .. " " .. (section.also or "")), body = words(section.text) }
  local seen = {}
  for _, part in pairs(index[i]) do
    for word in pairs(part) do seen[word] = true end
  end
  for word in pairs(seen) do spread[word] = (spread[word] or 0) + 1 end
end

local function score(asked, entry)
  local sum = 0
  for word in pairs(asked) do
    local rare = spread[word] and math.log(1 + #sections / spread[word]) or 0
    sum = sum + rare * ((entry.title[word] and 4 or 0) + math.min(entry.body[word] or 0, 3))
  end
  return sum
end

local function topics()
  local lines = {}
  for _, section in ipairs(sections) do lines[#lines + 1] = "- " .. section.title end
  return "I answer from Sluice's own guide and found nothing there that fits your question. I know about:\n\n" .. table.concat(lines, "\n")
    .. "\n\nSet `LLM_BASE_URL` and `LLM_API_KEY` to put a real model here."
end

local function answer_to(question)
  local asked = words(question)
  if next(asked) == nil and question:lower():find("sluice", 1, true) then return sections[1] end
  local best, best_score = nil, 0
  for i, entry in ipairs(index) do
    local s = score(asked, entry)
    if s > best_score then best, best_score = sections[i], s end
  end
  return best
end

return function(req, out)
  local section = answer_to(req:last_user())
  local text = section and ("## " .. section.title .. "\n\n" .. section.text) or topics()
  for piece in text:gmatch "%s*%S+" do                -- a word with the blanks before it
    out:text(piece)
    sluice.sleep(PACE)
  end
end
