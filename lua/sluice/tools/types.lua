-- `sluice types [DIR]`: what editors and luacheck want to know: sluice.d.lua (LuaCATS), .luarc.json (lua-language-server), .luacheckrc.
local host = require "sluice.host"
local reference = require "sluice.reference"
local sandbox = require "sluice.sandbox"

local MARK = "---@meta sluice\n"

-- ---- sluice.d.lua

local function comment(out, doc)
  if doc and doc ~= "" then out[#out + 1] = "---" .. doc:gsub("\n", "\n---") end
end

-- A signature as the type of a field. Methods are fields with `self`: then hooks that are assigned infer their parameters.
local function fun(sig, self)
  local params = { self and "self: " .. self }
  for _, p in ipairs(sig.params) do params[#params + 1] = ("%s%s: %s"):format(p[1], p[3] and "?" or "", p[2]) end
  return ("%sfun(%s)%s"):format(sig.async and "async " or "", table.concat(params, ", "), sig.returns and ": " .. sig.returns or "")
end

local function field(out, entry, class)
  local kind = entry.sig and fun(entry.sig, entry.owner:find ":$" and class[2]) or entry.type
  comment(out, entry.doc)
  out[#out + 1] = ("---@field %s%s %s"):format(entry.key, entry.optional and "?" or "", kind)
end

local function members(owner)
  local list = {}
  for _, entry in ipairs(reference.entries) do
    if entry.owner == owner or (entry.owner == owner .. ":" and not reference.classes[entry.owner]) then list[#list + 1] = entry end
  end
  return list
end

local function alias(out, class, list)
  comment(out, class[3])
  out[#out + 1] = "---@alias " .. class[2]
  for _, entry in ipairs(list) do out[#out + 1] = ("---| %s # %s"):format(entry.type:find '^"' and "'" .. entry.type .. "'" or entry.type, entry.doc) end
  if class.more then out[#out + 1] = "---| " .. class.more end
  out[#out + 1] = ""
end

local function declare(out, class)
  local list = members(class[1])
  if class.alias then return alias(out, class, list) end
  comment(out, class[3])
  out[#out + 1] = ("---@class %s%s%s"):format(class.exact and "(exact) " or "", class[2], class.parent and ": " .. class.parent or "")
  for _, entry in ipairs(list) do
    if not (class[1] == "sluice" and entry.sig) then field(out, entry, class) end
  end
  if class.more then out[#out + 1] = "---@field " .. class.more end
  out[#out + 1] = ""
end

-- A function of the module: a stub, so that hovering tells of each parameter.
local function stub(out, entry)
  local names = {}
  comment(out, entry.doc)
  for _, p in ipairs(entry.sig.params) do
    names[#names + 1] = p[1]
    out[#out + 1] = ("---@param %s%s %s %s"):format(p[1], p[3] and "?" or "", p[2], (entry.params[p[1]] or ""):gsub("\n", " "))
  end
  for _, one in ipairs(entry.sig.returns and reference.split(entry.sig.returns) or {}) do
    local name, kind = one:match "^([%w_]+): (.+)$"
    out[#out + 1] = ("---@return %s%s"):format(kind or one, name and " " .. name or "")
  end
  if entry.also then out[#out + 1] = "---@overload " .. fun(reference.signature(entry.also)) end
  if entry.waits then out[#out + 1] = "---@async" end
  out[#out + 1] = ("function %s(%s) end\n"):format(entry.name, table.concat(names, ", "))
end

local function annotations()
  local out = { MARK .. "-- luacheck: ignore\n-- Made by `sluice types`; run it again after an update. `sluice help` tells more.\n" }
  for _, one in ipairs(reference.aliases) do
    comment(out, one[3])
    out[#out + 1] = one[2] and ("---@alias %s %s\n"):format(one[1], one[2]) or ("---@class %s\n"):format(one[1])
  end
  local module
  for _, chapter in ipairs(reference.chapters) do
    for _, class in ipairs(chapter.classes) do
      if class[1] == "sluice" then module = class else declare(out, class) end
    end
  end
  declare(out, module)
  out[#out] = "local sluice = {}\n"
  for _, entry in ipairs(members "sluice") do
    if entry.sig then stub(out, entry) end
  end
  out[#out + 1] = "return sluice\n"
  return table.concat(out, "\n")
end

-- ---- the rest, from the sandbox's own list

local function sorted(t, keep)
  local names = {}
  for name, value in pairs(t) do
    if keep(name, value) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function is_table(_, value) return type(value) == "table" end

local function luacheckrc()
  local plain = sorted(sandbox.names, function(_, value) return type(value) ~= "table" end)
  for i, name in ipairs(plain) do plain[i] = ("%q"):format(name) end
  local out = {
    "-- Made by `sluice types`: luacheck knows the names that a policy can use, and no others.",
    "stds.sluice = {", "  read_globals = {", "    " .. table.concat(plain, ", ") .. ",",
  }
  for _, name in ipairs(sorted(sandbox.names, is_table)) do
    local fields = sorted(sandbox.names[name], function() return true end)
    for i, f in ipairs(fields) do fields[i] = ("%q"):format(f) end
    out[#out + 1] = ("    %s = { fields = { %s } },"):format(name, table.concat(fields, ", "))
  end
  out[#out + 1] = "  },\n}"
  out[#out + 1] = 'std = "sluice"'
  out[#out + 1] = "max_line_length = false"
  out[#out + 1] = "unused_args = false                             -- a hook may leave its ctx alone"
  out[#out + 1] = 'files["**/*_spec.lua"].std = "lua54+busted"        -- specs run outside of the sandbox'
  return table.concat(out, "\n") .. "\n"
end

local KEPT = { _G = true, package = true }               -- lua-language-server keeps `require` in package

local function luarc()
  local off = {}
  for _, name in ipairs(sorted(sandbox.gone, function(name) return type(_G[name]) == "table" and not KEPT[name] end)) do off[name] = "disable" end
  local settings = {
    ["runtime.version"] = "Lua 5.4", ["runtime.builtin"] = off,
    ["runtime.path"] = host.json.array { "?.lua", "lua/?.lua", "policies/?.lua", "?/init.lua" },
    ["workspace.library"] = host.json.array { "${3rd}/busted/library", "${3rd}/luassert/library" }, ["workspace.checkThirdParty"] = false,
  }
  local lines = {}
  for _, name in ipairs(sorted(settings, function() return true end)) do lines[#lines + 1] = ("  %s: %s"):format(host.json.encode(name), host.json.encode(settings[name])) end
  return "{\n" .. table.concat(lines, ",\n") .. "\n}\n"
end

-- ---- writing

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read "a"
  f:close()
  return text
end

local function write(path, text)
  local f, why = io.open(path, "wb")
  if not f then return nil, why end
  local ok
  ok, why = f:write(text)
  local closed, late = f:close()
  if ok and closed then return true end
  return nil, ("%s: %s"):format(path, why or late)
end

local FILES = {
  { "sluice.d.lua", annotations, function(old) return old:sub(1, #MARK) == MARK end },      -- ours: a new version takes its place
  { ".luarc.json", luarc, function() return false end },
  { ".luacheckrc", luacheckrc, function() return false end },
}

return function(words, options)
  local dir = words[1] or "."
  if dir == "" then return 1, nil, "sluice: types: which directory? its name is empty\n" end
  if dir:sub(-1) ~= "/" then dir = dir .. "/" end
  local out = {}
  for _, file in ipairs(FILES) do
    local name, make, is_ours = file[1], file[2], file[3]
    local path = dir .. name
    local text, old = make(), read(path)
    if old == text then
      out[#out + 1] = path .. ": already as it should be"
    elseif old and not is_ours(old) and not options.force then
      out[#out + 1] = path .. ": left alone, it differs (sluice types --force writes over it)"
    else
      local ok, why = write(path, text)
      if not ok then return 1, table.concat(out, "\n"), ("sluice: types: cannot write %s\n"):format(why) end
      out[#out + 1] = path .. ": written"
    end
  end
  return 0, table.concat(out, "\n") .. "\n"
end
