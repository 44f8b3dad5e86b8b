-- Finding things in text.
return {
  title = "Matching",
  text = "Matchers are made when the file loads and used in `filter.match` or on whole texts. In a stream they find what they would find in the whole text, however it is cut.",
  classes = {
    { "sluice.match", "sluice.MatchModule", "Makes matchers, and has the recognizers." },
    { "matcher:", "sluice.Matcher", "Something to look for." },
    { "words", "sluice.WordsOptions", "How sluice.match.words compares.", exact = true },
    { "m", "sluice.Match", "What was found; `m[1]`, `m[2]`, ... are its captures, false for one that took no part." , more = "[integer] string|integer|false" },
  },

  { "sluice.match", "sluice.MatchModule", "Makes matchers (`regex`, `pattern`, `words`, `any`), and has recognizers (`email`, `card`, ...).",
    example = [[P.filter = { match = { sluice.match.email, sluice.match.phone }, replace = "[removed]" }]] },
  { "sluice.match.regex", "(pattern: string, kind?: string): sluice.Matcher", "A regular expression (PCRE2, UTF-8).",
    params = { pattern = "One that cannot match nothing.", kind = 'The word that its matches are told by; "regex" by default.' },
    errors = { "a pattern that PCRE2 refuses, or that can match an empty text" },
    example = [[P.filter = { match = sluice.match.regex("\\bproj-[0-9]{1,8}\\b", "project"), replace = "[project]" }]] },
  { "sluice.match.pattern", "(pattern: string, kind?: string): sluice.Matcher", "A Lua pattern. In `filter.match` a plain text means the same.",
    params = { pattern = "As string.find takes it.", kind = '"pattern" by default.' }, errors = { "a malformed pattern" },
    example = [[P.filter = { match = sluice.match.pattern("<%u+_%d+>", "placeholder"), replace = "" }]] },
  { "sluice.match.words", "(words: string[], options?: sluice.WordsOptions): sluice.Matcher",
    "Any of the words, thousands of them; the longest that begins there. Zero-width characters within do not hide them.",
    params = { words = "The words.", options = "See `words.fold` and its neighbours." }, errors = { "an empty list, a word that is empty or longer than 200 characters, an unknown option" },
    example = [[P.filter = { match = sluice.match.words({ "darn", "heck" }, { fold = true, whole = true }), replace = "***" }]] },
  { "words.fold?", "boolean", "Case does not matter." },
  { "words.whole?", "boolean", "Only whole words: no letter, digit or _ beside it." },
  { "words.kind?", "string", 'The word that its matches are told by; "word" by default.' },
  { "sluice.match.any", "(matchers: sluice.Matcher[]): sluice.Matcher", "Any of several: the leftmost; where two begin together, the first of the list.", params = { matchers = "At least one." },
    errors = { "an empty list, or something that is no matcher" },
    example = [[
local personal = sluice.match.any { sluice.match.email, sluice.match.phone, sluice.match.iban }
P.filter = { match = personal, replace = "[removed]" }]] },

  { "sluice.match.email", "sluice.Matcher", "E-mail addresses." },
  { "sluice.match.card", "sluice.Matcher", "Payment card numbers whose Luhn sum is right." },
  { "sluice.match.phone", "sluice.Matcher", "Telephone numbers of 7 to 15 digits; a bare run of digits only with a plus or a leading zero." },
  { "sluice.match.iban", "sluice.Matcher", "International bank account numbers whose remainder is right." },
  { "sluice.match.ipv4", "sluice.Matcher", "IPv4 addresses." },
  { "sluice.match.ipv6", "sluice.Matcher", "IPv6 addresses." },
  { "sluice.match.url", "sluice.Matcher", "Web addresses: http, https and ftp." },
  { "sluice.match.jwt", "sluice.Matcher", "JSON web tokens." },
  { "sluice.match.aws_key", "sluice.Matcher", "Access key ids of AWS." },
  { "sluice.match.secret_key", "sluice.Matcher", "API keys of well-known services: sk-..., ghp_..., xoxb-..., AIza..." },
  { "sluice.match.private_key", "sluice.Matcher", "Private keys in PEM form." },

  { "matcher:find", "(text: string, init?: integer): from: integer?, to: integer?", "The first match in a whole text.", params = { text = "Any text.", init = "Where to begin; 1 by default." },
    returns = "its first and last byte, or nil",
    example = [[
function P.validate(req)
  if sluice.match.card:find(req:text "user") then return sluice.reject(422, "no_cards", "Please leave card numbers out.") end
end]] },
  { "matcher:gsub", "(text: string, replacement: string|(fun(m: sluice.Match): string?)): text: string, count: integer", "Replaces all matches in a whole text.",
    params = { text = "Any text.", replacement = "A text, or a function that returns one; nil leaves the match." }, errors = { "waiting inside the function" },
    example = [[
function P.prompt(req)
  req:map_text(function(text) return (sluice.match.email:gsub(text, function(m) return "<" .. #m.text .. " characters>" end)) end)
end]] },
  { "matcher:kind", "(): string", "The word that its matches are told by.", example = [[local kind = sluice.match.email:kind()]] },

  { "m.text", "string", "What was found." },
  { "m.kind", "string", "By what: email, card, word, or the kind given to `sluice.match.regex`." },
}
