-- What scripts hold of a server that the gateway file names: methods, written with a colon; nothing else can be read, nothing changed.
local complain = require "sluice.complain"
local host = require "sluice.host"
local suggest = require "sluice.suggest"

-- word: "redis", as methods are written; what: "Redis server", as sentences call it; methods: each is called with the server's name in the handle's place;
-- more: ends the sentence about a method that is not there.
-- -> the methods as scripts hold them (which the lints know); make(name) -> a handle; name_of(v) -> its name, or nil for any other value
return function(word, what, methods, more)
  local names = setmetatable({}, { __mode = "k" })
  local mt = { __metatable = false, __name = word, [host.locked] = true }
  local sealed = {}
  for verb, f in pairs(methods) do
    sealed[verb] = host.seal(function(self, ...)
      if not names[self] then complain.blame(("write %s:%s(...) with a colon"):format(word, verb)) end
      return f(names[self], ...)
    end)
  end
  function mt.__index(_, k)
    if sealed[k] then return sealed[k] end
    error(('a %s has no "%s"%s%s'):format(what, tostring(k), suggest.hint(k, sealed), more or ""), 2)
  end
  function mt.__newindex() error(("a %s cannot be changed"):format(what), 2) end
  function mt.__tostring(v) return ("<%s %s>"):format(word, names[v]) end

  local function make(name)
    local v = setmetatable({}, mt)
    names[v] = name
    return v
  end
  return sealed, make, function(v) return names[v] end
end
