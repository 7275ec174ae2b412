-- The benchmark client of this module: module.lua MODE KIND URL COUNT SIZE PAYLOADS, see client.lua.
local client = require "client"
local started = client.now()
local websocket = require "websocket"
local required = client.now() - started
local types = websocket.WebSocketMessageType

local job = client.job(arg)

local function options(onreceive)
  return {
    url = job.url, reconnect = false, deflate = job.deflate, onreceive = onreceive,
    tls = { verify = false }, -- the server's certificate is self-signed
  }
end

-- Connects, and calls `onreceive` for all events but OPEN and the last.
local function open(onreceive)
  local opened = false
  local ws = websocket.WebSocket(options(function(type, data, err)
    if type == types.OPEN then
      opened = true
    elseif type == types.ERROR or type == types.CLOSE then
      error("the connection has ended: " .. err)
    else
      onreceive(type, data)
    end
  end))
  ws:connect()
  while not opened do websocket.poll(1) end
  return ws
end

local message_type = job.binary and types.BINARY or types.TEXT
local modes = {}

function modes.receive()
  local stop, seconds, cpu
  local function finished() seconds, cpu = stop() end
  dofile("bench/callback.lua")(message_type, job.count, finished, function(callback, result)
    local ws = websocket.WebSocket(options(callback))
    ws:connect()
    while ws.state == "connecting" do websocket.poll(0.01) end
    stop = client.stopwatch()
    ws:sendText("go")
    local count, bytes, ok
    repeat
      websocket.poll(1)
      count, bytes, ok = result()
      assert(ws.state == "open", "the connection has ended")
    until ok ~= nil
    client.report{
      messages = count, bytes = bytes, seconds = seconds, cpu = cpu, ok = ok and bytes == job.count * job.size,
    }
  end)
end

function modes.send()
  local answer
  local ws = open(function(_, data) answer = data end)
  local payloads, cycle, count = job.payloads, #job.payloads, job.count
  -- At most `enough` bytes may be buffered; checked once per batch.
  local enough, batch = 4 << 20, math.max(1, (256 << 10) // job.size)
  local stop = client.stopwatch()
  local sent = 0
  while sent < count do
    local last = math.min(sent + batch, count)
    if job.binary then
      for i = sent, last - 1 do ws:sendBinary(payloads[i % cycle + 1]) end
    else
      for i = sent, last - 1 do ws:sendText(payloads[i % cycle + 1]) end
    end
    sent = last
    while ws.bufferedamount > enough do websocket.poll(0.0002) end
  end
  while not answer do websocket.poll(1) end
  local seconds, cpu = stop()
  client.report{
    messages = count, bytes = count * job.size, seconds = seconds, cpu = cpu, ok = answer == "done " .. count,
  }
end

-- Sends all messages while the server reads nothing and the kernel's buffer is full: bench/check.py counts the
-- instructions, and otherwise the number of the engine's turns would be random.
function modes.hold()
  local answer
  local ws = open(function(_, data) answer = data end)
  ws:sendBinary(("x"):rep(12 << 20))
  websocket.poll(0.3)
  local send = job.binary and ws.sendBinary or ws.sendText
  for i = 0, job.count - 1 do send(ws, job.payloads[i % #job.payloads + 1]) end
  local release = websocket.WebSocket{ url = job.url:gsub("/hold.*", "/echo/release"), reconnect = false }
  release:connect()
  while not answer do websocket.poll(1) end
  client.report{ messages = job.count, seconds = 0, cpu = 0, ok = answer == "done " .. job.count }
end

function modes.roundtrip()
  local now, payloads, cycle, count = client.now, job.payloads, #job.payloads, job.count
  local times, n, sent, start, ok = {}, 0, payloads[1], nil, true
  local ws
  ws = open(function(_, data)
    local time = now() - start
    n = n + 1
    times[n] = time
    if data ~= sent then ok = false end
    if n == count then return end
    sent = payloads[n % cycle + 1]
    start = now()
    ws:sendText(sent)
  end)
  local stop = client.stopwatch()
  start = now()
  ws:sendText(sent)
  while n < count do websocket.poll(1) end
  local seconds, cpu = stop()
  client.report_roundtrips(times, seconds, cpu, ok)
end

-- Opens `count` websockets; `make(i, other)` returns each one's callback, which calls `other` for other events.
local function open_many(count, make)
  local all, opened = {}, 0
  local function other(type, _, err)
    if type == types.OPEN then
      opened = opened + 1
    elseif type == types.ERROR or type == types.CLOSE then
      error("a connection has ended: " .. err)
    end
  end
  for i = 1, count do
    all[i] = websocket.WebSocket(options(make(i, other)))
    all[i]:connect()
    while i - opened >= client.OPENING_AT_ONCE do websocket.poll(1) end
  end
  while opened < count do websocket.poll(1) end
  return all
end

function modes.idle()
  local empty = client.rss()
  local stop = client.stopwatch()
  local all = open_many(job.count, function(_, other) return other end)
  local seconds, cpu = stop()
  client.report{ messages = #all, seconds = seconds, cpu = cpu, empty = empty, ok = true }
end

function modes.tick()
  local tallies, left = {}, client.TICKING
  local function finished() left = left - 1 end
  local all = open_many(client.TICKING, function(i, other)
    local take
    take, tallies[i] = client.tally(job, message_type, finished, other)
    return take
  end)
  local stop = client.stopwatch()
  for _, ws in ipairs(all) do ws:sendText("go") end
  while left > 0 do websocket.poll(1) end
  client.report_tallies(tallies, job, stop())
end

function modes.require() client.report{ messages = 1, seconds = required, cpu = 0, ok = true } end

modes[job.mode]()
-- Ends the process without closing handshakes.
os.exit(true, false)
