-- On which line of a file a setting is written: walks the tokens of `sluice.config { ... }` and maps key paths
-- ("routes.ask.policies[2].rate") to lines. What is not written there literally has the line of what holds it.
local M = {}

local function long_bracket(text, at)
  local eq = text:match("^%[(=*)%[", at)
  if not eq then return nil end
  local _, stop = text:find("]" .. eq .. "]", at + #eq + 2, true)
  return stop or #text
end

-- A list of { kind, value, line }; kinds: name, string, number, symbol. A long bracket or comment counts its lines.
function M.tokens(text)
  local out, at, line = {}, 1, 1
  local function add(kind, value) out[#out + 1] = { kind = kind, value = value, line = line } end
  local function skip(to)
    for _ in text:sub(at, to):gmatch("\n") do line = line + 1 end
    at = to + 1
  end
  while at <= #text do
    local c = text:sub(at, at)
    if c:find("%s") then
      skip(select(2, text:find("^%s+", at)))
    elseif text:find("^%-%-", at) then
      local stop = long_bracket(text, at + 2)
      skip(stop or (text:find("\n", at, true) or #text + 1) - 1)
    elseif text:find("^[%a_]", at) then
      local word = text:match("^[%w_]+", at)
      add("name", word)
      at = at + #word
    elseif text:find("^%.?%d", at) then
      local number = text:match("^[%w%.]+", at)
      add("number", number)
      at = at + #number
    elseif c == '"' or c == "'" then
      local i = at + 1
      while i <= #text and text:sub(i, i) ~= c do
        i = i + (text:sub(i, i) == "\\" and 2 or 1)
      end
      add("string", text:sub(at + 1, i - 1))
      skip(math.min(i, #text))
    elseif long_bracket(text, at) then
      local stop = long_bracket(text, at)
      add("string", text:sub(at, stop):gsub("^%[=*%[", ""):gsub("%]=*%]$", ""))
      skip(stop)
    else
      local symbol = text:match("^%.%.%.", at) or text:match("^[=~<>]=", at) or text:match("^%.%.", at) or text:match("^::", at) or c
      add("symbol", symbol)
      at = at + #symbol
    end
  end
  return out
end

local function is(token, value) return token and token.kind == "symbol" and token.value == value end

local OPEN = { ["("] = true, ["{"] = true, ["["] = true }
local CLOSE = { [")"] = true, ["}"] = true, ["]"] = true }
local BEGIN = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local END = { ["end"] = true, ["until"] = true }

-- The position behind the expression that begins at i: before "," ";" or the closing "}".
local function behind(tokens, i)
  local depth = 0
  while tokens[i] do
    local t = tokens[i]
    if t.kind == "symbol" then
      if depth == 0 and (t.value == "," or t.value == ";" or t.value == "}") then return i end
      if OPEN[t.value] then depth = depth + 1 elseif CLOSE[t.value] then depth = depth - 1 end
    elseif t.kind == "name" then
      if BEGIN[t.value] then depth = depth + 1 elseif END[t.value] then depth = depth - 1 end
    end
    i = i + 1
  end
  return i
end

function M.join(path, key)
  if math.type(key) == "integer" then return ("%s[%d]"):format(path, key) end
  key = tostring(key)
  if not key:find("^[%a_][%w_]*$") then return ("%s[%q]"):format(path, key) end
  return path == "" and key or path .. "." .. key
end

local walk

-- A value: a table itself, or a call with one table whose members count as the value's.
local function value(tokens, i, path, lines)
  local t = i
  if tokens[t] and tokens[t].kind == "name" then
    while is(tokens[t + 1], ".") and tokens[t + 2] do t = t + 2 end
    t = t + 1
    if is(tokens[t], "(") then t = t + 1 end
  end
  if is(tokens[t], "{") then walk(tokens, t, path, lines) end
  return behind(tokens, i)
end

function walk(tokens, i, path, lines)
  local position = 0
  i = i + 1
  while tokens[i] and not is(tokens[i], "}") do
    local t, key = tokens[i]
    if t.kind == "name" and is(tokens[i + 1], "=") then
      key, i = t.value, i + 2
    elseif is(t, "[") and is(tokens[i + 2], "]") and is(tokens[i + 3], "=") then
      key = tokens[i + 1].value
      if tokens[i + 1].kind == "number" then key = math.tointeger(tonumber(key)) or key end
      i = i + 4
    else
      position = position + 1
      key = position
    end
    local here = M.join(path, key)
    lines[here] = t.line
    i = value(tokens, i, here, lines)
    if is(tokens[i], ",") or is(tokens[i], ";") then i = i + 1 end
  end
end

-- lines by path for the constructor behind `NAME.config` that is nearest to `near` (a line, or nil: the last one). "" is the call's own line.
function M.config(text, near)
  local tokens = M.tokens(text)
  local best
  for i, t in ipairs(tokens) do
    if t.kind == "name" and t.value == "config" and (is(tokens[i - 1], ".") or is(tokens[i + 1], "{") or is(tokens[i + 1], "(")) then
      if not best or not near or math.abs(t.line - near) <= math.abs(tokens[best].line - near) then best = i end
    end
  end
  if not best then return {} end
  local lines = { [""] = tokens[best].line }
  local open = best + 1
  if is(tokens[open], "(") then open = open + 1 end
  if is(tokens[open], "{") then walk(tokens, open, "", lines) end
  return lines
end

-- The line of `path`, or of the nearest thing around it that is written there.
function M.line(lines, path)
  while path ~= "" do
    if lines[path] then return lines[path] end
    path = path:match('^(.*)%["[^%[]*"%]$') or path:match("^(.*)%[%d+%]$") or path:match("^(.*)%.[%w_]+$") or ""
  end
  return lines[""]
end

return M
