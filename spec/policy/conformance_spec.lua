-- The vectors that pin the API (spec/conformance), on the virtual clock: by `sluice test`, and by a plain busted. spec/flow/conformance.play.mjs plays the
-- same ones over sockets.
local play = require "spec.policy.conformance.play"
local vectors = require "spec.policy.conformance.vectors"

describe("conformance 1:", function()
  for _, vector in ipairs(vectors.of(1)) do
    it(vector.name .. ": " .. vector.about, function()
      if vector.refused then
        local g, why = play.load(vector)
        assert.is_nil(g)
        assert.is_truthy(why:find(vector.refused, 1, true), why)
        return
      end
      play.all(vector)
    end)
  end
end)
