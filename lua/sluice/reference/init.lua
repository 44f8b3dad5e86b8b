-- What operators can write, told once: `sluice help`, its page and the annotations for editors are made from this. A chapter is a table
--
--   { title =, text =,
--     classes = { { "ctx", "sluice.Context", "One request ...", exact = true, parent =, alias =, more = } },     -- what "ctx.id" and "ctx:tag" belong to
--     aliases = { { "sluice.Duration", "string", "..." } },      -- false in place of the type: a type of its own, without fields
--     { "ctx:tag", "(name: string, value: any)", "Adds ...", params = {}, returns =, errors = {}, example =, values =, waits =, also =, when = }, ... }
--
-- whose list are the entries: name (with "?" when it may be absent), type in LuaCATS' words or a signature, a sentence or two. To tell of a new name, add a
-- line to its chapter; `sluice help --audit` says which are missing, and which tell of something that is not there.
require "sluice.load"                                     -- gives the sandbox its public module
local known = require "sluice.known"
local policy = require "sluice.policy"
local sandbox = require "sluice.sandbox"

local CHAPTERS = { "module", "verdict", "policy", "hook", "filter", "request", "news", "service", "state", "match", "config", "parts", "dialect" }

local M = { chapters = {}, entries = {}, classes = {}, aliases = {} }       -- entries: the list; by name in M.by_name
M.by_name = {}

-- ---- signatures: "async (name: string, n?: integer): boolean, string?", also with "fun" before the bracket

-- The parts of `text` between commas that stand in no brackets.
local function split(text)
  local out, depth, from = {}, 0, 1
  for at = 1, #text do
    local c = text:sub(at, at)
    if c:find "[%(%[{<]" then depth = depth + 1 elseif c:find "[%)%]}>]" then depth = depth - 1 end
    if c == "," and depth == 0 then
      out[#out + 1] = text:sub(from, at - 1)
      from = at + 1
    end
  end
  out[#out + 1] = text:sub(from)
  for i, part in ipairs(out) do out[i] = part:match "^%s*(.-)%s*$" end
  return out
end

-- { async =, params = { { name, type, optional } }, returns = text or nil }, or nil when it is no signature.
function M.signature(text)
  local async, rest = text:match "^(async )(.*)$"
  rest = (rest or text):gsub("^fun%(", "(")
  local inside, behind = rest:match "^(%b())(.*)$"
  if not inside or not (behind == "" or behind:sub(1, 2) == ": ") then return nil end
  local sig = { async = async ~= nil, params = {}, returns = behind ~= "" and behind:sub(3) or nil }
  inside = inside:sub(2, -2)
  for _, one in ipairs(inside ~= "" and split(inside) or {}) do
    local name, optional, kind = one:match "^([%w_]+)(%??): (.+)$"
    if not name then return nil end
    sig.params[#sig.params + 1] = { name, kind, optional == "?" }
  end
  return sig
end

M.split = split

-- ---- entries

-- "ctx:tag" -> "ctx:", "tag"; "sluice.json.encode" -> "sluice.json", "encode"; "accept" -> "", "accept"
local function owner_of(name)
  local owner, sep, key = name:match "^(.*)([.:])([^.:]+)$"
  if not owner then return "", name end
  return sep == ":" and owner .. ":" or owner, key
end

local function add(entry, chapter)
  local name, optional = entry[1]:match "^(.-)(%??)$"
  entry.name, entry.optional, entry.type, entry.doc = name, optional == "?", entry[2] or "any", entry[3] or ""
  entry.owner, entry.key = owner_of(name)
  entry.sig = M.signature(entry.type)
  entry.chapter = chapter
  M.entries[#M.entries + 1] = entry
  M.by_name[name] = entry
  chapter.entries[#chapter.entries + 1] = entry
end

local OPTION_TYPES = { list = "any[]", map = "table", secret = "sluice.Secret", duration = "sluice.Duration", size = "sluice.Size", matcher = "sluice.Matcher|string|(sluice.Matcher|string)[]",
  file = "string", ["function"] = "function", service = "string|sluice.Service", model = "string", store = "string" }

local option_type

local function kind_type(s, kind)
  if kind == "list" and s.of then return ("(%s)[]"):format(option_type(s.of)) end
  if kind == "map" and s.of then return ("table<%s, %s>"):format(s.keys and option_type(s.keys) or "string", option_type(s.of)) end
  return OPTION_TYPES[kind] or kind
end

function option_type(s)
  local words = {}
  for _, v in ipairs(s.o.one_of or {}) do words[#words + 1] = type(v) == "string" and ("%q"):format(v) or tostring(v) end
  for _, kind in ipairs(s.kinds) do
    if not s.o.one_of or kind == "function" then words[#words + 1] = kind_type(s, kind) end
  end
  return table.concat(words, "|")
end

-- A part tells of itself: its doc, its options.
local function add_part(entry, chapter)
  local name = entry[1]:match "^parts%.(.+)$"
  local def = policy.definitions[sandbox.public_module("sluice.parts." .. name)]
  local options, needed = {}, false
  for option, s in pairs(def.options) do
    options[#options + 1] = option
    needed = needed or ((s.o.required or s.o.unless) and s.o.default == nil)
  end
  table.sort(options)
  entry[2] = ("(options%s: sluice.parts.%s): sluice.Use"):format(needed and "" or "?", name)
  entry[3] = def.doc
  entry.params = { options = #options > 0 and "Its options: " .. table.concat(options, ", ") .. "." or "It has none of its own." }
  entry.returns = "an entry for a route's policies"
  add(entry, chapter)
  M.classes["parts." .. name] = { "parts." .. name, "sluice.parts." .. name, ("Options of sluice.parts.%s."):format(name), parent = "sluice.Use" }
  chapter.classes[#chapter.classes + 1] = M.classes["parts." .. name]
  for _, option in ipairs(options) do
    local s = def.options[option]
    add({ ("parts.%s.%s%s"):format(name, option, s.o.required and "" or "?"), option_type(s), s.o.doc or "", default = s.o.default, generated = true }, chapter)
  end
end

for _, name in ipairs(CHAPTERS) do
  local chapter = require("sluice.reference." .. name)
  chapter.name, chapter.entries, chapter.classes = name, {}, chapter.classes or {}
  M.chapters[#M.chapters + 1] = chapter
  for _, class in ipairs(chapter.classes) do M.classes[class[1]] = class end
  for _, alias in ipairs(chapter.aliases or {}) do M.aliases[#M.aliases + 1] = alias end
  for _, entry in ipairs(chapter) do
    if name == "parts" and known.of("parts")[entry[1]:match "^parts%.(.+)$"] then add_part(entry, chapter) else add(entry, chapter) end
  end
end

-- What an owner's names belong to: "ctx." and "ctx:" are one class, "limiter." and "limiter:" are two.
function M.class_of(owner)
  return M.classes[owner] or M.classes[owner:match "^(.*):$" or owner]
end

return M
