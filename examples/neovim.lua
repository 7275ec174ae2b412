-- A websocket in Neovim: URL=ws://127.0.0.1:9000/ nvim --headless -u NONE -S examples/neovim.lua
--
-- Neovim runs LuaJIT: it loads a module that was built for Lua 5.1 or LuaJIT. Editing goes on, as the ticks show.
local uv = vim.uv or vim.loop
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local url, messages = assert(vim.env.URL, "URL is not set"), tonumber(vim.env.MESSAGES or 3)
local events, ticker = uv.new_poll(websocket.fd()), uv.new_timer()
local sent, ticks = 0, 0

local function on_event(type, data, err, _, ws)
    if type == types.TEXT then io.write(data, "\n") end
    if type == types.ERROR then io.write(err, "\n") end
    if type == types.ERROR or type == types.CLOSE then
        io.write(ticks, " ticks\n")
        vim.cmd(type == types.ERROR and "cquit" or "quitall")
    end
    if type ~= types.OPEN and type ~= types.TEXT then return end
    if sent == messages then return ws:close() end
    sent = sent + 1
    ws:sendText("message ", sent)
end

-- Scheduled, so that the callbacks may call all functions of Neovim.
events:start("r", vim.schedule_wrap(function() websocket.poll() end))
ticker:start(10, 10, function() ticks = ticks + 1 end)
websocket.WebSocket{ url = url, reconnect = false, onreceive = on_event }:connect()
