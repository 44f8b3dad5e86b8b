-- What clients of the Responses API may refer to in their next request: the items of an answer (item_reference) and the answer itself (previous_response_id), for
-- as long as the gateway file says (config.responses). Unless a client says store = false, clients of that API expect it: the AI SDK sends ids instead of text.
--
-- Kept in the memory of this process, in all workers and over reloads. An answer's ids hold 96 bits that nobody can guess, and find nothing for who sends other
-- credentials than those it was told to.
local sluice = require "sluice"

local json = sluice.json

local M = {}

local cache                                              -- nil: nothing is kept

local LINKS_MOST = 100                                   -- answers before an answer
local BYTES_MOST = 1 << 20                               -- of JSON that one request may refer to: as much as a body may be by default
M.bytes_most = BYTES_MOST

-- keep: how long, in ms; 0: nothing is kept. max_bytes: of all together.
function M.configure(keep, max_bytes)
  cache = keep > 0 and sluice.cache("sluice.responses", { ttl = ("%dms"):format(keep), max_bytes = ("%db"):format(max_bytes) }) or nil
end

-- Whether the answer to this request is kept.
function M.keeps(req) return cache ~= nil and type(req.body) == "string" and req.params.store ~= false end

-- What makes the ids of such an answer hard to guess: hexadecimal digits.
function M.secret()
  return (sluice.random_bytes(12):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local CREDENTIALS = { "authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie" }

-- kind: "item" or "response".
local function key_of(req, kind, id)
  local sent = {}
  for i, name in ipairs(CREDENTIALS) do sent[i] = req.headers[name] or "" end
  return sluice.sha256(json.encode { sent, kind, id })
end

-- The answer that a client has got: its id and its items.
function M.keep(req, id, output)
  if not M.keeps(req) then return end
  for _, item in ipairs(output) do cache:set(key_of(req, "item", item.id), json.encode(item)) end
  local body = json.decode(req.body) or {}
  cache:set(key_of(req, "response", id), json.encode { previous = body.previous_response_id, input = body.input or json.null, output = json.array(output) })
end

-- ---- reading

-- What one request stands for. Its functions raise `too_long` where that becomes more than a request may be.
local Reader = {}
Reader.__index = Reader

function M.reader(req, too_long) return setmetatable({ req = req, bytes = 0, too_long = too_long }, Reader) end

function Reader:get(kind, id)
  local text = cache and cache:get(key_of(self.req, kind, id))
  if not text then return nil end
  self.bytes = self.bytes + #text
  if self.bytes > BYTES_MOST then self.too_long() end
  return json.decode(text)
end

-- An item as the client was told it, or nil.
function Reader:item(id) return self:get("item", id) end

-- All that was said up to that answer, as a list of items; or nil.
function Reader:before(id)
  local links = {}
  while id ~= nil and id ~= json.null do
    local kept = self:get("response", id)
    if not kept then return nil end
    if #links == LINKS_MOST then self.too_long() end
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
