-- The text of a conversation, wherever it stands: what req:text, req:map_text and call:map_text go through. What is not here, no policy sees as text: the
-- definitions of tools, other params, names, URLs, images, sound and files, and thoughts that only their own model can read.
local host = require "sluice.host"

local M = {}

-- fn(text, role) -> another text or nil. Puts it at t[name]; whether it is another.
local function put(t, name, fn, role)
  local text = t[name]
  if type(text) ~= "string" then return false end
  local new = fn(text, role)
  if new == nil or new == text then return false end
  t[name] = new
  return true
end

-- Every text within a value that JSON gave, keys too. The value, and whether it is another now. (Sorted, so that the same gets the same placeholders.)
function M.map(v, fn, role)
  if type(v) == "string" then
    local new = fn(v, role)
    if new == nil or new == v then return v, false end
    return new, true
  end
  if type(v) ~= "table" then return v, false end
  local keys, some = {}, false
  for k in next, v do keys[#keys + 1] = k end
  host.table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    local item, changed = M.map(v[k], fn, role)
    local name = type(k) == "string" and M.map(k, fn, role) or k
    if name ~= k then v[k] = nil end
    if changed or name ~= k then v[name], some = item, true end
  end
  return v, some
end

-- A text that should be JSON: the texts within it, or all of it when it is none. As M.map.
local function map_json(text, fn, role)
  local value = host.json.decode(text)
  if type(value) ~= "table" then return M.map(text, fn, role) end
  local _, changed = M.map(value, fn, role)
  return changed and host.json.encode(value) or text, changed
end

local OTHERS = { "refusal", "title", "context" }

local content

-- Parts other than text: those of a provider's own hold more content (a document's source, a search result).
local function part_of_another_kind(part, fn, role)
  for _, name in ipairs(OTHERS) do put(part, name, fn, role) end
  if type(part.file) == "table" then put(part.file, "filename", fn, role) end
  content(part, fn, role)
  if type(part.source) == "table" then content(part.source, fn, role) end
end

-- Content: a text, or a list of parts. (A request may have thousands: the usual ones are cheap.)
function content(t, fn, role)
  if put(t, "content", fn, role) or type(t.content) ~= "table" then return end
  for _, part in ipairs(t.content) do
    if type(part) == "table" then
      put(part, "text", fn, role)
      if part.type ~= "text" then part_of_another_kind(part, fn, role) end
    end
  end
end

-- Thoughts of an Anthropic model: who changes one breaks its seal, and it is not sent on (anthropic_turns.lua).
local function notes(kept, fn, role)
  for _, note in ipairs(type(kept) == "table" and type(kept.notes) == "table" and kept.notes or {}) do
    local block = type(note) == "table" and note.block
    if type(block) == "table" and put(block, "thinking", fn, role) then block.signature = "" end
  end
end

local function call(t, fn, role)
  local f = type(t) == "table" and t["function"]
  if type(f) == "table" and type(f.arguments) == "string" then f.arguments = map_json(f.arguments, fn, role) end
end

-- All of one message.
function M.message(m, fn, role)
  put(m, "reasoning_content", fn, role)
  content(m, fn, role)
  put(m, "refusal", fn, role)
  if type(m.tool_calls) == "table" then
    for _, t in ipairs(m.tool_calls) do call(t, fn, role) end
  end
  if m.anthropic ~= nil then notes(m.anthropic, fn, role) end
end

return M
