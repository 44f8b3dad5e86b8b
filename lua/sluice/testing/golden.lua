-- Golden answers: t.golden(name, value) holds a value to what spec/golden/NAME.json says, beside the spec; `sluice test DIR --update` writes that file.
local json = require "sluice.testing.json"
local blame = require "sluice.testing.blame"
local wants = require "sluice.testing.wants"

local SHOWN_MAX = 40                                     -- lines of a difference
local CONTEXT = 2

-- ---- a value as text: keys sorted, one member a line, so that files can be compared by eye

local function number(n)
  if math.type(n) == "integer" then return ("%d"):format(n) end
  if n ~= n or math.abs(n) == math.huge then return nil end
  for digits = 14, 17 do
    local text = ("%." .. digits .. "g"):format(n)
    if tonumber(text) == n then return text:find "[.e]" and text or text .. ".0" end
  end
end

local put

local function members(value, indent, path, seen)
  local out, keys, inner = {}, {}, indent .. "  "
  local is_list = #value > 0 or json.is_list(value)
  for k in next, value do keys[#keys + 1] = k end
  for _, k in ipairs(keys) do
    if is_list and not (math.type(k) == "integer" and k >= 1 and k <= #keys) then
      return blame.blame(("t.golden: %s is neither a list nor an object: it has the key %s"):format(path, tostring(k)))
    elseif not is_list and type(k) ~= "string" then
      return blame.blame(("t.golden: %s has the key %s, and only texts can be keys"):format(path, tostring(k)))
    end
  end
  table.sort(keys)
  for i, k in ipairs(keys) do
    local text = put(rawget(value, k), inner, is_list and ("%s[%d]"):format(path, k) or ("%s.%s"):format(path, k), seen)
    out[i] = inner .. (is_list and text or json.encode(k) .. ": " .. text)
  end
  if #out == 0 then return is_list and "[]" or "{}" end
  return ("%s\n%s\n%s%s"):format(is_list and "[" or "{", table.concat(out, ",\n"), indent, is_list and "]" or "}")
end

function put(value, indent, path, seen)
  local kind = type(value)
  if value == json.null then return "null" end
  if kind == "string" then
    if not utf8.len(value) then blame.blame(("t.golden: %s is no UTF-8"):format(path)) end
    return json.encode(value)
  end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then return number(value) or blame.blame(("t.golden: %s is %s, which JSON cannot hold"):format(path, tostring(value))) end
  if kind ~= "table" then blame.blame(("t.golden: %s is a %s; a golden answer holds data"):format(path, kind)) end
  if seen[value] then blame.blame(("t.golden: %s holds itself"):format(path)) end
  seen[value] = true
  local text = members(value, indent, path, seen)
  seen[value] = nil
  return text
end

-- ---- a difference, line by line

-- What is compared by eye: a text's own lines, or those of the JSON.
local function lines_of(text)
  local out, plain = {}, text:sub(1, 1) == '"' and json.decode(text)
  for line in (plain and plain .. "\n" or text):gmatch "(.-)\n" do out[#out + 1] = line end
  return out
end

-- The longest common sequence of a[from..a_to] and b[from..b_to], as a table of lengths.
local function lengths(a, b, from, a_to, b_to)
  local t = { [a_to + 1] = setmetatable({}, { __index = function() return 0 end }) }
  for i = a_to, from, -1 do
    t[i] = { [b_to + 1] = 0 }
    for j = b_to, from, -1 do
      t[i][j] = a[i] == b[j] and t[i + 1][j + 1] + 1 or math.max(t[i + 1][j], t[i][j + 1])
    end
  end
  return t
end

-- A list of { mark, line }: " " in both, "-" only in a, "+" only in b.
local function compared(a, b)
  local out, from, a_to, b_to = {}, 1, #a, #b
  while from <= a_to and from <= b_to and a[from] == b[from] do from = from + 1 end
  while a_to >= from and b_to >= from and a[a_to] == b[b_to] do a_to, b_to = a_to - 1, b_to - 1 end
  for i = 1, from - 1 do out[#out + 1] = { " ", a[i] } end
  local alike = (a_to - from) * (b_to - from) < 1000000 and lengths(a, b, from, a_to, b_to)
  local i, j = from, from
  while i <= a_to or j <= b_to do
    if alike and i <= a_to and j <= b_to and a[i] == b[j] then
      out[#out + 1] = { " ", a[i] }
      i, j = i + 1, j + 1
    elseif i <= a_to and (not alike or j > b_to or alike[i + 1][j] >= alike[i][j + 1]) then
      out[#out + 1] = { "-", a[i] }
      i = i + 1
    else
      out[#out + 1] = { "+", b[j] }
      j = j + 1
    end
  end
  for k = a_to + 1, #a do out[#out + 1] = { " ", a[k] } end
  return out
end

local function difference(before, now)
  local all, near, out, skipped = compared(before, now), {}, {}, false
  for i, line in ipairs(all) do
    for k = i - CONTEXT, i + CONTEXT do near[k] = near[k] or line[1] ~= " " end
  end
  for i, line in ipairs(all) do
    if near[i] and #out < SHOWN_MAX then
      if skipped and #out > 0 then out[#out + 1] = "    ..." end
      out[#out + 1] = ("  %s %s"):format(line[1], line[2])
      skipped = false
    else
      skipped = true
    end
  end
  if skipped and #out >= SHOWN_MAX then out[#out + 1] = "    ..." end
  return table.concat(out, "\n")
end

-- ---- files

local function read(path)
  local f = io.open(path, "rb")
  local text = f and f:read "a"
  if f then f:close() end
  return text
end

local function write(dir, path, text)
  require("pl.path").mkdir(dir)                          -- there already: fine
  local f, why = io.open(path, "wb")
  if not f then blame.blame(("t.golden: cannot write %s"):format(why)) end
  local ok, late = f:write(text)
  if not (f:close() and ok) then blame.blame(("t.golden: cannot write %s: %s"):format(path, late or "the disk is full?")) end
end

return function(name, value)
  if type(name) ~= "string" or not name:find "^[%w_][%w_%-%.]*$" then
    blame.blame(('t.golden: a name is a word such as "first_answer" (letters, digits, _ - and .), not %s'):format(type(name) == "string" and ("%q"):format(name) or "a " .. type(name)))
  end
  local dir = ((blame.where() or ""):match "^(.*)/[^/]*$" or ".") .. "/golden"
  local path = ("%s/%s.json"):format(dir, name)
  local now, stored = put(value, "", "the value", {}) .. "\n", read(path)
  if wants.update then
    if wants.written[path] and wants.written[path] ~= now then
      blame.blame(("t.golden: %q was written already, with another value; give this one another name\n%s"):format(name, difference(lines_of(wants.written[path]), lines_of(now))))
    end
    if stored ~= now then write(dir, path, now) end
    wants.written[path] = now
  elseif not stored then
    blame.blame(("there is no golden answer %s; sluice test --update writes it:\n%s"):format(path, difference({}, lines_of(now))))
  elseif stored ~= now then
    blame.blame(("this is not the golden answer of %s (- stored, + now; sluice test --update stores what is now):\n%s"):format(path, difference(lines_of(stored), lines_of(now))))
  end
end
