-- Timers, run and stop, and the descriptor for loops of the host.

local script, raw = ...
local host, websocket = script.host, script.websocket
local try, call, make, wait, expect = host.try, script.call, script.make, script.wait, script.expect

-- Timers: each one runs once, in the order of their times.
local function timer(name) return host.quiet(function() script.note(name, "", "") end) end
local timers = {}
for i = 1, 20 do timers[i] = try(websocket.after, i <= 10 and 0 or 1000, timer("timer" .. i)) end
for i = 11, 20 do call(timers[i], "cancel") end
assert(try(tostring, timers[1]):find "^WebSocketTimer: ")
wait(function() return script.count() == 10 end)
assert(try(websocket.run, 10) == true)
expect("timer1", "timer2", "timer3", "timer4", "timer5", "timer6", "timer7", "timer8", "timer9", "timer10")
try(websocket.after, 1000, timer "stopped")
try(websocket.after, 0, host.quiet(function() websocket.stop() end))
local is_idle = try(websocket.run, 10)
if is_idle then error "run has not been stopped" end
assert(try(websocket.time) > 0)

-- A loop of the host waits for the descriptor before each poll; between polls it must be readable while events wait.
local fd = try(websocket.fd)
assert(try(websocket.loop.pollfd, websocket.loop) == fd and try(websocket.loop.getfd, websocket.loop) == fd)
assert(try(websocket.loop.events, websocket.loop) == "r" and try(websocket.loop.timeout, websocket.loop) > 0)
local function turn()
  host.quiet(function() assert(host.await(fd, 5), "the descriptor is not readable") end)()
  websocket.poll()
end
local hex = "810161" .. "010162" .. "800163" .. "890170" .. "82020102"
local ws = make { url = raw .. "/frames?hex=" .. hex, onreceive = script.handler(), reconnect = false,
  debug = host.quiet(function() end) }
call(ws, "connect")
wait(function() return script.count() == 6 end, turn)
call(ws, "close")
wait(function() return script.count() == 7 end, turn)
expect("OPEN {.*}", "TEXT a", "FRAGMENT {received=1}", "TEXT bc", "PING p", "BINARY \1\2", "CLOSE {.*code=1000 .*}")
ws = make { url = raw .. "/status?code=500", onreceive = script.handler(), reconnect = false }
call(ws, "connect")
wait(function() return script.count() == 1 end, turn)
expect "ERROR .*"

-- Without a handler the messages wait for receive.
ws = make { url = raw .. "/together", reconnect = false }
call(ws, "connect")
local data, reason, code
local function receive() data, reason, code = ws:receive(0) end
local function turn_and_receive()
  receive()
  if reason == "timeout" then turn() end
end
wait(function() return data == "first" end, turn_and_receive)
try(receive)
assert(data == "second")
wait(function() return code == 4001 end, turn_and_receive)
assert(reason == "closed")

-- poll with a descriptor of the host: that of the module itself is readable with a timer.
try(websocket.after, 0, timer "due")
wait(function() return script.count() == 1 end, function() websocket.poll(0.01, fd) end)
try(websocket.loop.dirty, websocket.loop)
return "over"
