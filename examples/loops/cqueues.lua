-- A websocket among the coroutines of cqueues: lua5.4 examples/loops/cqueues.lua ws://127.0.0.1:9000/ [MESSAGES]
--
-- websocket.yield lets `receive` wait in the loop of cqueues, so that the ticker goes on meanwhile.
local cqueues = require "cqueues"
local websocket = require "websocket"

function websocket.yield(_, timeout)
    cqueues.poll(websocket.loop, timeout < math.huge and timeout or nil)
end

local url, messages = assert(arg[1], "usage: cqueues.lua URL [MESSAGES]"), tonumber(arg[2] or 3)
local loop = cqueues.new()
local ticks, is_over = 0, false

loop:wrap(function()
    local ws = websocket.WebSocket{ url = url, reconnect = false }
    ws:connect()
    assert(ws:waitopen(10))
    for number = 1, messages do
        ws:sendText("message ", number)
        print((assert(ws:receive(10))))
    end
    ws:close()
    is_over = true
end)

loop:wrap(function()
    while not is_over do
        cqueues.sleep(0.01)
        ticks = ticks + 1
    end
end)

assert(loop:loop())
print(ticks .. " ticks")
