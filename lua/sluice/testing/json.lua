-- JSON for specs. dkjson reads; it writes { n = 1 } as a list of one, so tables are written here: an empty one as a list, unless it is an object().
local dkjson = require "dkjson"

local M = { decode = dkjson.decode, null = dkjson.null }

function M.object(t) return setmetatable(t, { __jsontype = "object" }) end

local function is_list(t)
  local mt = getmetatable(t)
  if mt and mt.__jsontype then return mt.__jsontype == "array" end
  return type(next(t)) ~= "string"
end

M.is_list = is_list

function M.encode(v)
  if type(v) ~= "table" or v == M.null then return dkjson.encode(v) end
  local out = {}
  if is_list(v) then
    for i = 1, #v do out[i] = M.encode(v[i]) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  for k, item in pairs(v) do out[#out + 1] = dkjson.quotestring(tostring(k)) .. ":" .. M.encode(item) end
  table.sort(out)
  return "{" .. table.concat(out, ",") .. "}"
end

return M
