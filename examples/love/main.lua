-- A game for several players: love examples/love ws://127.0.0.1:9000/
--
-- The arrow keys move your disc, and whoever touches the coin gets a point. Before that start the server:
--     lua5.4 examples/love/server.lua 127.0.0.1:9000
-- LÖVE runs LuaJIT: it loads a module that was built for Lua 5.1 or LuaJIT.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local SPEED, INTERVAL = 150, 0.05 -- pixels per second; seconds between two messages

local ws, me
local x, y, sent_x, sent_y, since = 200, 150, nil, nil, 0
local coin, players, status = nil, {}, "connecting"

local function read(data)
    local number = data:match("^you are (%d+)$")
    if number then
        me = number
        return
    end
    coin, players = nil, {}
    for line in data:gmatch("[^\n]+") do
        local values = {}
        for value in line:gmatch("%d+") do values[#values + 1] = value end
        if not coin then
            coin = {x = tonumber(values[1]), y = tonumber(values[2])}
        else
            local place = {number = values[1], x = tonumber(values[2]), y = tonumber(values[3]), points = values[4]}
            players[#players + 1] = place
        end
    end
end

local function onreceive(type, data, err, info)
    if type == types.TEXT then return read(data) end
    if type == types.OPEN then status = nil end
    if type == types.ERROR then status = err end
    if type == types.CLOSE then status = "closed: " .. info.code .. " " .. info.reason end
    sent_x, coin, players = nil, nil, {}
end

function love.load(arguments)
    ws = websocket.WebSocket{url = arguments[1] or "ws://127.0.0.1:9000/", onreceive = onreceive}
    ws:connect()
end

-- love.run sleeps for 1 ms after each frame. With this, messages are delivered meanwhile, as soon as they come.
love.timer.sleep = websocket.poll

local function is_down(key) return love.keyboard.isDown(key) and 1 or 0 end

function love.update(seconds)
    websocket.poll() -- does not wait
    x = math.max(0, math.min(400, x + (is_down "right" - is_down "left") * SPEED * seconds))
    y = math.max(0, math.min(300, y + (is_down "down" - is_down "up") * SPEED * seconds))
    since = since + seconds
    if since < INTERVAL then return end
    since = 0
    local new_x, new_y = math.floor(x), math.floor(y)
    if new_x == sent_x and new_y == sent_y then return end
    -- While there is no connection, this is an error, and the place is sent later.
    if pcall(ws.sendText, ws, new_x, " ", new_y) then sent_x, sent_y = new_x, new_y end
end

function love.draw()
    if status then love.graphics.print(status, 10, 10) end
    if coin then
        love.graphics.setColor(1, 0.8, 0)
        love.graphics.circle("fill", coin.x, coin.y, 6)
    end
    for _, player in ipairs(players) do
        local is_me = player.number == me
        love.graphics.setColor(is_me and 0.4 or 1, 1, is_me and 0.4 or 1)
        love.graphics.circle("fill", is_me and x or player.x, is_me and y or player.y, 10)
        love.graphics.print(player.points, player.x - 4, player.y + 12)
    end
    love.graphics.setColor(1, 1, 1)
end
