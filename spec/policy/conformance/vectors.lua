-- The vectors in spec/conformance/VERSION, as spec/conformance/README.md tells: read and held to the names that there are. What this door could not play is an
-- error here, so that none is passed over.
local json = require "sluice.testing.json"
local dkjson = require "dkjson"
local lfs = require "lfs"

local M = {}

local function set_of(words)
  local set = {}
  for word in words:gmatch "%S+" do set[word] = true end
  return set
end

local EXCHANGE = set_of "request upstream services expect"
local VECTOR = set_of "about gateway fresh refused exchanges request upstream services expect"
local REQUEST = set_of "method path query headers body"
local EXPECT = set_of "status headers text reasoning refusal tools finish usage error models services tags log"

local function known(t, names, what)
  for name in pairs(t) do
    if not names[name] then error(('%s has no member "%s"'):format(what, name), 0) end
  end
  return t
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  local value, _, why = dkjson.decode(text, 1, json.null)
  if why then error(("%s: %s"):format(path, why), 0) end
  return value
end

local function checked(vector, path)
  known(vector, VECTOR, path)
  if type(vector.about) ~= "string" or type(vector.gateway) ~= "table" then error(path .. ": about and gateway are required", 0) end
  vector.gateway = table.concat(vector.gateway, "\n") .. "\n"
  if vector.refused then return vector end
  vector.exchanges = vector.exchanges or { { request = vector.request, upstream = vector.upstream, services = vector.services, expect = vector.expect } }
  for i, exchange in ipairs(vector.exchanges) do
    local at = ("%s: exchange %d"):format(path, i)
    known(exchange, EXCHANGE, at)
    known(exchange.request, REQUEST, at .. ": request")
    known(exchange.expect, EXPECT, at .. ": expect")
    exchange.upstream, exchange.services = exchange.upstream or {}, exchange.services or {}
  end
  return vector
end

-- All of one version of the API, by name.
function M.of(version)
  local dir, out = ("spec/conformance/%d"):format(version), {}
  for file in lfs.dir(dir) do
    local name = file:match "^(.+)%.json$"
    if name then
      local vector = checked(read(dir .. "/" .. file), file)
      vector.name = name
      out[#out + 1] = vector
    end
  end
  table.sort(out, function(a, b) return a.name < b.name end)
  assert(#out > 0, "no vectors in " .. dir)
  return out
end

-- The names of its models and services, for the environment of its gateway file: { MODEL_SMART = url ... }. address(kind, name, script) gives the URL.
function M.environment(vector, address)
  local env = {}
  for _, exchange in ipairs(vector.exchanges or {}) do
    for name, script in pairs(exchange.upstream) do env["MODEL_" .. name:upper()] = address("model", name, script) end
    for name, script in pairs(exchange.services) do env["SERVICE_" .. name:upper()] = address("service", name, script) end
  end
  return env
end

-- Whether the clients' bodies leave open if they stream: then both are played.
function M.either_way(vector)
  for _, exchange in ipairs(vector.exchanges) do
    if type(exchange.request.body) == "table" and exchange.request.body.stream == nil then return true end
  end
  return false
end

return M
