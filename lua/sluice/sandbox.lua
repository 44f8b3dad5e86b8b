-- The world of an operator's file: an allow-list of names, its own environment, `require` below its own directory.
-- This guards against mistakes, not against hostile authors.
local host = require "sluice.host"
local frozen = require "sluice.frozen"
local suggest = require "sluice.suggest"
local blame = require("sluice.complain").blame

local M = { sources = {}, files = {} }   -- while loading: the text of each Lua file by its path; the digest of each other file

local FILE_MAX = 4 * 1024 * 1024

local OUT_OF_REACH = "files, processes and code made at run time are out of reach here"
local gone = {
  io = OUT_OF_REACH, os = OUT_OF_REACH, package = OUT_OF_REACH, debug = OUT_OF_REACH, load = OUT_OF_REACH,
  loadfile = OUT_OF_REACH, dofile = OUT_OF_REACH, loadstring = OUT_OF_REACH,
  collectgarbage = "the gateway collects garbage by itself", warn = "use print",
  _G = "there are no globals to share; use local names, or ctx.vars", setfenv = "Lua 5.4 has no setfenv", getfenv = "Lua 5.4 has no getfenv",
  unpack = "Lua 5.4 calls it table.unpack",
}

-- math.random: of an exchange its own, so that what a spec or a replay asks again draws again what it drew; elsewhere the VM's.
local function random(...)
  local n = select("#", ...)
  local low, high = ...
  local bits = host.draw()
  if not bits then return math.random(...) end
  if n == 0 then return (bits >> 11) * (0.5 ^ 53) end
  if n == 1 then low, high = 1, low end
  low, high = math.tointeger(low), math.tointeger(high)
  if n > 2 or not low or not high then error(("bad argument to 'random' (%s)"):format(n > 2 and "wrong number of arguments" or "whole numbers expected"), 3) end
  if n == 1 and high == 0 then return bits end
  if low > high then error("bad argument to 'random' (interval is empty)", 3) end
  local span = high - low                                -- may wrap around: it is unsigned
  local mask = span
  for _, shift in ipairs { 1, 2, 4, 8, 16, 32 } do mask = mask | mask >> shift end
  local value = bits & mask
  while math.ult(span, value) do value = host.draw() & mask end
  return low + value
end

local libraries
do
  local mathlib = {}
  for k, v in pairs(math) do mathlib[k] = v end
  mathlib.randomseed = nil
  mathlib.random = host.seal(random)
  libraries = {
    math = frozen.library("math", mathlib),
    table = frozen.library("table", host.table),
    utf8 = frozen.library("utf8", utf8),
    coroutine = frozen.library("coroutine", host.coroutine),
    string = frozen.library("string", host.string, { dump = "there is no string.dump here: code made at run time is out of reach" }),
  }
end

local function say(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  local info = debug.getinfo(2, "Sl")
  local place = info and info.currentline > 0 and ("%s:%d: "):format(info.short_src, info.currentline) or ""
  host.log("info", "script.print", place .. table.concat(words, " ", 1, words.n))
end

local names = {
  assert = host.base.assert, error = host.base.error, ipairs = ipairs, next = next, pairs = pairs, rawequal = rawequal, rawget = rawget, rawlen = rawlen,
  select = select, getmetatable = getmetatable, tonumber = tonumber, tostring = tostring, type = type, _VERSION = _VERSION,
  pcall = host.base.pcall, xpcall = host.base.xpcall, setmetatable = host.base.setmetatable, rawset = host.base.rawset,
  print = say,
}
for name, lib in pairs(libraries) do names[name] = lib end

local env_mt = {
  __index = function(_, k)
    if gone[k] then error(('"%s" is not available to scripts: %s'):format(k, gone[k]), 2) end
    error(('unknown name "%s"%s'):format(tostring(k), suggest.hint(k, names)), 2)
  end,
  __newindex = function(_, k)
    error(('"%s" would become a global, which is not allowed: write "local %s"'):format(tostring(k), tostring(k)), 2)
  end,
  __metatable = false,
  [host.locked] = true,
}

local function environment()
  local env = {}
  for k, v in pairs(names) do env[k] = v end
  return setmetatable(env, env_mt)
end

local function compile(text, path)
  if text:sub(1, 1) == "\27" then return nil, path .. ":1: this is compiled Lua; only text is read" end
  if text:sub(1, 3) == "\239\187\191" then text = text:sub(4) end          -- a byte order mark
  if text:sub(1, 2) == "#!" then text = "--" .. text end
  return load(text, "@" .. path, "t", environment())
end

-- For `sluice test --coverage`: which lines a file has, before it runs.
local function covered(chunk, path)
  if chunk and host.covers(path) then host.cover(path, require "sluice.lint.lines"(chunk)) end
  return chunk
end

local function read(path)
  local f, why = io.open(path, "rb")
  if not f then return nil, why end
  local text, err = f:read(FILE_MAX + 1)
  f:close()
  if err then return nil, ("%s: %s"):format(path, err) end
  text = text or ""
  if #text > FILE_MAX then return nil, path .. ": a file of more than 4 MiB is not read" end
  return text
end

local loaded, root = {}, nil

-- Begins with a new operator's file; what earlier ones required is forgotten. dir: where its modules lie, in place of its own directory.
function M.begin(file, dir)
  root = dir or file:match("^(.*)/[^/]*$")
  loaded = {}
  M.sources, M.files = {}, {}
end

-- The path of a file that the operator named, relative to the gateway file.
function M.resolve(path)
  if path:sub(1, 1) == "/" or not root then return path end
  return root .. "/" .. path
end

-- A text beside the gateway file or below it, named by an operator: text, its path; or nil and why not.
function M.text_file(name)
  if name == "" or name:find("[%c]") then return nil, "the name of a file is missing" end
  if name:sub(1, 1) == "/" then return nil, ('"%s" is an absolute path: files are named from the gateway file\'s folder, such as "prompts/help.txt"'):format(name) end
  if ("/" .. name .. "/"):find("/../", 1, true) then return nil, ('"%s" leaves the gateway file\'s folder, which .. may not'):format(name) end
  local path = M.resolve(name)
  local text, why = host.read_file(path, FILE_MAX)
  if not text then return nil, ("%s: %s"):format(path, why) end
  M.files[path] = host.sha256(text)
  return text, path
end

-- Of all that was read since `begin`: the same texts give the same.
function M.digest()
  local sums = {}
  for path, text in pairs(M.sources) do sums[#sums + 1] = path .. "\0" .. host.sha256(text) end
  for path, sum in pairs(M.files) do sums[#sums + 1] = path .. "\0" .. sum end
  table.sort(sums)
  return host.sha256(table.concat(sums, "\n"))
end

-- The last line of a file that has been read on which something is written.
function M.last_line(file)
  local text = (M.sources[file] or ""):gsub("%s+$", "")
  return 1 + select(2, text:gsub("\n", ""))
end

-- The compiled chunk of the gateway file itself, or nil and a sentence. given: its text, when it is not to be read.
function M.chunk(file, given)
  local text, why = given, nil
  if not text then text, why = read(file) end
  if not text then return nil, why end
  M.sources[file] = text
  local chunk, wrong = compile(text, file)
  return given and chunk or covered(chunk, file), wrong
end

local PUBLIC = { "^sluice%.dialects%.[%w_]+$", "^sluice%.parts%.[%w_]+$", "^sluice%.parts%.shared%.[%w_]+$" }

local function find_public(name)
  for _, p in ipairs(PUBLIC) do
    if name:find(p) then
      local text, path = host.module(name)
      if text then return text, path end
    end
  end
end

local function find_file(name)
  local rel = name:gsub("%.", "/")
  local tried = {}
  for _, pattern in ipairs { "%s.lua", "lua/%s.lua", "policies/%s.lua", "%s/init.lua" } do
    local path = M.resolve(pattern:format(rel))
    local text = read(path)
    if text then return text, path end
    tried[#tried + 1] = path
  end
  return nil, tried
end

local LOADING = {}

-- The public table `sluice`, put here by sluice.load (it needs this file first).
M.public = nil

function M.require(name)
  if type(name) ~= "string" then blame("require takes the name of a module") end
  if name == "sluice" then return M.public end
  local module = loaded[name]
  if module == LOADING then blame(('module "%s" requires itself'):format(name)) end
  if module ~= nil then return module end
  if not host.loading() then blame(('require "%s" belongs at the top of a file: nothing is read while requests are served'):format(name)) end
  if not name:find("^[%w_%-]+%.?[%w_%-%.]*$") or name:find("..", 1, true) or name:find("%.$") then
    blame(('"%s" is no module name: write words joined by dots, such as "policies.pii"'):format(name))
  end
  local text, path
  if name:find("^sluice%.") then
    text, path = find_public(name)
    if not text then blame(('there is no module "%s" in Sluice'):format(name)) end
  else
    text, path = find_file(name)
    if not text then blame(('no module "%s": looked for %s'):format(name, table.concat(path, ", "))) end
    M.sources[path] = text
  end
  local chunk, why = compile(text, path)
  if not chunk then error(why, 0) end
  if M.sources[path] then covered(chunk, path) end
  loaded[name] = LOADING
  module = chunk(name)
  if module == nil then module = true end
  loaded[name] = module
  return module
end

-- For privileged code that wants a bundled module as scripts would get it.
function M.public_module(name)
  local was = host.loading()
  host.loading(true)
  local module = M.require(name)
  host.loading(was)
  return module
end

names.require = host.seal(M.require)

-- For the tools: the allow-list, and why some names are not on it.
M.names, M.gone, M.compile = names, gone, compile

return M
