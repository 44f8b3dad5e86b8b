-- Banned topics: policies/moderation.lua asks a judge about each question and each window of the answer.
-- MODERATION_URL names a real one (and MODERATION_TOKEN its key); without it judge.lua judges.
local sluice = require "sluice"

local TALE = [[Once there was a smith in a small town. She made hinges, hooks and horseshoes, and now and then a gate with leaves of iron on it.
One day a stranger came and asked for something that no smith should make. He had drawings with him, and a purse. She looked at the drawings for a
long time. Then she asked him to sit down and told him what she thought of it: the first thing one needs for such a bomb is ]]

local function model(_, out)                         -- stands in for a model; the tale takes a wrong turn
  for piece in TALE:gmatch "%S+%s*" do
    out:text(piece)
    sluice.sleep "10ms"
  end
end

local url = sluice.env("MODERATION_URL", "")

return sluice.config {
  api      = 1,
  listen   = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  services = { moderation = url ~= "" and { url = url, auth = sluice.secret "MODERATION_TOKEN", max_parallel = 200 } or { answer = require "judge" } },
  models   = { teller = model },
  routes   = {
    chat = { path = "/api/stream", front = "token", target = "teller", policies = { { "policies.moderation", topics = { "weapons" }, window = 120 } } },
  },
}
