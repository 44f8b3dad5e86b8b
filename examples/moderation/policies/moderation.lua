-- policies/moderation.lua: banned topics, judged by an external service, without slowing the stream down.
local sluice = require "sluice"

local moderation = sluice.service "moderation"

local P = sluice.policy {
  name = "moderation",
  api  = 1,
  doc  = "Input is judged while the model already works; output in windows before they leave.",
  options = {
    topics = { type = "list",    required = true, doc = "What the judge shall look for." },
    window = { type = "integer", default = 400, min = 1, doc = "Characters of the answer that are judged at a time." },
  },
}

local function judge(text, ctx, side)
  local res, err = moderation:post("/v1/judge", {
    json    = { text = text, topics = ctx.options.topics, side = side },
    timeout = "800ms",
  })
  if not res then error(err) end                    -- on_error decides: closed by default
  if res.status ~= 200 then error(("the judge answered with status %d"):format(res.status)) end
  local v = res.json()
  if v.flagged then return v.topic end
end

function P.prompt(req, ctx)
  local text = req:text "user"
  ctx:gate(function()                               -- runs beside the model call
    local topic = judge(text, ctx, "input")         -- the first byte waits for it
    if topic then
      ctx:tag("blocked_topic", topic)
      return sluice.reject(422, "topic_not_allowed", "This assistant does not talk about " .. topic .. ".")
    end
  end)
end

P.filter = {
  on    = { "content" },
  unit  = function(ctx) return { chars = ctx.options.window, overlap = math.min(60, ctx.options.window) } end,
  check = function(text, ctx)                       -- may wait: the stream queues behind it
    local topic = judge(text, ctx, "output")
    if topic then
      ctx:tag("blocked_topic", topic)
      return sluice.stop { reason = "content_filter", text = "\n\n[The rest of this answer was withheld.]" }
    end
  end,
}

return P
