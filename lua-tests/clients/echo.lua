-- A client with this module: echo.lua URL [deflate]. Sends texts and binary messages of each size, compares each echo;
-- prints how many were right, and the extensions. With CA in the environment, it is the file of the CA that is trusted.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local MiB = 1024 * 1024
local ca = os.getenv("CA")
local ws = websocket.WebSocket {
  url = arg[1],
  deflate = arg[2] == "deflate",
  tls = ca and { ca = ca } or nil,
  maxmessagesize = 16 * MiB,
  maxbuffered = 32 * MiB,
  reconnect = false,
}
ws:connect()
assert(ws:waitopen(10))
local right = 0
for _, size in ipairs { 0, 1, 125, 126, 65535, 65536, MiB, 16 * MiB } do
  for _, type in ipairs { types.TEXT, types.BINARY } do
    local pattern = type == types.TEXT and "Hello, world! " or "\0\1\128\255\7"
    local message = pattern:rep(math.ceil(size / #pattern)):sub(1, size)
    if type == types.TEXT then ws:sendText(message) else ws:sendBinary(message) end
    local echo, kind = ws:receive(60)
    assert(kind == type and echo == message, size .. " bytes came back wrong")
    right = right + 1
  end
end
local extensions = ws.extensions
ws:close()
websocket.run(10)
print(right .. " " .. (extensions:match("^[^;]+") or "none") .. " " .. ws.closecode)
