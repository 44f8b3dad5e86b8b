-- Ends answers that begin in the wrong script: a model asked in English that answers in Chinese.
--
--   sluice.parts.language { allow = { "latin" } }
--   sluice.parts.language { allow = { "han", "kana" }, action = "reject" }             -- Japanese
--
-- It goes by the script of the letters and so tells English from Russian, not English from French. The first `chars` characters are held until they are
-- judged; what comes after them is not looked at. Letters of scripts that are not listed below count for nobody, as digits and signs do.
local sluice = require "sluice"

-- Each script's blocks of Unicode: first and last code point of each.
local SCRIPTS = {
  latin = { 0x41, 0x5A, 0x61, 0x7A, 0xAA, 0xAA, 0xBA, 0xBA, 0xC0, 0xD6, 0xD8, 0xF6, 0xF8, 0x24F, 0x1E00, 0x1EFF, 0xFF21, 0xFF3A, 0xFF41, 0xFF5A },
  greek = { 0x370, 0x3FF, 0x1F00, 0x1FFF }, cyrillic = { 0x400, 0x52F, 0x1C80, 0x1C8F, 0x2DE0, 0x2DFF, 0xA640, 0xA69F }, armenian = { 0x531, 0x587 },
  hebrew = { 0x5D0, 0x5F2 }, arabic = { 0x620, 0x65F, 0x66E, 0x6D3, 0x750, 0x77F, 0x8A0, 0x8FF, 0xFB50, 0xFDFF, 0xFE70, 0xFEFC },
  devanagari = { 0x900, 0x963, 0x971, 0x97F }, bengali = { 0x980, 0x9E3 }, gurmukhi = { 0xA01, 0xA75 }, gujarati = { 0xA81, 0xAE3 }, tamil = { 0xB82, 0xBD7 },
  telugu = { 0xC00, 0xC63 }, kannada = { 0xC80, 0xCE3 }, malayalam = { 0xD00, 0xD63 }, sinhala = { 0xD81, 0xDDF }, thai = { 0xE01, 0xE4E }, lao = { 0xE81, 0xECD },
  myanmar = { 0x1000, 0x103F }, georgian = { 0x10A0, 0x10FF }, ethiopic = { 0x1200, 0x135F }, khmer = { 0x1780, 0x17D3 },
  hangul = { 0x1100, 0x11FF, 0x3131, 0x318E, 0xAC00, 0xD7A3 }, kana = { 0x3041, 0x3096, 0x30A1, 0x30FE, 0xFF66, 0xFF9D },
  han = { 0x3400, 0x4DBF, 0x4E00, 0x9FFF, 0xF900, 0xFAFF, 0x20000, 0x2FA1F },
}

local names, blocks = {}, {}                              -- blocks: { first, last, script } by first
for name, list in pairs(SCRIPTS) do
  names[#names + 1] = name
  for i = 1, #list, 2 do blocks[#blocks + 1] = { list[i], list[i + 1], name } end
end
table.sort(names)
table.sort(blocks, function(a, b) return a[1] < b[1] end)

local P = sluice.policy {
  name = "language",
  api  = 1,
  doc  = "Ends answers whose first letters are of another script than the allowed ones.",
  options = {
    allow  = { type = "list", required = true, min = 1, of = { type = "string", one_of = names }, doc = "The scripts." },
    chars  = { type = "integer", default = 200, min = 1, max = 5000, doc = "How many characters of an answer are judged." },
    share  = { type = "number", default = 0.5, min = 0, max = 1, doc = "What share of the letters must be of these scripts." },
    action = { type = "string", default = "stop", one_of = { "stop", "reject" }, doc = "Whether the answer ends with `text`, or the request fails." },
    text   = { type = "string", default = "[This answer was withheld: it is in a language that is not allowed here.]", doc = "What the client gets instead." },
  },
}

-- The script of a letter; nil for all else.
local function script_of(code)
  local low, high = 1, #blocks
  while low < high do                                     -- the last block that begins at or before it
    local middle = (low + high + 1) // 2
    if blocks[middle][1] <= code then low = middle else high = middle - 1 end
  end
  local block = blocks[low]
  return block[1] <= code and code <= block[2] and block[3] or nil
end

local function fits(text, o)
  local allowed, letters, good = {}, 0, 0
  for _, name in ipairs(o.allow) do allowed[name] = true end
  for _, code in utf8.codes(text) do
    local script = script_of(code)
    if script then letters = letters + 1 end
    if allowed[script or 0] then good = good + 1 end
  end
  return good >= letters * o.share
end

function P.attempt(try, ctx)
  if not try.continues then ctx.state.judged = nil end    -- another try begins a new answer
end

P.filter = {
  on   = { "content" }, changes = false,                  -- held until it is judged, then as it was
  text = function(text, ctx, part)
    local o, s = ctx.options, ctx.state
    if s.judged then return end
    if utf8.len(text) < o.chars and not part.last then return "", text end
    s.judged = true
    if fits(text:sub(1, (utf8.offset(text, o.chars + 1) or #text + 1) - 1), o) then return end
    ctx:tag("language_refused", true)
    if o.action == "reject" then return sluice.reject(422, "language_not_allowed", "The model answered in a language that is not allowed here.") end
    return sluice.stop { reason = "content_filter", text = o.text }
  end,
}

return P
