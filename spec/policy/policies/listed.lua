local sluice = require "sluice"
local service = sluice.service "words"

local P = sluice.policy { name = "listed", doc = "Hides the words of a list that a service has." }
local matcher

function P.init()
  local res = assert(service:get "/words")
  matcher = sluice.match.words(res.json())
end

P.filter = { match = function() return matcher end, replace = "***" }

return P
