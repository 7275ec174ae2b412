-- Runs a script written for Aseprite, as it is: lua5.4 examples/aseprite.lua SCRIPT [ARGUMENT…]
--
-- The script finds the globals WebSocket and WebSocketMessageType, and nothing else of Aseprite's API. It gets the
-- arguments as `...` and in `arg`. After it has returned, its handlers are called until no websocket is live. An error,
-- in the script or in a handler, is printed with its traceback and ends the run with exit status 1.
local websocket = require "websocket.global"
local unpack = table.unpack or rawget(_G, "unpack") -- Lua 5.1

local name = arg[1]
if not name then
    io.stderr:write("usage: lua examples/aseprite.lua SCRIPT [ARGUMENT…]\n")
    os.exit(2)
end
for i = 0, #arg do arg[i] = arg[i + 1] end -- luacheck: ignore 122

local ok, message = xpcall(function()
    assert(loadfile(name))(unpack(arg))
    websocket.run()
end, function(err) return debug.traceback(tostring(err), 2) end)
if not ok then
    io.stderr:write(message, "\n")
    os.exit(1, true)
end
