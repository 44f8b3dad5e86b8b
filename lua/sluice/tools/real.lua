-- What there really is, by the names that the reference uses: { ["ctx:tag"] = the function, ["filter.text"] = true, ... }. From the module itself, the sets in
-- sluice.known and the methods of values that are made in C.
local host = require "sluice.host"
local known = require "sluice.known"
local code = require "sluice.lint.code"
local policy = require "sluice.policy"
local sandbox = require "sluice.sandbox"
require "sluice.config"
require "sluice.dialect"

local M = {}

local function walk(library, prefix, out)
  for name, value in pairs(library) do
    out[prefix .. name] = value
    if code.is_library(value) then walk(value, prefix .. name .. ".", out) end
  end
end

-- Methods of userdata: their metatables stand in the registry as luaL_newmetatable left them, "sluice.limiter" for "limiter:".
local function userdata(out)
  for name, mt in pairs(debug.getregistry()) do
    local owner = type(name) == "string" and name:match "^sluice%.(%w+)$"
    if owner and type(mt) == "table" and type(mt.__index) == "table" then
      for method, f in pairs(mt.__index) do out[owner .. ":" .. method] = f end
    end
  end
end

local NO_OWNER = { feature = true }                      -- sets that entries only list as values

local function sets(out, needed)
  for owner in pairs(known.sets) do
    local prefix = owner == "hook" and "" or owner:find ":$" and owner or owner .. "."
    for name, value in pairs(NO_OWNER[owner] and {} or known.of(owner)) do
      out[prefix .. name] = value
      local is_member = type(value) == "table" and type(rawget(value, 1)) == "function"        -- of a record of sluice.schema
      if is_member then needed[prefix .. name] = value.required ~= nil end
    end
  end
end

-- What C alone knows: asked for by using it.
local function asked(out)
  host.match.email:gsub("a@example.com", function(m)
    for k in pairs(m) do out["m." .. k] = true end
  end)
  local _, why = pcall(host.match.words, { "a" }, { [""] = true })
  for word in why:match("%(it has (.-)%)"):gmatch "%w+" do
    if word ~= "and" then out["words." .. word] = true end
  end
end

-- By name: what there is; which of them must be given.
function M.names()
  local out, needed = {}, {}
  walk(require "sluice", "sluice.", out)
  out["sluice.parts"] = true
  userdata(out)
  sets(out, needed)
  asked(out)
  for part in pairs(known.of "parts") do
    for option in pairs(policy.definitions[sandbox.public_module("sluice.parts." .. part)].options) do out[("parts.%s.%s"):format(part, option)] = true end
  end
  return out, needed
end

return M
