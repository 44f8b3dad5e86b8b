-- What is written but never used, what is never reached, and policies that let things pass when they fail.
local code = require "sluice.lint.code"
local locate = require "sluice.locate"
local policy = require "sluice.policy"
local verdict = require "sluice.verdict"

local ENDS = { [verdict.reject] = "reject", [verdict.reply] = "reply" }
local REQUEST = { "accept", "validate", "route", "prompt", "attempt" }

local function line_of(kept, ...)
  local at = kept.at
  for _, key in ipairs { ... } do at = at:child(key) end
  return at.file, locate.line(at.lines, at.path)
end

local function unused_policies(kept, warn)
  for _, def in ipairs(kept.defined) do
    if not def.used then warn(def.file, def.line, ('policy "%s" is on no route, so it never runs'):format(def.name)) end
  end
end

local function unreached_models(kept, warn)
  local reached = {}
  for _, r in ipairs(kept.gateway.routes) do
    for _, name in ipairs(type(r.plan) == "table" and r.plan or { r.target }) do reached[name] = true end
    for _, p in ipairs(r.policies) do
      if p.instance.def.hooks.route and p.instance.mode == "enforce" then return end      -- it may pick any
    end
  end
  for _, m in ipairs(kept.gateway.models) do
    for _, member in ipairs(reached[m.name] and m.pool and m.pool.members or {}) do reached[member.name] = true end
  end
  for _, m in ipairs(kept.gateway.models) do
    if not reached[m.name] then
      local file, line = line_of(kept, "models", m.name)
      warn(file, line, ('no route names the model "%s", and no policy has a hook "route" that could pick it'):format(m.name))
    end
  end
end

-- The verdict that a value is: the result of sluice.reject(...) or sluice.reply(...).
local function ends_with(value)
  return value and value.kind == "result" and ENDS[code.actual(value.of) or 0]
end

-- Whether a hook says a verdict on every way through it.
local function always_ends(fn)
  local returns = 0
  for _, e in ipairs(code.events(fn)) do
    if e.what == "return" or e.returned then
      if not (e.returned and ENDS[code.actual(e.fn) or 0] or e.what == "return" and ends_with(e.value)) then return false end
      returns = returns + 1
    end
  end
  return returns > 0
end

local function unreached_hooks(kept, warn)
  for _, r in ipairs(kept.gateway.routes) do
    local function first()
      for _, hook in ipairs(REQUEST) do
        for _, p in ipairs(r.policies) do
          local fn = p.instance.def.hooks[hook]
          local counts = p.instance.mode == "enforce" and not p.only_if
          if counts and code.is_theirs(fn) and always_ends(fn) then return p, hook, fn end
        end
      end
    end
    local p, hook, fn = first()
    if p then
      local file, line = code.place(fn)
      warn(file, line, ('hook "%s" of policy "%s" answers every request: on the route "%s" nothing behind it runs, and no model is asked'):format(hook, p.name, r.name))
    end
  end
end

-- Whether a function may refuse: calls sluice.reject, itself or through another.
local function may_reject(fn)
  local found = false
  code.each_function({ fn = fn, title = "" }, {}, function(_, _, events)
    for e in code.all(events) do found = found or (e.what == "call" and code.actual(e.fn) == verdict.reject) end
  end)
  return found
end

local function open_guard(p, warn)
  local instance, def = p.instance, p.instance.def
  local file, line = instance.file, instance.line
  if instance.given.on_error == nil then file, line = def.file, def.line end
  if instance.open_hooks & (1 << policy.FILTER_BIT) ~= 0 and #def.filters > 0 then
    warn(file, line, ('policy "%s" has on_error = "open" and a filter: when the filter fails, unfiltered text goes to the client'):format(p.name))
  end
  for i, hook in ipairs(policy.hooks) do
    if instance.open_hooks & (1 << (i - 1)) ~= 0 and def.hooks[hook] and may_reject(def.hooks[hook]) then
      warn(file, line, ('policy "%s" has on_error = "open" and its hook "%s" refuses requests: when the hook fails, they pass'):format(p.name, hook))
    end
  end
end

local function open_guards(kept, warn)
  for _, r in ipairs(kept.gateway.routes) do
    for _, p in ipairs(r.policies) do
      if p.instance.mode == "enforce" then open_guard(p, warn) end
    end
  end
end

return function(kept, warn)
  unused_policies(kept, warn)
  unreached_models(kept, warn)
  unreached_hooks(kept, warn)
  open_guards(kept, warn)
end
