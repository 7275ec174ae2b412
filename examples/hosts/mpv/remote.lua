-- A remote control for mpv: mpv --script=examples/hosts/mpv/remote.lua FILE, then open http://127.0.0.1:9000/
--
-- mpv gives each script its own thread and Lua state. The timer delivers what browsers send; nothing here may wait.
-- Another address: --script-opts=remote-address=192.168.1.5:9000. Everybody who reaches that address controls mpv.
local mp = require "mp"
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local options = {address = "127.0.0.1:9000"}
require "mp.options".read_options(options, "remote")

local page = [[<!DOCTYPE html><meta charset="utf-8"><title>mpv</title>
<button value="toggle">Pause</button> <button value="seek -10">-10 s</button> <button value="seek 10">+10 s</button>
<pre></pre>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws")), state = {};
  socket.onmessage = event => {
    const [, name, value] = event.data.match(/^(.*?)=(.*)$/);
    state[name] = value;
    document.querySelector("pre").textContent = JSON.stringify(state, null, 2);
  };
  for (const button of document.querySelectorAll("button")) button.onclick = () => socket.send(button.value);
</script>]]

-- The commands that a client can send: a name, and a number for some of them.
local commands = {
    toggle = function() mp.commandv("cycle", "pause") end,
    pause = function() mp.set_property_bool("pause", true) end,
    play = function() mp.set_property_bool("pause", false) end,
    seek = function(number) mp.commandv("seek", number) end,
    volume = function(number) mp.set_property_number("volume", number) end,
}
local clients, state = {}, {} -- a list of the open websockets; the last value of each property

local function on_event(type, data, _, _, ws)
    if type == types.OPEN then
        clients[#clients + 1] = ws
        for name, value in pairs(state) do ws:sendText(name, "=", value) end
    elseif type == types.TEXT then
        local name, number = data:match("^(%a+) ?(%-?%d*)$")
        local ok, err = pcall(commands[name] or error, tonumber(number))
        if not ok then ws:sendText("error=", data, ": ", err or "no such command") end
    elseif type == types.CLOSE then
        for i = #clients, 1, -1 do if clients[i] == ws then table.remove(clients, i) end end
    end
end

for name, format in pairs{pause = "%s", volume = "%.0f", ["time-pos"] = "%.0f", ["media-title"] = "%s"} do
    mp.observe_property(name, "native", function(_, value)
        local text = value == nil and "" or format:format(tostring(value))
        if text ~= state[name] then websocket.broadcastText(clients, name, "=", text) end
        state[name] = text
    end)
end

local function onrequest(request)
    if not request.headers.upgrade then return {body = page, headers = {["Content-Type"] = "text/html"}} end
end
websocket.listen{address = options.address, onrequest = onrequest, onreceive = on_event}
mp.add_periodic_timer(0.02, websocket.poll)
