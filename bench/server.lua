-- This module's server of bench/servers.py: server.lua MODE prints its port. MODE echo: each message goes back to its
-- sender; broadcast: to all connections.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local TEXT, OPEN, CLOSE = types.TEXT, types.OPEN, types.CLOSE

local callbacks = {}

function callbacks.echo(type, data, _, _, ws)
  if type == TEXT then ws:sendText(data) end
end

local all, places = {}, {}

function callbacks.broadcast(type, data, _, _, ws)
  if type == TEXT then
    websocket.broadcastText(all, data)
  elseif type == OPEN then
    all[#all + 1] = ws
    places[ws] = #all
  elseif type == CLOSE then
    local place, last = places[ws], all[#all]
    all[place], places[last] = last, place
    all[#all], places[ws] = nil, nil
  end
end

local server = websocket.listen{
  address = "127.0.0.1:0", onreceive = callbacks[arg[1]], maxconnections = 20000,
}
print(server.port)
io.stdout:flush()
websocket.run()
