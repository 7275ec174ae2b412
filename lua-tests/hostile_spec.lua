-- Scripts that do what no script should, each in its own process: finalizers that poll in the middle of a delivery,
-- coroutines that end while they wait, wrong arguments. They may get an error; they must not crash, spin or lose an
-- event.
-- Runs on every version of Lua.

local helper = require "helper"

-- `collect_always(f)`: from now on nearly every allocation collects all garbage, and a finalizer calls f each time.
local prelude = [[
  local websocket = require "websocket"
  local url = ...
  local function collect_always(f)
    local function renew()
      setmetatable({}, { __gc = function()
        renew()
        f()
      end })
    end
    renew()
    if not pcall(collectgarbage, "setpause", 100) then -- as it is called since 5.5
      collectgarbage("param", "pause", 100)
      collectgarbage("param", "stepmul", 100000)
    else
      collectgarbage("setstepmul", 100000)
    end
  end
]]

describe("hostile scripts:", function()
  local peer
  lazy_setup(function() peer = helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  --- Asserts that the script prints this.
  local function prints(expected, text, url)
    local output, code = helper.finish(helper.start("timeout -s KILL 60 " .. helper.lua,
      helper.write_script(prelude .. text), url))
    assert.equal(expected, output)
    assert.equal(0, code)
  end

  describe("timers:", function()
    it("a finalizer that set timers while the heap of timers grew made it smaller than its count", function()
      prints("done\n", [[
        local count, is_growing, has_run = 0, false, false
        local function after()
          count = count + 1
          return websocket.after(100, error)
        end
        collect_always(function()
          if not is_growing or has_run then return end
          has_run = true
          for _ = 1, 4 * count do after() end
        end)
        for power = 3, 13 do
          while count < 2 ^ power do after() end
          is_growing = true
          after()
          is_growing = false
          if has_run then break end
        end
        local timers = {}
        for i = 1, 1000 do timers[i] = after() end
        for i = 1, 1000 do timers[i]:cancel() end
        print "done"
      ]])
    end)

    it("one cancelled by a finalizer after the module's own killed the process", function()
      prints("false\tfalse\n", [[
        print((pcall(websocket.after, 1)), (pcall(websocket.after(1, print).cancel)))
      ]])
      local output, code = helper.script([[
        local websocket, timer
        finalizer = setmetatable({}, { __gc = function()
          timer:cancel()
          print(pcall(websocket.after, 1, print))
        end })
        websocket = require "websocket"
        timer = websocket.after(1, print)
        websocket.after(2, print)
      ]])
      assert.equal("false\twebsocket can't set a timer: the Lua state closes\n", output)
      assert.equal(0, code)
    end)

    it("one that is never due, and a stop() without a run, kept poll from delivering", function()
      prints("OPEN\n", [[
        websocket.after(math.huge, print)
        websocket.stop()
        local ws = websocket.WebSocket { url = url, onreceive = function(type)
          if type == 1 then print "OPEN" os.exit(0) end
        end }
        ws:connect()
        local stop = websocket.time() + 10
        repeat websocket.poll(0.1) until websocket.time() > stop
      ]], peer:url("/echo"))
    end)
  end)

  it("a coroutine resumed inside forty nested polls wrote behind the list of deliveries", function()
    if not helper.callbacks_yield then return end
    prints("1000 in order\n", [[
      local got, wrong = 0, nil
      local ws = websocket.WebSocket { url = url, onreceive = function(type, data)
        if type ~= 0 then return end
        got = got + 1
        if data ~= tostring(got) and data ~= "end" then wrong = data end
      end }
      ws:connect()
      local others = {}
      for i = 1, 50 do
        others[i] = coroutine.create(({ websocket.poll, function() return websocket.run(0.1) end })[i % 2 + 1])
        websocket.after(0, coroutine.yield)
        assert(coroutine.resume(others[i], 0.1))
      end
      local function down(depth)
        if depth == 60 then
          for _, other in ipairs(others) do coroutine.resume(other) end
          return
        end
        local is_deeper = false
        websocket.after(0, function()
          is_deeper = true
          down(depth + 1)
        end)
        websocket.poll()
        if not is_deeper then
          for _, other in ipairs(others) do coroutine.resume(other) end
        end
      end
      down(1)
      repeat websocket.poll(1) until got > 1000
      print(wrong or "1000 in order")
      os.exit(true, false)
    ]], peer:url("/flood?count=1000"))
  end)

  describe("a finalizer that polls while a message is pushed", function()
    it("delivers each message once, whole", function()
      -- Short ones, those of more than the C stack takes, and blocks of the engine.
      for _, size in ipairs { 10, 3000, 70000 } do
        prints("200 messages\n", [[
          local count, seen, wrong = 0, {}, nil
          local ws = websocket.WebSocket { url = url, onreceive = function(type, data)
            if type ~= 0 then return end
            count = count + 1
            local number = data:match("^(%d+)%.*$")
            if data ~= "end" and (not number or seen[number]) then wrong = wrong or data:sub(1, 10) end
            if number then seen[number] = true end
          end }
          ws:connect()
          collect_always(websocket.poll)
          repeat websocket.poll(1) until count == 201
          collectgarbage "stop"
          for i = 1, 200 do if not seen[tostring(i)] then wrong = wrong or i .. " is missing" end end
          print(wrong or "200 messages")
          os.exit(true, false)
        ]], peer:url("/flood?count=200&size=%d", size))
      end
    end)

    it("lets receive return each message once", function()
      prints("all in order\n", [[
        collect_always(websocket.poll)
        for _ = 1, 100 do
          local ws = websocket.WebSocket { url = url }
          ws:connect()
          for i = 1, 3 do
            local data, why = ws:receive(10)
            if data ~= tostring(i) then error(tostring(data) .. " instead of " .. i .. " " .. tostring(why)) end
          end
          assert(ws:receive(10) == "end")
          ws:close()
          websocket.run(10)
        end
        collectgarbage "stop"
        print "all in order"
        os.exit(true, false)
      ]], peer:url("/flood?count=3"))
    end)
  end)

  describe("a coroutine that ended its wait in websocket.yield", function()
    -- What a coroutine does in websocket.yield; the rest of the script then polls in a loop of its own.
    for name, text in pairs {
      ["by an error"] = "websocket.yield = function() error 'the end' end",
      ["by an error that it caught"] = "websocket.yield = function() error 'the end' end is_caught = true",
      ["and was dropped"] = "websocket.yield = coroutine.yield",
      ["and was closed"] = "websocket.yield = coroutine.yield close = coroutine.close",
    } do
      it(name .. " left the descriptor readable", function()
        prints("false\n", text .. [[
          local ws = websocket.WebSocket { url = url }
          ws:connect()
          local fd = websocket.fd()
          local waiting = coroutine.create(function()
            if is_caught then
              pcall(ws.waitopen, ws, 10)
              coroutine.yield()
            else
              ws:waitopen(10)
            end
            print "not reached"
          end)
          coroutine.resume(waiting)
          if close then close(waiting) end
          if not is_caught then waiting = nil end
          collectgarbage()
          collectgarbage()
          repeat websocket.poll(1) until ws.closecode == nil and ws.address
          -- The descriptor may be readable for a part of a frame, but not for ever.
          local readable
          for _ = 1, 50 do
            readable = select(2, websocket.poll(0.02, fd))
            if not readable then break end
          end
          print(readable)
          if is_caught then assert(coroutine.status(waiting) == "suspended") end
          os.exit(true, false)
        ]], peer:url("/echo"))
      end)
    end
  end)

  it("websocket.yield may do anything", function()
    prints("closed\nclosed\nfinalized\ndone\n", [[
      local function waits(yield)
        websocket.yield = yield
        local ws = websocket.WebSocket { url = url, reconnect = false }
        ws:connect()
        assert(ws:waitopen(10))
        return coroutine.create(function(f) return select(2, ws:receive(f and 10 or 0.1)) end), ws
      end
      -- Closes the websocket that is waited for; the peer answers.
      local co, ws
      co, ws = waits(function()
        websocket.yield = nil
        ws:close()
        repeat websocket.poll(0.01) until ws.state == "closed"
      end)
      print((select(2, coroutine.resume(co, true))))
      -- Finalizes it.
      co, ws = waits(function() debug.getmetatable(ws).__gc(ws) end)
      print((select(2, coroutine.resume(co, true))))
      -- Returns at once, until the time is over; with values that nobody expects.
      co, ws = waits(function() return 1, 2, 3 end)
      assert(select(2, coroutine.resume(co)) == "timeout")
      -- Waits for the same websocket, in another coroutine.
      local other
      co, ws = waits(function()
        websocket.yield = nil
        other = coroutine.wrap(function() return ws:receive(0.01) end)()
        websocket.yield = function() error "too late" end
      end)
      assert(not coroutine.resume(co) and other == nil)
      -- Is no function.
      co, ws = waits(nil)
      websocket.yield = true
      assert(not coroutine.resume(co))
      websocket.yield = nil
      print "finalized"
      collectgarbage()
      ws:sendText "last"
      assert(ws:receive(10) == "last")
      print "done"
      os.exit(true, false)
    ]], peer:url("/echo"))
  end)

  it("two coroutines that receive from one websocket share its messages", function()
    prints("500\n", [[
      websocket.yield = coroutine.yield
      local ws = websocket.WebSocket { url = url, reconnect = false }
      ws:connect()
      local seen, count, threads = {}, 0, {}
      for i = 1, 2 do
        threads[i] = coroutine.create(function()
          repeat
            local data, why = ws:receive()
            if why == "closed" then return end
            assert(not seen[data], data)
            seen[data], count = true, count + 1
          until data == "end"
          ws:close()
        end)
      end
      local fd = websocket.fd()
      local function is_alive(thread) return coroutine.status(thread) ~= "dead" end
      while is_alive(threads[1]) or is_alive(threads[2]) do
        for _, thread in ipairs(threads) do
          if is_alive(thread) then assert(coroutine.resume(thread)) end
        end
        websocket.poll(0.001, fd)
      end
      for i = 1, 500 do assert(seen[tostring(i)], i) end
      print(count - 1)
      os.exit(true, false)
    ]], peer:url("/flood?count=500"))
  end)

  it("the iterator of messages(), called with anything else, killed the process", function()
    prints("true\n", [[
      local ws = websocket.WebSocket { url = url }
      local iterator = ws:messages()
      local thread, timer = coroutine.create(function() end), websocket.after(1, print)
      for _, value in ipairs { 1, "", false, {}, print, io.stdout, thread, timer } do
        local ok, err = pcall(iterator, value)
        assert(not ok and err:find("WebSocket expected", 1, true), err)
      end
      assert(not pcall(iterator))
      print(iterator(ws) == nil)
    ]], "ws://127.0.0.1:1")
  end)

  it("poll refuses a descriptor that can't be one", function()
    prints("done\n", [[
      for _, number in ipairs { -1, -2 ^ 40, 2 ^ 32 + 1, 2 ^ 31, 1e300, 0 / 0, math.huge, "x", {}, true } do
        local ok, err = pcall(websocket.poll, 0.01, number)
        if ok then error(tostring(number) .. " was accepted") end
      end
      local ok, err = pcall(websocket.poll, 0.01, 10000)
      assert(not ok and err:find("is not open", 1, true), err)
      print "done"
    ]])
  end)

  it("no number is too large for a wait or a timer", function()
    prints("done\n", [[
      local fd = websocket.fd()
      local ws = websocket.WebSocket()
      for _, seconds in ipairs { 1e9, 4e9, 2 ^ 53, 1e18, 1e19, 1e300, math.huge } do
        local far = websocket.after(seconds, error)
        for _, wait in ipairs { websocket.poll, websocket.run } do
          websocket.after(0.001, websocket.stop)
          wait(seconds)
        end
        websocket.after(0.001, function() ws:connect() end)
        repeat until not pcall(websocket.poll, seconds, fd) -- which is readable once the timer is due
        assert(select(2, ws:receive(seconds)) == "closed")
        assert(select(2, ws:waitopen(seconds)) == "closed")
        assert(ws:flush(seconds, seconds))
        assert((websocket.loop.timeout() or math.huge) > 1e8)
        far:cancel()
      end
      for _, seconds in ipairs { -1, -math.huge, 0, -0.0, 2 ^ -1074 } do
        assert(websocket.poll(seconds) == 0)
        assert(websocket.run(seconds))
        websocket.after(seconds, websocket.time)
        websocket.run()
      end
      for _, name in ipairs { "poll", "run", "after" } do assert(not pcall(websocket[name], 0 / 0, print)) end
      for _, name in ipairs { "receive", "waitopen", "flush" } do assert(not pcall(ws[name], ws, 0 / 0)) end
      print "done"
    ]])
  end)

  it("metamethods are out of a script's reach", function()
    prints("WebSocket\tWebSocketTimer\tfalse\tfalse\n", [[
      local ws, timer = websocket.WebSocket(), websocket.after(1, print)
      print(getmetatable(ws), getmetatable(timer), pcall(setmetatable, ws, {}), (pcall(setmetatable, timer, {})))
    ]])
  end)
end)
