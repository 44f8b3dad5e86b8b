-- What a policy makes of its options while the file loads: prepare, options of the type file, sluice.file.
local t = require "sluice.testing"

local function source(policy, options, use, top)
  return ([[
local sluice = require "sluice"
%s
local P = sluice.policy { name = "p", %s }
%s
return sluice.config { api = 1, listen = ":0",
  models = { fast = { answer = function(req, out) out:text(req:last_user()) end }, long = { answer = function() end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "fast",
    policies = {
      { P,
        %s },
    } } } }
]]):format(top or "", options or "", policy or "", use or "")
end

local function load(policy, options, use, files, top)
  return t.load { source = source(policy, options, use, top), files = files or {} }
end

-- What is said of the file, without the directory that it lies in.
local function refused(...)
  local g, why = load(...)
  assert.is_nil(g)
  return (why:gsub("/tmp/sluice_%w+/", ""))
end

describe("prepare", function()
  it("may ask for services, which must be declared like any other", function()
    assert.equal('gateway.lua:5: unknown service "nope" (services is empty)\n', refused('function P.prepare(o)\n  return sluice.service(o.name_of)\nend', 'options = { name_of = { type = "string" } }', 'name_of = "nope"'))
  end)

  it("gets the options and where it is used; what it returns is ctx.prepared", function()
    local g = assert(load([[
function P.prepare(o, use)
  return ("%s on %s, %d models, %s"):format(use.policy, use.route, #use.models, o.word)
end
function P.validate(_, ctx) return sluice.reply(ctx.prepared) end]], 'options = { word = { type = "string" } }', 'word = "hello", name = "q"'))
    assert.equal("q on ask, 2 models, hello", g:ask({ q = "x" }).text)
  end)

  it("runs once for each use, with that one's options", function()
    local g = assert(t.load { source = [[
local sluice = require "sluice"
local P = sluice.policy { name = "p", options = { n = { type = "integer" } } }
function P.prepare(o) return o.n * 2 end
function P.prompt(req, ctx) req.messages[1].content = req.messages[1].content .. ctx.prepared end
return sluice.config { api = 1, listen = ":0", models = { m = { answer = function(req, out) out:text(req:last_user()) end } },
  routes = { ask = { path = "/api/stream", front = "token", target = "m", policies = { { P, n = 1 }, { P, n = 4, name = "q" } } } } }]] })
    assert.equal("x28", g:ask({ q = "x" }).text)
  end)

  it("names an option's line, or that of what holds it", function()
    local options = 'options = { table = { type = "map" }, word = { type = "string" } }'
    assert.equal('gateway.lua:11: routes.ask.policies[1].word: no such word\n',
      refused('function P.prepare(_, use) use:bad("no such word", "word") end', options, '\n        word = "x"'))
    assert.equal('gateway.lua:12: routes.ask.policies[1].table.gold: no such model\n',
      refused('function P.prepare(_, use) use:bad("no such model", "table", "gold") end', options, 'table = {\n  x = 1,\n gold = "z" }'))
    assert.equal('gateway.lua:9: routes.ask.policies[1]: needs either\n', refused('function P.prepare(_, use) use:bad "needs either" end', options))
  end)

  it("names a line of a file", function()
    assert.equal('list.txt:7: what is this\n',
      refused('function P.prepare(o, use) use:bad_line("what is this", o.list, 7) end', 'options = { list = { type = "file" } }', 'list = "list.txt"', { ["list.txt"] = "a" }))
  end)

  it("gathers its complaints with all others", function()
    local why = refused('function P.prepare(_, use) use:bad "one" use:bad "two" end\nfunction P.promt() end')
    assert.matches("one.*two", why)
    assert.matches('did you mean "prompt"', why)
  end)

  it("that raises refuses the file at its own line", function()
    assert.equal("gateway.lua:4: broken\n", refused 'function P.prepare() error "broken" end')
    assert.matches('^gateway.lua:4: sluice.limiter: rate must be', refused 'function P.prepare() return sluice.limiter("x", { rate = 0, per = "1s" }) end')
    assert.matches('^gateway.lua:9: .*raised a table', refused 'function P.prepare() error {} end')
    assert.matches('^gateway.lua:4: no field in use: "rout".*did you mean "route"', refused 'function P.prepare(_, use) return use.rout end')
    assert.matches("^gateway.lua:4: .*a dot, not a colon", refused "function P:prepare() end")
  end)

  it("does not run on options that are wrong already, nor when the policy is off", function()
    assert.not_matches("ran", refused('function P.prepare(_, use) use:bad "ran" end', 'options = { n = { type = "integer" } }', 'n = "x"'))
    assert.is_truthy(load('function P.prepare(_, use) use:bad "ran" end', nil, 'mode = "off"'))
  end)

  it("cannot wait", function()
    assert.matches("cannot sleep here", refused 'function P.prepare() sluice.sleep "1s" end')
  end)
end)

describe("sluice.file", function()
  it("reads beside the gateway file, while it loads", function()
    local g = assert(load("function P.validate() return sluice.reply(text) end", nil, nil, { ["a.txt"] = "h\0i\n" }, 'local text = sluice.file "a.txt"'))
    assert.equal("h\0i\n", g:ask({ q = "x" }).text)
    g = assert(load('function P.validate() return sluice.reply(sluice.file "a.txt") end', nil, nil, { ["a.txt"] = "x" }))
    local r = g:ask { q = "x" }
    assert.equal("policy_error", r.error.code)
    assert.matches("only while the gateway file loads", r.logs[1].message)
  end)

  for name, said in pairs {
    ["/etc/passwd"] = "absolute path", ["../x"] = "leaves the gateway file's folder", ["a/../../x"] = "leaves", ["a/.."] = "leaves", ["nothere.txt"] = "nothere.txt: No such file",
    ["."] = "it is a directory", [""] = "name of a file is missing", ["a\\0b"] = "name of a file is missing",
  } do
    it("refuses " .. name, function()
      assert.matches("^gateway.lua:2: sluice.file: .*" .. said, refused("", nil, nil, nil, ('local text = sluice.file "%s"'):format(name)))
    end)
  end

  it("refuses a pipe without waiting for a writer, and a file without end", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. dir .. " && mkfifo " .. dir .. "/pipe && ln -s /dev/zero " .. dir .. "/zero && truncate -s 5M " .. dir .. "/big"))
    for name, said in pairs { pipe = "no regular file", zero = "no regular file", big = "too large" } do
      local f = assert(io.open(dir .. "/gateway.lua", "w"))
      f:write(source("", nil, nil, ('local text = sluice.file "%s"'):format(name)))
      f:close()
      local g, why = t.load(dir .. "/gateway.lua")
      assert.is_nil(g)
      assert.matches("gateway.lua:2: sluice.file: .*" .. name .. ": it is " .. said, why)
    end
    os.execute("rm -r " .. dir)
  end)
end)

describe("an option of the type file", function()
  local options = 'options = { list = { type = "file" } }'

  it("is its path and its text", function()
    local g = assert(load("function P.validate(_, ctx) return sluice.reply(ctx.options.list.text .. #ctx.options.list.path) end", options, 'list = "./l.txt"', { ["l.txt"] = "abc" }))
    assert.matches("^abc%d+$", g:ask({ q = "x" }).text)
  end)

  it("that cannot be read is told at the option", function()
    assert.equal("gateway.lua:10: routes.ask.policies[1].list: l.txt: No such file or directory\n", refused("", options, 'list = "l.txt"'))
    assert.equal("gateway.lua:10: routes.ask.policies[1].list: must be the name of a file, is 7\n", refused("", options, "list = 7"))
  end)
end)
