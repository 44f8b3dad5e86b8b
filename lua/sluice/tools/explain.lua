-- `sluice explain FILE [ROUTE]`: what the gateway does with a request, in the order it does it; for people, or as JSON.
local host = require "sluice.host"
local load = require "sluice.load"
local picture = require "sluice.tools.picture"
local suggest = require "sluice.suggest"
local text = require "sluice.tools.text"
local order = host.json.order

local function timeouts_text(t)
  local out = {}
  for i, name in ipairs(picture.CLOCKS) do out[i] = ("%s %s"):format(name:gsub("_", " "), t[name] or "none") end
  return table.concat(out, ", ")
end

local function model_text(m)
  if m.answer then return ("%s: Lua at %s"):format(m.name, m.answer) end
  return ("%s: %s, %s at %s, %s"):format(m.name, m.provider, m.model, m.url, m.key and "key " .. m.key or "no key")
end

-- A line for each thing that is known of a model beside what it is.
local function guard_lines(m)
  local out = {}
  local function add(...) out[#out + 1] = (...):format(select(2, ...)) end
  if m.max_parallel then add("at most %d requests at a time", m.max_parallel) end
  if m.breaker then add("breaker: after %d failures in %s not asked for %s", m.breaker.failures, m.breaker.window, m.breaker.open) end
  if m.probe then add("probe: %s every %s, timeout %s; out after %d bad answers, back after %d good ones", m.probe.url, m.probe.every, m.probe.timeout, m.probe.unhealthy, m.probe.healthy) end
  if m.retry then add("retry: %d more tries, the first within %s, each within %s", m.retry.times, m.retry.backoff, m.retry.max) end
  return out
end

local function model_rows(rows, title, m)
  if m.pool then
    rows[#rows + 1] = { title, ("%s: a pool, %s%s"):format(m.name, m.balance == "least_busy" and "the least busy first" or "by turns",
      m.affinity and ("; the same one for the same caller, by %s"):format(m.affinity) or "") }
    for _, member in ipairs(m.pool) do model_rows(rows, "  weight " .. member.weight, member) end
    return
  end
  rows[#rows + 1] = { title, model_text(m) }
  rows[#rows + 1] = { "", timeouts_text(m.timeouts) }
  for _, line in ipairs(guard_lines(m)) do rows[#rows + 1] = { "", line } end
end

local function policy_lines(i, p)
  local rows = {}
  local out = { ("    %d. %s%s, %s"):format(i, p.name, p.policy and (" (policy %s)"):format(p.policy) or "", p.at) }
  if p.doc then out[#out + 1] = text.wrap(p.doc, "       ") end
  if p.mode ~= "enforce" then out[#out + 1] = ("       mode %s: runs beside the answer and changes nothing"):format(p.mode) end
  if p.only_if then out[#out + 1] = ("       only if the function at %s says so"):format(p.only_if) end
  for _, o in ipairs(p.options) do rows[#rows + 1] = { o.name, (o.value or "not set") .. (o.default and o.value and "  (default)" or "") } end
  if #rows > 0 then out[#out + 1] = text.columns(rows, "       ") end
  return table.concat(out, "\n")
end

local function hook_rows(list)
  local rows = {}
  for i, h in ipairs(list) do rows[i] = { h.hook, h.policy, h.on_error, h.at or "" } end
  return text.columns(rows, "    ")
end

local function filter_lines(i, f)
  if f.kind == "monitor" then return ("    %d. %s: watches the text as it is here (see below)"):format(i, f.policy) end
  local what = f.kind == "match" and ("match %s, replace by %s"):format(f.match, f.replace and picture.show(f.replace) or f.at)
    or ("%s, unit %s, %s"):format(f.kind, f.unit, f.at)
  local rows = { { "on", table.concat(f.channels, ", ") } }
  if f.when then rows[#rows + 1] = { "when", "the function at " .. f.when .. " says so" } end
  if f.kind == "check" and (f.optimistic or f.parallel > 1) then
    rows[#rows + 1] = { "checks", ("up to %d at a time; %s"):format(f.parallel, f.optimistic and "text leaves before its check is over" or "text leaves in order, after its check") }
  end
  rows[#rows + 1] = { "holds", ("up to %s, then %s"):format(f.max_hold, f.overflow == "stop" and "the answer ends" or "what is held is let go") }
  rows[#rows + 1] = { "fails", f.on_error == "open" and "open: unfiltered text goes on" or "closed" }
  return ("    %d. %s: %s\n%s"):format(i, f.policy, what, text.columns(rows, "       "))
end

local function window_text(w)
  local until_ = {}
  if w.chars then until_[1] = ("it has %d characters"):format(w.chars) end
  if w.time then until_[#until_ + 1] = ("%s have passed"):format(w.time) end
  return "the beginning of an answer, until " .. table.concat(until_, " or ")
end

local DEATHS = { continue = "the next model goes on with the text so far", restart = "begins anew on the next model, while nothing was sent" }

local function head_rows(r)
  local rows = { { "paths", table.concat(r.paths, ", ") }, { "front", ("%s (%s)"):format(r.front, r.methods) } }
  for i, m in ipairs(r.models) do
    model_rows(rows, i == 1 and "model" or "or", m)
  end
  if r.offers then rows[#rows + 1] = { "offers", table.concat(r.offers, ", ") } end
  rows[#rows + 1] = { "heartbeat", "a comment after " .. r.heartbeat .. " of silence" }
  if r.prerelease then rows[#rows + 1] = { "held back", window_text(r.prerelease) } end
  if r.on_death then rows[#rows + 1] = { "on death", DEATHS[r.on_death] } end
  if r.hedge then rows[#rows + 1] = { "hedge", ("a second try after %s without text, for at most %s of the requests"):format(r.hedge.after, r.hedge.budget) } end
  if #r.off > 0 then rows[#rows + 1] = { "off", table.concat(r.off, ", ") } end
  return text.columns(rows, "  ")
end

local function route_text(r)
  local out = { ("route %s"):format(r.name) }
  local function add(line) out[#out + 1] = line end
  local function hooks(title, list)
    if #list == 0 then return end
    add("\n  " .. title)
    add(hook_rows(list))
  end
  local function filters(title, list)
    if #list == 0 then return end
    add("\n  " .. title)
    for i, f in ipairs(list) do add(filter_lines(i, f)) end
  end
  if r.files then
    add(text.columns({ { "paths", table.concat(r.paths, ", ") .. " and below" }, { "files", r.files } }, "  "))
    return table.concat(out, "\n")
  end
  add(head_rows(r))
  if #r.policies > 0 then add "\n  policies, client side first" end
  for i, p in ipairs(r.policies) do add(policy_lines(i, p)) end
  hooks("once, when the file is loaded", r.hooks.load)
  hooks("a request passes: hook, policy, when it fails, where", r.hooks.request)
  hooks("each try of a model", r.hooks.try)
  local names = {}
  for i, m in ipairs(r.models) do names[i] = m.name end
  add(("\n  then the model answers: %s"):format(table.concat(names, ", or if that fails ")))
  filters("its text passes the filters, in this order", r.filters)
  hooks("the answer passes", r.hooks.answer)
  hooks("a failure passes", r.hooks.failure)
  hooks("afterwards", r.hooks.after)
  for _, m in ipairs(r.monitored) do
    local list = {}
    for _, when in ipairs(picture.WHEN) do table.move(m.hooks[when], 1, #m.hooks[when], #list + 1, list) end
    hooks(("beside the answer, only watched: %s"):format(m.policy), list)
    filters(("its filters (%s), only watched"):format(m.policy), m.filters)
  end
  return table.concat(out, "\n")
end

local function service_text(s)
  if s.answer then return ("service %s: Lua at %s"):format(s.name, s.answer) end
  return ("service %s at %s, %s%s"):format(s.name, s.url, s.timeout, s.max_parallel and (", %d calls of a worker at once"):format(s.max_parallel) or "")
end

return function(words, options)
  local kept, wanted = load.kept, words[2]
  local g = kept.gateway
  local names, routes, services = {}, host.json.array {}, host.json.array {}
  for _, r in ipairs(g.routes) do
    names[#names + 1] = r.name
    if not wanted or wanted == r.name then routes[#routes + 1] = picture.route(g, r, kept.at:child("routes"):child(r.name).path) end
  end
  for _, list in ipairs { g.services, g.lua_services } do
    for _, s in ipairs(list) do services[#services + 1] = picture.service(s) end
  end
  if wanted and #routes == 0 then
    return 1, nil, ('sluice: explain: %s has no route "%s"%s (it has %s)\n'):format(kept.file, wanted, suggest.hint(wanted, names), suggest.list(names))
  end
  local listen = (g.host:find ":" and "[%s]:%d" or "%s:%d"):format(g.host, g.port)
  if options.json then
    return 0, host.json.encode(order({ file = kept.file, listen = listen, services = services, routes = routes }, { "file", "listen", "services", "routes" })) .. "\n"
  end
  local head = { ("%s listens at %s"):format(kept.file, listen) }
  for _, s in ipairs(services) do head[#head + 1] = service_text(s) end
  local out = { table.concat(head, "\n") }
  for _, r in ipairs(routes) do out[#out + 1] = route_text(r) end
  return 0, table.concat(out, "\n\n") .. "\n"
end
