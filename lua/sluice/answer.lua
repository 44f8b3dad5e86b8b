-- The answer as a front with functions tells it: the table `answer`, and the calls that script/front.c makes at the edges of its blocks. Each takes
-- (x, the front's function, sequence, ...) and returns the bytes, what stands around a delta, the sequence that goes on, and what stands behind a delta with logprobs.
local host = require "sluice.host"
local record = require "sluice.record"
local shown = require "sluice.shown"
local verdict = require "sluice.verdict"

local REQ, ID, TARGET, ROUTE, ANSWER, ASKED = record.REQ, record.ID, record.TARGET, record.ROUTE, record.ANSWER, record.ASKED

local M = {}

-- Made when the request was read: what the client asked for, whatever policies change later.
function M.begin(x, req)
  local _, wall = host.now()
  local params = rawget(req, "params")
  x[ASKED] = { id = x[ID], created = wall // 1000, model = rawget(req, "model"), stream = rawget(req, "stream") == true, include_usage = rawget(req, "include_usage"),
    logprobs = params and params.logprobs == true or nil, request = req }
  if params and params.store == false then x[ASKED].store = false end
  M.again(x)
end

-- What was told of the answer never left: it begins anew, and what the front kept of it is forgotten.
function M.again(x)
  if not x[ASKED] then return end
  local answer = { sequence = 0, finish = {}, n = 1 }
  for name, value in pairs(x[ASKED]) do answer[name] = value end
  x[ANSWER] = answer
end

local function text(v, what)
  if v == nil or type(v) == "string" then return v end
  error(("the front's %s returned a %s, not a text"):format(what, type(v)), 0)
end

local function with(x, sequence)
  local answer = x[ANSWER]
  answer.sequence = sequence
  if not answer.model then answer.model = x[TARGET] end
  return answer
end

local function counts(input, output, cached, reasoning, cache_written)
  return { input = input, output = output, cached = cached, reasoning = reasoning, cache_written = cache_written }
end

function M.said(x, fn, sequence, ...)
  local answer = with(x, sequence)
  answer.usage = counts(...)
  return text(fn(answer), "begin"), nil, nil, answer.sequence
end

function M.open(x, fn, sequence, choice, channel, index, _, _, signature)
  local answer = with(x, sequence)
  local bytes, before, after, after_logprobs = fn(answer, { choice = choice, channel = channel, index = index, signature = signature })
  return text(bytes, "open"), text(before, "open"), text(after, "open"), answer.sequence, text(after_logprobs, "open")
end

-- As JSON that is written already: it may be long.
local function logprobs_of(items)
  if items and items ~= "" then return host.json.raw("[" .. items .. "]") end
end

function M.close(x, fn, sequence, choice, channel, index, said, logprobs, signature)
  local answer = with(x, sequence)
  local block = { choice = choice, channel = channel, index = index, text = said, logprobs = logprobs_of(logprobs), signature = signature }
  return text(fn(answer, block), "close"), nil, nil, answer.sequence
end

-- What the front writes for a delta's logprobs.
function M.logprobs(x, fn, sequence, choice, channel, index, _, list)
  return host.json.encode(fn(with(x, sequence), host.json.decode(list), { choice = choice, channel = channel, index = index }))
end

local function some(v) return v ~= "" and v or nil end

function M.tool_call(x, fn, sequence, choice, index, id, name, arguments, signature)
  local answer = with(x, sequence)
  return text(fn(answer, { choice = choice, index = index, id = id, name = name, arguments = arguments, signature = some(signature) }), "tool"), nil, nil, answer.sequence
end

local function ended(x, sequence, words, stop_sequences, tokens, ...)
  local answer = with(x, sequence)
  local usage = shown.usage_of(x, tokens, ...)
  answer.finish, answer.stop_sequences, answer.usage = words, stop_sequences, counts(...)
  answer.usage.input, answer.usage.output, answer.usage.estimated = usage.input, usage.output, usage.estimated
  return answer
end

function M.finished(x, fn, sequence, ...)
  local answer = ended(x, sequence, ...)
  return text(fn(answer), "finish"), nil, nil, answer.sequence
end

-- blocks: lists of choice, channel or "tool", text, id, name, logprobs, signature.
function M.whole(x, fn, sequence, words, stop_sequences, tokens, input, output, cached, reasoning, cache_written, blocks)
  local answer = ended(x, sequence, words, stop_sequences, tokens, input, output, cached, reasoning, cache_written)
  answer.blocks = {}
  for i, b in ipairs(blocks) do
    if b[2] == "tool" then
      answer.blocks[i] = { choice = b[1], tool = { id = b[4], name = b[5], arguments = b[3], signature = some(b[7]) } }
    else
      answer.blocks[i] = { choice = b[1], channel = b[2], text = b[3], logprobs = logprobs_of(b[6]), signature = some(b[7]) }
    end
  end
  local document = fn(answer)
  if type(document) ~= "table" then error("the front's whole returned no table", 0) end
  return host.json.encode(document)
end

-- A failure within the stream. fields: as err_of of exchange.lua takes them.
function M.fault(x, fn, sequence, front_error, ...)
  local err, body = M.error_of(x, front_error, ...)
  local answer = x[ANSWER]
  if not fn or not answer then return "data: " .. host.json.encode(body) .. "\n\n" end
  with(x, sequence)
  return text(fn(answer, err, body), "fault"), nil, nil, answer.sequence
end

-- A front that answers by itself: its document, or the verdict that there is none. names: the models that this route's clients may ask for.
function M.respond(x, fn)
  local route, names = x[ROUTE], {}
  for i, name in ipairs(route.offers and route.offers.names or route.plan) do names[i] = name end
  local document = fn(x[REQ], names)
  if verdict.is(document) then return document end
  if type(document) ~= "table" then error("the front's respond returned no table", 0) end
  return host.json.encode(document)
end

return M
