-- Personal data never reaches the model: policies/pii.lua before a model that tells what it was told.
local sluice = require "sluice"

local function model(req, out)                     -- stands in for a model that repeats, and makes something up
  local told = req:last_user()
  out:text("I was told: " .. told:gsub("[<>]", "|") .. "\n")      -- so that you see it as it came
  for piece in ("You wrote: " .. told .. "\nOr ask bob@corp.io."):gmatch "..?.?" do      -- in pieces that tear every address apart
    out:text(piece)
    sluice.sleep "20ms"
  end
end

return sluice.config {
  api    = 1,
  listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  models = { echo = model },
  routes = { chat = { path = "/api/stream", front = "token", target = "echo", policies = { "policies.pii" } } },
}
