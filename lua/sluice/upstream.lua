-- What script/upstream.c asks of a provider's dialect: the request for the upstream, what a rare event means, what an error answer says.
local host = require "sluice.host"
local fidelity = require "sluice.fidelity"
local frozen = require "sluice.frozen"
local record = require "sluice.record"
local request = require "sluice.request"
local shown = require "sluice.shown"
local step = require "sluice.step"
local verdict = require "sluice.verdict"

local REQ, ROUTE, TRY, ANSWER = record.REQ, record.ROUTE, record.TRY, record.ANSWER

local M = {}

local CHOICES_MAX = 16                                  -- as script/gateway.h says

-- ---- the request

-- What the client sent, read once more, as if no policy had touched it.
local function untouched(x, read)
  local req = x[REQ]
  local again = setmetatable({ rawget(req, 1), body = rawget(req, "body") }, request.req_mt)
  read(again)
  return again
end

-- The messages with the text so far behind them, said by the assistant.
local function with_prefill(messages, so_far)
  local out = table.move(messages, 1, #messages, 1, {})
  local last = out[#out]
  if last and last.role == "assistant" and type(last.content) == "string" and not last.tool_calls then
    local longer = {}
    for name, value in pairs(last) do longer[name] = value end
    longer.content = last.content .. so_far
    out[#out] = longer
  else
    out[#out + 1] = { role = "assistant", content = so_far }
  end
  return setmetatable(out, debug.getmetatable(messages))
end

-- What the dialect makes of a request that goes on with a text. The request itself stays as policies left it.
local function ask_to_continue(ask, req, model, so_far, needs)
  local messages = rawget(req, "messages")
  rawset(req, "messages", with_prefill(messages, so_far))
  local ok, r = pcall(ask, req, model)
  rawset(req, "messages", messages)
  if not ok then error(r, 0) end
  if type(r) == "table" and type(r.body) == "table" then
    for name, value in pairs(needs or {}) do r.body[name] = value end
  end
  return r
end

-- What a request says, to be compared: not only what its provider is told of it.
local function said(req)
  return host.json.encode { rawget(req, "messages") or {}, rawget(req, "params") or {}, rawget(req, "tools") or {} }
end

local function as_text(x, req, ask, model, r, same, read, continues)
  local body = r.body
  if type(body) == "string" then return body end
  if type(body) ~= "table" then error("the dialect's request returned no body", 0) end
  local sent = same and rawget(x[REQ], "body")
  if not sent then return host.json.encode(body) end
  local was, was_anew = body, r.anew
  local again = (x[ROUTE].touched or continues) and untouched(x, read)
  if again and (continues or said(req) ~= said(again)) then
    local other = ask(again, model)
    was, was_anew = other.body, other.anew
    if type(was) ~= "table" then was = {} end
  end
  return fidelity.encode(body, was, sent, r.anew, was_anew)
end

-- A client that does not stream, and an answer that may pass as it is: it is asked for as one document.
local function as_document(r)
  if type(r.body) ~= "table" then return false end
  r.body.stream, r.body.stream_options = nil, nil
  return true
end

local function check(r)
  if type(r) ~= "table" then error(("the dialect's request returned %s, not a table"):format(type(r)), 0) end
  if type(r.path) ~= "string" or not (r.path == "" or r.path:find("^[/?][^%s%c#]*$")) then error("the dialect's request returned no path that begins with /", 0) end
end

local function header_list(own, try)
  local headers, names = {}, {}
  if try then own = shown.with_headers(own, try.headers) end
  for name in pairs(own) do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then error(("the dialect's request returned %q as a header name"):format(tostring(name)), 0) end
    names[#names + 1] = name
  end
  host.table.sort(names)
  for _, name in ipairs(names) do headers[#headers + 1], headers[#headers + 2] = name, own[name] end
  return headers
end

local function choices(req)
  local n = rawget(req, "params") and req.params.n
  return math.type(n) == "integer" and n > 1 and n or 1
end

local function wants_logprobs(req, answer)
  return answer ~= nil and answer.logprobs == true and rawget(req, "params") ~= nil and req.params.logprobs == true
end

-- What the dialect wants to send: path, { name, value, name, value ... }, body text, whether the answer's bytes pass, whether it streams, how many
-- choices, whether the client is told logprobs; or the dialect's verdict. A header's value may be a list whose parts (texts, secrets) C joins. same: front
-- and provider speak the same; may_pass: nobody here needs to understand the answer. so_far: the text that it is to go on with, if any; needs: what the
-- body must say for that. changed_by: the policy that may change the answer's text.
function M.request(x, ask, model, same, may_pass, read, so_far, needs, changed_by)
  local try, answer = x[TRY], x[ANSWER]
  local req = try or x[REQ]
  if not ask then return verdict.reject(400, "operation_not_supported", ("the model \"%s\" makes no embeddings"):format(model.name)) end
  local n = choices(req)
  if n > CHOICES_MAX then return verdict.reject(400, "invalid_request", ("'n' is at most %d here"):format(CHOICES_MAX)) end
  local logprobs = wants_logprobs(req, answer)
  if logprobs and changed_by then
    return verdict.reject(400, "param_not_supported", ("'logprobs' cannot be told here: the policy \"%s\" may change the text, and they would tell it as it was"):format(changed_by))
  end
  local r
  if so_far then r = ask_to_continue(ask, req, model, so_far, needs) else r = ask(req, model) end
  if verdict.is(r) then return r end
  check(r)
  local pass = same and may_pass and answer ~= nil
  local stream = not (pass and not answer.stream and as_document(r))
  if answer then answer.n = n end
  return r.path, header_list(r.headers or {}, try), as_text(x, req, ask, model, r, same, read, so_far ~= nil), pass, stream, n, logprobs
end

-- ---- rare events

local CHANNELS = step.CHANNELS
local TEXT, TOOL, FINISH, USAGE, MODEL, ERROR, DONE, LOGPROBS, SIGNATURE = step.TEXT, step.TOOL, step.FINISH, step.USAGE, step.MODEL, step.ERROR, step.DONE, step.LOGPROBS,
  step.SIGNATURE

local ops

local function add(kind, choice)
  local op = { kind, choice or 0 }
  if not ops then error("out is used after the dialect's event has returned", 3) end
  ops[#ops + 1] = op
  return op
end

local function need(v, kind, what)
  if v ~= nil and type(v) ~= kind then error(("%s must be a %s, is a %s"):format(what, kind, type(v)), 3) end
  return v
end

local function channel_of(channel, what)
  return CHANNELS[channel] or error(('%s: a channel is "content", "reasoning" or "refusal", not %q'):format(what, tostring(channel)), 3)
end

local out = frozen.library("out", {
  text = function(_, channel, text, choice)
    local op = add(TEXT, choice)
    op[3], op[4] = channel_of(channel, "out:text"), need(text, "string", "out:text's text") or ""
  end,
  -- list: of the tokens of text that was told just before, as OpenAI's chat completions have them: { token, logprob, bytes, top_logprobs }.
  logprobs = function(_, channel, list, choice)
    local op = add(LOGPROBS, choice)
    op[3], op[4] = channel_of(channel, "out:logprobs"), host.json.encode(host.json.array(need(list, "table", "out:logprobs' list") or {}))
  end,
  -- The block of reasoning ends here, and its model wants this back with it ("": nothing); behind no text of reasoning: it is all there is of a block.
  signature = function(_, text, choice) add(SIGNATURE, choice)[4] = need(text, "string", "out:signature's text") end,
  tool = function(_, t)
    local op = add(TOOL, need(t, "table", "out:tool's argument").choice)
    op[4], op[5], op[6], op[7] = need(t.arguments, "string", "arguments"), need(t.name, "string", "name"), need(t.id, "string", "id"), t.index
    op[13] = need(t.signature, "string", "signature")
  end,
  -- stop_sequence: the text that ended it, where that is told.
  finish = function(_, word, choice, stop_sequence)
    local op = add(FINISH, choice)
    op[4], op[5] = need(word, "string", "out:finish's word"), need(stop_sequence, "string", "out:finish's stop sequence")
  end,
  usage = function(_, u)
    local op = add(USAGE)
    op[8], op[9], op[10], op[11], op[12] = u.input, u.output, u.cached, u.reasoning, u.cache_written
  end,
  model = function(_, name) add(MODEL)[4] = need(name, "string", "out:model's name") end,
  error = function(_, e)
    local op = add(ERROR)
    op[4], op[5] = need(e.message, "string", "message"), need(e.code, "string", "code")
  end,
  done = function() add(DONE) end,
})

-- What an event means, as a list of steps; nil: it cannot be read.
function M.event(read, text)
  local event = host.json.decode(text)
  if event == nil then return nil end
  ops = {}
  local mine = ops
  read(event, out)
  ops = nil
  return mine
end

-- ---- error answers

local function word(v) return type(v) == "string" and v ~= "" and v or nil end

-- message, code, type, param of an answer that is no 200; each may be nil.
function M.upstream_error(read, status, text)
  local body = host.json.decode(text)
  if type(body) ~= "table" then body = nil end
  local e
  if read then
    e = read(status, body)
  elseif body and type(body.error) == "table" then
    e = body.error
  elseif body and word(body.error) then
    e = { message = body.error }
  end
  if type(e) ~= "table" then return nil end
  return word(e.message), word(e.code), word(e.type), word(e.param)
end

-- ---- embeddings

-- The front's document for an upstream's; nil: the dialect says that this is none.
function M.embedded(x, read, text)
  local document = host.json.decode(text)
  local own = document ~= nil and read(document, x[REQ]) or nil
  if own == nil then return nil end
  if type(own) ~= "table" then error("it returned no table", 0) end
  return host.json.encode(own)
end

return M
