-- Second tries, as a route declares them: what is held back so that a first one may be replaced unseen, what happens when one dies behind that, and a second
-- one beside a slow first (stream/window.c, continue.c, hedge.c).
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"

local M = {}

-- ---- prerelease, on_death, hedge

-- The beginning of an answer that is held back: until it has so many characters, or is so old.
local window_record = schema.record({ chars = { schema.integer(1, 20000) }, time = { schema.duration } }, "prerelease", "{ chars = 400 }")

local WINDOW_MOST = 10000                                -- ms

function M.window(v, at)
  local w, meant = window_record(v, at)
  if not w then return nil end
  if v.chars == nil and v.time == nil and not meant.chars and not meant.time then at:complain('says how much is held back: { chars = 400 }, { time = "500ms" } or both') end
  if w.time and w.time > WINDOW_MOST then at:child("time"):complain('is at most "10s": so long a client sees nothing') end
  return w
end

-- What happens when a model dies behind text that was sent.
local DEATHS = { error = true, continue = true, restart = true }

function M.death(v, at)
  if schema.unset(v) then return nil end
  if not DEATHS[v] then return at:complain(('must be "error", "continue" or "restart", is %s%s'):format(schema.show(v), type(v) == "string" and suggest.hint(v, DEATHS) or "")) end
  return v
end

-- A share of the requests in hundredths of a percent.
local function share(v, at)
  if schema.unset(v) then return nil end
  local n = type(v) == "string" and tonumber(v:match "^(%d+%.?%d*)%%$")
  if not n or n < 0.1 or n > 100 then return at:complain(('must be a share of the requests from "0.1%%" to "100%%", is %s'):format(schema.show(v))) end
  return math.floor(n * 100 + 0.5)
end

local hedge_record = schema.record({ after = { schema.duration, required = 'such as after = "800ms"' }, budget = { share } }, "hedge", '{ after = "800ms", budget = "10%" }')

function M.hedge(v, at)
  local h = hedge_record(v, at)
  if h and h.after and h.after < 1 then at:child("after"):complain('must be at least "1ms"') end
  return h
end

-- ---- going on with a text

-- Whether the server goes on with a last message of the assistant, and what its request needs for that.
function M.prefill(v, at)
  if type(v) ~= "boolean" and type(v) ~= "table" then
    return at:complain(('must be true, false or what such a request needs, such as { continue_final_message = true, add_generation_prompt = false }, is %s'):format(schema.show(v)))
  end
  return v
end

function M.goes_on(v)
  if v.prefill ~= nil then return v.prefill ~= false end
  return v.provider ~= nil and v.provider.prefill == true
end

-- Models that shall go on with a text that another began must be able to. Lua models are passed over then.
function M.check(c, at)
  local models = {}
  for _, m in ipairs(c.models or {}) do models[m.name] = m.value end
  local function check(plan, here)
    for _, name in ipairs(plan or {}) do
      local v = models[name]
      if v and v.provider and not M.goes_on(v) then
        here:complain(('the model "%s" (provider "%s") cannot go on with a text that was begun: say prefill = true there if its server goes on with a last message of the assistant, '
          .. "or what that needs (vLLM: prefill = { continue_final_message = true, add_generation_prompt = false })"):format(name, v.provider.name))
      end
    end
  end
  for _, r in ipairs(c.routes or {}) do
    if r.value and r.value.on_death == "continue" then
      local here = at:child("routes"):child(r.name):child("on_death")
      check(r.value.target, here)
      for _, offer in ipairs(r.value.models or {}) do if offer.plan ~= r.value.target then check(offer.plan, here) end end
    end
  end
end

return M
