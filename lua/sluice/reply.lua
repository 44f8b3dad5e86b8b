-- sluice.reply { blocks = ... }: a whole answer by a policy, as the steps that C tells as it tells a model's (stream/reply.c).
local host = require "sluice.host"
local known_sets = require "sluice.known"
local schema = require "sluice.schema"
local step = require "sluice.step"
local suggest = require "sluice.suggest"
local blame = require("sluice.complain").blame

local M = {}

local WHAT = "sluice.reply"
local PIECE = 1024                                      -- bytes of text at a time: a client that is slow is waited for between two
local BLOCKS_MOST, TOOLS_MOST, ARGUMENTS_MOST = 1000, 64, 1 << 20      -- the last two as for a model (stream/tools.c)

local block_fields = { channel = true, text = true, tool = true }
local tool_fields = { id = true, name = true, arguments = true }
local COUNTS = { "input", "output", "cached", "reasoning", "cache_written" }
local usage_fields = {}
for _, name in ipairs(COUNTS) do usage_fields[name] = true end

local function fields_of(t, known, what)
  if type(t) ~= "table" then blame(("%s: %s must be a table, is %s"):format(WHAT, what, schema.show(t))) end
  for k in pairs(t) do
    if not known[k] then blame(('%s: %s has no field "%s"%s'):format(WHAT, what, tostring(k), suggest.hint(k, known))) end
  end
  return t
end

local function text_of(v, what)
  if type(v) ~= "string" then blame(("%s: %s must be a text, is %s"):format(WHAT, what, schema.show(v))) end
  if not host.utf8(v) then blame(("%s: %s is no valid UTF-8"):format(WHAT, what)) end
  return v
end

local function add_text(steps, block, what)
  local channel = step.CHANNELS[block.channel or "content"]
  if not channel then
    blame(("%s: %s.channel must be %s, is %s%s"):format(WHAT, what, suggest.list(step.CHANNELS), schema.show(block.channel), suggest.hint(block.channel, step.CHANNELS)))
  end
  local text, from = text_of(block.text, what .. ".text"), 1
  while from <= #text do
    local to = math.min(from + PIECE - 1, #text)
    while to < #text and text:byte(to + 1) & 0xC0 == 0x80 do to = to - 1 end      -- not within a character
    steps[#steps + 1] = { step.TEXT, 0, channel, text:sub(from, to) }
    from = to + 1
  end
end

-- Returns the bytes of its arguments.
local function add_tool(steps, block, what)
  if block.text ~= nil or block.channel ~= nil then blame(("%s: %s is a tool call and holds nothing else"):format(WHAT, what)) end
  what = what .. ".tool"
  local tool = fields_of(block.tool, tool_fields, what)
  local arguments = tool.arguments
  if type(arguments) == "table" then arguments = host.json.encode(arguments) end
  arguments = text_of(arguments == nil and "{}" or arguments, what .. ".arguments")
  steps[#steps + 1] = { step.TOOL, 0, nil, arguments, text_of(tool.name, what .. ".name"), text_of(tool.id or "", what .. ".id"), -1 }
  return #arguments
end

local function add_blocks(steps, blocks)
  local tools, bytes = 0, 0
  if #blocks > BLOCKS_MOST then blame(("%s: at most %d blocks"):format(WHAT, BLOCKS_MOST)) end
  for i = 1, #blocks do
    local what = ("blocks[%d]"):format(i)
    local block = fields_of(blocks[i], block_fields, what)
    if block.tool == nil then
      add_text(steps, block, what)
    else
      tools, bytes = tools + 1, bytes + add_tool(steps, block, what)
    end
  end
  if tools > TOOLS_MOST then blame(("%s: at most %d tool calls"):format(WHAT, TOOLS_MOST)) end
  if bytes > ARGUMENTS_MOST then blame(("%s: the tool calls' arguments are longer than 1 MiB together"):format(WHAT)) end
end

local function add_usage(steps, usage)
  local u = { step.USAGE, 0 }
  for i, name in ipairs(COUNTS) do
    local n = usage[name]
    if n ~= nil and not (math.type(n) == "integer" and n >= 0) then blame(("%s: usage.%s must be a whole number of tokens, is %s"):format(WHAT, name, schema.show(n))) end
    u[7 + i] = n
  end
  steps[#steps + 1] = u
end

-- t: what sluice.reply was given, with blocks.
function M.steps(t)
  if t.text ~= nil then blame(WHAT .. ": text and blocks exclude each other: write the text as a block { text = ... }") end
  if t.status ~= nil and t.status ~= 200 then blame(WHAT .. ": an answer of blocks has the status 200; use sluice.reject for another") end
  if type(t.blocks) ~= "table" then blame(("%s: blocks must be a list, is %s"):format(WHAT, schema.show(t.blocks))) end
  local finish = t.finish or "stop"
  if #finish > 31 or not finish:find("^[%w_%-]+$") then blame(WHAT .. ': finish must be a word such as "stop" or "tool_calls"') end
  local steps = {}
  add_blocks(steps, t.blocks)
  if t.usage ~= nil then add_usage(steps, fields_of(t.usage, usage_fields, "usage")) end
  steps[#steps + 1] = { step.FINISH, 0, nil, finish }
  return steps
end

known_sets.add { block = block_fields, block_tool = tool_fields, reply_usage = usage_fields }

return M
