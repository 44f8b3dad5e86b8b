-- The ready parts: an example of each. What they do and their options are told by the policies themselves (lua/sluice/parts/).
return {
  title = "Ready parts",
  text = "Policies that are written with this API: `sluice.parts.NAME { OPTION = ... }` in a route's list of policies. Each also takes name, mode and on_error.",
  classes = { { "parts", "sluice.Parts", "The ready parts." } },

  { "parts.api_keys", example = [[local policies = { sluice.parts.api_keys { file = "keys.txt" } }]] },
  { "parts.audit", example = [[local policies = { sluice.parts.audit { fields = { "id", "key", "model", "usage", "tags" } } }]] },
  { "parts.banned_words", example = [[local policies = { sluice.parts.banned_words { words = { "darn", "heck" }, action = "mask" } }]] },
  { "parts.budget", example = [[
local policies = {
  sluice.parts.budget { daily_usd = 5, prices = { smart = { input = 3, output = 15 }, plain = { input = 0, output = 0 } } },
  sluice.parts.budget { name = "by_address", by = "ip", daily_usd = 0.5, prices = { smart = { input = 3, output = 15 } } },
}]] },
  { "parts.cache", example = [[
local policies = {
  sluice.parts.api_keys { file = "keys.txt" },
  sluice.parts.cache { ttl = "10m", max_bytes = "128mb", key = function(req) return req.headers["accept-language"] or "" end },
}]] },
  { "parts.cors", example = [[local policies = { sluice.parts.cors { origins = { "https://app.example.com", "https://*.example.org" } } }]] },
  { "parts.experiment", example = [[
local policies = {
  sluice.parts.experiment { split = { smart = 90, candidate = 10 }, sticky = "ip" },
  sluice.parts.fallback { models = { "smart" } },
}]] },
  { "parts.extract_think", example = [[local policies = { sluice.parts.extract_think { tag = "think" } }]] },
  { "parts.fallback", example = [[
local policies = {
  sluice.parts.fallback { models = { "plain", "local" }, on = { "connect", "timeout", "429", "5xx" }, retry = { times = 2, backoff = "200ms" }, jitter = 0.5 },
}]] },
  { "parts.hide_reasoning", example = [[local policies = { sluice.parts.hide_reasoning() }]] },
  { "parts.json_mode", example = [[
local policies = { sluice.parts.json_mode { on_bad = "reject", hold = true, schema = {
  type = "object", required = { "city" }, properties = { city = { type = "string" } } } } }]] },
  { "parts.language", example = [[local policies = { sluice.parts.language { allow = { "latin" }, share = 0.7 } }]] },
  { "parts.limits", example = [[local policies = { sluice.parts.limits { input_tokens = 4000, output_chars = 20000, duration = "45s" } }]] },
  { "parts.mask_secrets", example = [[local policies = { sluice.parts.mask_secrets() }]] },
  { "parts.model_table", example = [[
local policies = {
  sluice.parts.model_table { by = "query.model", table = { quick = "fast", deep = { "smart", "fast" } }, default = "fast" },
  sluice.parts.model_table { name = "by_size", by = "size", table = { ["<=2000"] = "fast" }, default = "long" },
}]] },
  { "parts.moderation", example = [[
local policies = {
  sluice.parts.moderation { service = "moderation", path = "/v1/judge", topics = { "weapons", "self-harm" }, window = 400, overlap = 60 },
  sluice.parts.moderation { name = "own", judge = function(text) return text:find "bomb" and "weapons" end, output = false },
}]] },
  { "parts.rate_limit", example = [[
local policies = {
  sluice.parts.rate_limit { rate = 10, per = "1m" },
  sluice.parts.rate_limit { name = "by_key", key = function(head) return head.headers.authorization end, rate = 1000, per = "1d" },
}]] },
  { "parts.redact", example = [[local policies = { sluice.parts.redact { match = { sluice.match.email, sluice.match.phone }, restore = true } }]] },
  { "parts.stop_sequences", example = [[local policies = { sluice.parts.stop_sequences { list = { "\nUser:" }, keep = false } }]] },
  { "parts.template", example = [[
local policies = { sluice.parts.template { text = "You help with {{product}}. Answer in {{query.lang}}.", vars = { product = "Sluice" } } }]] },
}
