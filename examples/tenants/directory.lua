-- A directory of three tenants, in place of a service: GET /tenants?key=... -> { name, tier, system_prompt } or 404.
local TENANTS = {
  k1 = { name = "acme",  tier = "gold", system_prompt = "Be brief." },
  k2 = { name = "birds", tier = "free" },
  k3 = { name = "cats",  tier = "silver" },        -- a tier that the gateway does not know
}

return function(call)
  local tenant = call.path == "/tenants" and TENANTS[call.query.key]
  return tenant and { json = tenant } or { status = 404 }
end
