-- Sends each message back to its client: lua5.4 examples/echo_server.lua 127.0.0.1:9000
--
-- Without an address it listens at a free port. It prints its URL, and ends at Ctrl-C.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local MiB = 1024 * 1024

-- At Ctrl-C, `lua` raises the error "interrupted!" wherever the script is.
local function is_interrupt(err) return tostring(err):find("interrupted!", 1, true) end

local function echo(type, data, _, _, ws)
    local send = type == types.TEXT and ws.sendText or type == types.BINARY and ws.sendBinary
    if not send then return end
    -- send raises an error when the echoes that the client has not read yet would exceed maxbuffered.
    local ok, err = pcall(send, ws, data)
    if not ok and is_interrupt(err) then error(err, 0) end
    if not ok then ws:close(1008, "read your echoes") end
end

local server = websocket.listen{
    address = arg[1] or "127.0.0.1:0",
    origins = "*", -- pages of any website may connect
    deflate = true,
    maxmessagesize = 64 * MiB,
    maxbuffered = 128 * MiB,
    onreceive = echo,
}
io.stdout:setvbuf("line")
print("ws://" .. server.address .. "/")

local ok, err = pcall(websocket.run)
server:close()
websocket.run(1)
if not ok and not is_interrupt(err) then error(err, 0) end
