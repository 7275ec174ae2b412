-- A websocket in the loop of libuv: lua5.4 examples/loops/luv.lua ws://127.0.0.1:9000/ [MESSAGES]
local uv = require "luv"
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local url, messages = assert(arg[1], "usage: luv.lua URL [MESSAGES]"), tonumber(arg[2] or 3)
local events, ticker = uv.new_poll(websocket.fd()), uv.new_timer()
local sent, ticks = 0, 0

local function on_event(type, data, err, _, ws)
    if type == types.TEXT then print(data) end
    if type == types.ERROR then error(err) end
    if type == types.CLOSE then
        events:close()
        ticker:close()
    end
    if type ~= types.OPEN and type ~= types.TEXT then return end
    if sent == messages then return ws:close() end
    sent = sent + 1
    ws:sendText("message ", sent)
end

events:start("r", function() websocket.poll() end)
ticker:start(10, 10, function() ticks = ticks + 1 end)
websocket.WebSocket{ url = url, reconnect = false, onreceive = on_event }:connect()

uv.run() -- until no handle is open
print(ticks .. " ticks")
