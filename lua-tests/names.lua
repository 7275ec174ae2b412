-- Reads the names of the API from docs/api.md and from types/websocket.lua. scripts/lint runs this file, which then
-- compares the two; names_spec.lua compares them with the module. Needs neither the module nor a server.

local names = {}

local top = ((... and debug.getinfo(1, "S").source or arg[0]):match("^@?(.*)/[^/]*$") or ".") .. "/../"

function names.read(name)
  local file = assert(io.open(top .. name))
  local text = file:read("a")
  file:close()
  return text
end

--- The groups of names: where docs/api.md has them (a heading, and a pattern for what stands in backticks in the first
--- column of the tables below it) and where types/websocket.lua has them.
local groups = {
  { name = "the module", heading = "## Module", pattern = "^websocket%.([%w_]+)", class = "websocket" },
  { name = "timers", heading = "## Module", pattern = "^timer:(%w+)", class = "WebSocket.Timer" },
  { name = "websocket.loop", heading = "## Event loops", pattern = "^loop:(%w+)", class = "WebSocket.Loop" },
  { name = "options", heading = "## Constructor", class = "WebSocket.Options" },
  { name = "options of tls", heading = "### `tls`", class = "WebSocket.TLS" },
  { name = "options of deflate", heading = "### `deflate`", class = "WebSocket.Deflate" },
  { name = "what onattempt returns", heading = "### `onattempt`", class = "WebSocket.Attempt" },
  { name = "methods", heading = "## Methods", pattern = "^ws:(%w+)", class = "WebSocket()" },
  { name = "properties", heading = "## Properties", class = "WebSocket" },
  { name = "options of listen", heading = "### Options of `listen`", class = "WebSocket.ServerOptions" },
  { name = "options of tls of listen", heading = "### `tls` of `listen`", class = "WebSocket.ServerTLS" },
  { name = "what onrequest returns", heading = "### `onrequest`", class = "WebSocket.Answer" },
  { name = "fields of a request", heading = "### Fields of a request", class = "WebSocket.Request" },
  { name = "servers", heading = "### Methods and properties of a server", pattern = "^server[.:](%w+)",
    class = "WebSocket.Server" },
  { name = "info", heading = "### `info`", class = "WebSocket.Info" },
  { name = "kinds of errors", heading = "### `info`", pattern = '^"(%w+)"$', class = "WebSocket.ErrorKind" },
}

--- The text of docs/api.md between a heading and the next one.
local function section(page, heading)
  local _, last = page:find("\n" .. heading .. "\n", 1, true)
  assert(last, "docs/api.md has no heading " .. heading)
  return page:sub(last):match("^(.-)\n#") or page:sub(last)
end

--- A set of names for each group; the numbers of the message types are the values of their set.
function names.of_page()
  local page = names.read("docs/api.md")
  local result = {}
  for _, group in ipairs(groups) do
    local set = {}
    for cell in section(page, group.heading):gmatch("\n| ([^|]*) |") do
      for word in cell:gmatch("`([^`]*)`") do
        local name = word:match(group.pattern or "^(%w+)$")
        if name then set[name] = true end
      end
    end
    result[group.name] = set
  end
  local types = {}
  for name, number in section(page, "## Module"):gmatch("`(%u+)`=(%d+)") do types[name] = tonumber(number) end
  result["message types"] = types
  local states = {}
  local row = section(page, "## Properties"):match("| `state` | ([^|]*) |") or ""
  for name in row:gmatch('`"(%w+)"`') do states[name] = true end
  result.states = states
  return result
end

--- The same of types/websocket.lua: fields of classes, functions, values of aliases and of the enum.
function names.of_annotations()
  local text = names.read("types/websocket.lua")
  local classes, types = {}, {}
  local function add(class, name)
    classes[class] = classes[class] or {}
    classes[class][name] = true
  end
  local current
  for line in text:gmatch("[^\n]+") do
    current = line:match("^%-%-%-@class ([%w.]+)") or line:match("^%-%-%-@alias ([%w.]+)") or current
    local field = line:match("^%-%-%-@field ([%w_]+)") or line:match('^%-%-%-| "(%w+)"')
    if field then add(current, field) end
    local object, name = line:match("^function (%w+)[.:](%w+)%(")
    if object == "websocket" then
      add("websocket", name)
    elseif object == "WebSocket" then
      add("WebSocket()", name)
    elseif object then
      add("WebSocket." .. object:gsub("^%l", string.upper), name)
    end
    local type, number = line:match("^  (%u+) = (%d+),$")
    if type then types[type] = tonumber(number) end
  end
  if text:find("\nwebsocket.WebSocketMessageType = {", 1, true) then add("websocket", "WebSocketMessageType") end
  local result = { ["message types"] = types, states = classes["WebSocket.State"] or {} }
  for _, group in ipairs(groups) do result[group.name] = classes[group.class] or {} end
  return result
end

--- What is in `set` and not, or with another value, in `other`; one line for each.
function names.missing(group, set, set_name, other, other_name)
  local complaints = {}
  for name, value in pairs(set) do
    if other[name] == nil then
      complaints[#complaints + 1] = ("%s: %s is in %s, but not in %s"):format(group, name, set_name, other_name)
    elseif other[name] ~= value then
      complaints[#complaints + 1] = ("%s: %s is %s in %s, but %s in %s"):format(
        group, name, value, set_name, other[name], other_name)
    end
  end
  table.sort(complaints)
  return complaints
end

if ... then return names end

local page, annotations = names.of_page(), names.of_annotations()
local failed = false
for group, set in pairs(page) do
  if not next(set) then
    print(group .. ": docs/api.md has none")
    failed = true
  end
  local lists = {
    names.missing(group, set, "docs/api.md", annotations[group], "types/websocket.lua"),
    names.missing(group, annotations[group], "types/websocket.lua", set, "docs/api.md"),
  }
  for _, complaints in ipairs(lists) do
    for _, complaint in ipairs(complaints) do
      print(complaint)
      failed = true
    end
  end
end
if failed then os.exit(1) end
