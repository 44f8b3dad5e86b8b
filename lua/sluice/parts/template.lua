-- Prompt templates: text with {{names}} in it, and no code.
--
--   sluice.parts.template { file = "prompts/help.txt", vars = { product = "Sluice" } }
--   sluice.parts.template { role = "user", text = "Translate into {{query.lang}}, and say nothing else:\n\n{{question}}" }
--
-- Known are {{question}} (the last text of the user), {{query.NAME}}, {{vars.NAME}} (what earlier policies left in ctx.vars) and the names in `vars`. Any
-- other name refuses the file with the template's line. A value is put in as it is, braces too; one that is absent is an empty text. `{{{{` writes two braces.
-- A template is read while the gateway file loads: SIGHUP reads it anew. What a user wrote speaks with the system's voice when it is put into the system prompt.
local sluice = require "sluice"

local P = sluice.policy {
  name = "template",
  api  = 1,
  doc  = "Makes the system prompt, or the user's message, of a template.",
  options = {
    file = { type = "file", doc = "The template, in a file beside the gateway file; or ..." },
    text = { type = "string", doc = "... the template itself." },
    vars = { type = "map", default = {}, doc = "Values by name: texts, numbers, booleans, or functions(req, ctx) that return one." },
    role = { type = "string", default = "system", one_of = { "system", "user" }, doc = "system: added to the system prompt; user: takes the place of the last user message." },
  },
}

local from = {                                            -- where {{KIND.NAME}} finds its value
  query = function(name) return function(req) return req.query[name] end end,
  vars  = function(name) return function(_, ctx) return ctx.vars[name] end end,
}

local function question(req) return req:last_user() end

-- What gives the value of a name, or nil and what is wrong.
local function source(name, vars)
  if name == "question" then return question end
  local kind, key = name:match("^([%a_][%w_]*)%.([%w_%-]+)$")
  if kind and from[kind] then return from[kind](key) end
  local value = vars[name]
  if type(value) == "function" then return value end
  if value ~= nil then return function() return value end end
  local known = {}
  for k in pairs(vars) do known[#known + 1] = k end
  table.sort(known)
  table.insert(known, 1, "question, query.NAME, vars.NAME")
  return nil, ("unknown name {{%s}} (known: %s)"):format(name:sub(1, 60), table.concat(known, ", "))
end

-- The template as a list of texts and of { name, source }. `bad(line, sentence)` is told what is wrong.
local function compile(text, vars, bad)
  local out, at, line = {}, 1, 1
  while true do
    local open = text:find("{{", at, true)
    local plain = text:sub(at, (open or 0) - 1)
    out[#out + 1] = plain
    if not open then return out end
    line = line + select(2, plain:gsub("\n", "\n"))
    if text:sub(open, open + 3) == "{{{{" then
      out[#out + 1], at = "{{", open + 4
    else
      local name, stop = text:match("^[ \t]*([^{}%c]-)[ \t]*}}()", open + 2)
      if not name then
        bad(line, '"{{" has no name and "}}" behind it on its line; "{{{{" writes two braces')
        return out
      end
      local get, why = source(name, vars)
      if not get then bad(line, why) end
      out[#out + 1], at = { name = name, get = get }, stop
    end
  end
end

local KINDS = { string = true, number = true, boolean = true, ["function"] = true }

function P.prepare(o, use)
  if (o.file == nil) == (o.text == nil) then return use:bad("needs either file or text") end
  for name, value in pairs(o.vars) do
    if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
      use:bad(("a name is a word, is %s"):format(tostring(name)), "vars")
    elseif name == "question" then
      use:bad("{{question}} is the user's question; choose another name", "vars", name)
    elseif not KINDS[type(value)] then
      use:bad(("must be a text, a number, a boolean or a function(req, ctx), is a %s"):format(type(value)), "vars", name)
    end
  end
  local text = o.file and o.file.text or o.text
  if not utf8.len(text) then return use:bad("is no valid UTF-8", o.file and "file" or "text") end
  text = text:gsub("^\u{FEFF}", "")                       -- a byte order mark
  if o.file then text = text:gsub("\r?\n$", "") end        -- the end of the file's last line
  return compile(text, o.vars, function(line, why)
    if o.file then use:bad_line(why, o.file, line) else use:bad(("line %d: %s"):format(line, why), "text") end
  end)
end

local function value_of(piece, req, ctx)
  local value = piece.get(req, ctx)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "nil" then return "" end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  error(("{{%s}} is a %s, which no template can say"):format(piece.name, kind))
end

local function filled(pieces, req, ctx)
  local out = {}
  for i, piece in ipairs(pieces) do out[i] = type(piece) == "string" and piece or value_of(piece, req, ctx) end
  return table.concat(out)
end

-- Pictures and what else is no text stay with the message.
local function replace_texts(content, text)
  local out = { { type = "text", text = text } }
  for _, part in ipairs(content) do
    if type(part) ~= "table" or type(part.text) ~= "string" then out[#out + 1] = part end
  end
  return sluice.json.array(out)
end

local function set_user(req, text)
  local messages = req.messages
  for i = #messages, 1, -1 do
    local m = messages[i]
    if m.role == "user" then
      m.content = type(m.content) == "table" and replace_texts(m.content, text) or text
      return
    end
  end
  messages[#messages + 1] = { role = "user", content = text }
end

function P.prompt(req, ctx)
  local text = filled(ctx.prepared, req, ctx)
  if ctx.options.role == "system" then req:system(text) else set_user(req, text) end
end

return P
