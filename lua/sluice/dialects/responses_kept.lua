-- What clients of the Responses API may refer to in their next request: the items of an answer (item_reference) and the answer itself (previous_response_id), for
-- as long as the gateway file says (config.responses). Unless a client says store = false, clients of that API expect it: the AI SDK sends ids instead of text.
--
-- Kept in the memory of this process, in all workers and over reloads; for the client that was told it: who sends another key gets nothing.
local sluice = require "sluice"

local json = sluice.json

local M = {}

local cache                                              -- nil: nothing is kept

local LINKS_MOST = 100                                   -- answers before an answer
local BYTES_MOST = 1 << 20                               -- of JSON that one request may stand for: as much as a body may be by default

-- keep: how long, in ms; 0: nothing is kept. max_bytes: of all together.
function M.configure(keep, max_bytes)
  cache = keep > 0 and sluice.cache("sluice.responses", { ttl = ("%dms"):format(keep), max_bytes = ("%db"):format(max_bytes) }) or nil
end

local function key_of(req, id)
  local h = req.headers or {}
  return sluice.sha256(json.encode { h.authorization or h["x-api-key"] or h["api-key"] or "", id })
end

local function wanted(req) return cache ~= nil and type(req.body) == "string" and req.params.store ~= false end

-- The answer that a client has got: answer.id, output (its items).
function M.keep(answer, id, output)
  local req = answer.request
  if not wanted(req) then return end
  for _, item in ipairs(output) do cache:set(key_of(req, item.id), json.encode(item)) end
  local body = json.decode(req.body) or {}
  cache:set(key_of(req, id), json.encode { previous = body.previous_response_id, input = body.input or json.null, output = json.array(output) })
end

-- Messages that say what the client's own words only refer to: they are not as the client wrote them.
local marked = setmetatable({}, { __mode = "k" })
function M.mark(message) marked[message] = true end
function M.is_marked(message) return marked[message] == true end

-- Whether this answer is kept.
M.keeps = wanted

-- An item as the client was told it, or nil.
function M.item(req, id)
  local text = cache and cache:get(key_of(req, id))
  return text and json.decode(text) or nil
end

-- All that was said up to that answer, as a list of items; or nil and why not.
function M.before(req, id)
  local links, bytes = {}, 0
  while id ~= nil and id ~= json.null do
    local text = cache and cache:get(key_of(req, id))
    bytes = bytes + #(text or "")
    if not text then return nil, ("there is no response \"%s\" here (any more)"):format(tostring(id)) end
    if #links == LINKS_MOST or bytes > BYTES_MOST then return nil, "the conversation has become too long to be kept here: send it whole" end
    local kept = json.decode(text)
    links[#links + 1] = kept
    id = kept.previous
  end
  local items = json.array {}
  for i = #links, 1, -1 do
    local input = links[i].input
    if type(input) == "string" then input = { { role = "user", content = input } } end
    for _, list in ipairs { input, links[i].output } do
      for _, item in ipairs(type(list) == "table" and list or {}) do items[#items + 1] = item end
    end
  end
  return items
end

return M
