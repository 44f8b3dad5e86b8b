-- What a compiled function does with the values that can be told without running it: a run over its instructions with symbolic registers. Where two ways
-- meet, only what both agree on is kept, so what is told is true on every way.
--
-- A value is one of these tables, the same table for the same value, or nil when nothing is known of it:
--   { kind = "upvalue", name, value }     what the function was made with; `value` is the real thing
--   { kind = "env" }                      the table of globals
--   { kind = "param", index, value }      an argument; `value` when the caller of run knows it
--   { kind = "constant", value }  { kind = "field", of, key }  { kind = "result", of }  { kind = "closure", proto, events }
local M = {}

local constants = setmetatable({}, { __mode = "v" })
local function constant(value)
  if value == nil or value ~= value then return nil end
  local c = constants[value]
  if not c then
    c = { kind = "constant", value = value }
    constants[value] = c
  end
  return c
end

-- of[key] and of(...): one table each.
local function field(of, key)
  if not of or key == nil then return nil end
  of.fields = of.fields or {}
  of.fields[key] = of.fields[key] or { kind = "field", of = of, key = key }
  return of.fields[key]
end

local function result(of)
  if not of then return nil end
  of.result = of.result or { kind = "result", of = of }
  return of.result
end

local function key_of(value) return value and value.kind == "constant" and value.value or nil end

-- ---- what an instruction does to the registers

local function forget(r, from)
  for k in pairs(r) do if k >= from then r[k] = nil end end
end

local function sets_nothing() end
local function sets_unknown(r, i) r[i.A] = nil end
local function sets_loop(r, i) for k = i.A, i.A + 3 do r[k] = nil end end

local EFFECT = {
  MOVE = function(r, i) r[i.A] = r[i.B] end,
  LOADI = function(r, i) r[i.A] = constant(i.sBx) end,
  LOADK = function(r, i, f) r[i.A] = constant(f.proto.constants[i.Bx]) end,
  LOADTRUE = function(r, i) r[i.A] = constant(true) end,
  LOADNIL = function(r, i) for k = i.A, i.A + i.B do r[k] = nil end end,
  GETUPVAL = function(r, i, f) r[i.A] = f.upvalues[i.B].value end,
  GETTABUP = function(r, i, f) r[i.A] = field(f.upvalues[i.B].value, f.proto.constants[i.C]) end,
  GETTABLE = function(r, i) r[i.A] = field(r[i.B], key_of(r[i.C])) end,
  GETI = function(r, i) r[i.A] = field(r[i.B], i.C) end,
  GETFIELD = function(r, i, f) r[i.A] = field(r[i.B], f.proto.constants[i.C]) end,
  SELF = function(r, i, f)
    local object = r[i.B]
    local key = i.k and f.proto.constants[i.C] or key_of(r[i.C])
    r[i.A] = object and field(object, key) or M.method(key)
    r[i.A + 1] = object
  end,
  CALL = function(r, i)
    local value = i.C ~= 1 and result(r[i.A]) or nil
    forget(r, i.A)
    r[i.A] = value
  end,
  CLOSURE = function(r, i, f, pc) r[i.A] = f.closures[pc] end,
  VARARG = function(r, i) forget(r, i.A) end,
  TFORCALL = function(r, i) forget(r, i.A + 4) end,
  FORPREP = sets_loop, FORLOOP = sets_loop, TFORLOOP = function(r, i) r[i.A + 2] = nil end,
  TESTSET = sets_unknown,
}
for op in ("SETUPVAL SETTABUP SETTABLE SETI SETFIELD MMBIN MMBINI MMBINK CLOSE TBC JMP EQ LT LE EQK EQI LTI LEI GTI GEI TEST RETURN RETURN0 RETURN1 TAILCALL "
  .. "TFORPREP SETLIST VARARGPREP EXTRAARG"):gmatch "%S+" do
  EFFECT[op] = sets_nothing
end

-- A method of something unknown: at least its name is known.
local methods = {}
function M.method(key)
  if key == nil then return nil end
  methods[key] = methods[key] or { kind = "field", of = nil, key = key }
  return methods[key]
end

-- ---- where it goes on

local function goes(pc, i)
  local op = i.op
  if op == "JMP" then return pc + 1 + i.sJ end
  if op == "RETURN" or op == "RETURN0" or op == "RETURN1" or op == "TAILCALL" then return nil end
  if op == "LFALSESKIP" then return pc + 2 end
  if op == "FORLOOP" or op == "TFORLOOP" then return pc + 1, pc + 1 - i.Bx end
  if op == "FORPREP" then return pc + 1, pc + 2 + i.Bx end
  if op == "TFORPREP" then return pc + 1 + i.Bx end
  if op == "EQ" or op == "LT" or op == "LE" or op == "EQK" or op == "EQI" or op == "LTI" or op == "LEI" or op == "GTI" or op == "GEI" or op == "TEST" or op == "TESTSET" then
    return pc + 1, pc + 2
  end
  return pc + 1
end

M.goes = goes

local function copy(r)
  local out = {}
  for k, v in pairs(r) do out[k] = v end
  return out
end

-- Keeps in `into` what `r` agrees with; true when something was lost.
local function meet(into, r)
  local lost = false
  for k, v in pairs(into) do
    if r[k] ~= v then
      into[k] = nil
      lost = true
    end
  end
  return lost
end

-- The registers before each instruction that can be reached.
local function states(f, params)
  local code, before, work = f.proto.code, { params }, { 1 }
  while #work > 0 do
    local pc = table.remove(work)
    local i = code[pc]
    local after = copy(before[pc]);
    (EFFECT[i.op] or sets_unknown)(after, i, f, pc)
    for n, to in ipairs { goes(pc, i) } do
      local r = after
      if i.op == "TESTSET" and n == 1 then
        r = copy(after)
        r[i.A] = before[pc][i.B]
      end
      local is_new = before[to] == nil
      if is_new then before[to] = copy(r) end
      if code[to] and (is_new or meet(before[to], r)) then work[#work + 1] = to end
    end
  end
  return before
end

-- ---- what is told of it

local run

local function arguments(f, pc, i, r)
  local out, last = {}, i.A + i.B - 1
  if i.B == 0 then last = f.proto.code[pc - 1].A end     -- up to the open results of the call before
  for k = i.A + 1, last do out[k - i.A] = r[k] or false end
  return out
end

local function inner(f, pc, i, r)
  local node, p = f.closures[pc], f.proto.inner[i.Bx]
  local upvalues = {}
  for k, u in pairs(p.upvalues) do
    upvalues[k] = u.in_stack and { value = r[u.index] } or f.upvalues[u.index]
  end
  node.events = run(p, upvalues)
  return { what = "closure", node = node, events = node.events }
end

local TELLS = {
  GETTABUP = function(i, _, f) return { what = "get", of = f.upvalues[i.B].value, key = f.proto.constants[i.C] } end,
  GETFIELD = function(i, r, f) return { what = "get", of = r[i.B], key = f.proto.constants[i.C] } end,
  GETTABLE = function(i, r) return { what = "get", of = r[i.B], key = key_of(r[i.C]) } end,
  SETTABUP = function(i, _, f) return { what = "set", of = f.upvalues[i.A].value, key = f.proto.constants[i.B] } end,
  SETTABLE = function(i, r) return { what = "set", of = r[i.A], key = key_of(r[i.B]) } end,
  SETI = function(i, r) return { what = "set", of = r[i.A], key = i.B } end,
  SETFIELD = function(i, r, f) return { what = "set", of = r[i.A], key = f.proto.constants[i.B] } end,
  SETUPVAL = function(i, _, f) return { what = "set_upvalue", slot = f.upvalues[i.B].slot } end,
  CALL = function(i, r, f, pc) return { what = "call", fn = r[i.A], args = arguments(f, pc, i, r) } end,
  TAILCALL = function(i, r, f, pc) return { what = "call", fn = r[i.A], args = arguments(f, pc, i, r), returned = true } end,
  RETURN = function(i, r) return { what = "return", value = i.B ~= 1 and r[i.A] or nil } end,
  RETURN0 = function() return { what = "return" } end,
  RETURN1 = function(i, r) return { what = "return", value = r[i.A] } end,
  CLOSURE = function(i, r, f, pc) return inner(f, pc, i, r) end,
}

-- p: what bytecode.read gave; upvalues: { [0] = { value =, slot = }, ... }; params: values of the arguments, by number. A list of events, in the order of
-- the instructions: { what = "get" | "set" | "set_upvalue" | "call" | "return" | "closure", line, ... }. Instructions that nothing leads to tell nothing.
function run(p, upvalues, params)
  local f = { proto = p, upvalues = upvalues, closures = {} }
  local first = {}
  for k = 1, p.params do first[k - 1] = { kind = "param", index = k, value = params and params[k] } end
  for pc, i in ipairs(p.code) do
    if i.op == "CLOSURE" then f.closures[pc] = { kind = "closure", proto = p.inner[i.Bx] } end
  end
  local before, events = states(f, first), {}
  for pc, i in ipairs(p.code) do
    if before[pc] and TELLS[i.op] then
      local event = TELLS[i.op](i, before[pc], f, pc)
      event.line = i.line
      events[#events + 1] = event
    end
  end
  return events
end
M.run = run

-- All events, also those of functions inside, each once.
function M.all(events)
  return coroutine.wrap(function()
    local function tell(list)
      for _, e in ipairs(list) do
        coroutine.yield(e)
        if e.what == "closure" then tell(e.events) end
      end
    end
    tell(events)
  end)
end

return M
