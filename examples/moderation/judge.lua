-- A judge that knows a few words, in place of a moderation service: POST /v1/judge { text, topics } -> { flagged, topic }.
local sluice = require "sluice"

local WORDS = {
  weapons  = sluice.match.words({ "bomb", "grenade", "gunpowder" }, { fold = true }),
  gambling = sluice.match.words({ "roulette", "betting" }, { fold = true }),
}

return function(call)
  if call.path ~= "/v1/judge" then return { status = 404 } end
  sluice.sleep "50ms"                                -- as far away as a service in the next rack
  for _, topic in ipairs(call.json.topics) do
    if WORDS[topic] and WORDS[topic]:find(call.json.text) then return { json = { flagged = true, topic = topic } } end
  end
  return { json = { flagged = false } }
end
