-- What the benchmark runs: one policy, one line of Lua for each token.
local sluice = require "sluice"

local louder = sluice.policy { name = "louder" }
louder.filter = { text = function(text) return (text:gsub("e", "3")) end }

return sluice.config {
  api = 1, listen = sluice.env "BENCH_LISTEN", workers = 1,
  limits = { connections = 30000 },
  models = { m = { provider = "openai", url = sluice.env "BENCH_UPSTREAM", model = "gpt-4o-mini", key = "sk-bench" } },
  routes = {
    ask = { path = "/api/stream", front = "token", target = "m", policies = { louder } },
  },
}
