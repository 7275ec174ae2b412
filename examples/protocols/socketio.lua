-- Socket.IO 4: prints the events of a server, or emits one event and prints the server's answer to it.
--   lua5.4 examples/protocols/socketio.lua http://127.0.0.1:5000
--   lua5.4 examples/protocols/socketio.lua http://127.0.0.1:5000 '["greet", "Lua"]'
-- An event is a JSON array: its name and its arguments. The namespace is "/". Events with binary data are left out.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local url, event = ...
local answer -- to `event`
local ws

local function send(...)
    -- This raises an error if the connection is lost. CLOSE, and a new connection, follow.
    pcall(ws.sendText, ws, ...)
end

-- The functions for packets. The first digit is a type of Engine.IO; after 4, the second is a type of Socket.IO.
local on = {}
on["0"] = function() send "40" end -- the connection is open; ask for the namespace
on["2"] = function(data) send("3", data) end -- the server's ping
on["40"] = function()
    print "connected"
    if event then send("420", event) end -- 0 is the id of the answer
end
on["41"] = function()
    print "the server has ended the session"
    ws:close()
end
on["42"] = function(data)
    local id, array = data:match "^(%d*)(.*)"
    print(array)
    if id ~= "" then send("43", id, "[]") end
end
on["43"] = function(data)
    answer = data:match "^0(.*)"
    print(answer)
    ws:close()
end
on["44"] = function(data) error("the server has refused the session: " .. data) end

ws = websocket.WebSocket{
    url = url .. "/socket.io/?EIO=4&transport=websocket",
    pinginterval = 25, -- notices a dead connection at the latest when a server's ping would be missing
    onreceive = function(type, data, err)
        if type == types.TEXT then
            local kind, rest = data:match "^(4?%d)(.*)"
            if on[kind] then on[kind](rest) end
        elseif err ~= "" then -- of ERROR, or CLOSE; unless the error is final, a new attempt follows
            io.stderr:write(err, "\n")
        end
    end,
}
io.stdout:setvbuf("line")
ws:connect()
websocket.run()
os.exit(event and not answer and 1 or 0)
