-- The client under test: runs all cases of the fuzzing server at PORT, several at once, and echoes
-- each message, as the suite requires. Standard input has the cases' ids, in the server's order.
--     lua5.4 client.lua PORT [AT_ONCE]
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local base = "ws://127.0.0.1:" .. assert(arg[1], "usage: client.lua PORT [AT_ONCE]")
local at_once = tonumber(arg[2] or 4)
local agent = "websocket.so"

-- Connects, echoes if options.echo is set, and calls done with the last text message once the connection is closed.
local function talk(path, options, done)
    local ws, text
    ws = websocket.WebSocket{
        url = base .. path,
        deflate = options.deflate,
        reconnect = false,
        maxmessagesize = 256 << 20,
        onreceive = function(type, data, err, info)
            if type == types.TEXT then
                text = data
                if options.echo then ws:sendText(data) end
            elseif type == types.BINARY and options.echo then
                ws:sendBinary(data)
            elseif type == types.CLOSE then
                done(text)
            elseif type == types.ERROR and info.attempt then
                error(err)
            end
        end,
    }
    ws:connect()
    return ws
end

-- In 13.2, 13.5 and 13.6 the server requests client_no_context_takeover. 12.*.1 and 13.*.1 send 16
-- bytes, and the suite fails if such messages come back uncompressed: hence threshold = 0.
local without_takeover = { ["2"] = true, ["5"] = true, ["6"] = true }
local function deflate_for(id)
    local group = id:match("^13%.(%d+)%.")
    return { threshold = 0, clienttakeover = not without_takeover[group] }
end

local ids = {}
for id in io.lines() do ids[#ids + 1] = id end

local next_case, running = 1, 0
local function run_next()
    while running < at_once and next_case <= #ids do
        local case = next_case
        next_case, running = next_case + 1, running + 1
        local path = ("/runCase?case=%d&agent=%s"):format(case, agent)
        talk(path, { echo = true, deflate = deflate_for(ids[case]) }, function()
            running = running - 1
            run_next()
        end)
    end
end

talk("/getCaseCount", {}, function(text)
    assert(math.tointeger(text) == #ids, "the server has other cases than were named")
    run_next()
end)
websocket.run()
talk("/updateReports?agent=" .. agent, {}, function() end)
websocket.run()
