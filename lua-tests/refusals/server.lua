-- A server and its client in one state: onrequest with each kind of answer, broadcasts, closing.

local script = ...
local host, websocket = script.host, script.websocket
local try, call, wait = host.try, script.call, script.wait

--- The answer to the next request. If Lua has no memory to read it, the handshake fails, and the client tries again.
local answer
local accepted = {}
local keep = host.quiet(function(kind, _, _, _, ws)
  if kind == script.types.OPEN then accepted[#accepted + 1] = ws end
end)
local heard = {}
local server = try(websocket.listen, {
  address = "127.0.0.1:0", protocols = { "chat" }, origins = "*", deflate = true, headers = { ["X-Server"] = "1" },
  debug = host.quiet(function(line) heard.debug = line end),
  onrequest = function() return answer end,
  onreceive = host.quiet(function(kind, data, _, _, ws)
    keep(kind, data, nil, nil, ws)
    heard[#heard + 1] = kind .. data
  end),
})
assert(script.get(server, "state") == "listening")
local url = "ws://127.0.0.1:" .. script.get(server, "port") .. "/path?query"

local function connect(options)
  options.url, options.onreceive, options.maxreconnectwait = url, script.handler(), 0.02
  local ws = script.make(options)
  call(ws, "connect")
  return ws
end

local ws = connect { protocols = { "chat" } }
wait(function() return ws.state == "open" and #accepted > 0 and script.recorded():find "OPEN {.* protocol=chat " end)
call(ws, "sendText", "hello")
wait(function() return heard[#heard] == "0hello" end)
local peer = accepted[#accepted]
assert(script.get(script.get(peer, "request"), "path") == "/path" and script.get(peer, "server") == server)
call(peer, "sendBinary", "answer")
wait(function() return script.count() == 1 end)
script.expect "BINARY answer"
assert(try(websocket.broadcastText, { peer }, "to ", "all") == 1)
wait(function() return script.count() == 1 end)
script.expect "TEXT to all"
call(ws, "close")
wait(function() return ws.state == "closed" and script.count() == 1 end)
script.expect "CLOSE {clean=true code=1000 .*}"

-- Refused requests.
answer = false
connect { reconnect = false }
wait(function() return script.count() == 1 end)
assert(script.recorded():find "^ERROR %(.*%) {attempt=1 .*kind=handshake status=[45]0[03]}$")
answer = { status = 410, headers = { ["X-A"] = "b" }, body = "gone" }
connect {}
wait(function()
  local text = script.recorded()
  return text:find "body=gone .*status=410" and not text:find "\n"
end)
answer = { protocol = "chat", headers = { ["X-B"] = "c" } }
ws = connect { protocols = { "chat" } }
wait(function() return script.recorded():find "OPEN {.*x%-b=c.* protocol=chat " end)
call(server, "close")
wait(function() return script.get(server, "state") == "closed" and ws.state ~= "open" end)
call(ws, "close")
script.finish()
assert(script.recorded():find "^CLOSE {.* code=1001 .*}")
return "served"
