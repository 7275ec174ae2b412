-- Talks to an echo server and shows the conversation: lua5.4 examples/echo.lua ws://127.0.0.1:9000/
local websocket = require "websocket"

local url = arg[1] or "ws://127.0.0.1:9000/"
local names = {}
for name, value in pairs(websocket.WebSocketMessageType) do names[value] = name end

local ws
ws = websocket.WebSocket{
    url = url,
    deflate = true,
    onreceive = function(type, data, err, info)
        local name = names[type]
        if name == "OPEN" then
            print("connected to " .. info.url .. (info.extensions ~= "" and " with " .. info.extensions or ""))
            ws:sendText("Hello, ", "wörld!")
            ws:sendBinary("\0\1\254\255")
            ws:sendPing("are you there?")
            print("sent a text, 4 bytes and a ping")
        elseif name == "TEXT" then
            print("text    " .. data)
        elseif name == "BINARY" then
            print("binary  " .. table.concat({data:byte(1, -1)}, " "))
        elseif name == "PONG" then
            print("pong    " .. data)
            ws:close(1000, "that's all")
        elseif name == "CLOSE" then
            print(("closed  %d %s%s"):format(info.code, info.reason, info.clean and "" or " (not clean)"))
        elseif name == "ERROR" then
            print("error   " .. err)
            ws:close()
        end
    end,
}
print("connecting to " .. url)
ws:connect()
if not websocket.run(10) then error("no answer within 10 s") end
if ws.closecode ~= 1000 then os.exit(1, true) end
