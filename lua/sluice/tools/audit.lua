-- `sluice help --audit`: whether the reference tells of everything there is, and of nothing else. A test of this program, not a tool for operators.
local host = require "sluice.host"
local complain = require "sluice.complain"
local reference = require "sluice.reference"
local real = require "sluice.tools.real"
local sandbox = require "sluice.sandbox"

local BASIC = { ["nil"] = true, ["false"] = true, any = true, string = true, number = true, integer = true, boolean = true, table = true, userdata = true, ["function"] = true, fun = true,
  async = true, self = true }

local function names(found)
  local out = {}
  for name in pairs(found) do out[#out + 1] = name end
  table.sort(out)
  return out
end

local function check_names(bad)
  local there, needed = real.names()
  for _, name in ipairs(names(there)) do
    if not reference.by_name[name] then bad("%s has no entry in lua/sluice/reference/", name) end
  end
  for _, entry in ipairs(reference.entries) do
    if there[entry.name] == nil then bad("%s has an entry (chapter %s), but there is no such thing", entry.name, entry.chapter.name) end
    if needed[entry.name] ~= nil and needed[entry.name] == entry.optional then
      bad("%s %s, but its entry says otherwise", entry.name, entry.optional and "must be given" or "may be left out")
    end
  end
end

local function check_types(bad)
  local there = {}
  for _, class in pairs(reference.classes) do there[class[2]] = true end
  for _, alias in ipairs(reference.aliases) do there[alias[1]] = true end
  local function check(owner, kind)
    local bare = kind:gsub('"[^"]*"', "")
    for word in bare:gmatch "sluice%.[%w_.]+" do
      if not there[word] then bad("%s: the type %s is told of nowhere", owner, word) end
    end
    for word in bare:gsub("sluice%.[%w_.]+", ""):gsub("[%w_]+%??:", ""):gmatch "%a[%w_]*" do
      if not BASIC[word] then bad("%s: there is no type %s", owner, word) end
    end
  end
  for _, entry in ipairs(reference.entries) do check(entry.name, (entry.type:gsub("^sluice$", ""))) end
  for _, alias in ipairs(reference.aliases) do check(alias[1], alias[2] or "any") end
end

local function check_words(bad)
  for _, entry in ipairs(reference.entries) do
    if entry.doc == "" and not entry.generated then bad("%s says nothing", entry.name) end
    if not reference.class_of(entry.owner) then bad('%s: "%s" belongs to no class', entry.name, entry.owner) end
    local given = {}
    for _, p in ipairs(entry.sig and entry.sig.params or {}) do
      given[p[1]] = true
      if not (entry.params and entry.params[p[1]]) then bad("%s: its parameter %s is not told of", entry.name, p[1]) end
    end
    for name in pairs(entry.sig and entry.params or {}) do
      if not given[name] then bad("%s has no parameter %s", entry.name, name) end
    end
    if entry.sig and not entry.example then bad("%s has no example", entry.name) end
    for word in (entry.doc .. " " .. (entry.returns or "")):gmatch "`([%w_]+[.:][%w_.:]+)`" do
      if not reference.by_name[word] and not word:find "^ctx%.options%." and not word:find "^choices" then bad("%s: `%s` is told of nowhere", entry.name, word) end
    end
  end
end

-- Examples are parts of a policy's file, whole gateway files, or settings; they run as they would there.
local function check_examples(bad)
  for _, entry in ipairs(reference.entries) do
    local text = entry.example
    if text then
      local head = text:find "sluice.policy {" and "local sluice = require 'sluice' " or "local sluice = require 'sluice' local P = sluice.policy { name = 'p' } "
      local settings = text:find "^[%w_]+ = " ~= nil
      local chunk, why = sandbox.compile(head .. (settings and "return { " .. text .. " }" or text), "example of " .. entry.name)
      if not chunk then
        bad("%s: %s", entry.name, why)
      elseif not settings then
        host.loading(true)
        complain.begin()
        local ok, raised = pcall(chunk)
        host.loading(false)
        if not ok then bad("%s: %s", entry.name, raised) end
        for _, line in ipairs(complain.finish()) do
          if not line:find "the secret %w+_API_KEY is missing" then bad("%s: %s", entry.name, line) end
        end
      end
    end
  end
end

return function()
  local out = {}
  local function bad(text, ...) out[#out + 1] = text:format(...) end
  check_names(bad)
  check_types(bad)
  check_words(bad)
  check_examples(bad)
  if #out > 0 then return 1, nil, table.concat(out, "\n") .. "\n" end
  return 0, ("%d entries, nothing missing\n"):format(#reference.entries)
end
