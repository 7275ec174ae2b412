-- The server of the game: lua5.4 examples/love/server.lua 127.0.0.1:9000
--
-- A player sends its place, "x y". The server sends all places 20 times a second: a line "x y" of the coin, then a line
-- "number x y points" for each player. A new player first gets "you are NUMBER".
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local WIDTH, HEIGHT, REACH = 400, 300, 16

local sockets, players, last = {}, {}, 0 -- the open websockets; the player of each
local coin = {}
math.randomseed(os.time())

local function move_coin() coin.x, coin.y = math.random(20, WIDTH - 20), math.random(20, HEIGHT - 20) end

local function enter(ws)
    last = last + 1
    sockets[#sockets + 1], players[ws] = ws, {number = last, x = WIDTH / 2, y = HEIGHT / 2, points = 0}
    ws:sendText("you are ", last)
end

local function leave(ws)
    players[ws] = nil
    for i = #sockets, 1, -1 do
        if sockets[i] == ws then table.remove(sockets, i) end
    end
end

local function move(player, data)
    local x, y = data:match("^(%d+) (%d+)$")
    if not x then return end
    player.x, player.y = math.min(tonumber(x), WIDTH), math.min(tonumber(y), HEIGHT)
    if (player.x - coin.x) ^ 2 + (player.y - coin.y) ^ 2 < REACH ^ 2 then
        player.points = player.points + 1
        move_coin()
    end
end

local function onreceive(type, data, _, _, ws)
    if type == types.OPEN then enter(ws) end
    if type == types.TEXT then move(players[ws], data) end
    if type == types.CLOSE then leave(ws) end
end

local function send_places()
    websocket.after(0.05, send_places)
    local lines = {("%d %d"):format(coin.x, coin.y)}
    for _, ws in ipairs(sockets) do
        local player = players[ws]
        lines[#lines + 1] = ("%d %d %d %d"):format(player.number, player.x, player.y, player.points)
    end
    -- A player who reads too slowly misses some of these messages.
    websocket.broadcastText(sockets, table.concat(lines, "\n"))
end

local server = websocket.listen{address = arg[1] or "127.0.0.1:0", onreceive = onreceive}
io.stdout:setvbuf("line")
print("ws://" .. server.address .. "/")
move_coin()
send_places()
websocket.run()
