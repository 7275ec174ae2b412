-- Sends 32 bytes to an echo server and waits for the answer, again and again, in an event loop of
-- lua-tests/event_loops.lua. loops.py runs it and sets LOOP, STYLE ("callbacks" or "coroutines"), URL and SECONDS:
-- Neovim and LÖVE have arguments of their own. Prints the microseconds of a round trip, and the number of round trips.
local get = os.getenv
local loop, websocket = dofile "lua-tests/event_loops.lua"(get "LOOP")
local types, now = websocket.WebSocketMessageType, websocket.time
local url, seconds, data = get "URL", tonumber(get "SECONDS"), ("x"):rep(32)

local chunk = 100
local times, count, start, limit = {}, 0, nil, nil

--- To be called after each answer. Returns true at the end. The median of the chunks leaves out those that other
--- processes have interrupted.
local function is_over()
  count = count + 1
  if count % chunk ~= 0 then return false end
  local time = now()
  limit = limit or time + seconds
  times[#times + 1] = start and (time - start) / chunk
  start = now()
  if time < limit then return false end
  table.sort(times)
  io.write(("%.3f %d\n"):format(times[math.floor(#times / 2) + 1] * 1e6, count))
  return true
end

local function callbacks()
  loop.callbacks()
  websocket.WebSocket{ url = url, proxy = false, reconnect = false, onreceive = function(type, _, err, _, ws)
    if type == types.TEXT and is_over() then return ws:close() end
    if type == types.TEXT or type == types.OPEN then ws:sendText(data) end
    if type == types.ERROR then io.write(err, "\n") end
    if type == types.ERROR or type == types.CLOSE then loop.stop() end
  end }:connect()
end

local function coroutines()
  loop.coroutines()
  loop.spawn(function()
    local ws = websocket.WebSocket{ url = url, proxy = false, reconnect = false }
    ws:connect()
    assert(ws:waitopen(10))
    repeat
      ws:sendText(data)
      assert(ws:receive(10))
    until is_over()
    ws:close()
    loop.stop()
  end)
end

if get "STYLE" == "callbacks" then callbacks() else coroutines() end
loop.run()
