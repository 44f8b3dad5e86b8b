-- What sluice.config takes.
return {
  title = "Configuration",
  text = "`return sluice.config { ... }` ends the gateway file. Numbers and sizes may be given as texts, as sluice.env gives them. A reload (SIGHUP) reads models, routes and "
    .. "policies again; address, workers, generations, the snapshot and limits count at the start only.",
  classes = {
    { "config", "sluice.Config", "What sluice.config takes.", exact = true },
    { "limits", "sluice.Limits", "What a client may send and hold.", exact = true },
    { "snapshot", "sluice.Snapshot", "Where counters are kept, and how often.", exact = true },
    { "responses", "sluice.ResponsesSettings", "What is kept for clients of OpenAI's Responses API.", exact = true },
    { "service", "sluice.ServiceSettings", "A host that policies may call.", exact = true },
    { "model", "sluice.Model", "Who answers: an upstream, or a Lua function.", exact = true },
    { "route", "sluice.Route", "A path, what its clients speak, its policies and its model; or a directory of files.", exact = true },
    { "prerelease", "sluice.Prerelease", "How much of the beginning of an answer is held back.", exact = true },
    { "hedge", "sluice.Hedge", "When a second try is started beside the first, and how often.", exact = true },
    { "timeout", "sluice.Timeouts", "How long an answer may take.", exact = true },
    { "breaker", "sluice.Breaker", "When a model that keeps failing is left alone.", exact = true },
    { "probe", "sluice.Probe", "How a model is asked whether it lives.", exact = true },
    { "retry", "sluice.Retry", "How often the same model is asked again.", exact = true },
    { "caller", "sluice.Caller", "What a pool's affinity function sees beside the request." },
  },

  { "config.api", "1", "The version of the API that the file is written for." },
  { "config.listen", "string", 'Address and port: "127.0.0.1:4001", "[::1]:4001", ":8080" for all addresses.' },
  { "config.models?", "table<string, sluice.Model|fun(req: sluice.Request, out: sluice.Out)>", "Who answers, by the names that routes and policies use.",
    example = [[
models = {
  fast = { provider = "openai", model = "gpt-4o-mini", key = sluice.secret "OPENAI_API_KEY" },
  echo = function(req, out) out:text(req:last_user()) end,
}]] },
  { "config.routes", "table<string, sluice.Route>", "What is served, by name.",
    example = [[routes = { ask = { path = "/api/stream", front = "token", target = "fast" }, page = { path = "/", files = "web" } }]] },
  { "config.trusted_proxies?", "string|string[]", 'Networks or addresses whose X-Forwarded-For counts: "10.0.0.0/8, ::1".' },
  { "config.workers?", "integer|string", "Threads; 0 (the default) for one for each core." },
  { "config.drain?", "sluice.Duration", 'How long running streams may still take when the gateway ends; "30s" by default.' },
  { "config.memory?", "sluice.Size", 'The most that the Lua of one worker may use; "64mb" by default, "4mb" at least. A worker whose Lua keeps more than 80 % of it begins anew '
    .. "with a fresh one, from the same files; what runs ends with what it began with." },
  { "config.generations?", "integer", "How many readings of the file may be in use at a time, the current one among them; 4 by default, 2 at least. Beyond, a reload waits for the "
    .. "streams of the oldest to end; `sluice reload --force` ends them." },
  { "config.snapshot?", "string|sluice.Snapshot", "A file that the counters of this gateway are kept in over a restart (those with a store need none): written every 10 s and at the end, read at the "
    .. "start. One that is damaged or of another version is refused with a line in the log, and all begin at nothing. Keys of more than 128 bytes begin anew. One file for one gateway; it "
    .. "holds the keys that policies count by, and is readable by its owner alone." },
  { "config.responses?", "sluice.ResponsesSettings", "Clients of OpenAI's Responses API may name what they were told instead of saying it again (item_reference, previous_response_id), as "
    .. "the AI SDK does by default. Unless they say store = false their answers are kept for that, in the memory of this process.", example = [[responses = { keep = "10m" }]] },
  { "responses.keep?", "sluice.Duration|false", '"1h" by default; false: nothing is kept.' },
  { "responses.max_bytes?", "sluice.Size", 'Of all answers together; "64mb" by default. The oldest make room.' },
  { "config.limits?", "sluice.Limits", "What a client may send and hold." },

  { "snapshot.file", "string", "Relative to the gateway file; its directory must be there." },
  { "snapshot.every?", "sluice.Duration", '"10s" by default: what was counted since then is lost when the process is killed.' },

  { "limits.head?", "sluice.Size", 'Request line and headers; "64kb" by default. Beyond: 431.' },
  { "limits.body?", "sluice.Size", '"1mb" by default. Beyond: 413.' },
  { "limits.connections?", "integer|string", "Connections of one worker; 1024 by default. Beyond, new ones wait." },
  { "limits.head_timeout?", "sluice.Duration", 'Until the headers are in; "10s" by default. Beyond: 408.' },
  { "limits.body_timeout?", "sluice.Duration", 'Until the body is in; "30s" by default. Beyond: 408.' },
  { "limits.idle_timeout?", "sluice.Duration", 'Between two requests of a connection; "75s" by default.' },
  { "limits.write_stall?", "sluice.Duration", 'How long a client may take nothing of what waits for it; "60s" by default.' },

  { "config.services?", "table<string, sluice.ServiceSettings>", "The only hosts that policies can reach (or functions in their place), by the names that sluice.service takes.",
    example = [[services = { directory = { url = "http://127.0.0.1:8000", auth = sluice.secret "DIRECTORY_API_KEY", timeout = "500ms" } }]] },
  { "service.url?", "string", 'The base of its URLs; or "redis://HOST:PORT/DATABASE" of a Redis server, for `sluice.redis` and for counters and limiters with a store.' },
  { "service.answer?", "async fun(call: table): (string|table|nil)",
    "A Lua service, in place of a host: it is called with { service, method, path, query, headers, body, json } and returns { status =, headers =, body = or json = }, "
    .. "a text, or nil (then it was not to be reached). It runs within the hook that asks and may wait. The default of an example, or a mock.",
    params = { call = "What was asked." },
    example = [[
services = { directory = function(call)
  if call.query.key ~= "k1" then return { status = 404 } end
  return { json = { name = "acme", tier = "gold" } }
end }]] },
  { "service.auth?", "sluice.Secret|string", "Sent as Authorization: Bearer ..., unless a call sets that header. To a Redis server: its password." },
  { "service.user?", "string", "Of a Redis server: who we are, beside the password in auth." },
  { "service.prefix?", "string", 'Of a Redis server: what the keys of counters and limiters begin with; "sluice:" by default. Gateways with another prefix do not share them.' },
  { "service.ca?", "string", "A PEM file of certificates to trust in place of the system's." },
  { "service.timeout?", "sluice.Duration", 'For a whole call; "1500ms" by default, since all waits of one filter call may take 2 s. A call may say otherwise.' },
  { "service.connect?", "sluice.Duration", "Until the service is reached." },
  { "service.max_parallel?", "integer|string", "Calls of one worker at a time; further ones wait for their turn. No bound by default; 32 for a Redis server, where each takes a connection." },
  { "service.max_body?", "sluice.Size", 'The largest answer that is taken; "1mb" by default.' },

  { "model.provider?", "string|table", 'What the upstream speaks: "openai", "anthropic" ..., or a dialect of your own (see `provider.request`).' },
  { "model.options?", "table", "What its dialect wants to know besides, such as { max_tokens = 4096 }; see the head of lua/sluice/dialects/NAME.lua." },
  { "model.url?", "string", "The base of its URLs; a dialect may have a default." },
  { "model.model?", "string", "The model's name at the provider." },
  { "model.key?", "sluice.Secret|string", 'sluice.secret "NAME".' },
  { "model.ca?", "string", "A PEM file of certificates to trust in place of the system's." },
  { "model.timeout?", "sluice.Timeouts", "In place of the route's, clock by clock." },
  { "model.prefill?", "boolean|table", "Whether its server goes on with a last message of the assistant (`route.on_death`): true, or what the body of such a request needs. By default as "
    .. "its dialect says: anthropic yes, others no.",
    example = [[
models = { own = { provider = "openai", url = "http://vllm.internal:8000/v1", model = "qwen",
  prefill = { continue_final_message = true, add_generation_prompt = false } } }]] },
  { "model.answer?", "async fun(req: sluice.Request, out: sluice.Out): sluice.Verdict?",
    "A Lua model: answers itself. It has no provider, url, model, key or ca. Its text passes the same filters and limits.",
    params = { req = "The request, as the hook prompt left it.", out = "Where the answer goes." },
    example = [[
models = { clock = { answer = function(_, out)
  for i = 1, 3 do out:text(i .. " "); sluice.sleep "1s" end
end } }]] },

  { "model.pool?", "string|string[]", "The model stands for several: the names of its members, which are models with settings of their own. Which of them is asked says `model.balance`; "
    .. "when it fails before its first text, or is not free, another member is asked, then what stands behind in the plan. Policies see the member as ctx.target, the log "
    .. "names both. A model with a pool has nothing but pool, balance, weights and affinity.",
    example = [[
models = {
  eu = { provider = "openai", url = "http://eu.internal:8000/v1", model = "llama", max_parallel = 40 },
  us = { provider = "openai", url = "http://us.internal:8000/v1", model = "llama", max_parallel = 20 },
  smart = { pool = { "eu", "us" }, weights = { eu = 2 } },
}]] },
  { "model.balance?", '"weighted"|"least_busy"', '"weighted" (the default): by turns, each member exactly its share, counted over all workers. "least_busy": the member with the fewest '
    .. "running requests for its weight; of equals by turns." },
  { "model.weights?", "table<string, integer>", "The members' shares, from 1 to 100; 1 for who is not named." },
  { "model.affinity?", '"key"|"client"|fun(req: sluice.Request, caller: sluice.Caller): (string|integer)?',
    'Who says the same gets the same member while that is free, on every worker and after a restart: "key" goes by ctx.key.id, "client" by its address, a function by what it returns '
    .. "(nothing: by the balance). It may not wait. While its member is not free another takes its place, always the same one.",
    params = { req = "The request, as the hook prompt left it.", caller = "Who asks." },
    example = [[models = { smart = { pool = { "eu", "us" }, affinity = function(req, caller) return caller.key and caller.key.id or req:text() end } }]] },
  { "model.max_parallel?", "integer|string", "Requests that run on it at a time, over all workers. When so many do, the next in the pool or plan is asked; when none is left, the client "
    .. "gets 429 model_busy with Retry-After. No bound by default." },
  { "model.breaker?", "sluice.Breaker|boolean", "On by default for members of pools, off for others, whose clients would have no other model. After so many failures within the window, "
    .. "in a row or at least half of its tries there, it is not asked for a while; then one request may try, and what becomes of that closes or opens it again. Failures are those of the network, "
    .. "broken or missing answers, timeouts and statuses from 500 on; not what a request itself is to blame for, nor 429. When no model is left, the client gets 503 model_unavailable "
    .. "with Retry-After.",
    example = [[models = { eu = { provider = "openai", url = "http://eu.internal:8000/v1", model = "llama", breaker = { failures = 3, open = "30s" } } }]] },
  { "model.probe?", "sluice.Probe", "A GET at times, one for all workers, that tells whether it lives; while it does not, it is not asked. An answer in time with a status below 500 is good; no "
    .. "key is sent.",
    example = [[models = { eu = { provider = "openai", url = "http://eu.internal:8000/v1", model = "llama", probe = { path = "/models", every = "5s" } } }]] },
  { "model.retry?", "sluice.Retry|false", "In place of the route's; false: it is not asked again." },

  { "breaker.failures?", "integer|string", "So many open it; 5 by default." },
  { "breaker.window?", "sluice.Duration", 'The time in which they are counted; "10s" by default.' },
  { "breaker.open?", "sluice.Duration", 'How long it stays open; "10s" by default.' },

  { "probe.path", "string", 'What is asked for below the model\'s url: "/models".' },
  { "probe.every?", "sluice.Duration", 'The time between two probes; "10s" by default.' },
  { "probe.timeout?", "sluice.Duration", 'How long an answer may take; "2s" by default, not more than every.' },
  { "probe.healthy?", "integer|string", "So many good answers in a row bring it back; 2 by default." },
  { "probe.unhealthy?", "integer|string", "So many bad ones in a row take it out; 3 by default." },

  { "retry.times", "integer|string", "How often, from 1 to 9. One request makes at most ten tries in all." },
  { "retry.backoff?", "sluice.Duration", 'The longest first wait; "200ms" by default. The second may be twice as long, and so on; each wait is drawn between nothing and that.' },
  { "retry.max?", "sluice.Duration", 'The longest wait of all; "5s" by default. A model that asks for more (Retry-After) is not waited for: the next one is asked.' },

  { "caller.id", "string", "The exchange." },
  { "caller.route", "string", "The name of the route." },
  { "caller.key?", "table", "ctx.key, as policies set it." },
  { "caller.client", "table", "{ ip = }, as ctx.client." },
  { "caller.vars", "table", "ctx.vars, as policies left it." },

  { "route.path", "string|string[]", 'The exact path, or several; "/v1/*" for all that its fronts answer at; for files what their paths begin with.' },
  { "route.front?", "string|table|(string|table)[]", 'What its clients speak: "token", "openai", "anthropic" ..., or a dialect of your own (see `front.read`). A path that ends as a dialect has it, '
    .. "such as /v1/messages, needs none; with a path such as \"/v1/*\" it may be several." },
  { "route.models?", "string[]|table<string, string|string[]>", "The models that clients may ask for by name: { \"smart\", \"fast\" }, or a name of theirs and the models that are tried for it. "
    .. "Any other name is refused with 404; without `models` every name gets the target.",
    example = [[
routes = { chat = { path = "/v1/*", models = { ["gpt-4o"] = { "smart", "fast" }, mini = "fast" } } }]] },
  { "route.target?", "string|string[]", "The model that answers when no policy picks one; of several the next is tried when one fails before its first text. Needed unless it serves files." },
  { "route.policies?", "(sluice.Policy|string|sluice.Use|sluice.Group)[]", "The policies, client side first: requests pass them in this order, answers in the opposite one.",
    example = [[
routes = { ask = { path = "/ask", front = "token", target = "fast",
  policies = { sluice.parts.rate_limit { rate = 10, per = "1m" }, "policies.pii", { "policies.tone", strict = true } } } }]] },
  { "route.timeout?", "sluice.Timeouts", "How long an answer may take." },
  { "route.retry?", "sluice.Retry|false", "The same model is asked again, after a wait, when it failed before its first text in a way that may pass: no connection, a broken answer, an error "
    .. "that it reported, 429, statuses from 500 on. Not after a timeout: then the next model's turn has come. A hook fallback that says something comes first. Without it none is asked "
    .. "again.",
    example = [[routes = { ask = { path = "/ask", front = "token", target = { "smart", "plain" }, retry = { times = 2, backoff = "200ms" } } }]] },
  { "route.heartbeat?", "sluice.Duration", 'A comment is sent whenever nothing was sent for so long; "15s" by default.' },
  { "route.prerelease?", "sluice.Prerelease", "The beginning of each streamed answer is held back until it is so long or so old, whichever comes first, or until it ends. Until then a model "
    .. "that dies is replaced unseen, and what a policy refuses has its own status. Comments (heartbeats) are sent as ever. None by default.",
    example = [[routes = { ask = { path = "/ask", front = "token", target = { "fast", "smart" }, prerelease = { chars = 400, time = "500ms" } } }]] },
  { "route.on_death?", '"error"|"continue"|"restart"', 'What happens when a model dies behind text that was sent. "error" (the default): one error event ends the answer. "continue": the next model '
    .. "of the plan that can (else the same one) is asked with the text so far as a last message of the assistant, and goes on in the same answer; three times at most, only for an answer of "
    .. 'one choice that is text alone (no reasoning, no tool calls) of at most 256 KiB. The limit max_tokens counts for each part, and bytes of the upstream do not pass as they are. '
    .. '"restart": another begins anew, but only while '
    .. "nothing was sent, that is within `route.prerelease`; behind it as error.",
    example = [[routes = { ask = { path = "/ask", front = "token", target = { "claude", "own" }, on_death = "continue" } }]] },
  { "route.hedge?", "sluice.Hedge", "A second try is started beside one that gave no text in time, on the next model of the plan (on the same when there is none); once a request. Whose "
    .. "first text or tool call comes first answers, the other is cancelled at once. When one fails the other goes on alone, and the plan goes on when both have failed. The hooks "
    .. "`attempt` run for it (while one waits the first try is paused; a refusal means no second try), the hooks `response` for the winner, at its first text. Lua models and "
    .. "embeddings are not hedged.",
    example = [[routes = { ask = { path = "/ask", front = "token", target = { "fast", "other" }, hedge = { after = "800ms", budget = "5%" } } }]] },
  { "route.files?", "string", "A directory to serve, relative to the gateway file; such a route has nothing but a path." },

  { "hedge.after", "sluice.Duration", "From the try's beginning, without a text, a thought or a tool call." },
  { "hedge.budget?", "string", 'Of the requests of a worker so many may be hedged; "10%" by default. Each request earns its share, of which at most ten hedges are kept.' },

  { "prerelease.chars?", "integer|string", "Characters, after the filters; at most 20000. (256 KiB of events leave in any case.)" },
  { "prerelease.time?", "sluice.Duration", 'From the first text that is held; at most "10s".' },

  { "timeout.connect?", "sluice.Duration", 'Until the upstream is reached; "10s" by default. Then upstream_connect_timeout.' },
  { "timeout.first_token?", "sluice.Duration", 'Until its first text; "60s" by default. Then first_token_timeout.' },
  { "timeout.gap?", "sluice.Duration", 'Between two texts; "60s" by default. Then gap_timeout.' },
  { "timeout.total?", "sluice.Duration", "For the whole request; none by default. Then total_timeout." },
}
