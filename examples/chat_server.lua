-- A chat for browsers: lua5.4 examples/chat_server.lua 127.0.0.1:9000, then open the URL that it prints.
--
-- One port serves the page and the WebSocket. Only this page may connect: without the option `origins`, the pages of
-- other websites are refused.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local page = [[
<!DOCTYPE html>
<meta charset="utf-8">
<title>Chat</title>
<style>
  body { font: 16px sans-serif; max-width: 40em; margin: 1em auto; }
  #lines { height: 20em; overflow-y: auto; border: 1px solid #888; padding: 0.5em; }
  input { width: 100%; box-sizing: border-box; margin-top: 0.5em; font: inherit; }
</style>
<h1>Chat</h1>
<div id="lines"></div>
<form><input placeholder="Your message" autofocus></form>
<script>
  const lines = document.querySelector("#lines"), input = document.querySelector("input");
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "chat");
  const show = text => {
    const line = document.createElement("div");
    line.textContent = text; // never innerHTML: others have written the text
    lines.append(line);
    line.scrollIntoView();
  };
  socket.onmessage = event => show(event.data);
  socket.onclose = () => show("The connection is closed.");
  document.querySelector("form").onsubmit = event => {
    event.preventDefault();
    if (input.value && socket.readyState === WebSocket.OPEN) socket.send(input.value), input.value = "";
  };
</script>
]]

local members, names, guests = {}, {}, 0 -- the open websockets, and the name of each

local function say(...)
    local _, left_out = websocket.broadcastText(members, ...)
    -- Those that read too slowly must go.
    for _, ws in ipairs(left_out or {}) do ws:close(1008, "too slow") end
end

local function remove(ws)
    for i = #members, 1, -1 do
        if members[i] == ws then table.remove(members, i) end
    end
end

local function onreceive(type, data, _, _, ws)
    if type == types.OPEN then
        guests = guests + 1
        members[#members + 1], names[ws] = ws, "Guest " .. guests
        say(names[ws], " has come")
    elseif type == types.TEXT then
        say(names[ws], ": ", data)
    elseif type == types.CLOSE then
        remove(ws)
        say(names[ws] or "Somebody", " has gone")
        names[ws] = nil
    end
end

local function onrequest(request)
    if request.path == "/chat" then return true end
    if request.path ~= "/" then return {status = 404, body = "There is only /.\n"} end
    return {body = page, headers = {["Content-Type"] = "text/html; charset=utf-8"}}
end

local address = arg[1] or "127.0.0.1:0"
local server = websocket.listen{address = address, onrequest = onrequest, onreceive = onreceive}
io.stdout:setvbuf("line")
print("http://" .. server.address .. "/")
websocket.run()
