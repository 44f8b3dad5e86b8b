-- Specs for gateways: the real stream machine and the real sandbox, a virtual clock, scripted upstreams. Run by `sluice test DIR`.
--
--   local t = require "sluice.testing"
--   local g = t.load "gateway.lua"
--   local r = g:ask { q = "hi", upstream = { "Hel", "lo", t.wait "2s", "!" } }
--   assert.equal("Hello!", r.text)
local json = require "dkjson"
local inside, world = pcall(require, "sluice.world")     -- `sluice test`; else a plain busted, with sluice/core.so
if not inside then world = require "sluice.core" end

local M = {}

local function milliseconds(duration)
  local n, unit = duration:match "^(%d+%.?%d*)(%a+)$"
  local scale = ({ ms = 1, s = 1000, m = 60000 })[unit]
  if not scale then error(('a duration is such as "800ms" or "2s", not "%s"'):format(duration), 3) end
  return math.floor(tonumber(n) * scale)
end

-- ---- what an upstream does: steps of a script

function M.wait(duration) return { wait = milliseconds(duration) } end
function M.fail(status, headers) return { status = status, headers = headers or {} } end
function M.close() return { finish = "done" } end                    -- a clean end without the dialect's mark
function M.reset() return { finish = "upstream_reset" } end
function M.break_with(code) return { finish = code } end             -- any code of the network: "upstream_connect_failed" ...
function M.raw(bytes) return { raw = bytes } end
function M.leave() return { gone = true } end                        -- the client goes away
function M.slow(is_slow) return { slow = is_slow } end               -- the client stops reading, or goes on
function M.shutdown() return { shutdown = true } end                 -- the gateway's drain time is over
function M.head(status, headers) return { head = status, headers = headers } end

local function event(delta)
  return "data: " .. json.encode { choices = { { index = 0, delta = delta } } } .. "\n\n"
end

-- ---- log lines

local ESCAPES = { n = "\n", r = "\r", t = "\t" }

local function unquoted(quoted)
  quoted = quoted:gsub("\\(.)(%x*)", function(c, digits)
    if c == "u" then return utf8.char(tonumber(digits:sub(1, 4), 16)) .. digits:sub(5) end
    if c == "x" then return string.char(tonumber(digits:sub(1, 2), 16)) .. digits:sub(3) end
    return (ESCAPES[c] or c) .. digits
  end)
  return quoted
end

-- A line of the log as a table: level, event, and each field as text.
function M.log_line(line)
  local level, word, at = line:match "^%S+ (%S+) (%S+)()"
  local fields = { level = level, event = word, line = line }
  while true do
    local name, start = line:match("^ ([^=%s]+)=()", at)
    if not name then return fields end
    local quoted, bare
    if line:sub(start, start) == '"' then
      local stop = start + 1
      while line:sub(stop, stop) ~= '"' do stop = stop + (line:sub(stop, stop) == "\\" and 2 or 1) end
      quoted, at = line:sub(start + 1, stop - 1), stop + 1
    else
      bare, at = line:match("^(%S*)()", start)
    end
    fields[name] = bare or unquoted(quoted)
  end
end

-- ---- one exchange

local Exchange = {}
Exchange.__index = Exchange

function Exchange:take(said)
  for _, entry in ipairs(said) do
    self.log[#self.log + 1] = entry
    if entry.what == "write" then self.wire[#self.wire + 1] = entry end
    if entry.what == "head" or entry.what == "reply" then
      self.status, self.headers, self.body = entry.status, entry.headers, entry.body
    end
    if entry.what == "attempt" then
      self.upstream[#self.upstream + 1] = { target = entry.target, url = entry.url, headers = entry.headers, body = json.decode(entry.body), raw = entry.body }
      self.headed, self.over, self.open = false, false, true
    end
    if entry.what == "hold" then self.held = true end
    if entry.what == "release" then self.held = false end
    if entry.what == "cancel" then self.canceled, self.open = true, false end
    if entry.what == "finish" then self.open = false end
    if entry.what == "closed" then self.closed = true end
    if entry.what == "log" then self.logs[#self.logs + 1] = M.log_line(entry.line) end
    if entry.what == "service" then self:asked(entry) end
  end
end

local function decoded(query)
  local t = {}
  for name, value in query:gmatch "([^&=]+)=([^&]*)" do
    local function plain(s) return (s:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end)) end
    t[plain(name)] = plain(value)
  end
  return t
end

-- A service is called: its script says what it answers, and after what time.
function Exchange:asked(entry)
  local handler = self.services[entry.service] or error(('the service "%s" was called, but has no script (services = { %s = function(call) ... end })'):format(
    entry.service, entry.service), 0)
  local path, query = entry.target:match "^([^?]*)%??(.*)$"
  local ok, body = pcall(json.decode, entry.body or "")
  local call = { service = entry.service, method = entry.method, path = path, query = decoded(query), headers = entry.headers, body = entry.body, json = ok and body or nil }
  self.calls[#self.calls + 1] = call
  local answer, latency = handler(call)
  self.pending[#self.pending + 1] = { id = entry.id, answer = answer, at = self.world:now() + milliseconds(latency or "0ms") }
end

function Exchange:first_pending()
  local first
  for i, p in ipairs(self.pending) do
    if not first or p.at < self.pending[first].at then first = i end
  end
  return first
end

function Exchange:deliver(i)
  local p = table.remove(self.pending, i)
  local a = p.answer
  if a == nil then return self:take(self.world:answer(self.id, p.id, "connect")) end
  if type(a) == "string" then a = { body = a } end
  if a.fail then return self:take(self.world:answer(self.id, p.id, a.fail)) end
  local headers = a.headers or (a.json ~= nil and { ["content-type"] = "application/json" }) or nil
  self:take(self.world:answer(self.id, p.id, "ok", a.status or 200, headers, a.json ~= nil and json.encode(a.json) or a.body or ""))
end

-- Time passes; what services answer meanwhile is delivered at its time.
function Exchange:pass(ms)
  local until_ms = self.world:now() + ms
  while true do
    local i = self:first_pending()
    if not i or self.pending[i].at > until_ms then break end
    self:take(self.world:advance(self.id, math.max(0, self.pending[i].at - self.world:now())))
    self:deliver(i)
  end
  self:take(self.world:advance(self.id, until_ms - self.world:now()))
end

-- Time passes until the stream waits for its upstream, not for one of its own hooks or Lua models.
function Exchange:settle()
  for _ = 1, 100000 do
    local alarm, i = self.world:alarm(self.id), self:first_pending()
    if self.closed or not (alarm or i) or (self.open and not self.held) or self.is_slow then return end
    local wait = i and math.max(0, self.pending[i].at - self.world:now())
    self:pass(wait and alarm and math.min(wait, alarm) or wait or alarm)
  end
  error "the stream never comes to rest"
end

local actions = {
  { "wait", function(x, ms) x:pass(ms) end },
  { "status", function(x, status, step) x:take(x.world:head(x.id, status, step.headers)) end },
  { "head", function(x, status, step) x.headed = true; x:take(x.world:head(x.id, status, step.headers)) end },
  { "finish", function(x, code) x.over, x.open = true, false; x:take(x.world:finish(x.id, code)) end },
  { "gone", function(x) x:take(x.world:gone(x.id)) end },
  { "slow", function(x, slow) x.is_slow = slow; x:take(x.world:slow(x.id, slow)) end },
  { "shutdown", function(x) x:take(x.world:shutdown(x.id)) end },
}

function Exchange:begin_stream()
  if self.headed then return end
  self.headed = true
  self:take(self.world:head(self.id, 200, { ["content-type"] = "text/event-stream" }))
end

function Exchange:bytes(bytes, cut)
  self:begin_stream()
  for from = 1, #bytes, cut or #bytes do
    self:take(self.world:bytes(self.id, bytes:sub(from, from + (cut or #bytes) - 1)))
  end
end

function Exchange:step(step, cut)
  if type(step) == "string" then return self:bytes(event { content = step }, cut) end
  if step.raw then return self:bytes(step.raw, cut) end
  for _, action in ipairs(actions) do
    local value = step[action[1]]
    if value ~= nil then return action[2](self, value, step) end
  end
  self:bytes(event(step), cut)
end

-- One script for all tries, or one for each model by its name. A try that its script does not end is ended well.
function Exchange:play(upstream, cut)
  local named = #upstream == 0 and next(upstream) ~= nil
  local at = {}                                          -- script -> its next step
  while not self.closed and #self.upstream > 0 do
    local number = #self.upstream
    local target = self.upstream[number].target
    local script = named and (upstream[target] or error(('the model "%s" was asked, but has no script'):format(target), 4)) or upstream
    local step = script[at[script] or 1]
    if step ~= nil then
      at[script] = (at[script] or 1) + 1
      self:step(step, cut)
    elseif self.over then
      return
    else
      self:bytes("data: [DONE]\n\n", cut)
      self.over = #self.upstream == number
    end
    self:settle()
  end
end

-- What reached the client, read as an EventSource would.
function Exchange:read()
  self.events, self.comments, self.text = {}, 0, ""
  local bytes = {}
  for _, entry in ipairs(self.wire) do bytes[#bytes + 1] = entry.bytes end
  for block in table.concat(bytes):gmatch "(.-)\n\n" do
    local data = block:match "^data: (.*)$"
    if block:sub(1, 1) == ":" then
      self.comments = self.comments + 1
    elseif data == "[DONE]" then
      self.done = true
    elseif data then
      local value = assert(json.decode(data))
      self.events[#self.events + 1] = value
      if value.token then self.text = self.text .. value.token end
      if value.error then self.error = value end
    end
  end
  if self.body and self.body ~= "" and not self.error and self.status >= 400 then self.error = json.decode(self.body) end
end

local Gateway = {}
Gateway.__index = Gateway

local function encode(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- Shared state (limits) outlives a world as it outlives a reload: each ask comes from an address of its own unless `ip` says otherwise.
local asked = 0
local function next_address()
  asked = asked + 1
  return ("10.%d.%d.%d"):format(asked >> 16 & 255, asked >> 8 & 255, asked & 255)
end

local function start(self, want)
  local x = setmetatable({ world = self.world, log = {}, wire = {}, upstream = {}, headers = {}, calls = {}, pending = {}, logs = {},
    services = setmetatable(want.services or {}, { __index = self.services }) }, Exchange)
  local said
  said, x.id = self.world:ask {
    method = want.method, path = want.path or "/api/stream", query = want.query or (want.q and "q=" .. encode(want.q) or ""),
    headers = want.headers or { host = "test" }, ip = want.ip or next_address(), body = want.body,
  }
  x:take(said)
  x:settle()
  return x
end

-- The upstream of a started exchange does what its script says; returns the exchange with what reached the client.
function Exchange:finish(upstream, cut)
  if upstream then self:play(upstream, cut) end
  self:read()
  return self
end

local function run(self, want, upstream)
  return start(self, want):finish(upstream, want.cut)
end

-- ---- shaking: where an upstream cuts its text must not matter

local TEXTS = { content = true, reasoning_content = true, reasoning = true, refusal = true }

-- The field that a step is text of, and the text; nothing when it is more than that.
local function text_of(step)
  if type(step) == "string" then return "content", step end
  local field, text = next(step)
  if TEXTS[field] and type(text) == "string" and next(step, field) == nil then return field, text end
end

local function characters(text)
  local out = {}
  for c in text:gmatch(utf8.charpattern) do out[#out + 1] = c end
  return out
end

-- The same script with each run of text cut anew: pieces of `size()` characters.
local function recut(upstream, size)
  local out, i = {}, 1
  while i <= #upstream do
    local field, text = text_of(upstream[i])
    i = i + 1
    if not field then
      out[#out + 1] = upstream[i - 1]
    else
      while upstream[i] and text_of(upstream[i]) == field do
        text = text .. select(2, text_of(upstream[i]))
        i = i + 1
      end
      local all, from = characters(text), 1
      while from <= #all do
        local n = size()
        out[#out + 1] = { [field] = table.concat(all, "", from, math.min(from + n - 1, #all)) }
        from = from + n
      end
    end
  end
  return out
end

-- What must be the same. A refusal is one whether or not text before it had left by then: that does depend on when it came.
local function gist(x)
  if x.error then return "error " .. tostring(x.error.code) end
  return ("%d %q finish=%s"):format(x.status or 0, x.text, x.done and "done" or "none")
end

local function shake(self, want, first)
  local function again(name, size)
    local other = gist(run(self, want, recut(want.upstream, size)))
    if other ~= gist(first) then
      error(('the result depends on where the upstream cuts its text (%s)\n  as given: %s\n  re-cut:   %s'):format(name, gist(first), other), 4)
    end
  end
  again("one character each", function() return 1 end)
  again("whole", function() return math.huge end)
  for seed = 1, 8 do
    local state = seed * 7919
    again("seed " .. seed, function()
      state = (state * 1103515245 + 12345) % 2147483648
      return 1 + (state >> 16) % 7
    end)
  end
end

-- Asks once. want: q or query, path ("/api/stream"), method, headers, ip, body; upstream: a list of texts and steps, or one such list for each model by
-- name; services: name -> function(call) that returns { json = } or { status =, headers =, body = } or a text, or nil (it cannot be reached), and the time it
-- takes ("50ms"); cut: bytes per read. When `upstream` is nothing but texts the same is asked again under ten other cuttings of them, which must not
-- matter; cut, ip and no_shake = true leave that out.
function Gateway:ask(want)
  local x = run(self, want, want.upstream)
  if want.upstream and #want.upstream > 0 and not want.no_shake and not want.cut and not want.ip then
    local texts, others = 0, 0
    for _, step in ipairs(want.upstream) do
      if type(step) ~= "table" or text_of(step) then texts = texts + 1 else others = others + 1 end
    end
    if texts > 0 and others == 0 then shake(self, want, x) end
  end
  return x
end

-- Time passes while nobody asks.
function Gateway:advance(duration) self.world:skip(milliseconds(duration)) end
-- Asks, and leaves the model asked but silent: `g:start { q = "hi" }`, others meanwhile, then `x:finish { "Hel", "lo" }`.
function Gateway:start(want) return start(self, want) end

function Gateway:close() self.world:close() end
function Gateway:count(name) return self.world:count(name) end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

-- A directory with a gateway file and what lies beside it; and the names of all, to be removed again.
local function folder(source, files)
  local dir = world.directory()
  local all = { write(dir .. "/gateway.lua", source) }
  for name, text in pairs(files) do all[#all + 1] = write(dir .. "/" .. name, text) end
  all[#all + 1] = dir
  return all[1], all
end

-- t.load "file.lua", or t.load { source = "..." }: a gateway in a world of its own. env: what sluice.env and sluice.secret see; files: texts beside the source,
-- by name.
function M.load(what)
  if type(what) == "string" then what = { file = what } end
  for name, value in pairs(what.env or {}) do world.setenv(name, value or nil) end
  local file, made = what.file, {}
  if what.files then
    file, made = folder(what.source, what.files)
  elseif what.source then
    file = write(os.tmpname(), what.source)
    made = { file }
  end
  local w, why = world.open(file)
  for _, path in ipairs(made) do os.remove(path) end
  if not w then return nil, why end
  return setmetatable({ world = w, services = what.services or {} }, Gateway)
end

return M
