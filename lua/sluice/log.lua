-- sluice.log(level, event, fields): a line of the operator's own in the gateway's log. What would make a line of it that looks like another is refused.
local host = require "sluice.host"
local blame = require("sluice.complain").blame
local schema = require "sluice.schema"
local suggest = require "sluice.suggest"

local M = {}

local LEVELS = { error = true, warn = true, info = true, debug = true }
local OURS = {                                          -- events without a dot
  canary = true, control = true, listen = true, listening = true, metrics = true, promote = true, reload = true, request = true, rollback = true, rotation = true,
  shared = true, stop = true, stopped = true, target = true, worker = true,
}
local OF_THE_LINE = { time = true, level = true, event = true }
local FIELDS_MOST, NAME_MOST = 64, 64

local function check_event(event)
  if type(event) ~= "string" or #event > NAME_MOST or not event:find("^%a[%w_%-]*$") then
    blame(("sluice.log: an event is a word of letters, digits, - and _, such as \"audit\" (events with a dot are the gateway's own), is %s"):format(schema.show(event)))
  end
  if OURS[event] then blame(('sluice.log: the event "%s" is one of the gateway\'s own; choose another name'):format(event)) end
end

local function check_field(name, value)
  if type(name) ~= "string" or #name > NAME_MOST or not name:find("^[%w_%-%.]+$") then blame(("sluice.log: a field's name is a word, is %s"):format(schema.show(name))) end
  if OF_THE_LINE[name] then blame(('sluice.log: the field "%s" is what each line says itself; choose another name'):format(name)) end
  if host.is_secret(value) then blame(('sluice.log: the field "%s" is a secret'):format(name)) end
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then blame(('sluice.log: the field "%s" must be a text, a number or a boolean, is a %s'):format(name, kind)) end
end

M.log = host.seal(function(level, event, fields)
  if not LEVELS[level] then blame(("sluice.log: a level is %s, not %s%s"):format(suggest.list(LEVELS), schema.show(level), suggest.hint(level, LEVELS))) end
  check_event(event)
  if fields ~= nil and type(fields) ~= "table" then blame(('sluice.log takes a table of fields, such as { tenant = "acme" }, not a %s'):format(type(fields))) end
  local names, list = {}, {}
  for name, value in pairs(fields or {}) do
    check_field(name, value)
    names[#names + 1] = name
  end
  if #names > FIELDS_MOST then blame(("sluice.log: %d fields; a line has at most %d"):format(#names, FIELDS_MOST)) end
  table.sort(names)
  for _, name in ipairs(names) do list[#list + 1], list[#list + 2] = name, fields[name] end
  host.log_fields(level, event, list)
end)

return M
