-- OpenAI's embeddings: each text of the input is a user's message, so that policies see and may change it. The model's document is the answer.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"

local M = { name = "openai_embeddings" }

M.front = { methods = "POST, OPTIONS", operation = "embed", speaks = "openai", error = common.error }

local TAKEN = common.set_of "input"

M.front.read = common.refusing(function(req)
  local body = common.body(req)
  local input = type(body.input) == "string" and { body.input } or common.list(body.input, "input", "a text or a list of texts")
  if #input == 0 then common.refuse "'input' must hold at least one text" end
  req.messages = {}
  for i, text in ipairs(input) do
    if type(text) == "number" or sluice.json.is_array(text) then common.refuse("'input' must be text: a list of tokens cannot be read here", "param_not_supported") end
    req.messages[i] = { role = "user", content = common.text(text, ("input[%d]"):format(i - 1)) }
  end
  common.common(req, body, TAKEN)
end)

return M
