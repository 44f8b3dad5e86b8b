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
local BYTES_MOST = 1 << 20                               -- of JSON that one request may be, with what it refers to: as much as a body may be by default
M.bytes_most = BYTES_MOST

-- keep: how long, in ms; 0: nothing is kept. max_bytes: of all together.
function M.configure(keep, max_bytes)
  cache = keep > 0 and sluice.cache("sluice.responses", { ttl = ("%dms"):format(keep), max_bytes = ("%db"):format(max_bytes) }) or nil
end

-- Whether this answer is kept. What its client asked for counts, whatever policies made of it.
function M.keeps(answer) return cache ~= nil and type(answer.request.body) == "string" and answer.store ~= false end

-- What makes the ids of such an answer hard to guess: hexadecimal digits.
function M.secret()
  return (sluice.random_bytes(12):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local CREDENTIALS = { "authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization" }

-- kind: "item" or "response". A cookie changes from one page to the next: it counts where a client sends nothing else.
local function key_of(req, kind, id)
  local parts, sent = { kind, id }, false
  for _, name in ipairs(CREDENTIALS) do
    parts[#parts + 1] = req.headers[name] or ""
    sent = sent or parts[#parts] ~= ""
  end
  if not sent then parts[#parts + 1] = req.headers.cookie or "" end
  for i, part in ipairs(parts) do parts[i] = ("%d:%s"):format(#part, part) end      -- headers may hold any bytes
  return sluice.sha256(table.concat(parts))
end

-- As JSON, without logprobs: nobody refers to them, and they may be long.
local function item_text(item)
  if item.type ~= "message" then return json.encode(item) end
  local out, parts = {}, json.array {}
  for name, v in pairs(item) do out[name] = v end
  for i, part in ipairs(item.content) do
    parts[i] = {}
    for name, v in pairs(part) do parts[i][name] = name ~= "logprobs" and v or nil end
  end
  out.content = parts
  return json.encode(out)
end

-- The answer that a client has got: its id and its items.
function M.keep(answer, id, output)
  if not M.keeps(answer) then return end
  local req, texts = answer.request, {}
  for i, item in ipairs(output) do
    texts[i] = item_text(item)
    cache:set(key_of(req, "item", item.id), texts[i])
  end
  local body = json.decode(req.body) or {}
  local all = json.raw(("[%s]"):format(table.concat(texts, ",")))
  cache:set(key_of(req, "response", id), json.encode { previous = body.previous_response_id, input = body.input or json.null, output = all })
end

-- ---- reading

-- What one request stands for. Its functions raise `too_long` where that becomes more than a request may be.
local Reader = {}
Reader.__index = Reader

function M.reader(req, too_long) return setmetatable({ req = req, bytes = #req.body, too_long = too_long }, Reader) end

function Reader:get(kind, id)
  local key = cache and key_of(self.req, kind, id)
  local text = key and cache:get(key)
  if not text then return nil end
  cache:set(key, text)                                   -- it is kept as long from now on
  self.bytes = self.bytes + #text
  if self.bytes > BYTES_MOST then self.too_long() end
  return json.decode(text)
end

-- An item as the client was told it, or nil.
function Reader:item(id) return self:get("item", id) end

-- All that was said up to that answer, as a list of items, and the id of an answer before that which is not here; or nil and the id.
function Reader:before(id)
  local links = {}
  while id ~= nil and id ~= json.null do
    local kept = self:get("response", id)
    if not kept then break end
    if #links == LINKS_MOST then self.too_long() end
    links[#links + 1] = kept
    id = kept.previous
  end
  if id == json.null then id = nil end
  if #links == 0 then return nil, id end
  local items = json.array {}
  for i = #links, 1, -1 do
    local input = links[i].input
    if type(input) == "string" then input = { { role = "user", content = input } } end
    for _, list in ipairs { input, links[i].output } do
      for _, item in ipairs(type(list) == "table" and list or {}) do items[#items + 1] = item end
    end
  end
  return items, id
end

return M
