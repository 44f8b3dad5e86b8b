-- Any OpenAI client, a provider that is written here: parrot.lua. PARROT_URL names the service; without it a Lua model says what would have been asked.
local sluice = require "sluice"
local parrot = require "parrot"

local url = sluice.env("PARROT_URL", "")

local function would_ask(req, out)
  local asked = parrot.provider.request(req, { model = "grey", key = "KEY" })
  if not asked.path then return asked end           -- a refusal
  out:text("POST " .. asked.path .. " " .. sluice.json.encode(asked.body))
end

return sluice.config {
  api    = 1,
  listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  models = {
    polly = url ~= "" and { provider = parrot, url = url, model = "grey", key = sluice.secret "PARROT_KEY" } or { answer = would_ask },
  },
  routes = {
    api = { path = "/v1/*", front = "openai", models = { "polly" } },
  },
}
