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

-- A client's value as a sentence may show it.
function M.shown(v)
  if v == null then return "null" end
  if type(v) == "table" then return sluice.json.is_array(v) and "a list" or "an object" end
  return tostring(v)
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

-- ---- what is kept for one provider alone

local function copy(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

-- The list with its items as `change` returns them; the same list when it changes none.
local function map(list, change)
  local out
  for i, item in ipairs(list) do
    local new = change(item)
    if new ~= item and not out then out = sluice.json.array(copy(list)) end
    if out then out[i] = new end
  end
  return out or list
end

-- A list of messages or tools without the members of this name, where dialects put them: at an item, at its parts, at its calls. What has none is not copied.
function M.plain(list, name)
  local function without(item)
    if type(item) ~= "table" or item[name] == nil then return item end
    local out = copy(item)
    out[name] = nil
    return out
  end
  return map(list, function(item)
    local out = without(item)
    for _, member in ipairs { "content", "tool_calls" } do
      local had = type(out) == "table" and out[member]
      local has = type(had) == "table" and map(had, without) or had
      if has ~= had then
        if out == item then out = copy(item) end
        out[member] = has
      end
    end
    return out
  end)
end

-- ---- what only Anthropic can be told (anthropic.lua), which servers of other dialects may pass over without a word

local BLOCKS = M.set { "image", "document", "search_result", "container_upload", "server_tool_use", "mcp_tool_use", "mcp_tool_result", "web_search_tool_result",
  "web_fetch_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result" }

-- The place of the first such thing in a request, or nil.
function M.only_anthropic(req)
  for _, name in ipairs { "container", "mcp_servers" } do
    if M.given(req.params[name]) then return name end
  end
  for i, tool in ipairs(M.table(req.tools)) do
    if tostring(M.table(tool).type):find "_%d%d%d%d%d%d%d%d$" then return ("tools[%d] of type %s"):format(i - 1, tool.type) end
  end
  for i, message in ipairs(req.messages) do
    for k, part in ipairs(M.table(M.table(message).content)) do
      local kind = M.table(part).type
      if BLOCKS[kind] then return ("messages[%d].content[%d] of type %s"):format(i - 1, k - 1, kind) end
    end
  end
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

-- Of what a client of the Responses API wants beside its answer (`include`): what may be left out, since it is for that API's next request, and what
-- params.logprobs says, too.
local OFFERS = M.set { "reasoning.encrypted_content", "message.output_text.logprobs" }

function M.only_offers(list)
  for _, name in ipairs(M.table(list)) do
    if not OFFERS[name] then return false end
  end
  return type(list) == "table"
end

-- The refusal of a request that refers to what was said before and is not kept here (responses_kept.lua), or nothing. For all providers but OpenAI's Responses,
-- which may have kept it itself.
function M.missing(req)
  if req.dialect ~= "responses" then return end
  if M.given(req.params.previous_response_id) then
    return sluice.reject(400, "previous_response_not_found",
      ("'previous_response_id': there is no response \"%s\" here (any more); send the conversation as input"):format(M.shown(req.params.previous_response_id)))
  end
  for _, m in ipairs(req.messages) do
    local reference = M.table(m).item_reference
    if reference then
      return sluice.reject(404, "item_not_found", ("'%s' refers to the item \"%s\", which is not here (any more); send the item itself"):format(reference.at, reference.id))
    end
  end
end

local NEUTRAL = {                                        -- what a client may say and mean nothing by it
  n = 1, logprobs = false, top_logprobs = 0, presence_penalty = 0, frequency_penalty = 0, store = false, verbosity = "medium", truncation = "disabled",
}

local function means_nothing(name, v)
  if not M.given(v) or v == NEUTRAL[name] then return true end
  if name == "include" then return M.only_offers(v) end
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
