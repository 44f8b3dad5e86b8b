-- The text of a conversation, wherever it stands: what req:text, req:map_text and call:map_text go through. What is not here, no policy sees as text: the
-- definitions of tools, other params, names, URLs, images, sound and files, and thoughts that only their own model can read.
local host = require "sluice.host"

local M = {}

-- fn(text) -> another text or nil. Puts it at t[name]; whether it is another.
local function put(t, name, fn)
  if type(t[name]) ~= "string" then return false end
  local new = fn(t[name])
  if new == nil or new == t[name] then return false end
  t[name] = new
  return true
end

-- Every text within a value that JSON gave, keys too. The value, and whether it is another now. (Sorted, so that the same gets the same placeholders.)
function M.map(v, fn)
  if type(v) == "string" then
    local box = { v }
    local changed = put(box, 1, fn)
    return box[1], changed
  end
  if type(v) ~= "table" then return v, false end
  local keys, some = {}, false
  for k in next, v do keys[#keys + 1] = k end
  host.table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    local item, changed = M.map(v[k], fn)
    local name = type(k) == "string" and M.map(k, fn) or k
    if name ~= k then v[k] = nil end
    if changed or name ~= k then v[name], some = item, true end
  end
  return v, some
end

-- A text that should be JSON: the texts within it, or all of it when it is none. As M.map.
function M.map_json(text, fn)
  local value = host.json.decode(text)
  if type(value) ~= "table" then return M.map(text, fn) end
  local _, changed = M.map(value, fn)
  return changed and host.json.encode(value) or text, changed
end

local TEXTS = { "text", "refusal", "title", "context" }

-- Content: a text, or a list of parts. Parts of a provider's own hold more content (a document's source, a search result).
local function content(t, fn)
  if put(t, "content", fn) or type(t.content) ~= "table" then return end
  for _, part in ipairs(t.content) do
    if type(part) == "table" then
      for _, name in ipairs(TEXTS) do put(part, name, fn) end
      if type(part.file) == "table" then put(part.file, "filename", fn) end
      content(part, fn)
      if type(part.source) == "table" then content(part.source, fn) end
    end
  end
end

-- Thoughts of an Anthropic model: who changes one breaks its seal, and it is not sent on (anthropic_turns.lua).
local function notes(message, fn)
  local kept = type(message.anthropic) == "table" and message.anthropic.notes
  for _, note in ipairs(type(kept) == "table" and kept or {}) do
    local block = type(note) == "table" and note.block
    if type(block) == "table" and put(block, "thinking", fn) then block.signature = "" end
  end
end

local function call(t, fn)
  local f = type(t) == "table" and t["function"]
  if type(f) == "table" and type(f.arguments) == "string" then f.arguments = M.map_json(f.arguments, fn) end
end

-- All of one message.
function M.message(m, fn)
  put(m, "reasoning_content", fn)
  content(m, fn)
  put(m, "refusal", fn)
  for _, t in ipairs(type(m.tool_calls) == "table" and m.tool_calls or {}) do call(t, fn) end
  notes(m, fn)
end

return M
