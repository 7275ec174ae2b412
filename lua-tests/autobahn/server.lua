-- The server under test: echoes each message, as the suite requires. Prints its port. Its caller ends it.
--     lua5.4 server.lua
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local server = websocket.listen{
    address = "127.0.0.1:0",
    -- 12.*.1 and 13.*.1 send 16 bytes, and the suite fails if those come back uncompressed: hence threshold = 0.
    deflate = { threshold = 0 },
    maxmessagesize = 256 << 20,
    maxbuffered = 256 << 20,
    onreceive = function(type, data, _, _, ws)
        if type == types.TEXT then
            ws:sendText(data)
        elseif type == types.BINARY then
            ws:sendBinary(data)
        end
    end,
}
print(server.port)
io.stdout:flush()
websocket.run()
