-- Anthropic's Messages API, asked (provider) and spoken to clients (front).
--
-- What OpenAI's words cannot say is kept in members named `anthropic` (of the params, a message, a part, a tool call, a tool): where it came from an Anthropic
-- client and goes to an Anthropic model, all is as the client sent it; to other models such a member is not told, for it changes no answer (cache_control,
-- citations, beta headers, thinking blocks of earlier turns, the exact thinking budget). What would change an answer stays under Anthropic's name at its own
-- place, where another provider finds it and refuses it by name: blocks such as `document`, tools of the server such as `web_search_20250305`, params
-- such as `container`.
return {
  name = "anthropic",
  provider = require "sluice.dialects.anthropic_provider",
  front = require "sluice.dialects.anthropic_front",
  endpoints = { ["/messages"] = "anthropic" },
}
