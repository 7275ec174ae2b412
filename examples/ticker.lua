-- A ticker, both ends: lua5.4 examples/ticker.lua serve 127.0.0.1:9000, then, as often as you like, in other terminals:
--     lua5.4 examples/ticker.lua ws://127.0.0.1:9000/
--
-- The server sends the prices each second, or as often as a third argument says. The client prints them as a table,
-- and connects again whenever the server comes back.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local function serve(address, interval)
    local prices, clients = {{"APPLE", 120}, {"PEAR", 80}, {"PLUM", 45}}, {}

    local function onreceive(type, _, _, _, ws)
        if type == types.OPEN then clients[#clients + 1] = ws end
        if type ~= types.CLOSE then return end
        for i = #clients, 1, -1 do
            if clients[i] == ws then table.remove(clients, i) end
        end
    end
    local server = websocket.listen{address = address or "127.0.0.1:0", onreceive = onreceive}

    local function tick()
        websocket.after(interval, tick)
        local lines = {}
        for i, price in ipairs(prices) do
            price[2] = math.max(price[2] + (math.random() - 0.5) * 2, 1)
            lines[i] = ("%s %.2f"):format(price[1], price[2])
        end
        local _, left_out = websocket.broadcastText(clients, table.concat(lines, "\n"))
        -- Those that read too slowly must go; they connect again.
        for _, ws in ipairs(left_out or {}) do ws:close(1008, "too slow") end
    end
    tick()
    print("ws://" .. server.address .. "/")
end

local function follow(url)
    local before = {}

    local function show(text)
        print(("%-8s%10s%10s"):format("", "price", "change"))
        for name, price in text:gmatch("(%u+) ([%d.]+)") do
            print(("%-8s%10.2f%+10.2f"):format(name, price, price - (before[name] or price)))
            before[name] = price
        end
    end

    websocket.WebSocket{url = url, onreceive = function(type, data, err, info)
        if type == types.TEXT then show(data) end
        if type == types.ERROR then print(err) end
        if type == types.CLOSE then print(("closed: %d %s"):format(info.code, info.reason)) end
    end}:connect()
end

io.stdout:setvbuf("line")
if arg[1] == "serve" then serve(arg[2], tonumber(arg[3] or 1)) else follow(arg[1] or "ws://127.0.0.1:9000/") end
websocket.run()
