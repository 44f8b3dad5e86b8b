-- What dialects share: the questions that each of them asks of a request, and the sentences of their refusals. Nothing here knows a provider.
local sluice = require "sluice"

local M = {}
local null = sluice.json.null

-- Whether a member is there: JSON's null says as much as a member that is left out.
function M.given(v) return v ~= nil and v ~= null end

-- The value as a table, an empty one when it is none: for events whose members may be absent, null or of another kind.
function M.table(v) return type(v) == "table" and v or {} end

function M.is_object(v) return type(v) == "table" and not sluice.json.is_array(v) and v[1] == nil end

-- Of a JSON text that must hold an object: the object, or nil.
function M.object(text)
  local v = type(text) == "string" and sluice.json.decode(text) or nil
  return M.is_object(v) and v or nil
end

function M.set(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

-- Content as a list of parts: a text is a list of one, nothing is an empty list.
function M.parts(content)
  if type(content) == "string" then return { { type = "text", text = content } } end
  return M.table(content)
end

-- "data:image/png;base64,iVBO..." -> "image/png", "iVBO..."; nothing for any other URL.
function M.data_url(url)
  return tostring(url):match "^data:([%w%-%.%+/]+);base64,(.*)$"
end

-- An event of a stream whose events have names.
function M.event(name, data)
  return ("event: %s\ndata: %s\n\n"):format(name, sluice.json.encode(data))
end

-- ---- refusing

-- The client's request is not what its API takes. place: "messages.0.content".
function M.invalid(place, finding)
  return sluice.reject(400, "invalid_request", ("%s: %s"):format(place, finding))
end

-- It is right, but this provider has no word for it.
function M.unsaid(place, provider, cure)
  return sluice.reject(400, "param_not_supported", ("'%s' cannot be told to this model (provider \"%s\")%s"):format(place, provider, cure and ": " .. cure or ""))
end

local NEUTRAL = {                                        -- what a client may say and mean nothing by it
  n = 1, logprobs = false, top_logprobs = 0, presence_penalty = 0, frequency_penalty = 0, store = false, verbosity = "medium",
}

local function means_nothing(name, v)
  if not M.given(v) or v == NEUTRAL[name] then return true end
  if name == "modalities" then return type(v) == "table" and v[1] == "text" and v[2] == nil end
  return type(v) == "table" and next(v) == nil
end

-- The refusal of the first of these params that is given and means something; or nothing.
function M.first_unsaid(params, names, provider)
  for _, name in ipairs(names) do
    if not means_nothing(name, params[name]) then return M.unsaid(name, provider) end
  end
end

return M
