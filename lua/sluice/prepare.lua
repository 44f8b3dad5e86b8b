-- prepare(options, use): a policy looks at the options of one use, and at the files that they name, while the gateway file loads. What it returns is ctx.prepared.
local host = require "sluice.host"
local complain = require "sluice.complain"
local frozen = require "sluice.frozen"
local known_sets = require "sluice.known"

local M = {}

known_sets.add { use = { route = true, policy = true, models = true }, ["use:"] = { bad = true, bad_line = true } }

-- What prepare is told: where the policy is used, and how to say what is wrong with an option or with a line of a file.
local function use_of(instance, route, models)
  local at = instance.at
  return frozen.freeze({
    route = route, policy = instance.name, models = models,
    bad = host.seal(function(_, text, ...)
      if type(text) ~= "string" then complain.blame 'write use:bad("a sentence", "option")' end
      local there = at
      for _, key in ipairs { ... } do there = there:child(key) end
      there:complain(text)
    end),
    bad_line = host.seal(function(_, text, file, line)
      if type(text) ~= "string" or math.type(line) ~= "integer" then complain.blame 'write use:bad_line("a sentence", options.file, line)' end
      complain.at(type(file) == "string" and file or file.path, line, text)
    end),
  }, "field in use:")
end

-- What prepare raises is a mistake in the file, told at its own place; a ready part's own line would tell an operator nothing.
local function tell(instance, why)
  if type(why) ~= "string" then
    instance.at:complain(('prepare of policy "%s" raised a %s'):format(instance.name or "?", type(why)))
  elseif why:find("^lua/sluice/") then
    instance.at:complain((why:gsub("^[^:]*:%d+: ", "")))
  elseif why:find("^[^\n:]+:%d+: ") then
    complain.raw(why)
  else
    instance.at:complain(why)
  end
end

-- One use of a policy whose options were found good.
function M.run(instance, route, models)
  local fn = instance.def.hooks.prepare
  if not fn or not instance.sound then return end
  local ok, value = host.base.pcall(fn, instance.options, use_of(instance, route, models))
  if ok then instance.prepared = value else tell(instance, value) end
end

return M
