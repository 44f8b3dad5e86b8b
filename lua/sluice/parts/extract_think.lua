-- Models without a reasoning channel think aloud in the answer itself: `<think>...</think>` at its beginning. This takes that text out.
--
--   sluice.parts.extract_think {}
--   sluice.parts.extract_think { tag = "reasoning", opened = true }
--
-- The text is dropped, as hide_reasoning drops a whole channel; a filter cannot move text to another channel in this version. What follows the closing tag
-- leaves at once, without the blanks before it. A thought that never ends is all dropped: it is no answer.
local sluice = require "sluice"

local P = sluice.policy {
  name = "extract_think",
  api  = 1,
  doc  = "Drops what a model thinks aloud, between tags at the beginning of the answer.",
  options = {
    tag    = { type = "string", default = "think", doc = "The tag's name." },
    opened = { type = "boolean", default = false, doc = "The answer begins within the thought: the opening tag stands in the model's own prompt." },
  },
}

local BLANKS_MOST = 200                                   -- blanks before the opening tag; text with more is no thought

function P.prepare(o, use)
  if not o.tag:find("^[%w_%-]+$") then use:bad(("must be a word, such as think, is %q"):format(o.tag), "tag") end
  return { open = "<" .. o.tag .. ">", close = "</" .. o.tag .. ">" }
end

function P.attempt(_, ctx) ctx.state.phase = nil end      -- another try begins a new answer

-- How many bytes at the end of the text may be the beginning of `mark`.
local function unfinished(text, mark)
  for n = math.min(#text, #mark - 1), 1, -1 do
    if text:sub(-n) == mark:sub(1, n) then return n end
  end
  return 0
end

-- Each phase takes text and says: the phase that follows (nil: this one needs more text), then the rest, or what it lets go and what it holds.
local phases = {}

function phases.before(text, mark)
  local at = text:find("%S") or #text + 1
  local rest = text:sub(at)
  if at > BLANKS_MOST + 1 then return "behind", text end
  if rest:sub(1, #mark.open) == mark.open then return "inside", rest:sub(#mark.open + 1) end
  if #rest < #mark.open and unfinished(rest, mark.open) == #rest then return nil, "", text end
  return "behind", text
end

function phases.inside(text, mark)
  local _, stop = text:find(mark.close, 1, true)
  if stop then return "after", text:sub(stop + 1) end
  return nil, "", text:sub(#text - unfinished(text, mark.close) + 1)
end

function phases.after(text)
  local at = text:find("%S")
  if at then return "behind", text:sub(at) end
  return nil, "", ""
end

function phases.behind(text) return nil, text, "" end

P.filter = {
  on   = { "content" },
  text = function(text, ctx, part)
    local s = ctx.state
    s.phase = s.phase or (ctx.options.opened and "inside" or "before")
    while true do
      local next_phase, passed, held = phases[s.phase](text, ctx.prepared)
      if next_phase then
        s.phase, text = next_phase, passed
      elseif part.last and s.phase == "inside" then
        return ""
      else
        return passed, held                               -- at the block's end what is held leaves too
      end
    end
  end,
}

return P
