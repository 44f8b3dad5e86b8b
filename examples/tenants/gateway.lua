-- Tenants by API key: policies/keys.lua says who asks, policies/tenants.lua which models answer.
-- DIRECTORY_URL names a directory of tenants; without it directory.lua knows three. SMART_URL names the first model of the gold tier;
-- without it nothing listens there, so that you see the fallback.
local sluice = require "sluice"

local function says(name)                          -- stands in for a model
  return function(req, out)
    out:text(("[%s] rules: %s\nYou asked: %s"):format(name, req:system() or "none", req:last_user()))
  end
end

local url = sluice.env("DIRECTORY_URL", "")

return sluice.config {
  api      = 1,
  listen   = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  services = { directory = url ~= "" and { url = url, timeout = "500ms" } or { answer = require "directory" } },
  models   = {
    smart     = { provider = "openai", url = sluice.env("SMART_URL", "http://127.0.0.1:9/v1"), model = sluice.env("SMART_MODEL", "smart-1") },
    ["local"] = says "local",
    long      = says "long",
  },
  routes   = {
    chat = {
      path = "/api/stream", front = "token", target = "local",
      policies = { "policies.keys", { "policies.tenants", tiers = { gold = { "smart", "local" }, free = { "local" } } } },
    },
  },
}
