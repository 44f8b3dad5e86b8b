-- Prints the text of a token stream (stdin) as it arrives; exits 0 only if the stream ended with [DONE].
local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- Sluice escapes no more than it must, never in pairs of surrogates.
local function unescape(json)
  return (json:gsub("\\(.)(%x?%x?%x?%x?)", function(c, hex)
    if c == "u" then return utf8.char(tonumber(hex, 16)) end
    return escapes[c] .. hex
  end))
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
