-- Embeddings of providers that do not speak OpenAI's words for them: the texts that they are asked for, and OpenAI's document of the vectors they gave.
--
-- OpenAI's SDKs ask for base64 unless they are told otherwise, and decode it themselves. No other provider can write it, so it is written here.
local sluice = require "sluice"
local shared = require "sluice.dialects.shared"

local M = {}

local KNOWN = { dimensions = true, encoding_format = true, user = true }

local function refuse(provider, what)
  return sluice.reject(400, "param_not_supported", ("'%s' cannot be told to this model (provider \"%s\")"):format(what, provider))
end

-- The verdict on what cannot be told to this provider, or nil.
function M.refused(req, provider)
  local unknown = {}
  for name, value in pairs(req.params) do
    if value ~= sluice.json.null and not KNOWN[name] then unknown[#unknown + 1] = name end
  end
  table.sort(unknown)
  if unknown[1] then return refuse(provider, unknown[1]) end
  local format = req.params.encoding_format
  if format ~= nil and format ~= sluice.json.null and format ~= "float" and format ~= "base64" then return refuse(provider, "encoding_format: " .. shared.shown(format)) end
end

-- The texts, one of each message: policies have seen them there.
function M.texts(req)
  local out = sluice.json.array {}
  for i, m in ipairs(req.messages) do
    local parts = {}
    for _, part in ipairs(type(m.content) == "table" and m.content or { { text = m.content } }) do parts[#parts + 1] = part.text end
    out[i] = table.concat(parts, "\n")
  end
  return out
end

-- ---- base64 of a vector, as little-endian floats of four bytes

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local PAIRS = {}                                          -- two digits for each number of twelve bits
for high in DIGITS:gmatch "." do
  for low in DIGITS:gmatch "." do PAIRS[#PAIRS + 1] = high .. low end
end

local function quad(three)
  local a, b, c = three:byte(1, 3)
  local bits = a << 16 | (b or 0) << 8 | (c or 0)
  local four = PAIRS[(bits >> 12) + 1] .. PAIRS[(bits & 0xfff) + 1]
  return four:sub(1, #three + 1) .. ("="):rep(3 - #three)
end

local AT_ONCE = 48                                        -- floats, a multiple of three: their bytes are whole quads

local function base64(vector)
  local out = {}
  for at = 1, #vector, AT_ONCE do
    local last = math.min(at + AT_ONCE - 1, #vector)
    out[#out + 1] = string.pack("<" .. ("f"):rep(last - at + 1), table.unpack(vector, at, last)):gsub("..?.?", quad)
  end
  return table.concat(out)
end

-- ---- the document

local ITEM, DOCUMENT = { "object", "index", "embedding" }, { "object", "data", "model", "usage" }

local function is_vector(v)
  if not sluice.json.is_array(v) then return false end
  for _, number in ipairs(v) do
    if type(number) ~= "number" then return false end
  end
  return true
end

-- vectors: a list of lists of numbers; tokens: how many the provider counted, or nil. nil: these are no vectors.
function M.document(vectors, req, tokens)
  local data = sluice.json.array {}
  local as = req.params.encoding_format == "base64" and base64 or function(vector) return vector end
  for i, vector in ipairs(vectors) do
    if not is_vector(vector) then return nil end
    data[i] = sluice.json.order({ object = "embedding", index = i - 1, embedding = as(vector) }, ITEM)
  end
  return sluice.json.order({ object = "list", data = data, model = req.model, usage = tokens and { prompt_tokens = tokens, total_tokens = tokens } or nil }, DOCUMENT)
end

return M
