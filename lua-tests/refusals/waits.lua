-- receive, messages, waitopen and flush, which block, and in a coroutine with websocket.yield.

local script, raw = ...
local host, websocket, types = script.host, script.websocket, script.types
local try, call, make = host.try, script.call, script.make

-- Blocking.
local ws = make { url = raw .. "/burst", reconnect = false }
call(ws, "connect")
assert(call(ws, "waitopen", 10) == true)
call(ws, "sendText", "burst ", 12)
assert(call(ws, "flush", 10) == true)
for i = 1, 12 do
  local data, kind = call(ws, "receive", 10)
  assert(data == tostring(i) and kind == types.TEXT, data)
end
local data, reason = call(ws, "receive", 0)
assert(data == nil and reason == "timeout")
call(ws, "sendBinary", "one")
call(ws, "sendBinary", "two")
local iterate, state = call(ws, "messages")
assert(try(iterate, state) == "one" and try(iterate, state) == "two")
call(ws, "close", 4001, "bye")
assert(try(iterate, state) == nil)
local closed, word, code, text = call(ws, "receive", 10)
assert(closed == nil and word == "closed" and code == 4001 and text == "bye")
script.finish()
ws = make { url = raw .. "/status?code=404", reconnect = false }
call(ws, "connect")
local is_open, why = call(ws, "waitopen", 10)
assert(is_open == nil and why:find "404")
host.raises("'receive' is for one without", function()
  websocket.WebSocket({ url = raw, onreceive = print }):receive()
end)
host.raises("number expected", function() ws:receive("x") end)

-- In coroutines.
websocket.yield = function(fd, timeout) return coroutine.yield(fd, timeout) end
ws = make { url = raw .. "/burst", reconnect = false }
call(ws, "connect")

--- Runs body in a coroutine to its end. An error ends the coroutine, and another one calls body again.
local function run(body)
  local coroutine_now, has_ended
  local function step()
    coroutine_now = coroutine_now or coroutine.create(body)
    local ok, fd, timeout = coroutine.resume(coroutine_now)
    if not ok then
      coroutine_now = nil
      error(fd, 0)
    end
    has_ended = coroutine.status(coroutine_now) == "dead"
    return fd, timeout
  end
  while true do
    local fd, timeout = try(step)
    if has_ended then return end
    assert(host.await(fd, math.min(timeout, 5)) or timeout < 5, "the descriptor is not readable")
  end
end

run(function() assert(ws:waitopen(10)) end)
call(ws, "sendText", "burst ", 12)
local got = 0
run(function()
  while got < 12 do
    data = ws:receive(10)
    got = got + 1
    if data ~= tostring(got) then error(data) end
  end
end)
assert(got == 12)
run(function() assert(ws:flush(10) == true) end)
run(function() websocket.poll(0.001) end)
call(ws, "close")
run(function() assert(websocket.run(10) == true) end)
run(function() assert(select(3, ws:receive(10)) == 1000) end)
return "waited"
