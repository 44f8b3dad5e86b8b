-- Who may ask: keys that are kept hashed, in a file.
--
--   sluice.parts.api_keys { file = "keys.txt" }
--
-- A line of the file is a name, a key's hash and what that key may do; what follows a # is a comment. A name may have two keys while one takes the other's place.
--
--   alice    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
--   batch    sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 models=fast,long rate=60/1m   # the nightly job
--
-- Make a key with `openssl rand -hex 32`, its hash with `printf %s KEY | sha256sum`. The file is read while the gateway file loads: SIGHUP reads it anew. A client
-- sends `Authorization: Bearer KEY` or `x-api-key: KEY`. Policies behind this one find the name in ctx.key.id; the key itself goes neither to the model nor to
-- the log. Put cors before it, and rate_limit { key = "ip" } against guessing.
local sluice = require "sluice"

local P = sluice.policy {
  name = "api_keys",
  api  = 1,
  doc  = "Admits clients whose key stands, hashed, in a file.",
  options = {
    file     = { type = "file", required = true, doc = "The file of keys, beside the gateway file." },
    required = { type = "boolean", default = true, doc = "Refuse clients without a key; else they pass without ctx.key, and only unknown keys are refused." },
    header   = { type = { "string", "list" }, default = { "authorization", "x-api-key" }, doc = "Headers to look into; authorization holds Bearer and the key, others the key alone." },
    query    = { type = "string", doc = "A query parameter to look into as well, for pages whose EventSource sends no headers. URLs are logged on their way: think first." },
  },
}

local COMPLAINTS_MOST = 20

-- ---- the file

local function models_of(text, file)
  local models = {}
  for name in (text .. ","):gmatch("([^,]*),") do
    if not file.models[name] then return nil, ('models= names "%s", but there is no such model'):format(name) end
    models[name] = true
  end
  return models
end

-- All uses of one file share what a key has left.
local function limiter_of(text, file)
  if file.limiters[text] then return file.limiters[text] end
  local rate, per = text:match("^(%d+)/(%w+)$")
  if not rate then return nil, ('rate= is written 60/1m, is "%s"'):format(text) end
  local ok, limiter = pcall(sluice.limiter, ("api_keys/%s/%s"):format(file.path, text), { rate = tonumber(rate), per = per })
  if not ok then return nil, ('rate=%s: %s'):format(text, tostring(limiter):gsub("^.-sluice%.limiter: ", "")) end
  file.limiters[text] = limiter
  return limiter
end

local attributes = { models = models_of, rate = limiter_of }

-- What one line says, or nil and what is wrong with it. A line that is wrong is never quoted: it may hold the key itself.
local function entry_of(line, file)
  local name, hash, rest = line:match("^(%S+)%s*(%S*)%s*(.*)$")
  if #name > 64 or not name:find("^[%w_][%w_%-%.@]*$") then return nil, "a line begins with a name of letters, digits and _ - . @" end
  local digest = hash:lower():match("^sha256:(%x+)$")
  if not digest or #digest ~= 64 then return nil, "behind the name stands sha256: and 64 hex digits, as `printf %s KEY | sha256sum` prints them" end
  local entry = { name = name, digest = digest, said = rest }
  for word in rest:gmatch("%S+") do
    local what, value = word:match("^(%a+)=(.+)$")
    if not attributes[what] then return nil, "behind the hash stand only models=a,b and rate=60/1m" end
    if entry[what] then return nil, ("%s= is given twice"):format(what) end
    local why
    entry[what], why = attributes[what](value, file)
    if not entry[what] then return nil, why end
  end
  return entry
end

-- Keys by the beginning of their hash. That part of a hash may show in the time a look-up takes; the rest is compared in constant time.
local function finder(digest) return digest:sub(1, 8) end

-- Takes an entry in, or says why it does not fit those before it.
local function add(file, entry)
  local twin, first = file.by_digest[entry.digest], file.by_name[entry.name]
  if twin then return ("this key is %s's already (line %d)"):format(twin.name, twin.line) end
  if first and first.said ~= entry.said then return ("%s has other models= or rate= on line %d: they belong to the name"):format(entry.name, first.line) end
  local bucket = file.by_finder[finder(entry.digest)] or {}
  bucket[#bucket + 1] = entry
  file.by_finder[finder(entry.digest)], file.by_digest[entry.digest], file.by_name[entry.name] = bucket, entry, first or entry
end

-- Reads the file; what is wrong in it is told with its line.
local function read(o, use)
  local file = { path = o.file.path, models = {}, limiters = {}, by_finder = {}, by_digest = {}, by_name = {} }
  for _, name in ipairs(use.models) do file.models[name] = true end
  local n, wrong = 0, 0
  for line in (o.file.text .. "\n"):gmatch("([^\n]*)\n") do
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
        use:bad_line(why, o.file, n)
        if wrong == COMPLAINTS_MOST then break end
      end
    end
  end
  if wrong == 0 and next(file.by_name) == nil then use:bad_line("holds no key, so nobody could ask", o.file, 1) end
  return file.by_finder
end

function P.prepare(o, use)
  local headers, lower = type(o.header) == "string" and { o.header } or o.header, {}
  for i = 1, #headers do lower[i] = tostring(headers[i]):lower() end
  return { by_finder = read(o, use), headers = lower }
end

-- ---- requests

-- The key that a request shows, or nil. "Bearer" may be written in any case.
local function shown(head, ctx)
  for _, name in ipairs(ctx.prepared.headers) do
    local value = head.headers[name]
    if value and name == "authorization" then
      local scheme, key = value:match("^(%a+) +(%S+)$")
      value = scheme and scheme:lower() == "bearer" and key or nil
    end
    if value and value ~= "" then return value end
  end
  local name = ctx.options.query
  local value = name and head.query[name]
  return value ~= "" and value or nil
end

local function entry_for(key, by_finder)
  local digest, found = sluice.sha256(key), nil
  for _, entry in ipairs(by_finder[finder(digest)] or {}) do
    if sluice.equal(entry.digest, digest) then found = entry end
  end
  return found
end

local function unauthorized(code, message, challenge)
  return sluice.reject { status = 401, code = code, message = message, headers = { ["WWW-Authenticate"] = challenge } }
end

function P.accept(head, ctx)
  if head.method == "OPTIONS" then return end             -- a page's preflight carries no key, and reaches no model
  local key = shown(head, ctx)
  if not key then
    if not ctx.options.required then return end
    return unauthorized("key_missing", "Send an API key.", "Bearer")
  end
  local entry = entry_for(key, ctx.prepared.by_finder)
  if not entry then return unauthorized("key_unknown", "This API key is not known.", 'Bearer error="invalid_token"') end
  ctx.key = { id = entry.name }
  ctx:tag("key", entry.name)
  ctx.state.entry = entry
  if not entry.rate then return end
  local ok, retry_in = entry.rate:take(entry.name)
  if not ok then
    return sluice.reject { status = 429, code = "rate_limited", retry_after = retry_in, message = ("too many requests; try again in %d s"):format(retry_in) }
  end
end

local function not_allowed() return sluice.reject(403, "model_not_allowed", "This API key may not use this model.") end

-- Of several models, those that the key may use.
function P.route(_, ctx)
  local allowed = ctx.state.entry and ctx.state.entry.models
  if not allowed then return end
  local plan, left = ctx.plan.models, {}
  for _, name in ipairs(plan) do if allowed[name] then left[#left + 1] = name end end
  if #left == 0 or #left == #plan then return end         -- a later policy may still choose; prompt has the last word
  return left
end

function P.prompt(_, ctx)
  local allowed = ctx.state.entry and ctx.state.entry.models
  for _, name in ipairs(allowed and ctx.plan.models or {}) do
    if not allowed[name] then return not_allowed() end
  end
end

return P
