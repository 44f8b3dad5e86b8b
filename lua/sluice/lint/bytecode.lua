-- What a Lua 5.4 function was compiled to, read back from string.dump: its instructions with their lines, constants, upvalues and inner functions.
-- (lundump.c writes this form and lopcodes.h names the instructions; both have been the same since 5.4.0. Any other form is refused.)
local M = {}

-- In the order of enum OpCode.
local OPS = {}
for op in ([[
  MOVE LOADI LOADF LOADK LOADKX LOADFALSE LFALSESKIP LOADTRUE LOADNIL GETUPVAL SETUPVAL GETTABUP GETTABLE GETI GETFIELD SETTABUP SETTABLE SETI SETFIELD
  NEWTABLE SELF ADDI ADDK SUBK MULK MODK POWK DIVK IDIVK BANDK BORK BXORK SHRI SHLI ADD SUB MUL MOD POW DIV IDIV BAND BOR BXOR SHL SHR
  MMBIN MMBINI MMBINK UNM BNOT NOT LEN CONCAT CLOSE TBC JMP EQ LT LE EQK EQI LTI LEI GTI GEI TEST TESTSET CALL TAILCALL RETURN RETURN0 RETURN1
  FORLOOP FORPREP TFORPREP TFORCALL TFORLOOP SETLIST CLOSURE VARARG VARARGPREP EXTRAARG]]):gmatch "%S+" do
  OPS[#OPS + 1] = op
end

local HEADER = "\27Lua\x54\0\x19\x93\r\n\x1a\n" .. string.char(4, string.packsize "j", string.packsize "n") .. string.pack("jn", 0x5678, 370.5)

local Reader = {}
Reader.__index = Reader

function Reader:byte()
  local b = self.text:byte(self.at)
  self.at = self.at + 1
  return b
end

-- Seven bits a byte, the highest first; the last byte has bit 7 set.
function Reader:size()
  local n = 0
  while true do
    local b = self:byte()
    n = n << 7 | b & 0x7F
    if b & 0x80 ~= 0 then return n end
  end
end

function Reader:string()                               -- nil when there is none
  local n = self:size()
  if n == 0 then return nil end
  local s = self.text:sub(self.at, self.at + n - 2)
  self.at = self.at + n - 1
  return s
end

function Reader:unpack(format)
  local value
  value, self.at = string.unpack(format, self.text, self.at)
  return value
end

function Reader:list(read)
  local out = {}
  for i = 1, self:size() do out[i] = read(self, i) end
  return out
end

local CONSTANTS = {
  [0x00] = function() return nil end, [0x01] = function() return false end, [0x11] = function() return true end,
  [0x03] = function(r) return r:unpack "j" end, [0x13] = function(r) return r:unpack "n" end, [0x04] = Reader.string, [0x14] = Reader.string,
}

local function signed(bits, of) return bits - of end

local function instruction(r)
  local i = r:unpack "I4"
  return {
    op = OPS[(i & 0x7F) + 1] or "?", A = i >> 7 & 0xFF, k = i >> 15 & 1 == 1, B = i >> 16 & 0xFF, C = i >> 24 & 0xFF,
    Bx = i >> 15, sBx = signed(i >> 15, 65535), sJ = signed(i >> 7, 16777215),
  }
end

-- The line of each instruction: a difference to the one before, or, where that is too large, an entry of its own.
local function set_lines(p, differences, absolute)
  local line = p.line
  for pc, d in ipairs(differences) do
    line = d == -128 and absolute[pc - 1] or line + d
    p.code[pc].line = line
  end
end

local function proto(r, outer_source)
  local p = { source = r:string() or outer_source, line = r:size(), last_line = r:size(), params = r:byte(), vararg = r:byte() ~= 0, stack = r:byte() }
  p.code = r:list(instruction)
  p.constants = {}
  for i = 0, r:size() - 1 do p.constants[i] = CONSTANTS[r:byte()](r) end
  p.upvalues = {}
  for i = 0, r:size() - 1 do p.upvalues[i] = { in_stack = r:byte() ~= 0, index = r:byte(), kind = r:byte() } end
  p.inner = {}
  for i = 0, r:size() - 1 do p.inner[i] = proto(r, p.source) end
  local differences, absolute = r:list(function() return r:unpack "i1" end), {}
  for _ = 1, r:size() do
    local pc = r:size()
    absolute[pc] = r:size()
  end
  set_lines(p, differences, absolute)
  for _ = 1, r:size() do r:string(); r:size(); r:size() end        -- locals
  for i = 0, r:size() - 1 do p.upvalues[i].name = r:string() end
  return p
end

-- The function as a table; nil when this Lua compiles to something else.
function M.read(f)
  local text = string.dump(f)
  if text:sub(1, #HEADER) ~= HEADER then return nil end
  return proto(setmetatable({ text = text, at = #HEADER + 2 }, Reader))       -- behind the header: the number of upvalues
end

return M
