-- `sluice key NAME`: a fresh key, shown this once, and its line for the file of sluice.parts.api_keys.
local host = require "sluice.host"
require "sluice.load"
local sandbox = require "sluice.sandbox"

local PREFIX = "sk-sluice-"                              -- scanners of leaked secrets, and people, see what it is
local BYTES = 32
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local function base64url(bytes)
  local out, bits, n = {}, 0, 0
  local function put(digit) out[#out + 1] = DIGITS:sub(digit + 1, digit + 1) end
  for i = 1, #bytes do
    bits, n = (bits << 8 | bytes:byte(i)) & 0xFFFF, n + 8
    while n >= 6 do
      n = n - 6
      put(bits >> n & 63)
    end
  end
  if n > 0 then put(bits << 6 - n & 63) end
  return table.concat(out)
end

return function(words)
  local key = PREFIX .. base64url(host.random(BYTES))
  local line, why = sandbox.public_module("sluice.parts.shared.key_file").line(words[1], key)
  if not line then return 2, nil, ("sluice: key: %s, at most 64 of them; sluice key alice\n"):format(why) end
  return 0, ("%s\n%s\n"):format(key, line), "The first line is the key, shown this once; the second goes into the file of sluice.parts.api_keys.\n"
end
