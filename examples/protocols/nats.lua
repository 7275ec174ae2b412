-- NATS: prints the messages of a subject, or publishes one message.
--   lua5.4 examples/protocols/nats.lua ws://127.0.0.1:8080/ 'news.>'
--   lua5.4 examples/protocols/nats.lua ws://127.0.0.1:8080/ news.lua 'There is a new version.'
-- For nats-server, write this to a file, for example n.conf, and run "nats-server -c n.conf":
--   listen: "127.0.0.1:4222"
--   websocket { host: "127.0.0.1", port: 8080, no_tls: true }
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local url, subject, text = ...
local ws, input -- `input`: received bytes that `take` has not removed yet; nil before INFO

--- A callback may run when the connection is gone already; then there is nothing to do: the next one begins anew.
local function send(...)
    local ok, err = pcall(ws.sendBinary, ws, ...)
    if not ok and not err:find "not connected" then error(err, 0) end
end

--- The server sends INFO first, and perhaps again when its cluster changes.
local function begin()
    send('CONNECT {"verbose": false, "pedantic": true, "lang": "lua", "version": "1"}\r\n')
    if text then
        send("PUB ", subject, " ", #text, "\r\n", text, "\r\n")
    else
        send("SUB ", subject, " 1\r\n")
    end
    send("PING\r\n") -- The PONG comes when the server has dealt with all that was sent before.
end

--- Removes a command of the server from the input. Returns false if the command is not there as a whole.
local function take()
    local line, first = input:match("^(.-)\r\n()")
    if not line then return false end
    local name, rest = line:match("^(%S+) ?(.*)$")
    if name == "MSG" then -- MSG subject id [subject for answers] bytes
        local from, size = rest:match("^(%S+) .-(%d+)$")
        local last = first + size - 1
        if #input < last + 2 then return false end
        print(from .. " " .. input:sub(first, last))
        first = last + 3
    end
    if name == "PING" then send("PONG\r\n") end
    if name == "PONG" then if text then ws:close() else print "subscribed" end end
    if name == "-ERR" then error(rest, 0) end
    input = input:sub(first)
    return true
end

ws = websocket.WebSocket{url = url, onreceive = function(type, data, err)
    if type == types.OPEN then input = nil end
    if type == types.BINARY then
        if not input then begin() end
        input = (input or "") .. data
        while take() do end -- A message of WebSocket may hold several commands, or a part of one.
    end
    if err ~= "" then io.stderr:write(err, "\n") end
end}
io.stdout:setvbuf("line")
ws:connect()
websocket.run()
