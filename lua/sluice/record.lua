-- C's record of an exchange (script/exchange_inside.h): its slots, and what the files that read it share.
local host = require "sluice.host"
local suggest = require "sluice.suggest"

local M = {
  REQ = 1, ROUTE = 2, ID = 3, TARGET = 4, HEADERS = 5, TAGS = 6, VARS = 7, SHARED = 8, SUMMARY = 9, EXTRA = 10, OPENED = 11, BAD_QUERY = 12,
  PLAN = 13, TRY = 14, FAILURE = 15, RESPONSE = 16, FINISH = 17, CALL = 18, HELD = 19, ANSWER = 20, ASKED = 21,
}

function M.unknown(what, k, known, more)
  error(('no field "%s" in %s%s%s'):format(tostring(k), what, suggest.hint(k, known), more or ""), 3)
end

function M.set_of(...)
  local s = {}
  for _, list in ipairs { ... } do for _, k in ipairs(list) do s[k] = true end end
  return s
end

-- Methods that tell who calls them with a dot to use a colon.
function M.by_colon(what, methods)
  local checked = {}
  for name, method in pairs(methods) do
    checked[name] = function(self, ...)
      if type(self) ~= "table" then error(("write %s:%s(...) with a colon, not a dot"):format(what, name), 2) end
      return method(self, ...)
    end
  end
  return checked
end

-- What the client sent cannot be changed: it lies in a box that only we can open. The same for what ctx stands for.
function M.facts(req) return host.unbox(rawget(req, 1)) end
function M.of(ctx) return host.unbox(rawget(ctx, 1)) end

return M
