-- The policy alone, then the gateway: `build/sluice test examples/pii/spec`.
local t = require "sluice.testing"

describe("pii", function()
  local g = t.load { policies = { "policies.pii" } }

  it("keeps the address from the model and gives it back, however the tokens fall", function()
    local r = g:chat { user = "Write to jane.roe@example.com please",
                       upstream = { "Mail sent to <EM", "AIL_", "1>", ", done." } }
    assert.equal("Write to <EMAIL_1> please", r.upstream[1].messages[1].content)
    assert.equal("Mail sent to jane.roe@example.com, done.", r.text)
  end)

  it("removes data that the model invents", function()
    local r = g:chat { user = "hi", upstream = { "Ask bo", "b@corp.", "io or pay with 4111 1111 ", "1111 1111 now" } }
    assert.equal("Ask [email removed] or pay with [card removed] now", r.text)
  end)

  it("also watches the reasoning channel", function()
    local r = g:chat { user = "hi", upstream = { { reasoning = "user is bob@cor" }, { reasoning = "p.io?" }, "Hello" } }
    assert.equal("user is [email removed]?", r.reasoning)
  end)

  it("gives one text one placeholder, all through the conversation", function()
    local r = g:chat { messages = { { role = "user", content = "a@b.org, c@d.org" }, { role = "assistant", content = "Which?" }, { role = "user", content = "a@b.org or +1 555 010 9999" } },
                       upstream = { "<EMAIL_2> or <PHONE_3>, not <EMAIL_1>" } }
    assert.equal("<EMAIL_1>, <EMAIL_2>", r.upstream[1].messages[1].content)
    assert.equal("<EMAIL_1> or <PHONE_3>", r.upstream[1].messages[3].content)
    assert.equal("c@d.org or +1 555 010 9999, not a@b.org", r.text)
    assert.same({ pii_masked = "3", pii_removed = "0" }, r.tags)
  end)

  it("leaves alone what only looks like a placeholder", function()
    local r = g:chat { user = "a@b.org", upstream = { "<EMAIL_2> <EMAIL_1", "0> <NAME_1> <EMAIL_1>" } }
    assert.equal("<EMAIL_2> <EMAIL_10> <NAME_1> a@b.org", r.text)
  end)

  it("can keep the user's own data out of the answer, too", function()
    local strict = t.load { policies = { { "policies.pii", restore = false } } }
    local r = strict:chat { user = "a@b.org", upstream = { "Mail <EMAIL_", "1> sent" } }
    assert.equal("Mail <EMAIL_1> sent", r.text)
  end)

  it("holds back no more than may become an address", function()
    local r = g:chat { user = "hi", upstream = { "A long tale without anything personal in it, ", "told ", "word ", "by ", "word." }, no_shake = true }
    assert.is_true(r.held_max <= #"word.")
  end)
end)

describe("the gateway", function()
  it("shows it without a model's key", function()
    local r = assert(t.load "gateway.lua"):ask { q = "Call me at jane@example.com" }
    assert.equal("I was told: Call me at |EMAIL_1|\nYou wrote: Call me at jane@example.com\nOr ask [email removed].", r.text)
  end)
end)
