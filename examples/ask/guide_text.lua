-- Sluice's guide, a section a topic: title, also (other words people use for it), text (markdown).
return {
{ title = "What Sluice is", also = "about introduction overview gateway purpose", text = [==[
Sluice is a **streaming gateway for language models**. Browsers and programs ask; Sluice checks the question, builds the prompt, picks
the model and streams the answer back token by token as server-sent events. When something breaks it says so, in words.

A core in C moves bytes and keeps time. Everything that is a *decision* is a Lua script that you write: validate queries, build prompts,
choose models, filter the text of the answer, shape errors. No recompiling.]==] },

{ title = "Getting started", also = "install build run quickstart begin start setup debian", text = [==[
On Debian 12:

```sh
sh examples/quickstart.sh
```

installs what is missing, builds, and runs `examples/ask/gateway.lua`. Open `http://127.0.0.1:4001/`, or look at the stream:

```sh
curl -N 'http://127.0.0.1:4001/api/stream?q=What+is+a+filter%3F'
```

`build/sluice check FILE` tells every mistake in a gateway file's configuration with its line; `build/sluice run FILE` runs it.]==] },

{ title = "A real model behind the gateway", also = "openai upstream key provider url llm_base_url vllm ollama api connect", text = [==[
Set three variables and start again:

```sh
LLM_BASE_URL=https://api.openai.com/v1 LLM_API_KEY=... LLM_MODEL=gpt-4o-mini sh examples/quickstart.sh
```

Any OpenAI-compatible server works: vLLM, llama.cpp, Ollama's `/v1`. In a gateway file a model is data:

```lua
models = {
  fast = { provider = "openai", url = "http://127.0.0.1:8000/v1", model = "llama-3.3-70b", key = sluice.secret "LLM_API_KEY" },
}
```

Certificates are always verified; `ca = "file.pem"` names your own authority.]==] },

{ title = "Routes", also = "path front target config configuration gateway.lua listen", text = [==[
A gateway file returns `sluice.config { ... }`. Each route says

- `path`: where clients find it,
- `front`: the dialect they speak (`"token"` is made for a browser's `EventSource`),
- `target`: the model that answers,
- `policies`: a list, client side first,
- `timeout = { connect, first_token, gap, total }`: durations such as `"60s"`.

A route with `files = "DIR"` serves static files instead.]==] },

{ title = "Policies and hooks", also = "policy hook accept validate route prompt log script lua write", text = [==[
A policy is a named set of functions:

```lua
local P = sluice.policy { name = "hello", api = 1 }

function P.validate(req, ctx)
  if #req.messages == 0 then return sluice.reject(400, "empty", "Say something.") end
end
```

The hooks, in order: `init` (once), `accept` (the head is in), `validate` (the request is read), `route` (pick models), `prompt` (build messages), `attempt`
(before each try) and `fallback` (a try failed), `response` (the model begins), then `filter` for the answer's text and `tool_call` for whole tool calls,
`finish` (the model is done), `error` for failures, `log` when the client is done. A misspelt hook is refused at load, with its line;
`sluice help NAME` tells about each.]==] },

{ title = "Several models, one after another", also = "fallback plan retry failover attempt models next", text = [==[
`target = { "smart", "plain" }`, or a list that the hook `route` returns, is a plan: the next model is asked when one fails before any text was sent.

```lua
function P.fallback(failure, ctx)
  if failure.status == 400 then return sluice.reject(400, "refused", "The model did not accept this.") end
  return "next"                                            -- or "retry"; nothing: the built-in plan decides
end
```

Text that a filter still holds was not sent, so a model that dies meanwhile is replaced unseen.]==] },

{ title = "Asking another service", also = "service http judge moderation directory external call gate all", text = [==[
Policies reach only hosts that the gateway file declares: `services = { judge = { url = "http://judge.internal:8000", timeout = "800ms" } }`.

```lua
local judge = sluice.service "judge"
function P.prompt(req, ctx)
  ctx:gate(function()                                      -- beside the model; no text leaves before it has ended
    local res, err = judge:post("/v1/judge", { json = { text = req:text "user" } })
    if not res then error(err) end                         -- 503 dependency_failed
    if res.json().flagged then return sluice.reject(422, "topic", "Not about that.") end
  end)
end
```]==] },

{ title = "Changing policies without a restart", also = "reload sighup hup canary rollback promote live swap generation", text = [==[
`build/sluice reload FILE` has the running gateway read its file again. New requests meet the new policies, running streams finish on the old ones, and a file
with a mistake changes nothing: the command prints every mistake with its line. `--canary 5%` gives the new reading to that share of requests first; then
`build/sluice promote FILE` or `build/sluice rollback FILE`. A policy with `mode = "monitor"` changes nothing at all: the log tells what it would have done.]==] },

{ title = "Verdicts", also = "reject reply stop refuse return block deny", text = [==[
A hook returns nothing to let things pass, or a verdict:

- `sluice.reject(status, code, message)` refuses: a status and JSON before the stream, one error event within it;
- `sluice.reply "text"` is a complete answer without a model;
- `sluice.stop { text = "..." }` ends the answer cleanly, from a filter.

Verdicts may also be raised with `error(...)`, so helper functions can end the hook.]==] },

{ title = "Filters and held text", also = "filter redact mask token chunk boundary hold back secret replace", text = [==[
A filter sees the *text* of the answer, never wire chunks; boundaries mean nothing. It returns

- nothing: the text passes unchanged,
- a string: this instead (`""` drops it),
- two strings, `released, held`: send the first; show me the second again, before the next text.

```lua
P.filter = {
  text = function(text, ctx, part)
    local clean = text:gsub("secret", "******")
    local safe = part.last and #clean or math.max(#clean - 5, 0)     -- "secre" may still grow
    return clean:sub(1, safe), clean:sub(safe + 1)
  end,
}
```

Mostly `P.filter = { match = sluice.match.email, replace = "[removed]" }` will do: it finds what it looks for across pieces, too.

What is held was **not sent**. What is sent is final. At the end `part.last` is true and everything leaves.]==] },

{ title = "Waiting in a hook", also = "sleep wait async coroutine yield block", text = [==[
Every hook but `error` may wait, as if it blocked: `sluice.sleep "50ms"`. Other streams go on meanwhile; the upstream of this one is paused, so
nothing piles up. When the client leaves, the wait is cancelled and to-be-closed variables run. Request hooks may wait 5 s together, one
filter call 2 s.]==] },

{ title = "Errors and their codes", also = "error failure code status upstream timeout broken truncated wrong", text = [==[
Before anything was sent (text, or a heartbeat after 15 s) a failure is a status with `{"error":"<sentence>","code":"<word>"}`. After it, exactly one such object is the last event,
and **no** `[DONE]` follows. So a half answer is never silent.

| code | meaning |
|---|---|
| `upstream_connect_failed`, `upstream_tls_failed` | the model service could not be reached, or not trusted |
| `upstream_reset`, `upstream_truncated` | it broke off in the middle |
| `first_token_timeout`, `gap_timeout`, `total_timeout` | one of the clocks ran out |
| `upstream_rate_limited` | it answered 429; its `Retry-After` is handed on |
| `policy_error`, `policy_timeout` | one of your scripts failed: closed, never open |]==] },

{ title = "Timeouts and clocks", also = "timeout clock slow gap total connect first deadline heartbeat keep alive", text = [==[
Four clocks run, each alone: **connect** (10 s), **first_token** (60 s), **gap** between events (60 s) and **total** (none by default; the ask route says 60 s).
While the client or a policy holds the stream, the gap clock stands.

When nothing was sent for 15 s, from time zero, a comment `: keep-alive` goes out, so proxies do not cut a thinking model off.]==] },

{ title = "Rate limits", also = "rate limit 429 throttle requests minute retry after", text = [==[
```lua
sluice.parts.rate_limit { key = "ip", rate = 10, per = "1m" }
```

counts per client address (IPv6 by /64), shared by all workers. Over the limit: 429 with `Retry-After`; every answer carries `RateLimit-Limit`,
`RateLimit-Remaining` and `RateLimit-Reset`. Behind a proxy, name it in `trusted_proxies` so that its `X-Forwarded-For` counts.]==] },

{ title = "CORS", also = "cors origin browser preflight cross", text = [==[
```lua
sluice.parts.cors { origins = { "https://app.example.com", "*.example.com" } }
```

answers preflights with 204 and adds the headers that a browser wants. Put it first in the route's list, before the rate limit.]==] },

{ title = "Behind a proxy", also = "nginx caddy haproxy reverse proxy buffering deploy production", text = [==[
Sluice sends `X-Accel-Buffering: no`, so nginx streams even with its default settings. `examples/proxy/` holds an `nginx.conf`, a `Caddyfile` and
an `haproxy.cfg` that are tested live. HAProxy wants `option http-no-delay`. TLS towards clients is the proxy's work.]==] },

{ title = "Stopping and draining", also = "sigterm shutdown stop drain deploy restart signal health ready", text = [==[
SIGTERM: no new connections, `/readyz` says 503, running streams may finish until `drain` (30 s) is over; then each gets one `shutting_down` error
event. The process ends with 0. A second signal ends it at once. `/healthz` says 200 as long as the process lives.]==] },

{ title = "The log", also = "log line json logging observe metrics monitor", text = [==[
One line per request on stderr, text or JSON (`--log-format json`): id, route, status, tokens, `first_token_ms`, `held_ms`, bytes, and why it ended. The
prompt and keys are never in it. `ctx:tag("tenant", name)` adds a field of yours. SIGUSR1 logs the counters.]==] },

{ title = "Secrets and the environment", also = "secret key env environment variable password", text = [==[
`sluice.env("NAME", default)` reads the environment when the file is loaded; without a default an unset name refuses the load, with file and line.
`sluice.secret "NAME"` is opaque: it can go into `key`, but scripts cannot read or print it, and its value is masked wherever text leaves.]==] },

{ title = "Limits and the sandbox", also = "sandbox memory cpu budget limit loop safe security", text = [==[
Policies run in a sandbox: no files, no processes, no `load`, no globals. A hook has a CPU budget; a watchdog ends a call that burns it, whatever `pcall`
says. Memory is capped per Lua state. A script that fails ends its own stream only. This guards against mistakes, not against hostile authors.]==] },

{ title = "Testing a policy", also = "test spec busted virtual clock mock check", text = [==[
```lua
local t = require "sluice.testing"
local g = t.load "gateway.lua"

it("streams", function()
  local r = g:ask { q = "hi", upstream = { "Hel", t.wait "2s", "lo" } }
  assert.equal("Hello", r.text)
end)
```

`build/sluice test DIR` runs such specs on the real stream machine, with a virtual clock and scripted upstreams.]==] },

{ title = "Reading the stream in a browser", also = "eventsource javascript client page browser sse event stream", text = [==[
```js
const source = new EventSource("/api/stream?q=" + encodeURIComponent(question));
source.onmessage = (e) => {
  if (e.data === "[DONE]") return source.close();
  const message = JSON.parse(e.data);
  if (message.error) { source.close(); show(message.error); } else show(message.token);
};
source.onerror = () => source.close();   // or the browser asks the question again
```]==] },

{ title = "Lua models", also = "answer function canned maintenance mock model lua", text = [==[
A model may be a Lua function: this guide is one.

```lua
models = { closed = { answer = function(req, out) out:text "We are closed today." end } }
```

It may wait, and passes through the same filters, limits and fronts as any other.]==] },
}
