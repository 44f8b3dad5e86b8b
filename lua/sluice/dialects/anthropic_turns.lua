-- Messages as OpenAI has them -> `system` and the turns of Anthropic's Messages API.
--
-- Anthropic knows turns, not messages: what one side says in a row is one turn, and the results of tools are the first blocks of the user's turn after the
-- calls, all in that one. A system message stands apart, wherever it stood, as Anthropic's own translation of OpenAI's API has it; only one that an Anthropic
-- client put between its turns stays there, for models that take it. The names of calls' results (`name` of a tool message) are not told: the call has it.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"

local M = {}

local PROVIDER = "anthropic"
local given = shared.given

local function at(place, i) return ("%s[%d]"):format(place, i - 1) end

-- What is kept for Anthropic beside a message, a part, a call or a tool; OpenAI clients say cache_control at the part itself.
local function with_hints(block, from)
  for name, value in pairs(shared.table(from.anthropic)) do
    if block[name] == nil then block[name] = value end
  end
  if block.cache_control == nil and given(from.cache_control) then block.cache_control = from.cache_control end
  return block
end

local PART_ORDER = { "type", "id", "name", "tool_use_id", "text", "source", "input", "content" }
local function ordered(block)
  return getmetatable(block) == nil and sluice.json.order(block, PART_ORDER) or block
end

-- ---- parts -> blocks

local PARTS = {}

function PARTS.text(part, place)
  if type(part.text) ~= "string" then return nil, shared.invalid(place .. ".text", "must be a text") end
  if part.text == "" then return false end               -- an empty block is refused there
  return { type = "text", text = part.text }
end

function PARTS.refusal(part, place) return PARTS.text({ text = part.refusal }, place) end

function PARTS.image_url(part, place)
  local url = shared.table(part.image_url).url or part.image_url
  if type(url) ~= "string" then return nil, shared.invalid(place .. ".image_url.url", "must be a text") end
  local mime, data = shared.data_url(url)
  if mime then return { type = "image", source = sluice.json.order({ type = "base64", media_type = mime, data = data }, { "type", "media_type", "data" }) } end
  if url:find "^https?://" then return { type = "image", source = { type = "url", url = url } } end
  return nil, shared.unsaid(place .. ".image_url.url", PROVIDER, "give an https URL, or data:image/png;base64,...")
end

function PARTS.file(part, place)
  local file = shared.table(part.file)
  local mime, data = shared.data_url(file.file_data or "")
  if mime ~= "application/pdf" then return nil, shared.unsaid(place .. ".file", PROVIDER, "give file_data as data:application/pdf;base64,...") end
  return {
    type = "document", source = sluice.json.order({ type = "base64", media_type = mime, data = data }, { "type", "media_type", "data" }),
    title = type(file.filename) == "string" and file.filename or nil,
  }
end

-- Anthropic's own: the text of a document goes back to its source.
function PARTS.document(part)
  if type(part.text) ~= "string" then return part end
  local block = { source = { data = part.text } }
  for name, value in pairs(shared.table(part.source)) do block.source[name] = block.source[name] or value end
  for name, value in pairs(part) do
    if name ~= "text" and name ~= "source" then block[name] = value end
  end
  return block
end

function PARTS.input_audio(_, place) return nil, shared.unsaid(place .. ".input_audio", PROVIDER) end

-- One part: its block, false for nothing to tell, or nil and the refusal. A part of Anthropic's own passes as it is.
local function block_of(part, place)
  if type(part) ~= "table" or type(part.type) ~= "string" then return nil, shared.invalid(place, "must be an object with a type") end
  local make = PARTS[part.type]
  if not make then return part end
  local block, no = make(part, place)
  if not block then return block, no end
  return ordered(with_hints(block, part))
end

local function blocks_of(content, place)
  if given(content) and type(content) ~= "string" and not (type(content) == "table" and not shared.is_object(content)) then
    return nil, shared.invalid(place, "must be a text or a list of parts")
  end
  local out = {}
  for i, part in ipairs(shared.parts(content)) do
    local block, no = block_of(part, at(place, i))
    if no then return nil, no end
    if block then out[#out + 1] = block end
  end
  return out
end

-- A text that came as a text is told as one.
local function compact(blocks, content)
  if type(content) == "string" and #blocks == 1 and blocks[1].type == "text" then return blocks[1].text end
  return sluice.json.array(blocks)
end

-- ---- what an assistant said

local function call_of(call, place)
  local f = shared.table(shared.table(call)["function"])
  if type(f.name) ~= "string" then return nil, shared.unsaid(place, PROVIDER, "only calls of functions can") end
  local text = given(f.arguments) and f.arguments or ""
  local input = text == "" and {} or shared.object(text)
  if not input then return nil, shared.invalid(place .. ".function.arguments", "must be the text of a JSON object") end
  return ordered(with_hints({ type = "tool_use", id = call.id, name = f.name, input = input }, call))
end

-- Thinking blocks of an earlier turn return to where they stood: before the block that came next. One without a signature is our own front's, told to its
-- client in the name of another model, or as a policy left it; Anthropic would refuse it. Returns the blocks, and whether there was such a one.
local function with_notes(blocks, notes)
  if type(notes) ~= "table" or #notes == 0 then return blocks, false end
  local out, next_note, unsigned = {}, 1, false
  for i = 1, #blocks + 1 do
    while notes[next_note] and (notes[next_note].at < i or i > #blocks) do
      local note = notes[next_note].block
      if note.type ~= "thinking" or (type(note.signature) == "string" and note.signature ~= "") then out[#out + 1] = note else unsigned = true end
      next_note = next_note + 1
    end
    out[#out + 1] = blocks[i]
  end
  return out, unsigned
end

-- `anthropic.notes` may be a client's own invention.
local function notes_of(message)
  local notes = shared.table(message.anthropic).notes
  for _, note in ipairs(shared.table(notes)) do
    if type(note) ~= "table" or type(note.block) ~= "table" or math.type(note.at) ~= "integer" then return nil end
  end
  return notes
end

-- The blocks, and whether thinking was left out of them; or nil and the refusal.
local function assistant(message, place)
  local blocks, no = blocks_of(message.content, place .. ".content")
  if not blocks then return nil, no end
  if type(message.refusal) == "string" and message.refusal ~= "" then blocks[#blocks + 1] = { type = "text", text = message.refusal } end
  for i, call in ipairs(shared.table(message.tool_calls)) do
    local block, why = call_of(call, at(place .. ".tool_calls", i))
    if not block then return nil, why end
    blocks[#blocks + 1] = block
  end
  return blocks
end

-- ---- turns

local Turns = {}
Turns.__index = Turns

-- content: what the turn is when nothing joins it.
function Turns:say(role, blocks, content)
  local last = self[#self]
  if #blocks == 0 then return end
  if not last or last.role ~= role then
    self[#self + 1] = { role = role, blocks = blocks, results = {}, content = content }
    return
  end
  for _, block in ipairs(blocks) do last.blocks[#last.blocks + 1] = block end
  last.content = nil
end

function Turns:result(block)
  local last = self[#self]
  if not last or last.role ~= "user" then
    last = { role = "user", blocks = {}, results = {} }
    self[#self + 1] = last
  end
  last.content = nil
  last.results[#last.results + 1] = block
end

function Turns:list()
  local out = sluice.json.array {}
  for i, turn in ipairs(self) do
    local blocks = turn.results
    for _, block in ipairs(turn.blocks) do blocks[#blocks + 1] = block end
    out[i] = sluice.json.order({ role = turn.role, content = turn.content or sluice.json.array(blocks) }, { "role", "content" })
  end
  return out
end

local ROLES = {}

function ROLES.system(message, place, turns, system)
  local blocks, no = blocks_of(message.content, place .. ".content")
  if not blocks then return no end
  if shared.table(message.anthropic).placed then
    turns:say("system", blocks, compact(blocks, message.content))
    return
  end
  for _, block in ipairs(blocks) do
    if block.type ~= "text" then return shared.unsaid(place .. ".content", PROVIDER, "a system message is text") end
    system[#system + 1] = block
  end
  if #blocks > 0 then system.text = #system == 1 and type(message.content) == "string" and message.content or nil end
end
ROLES.developer = ROLES.system

function ROLES.user(message, place, turns)
  local blocks, no = blocks_of(message.content, place .. ".content")
  if not blocks then return no end
  turns:say("user", blocks, compact(blocks, message.content))
end

function ROLES.assistant(message, place, turns)
  for _, name in ipairs { "audio", "function_call" } do
    if given(message[name]) then return shared.unsaid(place .. "." .. name, PROVIDER) end
  end
  local blocks, no = assistant(message, place)
  if not blocks then return no end
  local unsigned
  blocks, unsigned = with_notes(blocks, notes_of(message))
  turns:say("assistant", blocks, compact(blocks, message.content))
  local turn = turns[#turns]
  if turn and unsigned then turn.unsigned = true end
end

function ROLES.tool(message, place, turns)
  local blocks, no = blocks_of(message.content, place .. ".content")
  if not blocks then return no end
  local block = { type = "tool_result", tool_use_id = message.tool_call_id }
  if #blocks > 0 then block.content = compact(blocks, message.content) end
  turns:result(ordered(with_hints(block, message)))
end

local THOUGHT = shared.set { "thinking", "redacted_thinking" }

-- Is this a tool's turn within an answer whose thinking is not here? The answer began behind the last turn that was more than results; what stands beside the
-- last results, and system turns, do not end it. A client that thinks in OpenAI's words keeps none, and one of Anthropic's words may have been told some
-- without a signature.
function Turns:forgot(keeps_thoughts)
  local i, began = #self + 1, nil
  local function back()
    repeat i = i - 1 until not self[i] or self[i].role ~= "system"
    return self[i]
  end
  local results = back()
  while results and results.role == "user" and #results.results > 0 and (not began or #results.blocks == 0) do
    local said = back()
    if not said or said.role ~= "assistant" then break end
    began, results = said, back()
  end
  if not began or (began.blocks[1] and THOUGHT[began.blocks[1].type]) then return false end
  return not keeps_thoughts or began.unsigned == true
end

-- { [position] = true } of turns without a thought that the client said; nil: there is none.
function Turns:unsigned()
  local out
  for i, turn in ipairs(self) do
    if turn.unsigned then
      out = out or {}
      out[i] = true
    end
  end
  return out
end

-- The value of `system` (a text, a list of blocks or nil), the list of turns, nil, whether thoughts are missing that Anthropic wants to see while it thinks, and
-- in which turns some were left out, a set; or nil, nil and the refusal. keeps_thoughts: the client can say them.
function M.turns(messages, keeps_thoughts)
  local turns, system = setmetatable({}, Turns), {}
  for i, message in ipairs(messages) do
    local place = at("messages", i)
    local add = ROLES[shared.table(message).role]
    if not add then return nil, nil, shared.unsaid(place .. ".role", PROVIDER, "system, developer, user, assistant and tool can") end
    if given(message.name) and message.role ~= "tool" then return nil, nil, shared.unsaid(place .. ".name", PROVIDER) end
    local no = add(message, place, turns, system)
    if no then return nil, nil, no end
  end
  local text, forgot = system.text, turns:forgot(keeps_thoughts)
  system.text = nil
  return text or (#system > 0 and sluice.json.array(system) or nil), turns:list(), nil, forgot, turns:unsigned()
end

return M
