-- Some requests to one model, some to another, by share; the same caller always gets the same.
--
--   sluice.parts.experiment { split = { smart = 90, candidate = 10 }, sticky = "key" }
--
-- Which model a caller gets follows from its key alone (a hash of it and of this policy's name), so all workers agree, before and after a reload. When shares
-- change, no more callers move than must. Without a key each request is drawn anew. The tag `variant` in the request's log line says which model it was
-- (NAME_variant where the policy was given another name). `sticky = "key"` takes ctx.key, as a policy before it has set it: a text or a table with an id.
local sluice = require "sluice"

local P = sluice.policy {
  name = "experiment",
  api  = 1,
  doc  = "Sends shares of the requests to different models; a caller stays with its model.",
  options = {
    split  = { type = "map", required = true, min = 1, keys = { type = "model" }, of = { type = "number", min = 0.001, max = 1e6 }, doc = "Each model's share; 90 and 10 are the same as 9 and 1." },
    sticky = { type = { "string", "function" }, default = "key", one_of = { "key", "ip" }, doc = 'Who stays: "key" (ctx.key), "ip" (IPv6 by /64), or function(ctx) returning a text; nil: nobody.' },
  },
}

local function key_of(ctx)
  local sticky = ctx.options.sticky
  if sticky == "ip" then return sluice.ip_key(ctx.client.ip) end
  local key
  if sticky == "key" then key = ctx.key else key = sticky(ctx) end
  if type(key) == "table" then key = key.id end
  if key == nil then return nil end
  if type(key) ~= "string" and type(key) ~= "number" then error(("the key of an experiment must be a text, is a %s"):format(type(key)), 0) end
  return tostring(key)
end

-- A number from 0 to below 1 that follows from the text: FNV-1a of 64 bits, its bits mixed once more since short texts leave the high ones alike.
local function point_of(text)
  local h = 0xcbf29ce484222325
  for i = 1, #text do h = (h ~ text:byte(i)) * 0x100000001b3 end
  h = (h ~ h >> 33) * 0xff51afd7ed558ccd
  h = (h ~ h >> 33) * 0xc4ceb9fe1a85ec53
  return ((h ~ h >> 33) >> 11) / 2 ^ 53
end

-- The model at a point of the line from 0 to 1, on which the models stand by name, each as long as its share.
local function at(point, split)
  local names, total = {}, 0
  for name, share in pairs(split) do
    names[#names + 1] = name
    total = total + share
  end
  table.sort(names)
  local rest = point * total
  for i = 1, #names - 1 do
    rest = rest - split[names[i]]
    if rest < 0 then return names[i] end
  end
  return names[#names]
end

function P.route(_, ctx)
  local key = key_of(ctx)
  local name = at(key and point_of(ctx.policy .. "\0" .. key) or math.random(), ctx.options.split)
  ctx:tag(ctx.policy == P.name and "variant" or ctx.policy .. "_variant", name)
  return name
end

return P
