-- Ends the answer where one of some texts begins, also for models that have no such setting.
--
--   sluice.parts.stop_sequences { list = { "###", "\nUser:" } }
local sluice = require "sluice"

local P = sluice.policy {
  name = "stop_sequences",
  api  = 1,
  doc  = "Ends the answer at the first of the given texts.",
  options = {
    list = { type = "list", required = true, doc = "The texts." },
    keep = { type = "boolean", default = false, doc = "Whether the text itself is still told." },
  },
}

function P.prepare(o)
  local list = {}
  for i = 1, #o.list do list[i] = o.list[i] end
  return sluice.match.words(list, { kind = "stop" })
end

P.filter = {
  on      = { "content" },
  match   = function(ctx) return ctx.prepared end,
  replace = function(m, ctx) return sluice.stop { reason = "stop", text = ctx.options.keep and m.text or "" } end,
}

return P
