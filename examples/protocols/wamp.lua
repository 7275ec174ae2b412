-- WAMP 2: prints the events of a topic, publishes an event, or calls a procedure. Needs lua-cjson.
--   lua5.4 examples/protocols/wamp.lua ws://127.0.0.1:8080/ realm1 subscribe com.example.news
--   lua5.4 examples/protocols/wamp.lua ws://127.0.0.1:8080/ realm1 publish com.example.news '["a new version"]'
--   lua5.4 examples/protocols/wamp.lua ws://127.0.0.1:8080/ realm1 call wamp.session.count
-- The last argument is a list, in JSON, of the arguments of the event or of the procedure.
local websocket = require "websocket"
local json = require "cjson"

local url, realm, verb, uri, arguments = ...
local HELLO, WELCOME, GOODBYE = 1, 2, 6
local PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, EVENT, CALL, RESULT = 16, 17, 32, 33, 36, 48, 50

local ws = websocket.WebSocket{url = url, protocols = {"wamp.2.json"}, reconnect = false, pinginterval = 30}

--- Sends a message, and returns the answer, which has to be of the type `wanted`.
local function request(wanted, ...)
    ws:sendText(json.encode{...})
    local text = assert(ws:receive(10))
    local answer = json.decode(text)
    if answer[1] ~= wanted then error(text, 0) end -- ABORT or ERROR
    return answer
end

local verbs = {
    subscribe = function()
        request(SUBSCRIBED, SUBSCRIBE, 1, {}, uri)
        print "subscribed"
        for text in ws:messages() do
            local message = json.decode(text) -- EVENT, subscription, publication, details[, arguments]
            if message[1] == EVENT then print(json.encode(message[5])) end
        end
        error(("closed: %d %s"):format(ws.closecode, ws.closereason), 0)
    end,
    publish = function() request(PUBLISHED, PUBLISH, 1, {acknowledge = true}, uri, arguments) end,
    call = function() print(json.encode(request(RESULT, CALL, 1, {}, uri, arguments)[4])) end,
}

io.stdout:setvbuf("line")
arguments = arguments and json.decode(arguments)
ws:connect()
assert(ws:waitopen(10))
local none = {} -- JSON's {}: no features beyond the basic ones
request(WELCOME, HELLO, realm, {roles = {subscriber = none, publisher = none, caller = none}})
verbs[verb]()
request(GOODBYE, GOODBYE, none, "wamp.close.normal")
ws:close()
websocket.run(5)
