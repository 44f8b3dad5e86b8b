-- What must not reach the client: g:chat { secrets = { "4111 1111 1111 1111" } }. Looked for in all that was sent, decoded: the text, the reasoning, each
-- event, tool calls, headers, the body of an answer that was no stream. Pieces are joined first, so no cut hides anything.
local json = require "sluice.testing.json"
local blame = require "sluice.testing.blame"

local M = {}

-- Calls fn(text) for every text in a value, keys too.
local function each_text(value, fn)
  if type(value) == "string" then return fn(value) end
  if type(value) ~= "table" then return end
  for k, v in next, value do
    each_text(k, fn)
    each_text(v, fn)
  end
end

-- { where, value } of all that was sent.
local function sent(x)
  local list = { { "the text", x.text }, { "the reasoning", x.reasoning }, { "a header", x.headers }, { "a tool call", x.tools }, { "an event", x.events } }
  if x.body and x.body ~= "" then
    list[#list + 1] = { "the body", x.body }
    list[#list + 1] = { "the body", (json.decode(x.body)) }
  end
  for _, entry in ipairs(x.wire) do list[#list + 1] = { "the bytes", entry.bytes } end
  return list
end

-- Where one of them was found, as a sentence, or nil.
function M.found(x, secrets)
  for _, secret in ipairs(secrets) do
    for _, part in ipairs(sent(x)) do
      local where
      each_text(part[2], function(text)
        if text:find(secret, 1, true) then where = part[1] end
      end)
      if where then return ("the secret %q reached the client, in %s"):format(secret, where) end
    end
  end
end

function M.check(x, secrets)
  if secrets == nil then return end
  if type(secrets) ~= "table" then blame.blame('secrets is a list of texts: secrets = { "4111 1111 1111 1111" }') end
  for _, secret in ipairs(secrets) do
    if type(secret) ~= "string" or secret == "" then blame.blame('secrets is a list of texts: secrets = { "4111 1111 1111 1111" }') end
  end
  local why = M.found(x, secrets)
  if why then blame.blame(why) end
end

return M
