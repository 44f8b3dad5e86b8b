-- Patterns that hold text without bound: once begun, `.*` may go on until the answer ends, so everything waits.
local host = require "sluice.host"
local locate = require "sluice.locate"

-- What repeats may swallow a whole answer when it swallows this.
local PROSE = "The answer is long, and it goes on for a while, word by word. "

-- ---- Lua patterns: single characters and classes with * + -

local function lua_items(p)
  local at = p:sub(1, 1) == "^" and 2 or 1
  return function()
    while at <= #p do
      local item
      local two = p:sub(at, at + 1)
      if two == "%b" then
        at = at + 4
      elseif two == "%f" then
        at = at + 2
        item = p:match("^%[%^?%]?[^%]]*%]", at)
        at = at + #(item or "")
      else
        if two:sub(1, 1) == "%" then item = two
        elseif two:sub(1, 1) == "[" then item = p:match("^%[%^?%]?[^%]]*%]", at) or two
        else item = two:sub(1, 1) end
        at = at + #item
        local repeated = p:match("^[*+-]", at)
        if repeated then
          at = at + 1
          return item, repeated
        end
      end
    end
  end
end

local function lua_unbounded(p)
  for item, repeated in lua_items(p) do
    local ok, whole = pcall(string.find, PROSE, "^" .. item .. "+$")
    if ok and whole then return item .. repeated end
  end
end

-- ---- regular expressions: whatever stands before * + {n,}

-- The end of the atom that begins at `at`, and whether it is a group.
local function atom_end(p, at)
  local c = p:sub(at, at)
  if c == "\\" then
    local long = p:match("^\\[pPxogk]%b{}", at)
    return at + (long and #long or 2) - 1
  end
  if c == "[" then
    local i = at + 1
    if p:sub(i, i) == "^" then i = i + 1 end
    if p:sub(i, i) == "]" then i = i + 1 end
    while i <= #p and p:sub(i, i) ~= "]" do
      local class = p:match("^%[:%^?%a+:%]", i)
      i = i + (class and #class or p:sub(i, i) == "\\" and 2 or 1)
    end
    return i
  end
  if c ~= "(" then return at end
  local i = at + 1
  while i <= #p and p:sub(i, i) ~= ")" do i = atom_end(p, i) + 1 end
  return i
end

-- What stands in a group, also one that is named, atomic or only looks ahead.
local function within(atom)
  for _, form in ipairs { "^%(%?[%w-]*[:>|=!](.*)%)$", "^%(%?P?<[%w_]+>(.*)%)$", "^%(([^?*].*)%)$" } do
    local inside = atom:match(form)
    if inside then return inside end
  end
end

local function regex_unbounded(p)
  local at = 1
  while at <= #p do
    local stop = atom_end(p, at)
    local atom = p:sub(at, stop)
    local repeated = p:match("^[*+]", stop + 1) or p:match("^{%d*,}", stop + 1)
    if repeated then
      local ok, m = pcall(host.match.regex, "\\A(?:" .. atom .. ")+\\z")
      local found, from = pcall(function() return m:find(PROSE) end)
      if ok and found and from then return atom .. repeated end
    end
    local inside = within(atom)
    local deep = inside and regex_unbounded(inside)
    if deep then return deep end
    at = stop + 1
  end
end

local UNBOUNDED = { pattern = lua_unbounded, regex = regex_unbounded }
local ENDS = { pattern = "%S*", regex = ".{0,200}" }

-- The line where a pattern is written, or nil: of several places the first.
local function written(kept, source)
  for file, text in pairs(kept.sources) do
    for _, token in ipairs(locate.tokens(text)) do
      if token.kind == "string" then
        local made = load("return \"" .. token.value:gsub('[\n"]', "\\%0") .. '"', "=", "t", {})
        if token.value == source or (made and made() == source) then return file, token.line end
      end
    end
  end
end

return function(kept, warn)
  for _, def in ipairs(kept.defined) do
    for _, f in ipairs(def.filters) do
      for _, part in ipairs(f.match and host.matcher_parts(f.match) or {}) do
        local what = UNBOUNDED[part.form] and UNBOUNDED[part.form](part.source)
        if what then
          local file, line = written(kept, part.source)
          warn(file or def.filter_file, line or def.filter_line,
            ('the %s "%s" of policy "%s" has no bound: once begun, %s may hold everything back up to max_hold; write one that ends, such as %s'):format(
              part.form, part.source, def.name, what, ENDS[part.form]))
        end
      end
    end
  end
end
