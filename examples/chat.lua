-- A chat in the terminal: lua5.4 examples/chat.lua ws://127.0.0.1:9000/
--
-- Stock Lua can't wait for the keyboard and the network at once, and here it need not: while io.read waits,
-- the connection lives on in the background, answers pings, reconnects and keeps what comes. It is shown at
-- each Enter; an empty line just looks. What is typed while there is no connection is sent when there is one.
local websocket = require "websocket"

local url = arg[1] or "ws://127.0.0.1:9000/"
local ws
local unsent = {} -- lines

local function show(sign, text)
    -- Nobody on the other side shall command this terminal.
    print(sign .. " " .. text:gsub("[\0-\8\11-\31\127]", "?"))
end

local function send()
    while unsent[1] and ws.state == "open" do
        local ok, err = pcall(ws.sendText, ws, unsent[1])
        if not ok then
            if ws.state ~= "open" then return end
            show("!", err)
        end
        table.remove(unsent, 1)
    end
end

local function again(info) return info.retryin and ("; again in %.1f s"):format(info.retryin) or "" end

local handlers = {
    OPEN = function(_, _, info)
        show("*", "connected to " .. info.address)
        send()
    end,
    TEXT = function(data) show("<", data) end,
    BINARY = function(data) show("<", #data .. " bytes") end,
    ERROR = function(_, err, info) show("!", err .. again(info)) end,
    CLOSE = function(_, _, info) show("*", ("closed: %d %s"):format(info.code, info.reason) .. again(info)) end,
}
local on = {}
for name, number in pairs(websocket.WebSocketMessageType) do on[number] = handlers[name] end

--- Shows what has come, and what still comes within `patience` of the last; but somebody is waiting to write.
local function look(patience)
    for _ = 1, 20 do
        if websocket.poll(patience) == 0 then break end
    end
end

ws = websocket.WebSocket{
    url = url,
    onreceive = function(type, ...) if on[type] then on[type](...) end end,
}
ws:connect()
websocket.poll(5)
for line in io.lines() do
    look(0)
    if line ~= "" then unsent[#unsent + 1] = line end
    send()
    look(0.1)
end

-- The end of the input: what is unsent gets a moment, and so do the answers.
for _ = 1, 50 do
    if not unsent[1] or ws.state == "closed" then break end
    websocket.poll(0.1)
end
look(0.3)
ws:close()
websocket.run()
os.exit(not unsent[1], true)
