-- policies/keys.lua: the API key that a client sends says who it is.
local sluice = require "sluice"

local P = sluice.policy { name = "keys", api = 1, doc = "Takes the key of the Authorization header." }

function P.accept(head, ctx)
  local id = (head.headers.authorization or ""):match "^[Bb]earer%s+(%S+)$"
  if id then ctx.key = { id = id } end             -- what later policies read; whether it is a good one is theirs to find out
end

return P
