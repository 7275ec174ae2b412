-- Sends each message back to its client: lua5.4 examples/echo_server.lua 127.0.0.1:9000
--
-- Without an address it listens at a free port. It prints its URL, and ends at Ctrl-C.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local MiB = 1024 * 1024

-- Bytes of echoes that a client may leave unread.
local maxunread = 64 * MiB

local function echo(type, data, _, _, ws)
    if ws.state ~= "open" then
        return -- what came before the end of a connection that is closed below, and its CLOSE
    elseif ws.bufferedamount > maxunread then
        ws:close(1008, "read your echoes")
    elseif type == types.TEXT then
        ws:sendText(data)
    elseif type == types.BINARY then
        ws:sendBinary(data)
    end
end

local server = websocket.listen{
    address = arg[1] or "127.0.0.1:0",
    origins = "*", -- pages of any website may connect
    deflate = true,
    maxmessagesize = 64 * MiB,
    maxbuffered = math.huge, -- echo has its own limit
    onreceive = echo,
}
io.stdout:setvbuf("line")
print("ws://" .. server.address .. "/")

-- At Ctrl-C, `lua` raises the error "interrupted!". Any other error is a real one.
local ok, err = pcall(websocket.run)
server:close()
websocket.run(1)
if not ok and not tostring(err):find("interrupted!", 1, true) then error(err, 0) end
