-- Bugs of the past. Each test is named after what once happened.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("a bug once:", function()
  local raw, peer
  lazy_setup(function() raw, peer = helper.serve("raw"), helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  -- Bugs of the engine, whose tests take long: one version of Lua is enough.
  local engine = helper.version == "5.4" and it or function() end

  for name, hex in pairs {
    ["an empty ping"] = "8900", ["an empty pong"] = "8a00", ["an empty Close"] = "8800",
    ["an empty fragment"] = "01008000", ["empty fragments with a ping between"] = "020089000000" .. "8000",
  } do
    it("as the first frame, " .. name .. " killed the process", function()
      local output, code = helper.script([[
        local websocket = require "websocket"
        local ws = websocket.WebSocket {
          url = ..., reconnect = false,
          onreceive = function(type, data) if type ~= 1 then io.write(type, " ", #data, " ") end end,
        }
        ws:connect()
        websocket.run()
      ]], raw:url("/frames?hex=%s&end=close", hex))
      assert.equal(0, code, output)
    end)
  end

  it("text that is not UTF-8 was sent, so that the peer closed", function()
    local c = helper.client(peer:url("/echo")):open()
    raises("WebSocket failed to send text: the text is not UTF-8", function() c.ws:sendText("\255") end)
    raises("WebSocket failed to send text: the text is not UTF-8", function() c.ws:sendText(helper.unhex("E282")) end)
  end)

  it("a ping of more than 125 bytes was sent, so that the peer closed", function()
    local c = helper.client(peer:url("/echo")):open()
    raises("WebSocket failed to send ping: it has 126 bytes; 125 is the most",
      function() c.ws:sendPing(("a"):rep(126)) end)
  end)

  it("the CLOSE of a connection that was closed, started again and closed was lost", function()
    local c = helper.client { url = raw:url("/frames?end=mute"), closetimeout = 0.1 }:open()
    c.ws:close()
    c.ws:connect()
    c.ws:close()
    assert.equal("closing", c.ws.state)
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("OPEN CLOSE", c:list())
  end)

  it("the CLOSE of a connection that broke during a write came only after closetimeout", function()
    local c = helper.client { url = raw:url("/last-words"), reconnect = false, closetimeout = 60 }:open()
    c.ws:sendBinary(("x"):rep(32 * 2^20))
    assert.equal(4009, c:get("CLOSE").info.code)
  end)

  it("a url from the options' metatable passed the checks, and connect never ended", function()
    local ws = websocket.WebSocket(setmetatable({}, { __index = { url = "ws://127.0.0.1:1" } }))
    raises("no url", function() ws:connect() end)
  end)

  it("a finalizer that polled during a delivery freed the event", function()
    local output, code = helper.script([[
      local websocket = require "websocket"
      local seen, state = {}, nil
      local ws = websocket.WebSocket {
        url = ..., reconnect = false,
        onreceive = function(type, data)
          state = type
          if type == 0 then seen[data] = (seen[data] or 0) + 1 end
        end,
      }
      local function trap()
        setmetatable({}, { __gc = function() websocket.poll() trap() end })
      end
      collectgarbage("generational")
      for _ = 1, 5 do trap() end
      ws:connect()
      while state ~= 1 do websocket.poll(1) end
      for i = 1, 3000 do ws:sendText("message " .. i) end
      local count = 0
      repeat
        websocket.poll(1)
        count = 0
        for _, times in pairs(seen) do
          assert(times == 1)
          count = count + 1
        end
      until count == 3000
      io.write("all")
      os.exit(0, false)
    ]], peer:url("/echo"))
    assert.equal(0, code, output)
    assert.equal("all", output)
  end)

  it("a finalizer that polled before a request was read freed it", function()
    local output, code = helper.script([[
      local websocket = require "websocket"
      local long = ("y"):rep(1000)
      local echoes, requests, opened = 0, 0, 0
      local server = websocket.listen {
        address = "127.0.0.1:0",
        onreceive = function(type, data, _, _, client)
          if type == 0 then client:sendText(data) end
        end,
        onrequest = function() requests = requests + 1 end,
      }
      local url = "ws://" .. server.address
      local talker = websocket.WebSocket { url = url, onreceive = function(type)
        if type == 0 then echoes = echoes + 1 end
      end }
      talker:connect()
      repeat websocket.poll(1) until requests == 1 and talker.state == "open"
      -- Overwrites the memory of the records.
      local function talk()
        local stop = echoes + 5
        for _ = 1, 5 do talker:sendText(long) end
        for _ = 1, 5 do
          if echoes < stop then websocket.poll(0.01) end
        end
      end
      collectgarbage("generational")
      for round = 1, 20 do
        local ws
        ws = websocket.WebSocket { url = url, reconnect = false, onreceive = function(type)
          if type ~= 1 then return end
          opened = opened + 1
          ws:close()
        end }
        -- Its echo allocates nothing, and stands before the request.
        talker:sendText("x")
        ws:connect()
        -- Meanwhile the loop thread takes the loop, and queues both, which one delivery then reads.
        local from = websocket.time()
        repeat until websocket.time() > from + 0.05
        repeat
          setmetatable({}, { __gc = talk })
          -- The next allocation collects garbage.
          collectgarbage("restart")
          websocket.poll(0.01)
        until opened == round
      end
      print(requests, opened)
      os.exit(0, false)
    ]])
    assert.equal("21\t20\n", output)
    assert.equal(0, code)
  end)

  local yields = helper.callbacks_yield and it or function() end
  yields("a poll resumed by a finalizer after the module's finalizer killed the process", function()
    local output, code = helper.script([[
      local thread
      kept = setmetatable({}, { __gc = function() io.write(tostring(coroutine.resume(thread))) end })
      local websocket = require "websocket"
      local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", reconnect = false, onreceive = coroutine.yield }
      ws:connect()
      thread = coroutine.create(websocket.poll)
      assert(coroutine.resume(thread, 10))
    ]])
    assert.equal(0, code, output)
    assert.equal("true", output)
  end)

  it("the finalizer, called by a script with any value, killed the process", function()
    local ws = websocket.WebSocket()
    raises("WebSocket expected", debug.getmetatable(ws).__gc)
    raises("WebSocket expected", debug.getmetatable(ws).__gc, io.stdout)
  end)

  it("attempts that failed at once, without a wait, kept the engine from all other work", function()
    local output, code = helper.script([[
      local websocket = require "websocket"
      local ws = websocket.WebSocket { url = "ws://255.255.255.255:1", maxreconnectwait = 0, onreceive = print }
      ws:connect()
      websocket.poll(1)
      ws:close()
      os.exit(websocket.run(5), false)
    ]])
    assert.equal(0, code, output)
  end)

  engine("a pong, or the keepalive's ping, was written inside a frame that was half written", function()
    local c = helper.client { url = peer:url("/count?pings=yes"), pinginterval = 0.003, pongtimeout = 60 }:open()
    local padding = ("."):rep(4 * 2^20)
    for i = 1, 80 do
      c.ws:sendText(i, padding)
      helper.wait(function() return c.ws.bufferedamount == 0 or c:count("CLOSE") > 0 end, "the message to leave")
    end
    c.ws:sendText("end")
    assert.equal("80 in order", c:get("TEXT").data)
    assert.is_true(c:count("PING") > 0)
  end)

  it("an event was lost when nested polls reached Lua's C stack limit", function()
    local got, err = {}, nil
    --- Calls `f` inside `n` nested C calls: polls alone do not nest so deep.
    local function nest(n, f)
      if n == 0 then return f() end
      ("x"):gsub("x", function() nest(n - 1, f) end)
    end
    local ws = websocket.WebSocket {
      url = peer:url("/flood?count=1000"),
      onreceive = function(type, data)
        if type ~= helper.types.TEXT then return end
        got[#got + 1] = data
        nest(8, function() websocket.poll(1) end)
      end,
    }
    ws:connect()
    local deadline = helper.now() + helper.TIMEOUT
    while got[#got] ~= "end" and helper.now() < deadline do
      local ok, message = pcall(websocket.poll, 0.05)
      if not ok then err = message end
    end
    ws:close()
    websocket.run(helper.TIMEOUT)
    -- LuaJIT may have room for all.
    if helper.version ~= "jit" or err then assert.truthy(err:find("overflow", 1, true), err) end
    for i = 1, 1000 do
      if got[i] ~= tostring(i) then error(got[i] .. " instead of " .. i) end
    end
  end)

  it("a refusal that arrived before the whole request was written was lost", function()
    local server = raw:dialogue("reset", "HTTP/1.1 400 Too much\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
    local c = helper.client {
      url = "ws://127.0.0.1:" .. server.port, headers = { X = ("x"):rep(8 * 2^20) }, maxreconnectwait = 60,
    }
    local info = c:get("ERROR").info
    assert.equal(400, info.status)
    assert.equal("large", info.body)
    assert.is_nil(info.retryin)
  end)

  engine("after 65 536 connects without a poll, the next connect's events were taken for the first's", function()
    local path = helper.output("mktemp -u", "l")
    local c = helper.client { url = ("ws+unix:%s:/burst"):format(path) }
    c.ws:close()
    for _ = 2, 65536 do
      c.ws:connect()
      c.ws:close()
    end
    local server = helper.serve("raw", nil, path)
    c.ws:connect()
    c:open()
    c.ws:sendText("after all")
    assert.equal("after all", c:get("TEXT").data)
    assert.equal("open", c.ws.state)
    c:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("closed", c.ws.state)
    server:stop()
  end)

  engine("the state went from closed back to closing when close() coincided with the opening", function()
    local ws = websocket.WebSocket { url = peer:url("/echo") }
    local seen = {}
    for i = 1, 600 do
      ws:connect()
      -- The loop thread opens the connection in this time, without a poll.
      local stop = os.clock() + i * 7919 % 1000000 * 3e-9
      repeat until os.clock() >= stop
      ws:close()
      local state = ws.state
      seen[state] = (seen[state] or 0) + 1
      -- Some milliseconds, in which the loop thread finishes its turn.
      for _ = 1, 10000 do
        if state == "closed" and ws.state ~= "closed" then error(("%s in run %d"):format(ws.state, i)) end
      end
      websocket.run(helper.TIMEOUT)
    end
    assert.truthy(seen.closed, "close() never came before the opening")
    assert.truthy(seen.closing, "close() never came behind the opening")
  end)

  engine("the state fell back to closed when connect() followed close() before the loop thread had seen it", function()
    local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", minreconnectwait = 0.05, maxreconnectwait = 0.05 }
    for _ = 1, 200 do
      ws:connect()
      ws:close()
      ws:connect()
      -- Some milliseconds, in which the loop thread executes all three commands.
      for _ = 1, 3000 do assert.not_equal("closed", ws.state) end
      ws:close()
      assert.equal("closed", ws.state)
    end
    assert.is_true(websocket.run(helper.TIMEOUT))
  end)
end)
