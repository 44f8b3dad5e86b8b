-- Models without a reasoning channel think aloud in the answer itself: `<think>...</think>` at its beginning. This moves that text to the reasoning channel.
--
--   sluice.parts.extract_think {}
--   sluice.parts.extract_think { tag = "reasoning", opened = true, drop = true }
--
-- There it passes the filters of the policies nearer to the client (`hide_reasoning`, a redaction), as reasoning that the model told apart would. What follows
-- the closing tag leaves at once, without the blanks before it. A thought that never ends is all thought: it is no answer.
local sluice = require "sluice"

local P = sluice.policy {
  name = "extract_think",
  api  = 1,
  doc  = "Moves what a model thinks aloud, between tags at the beginning of the answer, to the reasoning channel.",
  options = {
    tag    = { type = "string", default = "think", doc = "The tag's name." },
    drop   = { type = "boolean", default = false, doc = "Nobody is told the thought." },
    opened = { type = "boolean", default = false, doc = "The answer begins within the thought: the opening tag stands in the model's own prompt." },
  },
}

local BLANKS_MOST = 200                                   -- blanks before the opening tag; text with more is no thought

function P.prepare(o, use)
  if not o.tag:find("^[%w_%-]+$") then use:bad(("must be a word, such as think, is %q"):format(o.tag), "tag") end
  return { open = "<" .. o.tag .. ">", close = "</" .. o.tag .. ">" }
end

function P.attempt(try, ctx)
  if not try.continues then ctx.state.phase = nil end     -- another try begins a new answer
end

-- How many bytes at the end of the text may be the beginning of `mark`.
local function unfinished(text, mark)
  for n = math.min(#text, #mark - 1), 1, -1 do
    if text:sub(-n) == mark:sub(1, n) then return n end
  end
  return 0
end

-- Each phase takes text and says: the phase that follows (nil: this one needs more text), then the rest, or what it lets go; what it holds; the thought in it.
local phases = {}

function phases.before(text, mark)
  local at = text:find("%S") or #text + 1
  local rest = text:sub(at)
  if at > BLANKS_MOST + 1 then return "behind", text end
  if rest:sub(1, #mark.open) == mark.open then return "inside", rest:sub(#mark.open + 1) end
  if #rest < #mark.open and unfinished(rest, mark.open) == #rest then return nil, "", text end
  return "behind", text
end

function phases.inside(text, mark, last)
  local at, stop = text:find(mark.close, 1, true)
  if stop then return "after", text:sub(stop + 1), "", text:sub(1, at - 1) end
  local cut = #text - (last and 0 or unfinished(text, mark.close))
  return nil, "", text:sub(cut + 1), text:sub(1, cut)
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
    local s, thought = ctx.state, nil
    s.phase = s.phase or (ctx.options.opened and "inside" or "before")
    while true do
      local next_phase, passed, held, found = phases[s.phase](text, ctx.prepared, part.last)
      thought = not ctx.options.drop and found or thought
      if not next_phase then return passed, held, thought end   -- at the block's end what is held leaves too
      s.phase, text = next_phase, passed
    end
  end,
}

return P
