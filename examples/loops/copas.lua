-- A websocket among the coroutines of copas: lua5.1 examples/loops/copas.lua ws://127.0.0.1:9000/ [MESSAGES]
local copas, websocket = require "copas", require "websocket"

-- To copas each wait is a socket, whose first `receive` has to wait and whose second one succeeds.
local Wait = { getfd = websocket.loop.getfd, close = function() end }
Wait.__index = Wait
function Wait:dirty() return self.is_over or websocket.loop:dirty() end
function Wait:receive()
    self.calls = self.calls + 1
    return self.calls > 1, "timeout"
end

-- A timer of the module ends the wait, too: copas 1 has none.
function websocket.yield(_, timeout)
    local wait = setmetatable({ calls = 0 }, Wait)
    local timer = timeout < math.huge and websocket.after(timeout, function() wait.is_over = true end)
    copas.receive(wait)
    if timer then timer:cancel() end
end

local url, messages = assert(arg[1], "usage: copas.lua URL [MESSAGES]"), tonumber(arg[2] or 3)
local ticks, next_tick, is_over = 0, websocket.time(), false

copas.addthread(function()
    local ws = websocket.WebSocket{ url = url, reconnect = false }
    ws:connect()
    assert(ws:waitopen(10))
    for number = 1, messages do
        ws:sendText("message ", number)
        print((assert(ws:receive(10))))
    end
    is_over = true
end)

while not is_over do
    copas.step(math.max(next_tick - websocket.time(), 0))
    if websocket.time() >= next_tick then next_tick, ticks = next_tick + 0.01, ticks + 1 end
end
print(ticks .. " ticks")
