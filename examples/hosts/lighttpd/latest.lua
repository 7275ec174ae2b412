-- Answers a request with the latest message of a WebSocket server; lighttpd.conf names this file.
--
-- lighttpd runs this file for each request, with new globals, but in one Lua state. What `require` has loaded stays, so
-- the feed is kept there. While a script waits, lighttpd serves nobody: only the first request waits, for 1 s at most.
local websocket = require "websocket"
local TEXT = websocket.WebSocketMessageType.TEXT
local url = "ws://127.0.0.1:9000/"

local feed = package.loaded.feed
if not feed then
    feed = {}
    package.loaded.feed = feed
    feed.ws = websocket.WebSocket{url = url, onreceive = function(type, data)
        if type == TEXT then feed.latest = data end
    end}
    feed.ws:connect()
    local deadline = websocket.time() + 1
    while not feed.latest and websocket.time() < deadline do websocket.poll(deadline - websocket.time()) end
end
websocket.poll()

local response = lighty.r.resp_header
response["Content-Type"] = "text/plain; charset=utf-8"
response["Cache-Control"] = "no-store"
lighty.r.resp_body.set(feed.latest or "no message yet")
return feed.latest and 200 or 503
