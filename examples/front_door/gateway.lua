-- Who may talk to us, from which page, with what: policies/front_door.lua before a model that is a Lua function.
local sluice = require "sluice"

-- Clients of the token front say everything in the query: ?q=...&model=...&max_tokens=...
local from_query = sluice.policy { name = "from_query", api = 1, doc = "Takes the model and its parameters from the query." }

function from_query.validate(req)
  req.model = req.query.model
  req.params.max_tokens = tonumber(req.query.max_tokens)
end

local function model(req, out)
  out:text("You asked: " .. req:last_user() .. "\n")
  out:text(("I may answer with %s tokens."):format(req.params.max_tokens or "any number of"))
end

return sluice.config {
  api    = 1,
  listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  models = { fast = model },
  routes = {
    chat = {
      path = "/api/stream", front = "token", target = "fast",
      policies = { from_query, { "policies.front_door", origins = { "https://app.example.com", "*.example.org" }, max_tokens = 1000 } },
    },
  },
}
