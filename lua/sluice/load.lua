-- Reads an operator's gateway file: runs it in the sandbox, checks what it returned, gathers every mistake.
local host = require "sluice.host"
local complain = require "sluice.complain"
local config = require "sluice.config"
local policy = require "sluice.policy"
local sandbox = require "sluice.sandbox"

sandbox.public = require "sluice"

-- keep: what was loaded stays in `kept`, for explain and the lints: { file, gateway, at = where its settings
-- stand, sources = text by path }. read: the paths of what the last load read, also when it failed.
local M = { keep = false, kept = nil, read = {} }

local function paths()
  local list = {}
  for path in pairs(sandbox.sources) do list[#list + 1] = path end
  for path in pairs(sandbox.files) do list[#list + 1] = path end
  table.sort(list)
  return list
end

-- The normalised gateway, or nil and the mistakes as a list of lines. text: what stands in place of the file (see gateway_load_text); modules then lie
-- beside the directory root.
function M.load(file, text, root)
  host.loading(true)
  complain.begin()
  sandbox.begin(file, root)
  policy.begin()
  local result, at
  local chunk, why = sandbox.chunk(file, text)
  if not chunk then
    complain.raw(why)
  else
    local ok, value = host.base.pcall(chunk)
    if ok then
      result, at = config.check(value, file, text ~= nil)
    else
      complain.raw(type(value) == "string" and value or ("%s: the file raised a %s"):format(file, type(value)))
    end
  end
  host.loading(false)
  if M.keep then M.kept = { file = file, gateway = result, at = at, sources = sandbox.sources } end
  if result then result.digest = sandbox.digest() end
  M.read = paths()
  sandbox.sources = {}
  local lines = complain.finish()
  if #lines > 0 then return nil, lines end
  return result
end

return M
