-- A chat server that uses all cores: lua5.4 examples/processes.lua 127.0.0.1:9000 [WORKERS]
--
-- A Lua state runs on one core, so this process starts others, the workers. They listen at one port, and the kernel
-- gives each connection to one of them. This process is the hub: a client's message goes from its worker to the hub,
-- from there to all workers, and from each worker to its clients. A worker that has ended is started again.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

--- Keeps the open websockets of a server in a list.
local function keep(list, type, ws)
    if type == types.OPEN then list[#list + 1] = ws end
    if type ~= types.CLOSE then return end
    for i = #list, 1, -1 do if list[i] == ws then table.remove(list, i) end end
end

local function work(address, number, hub_url)
    local clients, server = {}, nil
    local hub = websocket.WebSocket{url = hub_url .. number, reconnect = false, onreceive = function(type, data)
        if type == types.CLOSE then return server:close() end
        if type ~= types.TEXT then return end
        local _, left_out = websocket.broadcastText(clients, data)
        for _, ws in ipairs(left_out or {}) do ws:close(1008, "too slow") end
    end}
    hub:connect()
    assert(hub:waitopen(10))
    local function onreceive(type, data, _, _, ws)
        keep(clients, type, ws)
        if type == types.TEXT and hub.state == "open" then hub:sendText("worker ", number, ": ", data) end
    end
    server = websocket.listen{address = address, reuseport = true, maxmessagesize = 65536, onreceive = onreceive}
    return server, server.address
end

local function manage(address, count)
    local hub, workers, pipes, file = nil, {}, {}, os.tmpname()
    os.remove(file)
    local function start(number)
        if pipes[number] then pipes[number]:close() end
        local command = "exec '%s' '%s' '%s' %d 'ws+unix:%s:/'"
        pipes[number] = io.popen(command:format(arg[-1], arg[0], address, number, file))
        address = assert(pipes[number]:read(), "a worker did not start") -- with the real port
    end
    hub = websocket.listen{address = "unix:" .. file, onreceive = function(type, data, _, _, ws)
        keep(workers, type, ws)
        if type == types.TEXT then websocket.broadcastText(workers, data) end
        if type == types.CLOSE and hub.state == "listening" then start(tonumber(ws.request.path:sub(2))) end
    end}
    for number = 1, tonumber(count) do start(number) end
    return hub, "ws://" .. address .. "/"
end

local address, count, hub_url = arg[1] or "127.0.0.1:0", arg[2] or io.popen("nproc"):read(), arg[3]
local server, line = (hub_url and work or manage)(address, count, hub_url)
print(line)
io.stdout:flush()
local ok, err = pcall(websocket.run) -- until Ctrl-C, a worker until the hub has ended
server:close()
websocket.run(1)
if not ok and not tostring(err):find("interrupted!", 1, true) then error(err, 0) end
