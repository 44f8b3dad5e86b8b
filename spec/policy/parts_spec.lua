-- The ready parts, each as an operator uses it.
local t = require "sluice.testing"

local function gateway(part)
  return assert(t.load { source = ([[
local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0",
  models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { sluice.parts.%s } } } }
]]):format(part) })
end

describe("redact", function()
  local g = gateway "redact {}"

  it("keeps the address from the model and gives it back, however the tokens fall", function()
    local r = g:ask { q = "Write to jane.roe@example.com please", upstream = { "Mail sent to <EM", "AIL_", "1>", ", done." } }
    assert.equal("Write to <EMAIL_1> please", r.upstream[1].body.messages[1].content)
    assert.equal("Mail sent to jane.roe@example.com, done.", r.text)
  end)

  it("removes data that the model invents", function()
    local r = g:ask { q = "hi", upstream = { "Ask bo", "b@corp.", "io or pay with 4111 1111 ", "1111 1111 now" } }
    assert.equal("Ask [email removed] or pay with [card removed] now", r.text)
  end)

  it("leaves placeholders that are not ours", function()
    assert.equal("<EMAIL_9> x", g:ask({ q = "hi a@example.com", upstream = { "<EMAIL", "_9> x" } }).text)
  end)

  it("takes its own list, and need not restore", function()
    local own = gateway 'redact { match = { sluice.match.regex("proj-[0-9]+", "project"), "T%d%d%d" }, restore = false }'
    local r = own:ask { q = "see proj-12 and T123", upstream = { "<PROJECT_1>", " and proj", "-99 or T4", "56" } }
    assert.equal("see <PROJECT_1> and <PATTERN_2>", r.upstream[1].body.messages[1].content)
    assert.equal("<PROJECT_1> and [project removed] or [pattern removed]", r.text)
  end)
end)

describe("mask_secrets", function()
  it("works in both directions", function()
    local g = gateway "mask_secrets {}"
    local r = g:ask { q = "my key sk-abcdefghijklmnop1234", upstream = { "Yours: AKIAIOSF", "ODNN7EXAMPLE, -----BEGIN PRIV", "ATE KEY-----\nabc\n-----END PRIVATE KEY-----!" } }
    assert.equal("my key [secret removed]", r.upstream[1].body.messages[1].content)
    assert.equal("Yours: [secret removed], [secret removed]!", r.text)
  end)
end)

describe("banned_words", function()
  it("masks", function()
    local g = gateway 'banned_words { words = { "heck", "gosh darn" } }'
    assert.equal("What the ***, *** checked", g:ask({ q = "heck", upstream = { "What the HE", "CK, gosh d", "arn checked" } }).text)
  end)

  it("stops", function()
    local g = gateway 'banned_words { words = { "heck" }, action = "stop" }'
    local r = g:ask { q = "x", upstream = { "fine he", "ck no" } }
    assert.equal("fine ", r.text)
    assert.is_true(r.done)
  end)

  it("rejects, questions too", function()
    local g = gateway 'banned_words { words = { "heck" }, action = "reject", input = "reject" }'
    assert.equal("banned_word", g:ask({ q = "x", upstream = { "heck" } }).error.code)
    local r = g:ask { q = "Heck!" }
    assert.equal(422, r.status)
    assert.equal(0, #r.upstream)
  end)
end)

describe("stop_sequences", function()
  it("ends before the text, or behind it", function()
    assert.equal("a\n", gateway('stop_sequences { list = { "###", "END" } }'):ask({ q = "x", upstream = { "a\n#", "## b END" } }).text)
    assert.equal("a END", gateway('stop_sequences { list = { "END" }, keep = true }'):ask({ q = "x", upstream = { "a E", "ND b" } }).text)
  end)
end)

describe("hide_reasoning", function()
  it("tells the content only", function()
    assert.equal("yes", gateway("hide_reasoning {}"):ask({ q = "x", upstream = { { reasoning_content = "hm" }, "yes" } }).text)
  end)
end)

describe("extract_think", function()
  local g = gateway "extract_think {}"
  local function text_of(upstream, with) return (with or g):ask({ q = "x", upstream = { upstream } }).text end

  for upstream, text in pairs {
    ["<think>Hm, 2 < 3.</think>\n\nYes."] = "Yes.", ["\n <think></think>Yes."] = "Yes.", ["Yes, <think>no</think>."] = "Yes, <think>no</think>.", ["<thinking>Yes.</thinking>"] = "<thinking>Yes.</thinking>",
    ["<think>a</thin</think>b</think>"] = "b</think>", ["<think>never ends </thin"] = "", ["<thi"] = "<thi", ["  "] = "  ", ["<think>a</think> \n "] = "", ["<think>é</think>é <think>"] = "é <think>",
    ["<<think>a</think>"] = "<<think>a</think>", ["</think>Yes."] = "</think>Yes.",
  } do
    it(("makes %q of %q"):format(text, upstream), function() assert.equal(text, text_of(upstream)) end)
  end

  it("moves the thought to the reasoning channel, as it comes", function()
    local told = assert(t.load { source = [[local sluice = require "sluice"
return sluice.config { api = 1, listen = ":0", models = { m = { provider = "openai", url = "http://m.test/v1", model = "x" } }, routes = { a = { path = "/api/stream", target = "m",
  policies = { sluice.parts.extract_think {} }, front = { name = "f", methods = "GET", done = 'data: {"done":true}\n\n',
    content = { before = 'data: {"token":', after = "}\n\n" }, reasoning = { before = 'data: {"reasoning":', after = "}\n\n" },
    read = function(req) req.messages = { { role = "user", content = "x" } } end, error = function(err) return { code = err.code } end } } } }]] })
    local r = told:ask { q = "x", upstream = { "<think>Hm, ", "2 < 3.</th", "ink>\nYes." } }
    assert.equal("Hm, 2 < 3.", r.reasoning)
    assert.equal("Yes.", r.text)
    assert.equal("never ends </thin", told:ask({ q = "x", upstream = { "<think>never ends </thin" } }).reasoning)
    assert.equal("", told:ask({ q = "x", upstream = { "<thi" } }).reasoning)
  end)

  it("drops it if told so", function()
    local r = gateway("extract_think { drop = true }"):ask { q = "x", upstream = { "<think>Hm</think>Yes." } }
    assert.equal("Yes.", r.text)
    assert.equal("", r.reasoning)
  end)

  it("what it moves passes the filters nearer to the client", function()
    local r = gateway "mask_secrets {}, sluice.parts.extract_think {}":ask { q = "x", upstream = { "<think>key AKIAIOSFODNN7", "EXAMPLE</think>Yes." } }
    assert.is_nil(r.reasoning:find("AKIA", 1, true))
    assert.equal("Yes.", r.text)
    r = gateway "hide_reasoning {}, sluice.parts.extract_think {}":ask { q = "x", upstream = { "<think>Hm</think>Yes." } }
    assert.equal("Yes.", r.text)
    assert.equal("", r.reasoning)
  end)

  it("does not wait when it is no thought", function()
    local r = g:ask { q = "x", upstream = { "Yes", ", <", "b" }, no_shake = true }
    assert.same({ { token = "Yes" }, { token = ", <" }, { token = "b" } }, r.events)
  end)

  it("a flood of blanks is no thought, and is not held for ever", function()
    local blanks = (" "):rep(2000)
    assert.equal(blanks .. "<think>a</think>b", text_of(blanks .. "<think>a</think>b"))
  end)

  it("knows other tags, and thoughts that are open already", function()
    assert.equal("b", text_of("<my-tag>a</my-tag> b", gateway 'extract_think { tag = "my-tag" }'))
    assert.equal("b", text_of("a</think>\nb", gateway "extract_think { opened = true }"))
    assert.equal("", text_of("no end", gateway "extract_think { opened = true }"))
  end)

  it("leaves the reasoning channel alone, and what comes after the first block", function()
    assert.equal("ab<think>", g:ask({ q = "x", upstream = { "<think>x</think>a", { reasoning_content = "<think>" }, "b<think>" } }).text)
  end)

  it("refuses a tag that is no word", function()
    local loaded, why = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } },\n' ..
      'routes = { a = { path = "/a", front = "token", target = "m", policies = {\nsluice.parts.extract_think {\ntag = "<x>" } } } } }' }
    assert.is_nil(loaded)
    assert.matches(":5: routes.a.policies%[1%].tag: must be a word", why)
  end)
end)

describe("another try", function()
  it("is a new answer for limits and extract_think", function()
    local t2 = assert(t.load { source = [[
local sluice = require "sluice"
local H = sluice.policy { name = "hold", filter = { unit = "all", check = function() end } }
local function model(host) return { provider = "openai", url = "http://" .. host .. ".test/v1", model = "x" } end
return sluice.config { api = 1, listen = ":0", models = { m = model "m", n = model "n" },
  routes = { ask = { path = "/api/stream", front = "token", target = { "m", "n" },
    policies = { H, sluice.parts.limits { output_chars = 5 }, sluice.parts.extract_think {} } } } }]] })
    local r = t2:ask { q = "x", no_shake = true, upstream = { m = { "<think>a</think>abcd", t.reset() }, n = { "<think>b</think>12345678" } } }
    assert.equal("12345", r.text)
  end)
end)

describe("rate_limit", function()
  local function refused(part)
    local g, why = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", models = { m = { answer = function() end } },\n' ..
      'routes = { a = { path = "/a", front = "token", target = "m", policies = { ' .. part .. ' } } } }' }
    assert.is_nil(g)
    return why
  end

  it("refuses at load what could never work", function()
    assert.matches("per: must be at least", refused 'sluice.parts.rate_limit { rate = 2, per = "0s" }')
    assert.matches("rate: must be a number", refused "sluice.parts.rate_limit { rate = 0/0 }")
    assert.matches("rate", refused "sluice.parts.rate_limit { rate = 1/0 }")
  end)

  it("counts uses of one bucket together, all others each for itself", function()
    local function gateway_of(bucket)
      return assert(t.load { source = ([[local sluice = require "sluice"
local function route(path) return { path = path, front = "token", target = "m", policies = { sluice.parts.rate_limit { rate = 2, %s } } } end
return sluice.config { api = 1, listen = ":0", models = { m = function() end }, routes = { a = route "/a", b = route "/b" } }]]):format(bucket) })
    end
    local function status(g, path) return g:ask({ path = path, q = "x", ip = "192.0.2.4" }).status end
    local g = gateway_of 'bucket = "spec"'
    assert.same({ 200, 200, 429, 429 }, { status(g, "/a"), status(g, "/b"), status(g, "/a"), status(g, "/b") })
    g = gateway_of ""
    assert.same({ 200, 200, 200, 200, 429 }, { status(g, "/a"), status(g, "/b"), status(g, "/a"), status(g, "/b"), status(g, "/a") })
  end)

  it("a cost above the burst is refused with 429, not with an error of ours", function()
    local r = gateway("rate_limit { rate = 2, cost = 5 }"):ask { q = "x" }
    assert.equal(429, r.status)
  end)
end)

describe("paths of files", function()
  it("are one a route", function()
    local g, why = t.load { source = 'local sluice = require "sluice"\nreturn sluice.config { api = 1, listen = ":0", routes = { a = { path = { "/a", "/b" }, files = "." } } }' }
    assert.is_nil(g)
    assert.matches("has one path", why)
  end)
end)
