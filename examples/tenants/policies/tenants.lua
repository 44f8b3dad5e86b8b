-- policies/tenants.lua: each API key belongs to a tenant; the tenant's plan picks the models.
local sluice = require "sluice"

local directory = sluice.service "directory"
local tenants   = sluice.cache("tenants", { ttl = "60s" })     -- shared by all workers, survives a reload

local P = sluice.policy {
  name = "tenants",
  api  = 1,
  doc  = "Loads the caller's tenant and routes to its models, with fallback.",
  options = {
    tiers = { type = "map", required = true, doc = "tier name -> list of model names, best first" },
  },
}

function P.validate(_, ctx)
  if not ctx.key then
    return sluice.reject(401, "key_missing", "Send an API key.")
  end
  local tenant = tenants:fetch(ctx.key.id, function()          -- of many requests at once, one asks the directory
    local res, err = directory:get("/tenants", { query = { key = ctx.key.id }, timeout = "500ms" })
    if not res then error(err) end                 -- fails closed: 503, nobody gets in on a guess
    if res.status == 404 then return nil end       -- nothing is kept: a key that is made now works now
    if res.status ~= 200 then error(("the directory answered with status %d"):format(res.status)) end
    return res.json()
  end)
  if not tenant then
    return sluice.reject(401, "key_unknown", "This API key is not known.")
  end
  ctx.vars.tenant = tenant                         -- later policies read it
  ctx:tag("tenant", tenant.name)
end

function P.route(req, ctx)
  local tenant = ctx.vars.tenant
  local models = ctx.options.tiers[tenant.tier]
  if not models then error("tenant " .. tenant.name .. " has unknown tier " .. tostring(tenant.tier)) end

  if req:tokens() > 20000 then return { models = { "long" } } end   -- only one model takes long prompts
  return { models = models }
end

function P.prompt(req, ctx)
  local house_rules = ctx.vars.tenant.system_prompt
  if house_rules then req:system(house_rules) end
end

function P.attempt(try, ctx)
  if try.target == "local" then try.params.logprobs = nil end       -- the local server refuses it
  try.headers["x-tenant"] = ctx.vars.tenant.name
end

function P.fallback(failure, ctx)
  ctx:tag("fallback_from", failure.target)
  if failure.status == 400 then                    -- our request is bad: another model would refuse it too
    return sluice.reject(400, "model_refused_request", "The model did not accept this request.")
  end
  return "next"
end

return P
