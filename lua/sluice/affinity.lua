-- The affinity of a pool, asked by script/target.c: of whose requests shall all go to the same member?
local frozen = require "sluice.frozen"
local known_sets = require "sluice.known"
local record = require "sluice.record"

local REQ, ROUTE, ID, VARS, SHARED = record.REQ, record.ROUTE, record.ID, record.VARS, record.SHARED

local M = {}

local caller_fields = record.set_of { "id", "route", "key", "client", "vars" }
known_sets.add { caller = caller_fields }

-- A text, or nothing: then the pool's balance decides.
function M.affinity(x, fn)
  local shared = x[SHARED]
  local caller = frozen.freeze({ id = x[ID], route = x[ROUTE].name, key = shared and shared.key or nil, client = { ip = x[REQ].ip }, vars = x[VARS] or {} },
    "field in caller", caller_fields)
  local who = fn(x[REQ], caller)
  if who == nil then return nil end
  if type(who) ~= "string" and math.type(who) ~= "integer" then error(("the affinity function returned a %s; it may return a text, a whole number or nothing"):format(type(who)), 0) end
  return tostring(who)
end

-- What has a name.
M.named = {
  key = function(_, caller) return caller.key and caller.key.id end,
  client = function(_, caller) return caller.client.ip end,
}

return M
