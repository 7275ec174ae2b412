-- receive, messages, waitopen and flush: waits on one websocket, in a plain script and in a coroutine.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises, types = helper.websocket, helper.raises, helper.types
local now = websocket.time

describe("waits on one websocket:", function()
  local server, raw
  lazy_setup(function() server, raw = helper.serve("own"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  local made = {}
  after_each(function()
    websocket.yield = nil
    for _, ws in ipairs(made) do ws:close() end
    made = {}
    helper.close_clients()
  end)

  --- An open websocket without onreceive.
  local function connect(url, options)
    options = options or {}
    options.url = url
    if options.reconnect == nil then options.reconnect = false end
    local ws = websocket.WebSocket(options)
    made[#made + 1] = ws
    ws:connect()
    local ok, reason = ws:waitopen(helper.TIMEOUT)
    assert(ok, reason)
    return ws
  end

  --- Seconds that the call takes, and its results.
  local function timed(f, ...)
    local from = now()
    local results = table.pack(f(...))
    return now() - from, table.unpack(results, 1, results.n)
  end

  --- Calls `f`, while a websocket with a callback gets messages all the time.
  local function under_load(f)
    local count, flood = 0, nil
    flood = helper.client { url = raw:url("/burst"), onreceive = function(type, data)
      if type ~= types.TEXT then return end
      count = count + 1
      if data == "1" and flood.ws.state == "open" then flood.ws:sendText("burst ", 1000) end
    end }:open()
    for _ = 1, 3 do flood.ws:sendText("burst ", 1000) end
    f(function() return count end)
    assert.is_true(count > 0, "no message of another websocket was delivered")
    flood.ws:close()
  end

  describe("receive", function()
    it("returns the messages in order, with their types", function()
      local ws = connect(server:url("/echo"))
      ws:sendText("one")
      ws:sendBinary("\0two")
      ws:sendText("")
      local data, type = ws:receive(helper.TIMEOUT)
      assert.same({ "one", types.TEXT }, { data, type })
      data, type = ws:receive()
      assert.same({ "\0two", types.BINARY }, { data, type })
      data, type = ws:receive(math.huge)
      assert.same({ "", types.TEXT }, { data, type })
    end)

    it("keeps its time to the millisecond", function()
      local ws = connect(server:url("/echo"))
      helper.one_of_five(function()
        local seconds, data, reason = timed(ws.receive, ws, 0.05)
        assert.is_nil(data)
        assert.equal("timeout", reason)
        return seconds >= 0.05 and seconds < 0.055, seconds .. " s"
      end)
      assert.same({ nil, "timeout" }, { ws:receive(0) })
      assert.same({ nil, "timeout" }, { ws:receive(-1) })
    end)

    it("keeps its time while another websocket gets messages all the time", function()
      local ws = connect(server:url("/echo"))
      under_load(function(count)
        helper.wait(function() return count() > 0 end, "messages")
        helper.one_of_five(function()
          local seconds, _, reason = timed(ws.receive, ws, 0.05)
          return reason == "timeout" and seconds >= 0.05 and seconds < 0.06, ("%s after %g s"):format(reason, seconds)
        end)
        ws:sendText("answer")
        assert.equal("answer", (ws:receive(helper.TIMEOUT)))
      end)
    end)

    it("without waiting returns what is queued behind another websocket's events", function()
      local other = helper.client(raw:url("/burst")):open()
      local ws = connect(raw:url("/burst"))
      other.ws:sendText("burst ", 100)
      ws:sendText("burst ", 1)
      assert.equal("1", (helper.wait(function() return ws:receive(0) end, "a message")))
      other:get("TEXT", 100)
    end)

    it("returns the end of the connection behind its messages, and for ever", function()
      local ws = connect(server:url("/close?count=2&code=4321&reason=enough"))
      assert.is_string(ws:receive(helper.TIMEOUT))
      assert.is_string(ws:receive(helper.TIMEOUT))
      for _ = 1, 3 do
        assert.same({ nil, "closed", 4321, "enough" }, { ws:receive(helper.TIMEOUT) })
      end
      assert.equal(4321, ws.closecode)
    end)

    it("returns the end once, and then the messages of the next connection", function()
      local ws = connect(server:url("/close?count=1"), { reconnect = true })
      for _ = 1, 3 do
        assert.is_string(ws:receive(helper.TIMEOUT))
        local data, reason, code = ws:receive(helper.TIMEOUT)
        assert.same({ nil, "closed", 1000 }, { data, reason, code })
      end
    end)

    it("tells why there is no connection", function()
      local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", reconnect = false }
      assert.same({ nil, "closed" }, { ws:receive(0) })
      ws:connect()
      local data, reason, code, text = ws:receive(helper.TIMEOUT)
      assert.same({ nil, "closed", 1006 }, { data, reason, code })
      assert.truthy(text:find("refused", 1, true), text)
    end)

    it("tells why the last attempt has failed, and not how the connection before it ended", function()
      local own = websocket.listen { address = "127.0.0.1:0", onreceive = function(type, _, _, _, ws)
        if type == types.OPEN then ws:close(3000, "bye") end
      end }
      local ws = connect("ws://" .. own.address .. "/")
      assert.same({ nil, "closed", 3000, "bye" }, { ws:receive(helper.TIMEOUT) })
      own:close()
      ws:connect()
      local data, reason, code, text = ws:receive(helper.TIMEOUT)
      assert.same({ nil, "closed", 1006 }, { data, reason, code })
      assert.truthy(text:find("refused", 1, true), text)
      assert.same({ nil, text }, { ws:waitopen(0) })
      ws:connect()
      ws:close()
      websocket.run(helper.TIMEOUT)
      assert.same({ nil, "closed" }, { ws:receive(0) })
      assert.same({ nil, "closed" }, { ws:waitopen(0) })
    end)

    it("returns messages that came before close() was called", function()
      local ws = connect(raw:url("/burst"))
      ws:sendText("burst ", 3)
      assert.equal("1", (ws:receive(helper.TIMEOUT)))
      ws:close()
      assert.equal("2", (ws:receive(helper.TIMEOUT)))
      assert.equal("3", (ws:receive(helper.TIMEOUT)))
      local data, reason, code = ws:receive(helper.TIMEOUT)
      assert.same({ nil, "closed", 1000 }, { data, reason, code })
    end)

    it("is refused to a websocket with an onreceive", function()
      local c = helper.client(server:url("/echo")):open()
      raises("has an onreceive, which gets its messages", function() c.ws:receive(0) end)
      raises("has an onreceive, which gets its messages", function() c.ws:messages() end)
    end)

    it("takes a text of digits for a number, as each wait does", function()
      local ws = connect(server:url("/echo"))
      assert.same({ nil, "timeout" }, { ws:receive("0.01") })
      assert.is_true(ws:waitopen("0"))
      assert.is_true(ws:flush("0", "0"))
      assert.equal(0, websocket.poll("0"))
      raises("a descriptor expected", websocket.poll, "0", "1.5")
      assert.is_false(websocket.run("0"))
    end)

    it("names the argument that is wrong, and the script's line", function()
      local ws = websocket.WebSocket { url = "ws://127.0.0.1:1" }
      for _, name in ipairs { "receive", "waitopen", "flush" } do
        local err = raises(("bad argument #1 to '%s' (number expected, got string)"):format(name), function()
          ws[name](ws, "soon")
          return
        end)
        assert.truthy(err:find("waits_spec.lua:", 1, true), err)
        raises("NaN", function() ws[name](ws, 0 / 0) end)
        err = raises(("bad argument #1 to '%s' (WebSocket expected, got table)"):format(name), function()
          ws[name]({})
          return
        end)
        assert.truthy(err:find("waits_spec.lua:", 1, true), err)
      end
      raises("bad argument #2 to 'flush'", function() ws:flush(0, "all") end)
      raises("bad argument #1 to 'messages'", function() ws.messages(nil) end)
    end)

    it("lets the peer wait beyond maxqueued, and goes on", function()
      local count = 3000
      local ws = connect(server:url("/flood?count=%d&size=1000", count), { maxqueued = 100000 })
      for i = 1, count do
        local data, reason = ws:receive(helper.TIMEOUT)
        if not data then error(("message %d: %s"):format(i, reason)) end
        assert.equal(1000, #data)
      end
    end)

    it("holds no more than maxqueued of a peer that sends on and on", function()
      local ws = connect(server:url("/flood?count=100000&size=10000"), { maxqueued = 200000 })
      websocket.poll(0.3)
      collectgarbage()
      local before = collectgarbage("count")
      for _ = 1, 10 do websocket.poll(0.02) end
      collectgarbage()
      assert.is_true(collectgarbage("count") - before < 1000, "more messages are kept")
      assert.equal(10000, #ws:receive(helper.TIMEOUT))
    end)

    it("in a callback gets messages of its own websocket", function()
      local ws = connect(server:url("/echo"))
      local answer
      local c
      c = helper.client { url = server:url("/echo"), onreceive = function(type)
        if type == types.TEXT then
          ws:sendText("inner")
          answer = ws:receive(helper.TIMEOUT)
        end
      end }:open()
      c.ws:sendText("outer")
      helper.wait(function() return answer end, "an answer")
      assert.equal("inner", answer)
    end)

    it("raises what a callback of another websocket raises, and loses nothing", function()
      local ws = connect(server:url("/echo"))
      local c = helper.client { url = server:url("/echo"), onreceive = function(type, data)
        if type == types.TEXT then error("callback: " .. data, 0) end
      end }:open()
      c.ws:sendText("boom")
      raises("callback: boom", function() ws:receive(helper.TIMEOUT) end)
      ws:sendText("still here")
      assert.equal("still here", (ws:receive(helper.TIMEOUT)))
    end)
  end)

  describe("messages", function()
    it("goes on to the end of the connection", function()
      local ws = connect(server:url("/close?count=5"))
      local n = 0
      for data, type in ws:messages() do
        assert.is_string(data)
        assert.is_number(type)
        n = n + 1
      end
      assert.equal(5, n)
      for _ in ws:messages() do error("there is no connection any more") end
    end)
  end)

  describe("waitopen", function()
    it("returns true once OPEN was delivered", function()
      local c = helper.client(server:url("/echo"))
      assert.is_true(c.ws:waitopen(helper.TIMEOUT))
      assert.equal(1, c:count("OPEN"))
      assert.is_true(c.ws:waitopen(0))
    end)

    it("tells why a websocket will not open", function()
      local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", reconnect = false }
      assert.same({ nil, "closed" }, { ws:waitopen(0) })
      ws:connect()
      local ok, reason = ws:waitopen(helper.TIMEOUT)
      assert.is_nil(ok)
      assert.truthy(reason:find("refused", 1, true), reason)
    end)

    it("waits for a later attempt while there will be one", function()
      local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", maxreconnectwait = 0.02 }
      made[1] = ws
      ws:connect()
      assert.same({ nil, "timeout" }, { ws:waitopen(0.1) })
      assert.is_true(ws.attempts > 1)
    end)

    it("after close and connect waits for the new connection", function()
      local ws = connect(server:url("/echo"))
      ws:close()
      ws:connect()
      assert.is_true(ws:waitopen(helper.TIMEOUT))
      ws:sendText("again")
      -- The end of the first connection comes before.
      local data, reason, code = ws:receive(helper.TIMEOUT)
      assert.same({ nil, "closed", 1000 }, { data, reason, code })
      assert.equal("again", (ws:receive(helper.TIMEOUT)))
    end)

    it("ends when the websocket is closed by a callback", function()
      local ws
      local c = helper.client { url = server:url("/echo"), onreceive = function(type)
        if type == types.TEXT then ws:close() end
      end }:open()
      ws = websocket.WebSocket { url = raw:url("/silence") }
      ws:connect()
      c.ws:sendText("close it")
      assert.same({ nil, "closed" }, { ws:waitopen(helper.TIMEOUT) })
    end)
  end)

  describe("flush", function()
    it("returns true when nothing waits", function()
      local ws = connect(server:url("/echo"))
      assert.is_true(ws:flush())
      ws:sendText("a")
      assert.is_true(ws:flush(helper.TIMEOUT))
      assert.equal(0, ws.bufferedamount)
      assert.is_true(websocket.WebSocket({ url = "ws://127.0.0.1:1" }):flush(0))
    end)

    it("lets an upload go at full speed", function()
      local ws = connect(server:url("/record?key=upload"), { maxbuffered = 8 * 2^20 })
      local chunk = ("x"):rep(512 * 2^10)
      for _ = 1, 64 do
        assert.is_true(ws:flush(helper.TIMEOUT, 4 * 2^20))
        assert.is_true(ws.bufferedamount <= 4 * 2^20)
        ws:sendBinary(chunk)
      end
      assert.is_true(ws:flush(helper.TIMEOUT))
    end)

    it("returns false when the peer does not read in time", function()
      local slow = helper.serve("paced")
      local ws = connect(slow:url("/slow?rate=100000"), { maxbuffered = 64 * 2^20 })
      ws:sendBinary(("x"):rep(32 * 2^20))
      local seconds, done, reason = timed(ws.flush, ws, 0.1)
      assert.is_false(done)
      assert.equal("timeout", reason)
      assert.is_true(seconds >= 0.1, seconds)
      assert.is_true(ws:flush(0, 33 * 2^20))
      assert.same({ false, "timeout" }, { ws:flush(0) })
      slow:stop("KILL")
    end)

    it("returns false when the connection is lost with unsent bytes", function()
      local slow = helper.serve("paced")
      local ws = connect(slow:url("/slow?rate=100000"), { maxbuffered = 64 * 2^20 })
      ws:sendBinary(("x"):rep(32 * 2^20))
      websocket.after(0.05, function() slow:signal("KILL") end)
      assert.same({ false, "closed" }, { ws:flush(helper.TIMEOUT) })
      slow:stop("KILL")
    end)

    it("waits for what was sent before close()", function()
      local ws = connect(server:url("/record?key=closed"))
      ws:sendText(("x"):rep(100000))
      ws:close()
      assert.is_true(ws:flush(helper.TIMEOUT))
      assert.equal(100005, #helper.client(server:url("/recorded?key=closed")):get("TEXT").data)
    end)
  end)

  describe("in a coroutine with websocket.yield", function()
    --- Runs functions as coroutines, until all have ended: waits with poll(2) through the module itself.
    local function schedule(...)
      local waiting = {}
      websocket.yield = function(fd, timeout)
        assert(type(fd) == "number" and timeout >= 0)
        coroutine.yield(fd, timeout)
      end
      for _, f in ipairs { ... } do waiting[coroutine.create(f)] = 0 end
      local deadline = now() + helper.TIMEOUT
      while next(waiting) do
        assert(now() < deadline, "the coroutines did not end")
        local ready = {}
        for thread in pairs(waiting) do ready[#ready + 1] = thread end
        for _, thread in ipairs(ready) do
          local _, timeout = assert(coroutine.resume(thread))
          if coroutine.status(thread) == "dead" then
            waiting[thread] = nil
          else
            waiting[thread] = now() + (timeout or 0)
          end
        end
      end
    end

    it("each coroutine gets the messages of its own websocket", function()
      local results = {}
      local function client(name)
        return function()
          local ws = websocket.WebSocket { url = server:url("/echo") }
          made[#made + 1] = ws
          ws:connect()
          assert(ws:waitopen(helper.TIMEOUT))
          for i = 1, 20 do
            ws:sendText(name, i)
            assert.equal(name .. i, (ws:receive(helper.TIMEOUT)))
          end
          assert(ws:flush(helper.TIMEOUT))
          results[#results + 1] = name
        end
      end
      schedule(client("a"), client("b"), client("c"))
      table.sort(results)
      assert.same({ "a", "b", "c" }, results)
    end)

    it("each of several coroutines that wait for one websocket is woken", function()
      local ws = websocket.WebSocket { url = server:url("/echo"), reconnect = false }
      made[#made + 1] = ws
      ws:connect()
      websocket.yield = coroutine.yield
      local results, threads = {}, {}
      local function start(wait)
        for i = 1, 3 do
          threads[i] = coroutine.create(function() results[i] = { wait(ws) } end)
          assert(coroutine.resume(threads[i]))
        end
      end
      --- Resumes one after the other, and none but when the descriptor is readable.
      local function resume_all()
        for i = 1, 3 do
          local deadline = now() + helper.TIMEOUT
          while not results[i] do
            repeat assert(now() < deadline, "coroutine " .. i .. " is not woken") until websocket.loop:dirty()
            assert(coroutine.resume(threads[i]))
          end
        end
      end
      start(ws.waitopen)
      resume_all()
      assert.same({ { true }, { true }, { true } }, results)
      results = {}
      start(ws.receive)
      ws:close()
      resume_all()
      for i = 1, 3 do assert.same({ nil, "closed", 1000, "" }, results[i]) end
    end)

    it("poll and run yield, too", function()
      local ticks, is_over = 0, false
      --- The ticks while `wait` waits for nothing.
      local function ticks_during(wait, result)
        local before = ticks
        assert.equal(result, wait(0.05))
        return ticks - before
      end
      schedule(function()
        local c = helper.client(server:url("/echo"))
        while c:count("OPEN") == 0 do websocket.poll(helper.TIMEOUT) end
        assert.is_true(ticks_during(websocket.poll, 0) > 0)
        assert.is_true(ticks_during(websocket.run, false) > 0)
        c.ws:close()
        assert.is_true(websocket.run(helper.TIMEOUT))
        is_over = true
      end, function()
        while not is_over do
          ticks = ticks + 1
          coroutine.yield(nil, 0)
        end
      end)
    end)
  end)
end)
