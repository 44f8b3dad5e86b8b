-- Answers that are JSON, or end where they stop being it.
--
--   sluice.parts.json_mode {}
--   sluice.parts.json_mode { on_bad = "reject", hold = true, schema = { type = "object", required = { "city" }, properties = { city = { type = "string" } } } }
--
-- The model is asked for JSON, and its text is checked while it streams: what left is the beginning of a JSON document at every moment, since the first byte
-- that cannot belong to one is not let go. Whether the document is whole, and fits the schema, is known at its end; with `hold` nothing leaves before that.
-- `schema` knows type, required, properties, items and enum (title and description are passed over). An answer without any text ends with the reason too.
local sluice = require "sluice"

local P = sluice.policy {
  name = "json_mode",
  api  = 1,
  doc  = "Asks for JSON, checks it while it streams, ends what is none.",
  options = {
    on_bad = { type = "string", default = "stop", one_of = { "stop", "reject" }, doc = 'stop: the answer ends there with the reason "bad_json"; reject: with an error.' },
    schema = { type = "map", doc = "What the document must be." },
    hold   = { type = "boolean", default = false, doc = "Let nothing go before all of it was checked." },
    ask    = { type = "boolean", default = true, doc = 'Set response_format = { type = "json_object" }, unless the request has one.' },
    max    = { type = "size", default = "128kb", max = 1048576,
               doc = "The longest answer, with schema or hold. A schema is looked at in one go: a large and dense document may take more than a filter's 20 ms." },
  },
}

-- ---- schemas: compiled to functions(value) that return nil, or what is wrong and where

local function kind_of(value)
  if value == sluice.json.null then return "null" end
  if sluice.json.is_array(value) then return "array" end
  return type(value) == "table" and "object" or type(value)
end

local is = {
  integer = function(value) return type(value) == "number" and value == math.floor(value) end,
  number  = function(value) return type(value) == "number" end,
}
for _, name in ipairs { "object", "array", "string", "boolean", "null" } do
  is[name] = function(value) return kind_of(value) == name end
end

local compile

local words = {}                                          -- what a schema may say: each gives a check, or nil after bad(sentence, key...)

function words.type(want, bad)
  local list = type(want) == "table" and want or { want }
  for i = 1, #list do
    if not is[list[i]] then return bad(("unknown type %s (known: array, boolean, integer, null, number, object, string)"):format(tostring(list[i]))) end
  end
  return function(value)
    for i = 1, #list do if is[list[i]](value) then return end end
    return ("is %s"):format(kind_of(value))
  end
end

function words.enum(list, bad)
  if type(list) ~= "table" or #list == 0 then return bad "must be a list of values" end
  for i = 1, #list do
    if type(list[i]) == "table" then return bad "may hold texts, numbers, booleans and sluice.json.null" end
  end
  return function(value)
    for i = 1, #list do if list[i] == value then return end end
    return "is none of the values"
  end
end

function words.required(list, bad)
  if type(list) ~= "table" then return bad "must be a list of names" end
  for i = 1, #list do if type(list[i]) ~= "string" then return bad "must be a list of names" end end
  return function(value)
    if kind_of(value) ~= "object" then return end
    for i = 1, #list do if value[list[i]] == nil then return ('has no "%s"'):format(list[i]) end end
  end
end

function words.properties(map, bad)
  if type(map) ~= "table" then return bad "must be a table of schemas by name" end
  local checks = {}
  for name, schema in pairs(map) do
    checks[name] = compile(schema, function(why, ...) return bad(why, name, ...) end)
  end
  return function(value)
    if kind_of(value) ~= "object" then return end
    for name, item in pairs(value) do
      local why, where = nil, nil
      if checks[name] then why, where = checks[name](item) end
      if why then return why, "." .. name .. (where or "") end
    end
  end
end

function words.items(schema, bad)
  local check = compile(schema, bad)
  return check and function(value)
    if kind_of(value) ~= "array" then return end
    for i, item in ipairs(value) do
      local why, where = check(item)
      if why then return why, ("[%d]%s"):format(i - 1, where or "") end
    end
  end
end

function words.title() return function() end end
words.description = words.title

function compile(schema, bad)
  if type(schema) ~= "table" then return bad(("must be a table such as { type = \"object\" }, is a %s"):format(type(schema))) end
  local names, checks = {}, {}
  for name in pairs(schema) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    if not words[name] then
      bad("is not known here (known: type, required, properties, items, enum)", name)
    else
      checks[#checks + 1] = words[name](schema[name], function(why, ...) return bad(why, name, ...) end)
    end
  end
  return function(value)
    for _, check in ipairs(checks) do
      local why, where = check(value)
      if why then return why, where end
    end
  end
end

function P.prepare(o, use)
  return o.schema and compile(o.schema, function(why, ...) use:bad(why, "schema", ...) end)
end

-- ---- answers

function P.prompt(req, ctx)
  if ctx.options.ask and req.params.response_format == nil then req.params.response_format = { type = "json_object" } end
end

function P.attempt(try, ctx)                              -- another try begins a new answer
  local s = ctx.state
  if try.continues then return end
  s.checker, s.pieces, s.size, s.bad = nil, nil, nil, nil
end

local function stop() return sluice.stop { reason = "bad_json" } end

-- `good` still leaves: through the filters of the other policies, which the text of a stop would pass by. So the stop itself is said at the next call, or by finish.
local function ended(ctx, why, good)
  ctx.state.bad = true
  ctx:tag("bad_json", why)
  if ctx.options.on_bad == "reject" then return sluice.reject(502, "bad_json", "The model's answer is not the JSON that was asked for.") end
  return good ~= "" and good or stop()
end

-- What is wrong with a whole document, or nil.
local function fault(ctx)
  local s = ctx.state
  if not s.checker:complete() then return "cut short" end
  if not ctx.prepared then return end
  local value, unreadable = sluice.json.decode(table.concat(s.pieces))
  if unreadable then return unreadable end
  local why, where = ctx.prepared(value)
  return why and ("$%s %s"):format(where or "", why)
end

-- How much of the text may be taken: up to the first byte that cannot be JSON, and up to the limit, which falls between two characters.
local function take(ctx, text)
  local s, o = ctx.state, ctx.options
  local n, why = s.checker:feed(text), nil
  if n < #text then why = "no JSON" end
  if ctx.prepared or o.hold then
    local left = o.max - s.size
    if n > left then
      n, why = left, "too long"
      while n > 0 and text:byte(n + 1) & 0xc0 == 0x80 do n = n - 1 end
    end
    s.size = s.size + n
    if ctx.prepared then s.pieces[#s.pieces + 1] = text end
  end
  return n, why
end

P.filter = {
  {
    on   = { "content" },
    text = function(text, ctx, part)
      local s = ctx.state
      if s.bad then return stop() end
      if not s.checker then s.checker, s.pieces, s.size = sluice.json.checker(), {}, 0 end
      local n, why = take(ctx, text)
      if why then return ended(ctx, why, text:sub(1, n)) end
      why = part.last and fault(ctx)
      if why then return ended(ctx, why, text) end
    end,
  },
  { -- hold: the gate behind it
    on = { "content" }, unit = "all", max_hold = "1mb",
    when  = function(ctx) return ctx.options.hold end,
    check = function(_, ctx)
      if ctx.state.bad then return stop() end
    end,
  },
}

function P.finish(_, ctx)
  if ctx.state.bad then return stop() end
  if ctx.state.checker then return end
  ctx:tag("bad_json", "no text")
  return stop()
end

return P
