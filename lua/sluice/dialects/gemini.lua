-- Google's Gemini API: models/MODEL:streamGenerateContent, answered as server-sent events. What is asked is made in gemini_request.lua.
--
-- The model's `options` go into the body as they stand, for what OpenAI has no words for; where a client says something else, the client's word counts:
--   options = { safetySettings = { ... }, generationConfig = { thinkingConfig = { includeThoughts = true } } }
local sluice = require "sluice"
local body_of = require "sluice.dialects.gemini_request"
local embedding = require "sluice.dialects.embedding"
local shared = require "sluice.dialects.shared"

local M = { name = "gemini" }

local is_array, set, object = sluice.json.is_array, shared.given, shared.table
local function text(v) return type(v) == "string" and v or nil end

-- ---- the answer

local FILTERED = "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION"

-- FUNCTION_CALL is not Google's word; servers that play Gemini say it.
local finish_words = { STOP = "stop", MAX_TOKENS = "length", CONTINUATION = "length", FUNCTION_CALL = "tool_calls" }
for word in FILTERED:gmatch "%S+" do finish_words[word] = "content_filter" end

-- The model failed: what came is no answer.
local FAILED = {}
for word in ("FINISH_REASON_UNSPECIFIED OTHER MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS " ..
  "MISSING_THOUGHT_SIGNATURE NO_IMAGE IMAGE_OTHER"):gmatch "%S+" do FAILED[word] = true end

-- Parts that no answer here has a place for: told, not left out.
local UNTOLD = { "inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall", "toolResponse" }

M.provider = {
  url = "https://generativelanguage.googleapis.com/v1beta",

  -- The plain event: one candidate, one part, its text. Counts come with the end: Google leaves thoughts out of the answer's, OpenAI does not.
  places = { content = "candidates[0].content.parts[0].text", choice = "candidates[0].index", error = "error", model = "modelVersion" },

  rare = { "candidates[0].finishReason", "candidates[0].content.parts[1]", "candidates[1]", "candidates[0].content.parts[0].thought",
    "candidates[0].content.parts[0].functionCall", "candidates[0].logprobsResult", "promptFeedback.blockReason" },
  finish_words = finish_words,
}
for _, name in ipairs(UNTOLD) do M.provider.rare[#M.provider.rare + 1] = "candidates[0].content.parts[0]." .. name end

-- An id for a call that has none: no two calls of a conversation share one, the same bytes have the same.
local function id_for(event, choice, i) return "call_" .. sluice.sha256(("%s %d %d"):format(sluice.json.encode(event), choice, i)):sub(1, 24) end

-- Tells one part. False: it was none that can be told, and the answer is over.
local function tell_part(out, part, choice, new_id)
  local call = object(part.functionCall)
  if text(call.name) then
    out:tool { id = text(call.id) or new_id(), name = call.name, arguments = sluice.json.encode(set(call.args) and call.args or {}), choice = choice,
      signature = text(part.thoughtSignature) }
    return
  end
  if text(part.text) and part.text ~= "" then out:text(part.thought == true and "reasoning" or "content", part.text, choice) end
  for _, name in ipairs(UNTOLD) do
    if set(part[name]) then
      out:error { code = "upstream_error", message = ("The model answered with a part that cannot be told here: %s."):format(name) }
      return false
    end
  end
end

-- Google's { token, tokenId, logProbability } as OpenAI's; nil: it is none.
local function token_of(v)
  local token, logprob = object(v).token, object(v).logProbability
  if logprob == nil then logprob = 0 end                 -- Google leaves a zero out
  return text(token) and type(logprob) == "number" and { token = token, logprob = logprob } or nil
end

-- What was chosen, and beside each what else might have been.
local function tell_logprobs(out, result, choice)
  local list = {}
  for i, v in ipairs(object(result.chosenCandidates)) do
    local token = token_of(v)
    if token then
      token.top_logprobs = sluice.json.array {}
      for _, other in ipairs(object(object(object(result.topCandidates)[i]).candidates)) do token.top_logprobs[#token.top_logprobs + 1] = token_of(other) end
      list[#list + 1] = token
    end
  end
  if #list > 0 then out:logprobs("content", list, choice) end
end

-- False: the answer is over, with an error. That a STOP after calls is OpenAI's "tool_calls" is the gateway's to know: they stand in other events.
local function tell_candidate(out, candidate, event)
  local choice = math.tointeger(candidate.index) or 0
  local text_alone = true                                -- else logprobs are of thoughts or of calls, too
  for i, part in ipairs(object(object(candidate.content).parts)) do
    text_alone = text_alone and text(object(part).text) ~= nil and part.thought ~= true
    if tell_part(out, object(part), choice, function() return id_for(event, choice, i) end) == false then return false end
  end
  if text_alone and set(candidate.logprobsResult) then tell_logprobs(out, object(candidate.logprobsResult), choice) end
  local reason = text(candidate.finishReason)
  if reason and FAILED[reason] then
    out:error { code = "upstream_error", message = text(candidate.finishMessage) or ("The model ended with %s."):format(reason) }
    return false
  end
  if reason then out:finish(finish_words[reason] or reason, choice) end
end

local function count(v) return math.tointeger(v) or 0 end

local function tell_usage(out, u)
  if not math.tointeger(u.promptTokenCount) then return end                    -- some events have one without counts
  out:usage {
    input = u.promptTokenCount + count(u.toolUsePromptTokenCount), output = count(u.candidatesTokenCount) + count(u.thoughtsTokenCount),
    cached = math.tointeger(u.cachedContentTokenCount), reasoning = math.tointeger(u.thoughtsTokenCount),
  }
end

function M.provider.event(event, out)
  if text(event.modelVersion) then out:model(event.modelVersion) end
  tell_usage(out, object(event.usageMetadata))
  for _, candidate in ipairs(object(event.candidates)) do
    if tell_candidate(out, object(candidate), event) == false then return end
  end
  if set(object(event.promptFeedback).blockReason) then out:finish("content_filter", 0) end
end

-- ---- asking

local ORDER = { "systemInstruction", "contents", "tools", "toolConfig", "generationConfig" }

-- "models/NAME", as the body wants it and as it stands in a path.
local function resource(model)
  local name = model:find("/", 1, true) and model or "models/" .. model
  return name, (name:gsub("[^%w%-._~/]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function headers(model, accept)
  return { ["Content-Type"] = "application/json", ["Accept"] = accept, ["x-goog-api-key"] = model.key and { model.key } or nil }
end

function M.provider.request(req, model)
  local missing = shared.missing(req)
  if missing then return missing end
  local body, refused = body_of(req, model)
  if not body then return refused end
  local _, path = resource(model.model)
  return { path = ("/%s:streamGenerateContent?alt=sse"):format(path), headers = headers(model, "text/event-stream"), body = sluice.json.order(body, ORDER) }
end

-- { "error": { code, message, status } }, or a list of one such.
function M.provider.error(_, body)
  local e = object(object(is_array(body) and body[1] or body).error)
  if not text(e.message) then return nil end
  return { message = e.message, code = text(e.status) and e.status:lower() or nil }
end

-- ---- embeddings

M.provider.embed = {}

function M.provider.embed.request(req, model)
  local refused = embedding.refused(req, "gemini")
  if refused then return refused end
  local name, path = resource(model.model)
  local requests, dimensions = sluice.json.array {}, req.params.dimensions
  for i, item in ipairs(embedding.texts(req)) do
    requests[i] = { model = name, content = { parts = { { text = item } } }, outputDimensionality = set(dimensions) and dimensions or nil }
  end
  return { path = ("/%s:batchEmbedContents"):format(path), headers = headers(model, "application/json"), body = { requests = requests } }
end

-- Google counts no tokens here, so there is no usage. nil: this is no answer.
function M.provider.embed.answer(doc, req)
  local embeddings = object(doc).embeddings
  if not is_array(embeddings) then return nil end
  local vectors = {}
  for i, item in ipairs(embeddings) do vectors[i] = object(item).values or sluice.json.null end
  return embedding.document(vectors, req)
end

return M
