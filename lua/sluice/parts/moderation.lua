-- Banned topics, judged by a service of yours: the question while the model already works on it, the answer in windows before they leave.
--
--   services = { moderation = { url = "http://mod.internal:8000" } },
--   ...
--   sluice.parts.moderation { service = "moderation", path = "/v1/judge", topics = { "weapons", "self-harm" } }
--
-- The service is sent   POST /v1/judge   { "text": "...", "topics": ["weapons", ...], "side": "input" | "output" }
-- and answers 200 with  { "flagged": true, "topic": "weapons" }   (topic may be left out)   or   { "flagged": false }.
-- One that speaks otherwise, or a judgement of your own, is a function in place of it:
--
--   sluice.parts.moderation { judge = function(text, ctx, side) return text:find "bomb" and "weapons" end }
--
-- which returns nothing, true or the topic, and may wait (for services that its file got by sluice.service).
local sluice = require "sluice"

local P = sluice.policy {
  name = "moderation",
  api  = 1,
  doc  = "Refuses questions on banned topics and ends answers that turn to one; a service or a function judges.",
  options = {
    service  = { type = "service", unless = "judge", doc = "Who judges: a service that the gateway file declares." },
    path     = { type = "string", default = "/v1/judge", doc = "Its path." },
    judge    = { type = "function", doc = "function(text, ctx, side) in place of a service: returns nothing, true or the topic." },
    topics   = { type = "list", default = {}, of = { type = "string" }, doc = "What the service is asked about." },
    input    = { type = "boolean", default = true, doc = "Whether questions are judged." },
    output   = { type = "boolean", default = true, doc = "Whether answers are judged." },
    window   = { type = "integer", default = 400, min = 1, max = 10000, doc = "Characters of an answer that are judged at once, and held until then." },
    overlap  = { type = "integer", default = 60, min = 0, max = 10000, doc = "Characters before a window that are judged with it again." },
    timeout  = { type = "duration", default = "800ms", min = 1, max = 1900, doc = "How long the service may take." },
    on_down  = { type = "string", default = "closed", one_of = { "closed", "open" }, doc = "What happens when the service gives no judgement: 503, or the text passes." },
    withheld = { type = "string", default = "\n\n[The rest of this answer was withheld.]", doc = "What an answer ends with in place of its rest." },
  },
}

-- What a judge said: the topic that is banned, true when it has no name, nil when all is well.
local function topic_of(said)
  if said == nil or said == false then return nil end
  if said == true or said == "" then return true end
  if type(said) == "string" then return said end
  error(("the judge returned a %s; it may return nothing, true or the topic"):format(type(said)), 0)
end

-- The service's judgement as a judge says it; or nil and why there is none.
local function judgement(res)
  if res.status ~= 200 then return nil, ("status %d"):format(res.status) end
  local ok, said = pcall(res.json)
  if not ok or type(said) ~= "table" or type(said.flagged) ~= "boolean" then return nil, "no { \"flagged\": true or false }" end
  return { topic = said.flagged and (type(said.topic) == "string" and said.topic or true) }
end

local function ask_service(text, o, side)
  local topics = sluice.json.array {}
  for i, topic in ipairs(o.topics) do topics[i] = topic end
  local res, err = o.service:post(o.path, { json = { text = text, topics = topics, side = side }, timeout = o.timeout })
  if not res then return nil, err end
  return judgement(res)
end

-- The banned topic that a text is about, or nil.
local function judge(text, ctx, side)
  local o = ctx.options
  if not text:find "%S" then return nil end
  if o.judge then return topic_of(o.judge(text, ctx, side)) end
  local said, why = ask_service(text, o, side)
  if said then return topic_of(said.topic) end
  if o.on_down == "open" then
    ctx:tag("unjudged", side)
    return nil
  end
  if type(why) ~= "string" then error(why) end           -- the service's own error: 503, and the log says what it was
  print(("moderation: %s answered with %s"):format(tostring(o.service), why))
  error(sluice.reject(503, "dependency_failed", "A service that this gateway needs did not answer; ask again."))
end

function P.prompt(req, ctx)
  if not ctx.options.input then return end
  local text = req:text "user"
  ctx:gate(function()                                    -- runs beside the model; the first byte waits for it
    local topic = judge(text, ctx, "input")
    if not topic then return end
    ctx:tag("blocked_topic", topic)
    return sluice.reject(422, "topic_not_allowed", ("This assistant does not talk about %s."):format(topic == true and "that" or topic))
  end)
end

P.filter = {
  when  = function(ctx) return ctx.options.output end,
  unit  = function(ctx) return { chars = ctx.options.window, overlap = ctx.options.overlap } end,
  check = function(text, ctx)
    local topic = judge(text, ctx, "output")
    if not topic then return end
    ctx:tag("blocked_topic", topic)
    return sluice.stop { reason = "content_filter", text = ctx.options.withheld }
  end,
}

return P
