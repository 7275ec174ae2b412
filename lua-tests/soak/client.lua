-- A client of scripts/soak, in an event loop of ../event_loops.lua: connects, sends messages of many sizes, compares
-- the echoes, closes, and begins again. run.py sets LOOP, STYLE ("callbacks", "coroutines"; in the module's own loop
-- also "poll" and "blocking"), URLS, CA, SECONDS and COUNTS. The URL that ends in /flaky is of a server that is killed
-- again and again; at the others any failure is an error. Each second it writes its counts to the file COUNTS.
local get = os.getenv
local loop, websocket = dofile "lua-tests/event_loops.lua"(get "LOOP")
local types = websocket.WebSocketMessageType
local style, seconds = get "STYLE", tonumber(get "SECONDS")

local messages, opened, is_over = 0, 0, false
local block = {}
for i = 1, 1000 do block[i] = ("%d "):format(i * i * 7919 % 1000003) end
block = table.concat(block)

--- A text of a random length, mostly short.
local function text()
  local kind = math.random(20)
  if kind == 1 then return block:rep(math.random(20)) end
  if kind == 2 then return "" end
  return block:sub(1, math.random(kind < 6 and #block or 100)) .. math.random(1000000)
end

local function options(url, deflate)
  return {
    url = url, deflate = deflate, proxy = false, maxreconnectwait = 1, pinginterval = 1, pongtimeout = 10,
    tls = { ca = get "CA" }, connecttimeout = 20,
  }
end

--- Fails unless the server is one that may end at any time.
local function check(url, ok, what)
  if not ok and not url:find("flaky", 1, true) and not is_over then error(url .. ": " .. tostring(what)) end
end

--- With callbacks: `send` is called 5 ms after each echo, from a timer.
local function talk(url, deflate)
  local sent, left = nil, math.random(100)
  local it = options(url, deflate)
  local function send(ws)
    if ws.state ~= "open" or is_over then return end
    left = left - 1
    -- A server that is killed may end between the two lines.
    if left == 0 then return ws:close() end
    sent = text()
    local ok, err = pcall(left % 2 == 0 and ws.sendText or ws.sendBinary, ws, sent)
    check(url, ok, err)
  end
  function it.onreceive(type, data, err, info, ws)
    if type == types.OPEN then
      opened = opened + 1
      send(ws)
    elseif type == types.TEXT and data == "tick" then
      if math.random(10) == 1 then pcall(ws.sendPing, ws, "?") end
    elseif type == types.TEXT or type == types.BINARY then
      if data ~= sent then error(("%s: %d bytes, not %d"):format(url, #data, #sent)) end
      messages = messages + 1
      websocket.after(0.005, function() send(ws) end)
    elseif type == types.ERROR then
      check(url, false, err)
    elseif type == types.CLOSE then
      check(url, err == "", err)
      if info.retryin or is_over then return end
      -- After a close of ours: the same websocket again, or a new one.
      left = math.random(100)
      if math.random(2) == 1 then ws:connect() else talk(url, deflate) end
    end
  end
  websocket.WebSocket(it):connect()
end

--- With waits: one connection with some messages.
local function converse(url, deflate)
  local ws = websocket.WebSocket(options(url, deflate))
  ws:connect()
  local is_open, reason = ws:waitopen(30)
  check(url, is_open, reason)
  if is_open then opened = opened + 1 end
  for _ = 1, is_open and math.random(100) or 0 do
    local sent = text()
    local ok, err = pcall(ws.sendBinary, ws, sent)
    check(url, ok, err)
    if not ok then break end
    local data
    repeat data, err = ws:receive(20) until data ~= "tick"
    check(url, data == sent, err)
    if data ~= sent then break end
    messages = messages + 1
  end
  ws:close()
  while ws:receive(10) do end
end

local urls = {}
for url in get("URLS"):gmatch("%S+") do urls[#urls + 1] = url end

websocket.after(seconds, function()
  is_over = true
  loop.stop()
end)
local function count()
  websocket.after(1, count)
  collectgarbage()
  local file = assert(io.open(get "COUNTS", "w"))
  file:write(("%d %d %.0f\n"):format(messages, opened, collectgarbage("count")))
  file:close()
end
count()

if style == "blocking" then
  while not is_over do
    for _, url in ipairs(urls) do converse(url, math.random(2) == 1) end
  end
elseif style == "coroutines" then
  loop.coroutines()
  for i, url in ipairs(urls) do
    loop.spawn(function() while not is_over do converse(url, i % 2 == 0) end end)
  end
  loop.run()
else
  if style == "callbacks" then loop.callbacks() end
  for i, url in ipairs(urls) do
    talk(url, i % 2 == 0)
    talk(url, i % 2 == 1)
  end
  if style == "poll" then
    while not is_over do websocket.poll(0.1) end
  else
    loop.run()
  end
end
