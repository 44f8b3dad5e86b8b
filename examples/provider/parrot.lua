-- A dialect that nobody knew: the made-up service "Parrot". It is asked by POST /squawk with { voice =, lines = { "user: hi" } } and streams a line a
-- piece: {"say":"Hel"} ... {"mood":"done","beaks":12,"feathers":3,"over":true}. In trouble it streams {"fell_off_perch":"why"}.
--
-- A provider needs no compiler: `places` are read in C for each piece, the functions run once a request.
local sluice = require "sluice"

local M = { name = "parrot" }

M.provider = {
  framing = "ndjson",
  places  = { content = "say", finish = "mood", error = "fell_off_perch", usage_input = "beaks", usage_output = "feathers" },
  done_at = "over",                                  -- the last line has "over": true
  finish_words = { done = "stop", tired = "length" },

  -- What the service is asked. What it has no word for is refused by name, never dropped.
  request = function(req, model)
    for name in pairs(req.params) do
      if name ~= "max_tokens" then return sluice.reject(400, "param_not_supported", ("'%s' cannot be told to a parrot"):format(name)) end
    end
    if req.tools then return sluice.reject(400, "param_not_supported", "'tools' cannot be told to a parrot") end
    local lines = {}
    for i, m in ipairs(req.messages) do
      if type(m.content) ~= "string" then return sluice.reject(400, "param_not_supported", ("'messages[%d].content' must be a text for a parrot"):format(i - 1)) end
      lines[i] = m.role .. ": " .. m.content
    end
    return {
      path    = "/squawk",
      headers = { ["x-cracker"] = model.key, ["content-type"] = "application/json" },
      body    = { voice = model.model, lines = sluice.json.array(lines), breath = req.params.max_tokens },
    }
  end,

  -- What an answer that is no 200 says of itself.
  error = function(_, body)
    return body and { message = body.why }
  end,
}

return M
