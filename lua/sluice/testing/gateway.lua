-- The text of a gateway around policies alone, for t.load { policies = ... }: one route "chat" that speaks specs' dialect, and below it those of real clients
-- (fronts.lua), models by name, services as the policies ask for them.
local blame = require "sluice.testing.blame"
local fronts = require "sluice.testing.fronts"

local M = {}

-- Lua written in place, for options that are no data: t.lua "sluice.match.email".
local Code = {}
function M.lua(text) return setmetatable({ text }, Code) end

-- A value as Lua text, on one line.
local function literal(v, what)
  local kind = type(v)
  if kind == "string" then return (("%q"):format(v):gsub("\n", "n")) end
  if kind == "number" or kind == "boolean" then return ("%q"):format(v) end
  if getmetatable(v) == Code then return (v[1]:gsub("\n", " ")) end
  if kind ~= "table" then blame.blame(("%s: a %s cannot be handed to a policy from here; write it as a text: t.lua %q"):format(what, kind, "function(ctx) ... end")) end
  local out, keys = {}, {}
  for i, item in ipairs(v) do out[i] = literal(item, what) end
  for k in pairs(v) do
    if not (math.type(k) == "integer" and k >= 1 and k <= #out) then keys[#keys + 1] = k end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do
    -- names stay names, so that complaints find them
    local key = type(k) == "string" and k:find "^[%a_][%w_]*$" and load("local " .. k) and k or "[" .. literal(k, what) .. "]"
    out[#out + 1] = key .. " = " .. literal(v[k], what)
  end
  return "{ " .. table.concat(out, ", ") .. " }"
end

local function models_of(more)
  local all, out = { smart = {}, fast = {}, ["local"] = {} }, {}
  for name, model in pairs(more or {}) do
    if type(name) == "number" then all[model] = {} else all[name] = model end
  end
  for name, model in pairs(all) do
    local m = { provider = "openai", url = ("http://%s.test/v1"):format(name:gsub("[^%w]", "-")), model = name }
    for k, v in pairs(model) do m[k] = v end
    out[name] = m
  end
  return out
end

-- line: the line of the spec, where complaints shall point.
function M.text(what, line)
  if type(what.policies) ~= "table" then blame.blame 't.load: policies is a list: { "policies.pii", { "policies.tenants", tiers = ... } }' end
  return ("\n"):rep(line - 1) .. table.concat({
    'local sluice = require "sluice"',
    'local key = sluice.policy { name = "key", doc = "What g:chat { key = } says." }',
    'function key.accept(head, ctx) local id = head.headers["x-spec-key"] if id then ctx.key = { id = id } end end',
    'return sluice.config { api = 1, listen = ":0", models = ' .. literal(models_of(what.models), "t.load: models") .. ",",
    'routes = { chat = { path = "/*", front = { name = "spec", endpoints = ' .. literal(fronts.paths) .. " }, target = " .. literal(what.target or "fast", "t.load: target") .. ",",
    "timeout = " .. literal(what.timeout or {}, "t.load: timeout") .. ",",
    "policies = { key, " .. literal(what.policies, "t.load: policies"):sub(2) .. " } } }",
  }, " ")
end

-- The policy of our own, "key", is nobody's business: policies[2] of the text is policies[1] of the spec.
function M.complaints(text)
  return (text:gsub("routes%.chat%.policies%[(%d+)%]", function(n) return ("policies[%d]"):format(n - 1) end):gsub("%f[%w]routes%.chat%.", ""))
end

return M
