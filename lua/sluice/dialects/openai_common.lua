-- What OpenAI's dialects have in common: reading a client's JSON with sentences that name the field, errors and usage as they are told.
local sluice = require "sluice"
local json = sluice.json

local M = {}

-- ---- reading

-- A verdict on its way up to `refusing`.
local Refused = {}

function M.refuse(message, code) error(setmetatable({ verdict = sluice.reject(400, code or "invalid_request", message) }, Refused), 0) end

-- A function within which `refuse` may be called at any depth: it returns the verdict then.
function M.refusing(f)
  return function(...)
    local ok, result = pcall(f, ...)
    if ok then return result end
    if getmetatable(result) == Refused then return result.verdict end
    error(result, 0)
  end
end

local function shown(v)
  if v == nil then return "missing" end
  if v == json.null then return "null" end
  if type(v) == "table" then return json.is_array(v) and "a list" or "an object" end
  if type(v) == "string" then return #v > 40 and "a long text" or ('the text "%s"'):format(v) end
  return tostring(v)
end

local function must(v, name, what) M.refuse(("'%s' must be %s, is %s"):format(name, what, shown(v))) end

function M.given(v) if v ~= json.null then return v end end
function M.word(v) if type(v) == "string" or type(v) == "number" then return tostring(v) end end    -- a code, which some write as a number
function M.is_object(v) return type(v) == "table" and not json.is_array(v) end

function M.object(v, name, what)
  if not M.is_object(v) then must(v, name, what or "an object") end
  return v
end

function M.list(v, name, what)
  if not json.is_array(v) then must(v, name, what or "a list") end
  return v
end

function M.text(v, name, what)
  if type(v) ~= "string" then must(v, name, what or "a text") end
  return v
end

-- Those that need not be there.
function M.may(check, v, name, what)
  v = M.given(v)
  if v ~= nil then return check(v, name, what) end
end

function M.flag(v, name)
  if type(v) ~= "boolean" then must(v, name, "true or false") end
  return v
end

function M.one_of(v, name, words)
  for _, word in ipairs(words) do
    if v == word then return v end
  end
  must(v, name, "one of " .. table.concat(words, ", "))
end

function M.body(req)
  local body, why = json.decode(req.body)
  if body == nil then M.refuse("the body is no JSON: " .. why, "invalid_json") end
  if not M.is_object(body) then M.refuse("the body must be a JSON object", "invalid_json") end
  return body
end

-- Members that are null say nothing.
function M.without_nulls(t)
  local out = {}
  for name, v in pairs(t) do
    if v ~= json.null then out[name] = v end
  end
  return out
end

-- What all these requests have: the model, whether it streams, and all that nobody else reads.
function M.common(req, body, taken)
  req.model = M.may(M.text, body.model, "model", "a text: the name of a model")
  req.stream = M.may(M.flag, body.stream, "stream") or false
  local options = M.may(M.object, body.stream_options, "stream_options")
  -- False, where a stream is not to tell it: events that tell nothing else are then kept from clients that look for a choice in each.
  if req.stream then req.include_usage = options and M.may(M.flag, options.include_usage, "stream_options.include_usage") or false end
  local params = {}
  for name, v in pairs(M.without_nulls(body)) do
    if not taken[name] then params[name] = v end
  end
  params.model, params.stream, params.stream_options = nil, nil, nil
  req.params = params
end

function M.set_of(words)
  local set = {}
  for word in words:gmatch "%S+" do set[word] = true end
  return set
end

-- ---- telling

local TYPES = { [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error", [429] = "rate_limit_error" }

function M.error_type(err) return err.type or TYPES[err.status] or (err.status >= 500 and "server_error" or "invalid_request_error") end

local ERROR = { "message", "type", "param", "code" }

-- What the model service found wrong is told in its own words: clients look for context_length_exceeded and its like. Else the field is the one that a
-- sentence begins with: 'messages[0].role' must be ...
function M.error_object(err)
  local theirs = err.code == "upstream_refused" and err.upstream or {}
  return json.order({
    message = err.message, type = M.error_type(err), param = theirs.param or err.message:match "^'([^' ]+)'" or json.null, code = theirs.code or err.code,
  }, ERROR)
end

function M.error(err) return { error = M.error_object(err) } end

-- What the model told that it used, or nil: what was only estimated is not told as if it were counted.
function M.usage(u)
  if not u or u.estimated then return nil end
  return json.order({
    prompt_tokens = u.input, completion_tokens = u.output, total_tokens = u.input + u.output,
    prompt_tokens_details = (u.cached or u.cache_written) and { cached_tokens = u.cached, cache_write_tokens = u.cache_written } or nil,
    completion_tokens_details = u.reasoning and { reasoning_tokens = u.reasoning } or nil,
  }, { "prompt_tokens", "completion_tokens", "total_tokens" })
end

function M.data(value) return "data: " .. json.encode(value) .. "\n\n" end

-- The choices of an answer, whatever was said of them: 0 .. n - 1.
function M.choices(answer)
  local n = answer.n or 1
  for choice in pairs(answer.finish) do n = math.max(n, choice + 1) end
  return n
end

-- Two lists of JSON that is written already, as one.
function M.joined(a, b)
  if not (a and b) then return a or b end
  return json.raw(("%s,%s"):format(tostring(a):sub(1, -2), tostring(b):sub(2)))
end

-- All text of each channel of a choice, its tool calls, and what its channels have of logprobs.
function M.said(answer, choice)
  local texts, calls, logprobs = {}, {}, {}
  for _, block in ipairs(answer.blocks) do
    if block.choice == choice and block.tool then
      calls[#calls + 1] = block.tool
    elseif block.choice == choice then
      texts[block.channel] = (texts[block.channel] or "") .. block.text
      logprobs[block.channel] = M.joined(logprobs[block.channel], block.logprobs)
    end
  end
  return texts, calls, logprobs
end

return M
