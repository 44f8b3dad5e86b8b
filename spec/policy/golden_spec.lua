-- Each front before each provider dialect: what its client gets, streaming and not, is written down in golden/FRONT-PROVIDER.json, and is the same wherever
-- the upstream's bytes are cut. `sluice test spec/policy/golden_spec.lua --update` writes it down anew; then read what changed.
local t = require "sluice.testing"
local pairs_of = require "spec.policy.pairs"
local matrix = require "spec.policy.matrix"

-- ---- what upstreams do: recordings of spec/wire, and failures

local WIRE = {
  openai    = { plain = "plain", reasoning = "reasoning", tools = "tools", usage = "usage", length = "length", filter = "filter", refusal = "refusal", error_late = "error" },
  anthropic = { plain = "plain", reasoning = "reasoning", tools = "tools", usage = "cache", length = "max-tokens", filter = "refusal", error_late = "error",
    stop = "old-usage", redacted = "redacted" },
  gemini    = { plain = "plain", reasoning = "reasoning", tools = "tools", usage = "usage", length = "length", filter = "safety", error_late = "error" },
  ollama    = { plain = "plain", reasoning = "reasoning", tools = "tools", usage = "usage", length = "length", error_late = "error" },
  responses = { plain = "plain", reasoning = "reasoning", tools = "tools", usage = "usage", length = "length", filter = "filter", refusal = "refusal", error_late = "error" },
}

local ERROR_FIRST = {
  openai    = 'data: {"error":{"message":"The engine is down.","type":"server_error","param":null,"code":"engine_down"}}\n\n',
  anthropic = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
  gemini    = 'data: {"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}\n\n',
  ollama    = '{"error":"model runner has unexpectedly stopped"}\n',
  responses = 'event: error\ndata: {"type":"error","sequence_number":0,"code":"server_error","message":"The engine is down.","param":null}\n\n',
}

-- An answer that is no stream: the body as this provider writes it.
local FAILED = {
  openai    = '{"error":{"message":"%s","type":"invalid_request_error","param":null,"code":"why"}}',
  anthropic = '{"type":"error","error":{"type":"invalid_request_error","message":"%s"},"request_id":"req_1"}',
  gemini    = '{"error":{"code":400,"message":"%s","status":"INVALID_ARGUMENT"}}',
  ollama    = '{"error":"%s"}',
  responses = '{"error":{"message":"%s","type":"invalid_request_error","param":"input","code":"why"}}',
}
local STATUS = { status_400 = 400, status_429 = 429, status_500 = 500, status_503 = 503 }

-- What a row of the README's matrix calls these, and the fronts that have no way to tell it.
local KINDS = { plain = "plain", tools = "tools", reasoning = "reasoning", usage = "usage", error_late = "errors" }
local UNTOLD = { ui = { plain = true, usage = true }, token = { plain = true, usage = true, tools = true, reasoning = true }, completions = { tools = true, reasoning = true } }

local function bytes_of(provider, name)
  if name == "error_first" then return ERROR_FIRST[provider] end
  return pairs_of.read(("spec/wire/%s/%s.%s"):format(provider, WIRE[provider][name], pairs_of.framing[provider]))
end

local function upstream(provider, name, pieces)
  if not STATUS[name] then return pairs_of.stream(provider, pieces or { bytes_of(provider, name) }) end
  return { t.fail(STATUS[name], { ["content-type"] = "application/json", ["retry-after"] = (STATUS[name] == 429 or STATUS[name] == 503) and "7" or nil }, FAILED[provider]:format "Not like this.") }
end

local function scenarios(provider)
  local out = { "error_first", "status_400", "status_429", "status_500", "status_503" }
  for name in pairs(WIRE[provider]) do out[#out + 1] = name end
  table.sort(out)
  return out
end

-- ---- what clients get

-- The filter looks at everything and changes nothing: without it bytes of the same dialect would pass as they are (passing_spec.lua).
local FILTER = 'P.filter = { match = sluice.match.regex "\\\\x{7f}never", replace = "" }'
local gateway, gateway_of                                -- of the pair that is asked; each has its own, for a world remembers all that it was asked

local function ask(front, provider, name, stream, pieces)
  if gateway_of ~= front .. provider then gateway, gateway_of = pairs_of.gateway(provider, "policies = { P }", FILTER), front .. provider end
  local want = pairs_of.request(front, { text = "What is the weather in Köln?", stream = stream, usage = name == "usage" })
  want.upstream = upstream(provider, name, pieces)
  return gateway:ask(want)
end

local function lines_of(text)
  local out = {}
  for line in text:gmatch "([^\n]*)\n" do out[#out + 1] = line end
  return out
end

local SHOWN = { "content-type", "retry-after", "x-should-retry", "x-vercel-ai-ui-message-stream" }

-- As it is written down: status, headers, and the events of a stream (between two a blank line) or the body.
local function written(x)
  local headers, stream = {}, pairs_of.streamed(x)
  for _, shown in ipairs(SHOWN) do
    for name, v in pairs(x.headers) do
      if name:lower() == shown then headers[shown] = v end
    end
  end
  return { status = x.status, headers = headers, events = stream and lines_of(stream), body = not stream and pairs_of.body_of(x) or nil }
end

-- The same for comparing, fast.
local function got(x)
  return pairs_of.streamed(x) or ("%d %s"):format(x.status, pairs_of.body_of(x))
end

-- ---- where bytes are cut

-- The recording in pieces that begin at `first` and then every `step` bytes.
local function cut(bytes, first, step)
  local out, from = { bytes:sub(1, first) }, first + 1
  while from <= #bytes do
    out[#out + 1] = bytes:sub(from, from + step - 1)
    from = from + step
  end
  return out
end

-- So many cuts at a time; each byte is one of them in one of the replays.
local function every_byte(front, provider, name, stream, cuts)
  local bytes, whole = bytes_of(provider, name), got(ask(front, provider, name, stream))
  local step = #bytes // cuts + 1
  for first = 1, step do
    local now = got(ask(front, provider, name, stream, cut(bytes, first, step)))
    if now ~= whole then assert.equal(whole, now, ("%s, cut at byte %d and then each %d"):format(name, first, step)) end
  end
end

local function byte_by_byte(front, provider, name, stream)
  assert.equal(got(ask(front, provider, name, stream)), got(ask(front, provider, name, stream, cut(bytes_of(provider, name), 1, 1))), name .. ", byte by byte")
end

local EVERY_BYTE = { plain = true, tools = true }

for _, front in ipairs(pairs_of.fronts) do
  for _, provider in ipairs(pairs_of.providers) do
    describe(("front %s before %s"):format(front, provider), function()
      it("tells what is written down", function()
        local all = {}
        for _, name in ipairs(scenarios(provider)) do
          all[name] = { stream = written(ask(front, provider, name, true)), whole = pairs_of.whole[front] and written(ask(front, provider, name, false)) or nil }
        end
        t.golden(("%s-%s"):format(front, provider), all)
        matrix.passed(front, provider, "stream")
        for _, kind in pairs(KINDS) do
          if not (UNTOLD[front] or {})[kind] then matrix.passed(front, provider, kind) end
        end
      end)

      it("tells the same wherever the upstream's bytes are cut", function()
        for name in pairs(WIRE[provider]) do
          if EVERY_BYTE[name] then
            every_byte(front, provider, name, true, 8)
            if pairs_of.whole[front] then every_byte(front, provider, name, false, 48) end
          else
            byte_by_byte(front, provider, name, true)
            if pairs_of.whole[front] then byte_by_byte(front, provider, name, false) end
          end
        end
      end)
    end)
  end
end
