-- One question, one streamed answer: GET /api/stream?q=... for a browser's EventSource.
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

local url = sluice.env("LLM_BASE_URL", "")
local model = url ~= "" and { provider = "openai", url = url, model = sluice.env("LLM_MODEL", "gpt-4o-mini"), key = sluice.secret "LLM_API_KEY" }
                         or { answer = require "guide" }      -- no key, no internet: answers from our own guide

return sluice.config {
  api    = 1,
  listen = sluice.env("SLUICE_LISTEN", "127.0.0.1:4001"),
  trusted_proxies = sluice.env("TRUSTED_PROXIES", ""),          -- "10.0.0.0/8, ::1": their X-Forwarded-For counts
  models = { answerer = model },
  routes = {
    ask = {
      path = "/api/stream", front = "token", target = "answerer", timeout = { total = "60s" },
      policies = { sluice.parts.cors { origins = { "*" } }, sluice.parts.rate_limit { key = "ip", rate = 10, per = "1m" }, ask },
    },
    demo = { path = "/", files = "../../web" },
  },
}
