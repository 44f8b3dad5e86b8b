-- Reading what Anthropic's Messages API streams. What it is asked is in anthropic_request.lua.
--
-- message_start, then for each block content_block_start, content_block_delta..., content_block_stop, then message_delta and message_stop; pings between. The
-- deltas are read by C where they stand, all else is rare. `index` counts blocks of every kind, so the calls of one answer may be 1 and 2.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"
local request = require "sluice.dialects.anthropic_request"

local M = {
  url = "https://api.anthropic.com/v1",
  prefill = true,                                         -- a last message of the assistant is gone on with
  kind = "type",

  events = {
    message_start = { model = "message.model" },          -- rare, too: the name is shown to clients in bytes that pass
    content_block_delta = { content = "delta.text", reasoning = "delta.thinking", tool_index = "index", tool_arguments = "delta.partial_json",
      signature = "delta.signature" },
  },
  rare = { "message_start", "content_block_start", "message_delta", "error" },
  ends = { "message_stop" },

  -- A word that OpenAI has nothing for passes as it is: pause_turn, of the server's own tools.
  finish_words = {
    end_turn = "stop", stop_sequence = "stop", max_tokens = "length", model_context_window_exceeded = "length", tool_use = "tool_calls", refusal = "content_filter",
  },

  whole = {
    model = "model", finish = "stop_reason", error = "error",
    usage_input = "usage.input_tokens", usage_output = "usage.output_tokens", usage_cached = "usage.cache_read_input_tokens",
    usage_cache_written = "usage.cache_creation_input_tokens",
  },
}

M.request = request.request

local function text(v) return type(v) == "string" and v or nil end

local function count(v) return math.type(v) == "integer" and v or 0 end

-- Anthropic counts what it read from its cache and what it wrote there apart from input_tokens; OpenAI's input is the sum. Later counts replace earlier ones,
-- and those of a message_delta without input_tokens say nothing about the input.
local function tell_usage(usage, out)
  local told = { output = usage.output_tokens, reasoning = shared.table(usage.output_tokens_details).thinking_tokens }
  if math.type(told.output) ~= "integer" then told.output = nil end
  if math.type(told.reasoning) ~= "integer" then told.reasoning = nil end
  if math.type(usage.input_tokens) == "integer" then
    told.cached = count(usage.cache_read_input_tokens)
    told.cache_written = count(usage.cache_creation_input_tokens)
    told.input = usage.input_tokens + told.cached + told.cache_written
  end
  if next(told) then out:usage(told) end
end

-- How a block begins. The real API sends its text and arguments in deltas; some servers that speak its language begin with all of it.
local BLOCKS = {}

function BLOCKS.text(block, out)
  if type(block.text) == "string" and block.text ~= "" then out:text("content", block.text) end
end

function BLOCKS.thinking(block, out)
  out:signature ""                                        -- the one before it, if it is not signed, ends all the same
  if type(block.thinking) == "string" and block.thinking ~= "" then out:text("reasoning", block.thinking) end
  if text(block.signature) and block.signature ~= "" then out:signature(block.signature) end
end

-- Read again by the front (anthropic_front.lua): a signature has no space.
function BLOCKS.redacted_thinking(block, out)
  if text(block.data) then out:signature("redacted_thinking " .. block.data) end
end

function BLOCKS.tool_use(block, out, index)
  local input = shared.table(block.input)
  out:tool { index = index, id = text(block.id), name = text(block.name), arguments = next(input) ~= nil and sluice.json.encode(input) or "" }
end

local KINDS = {}

function KINDS.message_start(event, out)
  local message = shared.table(event.message)
  if type(message.model) == "string" then out:model(message.model) end
  tell_usage(shared.table(message.usage), out)
end

function KINDS.content_block_start(event, out)
  local block = shared.table(event.content_block)
  local begin = BLOCKS[block.type]
  if begin then begin(block, out, event.index) end
end

function KINDS.message_delta(event, out)
  tell_usage(shared.table(event.usage), out)
  local delta = shared.table(event.delta)
  if text(delta.stop_reason) then out:finish(delta.stop_reason, 0, text(delta.stop_sequence)) end
end

function KINDS.error(event, out)
  local why = shared.table(event.error)
  out:error { message = text(why.message), code = text(why.type) }
end

function M.event(event, out)
  local tell = KINDS[event.type]
  if tell then tell(event, out) end
end

-- An answer that is an error: { type = "error", error = { type, message } }.
function M.error(_, body)
  local why = shared.table(shared.table(body).error)
  if type(why.message) ~= "string" then return nil end
  return { message = why.message, code = why.type, type = why.type }
end

return M
