-- `sluice help [NAME]`: what the reference says of a name; an overview without one; the whole page with --markdown.
local known = require "sluice.known"
local reference = require "sluice.reference"
local suggest = require "sluice.suggest"
local text = require "sluice.tools.text"

-- What the page marks as code is only a word here.
local function plain(s) return (s:gsub("`([^`\n]*)`", "%1")) end

-- ---- one entry

local function shown_call(entry)
  if not entry.sig then return entry.name end
  local names = {}
  for _, p in ipairs(entry.sig.params) do names[#names + 1] = p[1] .. (p[3] and "?" or "") end
  local name = entry.owner == "" and "P." .. entry.name or entry.name
  return ("%s(%s)"):format(name, table.concat(names, ", "))
end

local function show(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) ~= "table" then return tostring(v) end
  local words = {}
  for _, item in ipairs(v) do words[#words + 1] = show(item) end
  return ("{ %s }"):format(table.concat(words, ", "))
end

local function values_of(entry)
  local names = {}
  for name in pairs(known.of(entry.values)) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

local function parameters(entry)
  local rows = {}
  for _, p in ipairs(entry.sig and entry.sig.params or {}) do
    rows[#rows + 1] = { p[1] .. (p[3] and "?" or ""), p[2], entry.params and entry.params[p[1]] or "" }
  end
  return rows
end

-- Rows that say more of an entry: { label, text }.
local function facts(entry)
  local rows, sig = {}, entry.sig
  if not sig then rows[#rows + 1] = { "type", entry.type .. (entry.optional and ", may be left out" or "") } end
  if entry.default ~= nil then rows[#rows + 1] = { "default", show(entry.default) } end
  if sig and (sig.returns or entry.returns) then
    rows[#rows + 1] = { "returns", entry.returns and sig.returns and ("%s: %s"):format(sig.returns, entry.returns) or entry.returns or sig.returns }
  end
  if entry.also then rows[#rows + 1] = { "also", entry.owner == "" and entry.also or entry.name .. entry.also } end
  if entry.values then rows[#rows + 1] = { "values", values_of(entry) } end
  if entry.waits then rows[#rows + 1] = { "waits", "yes" } end
  for _, why in ipairs(entry.errors or {}) do rows[#rows + 1] = { "error", why } end
  return rows
end

local function page_of(entry)
  local out = { shown_call(entry), "" }
  for _, block in ipairs { text.wrap(entry.doc, "  "), text.columns(parameters(entry), "  "), text.columns(facts(entry), "  ") } do
    if block ~= "" then
      out[#out + 1] = block
      out[#out + 1] = ""
    end
  end
  if entry.example then
    out[#out + 1] = "  example"
    out[#out + 1] = ""
    out[#out + 1] = text.code(entry.example, "    ")
    out[#out + 1] = ""
  end
  return plain(table.concat(out, "\n"))
end

-- ---- what an owner has: sluice help ctx

local function members(owner)
  local list = {}
  for _, entry in ipairs(reference.entries) do
    if entry.owner == owner or entry.owner == owner .. ":" then list[#list + 1] = entry end
  end
  return list
end

local function lines_of(entries)
  local rows = {}
  for _, entry in ipairs(entries) do rows[#rows + 1] = { shown_call(entry), text.first(entry.doc) } end
  return plain(text.columns(rows, "  "))
end

local function page_of_owner(owner)
  local class, list = reference.class_of(owner), members(owner)
  if #list == 0 then return nil end
  return ("%s\n\n%s\n\n%s\n"):format(owner ~= "" and owner or "P", plain(text.wrap(class and class[3] or "", "  ")), lines_of(list))
end

-- ---- finding what was meant

local function named(key)
  local list = {}
  for _, entry in ipairs(reference.entries) do
    if entry.key == key and not entry.generated then list[#list + 1] = entry end
  end
  return list
end

local function by_class(name)
  for owner, class in pairs(reference.classes) do
    if class[2] == name then return page_of_owner((owner:gsub(":$", ""))) end
  end
  for _, alias in ipairs(reference.aliases) do
    if alias[1] == name then return ("%s\n\n%s\n\n  type  %s\n"):format(name, plain(text.wrap(alias[3], "  ")), alias[2] or "its own; scripts cannot look into it") end
  end
end

-- "sluice.parts.redact", "P.validate", "ctx.tag", "req:messages" mean what they seem to.
local OTHER_FORMS = { { "^sluice%.parts", "parts" }, { "^P[.:]", "" }, { "^hooks?%.", "" }, { "^([%w_]+)%.", "%1:" }, { ":", "." } }

local function find(name)
  local bare = name:gsub("%(.*%)$", "")
  local forms = { bare, "sluice." .. bare }
  for _, change in ipairs(OTHER_FORMS) do forms[#forms + 1] = bare:gsub(change[1], change[2]) end
  for _, form in ipairs(forms) do
    if reference.by_name[form] then
      local entry, more = reference.by_name[form], members(form)
      if #more == 0 then return page_of(entry) end
      return page_of(entry) .. "\n" .. lines_of(more) .. "\n"
    end
  end
  local list = named(bare)
  if #list == 1 then return page_of(list[1]) end
  if #list > 1 then return ('Several are called "%s":\n\n%s\n'):format(bare, lines_of(list)) end
  return page_of_owner(bare) or by_class(bare)
end

local function unknown(name)
  local names = {}
  for _, entry in ipairs(reference.entries) do
    names[entry.name] = true
    if not name:find "[.:]" then names[entry.key] = true end
  end
  for owner in pairs(reference.classes) do names[(owner:gsub(":$", ""))] = true end
  names[""] = nil
  return ('sluice: help: there is nothing called "%s"%s\nTry: sluice help, for a list\n'):format(name, suggest.hint(name, names))
end

-- ---- all of it

local function overview()
  local out = { "Names of the Lua API. One of them: sluice help sluice.reject, ctx:header, filter.max_hold, parts.redact. All of an owner: sluice help ctx\n" }
  for _, chapter in ipairs(reference.chapters) do
    local rows, order, keys = {}, {}, {}
    for _, entry in ipairs(chapter.entries) do
      local owner = entry.owner == "" and "P." or entry.owner:find ":$" and entry.owner or entry.owner .. "."
      if not keys[owner] then
        keys[owner] = {}
        order[#order + 1] = owner
      end
      table.insert(keys[owner], entry.key)
    end
    for _, owner in ipairs(order) do rows[#rows + 1] = { owner, table.concat(keys[owner], " ") } end
    out[#out + 1] = ("%s\n%s\n"):format(chapter.title, text.columns(rows, "  "))
  end
  return table.concat(out, "\n")
end

local function markdown_entry(entry)
  local out = { ("### `%s`\n"):format(entry.owner == "" and "P." .. entry.name or entry.name) }
  out[#out + 1] = ("```\n%s%s\n```\n"):format(shown_call(entry), entry.sig and (entry.sig.returns and ": " .. entry.sig.returns or "") or ": " .. entry.type .. (entry.optional and "?" or ""))
  if entry.doc ~= "" then out[#out + 1] = entry.doc .. "\n" end
  local list = {}
  for _, p in ipairs(parameters(entry)) do list[#list + 1] = ("- `%s`: `%s`. %s"):format(p[1], p[2], p[3]) end
  for _, row in ipairs(facts(entry)) do
    if row[1] ~= "type" then list[#list + 1] = ("- %s: %s"):format(row[1], row[2]:gsub("%s+$", "")) end
  end
  if #list > 0 then out[#out + 1] = table.concat(list, "\n") .. "\n" end
  if entry.example then out[#out + 1] = ("```lua\n%s\n```\n"):format(entry.example:gsub("%s+$", "")) end
  return table.concat(out, "\n")
end

local function markdown()
  local out = { "# The Lua API of Sluice\n\nMade by `sluice help --markdown`.\n" }
  for _, chapter in ipairs(reference.chapters) do
    out[#out + 1] = ("## %s\n\n%s\n"):format(chapter.title, chapter.text)
    for _, entry in ipairs(chapter.entries) do out[#out + 1] = markdown_entry(entry) end
  end
  return table.concat(out, "\n")
end

return function(words, options)
  if options.audit then return require "sluice.tools.audit"() end
  if options.markdown then return 0, markdown() end
  if not words[1] then return 0, overview() end
  local page = find(words[1])
  if not page then return 1, nil, unknown(words[1]) end
  return 0, page
end
