-- `sluice test --fuzz N`: an exchange is asked for again N times under random cuttings of its text and of the bytes it comes in, whose result must be the
-- same; and, where it asks services, N times more with services that fail here and there. What must hold then: no script has an accident (an error that it
-- did not raise itself), the stream has one end, and no secret leaves. Clock and shared state are as before each time.
--
-- Run k of every exchange is made from seed + k alone, so `--fuzz 1 --seed THAT` does the same again, in whatever order specs run.
local blame = require "sluice.testing.blame"
local generator = require "sluice.testing.random"
local shake = require "sluice.testing.shake"
local upstream = require "sluice.testing.upstream"
local wants = require "sluice.testing.wants"

-- Text in pieces of at most `most` characters, and in every other run the bytes in pieces too.
local function cutting(random)
  local most = random(24)
  return { recut = upstream.recutter(function() return random(most) end), cut = random(2) == 1 and random(64) or nil }
end

-- As sluice.testing.exchange wants them. A service that is silent is given up by the call's own time, or here.
local FAILURES = {
  { "timeout", function() return { answer = { fail = "timeout" }, after = "30s" } end },
  { "connect", function() return { answer = { fail = "connect" }, after = "0ms" } end },
  { "status 500", function(random) return { answer = { status = 500, body = "" }, after = random(50) .. "ms" } end },
}

-- Fails one of the first `calls` calls for sure, and each other one time in four. told: what was done, for the message.
local function failing(random, calls, told)
  local sure, n = random(calls), 0
  return function()
    n = n + 1
    if n ~= sure and random(4) > 1 then return nil end
    local name, make = table.unpack(FAILURES[random(#FAILURES)])
    told[#told + 1] = ("call %d: %s"):format(n, name)
    return make(random)
  end
end

-- The line of the log that tells of the last failure of a script.
local function last_failure(x)
  for i = #x.logs, 1, -1 do
    local l = x.logs[i]
    if l.level == "error" and l.message then
      return l.policy and ('policy "%s", %s: %s'):format(l.policy, l.hook, l.message) or l.message
    end
  end
  return "see the log"
end

local function count(x, what)
  local n = 0
  for _, entry in ipairs(x.log) do n = n + (entry.what == what and 1 or 0) end
  return n
end

-- What is wrong with how it ended, or nil.
local function wrong_end(first, x)
  local closed = count(x, "closed")
  if first.closed and closed ~= 1 then return ("the stream ended %s"):format(closed == 0 and "never" or closed .. " times") end
  if x.ends > 1 then return ("the client was told %d ends"):format(x.ends) end
  if x.behind then return "something was sent behind the end" end
  local streamed = #x.wire > 0 and x.comments < #x.wire
  if x.closed and streamed and x.ends == 0 and first.ends > 0 then return "the client was told no end" end
end

return function(first, again, cuts)
  local function run(seed, how, judge, told)
    local ok, x = pcall(again, how)
    local why = not ok and (tostring(x):gsub("^[^\n]-:%d+: ", "")) or ok and judge(x)
    if not why then return end
    local file = blame.where()
    if told and #told > 0 then why = ("%s\n  services: %s"):format(why, table.concat(told, ", ")) end
    blame.blame(("%s\n  the same again: sluice test %s --fuzz 1 --seed %d"):format(why, file or "DIR", seed))
  end

  local tally = wants.fuzzed
  if wants.fuzz > 0 and (cuts or #first.calls > 0) then tally.exchanges = tally.exchanges + 1 end
  for seed = wants.seed, wants.seed + wants.fuzz - 1 do
    if cuts then
      tally.cuttings = tally.cuttings + 1
      run(seed, cutting(generator(seed)), function(x) return shake.difference(first, x, "seed " .. seed) end)
    end
    if #first.calls > 0 then
      local random, told = generator(~seed), {}
      local how = cuts and cutting(random) or {}
      how.fail = failing(random, #first.calls, told)
      tally.failures = tally.failures + 1
      run(seed, how, function(x)
        if x.accidents > first.accidents then return "a script had an accident when a service failed: " .. last_failure(x) end
        return wrong_end(first, x)
      end, told)
    end
  end
end
