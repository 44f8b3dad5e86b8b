-- One question, one streamed answer: GET ?q=... in, `data: {"token":"..."}` events out, for a browser's EventSource.
local sluice = require "sluice"

local M = { name = "token" }

M.front = {
  methods = "GET, HEAD, OPTIONS",
  content = { before = 'data: {"token":', after = "}\n\n" },
  done    = "data: [DONE]\n\n",
}

function M.front.read(req)
  req.messages = { { role = "user", content = sluice.trim(req.query.q or "") } }
end

function M.front.error(err)
  return sluice.json.order({ error = err.message, code = err.code }, { "error", "code" })
end

return M
