-- Answers to exact repeats come out of a cache: at once, as a stream or as one document, whichever the client asked for.
--
--   sluice.parts.cache { ttl = "5m" }
--   sluice.parts.cache { ttl = "1h", max_bytes = "256mb", shared = true, key = function(req) return req.headers["accept-language"] or "" end }
--
-- A repeat is a request whose messages, tools, models and parameters are the same; user, metadata and their like change no answer and do not count. By default
-- each client has answers of its own: it is known by ctx.key (a text, or a table with an id, as api_keys sets it), else by the key that it sends, else by its
-- address. `shared = true` shows everybody's answers to everybody. Whatever the temperature, a repeat gets the answer that was given first.
--
-- Kept is what the model said, whole: text, reasoning, tool calls, usage. An answer that failed, was cut short (also by max_tokens), was stopped or refused by
-- anybody, or whose client left, is not; nor what two models gave together. Of several choices (n) none is kept, nor an answer with logprobs.
--
-- Where it stands in the list decides what is kept: the answer as it comes there. Policies before it (nearer to the client) see every request and every answer,
-- kept or not, so put limits, keys and redaction first; those behind it see only what is asked of the model, and what they make of it is not part of the key.
-- The header x-cache tells "hit" or "miss". A client's Cache-Control says nothing: every EventSource sends no-cache.
local sluice = require "sluice"

local P = sluice.policy {
  name = "cache",
  api  = 1,
  doc  = "Keeps complete answers and gives them again to exact repeats of their requests.",
  options = {
    ttl       = { type = "duration", default = "5m", min = 1, doc = "How long an answer is kept." },
    max_bytes = { type = "size", default = "64mb", doc = "Of all answers together; one may take a sixteenth of it, at most 1 MiB." },
    key       = { type = "function", doc = "function(req, ctx) returning a text that must be the same, too; nil: this request has nothing to do with the cache." },
    shared    = { type = "boolean", default = false, doc = "An answer is for all clients, not only for the one who asked first." },
  },
}

local ANSWER_MOST = 1 << 20                               -- bytes: what one value of a cache may take

function P.prepare(o, use)
  return sluice.cache(("cache/%s/%s"):format(use.route, use.policy), { ttl = o.ttl, max_bytes = ("%db"):format(o.max_bytes) })
end

-- ---- which request is a repeat

local NO_MATTER = {}
for _, name in ipairs { "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "stream_options" } do
  NO_MATTER[name] = true
end

local function params_of(req)
  local params = {}
  for name, value in pairs(req.params) do
    if not NO_MATTER[name] then params[name] = value end
  end
  return params
end

-- Whose answers a request may get, as a text; nil: nobody knows.
local function client_of(req, ctx)
  if ctx.options.shared then return "all" end
  local key = ctx.key
  if type(key) == "table" then key = key.id end
  if key ~= nil then return "key " .. tostring(key) end
  if ctx.key ~= nil then return nil end
  local sent = req.headers.authorization or req.headers["x-api-key"] or req.headers["api-key"]
  return sent and "sent " .. sent or "ip " .. ctx.client.ip
end

-- Nil: this request has nothing to do with the cache.
local function id_of(req, ctx)
  local client, own = client_of(req, ctx), ""
  if not client or #req.messages == 0 or (math.type(req.params.n) and req.params.n > 1) or req.params.logprobs == true then return nil end
  if ctx.options.key then
    own = ctx.options.key(req, ctx)
    if own == nil then return nil end
  end
  return sluice.sha256(sluice.json.encode { client, tostring(own), req.dialect, ctx.plan.models, req.messages, req.tools or false, params_of(req) })
end

function P.prompt(req, ctx)
  local id = id_of(req, ctx)
  if not id then return end
  local kept = ctx.prepared:get(id)
  ctx:header("x-cache", kept and "hit" or "miss")
  ctx:tag("cache", kept and "hit" or "miss")
  if kept then return sluice.reply { blocks = kept.blocks, finish = kept.finish, usage = kept.usage } end
  ctx.state.id = id
end

-- ---- gathering the answer, in its order

local function asked(ctx) return ctx.state.id ~= nil end

function P.response(_, ctx)                               -- a try begins to answer
  local s = ctx.state
  if (s.size or 0) > 0 then s.id = nil end                -- another came this far and died: this one may go on with its text, or begin anew
  s.blocks, s.size = {}, 0
end

-- `torn` is set while something is taken down, so that a failure there (with on_error = "open") leaves no answer with a hole.
local function take(s, size, fn)
  if s.torn then return end
  s.torn, s.size = true, s.size + size
  if s.size > ANSWER_MOST then
    s.blocks = {}
    return
  end
  fn()
  s.torn = false
end

local function take_text(s, channel, text)
  local last = s.blocks[#s.blocks]
  if not last or last.channel ~= channel then
    last = { channel = channel }
    s.blocks[#s.blocks + 1] = last
  end
  last[#last + 1] = text
end

-- A tool call's arguments as they come here; policies nearer to the client may change them before the hook sees the call.
local function take_arguments(s, text, last)
  if not s.arguments or s.arguments.over then s.arguments = { over = false } end
  s.arguments[#s.arguments + 1] = text
  s.arguments.over = last
end

P.filter = {
  {
    when = asked, changes = false,
    text = function(text, ctx, part)
      local s = ctx.state
      if text ~= "" then take(s, #text, function() take_text(s, part.channel, text) end) end
    end,
  },
  {
    on = { "tool_args" }, raw_json = true, when = asked, changes = false,
    text = function(text, ctx, part)
      local s = ctx.state
      take(s, #text, function() take_arguments(s, text, part.last) end)
    end,
  },
}

-- The arguments of a call as they stand at this place, or nil when that cannot be told: policies on both sides have changed them.
local function arguments_of(call, came)
  local was = sluice.json.decode(call.arguments)
  local changed = (call.args ~= nil or was ~= nil) and sluice.json.encode(call.args) ~= sluice.json.encode(was)
  if not changed then return came end                     -- at most by those nearer to the client, who will see it again
  if came == call.arguments then return sluice.json.encode(call.args) end
end

function P.tool_call(call, ctx)
  local s = ctx.state
  if not asked(ctx) then return end
  take(s, #call.name + #call.id, function()
    local arguments = arguments_of(call, table.concat(s.arguments or {}))
    s.arguments = nil
    if not arguments then s.id = nil return end
    s.blocks[#s.blocks + 1] = { tool = { id = call.id, name = call.name, arguments = arguments } }
  end)
end

-- ---- keeping it

local COMPLETE = { stop = true, tool_calls = true }       -- "length" and "content_filter" are answers with something missing

function P.finish(fin, ctx)
  local s, reason = ctx.state, fin.reason or "stop"
  if not s.id or s.torn or not COMPLETE[reason] then return end
  s.whole = { finish = reason }
  if not fin.usage.estimated then
    s.whole.usage = { input = fin.usage.input, output = fin.usage.output, cached = fin.usage.cached, reasoning = fin.usage.reasoning,
      cache_written = fin.usage.cache_written }
  end
end

function P.log(sum, ctx)
  local s = ctx.state
  if not s.whole or not sum.complete or #s.blocks == 0 then return end
  for i, block in ipairs(s.blocks) do
    s.blocks[i] = block.tool and block or { channel = block.channel, text = table.concat(block) }
  end
  s.whole.blocks = s.blocks
  ctx.prepared:set(s.id, s.whole)                         -- one that is too large is not kept
end

return P
