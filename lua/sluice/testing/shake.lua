-- Shaking: where an upstream cuts its text must not matter, nor how a client asks. What was asked once is asked again under ten other cuttings, and in the
-- other ways of fronts.lua, each time with clock and shared state as they were before; whatever differs fails the spec.
local blame = require "sluice.testing.blame"
local fronts = require "sluice.testing.fronts"
local upstream = require "sluice.testing.upstream"

-- What must be the same. A refusal is one whether or not text before it had left by then: that does depend on when it came.
local function gist(x)
  if x.error then return "error " .. tostring(x.error.code) end
  local more = {}
  if x.reasoning ~= "" then more[1] = ("reasoning %q"):format(x.reasoning) end
  for _, tool in ipairs(x.tools) do more[#more + 1] = ("tool %s %s"):format(tool.name, tool.arguments) end
  more[#more + 1] = "finish=" .. (x.finish or x.done and "done" or "none")
  return ("%d %q %s"):format(x.status or 0, x.text, table.concat(more, " "))
end

local function cuttings()
  local list = { { "one character each", function() return 1 end }, { "whole", function() return math.huge end } }
  for seed = 1, 8 do
    local state = seed * 7919
    list[#list + 1] = { "seed " .. seed, function()
      state = (state * 1103515245 + 12345) % 2147483648
      return 1 + (state >> 16) % 7
    end }
  end
  return list
end

local M = {}

-- What to say when the cutting called `name` made another result; nil when it did not.
function M.difference(first, other, name)
  if gist(other) == gist(first) then return nil end
  return ("the result depends on where the upstream cuts its text (%s)\n  as given: %s\n  re-cut:   %s"):format(name, gist(first), gist(other))
end

-- first: how it went; again { recut =, request = }: asks again; ways: of fronts.lua.
function M.shake(first, again, ways)
  for _, cutting in ipairs(cuttings()) do
    local name, size = table.unpack(cutting)
    local why = M.difference(first, again { recut = upstream.recutter(size) }, name)
    if why then blame.blame(why) end
  end
  for _, way in ipairs(#first.wire > 0 and ways or {}) do
    local why = fronts.difference(first, again { request = way.request }, way)
    if why then blame.blame(why) end
  end
end

return M
