-- A request in the words that the client used: members that nobody touched go on byte for byte, so that unknown fields, large numbers and the order of
-- members survive.
local host = require "sluice.host"

local M = {}

-- A list's items that were there before, as they were written; but for those at the places of `anew` (of now) and `was_anew` (of was), two sets.
local function items(now, was, raw, anew, was_anew)
  local written = host.json_parts(raw)
  if not written or #written ~= #was or not host.json.is_array(was) then return nil end
  local of, said, out, same = {}, {}, {}, #now == #was
  for i, item in ipairs(was) do
    if not was_anew[i] then
      said[i] = host.json.encode(item)
      of[said[i]] = written[i]
    end
  end
  for i, item in ipairs(now) do
    local text = host.json.encode(item)
    local here = not anew[i] and text == said[i]
    same = same and here
    out[i] = here and written[i] or not anew[i] and of[text] or text
  end
  if same then return raw end
  return "[" .. host.table.concat(out, ",") .. "]"
end

-- A list goes on as it was written only where it has as many items as were written: where a dialect put one of them elsewhere, that one may have been touched.
local function member(now, was, raw, anew, was_anew)
  local text = host.json.encode(now)
  if anew == true or was_anew == true then return text end
  local some = anew or was_anew
  if some and (was == nil or raw == nil) then return text end
  if not some and (now == was or was == nil or raw == nil) then return raw or text end
  if type(now) == "table" and host.json.is_array(now) then return type(was) == "table" and items(now, was, raw, anew or {}, was_anew or {}) or text end
  return text == host.json.encode(was) and raw or text
end

-- What is the gateway's to say, whatever the client wrote.
local OURS = { model = true, stream = true, stream_options = true }

-- now: the body to be sent; was: the same made of what the client sent (the same table: nothing was touched); sent: the client's own bytes (one JSON object);
-- anew, was_anew: in which members of now and was the dialect itself says something else than the client wrote: { NAME = true, or the set of the items of that
-- list }; or nil.
function M.encode(now, was, sent, anew, was_anew)
  local written = host.json_parts(sent)
  if not written then return host.json.encode(now) end
  local raw, out, seen = {}, {}, {}
  for i = 1, #written, 2 do raw[written[i]] = written[i + 1] end
  local function put(name)
    if now[name] == nil or seen[name] then return end
    seen[name] = true
    out[#out + 1] = host.json.encode(name) .. ":" .. (OURS[name] and host.json.encode(now[name]) or member(now[name], was[name], raw[name], anew and anew[name], was_anew and was_anew[name]))
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
