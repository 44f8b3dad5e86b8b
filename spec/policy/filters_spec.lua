-- Filters of every kind on the virtual clock. Each good answer is asked for again under ten other cuttings (see sluice.testing).
local t = require "sluice.testing"

-- A gateway whose policies P, Q ... are what `lua` defines; `list` names those of the route, client side first.
local function gateway(lua, list, route)
  return assert(t.load { source = ([[
local sluice = require "sluice"
local P = sluice.policy { name = "p" }
%s
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { %s }, %s } } }
]]):format(lua, list or "P", route or "") })
end

local function refused(lua)
  local g, why = t.load { source = 'local sluice = require "sluice"\nlocal P = sluice.policy { name = "p" }\n' .. lua ..
    '\nreturn sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } }, routes = { a = { path = "/a", front = "token", target = "m", policies = { P } } } }' }
  assert.is_nil(g)
  return (why:gsub("[^\n]*/lua_[^:]*:", "file:"))
end

describe("match and replace", function()
  it("replaces by a text, however the words fall", function()
    local g = gateway 'P.filter = { match = sluice.match.email, replace = "[removed]" }'
    local r = g:ask { q = "x", upstream = { "Ask bo", "b@corp.", "io or jane@", "example.com, please" } }
    assert.equal("Ask [removed] or [removed], please", r.text)
  end)

  it("lets pass at once what cannot become a match", function()
    local g = gateway 'P.filter = { match = sluice.match.regex "secret-\\\\d+", replace = "***" }'
    local r = g:ask { q = "x", upstream = { "plain ", "words se", "cret", "ly secret-12", "3 end" }, no_shake = true }
    assert.same({ { token = "plain " }, { token = "words " }, { token = "secretly " }, { token = "*** end" } }, r.events)
  end)

  it("asks a function, which sees the text, the kind and the captures", function()
    local g = gateway [[P.filter = {
      match = { sluice.match.regex("(\\w+)=(\\d+)", "pair"), sluice.match.card, "<%a+>" },
      replace = function(m, ctx)
        ctx.state.n = (ctx.state.n or 0) + 1
        if m.kind == "pair" then return m[1] .. ":" .. (m[2] + 1) .. "#" .. ctx.state.n end
        if m.kind == "card" then return nil end
        return "(" .. m.text .. ")"
      end }]]
    local r = g:ask { q = "x", upstream = { "a=1 4111 11", "11 1111 1111 <b>", " b=41" } }
    assert.equal("a:2#1 4111 1111 1111 1111 (<b>) b:42#4", r.text)
  end)

  it("knows words in any case, behind zero-width characters, whole only", function()
    local g = gateway 'P.filter = { match = sluice.match.words({ "Grün", "red hat" }, { fold = true, whole = true }), replace = "-" }'
    local r = g:ask { q = "x", upstream = { "GRÜN gr\u{200B}ün grüne RED", " HAT red hats" } }
    assert.equal("- - grüne - red hats", r.text)
  end)

  it("takes words from an option", function()
    local g = gateway [[P = sluice.policy { name = "o", options = { words = { type = "list", default = { "red", "green" } } } }
      P.filter = { match = function(ctx) return sluice.match.words(ctx.options.words) end, replace = "-" }]]
    assert.equal("- and -", g:ask({ q = "x", upstream = { "re", "d and gre", "en" } }).text)
  end)

  it("finds what only the end decides", function()
    local g = gateway 'P.filter = { match = "end$", replace = "END" }'
    assert.equal("the end END", g:ask({ q = "x", upstream = { "the e", "nd e", "nd" } }).text)
  end)

  it("stops at a match: what stands before it is told, nothing behind it", function()
    local g = gateway 'P.filter = { match = "STOP", replace = function() return sluice.stop { reason = "stop", text = "." } end }'
    local r = g:ask { q = "x", upstream = { "keep this ST", "OP not this" } }
    assert.equal("keep this .", r.text)
    assert.is_true(r.done)
    assert.is_true(r.canceled)
  end)

  it("an answer that a stop or a reply ended is done to the counters", function()
    local g = gateway 'P.filter = { match = "STOP", replace = function() return sluice.stop "" end } function P.validate(req) if req.query.q == "r" then return sluice.reply "Hi" end end'
    g:ask { q = "x", upstream = { "a STOP" }, no_shake = true }
    g:ask { q = "r" }
    assert.equal(2, g:count "streams_done")
  end)

  it("what stands before a stop still passes the filters behind", function()
    local g = gateway([[
P.filter = { match = "STOP", replace = function() return sluice.stop "" end }
local Q = sluice.policy { name = "q" }
Q.filter = { match = sluice.match.email, replace = "[mail]" }]], "Q, P")
    local r = g:ask { q = "x", upstream = { "mail jane@exam", "ple.com STOP", " never" } }
    assert.equal("mail [mail] ", r.text)
  end)

  it("may wait in its replacement; order is kept", function()
    local g = gateway 'P.filter = { match = "%d+", replace = function(m) sluice.sleep "50ms" return "<" .. m.text .. ">" end }'
    assert.equal("a<1>b<22>c<3>", g:ask({ q = "x", upstream = { "a1b2", "2c", "3" } }).text)
  end)

  it("rejects: before the first text a status, later an error event", function()
    local g = gateway 'P.filter = { match = "bad", replace = function() return sluice.reject(422, "bad_word", "No.") end }'
    local early = g:ask { q = "x", upstream = { "bad" } }
    assert.equal(422, early.status)
    local late = g:ask { q = "x", upstream = { "good ", "bad" }, no_shake = true }
    assert.equal("good ", late.text)
    assert.equal("bad_word", late.error.code)
  end)

  it("runs both ways of nesting: answers pass the last policy first", function()
    local g = gateway([[
P.filter = { match = "a", replace = "b" }
local Q = sluice.policy { name = "q" }
Q.filter = { { match = "b", replace = "c" }, { match = "c", replace = "cc" } }]], "Q, P")
    assert.equal("cccccc", g:ask({ q = "x", upstream = { "a", "bc" } }).text)
  end)

  it("works on its channels only", function()
    local g = gateway 'P.filter = { on = { "reasoning" }, match = "a", replace = "-" }'
    assert.equal("aaa", g:ask({ q = "x", upstream = { { reasoning_content = "aaa" }, "a", "aa" } }).text)
  end)

  it("applies only when it says so, asked once a block", function()
    local g = gateway 'P.filter = { when = function(ctx) ctx.state.asked = (ctx.state.asked or 0) + 1 assert(ctx.state.asked == 1) return ctx.id == "" end, match = "a", replace = "-" }'
    assert.equal("banana", g:ask({ q = "x", upstream = { "ban", "a", "na" } }).text)
  end)

  it("costs no Lua call when nothing matches and the replacement is a text", function()
    local g = gateway 'P.filter = { match = sluice.match.email, replace = "-" }'
    local function calls(n)
      local upstream, before = {}, g:count "lua_calls"
      for i = 1, n do upstream[i] = "word " end
      g:ask { q = "x", upstream = upstream, no_shake = true }
      return g:count "lua_calls" - before
    end
    assert.equal(calls(1), calls(500))
  end)

  it("a match that cuts a character is an error, never broken text", function()
    local g = gateway 'P.filter = { match = "\\xc3", replace = "" }'
    assert.equal("policy_error", g:ask({ q = "x", upstream = { "caf", "é" }, no_shake = true }).error.code)
  end)

  it("holds at most max_hold", function()
    local g = gateway 'P.filter = { match = "<.->", replace = "-", max_hold = "10b" }'
    assert.equal("policy_error", g:ask({ q = "x", upstream = { "a <", ("x"):rep(20), ">" }, no_shake = true }).error.code)
    g = gateway 'P.filter = { match = "<.->", replace = "-", max_hold = "10b", overflow = "release" }'
    assert.equal("a <" .. ("x"):rep(20) .. "> -", g:ask({ q = "x", upstream = { "a <", ("x"):rep(20), "> <y>" }, no_shake = true }).text)
  end)
end)

describe("units", function()
  local function units(unit, text, extra)
    local g = gateway(('P.filter = { unit = %s, text = function(text, ctx, part) return "[" .. text .. "]" end, %s }'):format(unit, extra or ""))
    return g:ask({ q = "x", upstream = { text:sub(1, #text // 2), text:sub(#text // 2 + 1) } }).text
  end

  it("cuts words, lines, sentences, paragraphs, characters, all", function()
    assert.equal("[ two ][words ][more]", units('"word"', " two words more"))
    assert.equal("[a\n][b c\n][d]", units('"line"', "a\nb c\nd"))
    assert.equal("[He said \"no.\" ][Was it 3.14? ][Yes!\n][So]", units('"sentence"', 'He said "no." Was it 3.14? Yes!\nSo'))
    assert.equal("[一。][二！][x]", units('"sentence"', "一。二！x"))
    assert.equal("[a\nb\n\n][c]", units('"paragraph"', "a\nb\n\nc"))
    assert.equal("[héé][lo ][w]", units("{ chars = 3 }", "héélo w"))
    assert.equal("[all of it]", units('"all"', "all of it"))
    assert.equal("[a ][b]", units('function(ctx) return "word" end', "a b"))
  end)

  it("may drop or stop", function()
    local g = gateway 'P.filter = { unit = "word", text = function(text) if text:find "drop" then return "" end if text:find "stop" then return sluice.stop "!" end end }'
    assert.equal("a b !", g:ask({ q = "x", upstream = { "a dr", "op b st", "op c" } }).text)
  end)

  it("a check only judges; a window overlaps the one before", function()
    local g = gateway [[
      P.filter = { unit = { chars = 4, overlap = 2 }, check = function(text, ctx, part)
        ctx.state.seen = (ctx.state.seen or "") .. "|" .. text
        if text:find "bomb" then return sluice.stop { reason = "content_filter", text = "[cut]" } end
      end }
      function P.log(sum, ctx) print(ctx.state.seen) end]]
    assert.equal("abcdefghij", g:ask({ q = "x", upstream = { "abcdef", "ghij" } }).text)
    assert.equal("xxbo[cut]", g:ask({ q = "x", upstream = { "xxb", "ombyy" } }).text)
  end)

  it("nothing leaves before its check has returned, however long it waits", function()
    local g = gateway 'P.filter = { unit = "sentence", check = function(text) sluice.sleep "1s" if text:find "bad" then return sluice.reject(422, "bad", "No.") end end }'
    assert.equal("One. Two. ", g:ask({ q = "x", upstream = { "One. T", "wo. " } }).text)
    local r = g:ask { q = "x", upstream = { "One. ", "A ba", "d one. " } }
    assert.equal("One. ", r.text)
    assert.equal("bad", r.error.code)
  end)

  it("a check that returns text is told so", function()
    local g = gateway 'P.filter = { unit = "word", check = function(text) return "changed" end }'
    assert.equal("policy_error", g:ask({ q = "x", upstream = { "a b" }, no_shake = true }).error.code)
  end)

  it("a unit filter that holds is told so", function()
    local g = gateway 'P.filter = { unit = "word", text = function(text) return "", text end }'
    assert.equal("policy_error", g:ask({ q = "x", upstream = { "a b" }, no_shake = true }).error.code)
  end)

  it("each block ends by itself", function()
    local g = gateway 'P.filter = { unit = "all", text = function(text) return "[" .. text .. "]" end }'
    local r = g:ask { q = "x", upstream = { "one ", "two", { reasoning_content = "hm" }, "three" } }
    assert.equal("[one two][three]", r.text)
  end)
end)

describe("a stop's last words", function()
  it("pass the filters nearer to the client", function()
    local g = gateway([[
      P.filter = { match = "secret", replace = "***" }
      local Q = sluice.policy { name = "q" }
      Q.filter = { unit = "word", text = function(w) if w:find "bad" then return sluice.stop "no secret." end end }]], "P, Q")
    assert.equal("a *** no ***.", g:ask({ q = "x", upstream = { "a sec", "ret b", "ad c" } }).text)
  end)
end)

describe("held text", function()
  it("does not keep the client without a sign of life", function()
    local g = gateway 'P.filter = { unit = "all", text = function(text) return text:upper() end }'
    local upstream = {}
    for i = 1, 8 do upstream[2 * i - 1], upstream[2 * i] = "word ", t.wait "10s" end
    local r = g:ask { q = "x", upstream = upstream }
    assert.equal(("WORD "):rep(8), r.text)
    assert.equal(5, r.comments)                          -- 80 s, one each 15 s
  end)
end)

describe("chains of kinds", function()
  it("raw, match and unit together give the same text under any cutting", function()
    local g = gateway([[
P.filter = {
  { match = sluice.match.regex "(?i)colou?r", replace = "hue" },
  { unit = "sentence", text = function(text) return (text:gsub("^%s*%l", string.upper)) end },
  { text = function(text, ctx, part)
      local n = part.last and #text or math.max(#text - 3, 0)
      return text:sub(1, n), text:sub(n + 1)
    end },
}
local Q = sluice.policy { name = "q" }
Q.filter = { match = { sluice.match.email, sluice.match.url }, replace = function(m) return "<" .. m.kind .. ">" end }]], "Q, P")
    local r = g:ask { q = "x", upstream = { "the Colo", "r is red. ask jane@ex", "ample.com or http", "s://a.test/x. bye" } }
    assert.equal("The hue is red. Ask <email> or <url>. Bye", r.text)
  end)

  it("an open filter that fails is taken out; what it held goes on", function()
    local g = gateway([[
local O = sluice.policy { name = "o", on_error = { filter = "open" } }
O.filter = { match = "a%d", replace = function(m) error "oops" end }
P.filter = { match = "b", replace = "c" }]], "P, O")
    assert.equal("xa1yca2", g:ask({ q = "x", upstream = { "xa1", "yba", "2" } }).text)
  end)
end)

describe("what is refused when the file loads", function()
  for lua, said in pairs {
    ['P.filter = { match = "a" }'] = "file:3: .*replace must be a text or a function",
    ['P.filter = { match = "a*", replace = "" }'] = "file:3: .*match nothing at all",
    ['P.filter = { match = {}, replace = "" }'] = "file:3: .*names nothing",
    ['P.filter = { match = 7, replace = "" }'] = "file:3: .*must be a matcher",
    ['P.filter = { match = "a", replace = "", text = function() end }'] = "file:3: .*exclude each other",
    ['P.filter = { match = "a", replace = "", unit = "word" }'] = "file:3: .*takes no unit",
    ['P.filter = { unit = "wrod", text = function() end }'] = 'file:3: .*did you mean "word"',
    ['P.filter = { unit = { chars = 4, overlap = 2 }, text = function() end }'] = "file:3: .*overlap is for check",
    ['P.filter = { unit = { chars = 0 }, check = function() end }'] = "file:3: .*at least 1",
    ['P.filter = { text = function() end, check = function() end }'] = "file:3: .*exclude each other",
    ['P.filter = { when = true, text = function() end }'] = "file:3: .*when must be a function",
    ['P.filter = { matches = "a", replace = "b" }'] = 'file:3: .*unknown setting "matches".*did you mean "match"',
    ['P.filter = { match = sluice.match.regex "(", replace = "" }'] = "file:3: .*parenthesis",
    ['P.filter = { match = sluice.match.regex "a\\\\Kb", replace = "" }'] = "file:3: .*\\K is not allowed",
    ['P.filter = { match = sluice.match.emial, replace = "" }'] = 'file:3: .*did you mean "email"',
  } do
    it(lua, function() assert.matches(said, refused(lua)) end)
  end
end)

describe("matchers on whole texts", function()
  it("find, gsub and kind", function()
    local g = gateway [[
function P.prompt(req)
  local text, n = sluice.match.email:gsub(req.messages[1].content, function(m) return "<" .. m.kind:upper() .. ">" end)
  local from, to = sluice.match.pattern "%d+":find("ab12")
  req.messages[1].content = text .. n .. from .. to
end]]
    local r = g:ask { q = "write to ann@example.com", upstream = { "x" } }
    assert.equal("write to <EMAIL>134", r.upstream[1].body.messages[1].content)
  end)
end)
