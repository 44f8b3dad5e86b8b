-- Which model answers, by a table: by what the client asks for, who it is, or how long the question is.
--
--   sluice.parts.model_table { by = "query.model", table = { quick = "fast", deep = { "smart", "fast" } }, default = "fast" }
--   sluice.parts.model_table { by = "key", table = { acme = "smart" }, default = "fast" }
--   sluice.parts.model_table { by = "size", table = { { up_to = 2000, model = "fast" }, { model = "long" } } }
--   sluice.parts.model_table { by = "size", table = { ["<=2000"] = "fast" }, default = "long" }
--
-- A list of models is a plan: the next is asked when one fails. A value that the table does not name has the default; without a default it is refused with 404.
-- A request without the value has the default too; without one it keeps the model of the route.
local sluice = require "sluice"

local P = sluice.policy {
  name = "model_table",
  api  = 1,
  doc  = "Picks the model by a table.",
  options = {
    by      = { type = "string", required = true,
                doc = '"query.NAME", "header.NAME", "vars.NAME" (ctx.vars), "key" (ctx.key.id), "model" (what the client asks for) or "size" (tokens, estimated).' },
    table   = { type = "map", required = true, doc = 'Value -> model or list of models; for "size" a list of { up_to =, model = } or "<=N" -> model.' },
    default = { type = { "string", "list" }, doc = "The model, or list of models, of all others." },
  },
}

local PLAN_MOST = 8

local from = {                                            -- by = "KIND" or "KIND.NAME": gives what finds the value
  query  = function(name) return name and function(req) return req.query[name] end end,
  header = function(name) return name and function(req) return req.headers[name:lower()] end end,
  vars   = function(name) return name and function(_, ctx) return ctx.vars[name] end end,
  key    = function(name) return not name and function(_, ctx) return type(ctx.key) == "table" and ctx.key.id or nil end end,
  model  = function(name) return not name and function(req) return req.model end end,
  size   = function(name) return not name and function(req) return req:tokens() end end,
}

-- A model or a list of models, all known, as a list; else what is wrong was said.
local function plan_of(v, known, bad)
  local list = type(v) == "table" and v or { v }
  if #list == 0 or #list > PLAN_MOST then return bad(("must be a model or a list of up to %d models"):format(PLAN_MOST)) end
  local plan = {}
  for i = 1, #list do
    local name = list[i]
    if type(name) ~= "string" then return bad(("must be the name of a model or a list of names, holds a %s"):format(type(name))) end
    if not known[name] then return bad(('unknown model "%s" (known: %s)'):format(name, known.all)) end
    plan[i] = name
  end
  return plan
end

-- by = "size": rows { most tokens, plan }, smallest first.
local function rows_of(t, known, use)
  local rows = {}
  for key, v in pairs(t) do
    local function bad(why) use:bad(why, "table", key) end
    local up_to, model = nil, v
    if type(key) == "string" then
      up_to = math.tointeger(tonumber(key:match("^<=%s*(%d+)$")))
      if not up_to then bad('a size is written "<=2000"') end
    elseif type(v) ~= "table" or v.model == nil then
      bad('must be { up_to = 2000, model = "fast" }')
      model = nil
    else
      for k in pairs(v) do if k ~= "up_to" and k ~= "model" then bad(('has no "%s": write { up_to =, model = }'):format(tostring(k))) end end
      up_to, model = v.up_to == nil and math.maxinteger or v.up_to, v.model
      if math.type(up_to) ~= "integer" or up_to < 0 then bad(("up_to must be a whole number of tokens, is %s"):format(tostring(up_to))) up_to = nil end
    end
    local plan = model ~= nil and plan_of(model, known, bad)
    if plan and up_to then rows[#rows + 1] = { up_to = up_to, plan = plan } end
  end
  table.sort(rows, function(a, b) return a.up_to < b.up_to end)
  for i = 2, #rows do
    if rows[i].up_to == rows[i - 1].up_to then use:bad("two rows are for the same size", "table") end
  end
  return rows
end

local function by_size(rows)
  return function(tokens)
    for _, row in ipairs(rows) do if tokens <= row.up_to then return row.plan end end
  end
end

local function by_value(t, known, use)
  local plans = {}
  for value, model in pairs(t) do
    plans[tostring(value)] = plan_of(model, known, function(why) use:bad(why, "table", value) end)
  end
  return function(value) return plans[tostring(value)] end
end

function P.prepare(o, use)
  local known, names = {}, {}
  for i, name in ipairs(use.models) do known[name], names[i] = true, name end
  known.all = table.concat(names, ", ")
  local kind, name = o.by:match("^(%a+)%.?(.*)$")
  local get = from[kind] and from[kind](name ~= "" and name or nil)
  if not get then
    return use:bad(('must be "query.NAME", "header.NAME", "vars.NAME", "key", "model" or "size", is "%s"'):format(o.by), "by")
  end
  local find = kind == "size" and by_size(rows_of(o.table, known, use)) or by_value(o.table, known, use)
  local default = o.default ~= nil and plan_of(o.default, known, function(why) use:bad(why, "default") end) or nil
  return { get = get, find = find, default = default }
end

function P.route(req, ctx)
  local p = ctx.prepared
  local value = p.get(req, ctx)
  if value == nil then return p.default end
  local plan = p.find(value) or p.default
  return plan or sluice.reject(404, "model_not_found", "There is no model for this request.")
end

return P
