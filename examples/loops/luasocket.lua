-- A websocket beside the sockets of LuaSocket: lua5.4 examples/loops/luasocket.lua ws://127.0.0.1:9000/ [MESSAGES]
--
-- select takes websocket.loop for one more socket; it is readable when poll has something to deliver.
local socket = require "socket"
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local url, messages = assert(arg[1], "usage: luasocket.lua URL [MESSAGES]"), tonumber(arg[2] or 3)
local sent, ticks, is_over = 0, 0, false
local sockets = { websocket.loop }

local function on_event(type, data, err, _, ws)
    if type == types.TEXT then print(data) end
    if type == types.ERROR then error(err) end
    if type == types.CLOSE then is_over = true end
    if type ~= types.OPEN and type ~= types.TEXT then return end
    if sent == messages then return ws:close() end
    sent = sent + 1
    ws:sendText("message ", sent)
end

websocket.WebSocket{ url = url, reconnect = false, onreceive = on_event }:connect()

local next_tick = socket.gettime() + 0.01
while not is_over do
    socket.select(sockets, nil, math.max(next_tick - socket.gettime(), 0))
    websocket.poll()
    if socket.gettime() >= next_tick then
        next_tick, ticks = next_tick + 0.01, ticks + 1
    end
end
print(ticks .. " ticks")
