-- What the scripts of refusals_spec.lua share: loads the module, records events, waits. The argument is the table of
-- the host's functions (refusals.c); each script gets the result as its first argument.

local host = ...
local try, quiet = host.try, host.quiet
local websocket = require "websocket"

local script = { host = host, websocket = websocket, types = websocket.WebSocketMessageType }

local names = {}
for name, number in pairs(script.types) do names[number] = name end

--- The events of all websockets, in the order of their delivery.
local log = {}

--- Some numbers are others in each run.
local changing = { retryin = true, address = true, date = true }

--- The info table as text, its keys sorted.
local function describe(value, key)
  if type(value) ~= "table" then return changing[key] and "…" or tostring(value) end
  local parts = {}
  for name, field in pairs(value) do parts[#parts + 1] = name .. "=" .. describe(field, name) end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

local function record(name, data, err, info)
  local line = { name }
  if data ~= "" then line[#line + 1] = #data > 99 and #data .. " bytes" or data end
  if err ~= "" then line[#line + 1] = "(" .. err .. ")" end
  if info then line[#line + 1] = describe(info) end
  log[#log + 1] = table.concat(line, " ")
end

--- An onreceive that records each event, then calls g, in which no allocation fails, then f with the same arguments.
function script.handler(f, g)
  return quiet(function(kind, data, err, info)
    record(names[kind], data, err, info)
    if g then g(kind) end
  end, f)
end

--- Adds a line to the log.
script.note = quiet(function(...) record(...) end)

--- The recorded lines; the log is empty then.
function script.recorded()
  local text = table.concat(log, "\n")
  log = {}
  return text
end

--- Asserts that the log has these lines, each of them a pattern, and empties it.
function script.expect(...)
  local text = script.recorded()
  local lines, patterns = {}, { ... }
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  local is_right = #lines == #patterns
  for i, pattern in ipairs(patterns) do is_right = is_right and lines[i]:find("^" .. pattern .. "$") end
  if not is_right then error(("expected:\n%s\ngot:\n%s"):format(table.concat(patterns, "\n"), text), 2) end
end

function script.count() return #log end

--- Calls `step`, by default poll, until the condition holds.
function script.wait(condition, step)
  local stop = websocket.time() + 10
  while not condition() do
    if websocket.time() > stop then error("waited too long; recorded:\n" .. script.recorded(), 2) end
    if step then try(step) else try(websocket.poll, 1) end
  end
end

--- Makes a websocket.
function script.make(options) return try(websocket.WebSocket, options) end

--- A field of a table or websocket.
local function field(object, name) return object[name] end
function script.get(object, name) return try(field, object, name) end

--- Calls a method.
local function call(object, name, ...) return object[name](object, ...) end
function script.call(object, name, ...) return try(call, object, name, ...) end

--- Waits until no websocket is live.
function script.finish() assert(try(websocket.run, 10) == true, "a websocket is still live") end

return script
