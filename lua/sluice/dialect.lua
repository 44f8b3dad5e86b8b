-- What clients and upstreams speak. A dialect is a table with a `provider` part (how to ask an upstream and where its events hold text), a
-- `front` part (how clients ask and are answered), or both. Ours lie in dialects/; an operator may give a table of the same shape.
local sandbox = require "sluice.sandbox"
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"

local M = {}

-- What a route or model may name, and which file holds it. Others (sluice.dialects.spec) are required.
local KNOWN = { "anthropic", "gemini", "ollama", "openai", "responses", "token", "ui" }

-- In this order C reads them (enum place); the last is `done_at`.
M.places = { "content", "reasoning", "refusal", "finish", "error", "usage_input", "usage_output", "usage_cached", "usage_reasoning", "tool_calls", "model", "choice",
  "tool_index", "tool_arguments", "logprobs", "refusal_logprobs", "signature", "usage_cache_written" }
-- In one item of the list that tool_calls names (enum tool_place).
M.tool_places = { "index", "id", "name", "arguments" }
local TOOL = { index = "index", id = "id", name = "function.name", arguments = "function.arguments" }

local PLACES_MOST = 96                                  -- as script/gateway.h says

local place = schema.text('a place such as "choices[0].delta.content"', "^[%w_%-]+[%w_%-%.%[%]]*$")

local function set(names, check)
  local out = {}
  for _, name in ipairs(names) do out[name] = { check } end
  return out
end

local places = schema.record(set(M.places, place), "places")

-- { name = check(value) } with free names.
local function map(check, what)
  return function(v, at)
    if type(v) ~= "table" then return at:complain(("must be %s, is %s"):format(what, schema.show(v))) end
    local out = {}
    for k, item in pairs(v) do
      if type(k) ~= "string" then at:child(k):complain(("must be %s"):format(what)) else out[k] = check(item, at:child(k)) end
    end
    return out
  end
end

local function framing_word(v, at)
  if v ~= "sse" and v ~= "ndjson" then return at:complain(('must be "sse" or "ndjson", is %s'):format(schema.show(v))) end
  return v
end

local provider = schema.record({
  name = { schema.text("a name", "^[%w_%-]+$") },
  url = { schema.text("a URL") },
  framing = { framing_word },
  kind = { place },
  places = { places },
  events = { map(places, 'a table of kinds: { ["content_block_delta"] = { content = "delta.text" } }') },
  rare = { schema.list(schema.text("a place or the word of a kind")) },
  event = { schema.func },
  tool = { schema.record(set(M.tool_places, schema.text("a place")), "tool") },
  done = { schema.text("the data of the event that ends a stream") },
  ends = { schema.list(schema.text("the word of a kind")) },
  done_at = { place },
  finish_words = { map(schema.text("a finish reason"), 'a table of words: { end_turn = "stop" }') },
  whole = { places },
  prefill = { schema.flag },
  request = { schema.func, required = "function(req, model) that returns { path =, headers =, body = }" },
  error = { schema.func },
  embed = { schema.record({ request = { schema.func, required = true }, answer = { schema.func } }, "embed") },
}, "a provider dialect")

local framing = schema.record({
  before = { schema.text(), required = true },
  after = { schema.text(), required = true },
}, "a framing")

local function boolean(v, at)
  if type(v) ~= "boolean" then return at:complain(("must be true or false, is %s"):format(schema.show(v))) end
  return v
end

local function operation(v, at)
  if v ~= "chat" and v ~= "embed" then return at:complain(('must be "chat" or "embed", is %s'):format(schema.show(v))) end
  return v
end

local front = schema.record({
  name = { schema.text("a name", "^[%w_%-]+$") },
  methods = { schema.text("methods such as \"GET, HEAD, OPTIONS\"", "^%u[%u, ]*$"), required = true },
  operation = { operation },
  speaks = { schema.text("the name of the provider dialect that says the same") },
  request_id = { schema.text("a header's name", "^[%w%-]+$") }, beside = { schema.integer(0, 16 << 20) },
  headers = { map(schema.text("a header's value"), 'a table of headers: { ["x-version"] = "1" }') },
  content = { framing },
  reasoning = { framing },
  finish = { function(v, at) return (type(v) == "function" and schema.func or framing)(v, at) end },
  tool = { function(v, at) return (type(v) == "function" and schema.func or framing)(v, at) end },
  done = { schema.text("the bytes that end a stream") },
  gather = { boolean }, begin = { schema.func }, open = { schema.func }, close = { schema.func }, logprobs = { schema.func }, fault = { schema.func }, whole = { schema.func },
  respond = { schema.func },
  read = { schema.func },
  error = { schema.func, required = "function(err) that returns the table to send" },
}, "a front dialect")

-- What must stand beside what.
local function check_provider(v, made, at)
  if v.kind == nil and v.places == nil then at:complain('"places" is missing: where its events hold text, such as { content = "choices[0].delta.content" }') end
  if v.kind ~= nil and v.events == nil then at:complain('"events" is missing: with a kind, the places of each kind of event') end
  if v.rare ~= nil and v.event == nil then at:complain('"event" is missing: function(event, out), which reads the rare events') end
  for _, k in ipairs { "events", "ends" } do
    if v[k] ~= nil and v.kind == nil then at:child(k):complain("needs a kind: the place of the word that says what an event is") end
  end
  made.tool = made.tool or TOOL
end

local function check_front(v, made, at)
  if v.read == nil and v.respond == nil then at:complain('"read" is missing: function(req) that fills req.messages') end
  made.read = made.read or function() end
  if v.respond ~= nil or v.operation == "embed" then return end
  if v.content == nil and v.open == nil then at:complain('"content" is missing: { before =, after = }, what stands around the JSON text of a piece (or open, a function)') end
  if v.done == nil and type(v.finish) ~= "function" then at:complain('"done" is missing: the bytes that end a stream (or finish, a function)') end
  made.done = made.done or ""
end

local roles = { provider = { provider, check_provider }, front = { front, check_front } }
local cache = setmetatable({}, { __mode = "k" })

local function module_of(name) return sandbox.public_module("sluice.dialects." .. name) end

local function named(name, role, at)
  for _, known in ipairs(KNOWN) do
    if known == name then
      local t = module_of(name)
      if t[role] then return t end
    end
  end
  local able = {}
  for _, known in ipairs(KNOWN) do
    if module_of(known)[role] then able[#able + 1] = known end
  end
  at:complain(('unknown dialect "%s"%s (known here: %s)'):format(name, suggest.hint(name, able), table.concat(able, ", ")))
end

-- The table of a dialect by its name, or as it was given; nil after a complaint.
local function given(role, v, at)
  if schema.unset(v) then return nil end
  if type(v) == "string" then return named(v, role, at) end
  if type(v) ~= "table" then return at:complain(("must be the name of a dialect or a table, is %s"):format(schema.show(v))) end
  return v
end

-- role: "provider" or "front"; v: a name, a whole dialect, or that part of one. The same table gives the same result.
function M.resolve(role, v, at)
  v = given(role, v, at)
  if v == nil then return nil end
  local name, part = v.name, v
  if type(v[role]) == "table" then
    part = v[role]
  elseif type(v.provider) == "table" or type(v.front) == "table" then
    return at:complain(('the dialect "%s" has no %s part'):format(tostring(name), role))
  end
  if cache[part] then return cache[part] end
  local check, complete = table.unpack(roles[role])
  local made = check(part, at)
  if not made then return nil end
  complete(part, made, at)
  made.name = made.name or (type(name) == "string" and name) or "custom"
  cache[part] = made
  return made
end

-- ---- fronts by path: a dialect may have several, one for each thing that its clients can ask for ({ ["/chat/completions"] = "openai" })

local function ends_with(path, suffix) return path:sub(-#suffix) == suffix end

local function front_at(dialect, path, at)
  local best
  for suffix in pairs(dialect.endpoints or {}) do
    if ends_with(path, suffix) and (not best or #suffix > #best) then best = suffix end
  end
  return M.resolve("front", best and module_of(dialect.endpoints[best]) or dialect, at)
end

-- A dialect that this path is one of, when the route names none.
local function by_path(path, at)
  for _, name in ipairs(KNOWN) do
    local t = module_of(name)
    for suffix in pairs(t.endpoints or {}) do
      if ends_with(path, suffix) then return front_at(t, path, at) end
    end
  end
end

-- The fronts of a route: { path =, front = } for each; a path that ends with /* stands for all paths of its dialects. names: what the route says, a
-- list or nil.
function M.fronts(paths, names, at)
  local out, dialects = {}, {}
  for i, v in ipairs(names or {}) do
    local here = #names > 1 and at:child("front"):child(i) or at:child("front")
    dialects[#dialects + 1] = given("front", v, here)
  end
  if names and #dialects == 0 then return out end
  for _, path in ipairs(paths) do
    local base = path:match("^(.*)/%*$")
    if base then
      local some = false
      for _, dialect in ipairs(names and dialects or { module_of "openai", module_of "anthropic" }) do
        local suffixes = {}
        for suffix in pairs(dialect.endpoints or {}) do suffixes[#suffixes + 1] = suffix end
        table.sort(suffixes)
        for _, suffix in ipairs(suffixes) do
          some = true
          out[#out + 1] = { path = base .. suffix, front = front_at(dialect, suffix, at:child("front")) }
        end
      end
      if not some then at:child("path"):complain(('"%s": the front has one path only; write it whole'):format(path)) end
    elseif names then
      if #dialects > 1 then at:child("front"):complain('names several dialects, which only a path such as "/v1/*" can have') end
      out[#out + 1] = { path = path, front = front_at(dialects[1], path, at:child("front")) }
    else
      local front_found = by_path(path, at:child("path"))
      if front_found then
        out[#out + 1] = { path = path, front = front_found }
      else
        at:complain(('"front" is missing: what clients of %s speak, such as front = "token" (or files = "DIR" to serve files)'):format(path))
      end
    end
  end
  return out
end

-- ---- what C reads of a provider

-- All paths in one list, and for each kind of event where in it each place stands (0: nowhere).
function M.compiled(d)
  local paths, kinds, is_rare = {}, {}, {}
  local function add(path)
    if not path then return 0 end
    paths[#paths + 1] = path
    return #paths
  end
  local function kind(name, at)
    local k = { name = name, at = {} }
    for i, p in ipairs(M.places) do k.at[i] = add(at[p]) end
    k.at[#M.places + 1] = add(d.done_at)
    kinds[#kinds + 1] = k
    return k
  end
  local out = { name = d.name, ndjson = d.framing == "ndjson", paths = paths, kinds = kinds, kind_at = add(d.kind), done = d.done or "", finish_words = {}, whole = {}, tool = {},
    request = d.request, event = d.event, error = d.error, embed_request = d.embed and d.embed.request, embed_answer = d.embed and d.embed.answer }
  if d.kind then
    for _, name in ipairs(d.rare or {}) do is_rare[name] = true end
    local names, of = {}, {}
    for _, list in ipairs { d.rare or {}, d.ends or {} } do for _, name in ipairs(list) do of[name] = {} end end
    for name, at in pairs(d.events) do of[name] = at end
    for name in pairs(of) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
      local k = kind(name, of[name])
      k.rare = is_rare[name]
      for _, last in ipairs(d.ends or {}) do k.ends = k.ends or last == name end
    end
  else
    kind("", d.places)
    out.rare_from = #paths
    for _, path in ipairs(d.rare or {}) do add(path) end
    out.n_rare = #paths - out.rare_from
  end
  if #paths > PLACES_MOST then error(("the dialect \"%s\" declares %d places; at most %d are possible"):format(d.name, #paths, PLACES_MOST), 0) end
  for word, means in pairs(d.finish_words or {}) do out.finish_words[#out.finish_words + 1] = word out.finish_words[#out.finish_words + 1] = means end
  for i, p in ipairs(M.places) do out.whole[i] = d.whole and d.whole[p] or "" end
  out.whole[#M.places + 1] = ""
  for i, name in ipairs(M.tool_places) do out.tool[i] = d.tool[name] or "" end
  return out
end

-- What C reads of a front.
function M.compiled_front(f)
  local function both(out, name)
    local v = f[name]
    if type(v) == "table" then out[name .. "_before"], out[name .. "_after"] = v.before, v.after else out[name] = v end
  end
  local out = { name = f.name, methods = f.methods, done = f.done, read = f.read, error = f.error, speaks = f.speaks, request_id = f.request_id,
    beside = f.beside, operation = f.operation or "chat", begin = f.begin, open = f.open, close = f.close, logprobs = f.logprobs, fault = f.fault,
    gather = f.gather, whole = f.whole, respond = f.respond, headers = {} }
  for _, name in ipairs { "content", "reasoning", "tool", "finish" } do both(out, name) end
  local names = {}
  for name in pairs(f.headers or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do out.headers[#out.headers + 1] = name out.headers[#out.headers + 1] = f.headers[name] end
  return out
end

return M
