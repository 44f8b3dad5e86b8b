-- Specs for gateways and policies: the real stream machine and the real sandbox, a virtual clock, scripted upstreams. Run by `sluice test DIR`.
--
--   local t = require "sluice.testing"
--   local g = t.load { policies = { "policies.pii" } }
--   local r = g:chat { user = "I am jane@example.com", upstream = { "Hello <EM", "AIL_1>" } }
--   assert.equal("Hello jane@example.com", r.text)
--
-- An upstream is a list of steps, or one such list for each model by its name: texts and what sluice.testing.upstream tells. A service is a function(call)
-- { service, method, path, query, headers, body, json } that returns { json = }, { status =, headers =, body = }, a text or nil (it cannot be reached), and the
-- time it takes ("50ms"). A Redis server needs none: each gateway has one of its own in memory, with the commands that most use (sluice.testing.redis). A function(call)
-- { service, command = { "GET", "key" } } in its place returns the reply, { error = "ERR ..." } or { fail = "timeout" }, and the time.
--
-- What came of it: status, headers, text, reasoning, tools, finish, error { code, message ... }, events (as sent; each also has `at`, seconds on a clock that
-- stands at 1000 when the client asks), done, comments; upstream: the requests that models got (target, url, headers, body, and the body's members
-- directly: .messages); calls: what services were asked; tags (of ctx:tag, as texts); logs: log lines { level, event, line, and each field as a text };
-- held_max: the most bytes that one filter held back.
--
-- Each exchange with text from an upstream is asked for again under ten other cuttings of that text, with clock, counters, limiters and caches as
-- before; then, if it was a stream, as one document, and g:chat's questions through the fronts of OpenAI's, Anthropic's and the AI SDK's clients. A result that
-- depends on any of that fails. no_shake = true leaves it out, as do `cut` and scripts in which the client leaves or stops reading; one_front = true only the
-- other fronts, for policies that tell them apart (a cache).
-- `sluice test --fuzz N` asks N times more under random cuttings, and N times with services that fail here and there (testing/fuzz.lua).
--
-- secrets = { "4111 1111 1111 1111" }: texts that must not reach the client, in whatever run, neither whole nor over several pieces.
local inside, world = pcall(require, "sluice.world")     -- `sluice test`; else a plain busted, with sluice/core.so
if not inside then world = require "sluice.core" end
local json = require "sluice.testing.json"
local blame = require "sluice.testing.blame"
local exchange = require "sluice.testing.exchange"
local fronts = require "sluice.testing.fronts"
local fuzz = require "sluice.testing.fuzz"
local gateway = require "sluice.testing.gateway"
local golden = require "sluice.testing.golden"
local leaks = require "sluice.testing.leaks"
local logs = require "sluice.testing.logs"
local redis = require "sluice.testing.redis"
local shake = require "sluice.testing.shake"
local upstream = require "sluice.testing.upstream"
local wants = require "sluice.testing.wants"

local M = {}

for name, make in pairs(upstream.steps) do M[name] = make end      -- t.wait, t.fail, t.close ...
M.lua = gateway.lua
M.log_line = logs.read
M.golden = golden                                        -- t.golden(name, value): what spec/golden/NAME.json says; `sluice test DIR --update` writes it

local open = setmetatable({}, { __mode = "k" })          -- gateways that t.advance moves

-- ---- asking

local Gateway = {}
Gateway.__index = Gateway

-- The Redis server of that name, as it is while specs give it no script: g:redis "shared" { "SET", "key", "1" } asks it as a policy would.
function Gateway:redis(name)
  local server = self.servers[name] or redis.server(function() return self.world:now() end, world.sha1)
  self.servers[name] = server
  return server
end

local function save(self)
  local mark, servers = self.world:save(), {}
  for name, server in pairs(self.servers) do servers[name] = server:save() end
  return { mark = mark, servers = servers }
end

local function restore(self, before)
  self.world:restore(before.mark)
  for name, server in pairs(self.servers) do server:restore(before.servers[name]) end
end

local function encode(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- Each request comes from an address of its own unless `ip` says otherwise: limits by address are for specs that mean them.
local asked = 0
local function next_address()
  asked = asked + 1
  return ("10.%d.%d.%d"):format(asked >> 16 & 255, asked >> 8 & 255, asked & 255)
end

-- how: { recut =, cut =, fail = } of a run that is not the first (shake.lua, fuzz.lua).
local function start(self, want, request, how)
  request.ip = request.ip or want.ip or next_address()
  return exchange.start(self.world, request, setmetatable(want.services or {}, { __index = self.services }), how and how.fail,
    function(name) return self:redis(name) end)
end

-- Asks, and asks again: shaken, and as `sluice test --fuzz` wants it. chat: what g:chat was given.
local function ask(self, want, request, chat)
  local function once(how)
    local script, accidents = want.upstream or how.fail and {} or nil, self:count "lua_accidents"
    local x = start(self, want, how.request or request, how):answer(script, how.cut or want.cut, how.recut)
    x.accidents = self:count "lua_accidents" - accidents
    leaks.check(x, want.secrets)
    return x
  end
  local texts, moments = false, false
  if want.upstream ~= nil then texts, moments = upstream.kinds(want.upstream) end
  local cuts = texts and not moments and not want.no_shake and not want.cut
  local fails = wants.fuzz > 0 and not moments and next(want.services or self.services) ~= nil
  if not cuts and not fails then return once {} end
  local before = save(self)
  local first = once {}
  local after = save(self)
  local function again(how)
    restore(self, before)
    return once(how)
  end
  world.mute(true)                                       -- the first time has said it
  local ok, why = pcall(function()
    if cuts then shake.shake(first, again, fronts.ways(request, not want.one_front and chat or nil)) end
    fuzz(first, again, cuts)
  end)
  world.mute(false)
  restore(self, after)
  if not ok then error(why, 0) end
  return first
end

local function set_of(words)
  local set = {}
  for word in words:gmatch "%S+" do set[word] = true end
  return set
end

local ASK = set_of "q query path method headers ip body upstream services cut no_shake secrets"
local CHAT = set_of "user messages model params tools key stream method headers ip upstream services cut no_shake one_front secrets"

local function question(want, name)
  blame.known(want, ASK, name)
  return {
    method = want.method, path = want.path or "/api/stream", query = want.query or (want.q and "q=" .. encode(want.q) or ""),
    headers = want.headers or { host = "test" }, body = want.body,
  }
end

-- Asks a gateway with a front of its own: q or query, path ("/api/stream"), method, headers, ip, body.
function Gateway:ask(want) return ask(self, want, question(want, "g:ask")) end

-- Asks, and leaves the model asked but silent: local x = g:start { q = "hi" }, others meanwhile, then x:answer { "Hel", "lo" }.
function Gateway:start(want) return start(self, want, question(want, "g:start")) end

-- Asks policies: user (a text) or messages, model, params, tools; key: what ctx.key.id becomes.
function Gateway:chat(want)
  blame.known(want, CHAT, "g:chat")
  if not self.policies then blame.blame "g:chat is for t.load { policies = ... }; a gateway file has routes of its own: g:ask" end
  local headers = { host = "test", ["content-type"] = "application/json" }
  for name, value in pairs(want.headers or {}) do headers[name] = value end
  headers["x-spec-key"] = want.key
  local messages = want.messages or { want.user and { role = "user", content = want.user } }
  return ask(self, want, {
    method = want.method or "POST", path = "/chat", headers = headers,
    body = json.encode { messages = messages, model = want.model, params = want.params, tools = want.tools, stream = want.stream ~= false },
  }, { messages = messages, model = want.model, params = want.params or {}, tools = want.tools })
end

-- Time passes while nobody asks.
function Gateway:advance(duration) self.world:skip(blame.milliseconds(duration)) end
function Gateway:close() self.world:close() end
function Gateway:count(name) return self.world:count(name) end      -- a counter of src/base/metrics.h, by its name

function M.advance(duration)
  for g in pairs(open) do g:advance(duration) end
end

-- Counters, limiters and caches forget everything.
function M.forget() world.forget() end

-- ---- loading

-- A spec in DIR/spec/ speaks of DIR; one elsewhere, of its own directory.
local function folder()
  local file = blame.where() or ""
  local dir = file:match "^(.*)/[^/]*$" or "."
  if dir == "spec" then return "." end
  return dir:match "^(.*)/spec$" or dir
end

local function exists(path)
  local f = io.open(path, "r")
  if f then f:close() end
  return f ~= nil
end

-- The file beside the spec's folder, or else as it is written, from the working directory.
local function find(file, dir)
  local beside = (dir or folder()) .. "/" .. file
  if file:sub(1, 1) ~= "/" and exists(beside) then return beside end
  return file
end

-- A gateway whose policies' inits have run, or nil and what is wrong.
local function opened(w, what)
  local g = setmetatable({ world = w, services = what.services or {}, servers = {}, policies = what.policies }, Gateway)
  local why = exchange.init(w, g.services, function(name) return g:redis(name) end)
  if why then
    w:close()
    return nil, why
  end
  open[g] = true
  return g
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

-- A directory with a gateway file and what lies beside it; and the names of all, to be removed again.
local function folder_of(source, files)
  local dir = world.directory()
  local all = { write(dir .. "/gateway.lua", source) }
  for name, text in pairs(files) do all[#all + 1] = write(dir .. "/" .. name, text) end
  all[#all + 1] = dir
  return all[1], all
end

local function load_policies(what)
  local file, line = blame.where()
  local w, why = world.open(file, gateway.text(what, line), what.dir or folder())
  local g
  if w then g, why = opened(w, what) end
  if not g then error(gateway.complaints(why):gsub("\n$", ""), 0) end
  return g
end

local FILE = set_of "file source files dir env services"
local POLICIES = set_of "policies dir env services models target timeout"

-- A gateway in a world of its own. t.load "gateway.lua" or t.load { file = } or t.load { source = }: the gateway of a file, or nil and its mistakes.
-- t.load { policies = { "policies.pii", { "policies.tenants", tiers = ... } } }: policies alone, with options that are data (or t.lua), models smart, fast and
-- local and those in `models` (names, or name = { url = ... }), of which `target` answers (fast); mistakes are raised.
-- Modules lie beside the folder above the spec's, or beside `dir`. env: what sluice.env and sluice.secret see. services: what answers while policies' inits
-- run, and later unless an exchange brings its own.
function M.load(what)
  if type(what) == "string" then what = { file = what } end
  blame.known(what, what.policies and POLICIES or FILE, "t.load")
  for name, value in pairs(what.env or {}) do world.setenv(name, value or nil) end
  if what.policies then return load_policies(what) end
  local file, made = what.file and find(what.file, what.dir), {}
  if what.files then
    file, made = folder_of(what.source, what.files)
  elseif what.source then
    file = write(os.tmpname(), what.source)
    made = { file }
  end
  local w, why = world.open(file)
  for _, path in ipairs(made) do os.remove(path) end
  if not w then return nil, why end
  return opened(w, what)
end

return M
