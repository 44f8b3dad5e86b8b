-- Recorded streams of each provider dialect (spec/wire/DIALECT/) through the whole stream machine: what reaches a client is what the recording means,
-- wherever its bytes are cut, streaming and not, with a filter on it and without. A new recording is two files and no code.
local t = require "sluice.testing"
local json = require "sluice.testing.json"
local lfs = require "lfs"

local WIRE = "spec/wire"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

-- { dialect =, name =, bytes =, means = } of all that is recorded.
local function recordings()
  local out = {}
  for dialect in lfs.dir(WIRE) do
    if dialect:sub(1, 1) ~= "." and lfs.attributes(WIRE .. "/" .. dialect, "mode") == "directory" then
      for file in lfs.dir(WIRE .. "/" .. dialect) do
        local name, framing = file:match "^(.+)%.(%a+)$"
        if framing == "sse" or framing == "ndjson" then
          local path = ("%s/%s/%s"):format(WIRE, dialect, name)
          out[#out + 1] = { dialect = dialect, name = name, framing = framing, bytes = read(path .. "." .. framing), means = json.decode(read(path .. ".json")) }
        end
      end
    end
  end
  table.sort(out, function(a, b) return a.dialect .. a.name < b.dialect .. b.name end)
  return out
end

local SOURCE = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
P.filter = { { text = function(text) return text end }, { match = sluice.match.regex "\\x{7f}never", replace = "" } }
local spec = require "sluice.dialects.spec"
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "DIALECT", url = "http://up.test/v1", model = "upstream-1", key = "KEY" } },
  routes = { plain = { path = "/plain", front = spec, target = "m" }, filtered = { path = "/filtered", front = spec, target = "m", policies = { P } } } }
]]

local gateways = setmetatable({}, { __index = function(all, dialect)
  local g = assert(t.load { source = (SOURCE:gsub("DIALECT", dialect)) })
  rawset(all, dialect, g)
  return g
end })

local TYPES = { sse = "text/event-stream", ndjson = "application/x-ndjson" }

-- One exchange; the recording arrives in these pieces.
local function play(r, path, stream, pieces)
  local script = { t.head(200, { ["content-type"] = TYPES[r.framing] }) }
  for _, piece in ipairs(pieces) do script[#script + 1] = t.raw(piece) end
  script[#script + 1] = t.close()
  return gateways[r.dialect]:ask { method = "POST", path = path, headers = { host = "x" }, upstream = script, no_shake = true,
    body = json.encode { model = "public", stream = stream, params = json.object { n = r.means.choices and #r.means.choices or nil }, messages = { { role = "user", content = "hi" } } } }
end

local function tools_of(list, wanted)
  local out = {}
  for i, tool in ipairs(list) do
    local want = wanted[i] or {}
    local given = want.id == nil or want.id == json.null       -- it had none and got one
    assert.not_equal("", tool.id)
    out[i] = { id = not given and tool.id or nil, name = tool.name, arguments = json.encode(json.decode(tool.arguments)) }
  end
  return out
end

local function wanted_tools(list)
  local out = {}
  for i, tool in ipairs(list) do
    local ok, args = pcall(json.decode, tool.arguments)
    out[i] = { id = tool.id ~= json.null and tool.id or nil, name = tool.name, arguments = ok and json.encode(args) or tool.arguments }
  end
  return out
end

local function usage_of(told, means)
  local out = {}
  for name in pairs(means) do out[name] = told and told[name] end
  return out
end

-- What the answer says, in the terms of the recording's meaning; checked against it.
local function check(x, r, what, streams)
  local means = r.means
  if means["end"] ~= "done" then
    assert.equal(means["end"], x.error and x.error.code, what)
    if streams then assert.equal(means.text, x.text, what) end
    return
  end
  assert.is_nil(x.error, what)
  assert.equal(means.text or "", x.text, what)
  assert.equal(means.reasoning or "", x.reasoning, what)
  assert.equal(means.refusal or "", x.refusal, what)
  assert.equal(means.finish, x.finish, what)
  for i, choice in ipairs(streams and means.choices or {}) do
    assert.equal(choice.text, i == 1 and x.text or x.others[i - 1], what)
    assert.equal(choice.finish, x.finishes[i], what)
  end
  assert.same(wanted_tools(means.tools or {}), tools_of(x.tools, means.tools or {}), what)
  if means.usage and means.usage ~= json.null then assert.same(means.usage, usage_of(x.usage, means.usage), what) end
end

-- A few cuts, spread, with one at every byte of the recording's first and last part.
local function cuts(bytes)
  local out, n = {}, #bytes
  for at = 1, n - 1 do
    if at < 60 or at > n - 60 or at % 13 == 0 then out[#out + 1] = at end
  end
  return out
end

for _, r in ipairs(recordings()) do
  describe(("%s/%s"):format(r.dialect, r.name), function()
    it(("means: %s"):format(r.means.about), function()
      for _, path in ipairs { "/plain", "/filtered" } do
        check(play(r, path, true, { r.bytes }), r, path, true)
        check(play(r, path, false, { r.bytes }), r, path .. " whole", false)
      end
    end)

    it("means the same wherever it is cut", function()
      local bytewise = {}
      for i = 1, #r.bytes do bytewise[i] = r.bytes:sub(i, i) end
      check(play(r, "/filtered", true, bytewise), r, "byte by byte", true)
      for _, at in ipairs(cuts(r.bytes)) do
        check(play(r, "/plain", true, { r.bytes:sub(1, at), r.bytes:sub(at + 1) }), r, "cut at byte " .. at, true)
      end
    end)
  end)
end
