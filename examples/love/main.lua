-- A websocket in a LÖVE game: love examples/love ws://127.0.0.1:9000/ [MESSAGES]
--
-- LÖVE runs LuaJIT: it loads a module that was built for Lua 5.1 or LuaJIT.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local messages, sent, ticks, time = nil, 0, 0, 0

local function on_event(type, data, err, _, ws)
    if type == types.TEXT then print(data) end
    if type == types.ERROR then error(err) end
    if type == types.CLOSE then love.event.quit() end
    if type ~= types.OPEN and type ~= types.TEXT then return end
    if sent == messages then return ws:close() end
    sent = sent + 1
    ws:sendText("message ", sent)
end

function love.load(arguments)
    local url = assert(arguments[1], "usage: love examples/love URL [MESSAGES]")
    messages = tonumber(arguments[2] or 3)
    websocket.WebSocket{ url = url, reconnect = false, onreceive = on_event }:connect()
end

-- love.run sleeps for 1 ms after each frame. With this, messages are delivered meanwhile, as soon as they come.
love.timer.sleep = websocket.poll

function love.update(seconds)
    websocket.poll() -- does not wait
    time = time + seconds
    while time >= 0.01 do
        time, ticks = time - 0.01, ticks + 1
    end
end

function love.quit() print(ticks .. " ticks") end
