-- The file of keys that api_keys reads and `sluice key NAME` makes lines for: a name, a key's hash, what the name may do; # begins a comment.
--
--   batch    sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 models=fast,long rate=60/1m concurrency=5 tokens=200000/1d
--
-- All uses of one file share what is counted for it: limiters, counters and semaphores are named by its path.
local sluice = require "sluice"

local M = {}

local COMPLAINTS_MOST = 20
local TOKENS_MOST = 1 << 50                              -- sums of tokens are exact

-- Why a name is none, or nil.
local function name_wrong(name)
  if #name > 64 or not name:find("^[%w_][%w_%-%.@]*$") then return "a line begins with a name of letters, digits and _ - . @" end
end

-- A line for this key.
function M.line(name, key)
  local why = name_wrong(name)
  if why then return nil, why end
  return ("%s sha256:%s"):format(name, sluice.sha256(key))
end

-- ---- what a name may do: each a function(text, file) that returns what requests need, or nil and what is wrong

local attributes = {}

function attributes.models(text, file)
  local models = {}
  for name in (text .. ","):gmatch("([^,]*),") do
    if not file.models[name] then return nil, ('models= names "%s", but there is no such model'):format(name) end
    models[name] = true
  end
  return models
end

local function per_time(what, text, example)
  local n, time = text:match("^(%d+)/(%w+)$")
  if not n then return nil, ('%s= is written %s, is "%s"'):format(what, example, text) end
  return tonumber(n), time
end

-- sluice.limiter or sluice.counter, whose complaint is of this line.
local function shared(make, what, text, name, rule)
  local ok, value = pcall(sluice[make], name, rule)
  if not ok then return nil, ("%s=%s: %s"):format(what, text, tostring(value):gsub("^.-sluice%." .. make .. ": ", "")) end
  return value
end

function attributes.rate(text, file)
  local rate, per = per_time("rate", text, "60/1m")
  if not rate then return nil, per end
  local limiter, why = shared("limiter", "rate", text, ("api_keys/%s/%s"):format(file.path, text), { rate = rate, per = per })
  if not limiter then return nil, why end
  return { limiter = limiter, limit = math.tointeger(rate) }
end

function attributes.concurrency(text, file)
  local limit = #text <= 9 and text:find("^%d+$") and math.tointeger(tonumber(text)) or 0
  if limit < 1 then return nil, ('concurrency= is a whole number above 0, is "%s"'):format(text) end
  return { semaphore = sluice.semaphore("api_keys/" .. file.path, { limit = 1 }), limit = limit }
end

function attributes.tokens(text, file)
  local limit, window = per_time("tokens", text, "200000/1d")
  if not limit then return nil, window end
  if limit < 1 or limit > TOKENS_MOST then return nil, ("tokens=%s: must be a number above 0, at most %d"):format(text, TOKENS_MOST) end
  local counter, why = shared("counter", "tokens", text, ("api_keys/%s/tokens/%s"):format(file.path, window), { window = window })
  if not counter then return nil, why end
  return { counter = counter, limit = limit, window = window }
end

-- ---- lines

-- What one line says, or nil and what is wrong with it. A line that is wrong is never quoted: it may hold the key itself.
local function entry_of(line, file)
  local name, hash, rest = line:match("^(%S+)%s*(%S*)%s*(.*)$")
  local why = name_wrong(name)
  if why then return nil, why end
  local digest = hash:lower():match("^sha256:(%x+)$")
  if not digest or #digest ~= 64 then return nil, "behind the name stands sha256: and 64 hex digits, as `sluice key NAME` prints them" end
  local entry = { name = name, digest = digest, said = rest }
  for word in rest:gmatch("%S+") do
    local what, value = word:match("^(%a+)=(.+)$")
    if not attributes[what] then return nil, "behind the hash stand only models=a,b rate=60/1m concurrency=5 tokens=200000/1d" end
    if entry[what] then return nil, ("%s= is given twice"):format(what) end
    local cached = file.values[word]
    if not cached then
      cached, why = attributes[what](value, file)
      if not cached then return nil, why end
      file.values[word] = cached
    end
    entry[what] = cached
  end
  return entry
end

-- Keys by the beginning of their hash. That part of a hash may show in the time a look-up takes; the rest is compared in constant time.
local function finder(digest) return digest:sub(1, 8) end

-- Takes an entry in, or says why it does not fit those before it.
local function add(file, entry)
  local twin, first = file.by_digest[entry.digest], file.by_name[entry.name]
  if twin then return ("this key is %s's already (line %d)"):format(twin.name, twin.line) end
  if first and first.said ~= entry.said then return ("%s may do something else on line %d: what stands behind the hash belongs to the name"):format(entry.name, first.line) end
  local bucket = file.by_finder[finder(entry.digest)] or {}
  bucket[#bucket + 1] = entry
  file.by_finder[finder(entry.digest)], file.by_digest[entry.digest], file.by_name[entry.name] = bucket, entry, first or entry
end

-- Reads the file that the option `which` names, for M.find; what is wrong in it is told with its line.
function M.read(which, use)
  local file = { path = which.path, models = {}, values = {}, by_finder = {}, by_digest = {}, by_name = {} }
  for _, name in ipairs(use.models) do file.models[name] = true end
  local n, wrong = 0, 0
  for line in (which.text .. "\n"):gmatch("([^\n]*)\n") do
    n = n + 1
    line = sluice.trim(line:gsub("^\u{FEFF}", ""):gsub("#.*", ""))
    if line ~= "" then
      local entry, why = entry_of(line, file)
      if entry then
        entry.line = n
        why = add(file, entry)
      end
      if why then
        wrong = wrong + 1
        use:bad_line(why, which, n)
        if wrong == COMPLAINTS_MOST then break end
      end
    end
  end
  if wrong == 0 and next(file.by_name) == nil then use:bad_line("holds no key, so nobody could ask", which, 1) end
  return file.by_finder
end

-- The entry of a key that a client shows, or nil: { name, models =, rate =, concurrency =, tokens = }.
function M.find(by_finder, key)
  local digest, found = sluice.sha256(key), nil
  for _, entry in ipairs(by_finder[finder(digest)] or {}) do
    if sluice.equal(entry.digest, digest) then found = entry end
  end
  return found
end

return M
