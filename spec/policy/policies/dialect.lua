-- For specs of dialects: calls the functions of one in the sandbox, with arguments that are JSON texts, and replies with what they return.
local sluice = require "sluice"

local P = sluice.policy {
  name = "dialect",
  options = { dialect = { type = "string", doc = "A dialect of Sluice." } },
}

local dialects = { anthropic = require "sluice.dialects.anthropic", shared = { shared = require "sluice.dialects.shared" } }

-- What the core gives to a provider's `event`: writes down what it is told.
local function recorder(told)
  local out = {}
  for _, name in ipairs { "text", "tool", "finish", "usage", "model", "error", "done" } do
    out[name] = function(_, ...) told[#told + 1] = sluice.json.array { name, ... } end
  end
  return out
end

local function is_verdict(v) return type(v) == "table" and tostring(v):find "^<sluice%.reject>" ~= nil end

-- calls: a list of { part, function, argument... }. An argument is a JSON text, or "@answer" (one table for all calls, begun as the JSON text `answer`; of its
-- list `by_choice` the table `finish` is made, whose first member is 0), "@out", "@req" (a request with `body`, a text, and `headers`).
-- The reply: { returned = a list for each call, told = what out was told, req = what was read }; or the refusal that a call returned.
function P.validate(req, ctx)
  local want = req.params
  local dialect = dialects[ctx.options.dialect]
  local told = sluice.json.array {}
  local answer = sluice.json.decode(want.answer or "{}")
  if answer.by_choice then answer.finish, answer.by_choice = { [0] = answer.by_choice[1] }, nil end
  local shared = { ["@answer"] = answer, ["@out"] = recorder(told), ["@req"] = { body = want.body, headers = want.headers, query = {} } }
  local returned = sluice.json.array {}

  for i, call in ipairs(want.calls) do
    local args = {}
    for k = 3, #call do args[k - 2] = shared[call[k]] or sluice.json.decode(call[k]) end
    local results = { dialect[call[1]][call[2]](table.unpack(args)) }
    if is_verdict(results[1]) then return results[1] end
    returned[i] = sluice.json.array(results)
  end
  local asked = shared["@req"]
  asked.body, asked.headers, asked.query = nil, nil, nil
  return sluice.reply(sluice.json.encode { returned = returned, told = told, req = asked })
end

return P
