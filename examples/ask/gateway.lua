-- One question, one streamed answer: GET /api/stream?q=... for a browser's EventSource. And a conversation: POST /v1/chat/completions, as OpenAI's clients speak.
local sluice = require "sluice"

local ask = sluice.policy { name = "ask", api = 1, doc = "Checks the question and puts it into our prompt." }

function ask.validate(req)
  local question = sluice.trim(req.query.q or "")
  if question == "" then
    return sluice.reject(400, "query_required", "query parameter 'q' is required")
  end
  if utf8.len(question) > 1000 then
    return sluice.reject(400, "query_too_long", "query too long (max 1000 characters)")
  end
end

function ask.prompt(req)
  req:system "You are a helpful technical assistant. Be concise and accurate."
  req.params.max_tokens, req.params.temperature = 800, 0.3
end

local chat = sluice.policy { name = "chat", api = 1, doc = "Checks the conversation and puts it behind our prompt." }

function chat.validate(req)
  local size = 0
  for _, message in ipairs(req.messages) do
    if message.role ~= "user" and message.role ~= "assistant" or type(message.content) ~= "string" or message.tool_calls then
      return sluice.reject(400, "message_not_allowed", "messages are texts of the roles user and assistant here")
    end
    size = size + utf8.len(message.content)
  end
  if sluice.trim(req:last_user() or "") == "" then return sluice.reject(400, "query_required", "the last message is empty") end
  if utf8.len(req:last_user()) > 1000 then return sluice.reject(400, "query_too_long", "message too long (max 1000 characters)") end
  if #req.messages > 41 or size > 24000 then
    return sluice.reject(400, "conversation_too_long", "conversation too long (max 41 messages, 24000 characters)")
  end
  req.params, req.tools = {}, nil                     -- what else a client may ask for is not for a public page
end

chat.prompt = ask.prompt

local url = sluice.env("LLM_BASE_URL", "")
local model = url ~= "" and { provider = "openai", url = url, model = sluice.env("LLM_MODEL", "gpt-4o-mini"), key = sluice.secret "LLM_API_KEY" }
                         or { answer = require "guide" }      -- no key, no internet: answers from our own guide

local cors = sluice.parts.cors { origins = { "*" } }
local limit = sluice.parts.rate_limit { key = "ip", rate = 10, per = "1m", bucket = "questions" }      -- both routes count

return sluice.config {
  api    = 1,
  listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  trusted_proxies = sluice.env("TRUSTED_PROXIES", ""),          -- "10.0.0.0/8, ::1": their X-Forwarded-For counts
  models = { answerer = model },
  routes = {
    ask  = { path = "/api/stream", front = "token", target = "answerer", timeout = { total = "60s" }, policies = { cors, limit, ask } },
    chat = { path = "/v1/chat/completions", front = "openai", models = { "answerer" }, timeout = { total = "60s" }, policies = { cors, limit, chat } },
    demo = { path = "/", files = "../../web" },
  },
}
