-- MQTT 3.1.1: prints the messages of a topic, or publishes one message.
--   lua5.4 examples/protocols/mqtt.lua ws://127.0.0.1:8080/ 'news/#'
--   lua5.4 examples/protocols/mqtt.lua ws://127.0.0.1:8080/ news/lua 'There is a new version.'
-- For the broker mosquitto, write this to a file, for example m.conf, and run "mosquitto -c m.conf":
--   listener 1883 127.0.0.1
--   listener 8080 127.0.0.1
--   protocol websockets
--   socket_domain ipv4
--   allow_anonymous true
local websocket = require "websocket"
local url, topic, text = ...
local ws = websocket.WebSocket{url = url, protocols = {"mqtt"}, pinginterval = 30} -- in place of MQTT's pings
local input -- received bytes that `take` has not returned yet

--- Returns the next `n` bytes. A packet may begin and end within a WebSocket message.
local function take(n)
    while #input < n do input = input .. assert(ws:receive()) end
    local bytes = input:sub(1, n)
    input = input:sub(n + 1)
    return bytes
end

--- Returns the type and the body of the next packet.
local function receive()
    local first, length, factor = take(1):byte(), 0, 1
    repeat
        local digit = take(1):byte()
        length, factor = length + digit % 128 * factor, factor * 128
    until digit < 128
    return math.floor(first / 16), take(length)
end

local function send(first, body)
    local length, rest = "", #body
    while rest > 127 do length, rest = length .. string.char(128 + rest % 128), math.floor(rest / 128) end
    ws:sendBinary(string.char(first), length, string.char(rest), body)
end

local function session()
    input = ""
    local name = string.char(math.floor(#topic / 256), #topic % 256) .. topic
    send(0x10, "\0\4MQTT\4\2\0\0\0\0") -- CONNECT: a clean session, no keepalive, no name
    send(text and 0x32 or 0x82, text and name .. "\0\1" .. text or "\0\1" .. name .. "\0") -- PUBLISH or SUBSCRIBE
    for kind, body in receive do
        if kind == 2 then assert(body == "\0\0", "the broker has refused the connection") end -- CONNACK
        if kind == 4 then return ws:close() end -- PUBACK
        if kind == 9 then print(body == "\0\1\0" and "subscribed" or error("refused", 0)) end -- SUBACK
        local last = kind == 3 and 2 + body:byte(1) * 256 + body:byte(2) -- PUBLISH: where the topic ends
        if last then print(body:sub(3, last) .. " " .. body:sub(last + 1)) end
    end
end

io.stdout:setvbuf("line")
ws:connect()
repeat
    assert(ws:waitopen(10))
    local ok, err = pcall(session)
    if not ok then io.stderr:write(err, "\n") end -- "closed": the connection was lost, and the next one begins
    if not ok and ws.state == "open" then os.exit(1) end
until ok
