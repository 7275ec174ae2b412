-- lua-http's client, as in its documentation: blocking calls for one connection, a coroutine of
-- cqueues for each of many.
local client = require "client"
local cqueues = require "cqueues"
local http = require "http.websocket"
local ssl_context = require "openssl.ssl.context"

local job = client.job(arg)
local kind = job.binary and "binary" or "text"

local function open()
  local ws = assert(http.new_from_uri(job.url))
  if job.url:match("^wss:") then
    local context = ssl_context.new("TLS", false)
    context:setVerify(ssl_context.VERIFY_NONE)
    ws.request.ctx = context
  end
  assert(ws:connect(10))
  return ws
end

local modes = {}

function modes.receive()
  local ws, stop, seconds, cpu = open(), nil, nil, nil
  local function finished() seconds, cpu = stop() end
  dofile("bench/callback.lua")(kind, job.count, finished, function(callback, result)
    stop = client.stopwatch()
    assert(ws:send("go"))
    local count, bytes, ok
    repeat
      local data, type = assert(ws:receive())
      callback(type, data)
      count, bytes, ok = result()
    until ok ~= nil
    client.report{
      messages = count, bytes = bytes, seconds = seconds, cpu = cpu, ok = ok and bytes == job.count * job.size,
    }
  end)
end

function modes.send()
  local ws, payloads, cycle, count = open(), job.payloads, #job.payloads, job.count
  local stop = client.stopwatch()
  for i = 0, count - 1 do assert(ws:send(payloads[i % cycle + 1], kind)) end
  local answer = assert(ws:receive())
  local seconds, cpu = stop()
  client.report{
    messages = count, bytes = count * job.size, seconds = seconds, cpu = cpu, ok = answer == "done " .. count,
  }
end

function modes.roundtrip()
  local ws, now, payloads, cycle = open(), client.now, job.payloads, #job.payloads
  local times, ok = {}, true
  local stop = client.stopwatch()
  for i = 0, job.count - 1 do
    local payload = payloads[i % cycle + 1]
    local start = now()
    assert(ws:send(payload, kind))
    local data = assert(ws:receive())
    times[i + 1] = now() - start
    if data ~= payload then ok = false end
  end
  local seconds, cpu = stop()
  client.report_roundtrips(times, seconds, cpu, ok)
end

-- Opens `count` connections, a few at a time, each in a coroutine that then runs `body(ws)`.
local function open_many(count, body)
  local queue, begun, opened = cqueues.new(), 0, 0
  local function next_one()
    if begun == count then return end
    begun = begun + 1
    queue:wrap(function()
      local ws = open()
      opened = opened + 1
      next_one()
      body(ws, opened == count)
    end)
  end
  for _ = 1, client.OPENING_AT_ONCE do next_one() end
  return queue
end

function modes.idle()
  local empty = client.rss()
  local all = {}
  local stop = client.stopwatch()
  assert(open_many(job.count, function(ws) all[#all + 1] = ws end):loop())
  local seconds, cpu = stop()
  client.report{ messages = #all, seconds = seconds, cpu = cpu, empty = empty, ok = true }
end

function modes.tick()
  local all, tallies = {}, {}
  assert(open_many(client.TICKING, function(ws) all[#all + 1] = ws end):loop())
  local queue = cqueues.new()
  local stop = client.stopwatch()
  for i, ws in ipairs(all) do
    local take, over
    take, tallies[i] = client.tally(job, kind, function() over = true end)
    queue:wrap(function()
      assert(ws:send("go"))
      repeat
        local data, type = assert(ws:receive())
        take(type, data)
      until over
    end)
  end
  assert(queue:loop())
  client.report_tallies(tallies, job, stop())
end

modes[job.mode]()
os.exit(true, false)
