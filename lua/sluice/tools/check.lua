-- `sluice check FILE`: the mistakes that loading found, or what looks like one, and notes; as lines, or as JSON. words: the file, the complaints (lines, "" for none).
local host = require "sluice.host"
local load = require "sluice.load"
local order = host.json.order

local function place(m) return m.line and ("%s:%d"):format(m.file, m.line) or m.file end

local function complaints_of(lines)
  local out = {}
  for line in lines:gmatch "[^\n]+" do
    local file, number, text = line:match "^([^\n]-):(%d+): (.*)$"
    out[#out + 1] = order({ file = file, line = math.tointeger(tonumber(number)), text = text or line }, { "file", "line", "text" })
  end
  return out
end

local function count(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

local function as_json(file, errors, found, ok)
  local warnings, notes = {}, {}
  for _, w in ipairs(found) do
    local into = w.note and notes or warnings
    into[#into + 1] = order({ file = w.file, line = w.line, text = w.text }, { "file", "line", "text" })
  end
  local t = { file = file, ok = ok, errors = host.json.array(errors), warnings = host.json.array(warnings), notes = host.json.array(notes) }
  return host.json.encode(order(t, { "file", "ok", "errors", "warnings", "notes" })) .. "\n"
end

local function count_warnings(found)
  local n = 0
  for _, w in ipairs(found) do n = n + (w.note and 0 or 1) end
  return n
end

return function(words, options)
  local file, lines = words[1], words[2]
  local found = lines == "" and require("sluice.lint").run(load.kept) or {}
  local warnings = count_warnings(found)
  local ok = lines == "" and not (options.strict and warnings > 0)
  local code = ok and 0 or 1
  if options.json then return code, as_json(file, complaints_of(lines), found, ok) end
  if lines ~= "" then return code, nil, lines:gsub("\n*$", "\n") end
  local err = {}
  for i, w in ipairs(found) do err[i] = ("%s: %s: %s\n"):format(place(w), w.note and "note" or "warning", w.text) end
  local gateway = load.kept.gateway
  local summary = ("%s: %s: %s, %s%s\n"):format(file, ok and "ok" or "not ok", count(#gateway.routes, "route"), count(#gateway.models, "model"),
    warnings > 0 and ", " .. count(warnings, "warning") or "")
  return code, summary, table.concat(err)
end
