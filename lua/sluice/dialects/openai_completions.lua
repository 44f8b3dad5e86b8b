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
  suffix  = function(v) return v == "" end,
  echo    = function(v) return v == false end,
  best_of = function(v) return v == 1 end,
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
  local logprobs = common.given(body.logprobs)
  if logprobs == nil then return end
  if math.type(logprobs) ~= "integer" or logprobs < 0 or logprobs > 5 then
    common.refuse "'logprobs' must be a whole number from 0 to 5: so many tokens beside the one that was chosen"
  end
  req.params.logprobs, req.params.top_logprobs = true, logprobs > 0 and logprobs or nil
end)

-- ---- telling

local function chunk(answer, choices, usage)
  if not answer.chunk then
    answer.chunk = ('data: {"id":"cmpl-%s","object":"text_completion","created":%d,"model":%s,"choices":'):format(answer.id, answer.created, json.encode(answer.model))
  end
  if answer.include_usage then choices = ('%s,"usage":%s'):format(choices, usage or "null") end
  return answer.chunk .. choices .. "}\n\n"
end

-- This API has no tools: a model that called some, which a policy gave it, has stopped.
local WORDS = { stop = "stop", length = "length", content_filter = "content_filter" }

local function finish_of(answer, index) return WORDS[answer.finish[index] or "stop"] or "stop" end

local function choice(index, text, finish, logprobs)
  return ('[{"text":%s,"index":%d,"logprobs":%s,"finish_reason":%s}]'):format(text, index, logprobs or "null", finish and json.encode(finish) or "null")
end

function M.front.open(answer, block)
  if block.channel == "reasoning" then return nil end
  local function around(logprobs) return chunk(answer, choice(block.choice, "\1", nil, logprobs)):match "^(.-)\1(.*)$" end
  local before, after = around()
  return "", before, after, answer.logprobs and select(2, around "\2") or nil
end

local LEGACY = { "tokens", "token_logprobs", "top_logprobs", "text_offset" }

-- Four lists for what is one now. An offset is where the token begins, in characters of the choice's text.
function M.front.logprobs(answer, list, block)
  local out = { tokens = json.array {}, token_logprobs = json.array {}, top_logprobs = json.array {}, text_offset = json.array {} }
  answer.offsets = answer.offsets or {}
  for i, item in ipairs(list) do
    local at = answer.offsets[block.choice] or 0
    local top = {}
    for _, other in ipairs(item.top_logprobs) do top[other.token] = other.logprob end
    out.tokens[i], out.token_logprobs[i], out.top_logprobs[i], out.text_offset[i] = item.token, item.logprob, top, at
    answer.offsets[block.choice] = at + (utf8.len(item.token) or #item.token)
  end
  return json.order(out, LEGACY)
end

function M.front.finish(answer)
  local out = {}
  for i = 0, common.choices(answer) - 1 do out[#out + 1] = chunk(answer, choice(i, '""', finish_of(answer, i))) end
  local usage = answer.include_usage and common.usage(answer.usage)
  if usage then out[#out + 1] = chunk(answer, "[]", json.encode(usage)) end
  out[#out + 1] = "data: [DONE]\n\n"
  return table.concat(out)
end

function M.front.whole(answer)
  local choices = json.array {}
  for i = 0, common.choices(answer) - 1 do
    local texts, _, logprobs = common.said(answer, i)
    local list = common.joined(logprobs.content, logprobs.refusal)
    choices[i + 1] = json.order({
      text = (texts.content or "") .. (texts.refusal or ""), index = i,
      logprobs = list and M.front.logprobs(answer, json.decode(tostring(list)), { choice = i }) or json.null, finish_reason = finish_of(answer, i),
    }, { "text", "index", "logprobs", "finish_reason" })
  end
  return json.order({
    id = "cmpl-" .. answer.id, object = "text_completion", created = answer.created, model = answer.model, choices = choices,
    usage = common.usage(answer.usage),
  }, { "id", "object", "created", "model", "choices", "usage" })
end

return M
