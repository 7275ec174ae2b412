-- The server of scripts/soak: echoes at 127.0.0.1, at a port with TLS, and at a Unix socket, and sends "tick" to all
-- each second. run.py starts it: server.lua PORT [FOLDER SOCKET COUNTS]. FOLDER has the certificate; without it there
-- is only the port. Prints the ports. Each second it writes its counts to the file COUNTS.
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local port, folder, socket, counts = ...

local open, messages, opened = {}, 0, 0

local function onreceive(type, data, _, _, ws)
  if type == types.OPEN then
    opened = opened + 1
    open[ws] = true
  elseif type == types.CLOSE then
    open[ws] = nil
  elseif type == types.TEXT or type == types.BINARY then
    messages = messages + 1
    -- A client that reads nothing loses its answers here, not this server's memory.
    if ws.bufferedamount + #data > 500000 then return ws:close(1013) end
    if type == types.TEXT then ws:sendText(data) else ws:sendBinary(data) end
  end
end

local function listen(address, tls)
  return websocket.listen{
    address = address, tls = tls, onreceive = onreceive, deflate = true, pinginterval = 1, pongtimeout = 10,
  }
end

local plain = listen("127.0.0.1:" .. port)
if folder then
  local secure = listen("127.0.0.1:0", { cert = folder .. "/good.pem", key = folder .. "/good.key" })
  listen("unix:" .. socket)
  print(plain.port, secure.port)
else
  print(plain.port)
end
io.stdout:flush()

local function tick()
  websocket.after(1, tick)
  local list = {}
  for ws in pairs(open) do list[#list + 1] = ws end
  websocket.broadcastText(list, "tick")
  if not counts then return end
  collectgarbage()
  local file = assert(io.open(counts, "w"))
  file:write(("%d %d %.0f\n"):format(messages, opened, collectgarbage("count")))
  file:close()
end
tick()
websocket.run()
