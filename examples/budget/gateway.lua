-- A daily budget for each API key: sluice.parts.api_keys knows who asks (keys.txt), policies/budget.lua what may still be spent.
local sluice = require "sluice"

local function model(req, out)                     -- stands in for a model that costs money
  for piece in ("You asked: " .. req:last_user() .. " That was expensive."):gmatch "%S+%s*" do out:text(piece) end
end

return sluice.config {
  api    = 1,
  listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  models = { smart = model },
  routes = {
    chat = {
      path = "/api/stream", front = "token", target = "smart",
      policies = {
        sluice.parts.api_keys { file = "keys.txt" },
        { "policies.budget", daily_usd = 0.001, max_tokens = 50, prices = { smart = { input = 3, output = 15 } } },
      },
    },
  },
}
