-- Random numbers that a seed makes again. generator(seed) -> random; random(n) -> 1 ... n. (splitmix64: neighbouring seeds have nothing in common.)
return function(seed)
  local state = seed
  return function(n)
    state = state + 0x9E3779B97F4A7C15
    local z = state
    z = (z ~ z >> 30) * 0xBF58476D1CE4E5B9
    z = (z ~ z >> 27) * 0x94D049BB133111EB
    return 1 + ((z ~ z >> 31) >> 1) % n
  end
end
