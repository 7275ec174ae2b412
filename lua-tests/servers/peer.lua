-- The peer on this library's own server: one behaviour per path, as in peer.py. With CERTIFICATES in the environment:
-- TLS. peer.lua PORT. Prints its port.

local websocket = require "websocket"
local types = websocket.WebSocketMessageType

local FLOOD_BYTES = 65536 -- /flood pauses while that many wait for the kernel
local recordings, progress = {}, {} -- by the `key` of a query

--- The fields of a query, with decoded values.
local function parse(query)
  local fields = {}
  for name, value in (query or ""):gmatch("([^&=]+)=([^&]*)") do
    fields[name] = value:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
  end
  return fields
end

--- Calls `f` at once and then each millisecond, while the websocket is open and `f` returns true.
local function repeatedly(ws, f)
  if ws.state == "open" and f() then websocket.after(0.001, function() repeatedly(ws, f) end) end
end

-- Each behaviour is called at OPEN, and returns a function for the later events of its websocket, or nil.
local behaviours = {}

behaviours["/echo"] = function(ws)
  return function(type, data)
    if type == types.TEXT then ws:sendText(data) elseif type == types.BINARY then ws:sendBinary(data) end
  end
end

--- Sends `count` messages, then closes.
behaviours["/close"] = function(ws, query)
  for i = 1, tonumber(query.count or 0) do ws:sendText("message ", i) end
  ws:close(tonumber(query.code or 1000), query.reason)
end

behaviours["/close-on-message"] = function(ws, query)
  return function() ws:close(tonumber(query.code or 1000), query.reason) end
end

--- Sends `count` numbered messages of `size` bytes, as fast as the client reads them, then "end".
behaviours["/flood"] = function(ws, query)
  local sent, count, size = 0, tonumber(query.count), tonumber(query.size or 0)
  repeatedly(ws, function()
    while sent < count and ws.bufferedamount < FLOOD_BYTES do
      sent = sent + 1
      ws:sendText(sent, ("."):rep(size - #tostring(sent)))
      if query.key then progress[query.key] = sent end
    end
    if sent < count then return true end
    ws:sendText("end")
  end)
end

behaviours["/progress"] = function(ws, query) ws:sendText(progress[query.key] or 0) end

behaviours["/ping"] = function(ws, query)
  ws:sendPing(query.payload or "")
  return function(type, data)
    if type == types.PONG then ws:sendText("answered ", data) end
  end
end

--- After one message: `count` pings, each when the previous one is answered.
behaviours["/pinging"] = function(ws, query)
  local answered, count = -1, tonumber(query.count)
  return function(type)
    if type ~= types.TEXT and type ~= types.PONG then return end
    answered = answered + 1
    progress[query.key] = answered
    if answered < count then ws:sendPing() else ws:sendText(count, " answered") end
  end
end

--- Counts numbered messages up to "end", then sends how many came in order. With `pings` it also pings.
behaviours["/count"] = function(ws, query)
  local expected = 1
  if query.pings then repeatedly(ws, function() ws:sendPing() return true end) end
  return function(type, data)
    if type ~= types.TEXT or data == "" then return end
    if data == "end" then
      ws:sendText(expected - 1, " in order")
    elseif data:match("^[^.]*") == tostring(expected) then
      expected = expected + 1
    else
      ws:sendText(data, " instead of ", expected)
    end
  end
end

--- Keeps the messages and the close code for /recorded.
behaviours["/record"] = function(_, query)
  local messages = {}
  return function(type, data, info)
    if type == types.TEXT or type == types.BINARY then messages[#messages + 1] = data end
    if type == types.CLOSE then recordings[query.key] = info.code .. ":" .. table.concat(messages, "|") end
  end
end

--- Sends the recording once its connection has ended.
behaviours["/recorded"] = function(ws, query)
  repeatedly(ws, function()
    if not recordings[query.key] then return true end
    ws:sendText(recordings[query.key])
  end)
end

behaviours["/headers"] = function(ws)
  local lines = {}
  for name, value in pairs(ws.headers) do lines[#lines + 1] = name .. ": " .. value .. "\n" end
  ws:sendText(table.concat(lines))
end

local handlers = {}

local function onreceive(type, data, _, info, ws)
  if type == types.OPEN then
    local behaviour = behaviours[ws.request.path]
    if not behaviour then return ws:sendText(ws.request.target) end
    handlers[ws] = behaviour(ws, parse(ws.request.query))
  elseif handlers[ws] then
    handlers[ws](type, data, info)
  end
  if type == types.CLOSE then handlers[ws] = nil end
end

local function onrequest(request)
  if request.path ~= "/status" then return true end
  local query = parse(request.query)
  return { status = tonumber(query.code), body = query.body or "", headers = { ["X-Reason"] = "because" } }
end

local folder = os.getenv("CERTIFICATES")
local server = websocket.listen {
  address = "127.0.0.1:" .. ...,
  onreceive = onreceive,
  onrequest = onrequest,
  protocols = { "chat", "superchat" },
  deflate = true,
  tls = folder and { cert = folder .. "/good.pem", key = folder .. "/good.key" } or nil,
  pinginterval = 0,
  maxmessagesize = math.huge,
  maxbuffered = math.huge,
}
print(server.port)
io.stdout:flush()
-- Ends the server after 300 s, in case the test has died without ending it.
websocket.run(300)
