-- One exchange in the virtual world: a client's request, what its upstreams and services answer and when, and what came of it.
local json = require "sluice.testing.json"
local blame = require "sluice.testing.blame"
local logs = require "sluice.testing.logs"
local redis = require "sluice.testing.redis"
local told = require "sluice.testing.told"
local upstreams = require "sluice.testing.upstream"

local Exchange = {}

-- What reached the client is read when somebody asks for it: who compares bytes need not wait for that.
local READ = {}
for name in ("events tools others comments text reasoning refusal ends behind done error finish finishes usage document"):gmatch "%S+" do READ[name] = true end

local exchange_mt = {}
function exchange_mt.__index(x, name)
  if not READ[name] or rawget(x, "is_read") or not rawget(x, "is_answered") then return Exchange[name] end
  x.is_read = true
  x:read()
  return rawget(x, name)
end

-- ---- what the stream asked for

local EPOCH = 1000000                                    -- ms of the world's clock at which entries say 0 (testing_world.h)

-- A try is live while its upstream may speak. A hedge is a second one beside the first; the host's number (0 or 1) tells them apart.
local function begin_try(x, e)
  local body = json.decode(e.body)
  x.upstream[#x.upstream + 1] = setmetatable({ target = e.target, url = e.url, headers = e.headers, body = body, raw = e.body }, { __index = body })
  x.last = { number = #x.upstream, which = e.which, due = math.floor(e.at * 1000 + EPOCH + 0.5), tool_calls = 0 }
  x.live[e.which] = x.last
end

local takes = {
  write = function(x, e) x.wire[#x.wire + 1] = e end,
  head = function(x, e) x.status, x.headers, x.body = e.status, e.headers, e.body end,
  attempt = begin_try,
  hold = function(x, e) if x.live[e.which] then x.live[e.which].held = true end end,
  release = function(x, e) if x.live[e.which] then x.live[e.which].held = false end end,
  cancel = function(x, e) x.canceled, x.live[e.which] = true, nil end,
  finish = function(x, e) x.live[e.which] = nil end,
  closed = function(x, e) x.closed, x.tags, x.held_max, x.why = true, e.tags, e.held_max, e.why end,
  log = function(x, e) x.logs[#x.logs + 1] = logs.read(e.line) end,
  service = function(x, e) x:asked(e) end,
}
takes.reply = takes.head

function Exchange:take(said)
  for _, entry in ipairs(said) do
    self.log[#self.log + 1] = entry
    local take = takes[entry.what]
    if take then take(self, entry) end
  end
end

-- ---- services

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
  local handler, failure = self.services[entry.service], self.fail and self.fail()
  if entry.command then return self:commanded(entry, handler, failure) end
  if handler == nil and not self.fail then
    blame.blame(('the service "%s" was called (%s %s), but has no script: services = { %s = function(call) ... end }'):format(
      entry.service, entry.method, entry.target, entry.service))
  end
  local path, query = entry.target:match "^([^?]*)%??(.*)$"
  local ok, body = pcall(json.decode, entry.body or "")
  local call = { service = entry.service, method = entry.method, path = path, query = decoded(query), headers = entry.headers, body = entry.body, json = ok and body or nil }
  self.calls[#self.calls + 1] = call
  local answer, latency = failure and failure.answer or handler, failure and failure.after
  if type(answer) == "function" then answer, latency = answer(call) end
  self.pending[#self.pending + 1] = { id = entry.id, answer = answer, at = self.world:now() + blame.milliseconds(latency or "0ms") }
end

-- A Redis server: its script gets the command, and returns what it is answered; without one, the server in memory does.
function Exchange:commanded(entry, handler, failure)
  local call = { service = entry.service, command = entry.command }
  self.calls[#self.calls + 1] = call
  local answer, latency = handler, nil
  if failure then
    answer, latency = failure.answer.fail and failure.answer or { fail = "broken" }, failure.after
  elseif handler == nil then
    answer = self.redis(entry.service)(call)
  elseif type(handler) == "function" then
    answer, latency = handler(call)
  end
  self.pending[#self.pending + 1] = { id = entry.id, answer = answer, is_reply = true, at = self.world:now() + blame.milliseconds(latency or "0ms") }
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
  if p.is_reply then
    if type(a) == "table" and a.fail then return self:take(self.world:answer(self.id, p.id, a.fail)) end
    return self:take(self.world:answer(self.id, p.id, "ok", 200, nil, redis.reply(a)))
  end
  if a == nil then return self:take(self.world:answer(self.id, p.id, "connect")) end
  if type(a) == "string" then a = { body = a } end
  if a.fail then return self:take(self.world:answer(self.id, p.id, a.fail)) end
  local headers = a.headers or (a.json ~= nil and { ["content-type"] = "application/json" }) or nil
  self:take(self.world:answer(self.id, p.id, "ok", a.status or 200, headers, a.json ~= nil and json.encode(a.json) or a.body or ""))
end

-- ---- time

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

local function may_speak(x)
  for _, try in pairs(x.live) do if not try.held then return true end end
  return false
end

-- Time passes until the stream waits for its upstream, not for one of its own hooks or Lua models.
function Exchange:settle()
  for _ = 1, 100000 do
    local alarm, i = self.world:alarm(self.id), self:first_pending()
    if self.closed or not (alarm or i) or may_speak(self) or self.is_slow then return end
    local wait = i and math.max(0, self.pending[i].at - self.world:now())
    self:pass(wait and alarm and math.min(wait, alarm) or wait or alarm)
  end
  error "the stream never comes to rest"
end

-- ---- the upstream

local function end_try(x, try, code)
  try.over, x.live[try.which] = true, nil
  x:take(x.world:finish(x.id, try.which, code))
end

local actions = {
  { "wait", function(x, ms, _, try) try.due = x.world:now() + ms end },
  { "status", function(x, status, step, try)
    x:take(x.world:head(x.id, try.which, status, step.headers))
    if step.body then x:take(x.world:bytes(x.id, try.which, step.body)) end
    end_try(x, try, "done")
  end },
  { "head", function(x, status, step, try) try.headed = true; x:take(x.world:head(x.id, try.which, status, step.headers)) end },
  { "ends", function(x, code, _, try) end_try(x, try, code) end },
  { "gone", function(x) x:take(x.world:gone(x.id)) end },
  { "slow", function(x, slow) x.is_slow = slow; x:take(x.world:slow(x.id, slow)) end },
  { "shutdown", function(x) x:take(x.world:shutdown(x.id)) end },
}

function Exchange:bytes(try, bytes, cut)
  if not try.headed then
    try.headed = true
    self:take(self.world:head(self.id, try.which, 200, { ["content-type"] = "text/event-stream" }))
  end
  for from = 1, #bytes, cut or #bytes do
    self:take(self.world:bytes(self.id, try.which, bytes:sub(from, from + (cut or #bytes) - 1)))
  end
end

function Exchange:step(try, step, cut)
  local bytes = upstreams.bytes(step, try.tool_calls)
  if bytes then
    if type(step) == "table" and step.tool then try.tool_calls = try.tool_calls + 1 end
    return self:bytes(try, bytes, cut)
  end
  for _, action in ipairs(actions) do
    local value = step[action[1]]
    if value ~= nil then return action[2](self, value, step, try) end
  end
end

-- Whose script goes on first; when no upstream speaks any more, what else the last one's says (the client leaves).
function Exchange:next_try()
  local first
  for which = 0, 1 do
    local try = self.live[which]
    if try and not try.over and (not first or try.due < first.due or (try.due == first.due and try.number < first.number)) then first = try end
  end
  if not first and next(self.live) == nil and self.last and not self.last.over then first = self.last end
  return first
end

-- Time passes to that moment, or to what happens before it.
function Exchange:pass_towards(due)
  local now, alarm, i = self.world:now(), self.world:alarm(self.id), self:first_pending()
  self:pass(math.max(0, math.min(due - now, alarm or math.huge, i and self.pending[i].at - now or math.huge)))
end

-- A try that its script does not end is ended well.
function Exchange:play(upstream, cut, recut)
  local next_step = upstreams.player(upstream, recut, self.fail and upstreams.steps.break_with "upstream_connect_failed")
  while not self.closed do
    local try = self:next_try()
    if not try then return end
    if try.due > self.world:now() then
      self:pass_towards(try.due)
    else
      local step = next_step(self.upstream[try.number], try.number)
      if step ~= nil then
        self:step(try, step, cut)
      else
        self:bytes(try, "data: [DONE]\n\n", cut)
        try.over = true
      end
      self:settle()
    end
  end
end

-- ---- what reached the client, read as an EventSource would

-- An event: what was sent, and beside it `at`, when: seconds on a clock that stands at 1000 when the client asks.
local function timed(value, at) return setmetatable(value, { __index = { at = at } }) end

function Exchange:event(value, at)
  self.events[#self.events + 1] = timed(value, at)
  told.add(self, value)
end

function Exchange:read()
  self.events, self.tools, self.others, self.comments, self.text, self.reasoning, self.refusal, self.ends, self.behind = {}, {}, {}, 0, "", "", "", 0, false
  local rest = ""
  for _, entry in ipairs(self.wire) do
    local at = 1000 + entry.at - self.began
    rest = (rest .. entry.bytes):gsub("(.-)\n\n", function(block)
      local bytes = block:match "^data: (.*)$" or block:match "^event: [^\n]*\ndata: (.*)$"
      if block:sub(1, 1) == ":" then
        self.comments = self.comments + 1
      else
        self.behind = self.behind or self.ends > 0         -- what is sent behind the end is never right
        if bytes == "[DONE]" then
          self.done, self.ends = true, self.ends + 1
        elseif bytes then
          self:event(assert(json.decode(bytes)), at)
        end
      end
      return ""
    end)
  end
  local body = not self.error and self.body and (self.headers["content-type"] or self.headers["Content-Type"] or ""):find("json", 1, true) and json.decode(self.body)
  if type(body) ~= "table" then return end
  self.document = body
  if self.status >= 400 then self.error = told.failure(body) else self:event(body, self.answered_at / 1000 - self.began) end
end

-- ---- the whole

-- The upstream of a started exchange does what its script says; the exchange then tells what reached the client. recut: of shaking.
function Exchange:answer(upstream, cut, recut)
  if upstream then self:play(upstream, cut, recut) end
  self.is_answered, self.answered_at = true, self.world:now()
  return self
end

function Exchange:begin(said, id)
  self.id = id
  self:take(said)
end

local M = {}

local function new(world, services, servers, fail)
  return setmetatable({ world = world, log = {}, logs = {}, wire = {}, upstream = {}, headers = {}, calls = {}, pending = {}, tags = {}, live = {},
    began = world:now() / 1000 - 1000,                   -- on the clock of what is written down
    services = services, redis = servers, fail = fail }, exchange_mt)
end

-- Starts one: asks as world:ask wants it, and leaves the model asked but silent. fail: of fuzzing; called for each call of a service, what it returns
-- { answer =, after = } is answered in place of its script. What has no script then cannot be reached.
-- servers(name): what answers for a Redis server that has no script.
function M.start(world, request, services, fail, servers)
  local x = new(world, services, servers, fail)
  x:begin(world:ask(request))
  x:settle()
  return x
end

-- Runs the policies' inits to their end. nil, or what is wrong.
function M.init(world, services, servers)
  local x = new(world, services, servers)
  x:begin(world:init())
  x:settle()
  return x.why
end

return M
