-- OpenAI's legacy completions: one prompt in, its continuation out. The prompt becomes a user's message. What chat models cannot do with it (continue a
-- text around a gap, say it again, rank several answers) is refused; reasoning is not told, a refusal is told as text.
local sluice = require "sluice"
local common = require "sluice.dialects.openai_common"

local json = sluice.json

local M = { name = "openai_completions" }

M.front = { methods = "POST, OPTIONS", error = common.error }

-- ---- reading

local function prompt_of(v)
  if type(v) == "string" then return v end
  if not json.is_array(v) then common.refuse "'prompt' must be a text" end
  if type(v[1]) ~= "string" then common.refuse("'prompt' must be a text: a list of tokens cannot be read here", "param_not_supported") end
  if #v > 1 then common.refuse("'prompt' may be one text only: ask once for each", "param_not_supported") end
  return v[1]
end

-- Members that chat models have no word for, and the values that mean nothing.
local REFUSED = {
  suffix   = function(v) return v == "" end,
  echo     = function(v) return v == false end,
  best_of  = function(v) return v == 1 end,
  logprobs = function() return false end,
}

local TAKEN = common.set_of "prompt suffix echo best_of logprobs"

M.front.read = common.refusing(function(req)
  local body = common.body(req)
  for name, neutral in pairs(REFUSED) do
    local v = common.given(body[name])
    if v ~= nil and not neutral(v) then common.refuse(("'%s' is not supported here: the models behind this endpoint are chat models"):format(name), "param_not_supported") end
  end
  req.messages = { { role = "user", content = prompt_of(body.prompt) } }
  common.common(req, body, TAKEN)
end)

-- ---- telling

local function chunk(answer, rest)
  if not answer.chunk then
    answer.chunk = ('data: {"id":"cmpl-%s","object":"text_completion","created":%d,"model":%s,"choices":'):format(answer.id, answer.created, json.encode(answer.model))
  end
  return answer.chunk .. rest .. "}\n\n"
end

local function choice(index, text, finish)
  return ('[{"text":%s,"index":%d,"logprobs":null,"finish_reason":%s}]'):format(text, index, finish and json.encode(finish) or "null")
end

function M.front.open(answer, block)
  if block.channel == "reasoning" then return nil end
  local before, after = chunk(answer, choice(block.choice, "\1")):match "^(.-)\1(.*)$"
  return "", before, after
end

function M.front.finish(answer)
  local out = {}
  for i = 0, common.choices(answer) - 1 do out[#out + 1] = chunk(answer, choice(i, '""', answer.finish[i] or "stop")) end
  if answer.include_usage and answer.usage then out[#out + 1] = chunk(answer, '[],"usage":' .. json.encode(common.usage(answer.usage))) end
  out[#out + 1] = "data: [DONE]\n\n"
  return table.concat(out)
end

function M.front.whole(answer)
  local choices = json.array {}
  for i = 0, common.choices(answer) - 1 do
    local texts = common.said(answer, i)
    choices[i + 1] = json.order({
      text = (texts.content or "") .. (texts.refusal or ""), index = i, logprobs = json.null, finish_reason = answer.finish[i] or "stop",
    }, { "text", "index", "logprobs", "finish_reason" })
  end
  return json.order({
    id = "cmpl-" .. answer.id, object = "text_completion", created = answer.created, model = answer.model, choices = choices,
    usage = answer.usage and common.usage(answer.usage) or nil,
  }, { "id", "object", "created", "model", "choices", "usage" })
end

return M
