-- OpenAI's chat completions, as most servers of models speak it.
local sluice = require "sluice"

local M = { name = "openai" }

M.provider = {
  url = "https://api.openai.com/v1",

  places = {
    content      = "choices[0].delta.content",
    reasoning    = "choices[0].delta.reasoning_content",
    refusal      = "choices[0].delta.refusal",
    finish       = "choices[0].finish_reason",
    error        = "error",
    usage_input  = "usage.prompt_tokens",
    usage_output = "usage.completion_tokens",
    tool_calls   = "choices[0].delta.tool_calls",
  },
  done = "[DONE]",
}

local ORDER = { "model", "stream", "messages" }          -- what a person who reads the wire looks for first

function M.provider.request(req, model)
  local body = {}
  for name, value in pairs(req.params) do body[name] = value end
  body.model = model.model
  body.stream = true
  body.messages = sluice.json.array(req.messages)
  if req.tools then body.tools = sluice.json.array(req.tools) end

  local headers = { ["Content-Type"] = "application/json", ["Accept"] = "text/event-stream" }
  if model.key then headers["Authorization"] = { "Bearer ", model.key } end      -- joined in C: a key is no text in Lua
  return { path = "/chat/completions", headers = headers, body = sluice.json.order(body, ORDER) }
end

return M
