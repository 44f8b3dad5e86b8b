-- Words that shall not be said: thousands of them, in any case, whole words only, also with zero-width characters inside.
--
--   sluice.parts.banned_words { words = { "heck", "gosh darn" }, action = "stop", input = "reject" }
local sluice = require "sluice"

local P = sluice.policy {
  name = "banned_words",
  api  = 1,
  doc  = "Masks words in the answer, or ends it there; may refuse questions that hold them.",
  options = {
    words  = { type = "list", required = true, doc = "The words." },
    action = { type = "string", default = "mask", one_of = { "mask", "stop", "reject" }, doc = "What happens to an answer that says one." },
    mask   = { type = "string", default = "***", doc = "What stands in for a word." },
    input  = { type = "string", default = "pass", one_of = { "pass", "mask", "reject" }, doc = "What happens to a question that holds one." },
    whole  = { type = "boolean", default = true, doc = "Only whole words, not parts of longer ones." },
    fold   = { type = "boolean", default = true, doc = "Case does not matter." },
  },
}

function P.prepare(o)
  local list = {}
  for i = 1, #o.words do list[i] = o.words[i] end
  return sluice.match.words(list, { fold = o.fold, whole = o.whole, kind = "banned" })
end

local function refuse() return sluice.reject(422, "banned_word", "This text holds a word that is not allowed here.") end

function P.prompt(req, ctx)
  local input = ctx.options.input
  if input == "pass" then return end
  local found = false
  req:map_text(function(text)
    local clean, n = ctx.prepared:gsub(text, ctx.options.mask)
    found = found or n > 0
    return clean
  end, { "user" })
  if found and input == "reject" then return refuse() end
end

P.filter = {
  match   = function(ctx) return ctx.prepared end,
  replace = function(_, ctx)
    local action = ctx.options.action
    if action == "mask" then return ctx.options.mask end
    if action == "stop" then return sluice.stop { reason = "content_filter" } end
    return refuse()
  end,
}

return P
