-- Names that the sandbox does not have: an error when the line is reached, so better known before.
local code = require "sluice.lint.code"
local sandbox = require "sluice.sandbox"
local suggest = require "sluice.suggest"

-- A field of sluice, string, math, ... that is not there: what reading it would say.
local function missing_field(node, key)
  local library = code.actual(node)
  if type(key) ~= "string" or not code.is_library(library) then return nil end
  local ok, why = pcall(function() return library[key] end)
  return not ok and why:gsub("^[^\n]-:%d+: ", "") or nil
end

return function(kept, warn)
  local seen = {}
  for _, subject in ipairs(kept.subjects) do
    code.each_function(subject, seen, function(fn, _, events)
      for e in code.all(events) do
        local why = e.what == "get" and missing_field(e.of, e.key)
        if why then warn((code.place(fn)), e.line, why .. "; an error when this line is reached") end
      end
    end)
  end
  for file, text in pairs(kept.sources) do
    local chunk = sandbox.compile(text, file)
    local env = { kind = "env" }
    for e in code.all(chunk and code.file_events(chunk, env) or {}) do
      local name = e.of == env and type(e.key) == "string" and e.key
      if name and e.what == "set" then
        warn(file, e.line, ('"%s" would become a global, which is an error when this line is reached: write "local %s"'):format(name, name))
      elseif name and sandbox.gone[name] then
        warn(file, e.line, ('"%s" is not available to scripts: %s'):format(name, sandbox.gone[name]))
      elseif name and sandbox.names[name] == nil then
        warn(file, e.line, ('unknown name "%s", an error when this line is reached%s'):format(name, suggest.hint(name, sandbox.names)))
      end
    end
  end
end
