-- For specs that send nonsense: seeded random numbers, JSON as a tree that keeps what was written (names twice, odd numbers, raw bytes), and mutations of it.
--
--   local fuzz = require "spec.policy.fuzz"
--   for case, random in fuzz.cases(1000) do ... end        -- FUZZ_CASES and FUZZ_SEED of the environment say otherwise
--   local tree = fuzz.parse '{"n":1}'                      -- strict: nil and what is wrong, for anything that is no JSON in UTF-8
--   fuzz.text(fuzz.mutated(random, tree))
local inside, world = pcall(require, "sluice.world")     -- `sluice test`; else a plain busted, with sluice/core.so
if not inside then world = require "sluice.core" end

local generator = require "sluice.testing.random"

local M = {}

-- fn(...) without the lines that nonsense makes the gateway log. -> what it returned
function M.quiet(fn, ...)
  world.mute(true)
  local all = table.pack(pcall(fn, ...))
  world.mute(false)
  if not all[1] then error(all[2], 0) end
  return table.unpack(all, 2, all.n)
end

-- Each case has a generator of its own, made of its number alone: FUZZ_SEED=417 FUZZ_CASES=1 is case 417 again.
function M.cases(most)
  local first = tonumber(os.getenv "FUZZ_SEED") or 1
  local last = first + (tonumber(os.getenv "FUZZ_CASES") or most) - 1
  return function(_, case)
    if case < last then return case + 1, generator(case + 1) end
  end, nil, first - 1
end

local function one(random, list) return list[random(#list)] end
M.one = one

-- ---- reading: { kind = "object", { name as written, node } ... }, { kind = "array", node ... }, { kind = "raw", text = what was written }

local function wrong(at, what) error(("byte %d: %s"):format(at, what), 0) end

local function string_end(text, at)
  local i = at + 1
  while true do
    i = text:find('["\\%c]', i)
    if not i then wrong(at, "a string without end") end
    local c = text:sub(i, i)
    if c == '"' then return i end
    if c ~= "\\" and c ~= "\127" then wrong(i, "a control character within a string") end
    if c == "\127" then
      i = i + 1
    elseif text:find('^["\\/bfnrt]', i + 1) then
      i = i + 2
    elseif text:find("^u%x%x%x%x", i + 1) then
      i = i + 6
    else
      wrong(i, "an odd escape")
    end
  end
end

local function number_end(text, at)
  local i = text:match("^%-?0()", at) or text:match("^%-?[1-9]%d*()", at) or wrong(at, "no value")
  i = text:match("^%.%d+()", i) or i
  return (text:match("^[eE][+-]?%d+()", i) or i) - 1
end

local value

local function blank(text, at) return text:match("^[ \t\r\n]*()", at) end

local function items(text, at, close, item)
  local out = {}
  at = blank(text, at + 1)
  if text:sub(at, at) == close then return out, at end
  while true do
    out[#out + 1], at = item(text, at)
    at = blank(text, at + 1)
    local c = text:sub(at, at)
    if c == close then return out, at end
    if c ~= "," then wrong(at, "neither a comma nor " .. close) end
    at = blank(text, at + 1)
  end
end

local function member(text, at)
  if text:sub(at, at) ~= '"' then wrong(at, "a member without a name") end
  local stop = string_end(text, at)
  local name = text:sub(at, stop)
  at = blank(text, stop + 1)
  if text:sub(at, at) ~= ":" then wrong(at, "a name without a value") end
  local node
  node, at = value(text, blank(text, at + 1))
  return { name, node }, at
end

function value(text, at)                                 -- -> node, its last byte
  local c = text:sub(at, at)
  if c == "{" or c == "[" then
    local out, stop = items(text, at, c == "{" and "}" or "]", c == "{" and member or value)
    out.kind = c == "{" and "object" or "array"
    return out, stop
  end
  local stop
  if c == '"' then stop = string_end(text, at) else stop = (text:match("^true()", at) or text:match("^false()", at) or text:match("^null()", at) or number_end(text, at) + 1) - 1 end
  return { kind = "raw", text = text:sub(at, stop) }, stop
end

function M.parse(text)
  if not utf8.len(text) then return nil, "no UTF-8" end
  local ok, node, stop = pcall(function() return value(text, blank(text, 1)) end)
  if not ok then return nil, node end
  if blank(text, stop + 1) <= #text then return nil, "text behind the document" end
  return node
end

local function write(node, out)
  if node.kind == "raw" then
    out[#out + 1] = node.text
  else
    out[#out + 1] = node.kind == "object" and "{" or "["
    for i, item in ipairs(node) do
      if i > 1 then out[#out + 1] = "," end
      if node.kind == "object" then
        out[#out + 1] = item[1] .. ":"
        item = item[2]
      end
      write(item, out)
    end
    out[#out + 1] = node.kind == "object" and "}" or "]"
  end
  return out
end

function M.text(node) return table.concat(write(node, {})) end

-- ---- what a document means: the same for all that say the same

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function plain(written)
  local out = written:sub(2, -2):gsub("\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", function(high, low)
    return utf8.char(0x10000 + (tonumber(high, 16) - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00)
  end)
  out = out:gsub("\\(.)(%x?%x?%x?%x?)", function(c, digits)
    if c ~= "u" then return (ESCAPES[c] or c) .. digits end
    local code = tonumber(digits, 16)
    return utf8.char(code >= 0xD800 and code < 0xE000 and 0xFFFD or code)
  end)
  return out
end

-- The members of an object by their names; of a name that stands twice, the last.
function M.members(node)
  local out = {}
  for _, m in ipairs(node) do out[plain(m[1])] = m[2] end
  return out
end

-- without: a set of names of members that say nothing, wherever they stand.
function M.meaning(node, without)
  if node.kind == "raw" then
    local c = node.text:sub(1, 1)
    if c == '"' then return ("%q"):format(plain(node.text)) end
    return c:find "[%d-]" and not node.text:find "[.eE]" and #node.text < 18 and tostring(tonumber(node.text)) or node.text
  end
  local out = {}
  if node.kind == "array" then
    for i, item in ipairs(node) do out[i] = M.meaning(item, without) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  for name, item in pairs(M.members(node)) do
    if not (without and without[name]) then out[#out + 1] = ("%q:%s"):format(name, M.meaning(item, without)) end
  end
  table.sort(out)
  return "{" .. table.concat(out, ",") .. "}"
end

-- ---- mutations

local function nested(n) return ("["):rep(n) .. ("]"):rep(n) end

local ODD = {
  "null", "true", "false", "0", "-0", "1", "2", "-1", "16", "17", "4294967296", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e9", "1e400", "0.5",
  "1.0", "1e-400", "123456789012345678901234567890", '""', '" "', '"a"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\255\254"', '"\240\159"', '"a\\nb\\rc"',
  '"%00%s%d"', '"' .. ("x"):rep(300) .. '"', '"' .. ("\\u00e9"):rep(2000) .. '"', "[]", "{}", "[null]", "[[]]", "[{}]", '[""]', '{"":""}', '{"type":"text"}', '{"type":"text","text":1}',
  '[{"type":"text","text":"a"},{"type":"text","text":"b"}]', '[{"type":1}]', '[1,"a",null]', '"function"', '"tool"', '"assistant"', '"system"', '"stop"', '"error"', '"text"', '"image_url"',
  '"data:image/png;base64,AAAA"', '"data:image/png;base64,"', '"data:,"', '"https://x.test/a.png"', '"http://["', '"{}"', '"{"', '"[]"', '"null"', '"{\\"a\\":1}"', '"1e400"',
  nested(20), nested(200), '{"a":{"a":{"a":{"a":[]}}}}', '{"message":1}', '{"message":"m","code":{},"type":[]}', '{"a":1,"a":2}', "[1.5,1e3]",
}

local NAMES = { '"type"', '"role"', '"content"', '"text"', '"name"', '"id"', '"index"', '"function"', '"arguments"', '"error"', '"usage"', '"model"', '"n"', '"stream"', '"anthropic"',
  '"\\u0000"', '"\255"', '""', '"t\\u0079pe"', '"tool_calls"', '"max_tokens"', '"stop"', '"input"', '"cache_control"', '"choices"', '"delta"', '"metadata"', '"response_format"',
  '"tool_choice"', '"reasoning_effort"', '"refusal"', '"audio"', '"file"', '"image_url"', '"encrypted_reasoning"', '"reasoning_content"', '"stream_options"', '"prediction"', '"source"',
  '"include"', '"truncation"', '"max_tool_calls"', '"logprobs"', '"top_logprobs"', '"seed"', '"top_p"', '"temperature"', '"parallel_tool_calls"', '"user"', '"store"', '"service_tier"',
  '"modalities"', '"verbosity"', '"logit_bias"', '"thinking"', '"output_config"', '"stop_sequences"', '"instructions"', '"reasoning"', '"background"', '"functions"', '"top_k"', '"strict"' }

local function copy(node)
  if node.kind == "raw" then return { kind = "raw", text = node.text } end
  local out = { kind = node.kind }
  for i, item in ipairs(node) do out[i] = node.kind == "object" and { item[1], copy(item[2]) } or copy(item) end
  return out
end

-- All places that hold a value: { the table, its key, what it is an item of, its number there }.
local function places(node, out)
  for i, item in ipairs(node) do
    if node.kind == "object" then out[#out + 1] = { item, 2, node, i } else out[#out + 1] = { node, i, node, i } end
    places(node.kind == "object" and item[2] or item, out)
  end
  return out
end

local function odd(random) return { kind = "raw", text = one(random, ODD) } end

local changes = {
  function(random, p) p[1][p[2]] = odd(random) end,
  function(random, p) p[1][p[2]] = odd(random) end,
  function(random, p) p[1][p[2]] = odd(random) end,
  function(_, p) table.remove(p[3], p[4]) end,
  function(_, p) table.remove(p[3], p[4]) end,
  function(random, p)                                    -- once more, elsewhere in its list; of a member: its name twice
    local again = p[3].kind == "object" and { p[1][1], random(2) == 1 and copy(p[1][2]) or odd(random) } or copy(p[1][p[2]])
    table.insert(p[3], random(#p[3] + 1), again)
  end,
  function(random, p, all)                               -- what stands elsewhere
    local other = one(random, all)
    p[1][p[2]] = copy(other[1][other[2]])
  end,
  function(random, p)                                    -- a member more
    local node = p[1][p[2]]
    if node.kind == "object" then table.insert(node, random(#node + 1), { one(random, NAMES), odd(random) }) else p[1][p[2]] = { kind = "object", { one(random, NAMES), node } } end
  end,
  function(_, p) p[1][p[2]] = { kind = "array", p[1][p[2]] } end,
  function(random, p)                                    -- another name
    if p[3].kind == "object" then p[1][1] = one(random, NAMES) else table.insert(p[3], odd(random)) end
  end,
  function(random, p)                                    -- very many
    if p[3].kind ~= "array" then return end
    for _ = 1, random(40) do table.insert(p[3], copy(p[3][1] or odd(random))) end
  end,
  function(random, p)                                    -- in another order
    local at = random(#p[3])
    p[3][at], p[3][p[4]] = p[3][p[4]], p[3][at]
  end,
}

-- A copy with n changes.
function M.mutated(random, tree, n)
  local root = { kind = "array", copy(tree) }
  for _ = 1, n do
    local all = places(root, {})
    if #all == 0 then break end
    one(random, changes)(random, one(random, all), all)
  end
  return root[1] or odd(random)
end

-- Bytes with n of them changed, gone, doubled, or odd ones between.
local BYTES = { "\0", "\255", "\n", "\r", '"', "\\", "{", "}", "[", "]", ",", ":", "0", "\239\187\191", "\226\128\168", " ", "\n\n", "\r\n" }
function M.damaged(random, bytes, n)
  for _ = 1, n do
    local at, what = random(#bytes + 1), random(5)
    if what == 1 then
      bytes = bytes:sub(1, at - 1)
    elseif what == 2 then
      bytes = bytes:sub(1, at - 1) .. bytes:sub(at + random(8))
    elseif what == 3 then
      bytes = bytes:sub(1, at) .. bytes:sub(at - random(8))
    elseif what == 4 then
      bytes = bytes:sub(1, at - 1) .. string.char(random(256) - 1) .. bytes:sub(at + 1)
    else
      bytes = bytes:sub(1, at - 1) .. one(random, BYTES) .. bytes:sub(at)
    end
  end
  return bytes
end

-- What scripts of the gateway's own may never do, however odd what they read is: the first such line of the log, or nil.
local FAILED = { ["front.failed"] = true, ["dialect.failed"] = true, ["lua.failed"] = true, ["lua.panic"] = true, ["policy.failed"] = true, ["policy.error"] = true }
function M.failed(x)
  for _, line in ipairs(x.logs) do
    if FAILED[line.event] then return line.line end
  end
end

return M
