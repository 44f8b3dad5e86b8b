-- Operators' functions as the lints look at them: what they do, and the real values behind what they use.
local host = require "sluice.host"
local bytecode = require "sluice.lint.bytecode"
local flow = require "sluice.lint.flow"

local M = {}

M.all = flow.all

function M.place(fn)
  local info = debug.getinfo(fn, "S")
  return info.source:gsub("^@", ""), info.linedefined
end

-- Whether it is an operator's, not one of ours or of C.
function M.is_theirs(fn)
  if type(fn) ~= "function" then return false end
  local info = debug.getinfo(fn, "S")
  return info.what ~= "C" and info.source:sub(1, 12) ~= "@lua/sluice/"
end

local known = setmetatable({}, { __mode = "k" })

-- The events of a function (see flow.run); {} when its code cannot be read. params: the real values of its arguments, where they are known.
function M.events(fn, params)
  if known[fn] then return known[fn] end
  local p, upvalues = bytecode.read(fn), {}
  if not p then return {} end
  for i = 0, #p.upvalues do
    if not p.upvalues[i] then break end
    local name, value = debug.getupvalue(fn, i + 1)
    local node = { kind = "upvalue", name = name, value = value }
    upvalues[i] = { value = node, slot = node }
  end
  known[fn] = flow.run(p, upvalues, params)
  return known[fn]
end

-- The events of a whole file, whose globals are the value `env`.
function M.file_events(chunk, env)
  local p = bytecode.read(chunk)
  return p and flow.run(p, { [0] = { value = env } }) or {}
end

-- A table that a script filled itself, with nothing special about it.
function M.is_plain(t)
  local mt = type(t) == "table" and debug.getmetatable(t)
  return type(t) == "table" and (not mt or (mt[host.locked] == nil and mt.__mode == nil and mt.__index == nil and mt.__newindex == nil))
end

-- One of the libraries that scripts have (sluice.frozen): reading a name that it lacks is an error.
function M.is_library(v)
  local mt = type(v) == "table" and debug.getmetatable(v)
  return mt and mt[host.locked] ~= nil and mt.__pairs ~= nil
end

-- v[key] as far as that runs no operator's code.
local function index(v, key)
  if type(v) == "string" then return host.string[key] end
  local mt = debug.getmetatable(v)
  if type(v) == "table" then
    local raw = rawget(v, key)
    if raw ~= nil or not mt or mt[host.locked] == nil then return raw end
    local ok, value = pcall(function() return v[key] end)
    return ok and value or nil
  end
  if type(v) == "userdata" and mt and type(rawget(mt, "__index")) == "table" then return rawget(mt.__index, key) end
end

-- The real value of a symbolic one, or nil.
function M.actual(node)
  if not node then return nil end
  if node.kind == "field" then
    local of = M.actual(node.of)
    if of == nil then return nil end
    return index(of, node.key)
  end
  return node.value
end

-- What a symbolic value is a part of, and the way there: hits[ip].n is of the upvalue hits.
function M.root(node)
  while node and node.kind == "field" do node = node.of end
  return node
end

-- The functions that a request may run: each { fn, title, policy, params }. Filters, models and dialects too.
function M.subjects(kept, defined)
  local out = {}
  local function add(fn, title, more)
    if not M.is_theirs(fn) then return end
    more = more or {}
    more.fn, more.title = fn, title
    out[#out + 1] = more
  end
  for _, def in ipairs(defined) do
    local names = {}
    for hook in pairs(def.hooks) do names[#names + 1] = hook end
    table.sort(names)
    for _, hook in ipairs(names) do
      if hook ~= "filter" then add(def.hooks[hook], ('hook "%s"'):format(hook), { def = def, hook = hook }) end
    end
    for _, f in ipairs(def.filters) do
      local kind = f.judges and "check" or (f.match or f.match_fn) and "replace" or "text"
      for _, one in ipairs { { "fn", kind }, { "when", "when" }, { "unit_fn", "unit" }, { "match_fn", "match" } } do
        add(f[one[1]], ('"filter.%s"'):format(one[2]), { def = def, hook = "filter", no_wait = one[1] ~= "fn" })
      end
    end
  end
  local out_library = require("sluice.exchange").out
  for _, m in ipairs(kept.gateway.models) do
    add(m.answer, ('the model "%s"'):format(m.name), { params = { [2] = out_library } })
    for _, field in ipairs { "request", "event", "error", "embed_request", "embed_answer" } do
      if m.dialect then add(m.dialect[field], ('the dialect "%s"'):format(m.dialect.name), { no_wait = true }) end
    end
  end
  for _, r in ipairs(kept.gateway.routes) do
    for _, p in ipairs(r.policies) do add(p.only_if, "the condition of sluice.only_if", { no_wait = true }) end
    for _, f in ipairs(r.fronts or {}) do
      for _, field in ipairs { "read", "error", "begin", "open", "close", "tool", "finish", "fault", "whole", "respond" } do
        if type(f[field]) == "function" then add(f[field], ('the front "%s"'):format(f.name), { no_wait = true }) end
      end
    end
  end
  return out
end

-- Calls fn(function, title) for a subject and for each operator's function that it calls, directly or not, each function once for all subjects of `seen`.
function M.each_function(subject, seen, fn)
  local function visit(f, title, params)
    if seen[f] then return end
    seen[f] = true
    fn(f, title, M.events(f, params))
    for e in M.all(M.events(f, params)) do
      local callee = e.what == "call" and M.actual(e.fn)
      if M.is_theirs(callee) then visit(callee, ('"%s", called by %s,'):format(e.fn.key or e.fn.name, subject.title)) end
    end
  end
  visit(subject.fn, subject.title, subject.params)
end

return M
