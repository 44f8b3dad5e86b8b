-- A request in the words that the client used: members that nobody touched go on byte for byte, so that unknown fields, large numbers and the order of
-- members survive.
local host = require "sluice.host"

local M = {}

-- A list's items that were there before, as they were written.
local function items(now, was, raw)
  local written = host.json_parts(raw)
  if not written or #written ~= #was or not host.json.is_array(was) then return nil end
  local of, out = {}, {}
  for i, item in ipairs(was) do of[host.json.encode(item)] = written[i] end
  for i, item in ipairs(now) do
    local text = host.json.encode(item)
    out[i] = of[text] or text
  end
  return "[" .. host.table.concat(out, ",") .. "]"
end

local function member(now, was, raw)
  local text = host.json.encode(now)
  if was == nil or raw == nil then return text end
  if text == host.json.encode(was) then return raw end
  return type(now) == "table" and host.json.is_array(now) and type(was) == "table" and items(now, was, raw) or text
end

-- What is the gateway's to say, whatever the client wrote.
local OURS = { model = true, stream = true, stream_options = true }

-- now: the body to be sent; was: the same made of what the client sent; sent: the client's own bytes (one JSON object).
function M.encode(now, was, sent)
  local written = host.json_parts(sent)
  if not written then return host.json.encode(now) end
  local raw, out, seen = {}, {}, {}
  for i = 1, #written, 2 do raw[written[i]] = written[i + 1] end
  local function put(name)
    if now[name] == nil or seen[name] then return end
    seen[name] = true
    out[#out + 1] = host.json.encode(name) .. ":" .. (OURS[name] and host.json.encode(now[name]) or member(now[name], was[name], raw[name]))
  end
  for i = 1, #written, 2 do put(written[i]) end
  local rest = {}
  for name in pairs(now) do
    if not seen[name] then rest[#rest + 1] = name end
  end
  host.table.sort(rest)
  for _, name in ipairs(rest) do put(name) end
  return "{" .. host.table.concat(out, ",") .. "}"
end

return M
