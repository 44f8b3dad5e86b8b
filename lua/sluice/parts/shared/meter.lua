-- What parts share that bound what a key may use of something a model uses up (budget, api_keys). It is known at an answer's end only, so each try first
-- reserves what it could use, and at the end, however that came, the reservation gives way to what the model said it used or was seen to use.
--
-- A try that failed before its model began to answer used nothing; one that broke off after that and was repeated counts in full, since nobody knows.
-- What is kept of a request lies in `s`, its ctx.state or a table in there: held (the reservation), most (what was reserved), begun (its model began to answer).
local sluice = require "sluice"

local M = {}

-- A number of tokens or answers that the client names, or nil.
local function named(params, name)
  local n = params[name]
  if n == nil or n == sluice.json.null then return nil end
  n = math.type(n) and math.tointeger(n)
  if not n or n < 1 then error(sluice.reject(400, "param_invalid", name .. " must be a whole number above 0.")) end
  return n
end

-- The most tokens of the answers to this try, and whether the client named their number; if not, each has `default`.
function M.most_output(params, default)
  local said, newer = named(params, "max_tokens"), named(params, "max_completion_tokens")
  local each = (said or newer) and math.max(said or 0, newer or 0) or default
  return each * 1.0 * (named(params, "n") or 1), (said or newer) ~= nil
end

function M.ask_usage(params)
  local options = type(params.stream_options) == "table" and params.stream_options or {}
  options.include_usage = true
  params.stream_options = options
end

-- A new try begins: what the one before it reserved is settled.
function M.again(s)
  if s.held then s.held:settle(s.begun and s.most or 0) end
  s.held, s.begun = nil, false
end

-- Reserves `most` of the key's: whether it fits below the limit; if not, the seconds until it might (nil: never).
function M.reserve(s, counter, key, most, limit)
  local held, retry_in = counter:reserve(key, most, limit)
  s.held, s.most = held, most
  return held ~= nil, retry_in
end

function M.answers(s) s.begun = true end

-- The end. amount(input, output): what so many tokens use up. What was used, and whether the model said so (else it is an estimate).
function M.settle(s, usage, amount)
  local told = not usage.estimated
  local used = (s.begun or told) and amount(usage.input, usage.output) or 0
  s.held:settle(used)
  return used, told
end

return M
