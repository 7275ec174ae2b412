-- A chat in the terminal: lua5.4 examples/chat.lua ws://127.0.0.1:9000/
--
-- With chat_server.lua the URL ends with /chat, with echo_server.lua and processes.lua it may be any.
--
-- websocket.poll waits for the keyboard (descriptor 0) and the network at once. Lines typed without a connection are
-- sent once there is one.
local websocket = require "websocket"

local url = arg[1] or "ws://127.0.0.1:9000/"
local ws
local unsent = {} -- lines not sent yet

local function show(sign, text)
    -- Control characters from the server must not reach the terminal.
    print(sign .. " " .. text:gsub("[^\t\n\32-\126\128-\255]", "?"))
end

local function send()
    while unsent[1] and ws.state == "open" do
        local ok, err = pcall(ws.sendText, ws, unsent[1])
        if not ok then
            if err:find("interrupted!", 1, true) then error(err, 0) end -- Ctrl-C
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

ws = websocket.WebSocket{
    url = url,
    onreceive = function(type, ...) if on[type] then on[type](...) end end,
}
ws:connect()
-- A second line in a buffer of Lua's would not make the descriptor readable.
io.stdin:setvbuf("no")
io.stdout:setvbuf("line")
local line
repeat
    local _, readable = websocket.poll(math.huge, 0)
    if readable then
        line = io.read()
        if line ~= "" then unsent[#unsent + 1] = line end
        send()
    end
until readable and not line

-- End of input: wait until all lines are sent, then for answers until none has come for 0.3 s; 5 s at most.
local deadline = websocket.time() + 5
local function is_late() return websocket.time() > deadline end
while unsent[1] and ws.state ~= "closed" and not is_late() do websocket.poll(0.1) end
while websocket.poll(0.3) > 0 and not is_late() do end
ws:close()
websocket.run()
os.exit(unsent[1] and 1 or 0, true)
