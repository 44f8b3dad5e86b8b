-- What a scripted upstream does: a list of steps, and the bytes that a server of models (OpenAI's dialect) would send for them.
--
--   a text, { content = "..." }, { reasoning = "..." }, { refusal = "..." }     text, one event each
--   { tool = { "name", args, id = "..." } }                                     a whole tool call; args: a table or JSON
--   { usage = { input = 12, output = 7 } }, { finish = "length" }               what comes last
--   t.wait "2s", t.fail(503), t.close(), ...                                    see below
local json = require "sluice.testing.json"
local blame = require "sluice.testing.blame"

local M = {}

-- ---- steps that are no data

local Step = {}
local function step(t) return setmetatable(t, Step) end

local steps = {
  wait = function(duration) return step { wait = blame.milliseconds(duration) } end,
  fail = function(status, headers, body) return step { status = status, headers = headers or {}, body = type(body) == "table" and json.encode(body) or body } end,
  head = function(status, headers) return step { head = status, headers = headers } end,     -- what comes behind is its body
  raw = function(bytes) return step { raw = bytes } end,
  close = function() return step { ends = "done" } end,                -- a clean end without the dialect's mark
  reset = function() return step { ends = "upstream_reset" } end,
  break_with = function(code) return step { ends = code } end,         -- any code of the network: "upstream_connect_failed" ...
  leave = function() return step { gone = true } end,                  -- the client goes away
  slow = function(is_slow) return step { slow = is_slow } end,         -- the client stops reading, or goes on
  shutdown = function() return step { shutdown = true } end,           -- the gateway's drain time is over
}
M.steps = steps

-- ---- data

local function event(value) return "data: " .. json.encode(value) .. "\n\n" end
local object = json.object
local function delta(d) return event { choices = { { index = 0, delta = object(d) } } } end

local TEXTS = { content = "content", reasoning = "reasoning_content", reasoning_content = "reasoning_content", refusal = "refusal" }   -- a step's name, the dialect's

local function call(tool, calls)
  local name, args = tool.name or tool[1], tool.args or tool[2] or {}
  if type(args) ~= "string" then args = json.encode(object(args)) end
  return delta { tool_calls = { { index = calls, id = tool.id or ("call_%d"):format(calls + 1), type = "function", ["function"] = { name = name, arguments = args } } } }
end

local data = {
  tool = call,
  usage = function(u) return event { choices = {}, usage = object { prompt_tokens = u.input, completion_tokens = u.output } } end,
  finish = function(reason) return event { choices = { { index = 0, delta = object {}, finish_reason = reason } } } end,
}
for name, field in pairs(TEXTS) do data[name] = function(text) return delta { [field] = text } end end

local function is_step(v)
  if type(v) ~= "table" then return type(v) == "string" end
  local name = next(v)
  return getmetatable(v) == Step or (data[name] ~= nil and next(v, name) == nil)
end

-- The bytes of a step, or nil when it is none of data. calls: tool calls so far.
function M.bytes(s, calls)
  if type(s) == "string" then return delta { content = s } end
  if not is_step(s) then
    blame.blame(("an upstream's step is a text, { content =, reasoning =, refusal =, tool =, usage = or finish = }, or what t.wait and its like make, not %s"):format(
      type(s) == "table" and "{ " .. tostring((next(s))) .. " = ... }" or "a " .. type(s)))
  end
  if getmetatable(s) == Step then return s.raw end
  local name, value = next(s)
  return data[name](value, calls)
end

-- ---- scripts: one for all models, or one for each by its name; each a list of steps, a single step, or function(request) that returns either

local function is_named(v) return type(v) == "table" and not is_step(v) and v[1] == nil and next(v) ~= nil end

local function list(v) return is_step(v) and { v } or v end

-- Calls fn(list of steps) for each script; those of functions are not known before they are asked for.
local function each_list(upstream, fn)
  for _, script in pairs(is_named(upstream) and upstream or { upstream }) do
    if type(script) ~= "function" then fn(list(script)) end
  end
end

-- What plays the scripts: next_step(request, number) gives the next step of the try with that number, nil at the end of its script. recut: changes a
-- list of steps. otherwise: the step of models that have no script.
function M.player(upstream, recut, otherwise)
  local named, scripts = is_named(upstream), {}
  local function begin(request)
    local script = upstream
    if named then script = upstream[request.target] or otherwise or blame.blame(('the model "%s" was asked, but has no script'):format(request.target)) end
    if type(script) == "function" then return { of = list(script(request)), at = 0 } end
    scripts[script] = scripts[script] or { of = list(script), at = 0 }
    return scripts[script]
  end
  local tries = {}
  return function(request, number)
    local running = tries[number]
    if not running then
      running = begin(request)
      tries[number] = running
      if recut and not running.recut then running.of, running.recut = recut(running.of), true end
    end
    running.at = running.at + 1
    return running.of[running.at]
  end
end

-- ---- cutting anew

-- The field that a step is text of, and the text; nothing when it is something else.
local function text_of(s)
  if type(s) == "string" then return "content", s end
  if type(s) ~= "table" then return end
  local name, text = next(s)
  if TEXTS[name] and getmetatable(s) ~= Step then return name, text end
end

local function characters(text)
  local out = {}
  for c in text:gmatch(utf8.charpattern) do out[#out + 1] = c end
  return out
end

-- Gives the same steps with each run of text cut into pieces of size() characters.
function M.recutter(size)
  return function(script)
    local out, i = {}, 1
    while i <= #script do
      local field, text = text_of(script[i])
      i = i + 1
      if not field then
        out[#out + 1] = script[i - 1]
      else
        while script[i] and text_of(script[i]) == field do
          text = text .. select(2, text_of(script[i]))
          i = i + 1
        end
        local all, from = characters(text), 1
        while from <= #all do
          local n = size()
          out[#out + 1] = { [field] = table.concat(all, "", from, math.min(from + n - 1, #all)) }
          from = from + n
        end
      end
    end
    return out
  end
end

-- Whether there is text that could be cut anew; whether something happens to the client at a moment between pieces.
function M.kinds(upstream)
  local texts, moments = type(upstream) == "function", false
  each_list(upstream, function(script)
    for _, s in ipairs(script) do
      texts = texts or text_of(s) ~= nil
      moments = moments or (type(s) == "table" and (s.gone or s.shutdown or s.slow ~= nil))
    end
  end)
  return texts, moments
end

return M
