-- Keeps a websocket open and answers HTTP requests with its latest message; haproxy.cfg loads this file.
--
-- A task of HAProxy is a coroutine. While the websocket waits, websocket.yield lets HAProxy do other work for 10 ms.
-- A wait without websocket.yield would stop HAProxy.
local websocket = require "websocket"
local url = "ws://127.0.0.1:9000/"

websocket.yield = function(_, timeout) core.msleep(math.floor(1000 * math.min(timeout, 0.01))) end

local latest

-- HAProxy starts its tasks after it has forked.
core.register_task(function()
    local ws = websocket.WebSocket{url = url}
    ws:connect()
    while true do
        local data, _, code, reason = ws:receive()
        if data then
            latest = data
        else
            core.Warning(("%s is closed: %d %s"):format(url, code, reason))
            -- The websocket reconnects by itself, except after an answer such as 404.
            if ws.state == "closed" then
                core.sleep(10)
                ws:connect()
            end
        end
    end
end)

core.register_service("latest", "http", function(applet)
    local body = latest or "no message yet"
    applet:set_status(latest and 200 or 503)
    applet:add_header("Content-Type", "text/plain; charset=utf-8")
    applet:add_header("Content-Length", #body)
    applet:start_response()
    applet:send(body)
end)
