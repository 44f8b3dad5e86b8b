-- What specs speak (g:chat of sluice.testing): one JSON object in, JSON events out that tell all there is to tell. Not for clients.
local sluice = require "sluice"

local M = { name = "spec" }

M.front = {
  methods   = "POST, OPTIONS",
  content   = { before = 'data: {"content":', after = "}\n\n" },
  reasoning = { before = 'data: {"reasoning":', after = "}\n\n" },
  tool      = { before = 'data: {"tool":', after = "}\n\n" },
  finish    = { before = 'data: {"finish":', after = "}\n\n" },
  done      = "data: [DONE]\n\n",
}

function M.front.read(req)
  local body = sluice.json.decode(req.body)
  req.messages, req.params, req.model, req.tools, req.stream = body.messages, body.params, body.model, body.tools, body.stream
end

function M.front.error(err)
  return { error = { code = err.code, message = err.message, status = err.status, type = err.type, kind = err.kind, retry_after = err.retry_after } }
end

return M
