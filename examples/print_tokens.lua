-- Prints the text of a token stream (stdin) as it arrives; exits 0 only if the stream ended with [DONE].
local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function unescape(json)
  local text = json:gsub("\\u(d[89ab]%x%x)\\u(d[c-f]%x%x)", function(high, low)
    return utf8.char(0x10000 + ((tonumber(high, 16) - 0xd800) << 10) + (tonumber(low, 16) - 0xdc00))
  end)
  text = text:gsub("\\u(%x%x%x%x)", function(hex) return utf8.char(tonumber(hex, 16)) end)
  return (text:gsub("\\(.)", escapes))
end

for line in io.lines() do
  local token = line:match('^data: {"token":"(.*)"}$')
  if token then
    io.write(unescape(token))
    io.flush()
  elseif line == "data: [DONE]" then
    io.write("\n")
    os.exit(0)
  elseif line:match '"error"' then
    io.stderr:write("\n", line, "\n")
    os.exit(1)
  end
end
io.stderr:write("\nthe stream ended without [DONE]\n")
os.exit(1)
