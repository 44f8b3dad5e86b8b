-- Recorded streams (spec/wire/DIALECT/NAME.sse) and what they mean (NAME.json), by what the dialects declare: places, kinds, rare events. Here Lua reads them, to
-- tell a wrong declaration from a wrong reader.
local t = require "sluice.testing"
local json = require "dkjson"

local g = assert(t.load { policies = { "policies.dialects" } })

local function ask(want) return json.decode(g:chat({ user = json.encode(want) }).text) end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function names(dialect)
  local p, out = assert(io.popen("ls spec/wire/" .. dialect)), {}
  for file in p:lines() do out[#out + 1] = file:match "^(.*)%.sse$" end
  p:close()
  return out
end

-- What stands at "choices[0].delta.content"; null and nothing are the same.
local function at(event, place)
  local v = event
  for name, index in place:gmatch "([%w_%-]+)([%[%]%d]*)" do
    v = type(v) == "table" and v[name] or nil
    for i in index:gmatch "%d+" do v = type(v) == "table" and v[math.tointeger(i) + 1] or nil end
  end
  if v ~= json.null then return v end
end

local function has(list, v)
  for _, item in ipairs(list or {}) do
    if item == v then return true end
  end
end

local CHANNELS = { content = "text", reasoning = "reasoning", refusal = "refusal" }

local function choice_of(said, number)
  said.choices[number + 1] = said.choices[number + 1] or { text = "", reasoning = "", refusal = "", tools = {} }
  return said.choices[number + 1]
end

local function tool(said, number, index, id, name, arguments)
  local calls = choice_of(said, number).tools
  local call = calls[index + 1] or { arguments = "" }
  calls[index + 1] = call
  call.id, call.name, call.arguments = call.id or id, call.name or name, call.arguments .. (arguments or "")
end

local apply = {
  text = function(said, channel, text, number)
    local c = choice_of(said, number)
    c[CHANNELS[channel]] = c[CHANNELS[channel]] .. text
  end,
  tool = function(said, call) tool(said, call.choice or 0, call.index, call.id, call.name, call.arguments) end,
  finish = function(said, word, number) choice_of(said, number).finish = word end,
  usage = function(said, u) said.usage = u end,
  error = function(said) said["end"] = "upstream_error" end,
  model = function(said, name) said.model = name end,
  done = function(said) said["end"] = "done" end,
}

local function by_places(said, places, event)
  local number = places.choice and at(event, places.choice) or 0
  local function v(name) return places[name] and at(event, places[name]) end
  if v "error" then said["end"] = "upstream_error" end
  for channel in pairs(CHANNELS) do
    if v(channel) then apply.text(said, channel, v(channel), number) end
  end
  for _, call in ipairs(v "tool_calls" or {}) do tool(said, number, call.index, call.id, call["function"].name, call["function"].arguments) end
  if v "finish" then choice_of(said, number).finish = v "finish" end
  if v "usage_input" then said.usage = { input = v "usage_input", output = v "usage_output", cached = v "usage_cached", reasoning = v "usage_reasoning" } end
  said.model = v "model" or said.model
end

local function meaning(dialect, bytes)
  local d = ask { call = "places", dialect = dialect }
  local said = { choices = {}, ["end"] = "upstream_truncated" }
  for data in bytes:gmatch "data: ([^\n]*)\n\n" do
    if said["end"] == "upstream_error" then break end
    if data == d.done then said["end"] = "done" break end
    local event = assert(json.decode(data))
    local kind = d.kind and at(event, d.kind)
    local rare = d.kind and has(d.rare, kind)
    for _, place in ipairs(d.kind and {} or d.rare or {}) do rare = rare or at(event, place) ~= nil end
    if rare then
      for _, op in ipairs(ask { call = "event", dialect = dialect, event = event }) do apply[op[1]](said, table.unpack(op, 2)) end
    else
      by_places(said, kind and (d.events[kind] or {}) or d.places, event)
    end
    if kind and has(d.ends, kind) then said["end"] = "done" end
  end
  return said
end

local function tools_of(c)
  local out = {}
  for i, call in pairs(c.tools) do out[#out + 1] = { i, call } end
  table.sort(out, function(a, b) return a[1] < b[1] end)
  for i, pair in ipairs(out) do out[i] = pair[2] end
  return out
end

for _, dialect in ipairs { "openai", "responses" } do
  describe("streams of " .. dialect .. ":", function()
    local all = names(dialect)
    it("are there", function() assert.is_true(#all >= 8) end)
    for _, name in ipairs(all) do
      local means = json.decode(read(("spec/wire/%s/%s.json"):format(dialect, name)), 1, nil)
      it(name .. ": " .. means.about, function()
        local said = meaning(dialect, read(("spec/wire/%s/%s.sse"):format(dialect, name)))
        local c = choice_of(said, 0)
        assert.same({ means.text, means.reasoning, means.refusal, means.finish, means["end"] }, { c.text, c.reasoning, c.refusal, c.finish, said["end"] })
        assert.same(means.tools, tools_of(c))
        assert.same(means.usage, said.usage)
        for i, other in ipairs(means.choices or {}) do assert.same(other, { text = choice_of(said, i - 1).text, finish = choice_of(said, i - 1).finish }) end
        if name ~= "filter" then assert.is_string(said.model) end
      end)
    end
  end)
end
