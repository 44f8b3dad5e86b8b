-- What `sluice test` was asked for beside running the specs, and what came of that; a plain busted asks for nothing. run.lua fills it in before any spec is
-- read, so it is the same table in all of them.
return {
  fuzz = 0, seed = 0,                                    -- so many more runs of each exchange; the first one's seed
  update = false,                                        -- golden answers are written, not compared

  fuzzed = { exchanges = 0, cuttings = 0, failures = 0 },
  written = {},                                          -- golden answers, by path: their text
}
