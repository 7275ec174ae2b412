-- XMPP (RFC 7395): prints the messages that arrive, or sends one. The password is in the environment.
--   export XMPP_PASSWORD=…
--   lua5.4 examples/protocols/xmpp.lua ws://127.0.0.1:5280/xmpp-websocket juliet@localhost
--   lua5.4 examples/protocols/xmpp.lua ws://127.0.0.1:5280/xmpp-websocket romeo@localhost juliet@localhost Hello
-- Use wss:// unless the server is on this machine. A whole client would also answer the requests (iq) of others.
local websocket = require "websocket"

local url, user, recipient, text = ...
local name, domain = user:match("^(.-)@(.+)$")
local ws = websocket.WebSocket{url = url, protocols = {"xmpp"}, reconnect = false, pinginterval = 30}

local characters, entities = {amp = "&", lt = "<", gt = ">", apos = "'", quot = '"'}, {}
for entity, character in pairs(characters) do entities[character] = "&" .. entity .. ";" end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(bytes)
    local padding = -#bytes % 3
    local coded = (bytes .. ("\0"):rep(padding)):gsub("(.)(.)(.)", function(a, b, c)
        local number = (a:byte() * 256 + b:byte()) * 256 + c:byte()
        return (("3210"):gsub(".", function(i)
            local digit = math.floor(number / 64 ^ i) % 64 + 1
            return digits:sub(digit, digit)
        end))
    end)
    return coded:sub(1, #coded - padding) .. ("="):rep(padding)
end

--- Sends an element and returns after the next one of this name. Each message of WebSocket is a whole element.
local function request(element, ...)
    ws:sendText(...)
    repeat
        local answer = assert(ws:receive(10))
        if answer:find("^<%S*failure") or answer:find("^<[^>]* type=.error") then error(answer, 0) end
    until answer:find("^<[%w:]*" .. element)
end

io.stdout:setvbuf("line")
ws:connect()
assert(ws:waitopen(10))
local open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0' to='" .. domain .. "'/>"
request("features", open)
local password = base64("\0" .. name .. "\0" .. os.getenv("XMPP_PASSWORD"))
request("success", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>", password, "</auth>")
request("features", open)
request("iq", "<iq xmlns='jabber:client' id='1' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
if text then
    ws:sendText("<message xmlns='jabber:client' type='chat' to='", recipient, "'><body>",
        text:gsub("[&<>'\"]", entities), "</body></message>")
    request("close", "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
else
    ws:sendText "<presence xmlns='jabber:client'/>" -- Before it the server keeps the messages that arrive.
    print "online"
    for xml in ws:messages() do
        local from, body = xml:match("^<message[^>]* from=['\"]([^/'\"]*)"), xml:match("<body>(.-)</body>")
        if from and body then print(from .. ": " .. body:gsub("&(%a+);", characters)) end
    end
    error(("closed: %d %s"):format(ws.closecode, ws.closereason), 0)
end
ws:close()
websocket.run(5)
