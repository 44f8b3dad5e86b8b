-- What specs speak (g:chat of sluice.testing): one JSON object in, JSON events out that tell all there is to tell. Not for clients.
local sluice = require "sluice"

local M = { name = "spec" }

local function tell(value) return "data: " .. sluice.json.encode(value) .. "\n\n" end

local function around(block, name)
  return ('data: {%s"%s":'):format(block.choice > 0 and ('"choice":%d,'):format(block.choice) or "", name), "}\n\n"
end

local function choices(answer)
  local out = {}
  for i = 0, answer.n - 1 do out[i + 1] = answer.finish[i] end
  return out
end

M.front = {
  methods = "POST, OPTIONS",

  open = function(_, block) return nil, around(block, block.channel) end,
  tool = function(_, call) return tell { choice = call.choice > 0 and call.choice or nil, tool = { id = call.id, name = call.name, arguments = call.arguments } } end,
  finish = function(answer)
    local all = choices(answer)
    return tell { finish = all[1], finishes = #all > 1 and all or nil, usage = answer.usage } .. "data: [DONE]\n\n"
  end,

  whole = function(answer)
    local out, all = { content = "", reasoning = "", refusal = "", tools = sluice.json.array {} }, choices(answer)
    for _, b in ipairs(answer.blocks) do
      if b.choice > 0 then
        out.more = true
      elseif b.tool then
        out.tools[#out.tools + 1] = b.tool
      else
        out[b.channel] = out[b.channel] .. b.text
      end
    end
    out.finish, out.finishes, out.usage = all[1], #all > 1 and all or nil, answer.usage
    return out
  end,
}

function M.front.read(req)
  local body = sluice.json.decode(req.body)
  req.messages, req.params, req.model, req.tools, req.stream = body.messages, body.params, body.model, body.tools, body.stream
end

function M.front.error(err)
  return { error = { code = err.code, message = err.message, status = err.status, type = err.type, kind = err.kind, retry_after = err.retry_after } }
end

return M
