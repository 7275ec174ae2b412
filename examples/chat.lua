-- A chat in the terminal: lua5.4 examples/chat.lua ws://127.0.0.1:9000/
--
-- Stock Lua can't wait for the keyboard and the network at once. It need not: while io.lines waits,
-- the module's thread answers pings, reconnects and queues messages. They are shown at
-- each Enter; an empty line only shows them. Lines typed without a connection are sent once there is one.
local websocket = require "websocket"

local url = arg[1] or "ws://127.0.0.1:9000/"
local ws
local unsent = {} -- lines not sent yet

local function show(sign, text)
    -- Control characters from the server must not reach the terminal.
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

--- Shows queued events and those that arrive within `patience` seconds of the last, 20 polls at most.
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

-- End of input: wait up to 5 s until all lines are sent, then 0.3 s for answers.
for _ = 1, 50 do
    if not unsent[1] or ws.state == "closed" then break end
    websocket.poll(0.1)
end
look(0.3)
ws:close()
websocket.run()
os.exit(not unsent[1], true)
