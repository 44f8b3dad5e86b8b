-- For specs of dialects (spec/policy/dialect.lua): a policy that answers with what a dialect's functions say, called in the sandbox as the core calls them.
-- The question is JSON: { call = NAME, dialect = NAME, ... }, where call is one of the functions of `calls` below; so is the answer.
local sluice = require "sluice"

local json = sluice.json

local DIALECTS = { shared = { shared = require "sluice.dialects.shared" } }
for _, name in ipairs { "anthropic", "gemini", "ollama", "openai", "openai_completions", "openai_embeddings", "openai_models", "responses", "ui" } do
  DIALECTS[name] = require("sluice.dialects." .. name)
end

local P = sluice.policy { name = "dialect" }

local function front(want) return DIALECTS[want.dialect].front end
local function provider(want) return DIALECTS[want.dialect].provider end

local function is_verdict(v) return tostring(v):find "^<sluice" ~= nil end

local calls = {}

-- The canonical request; body: what the client sent, a text or what becomes JSON.
function calls.read(want)
  local req = { body = type(want.body) == "string" and want.body or json.encode(want.body), path = want.path or "/" }
  local verdict = front(want).read(req)
  if verdict then return verdict end
  req.body, req.path = nil, nil
  return req
end

local function request(want, make)
  local req = want.body and calls.read { dialect = want.front, body = want.body } or want.req
  if is_verdict(req) then return req end
  if want.body then req.dialect = want.front end
  req.params = req.params or {}
  local before = json.encode(req)
  local made = make(req, want.model or { model = "m" })
  if json.encode(req) ~= before then error "request() changed what it was given" end
  return made
end

-- What is sent upstream, for a canonical request (req) or for one that a front reads (front, body).
function calls.request(want) return request(want, provider(want).request) end
function calls.embed(want) return request(want, provider(want).embed.request) end
function calls.embedded(want) return { answer = provider(want).embed.answer(want.doc, { model = "known", params = want.params }) } end

-- What is sent to a client: begin, then each step { channel =, texts = } or { tool = }, finish or fault.
local function blank(want)
  return { id = "0123456789abcdef01234567", created = 1731000000, model = want.model or "smart", stream = true, include_usage = want.include_usage or false, sequence = 0,
    request = want.req or { params = {}, messages = {} }, finish = {}, n = want.n or 1 }
end

local function ended(answer, want)
  for i, word in ipairs(want.finish or { "stop" }) do answer.finish[i - 1] = word end
  answer.usage = want.usage
end

function calls.play(want)
  local f, answer, out, calls_of = front(want), blank(want), {}, {}
  local function add(bytes) out[#out + 1] = bytes or "" end
  add(f.begin and f.begin(answer))
  for index, step in ipairs(want.steps) do
    local choice = step.choice or 0
    if step.tool and f.tool then
      calls_of[choice] = (calls_of[choice] or -1) + 1
      add(f.tool(answer, { index = calls_of[choice], choice = choice, id = step.tool.id, name = step.tool.name, arguments = step.tool.arguments }))
    elseif step.channel then
      local block = { choice = choice, channel = step.channel, index = index - 1 }
      local bytes, before, after = f.open(answer, block)
      add(bytes)
      for _, text in ipairs(before and step.texts or {}) do
        local n
        before, n = before, answer.sequence
        local counted, numbers = before:gsub("\1", ("%d"):format(n))
        answer.sequence = n + numbers
        add(counted .. json.encode(text) .. after)
      end
      if before and f.close then add(f.close(answer, { choice = choice, channel = step.channel, index = index - 1, text = f.gather and table.concat(step.texts) or nil })) end
    end
  end
  if want.fault then
    add(f.fault and f.fault(answer, want.fault, f.error(want.fault)) or "data: " .. json.encode(f.error(want.fault)) .. "\n\n")
  else
    ended(answer, want)
    add(f.finish(answer))
  end
  return table.concat(out)
end

-- The document for a client that does not stream, for the same steps.
function calls.whole(want)
  local answer = blank(want)
  ended(answer, want)
  answer.blocks = {}
  for i, step in ipairs(want.steps) do answer.blocks[i] = { choice = step.choice or 0, tool = step.tool, channel = step.channel, text = step.texts and table.concat(step.texts) } end
  return front(want).whole(answer)
end

-- What a rare event says, as a list of { what, ... }.
function calls.event(want)
  local said = json.array {}
  local out = {
    text = function(_, channel, text, choice) said[#said + 1] = { "text", channel, text, choice or 0 } end,
    tool = function(_, t) said[#said + 1] = { "tool", t } end,
    finish = function(_, word, choice) said[#said + 1] = { "finish", word, choice or 0 } end,
    usage = function(_, u) said[#said + 1] = { "usage", u } end,
    model = function(_, name) said[#said + 1] = { "model", name } end,
    error = function(_, e) said[#said + 1] = { "error", e } end,
    done = function() said[#said + 1] = { "done" } end,
  }
  provider(want).event(want.event, out)
  return said
end

function calls.error(want)
  if want.err then return front(want).error(want.err) end
  return provider(want).error(want.status, want.body) or {}
end

function calls.respond(want) return front(want).respond({ path = want.path }, want.names) end

-- ---- any functions, with arguments that are JSON texts

-- What the core gives to a provider's `event`: writes down what it is told.
local function recorder(told)
  local out = {}
  for _, name in ipairs { "text", "tool", "finish", "usage", "model", "error", "done", "signature", "logprobs" } do
    out[name] = function(_, ...) told[#told + 1] = json.array { name, ... } end
  end
  return out
end

-- want.calls: a list of { part, function, argument... }. An argument is a JSON text, or "@answer" (one table for all calls, begun as the JSON text `answer`; of
-- its list `by_choice` the table `finish` is made, whose first member is 0), "@out", "@req" (a request with `body`, a text, and `headers`).
-- The reply: { returned = a list for each call, told = what out was told, req = what was read }; or the refusal that a call returned.
function calls.functions(want)
  local told, returned = json.array {}, json.array {}
  local answer = json.decode(want.answer or "{}")
  if answer.by_choice then answer.finish, answer.by_choice = { [0] = answer.by_choice[1] }, nil end
  local asked = { body = want.body, headers = want.headers, query = {} }
  local shared = { ["@answer"] = answer, ["@out"] = recorder(told), ["@req"] = asked }
  for i, call in ipairs(want.calls) do
    local args = {}
    for k = 3, #call do args[k - 2] = shared[call[k]] or json.decode(call[k]) end
    local results = { DIALECTS[want.dialect][call[1]][call[2]](table.unpack(args)) }
    if is_verdict(results[1]) then return results[1] end
    returned[i] = json.array(results)
  end
  asked.body, asked.headers, asked.query = nil, nil, nil
  return { returned = returned, told = told, req = asked }
end

function P.validate(req)
  local want = json.decode(req:last_user())
  local said = calls[want.call](want)
  if is_verdict(said) then return said end
  return sluice.reply(type(said) == "string" and said or json.encode(said))
end

return P
