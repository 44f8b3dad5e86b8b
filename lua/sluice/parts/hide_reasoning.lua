-- What a model thinks before it answers stays here.
--
--   sluice.parts.hide_reasoning {}
local sluice = require "sluice"

local P = sluice.policy { name = "hide_reasoning", api = 1, doc = "Drops the reasoning channel." }

P.filter = { on = { "reasoning" }, text = function() return "" end }

return P
