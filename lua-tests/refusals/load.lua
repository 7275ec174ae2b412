-- Loading the modules.

local script = ...
local try = script.host.try

--- Loads the module again. 5.1 and LuaJIT remember a load that an error has ended.
local function load(name)
  package.loaded[name] = nil
  return require(name)
end

local first = script.websocket
local again = try(load, "websocket")
assert(again ~= first and again.poll ~= first.poll and again._NAME == "websocket" and again.loop.events)
local global = try(load, "websocket.global")
assert(global == again and rawget(_G, "WebSocket") == again.WebSocket)
assert(rawget(_G, "WebSocketMessageType") == again.WebSocketMessageType)
local count = 0
for name, number in pairs(again.WebSocketMessageType) do
  assert(first.WebSocketMessageType[name] == number)
  count = count + 1
end
assert(count == 8)
local ws = try(again.WebSocket, { url = "ws://127.0.0.1/" })
assert(tostring(ws):find "^WebSocket: " and ws.receive and ws.connect and ws.url == "ws://127.0.0.1/")
return "loaded"
