-- What a scripted model sends: the steps of a try (spec/conformance/README.md) as pieces, in the dialect that it is asked in and cut as a cutting says.
--
-- A piece is { type = }: the head of a 200 with that Content-Type, { bytes = }, { until_text = }: the client has this text now, { ends = "close" | "reset" }, or
-- { status =, headers =, body = }: a whole other answer.
local json = require "sluice.testing.json"

local M = {}

local object = json.object

-- ---- dialects: begin, text, tool, ending; s is what they remember

local openai = {}

local function chunk(choices, usage)
  return "data: " .. json.encode { id = "chatcmpl-c", object = "chat.completion.chunk", created = 1, model = "m", choices = choices, usage = usage } .. "\n\n"
end

local function counted(usage)
  return usage and { prompt_tokens = usage.input, completion_tokens = usage.output, total_tokens = usage.input + usage.output }
end

local function told_call(tool) return { id = tool.id, type = "function", ["function"] = { name = tool.name, arguments = tool.arguments } } end

local function delta(d, finish) return chunk { { index = 0, delta = object(d), finish_reason = finish } } end

local OPENAI_CHANNELS = { content = "content", reasoning = "reasoning_content", refusal = "refusal" }

function openai.begin() return "" end
function openai.text(_, channel, text) return delta { [OPENAI_CHANNELS[channel]] = text } end
function openai.tool(s, tool)
  s.tools = (s.tools or -1) + 1
  local call = told_call(tool)
  call.index = s.tools
  return delta { tool_calls = { call } }
end
function openai.ending(s, finish, usage)
  local counts = usage and chunk({}, counted(usage)) or ""
  return delta({}, finish or (s.tools and "tool_calls" or "stop")) .. counts .. "data: [DONE]\n\n"
end

-- Asked without `stream`: one document.
function openai.document(steps)
  local texts, calls, finish, usage = {}, {}, nil, nil
  for _, step in ipairs(steps) do
    for channel, member in pairs(OPENAI_CHANNELS) do
      if step[channel] then texts[member] = (texts[member] or "") .. step[channel] end
    end
    if step.tool then calls[#calls + 1] = told_call(step.tool) end
    finish, usage = step.finish or finish, step.usage or usage
  end
  local message = object { role = "assistant", content = texts.content or json.null, reasoning_content = texts.reasoning_content, refusal = texts.refusal,
    tool_calls = calls[1] and calls }
  return json.encode { id = "chatcmpl-c", object = "chat.completion", created = 1, model = "m",
    choices = { { index = 0, message = message, finish_reason = finish or (calls[1] and "tool_calls" or "stop") } },
    usage = counted(usage) }
end

local anthropic = {}

local function event(value) return ("event: %s\ndata: %s\n\n"):format(value.type, json.encode(value)) end

local function closed(s)
  if not s.channel then return "" end
  s.channel = nil
  return event { type = "content_block_stop", index = s.index }
end

local function opened(s, channel, block)
  local before = closed(s)
  s.channel, s.index = channel, (s.index or -1) + 1
  return before .. event { type = "content_block_start", index = s.index, content_block = block }
end

function anthropic.begin(s, usage)
  s.usage = usage or { input = 1, output = 1 }
  return event { type = "message_start", message = { id = "msg_c", type = "message", role = "assistant", model = "m", content = {}, stop_reason = json.null,
    stop_sequence = json.null, usage = { input_tokens = s.usage.input, output_tokens = 1 } } }
end

function anthropic.text(s, channel, text)
  local thinks, before = channel == "reasoning", ""
  if s.channel ~= channel then
    before = opened(s, channel, thinks and { type = "thinking", thinking = "", signature = "" } or { type = "text", text = "" })
  end
  return before .. event { type = "content_block_delta", index = s.index,
    delta = thinks and { type = "thinking_delta", thinking = text } or { type = "text_delta", text = text } }
end

function anthropic.tool(s, tool)
  s.called = true
  return opened(s, "tool", { type = "tool_use", id = tool.id, name = tool.name, input = object {} })
    .. event { type = "content_block_delta", index = s.index, delta = { type = "input_json_delta", partial_json = tool.arguments } } .. closed(s)
end

local STOP_REASONS = { stop = "end_turn", length = "max_tokens", tool_calls = "tool_use" }
function anthropic.ending(s, finish)
  return closed(s) .. event { type = "message_delta", delta = { stop_reason = STOP_REASONS[finish or (s.called and "tool_calls" or "stop")], stop_sequence = json.null },
    usage = { output_tokens = s.usage.output } } .. event { type = "message_stop" }
end

-- ---- cuttings

M.cuttings = { "as given", "whole", "in crumbs" }

local CHANNELS = { "content", "reasoning", "refusal" }

-- The channel that a step is text of, and the text.
local function text_of(step)
  for _, channel in ipairs(CHANNELS) do
    if step and step[channel] then return channel, step[channel] end
  end
end

-- Neighbouring texts of one channel become one step, or one for each character.
local function recut(steps, cutting)
  local out, i = {}, 1
  while steps[i] do
    local channel, text = text_of(steps[i])
    i = i + 1
    if not channel then out[#out + 1] = steps[i - 1] end
    while channel and text_of(steps[i]) == channel do
      text, i = text .. select(2, text_of(steps[i])), i + 1
    end
    if channel and cutting == "whole" then out[#out + 1] = { [channel] = text } end
    for c in (channel and cutting == "in crumbs" and text or ""):gmatch(utf8.charpattern) do out[#out + 1] = { [channel] = c } end
  end
  return out
end

-- Bytes that follow one another as one piece, or in pieces of seven.
local function repack(pieces, cutting)
  local out = {}
  for _, piece in ipairs(pieces) do
    local last = out[#out]
    if piece.bytes and cutting == "whole" and last and last.bytes then
      last.bytes = last.bytes .. piece.bytes
    elseif piece.bytes and cutting == "in crumbs" then
      for from = 1, #piece.bytes, 7 do out[#out + 1] = { bytes = piece.bytes:sub(from, from + 6) } end
    else
      out[#out + 1] = piece
    end
  end
  return out
end

-- ---- a try

local KNOWN = {}
for name in ("content reasoning refusal tool usage finish raw until status headers body end"):gmatch "%S+" do KNOWN[name] = true end

local function plain(steps)
  local out = {}
  for i, step in ipairs(steps) do
    out[i] = type(step) == "string" and { content = step } or step
    for name in pairs(out[i]) do
      if not KNOWN[name] then error(('a step has no member "%s"'):format(name), 0) end
    end
  end
  return out
end

-- Its bytes in pieces; what it ends with, unless its script says so.
local function streamed(steps, dialect)
  local s, out, finish, usage, open = {}, {}, nil, nil, true
  for _, step in ipairs(steps) do
    finish, usage = step.finish or finish, step.usage or usage
    open = open and not step.raw and not step["end"]
  end
  local function put(bytes)
    if bytes ~= "" then out[#out + 1] = { bytes = bytes } end
  end
  if not steps[1] or not steps[1].raw then put(dialect.begin(s, usage)) end
  for _, step in ipairs(steps) do
    local channel, text = text_of(step)
    if channel then
      put(dialect.text(s, channel, text))
    elseif step.tool then
      put(dialect.tool(s, step.tool))
    elseif step.raw then
      put(step.raw)
    elseif step["until"] then
      out[#out + 1] = { until_text = step["until"] }
    end
  end
  if open then put(dialect.ending(s, finish, usage)) end
  return out
end

-- A document that breaks off has its first half.
local function document(steps, broken)
  local bytes = openai.document(steps)
  return { { bytes = broken and bytes:sub(1, #bytes // 2) or bytes } }
end

-- steps: of one try; url, streams: how it was asked.
function M.pieces(steps, url, streams, cutting)
  local all, ends = plain(steps), nil
  if all[1] and all[1].status then return { all[1] } end
  if cutting ~= "as given" then all = recut(all, cutting) end
  for _, step in ipairs(all) do ends = step["end"] or ends end
  local dialect = url:find "/messages$" and anthropic or url:find "/chat/completions$" and openai or error("no dialect is known for " .. url, 0)
  assert(streams or dialect == openai, "a whole document is known of OpenAI's chat completions only")
  local out = repack(streams and streamed(all, dialect) or document(all, ends), cutting)
  table.insert(out, 1, { type = streams and "text/event-stream" or "application/json" })
  out[#out + 1] = { ends = ends or "close" }
  return out
end

return M
