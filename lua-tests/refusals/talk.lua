-- Events of an open connection, sends, properties, the closing handshake.

local script, raw, peer = ...
local wait, get, call, expect = script.wait, script.get, script.call, script.expect

local debug_lines = {}
local on_debug = script.host.quiet(function(line) debug_lines[#debug_lines + 1] = line:gsub("(Accept: ).*", "%1…") end)

-- One event of each type. The second large message is handed over as a block of memory.
local hex = "82021122" .. "81026869" .. "010161" .. "000162" .. "800163" .. "890170" .. "8a0171"
local ws = script.make { url = raw .. "/frames?size=200000&hex=" .. hex, onreceive = script.handler(),
  debug = on_debug }
call(ws, "connect")
wait(function() return script.count() == 9 end)
expect("OPEN {.*protocol= url=.*}", "BINARY 200000 bytes", "BINARY \17\"", "TEXT hi", "FRAGMENT {received=1}",
  "FRAGMENT {received=2}", "TEXT abc", "PING p", "PONG q")
assert(get(ws, "state") == "open" and get(ws, "address"):find "^127%.0%.0%.1:" and get(ws, "extensions") == "")
assert(get(ws, "closecode") == nil and get(ws, "latency") == nil and get(ws, "attempts") == 0)
assert(get(get(ws, "headers"), "upgrade") == "websocket" and get(ws, "unknown") == nil)
call(ws, "close", 4000, "enough")
script.finish()
expect "CLOSE {clean=true code=4000 reason=enough remote=false unsent=0}"
assert(get(ws, "closecode") == 4000 and get(ws, "closereason") == "enough" and get(ws, "state") == "closed")
assert(#debug_lines > 10)

-- Sends, with compression, and what they raise.
ws = script.make { url = peer .. "/echo", onreceive = script.handler(), reconnect = false,
  deflate = { threshold = 0 }, protocols = { "chat" }, headers = { ["X-Token"] = "1" } }
script.host.raises("WebSocket is not connected, can't send text", ws.sendText, ws, "too early")
call(ws, "connect")
wait(function() return ws.state == "open" end)
call(ws, "sendText", "one ", 2, " three ", 4.5)
call(ws, "sendBinary", ("1"):rep(20):byte(1, -1))
call(ws, "sendText", ("x"):rep(100000))
script.host.raises("WebSocket failed to send text: ", ws.sendText, ws, "\255")
assert(call(ws, "flush", 10) == true and get(ws, "bufferedamount") == 0)
wait(function() return script.count() == 4 end)
call(ws, "sendPing", "ping")
wait(function() return script.count() == 5 end)
call(ws, "close")
script.finish()
expect("OPEN {.*extensions=permessage%-deflate.* protocol=chat .*}", "TEXT one 2 three 4.5",
  "BINARY " .. ("49"):rep(20), "TEXT 100000 bytes", "PONG ping", "CLOSE {clean=true code=1000 .*}")

-- A handler that needs much of the stack.
local variables = {}
for i = 1, 150 do variables[i] = "a" .. i end
local source = "local count = 0 return function() count = count + 1 local %s end, function() return count end"
local handler, count = (rawget(_G, "loadstring") or load)(source:format(table.concat(variables, ", ")))()
ws = script.make { url = raw .. "/burst", onreceive = handler }
call(ws, "connect")
wait(function() return count() == 1 end)
for i = 1, 10 do
  call(ws, "sendText", "burst ", 3)
  wait(function() return count() == 1 + 3 * i end)
end
call(ws, "close")
script.finish()
assert(count() == 32)
return table.concat(debug_lines, "\n")
