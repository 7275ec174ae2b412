-- Both ends of a websocket in one script, to try an installed module: a message goes to a server of our own and back.
-- It runs in every version of Lua, prints one line, and fails if the answer does not come.
--   lua5.4 packaging/echo.lua
local websocket = require "websocket"
local host = package.loaded.jit and package.loaded.jit.version

local server
server = websocket.listen {
  address = "127.0.0.1:0",
  onreceive = function(type, data, _, _, client)
    if type == websocket.WebSocketMessageType.TEXT then client:sendText("you said: ", data) end
  end,
}
local ws = websocket.WebSocket { url = "ws://" .. server.address }
ws:connect()
assert(ws:waitopen(10))
ws:sendText("hello")
local answer = assert(ws:receive(10))
assert(answer == "you said: hello", answer)
ws:close()
server:close()
websocket.run(10)
print(websocket._VERSION .. " in " .. (host or _VERSION) .. ": " .. answer)
