-- One more line in the log for each exchange: who asked, which model answered, what it used.
--
--   sluice.parts.audit {}
--   sluice.parts.audit { fields = { "id", "key", "model", "usage", "tags" } }
--
-- The event is "audit". What was asked and answered is not told, unless `text = true` is written: then `question` is what the user wrote and `answer` what the client
-- got, the first kilobyte of each; with redact or mask_secrets on the route, that is more than the model saw. Put it first on the route, so that no other policy changes
-- the answer behind its back. `tags` are those that were set by then; what other policies tag in their own log hooks stands on the request's line.
local sluice = require "sluice"

local TEXT_MOST = 1024                                    -- bytes; a longer value is cut in the log anyway

-- What a field says: name, value, name, value ...
local says = {
  id             = function(_, ctx) return "id", ctx.id end,
  route          = function(_, ctx) return "route", ctx.route end,
  ip             = function(_, ctx) return "ip", ctx.client.ip end,
  key            = function(_, ctx) return "key", type(ctx.key) == "table" and ctx.key.id or nil end,
  model          = function(_, ctx) return "model", ctx.target end,
  finish         = function(sum) return "finish", sum.finish end,
  status         = function(sum) return "status", sum.status end,
  tokens         = function(sum) return "tokens", sum.tokens end,
  bytes          = function(sum) return "bytes", sum.bytes end,
  first_token_ms = function(sum) return "first_token_ms", sum.first_token_ms end,
  total_ms       = function(sum) return "total_ms", sum.total_ms end,
  held_ms        = function(sum) return "held_ms", sum.held_ms end,
  usage          = function(sum) return "input_tokens", sum.usage.input, "output_tokens", sum.usage.output, "estimated", sum.usage.estimated end,
}

local known = { "bytes", "finish", "first_token_ms", "held_ms", "id", "ip", "key", "model", "route", "status", "tags", "tokens", "total_ms", "usage" }

local P = sluice.policy {
  name = "audit",
  api  = 1,
  doc  = "Writes a line with chosen facts of each exchange to the log.",
  options = {
    fields = { type = "list", default = { "id", "route", "ip", "key", "model", "finish", "status", "usage", "total_ms", "tags" }, doc = "What the line tells: " .. table.concat(known, " ") .. "." },
    text   = { type = "boolean", default = false, doc = "Tell the question and the answer too. They are personal data." },
    to     = { type = "string", default = "log", one_of = { "log" }, doc = "Where the line goes." },
  },
}

function P.prepare(o, use)
  local is_known = {}
  for _, name in ipairs(known) do is_known[name] = true end
  for i, name in ipairs(o.fields) do
    if not is_known[name] then use:bad(("unknown field %s (known: %s)"):format(tostring(name), table.concat(known, ", ")), "fields", i) end
  end
end

local function beginning(text)
  if #text <= TEXT_MOST then return text end
  local n = TEXT_MOST
  while text:byte(n + 1) & 0xc0 == 0x80 do n = n - 1 end
  return text:sub(1, n)
end

function P.validate(req, ctx)
  if ctx.options.text then ctx.state.question = beginning(req:last_user() or "") end
end

function P.attempt(try, ctx)
  if not try.continues then ctx.state.answer = nil end    -- another try begins a new answer
end

P.filter = {
  on   = { "content" }, changes = false,
  when = function(ctx) return ctx.options.text end,
  text = function(text, ctx)
    local answer = ctx.state.answer or ""
    if #answer < TEXT_MOST then ctx.state.answer = beginning(answer .. text) end
  end,
}

local function add(fields, name, value, ...)
  if name == nil then return end
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then fields[name] = value end
  return add(fields, ...)
end

function P.log(sum, ctx)
  local fields = {}
  for _, name in ipairs(ctx.options.fields) do
    if says[name] then add(fields, says[name](sum, ctx)) end
    if name == "tags" then
      for tag, value in pairs(ctx.tags) do if #tag < 60 then fields["tag." .. tag] = value end end
    end
  end
  if ctx.options.text then add(fields, "question", ctx.state.question, "answer", ctx.state.answer) end
  sluice.log("info", "audit", fields)
end

return P
