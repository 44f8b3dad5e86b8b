-- OpenAI's list of models: those that this client may ask for, or the one that its path names (.../models/NAME).
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"

local json = sluice.json

local M = { name = "openai_models" }

M.front = { methods = "GET, HEAD, OPTIONS", error = common.error }

function M.front.read() end                              -- there is nothing to ask a model

local function told(name) return json.order({ id = name, object = "model", created = 0, owned_by = "sluice" }, { "id", "object", "created", "owned_by" }) end

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

function M.front.respond(req, names)
  local wanted = req.path:match "/models/(.+)$"
  if wanted then
    for _, name in ipairs(names) do
      if name == decoded(wanted) then return told(name) end
    end
    return sluice.reject(404, "model_not_found", "there is no such model here: GET /models lists those that there are")
  end
  local data = json.array {}
  for i, name in ipairs(names) do data[i] = told(name) end
  return json.order({ object = "list", data = data }, { "object", "data" })
end

return M
