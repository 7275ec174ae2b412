-- Asks a WebSocket server on behalf of HTTP requests; nginx.conf loads this file. Each worker of nginx has its own Lua
-- state with one websocket, which all its requests use.
--
-- A question is "NUMBER QUESTION", and its answer is "NUMBER ANSWER"; answers may come in any order. A request waits in
-- a semaphore of nginx, which serves others meanwhile. The timer calls poll, which never waits.
local semaphore = require "ngx.semaphore"
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local backend = {}
local ws
local waiting, last = {}, 0 -- the requests that wait, by number

local function finish(number, answer, err)
    local request = waiting[number]
    if not request then return end -- its time is over
    request.answer, request.err = answer, err
    request.semaphore:post()
end

local function on_event(type, data)
    if type == types.TEXT then
        local number, answer = data:match("^(%d+) (.*)$")
        finish(tonumber(number), answer)
    elseif type == types.CLOSE then
        for number in pairs(waiting) do finish(number, nil, "the connection has ended") end
    end
end

function backend.start(url)
    ws = websocket.WebSocket{url = url, onreceive = on_event}
    ws:connect()
    assert(ngx.timer.every(0.005, function() websocket.poll() end))
end

--- Returns the answer, or nil and the reason.
function backend.ask(question, seconds)
    local deadline = websocket.time() + seconds
    while ws.state ~= "open" and websocket.time() < deadline do ngx.sleep(0.01) end
    last = last + 1
    local number, request = last, {semaphore = semaphore.new()}
    local is_sent, err = pcall(ws.sendText, ws, number, " ", question)
    if not is_sent then return nil, err end
    waiting[number] = request
    local has_ended, why = request.semaphore:wait(math.max(deadline - websocket.time(), 0))
    waiting[number] = nil
    if not has_ended then return nil, why end
    return request.answer, request.err
end

return backend
