-- GraphQL (graphql-transport-ws): prints each result of a query or a subscription. Needs lua-cjson.
--   lua5.4 examples/protocols/graphql.lua ws://127.0.0.1:8000/ 'subscription { count(to: 3) }'
--   lua5.4 examples/protocols/graphql.lua ws://127.0.0.1:8000/ 'subscription ($n: Int!) { count(to: $n) }' '{"n": 3}'
local websocket = require "websocket"
local json = require "cjson"

local url, query, variables = ...
local ws = websocket.WebSocket{url = url, protocols = {"graphql-transport-ws"}, reconnect = false, pinginterval = 30}

local function send(message) ws:sendText(json.encode(message)) end

--- Waits for the next message that is no ping or pong, for at most `timeout` seconds.
local function receive(timeout)
    local text, reason, code, words = ws:receive(timeout)
    if not text then error(code and ("closed: %d %s"):format(code, words) or reason, 0) end
    local message = json.decode(text)
    if message.type == "ping" then send{type = "pong"} end
    if message.type == "ping" or message.type == "pong" then return receive(timeout) end
    return message
end

io.stdout:setvbuf("line")
ws:connect()
assert(ws:waitopen(10))
send{type = "connection_init"} -- A token for the server would be the field `payload`.
assert(receive(10).type == "connection_ack")
send{id = "1", type = "subscribe", payload = {query = query, variables = variables and json.decode(variables)}}
repeat
    local message = receive()
    local errors = message.type == "error" and message.payload or message.type == "next" and message.payload.errors
    if errors then error(errors[1].message, 0) end
    if message.type == "next" then print(json.encode(message.payload.data)) end
until message.type == "complete"
ws:close()
websocket.run(5)
