-- poll and run: waiting, timeouts, callbacks that raise, nest, yield, drop what they use.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises
local TEXT, CLOSE = helper.types.TEXT, helper.types.CLOSE
-- Tests of callbacks that yield, where they may.
local yields = helper.callbacks_yield and it or function() end

describe("poll and run:", function()
  local server, raw
  lazy_setup(function() server, raw = helper.serve("own"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  local function echo(onreceive) return helper.client { url = raw:url("/burst"), onreceive = onreceive }:open() end

  --- Requests the texts "1" to `count`, which arrive in one read: the next poll that waits delivers all of them.
  local function queue(c, count) c.ws:sendText("burst ", count) end

  --- Requests these texts and delivers them.
  local function poll() return websocket.poll(helper.TIMEOUT) end

  local function took(f, ...)
    local from = helper.now()
    local result = table.pack(f(...))
    return helper.now() - from, table.unpack(result, 1, result.n)
  end

  describe("poll", function()
    it("without a timeout never waits", function()
      local c = helper.client(raw:url("/silence"))
      for _ = 1, 100 do
        assert.equal(0, websocket.poll())
        assert.equal(0, websocket.poll(0))
        assert.equal(0, websocket.poll(-1))
        assert.equal(0, websocket.poll(nil))
      end
      helper.within(0.5, function() for _ = 1, 1000 do websocket.poll(0) end end)
      c.ws:close()
    end)

    it("does not return when a websocket that was closed while it connected has ended", function()
      local c = helper.client(raw:url("/silence"))
      websocket.poll(0.05)
      c.ws:close()
      local seconds, n = took(websocket.poll, 0.3)
      assert.equal(0, n)
      assert.is_true(seconds >= 0.28, seconds)
      assert.equal("", c:list())
    end)

    it("waits for its timeout when nothing happens", function()
      helper.within(0.3, function()
        local seconds, n = took(websocket.poll, 0.2)
        assert.equal(0, n)
        assert.is_true(seconds >= 0.18, seconds)
      end)
    end)

    it("returns as soon as an event has come", function()
      local c = echo()
      c.ws:sendText("a")
      local seconds, n = took(websocket.poll, 60)
      assert.equal(1, n)
      assert.is_true(seconds < helper.TIMEOUT, seconds)
    end)

    it("waits with math.huge until an event comes", function()
      local c = echo()
      c.ws:sendText("a")
      assert.equal(1, websocket.poll(math.huge))
    end)

    it("returns the number of events that it delivered", function()
      local c = echo()
      queue(c, 25)
      assert.equal(25, poll())
      assert.equal(25, c:count("TEXT"))
      assert.equal(0, websocket.poll())
    end)

    it("counts events of a websocket without a handler", function()
      local ws = websocket.WebSocket { url = server:url("/close?count=3"), reconnect = false }
      ws:connect()
      local n = 0
      repeat
        local more = poll()
        n = n + more
      until more == 0 or n == 5
      assert.equal(5, n)
      assert.equal("closed", ws.state)
    end)

    it("delivers only the events that were queued when it woke", function()
      local c
      c = echo(function(kind, data)
        if kind == TEXT and data ~= "again" then
          local from = helper.now()
          c.ws:sendText("again")
          -- Time for the echo to arrive during this poll.
          repeat until helper.now() - from > 0.05
        end
      end)
      queue(c, 3)
      assert.equal(3, poll())
      assert.equal("OPEN TEXT TEXT TEXT", c:list())
      c:get("TEXT", 6)
    end)

    it("refuses a timeout that is no time", function()
      raises("NaN", function() websocket.poll(0 / 0) end)
      raises("number expected", function() websocket.poll("soon") end)
      raises("number expected", function() websocket.poll({}) end)
      raises("NaN", function() websocket.run(0 / 0) end)
      raises("number expected", function() websocket.run({}) end)
    end)
  end)

  describe("poll with a descriptor of the script's own", function()
    --- Opens a file, and returns it with the number of its descriptor.
    local function opened(name, mode)
      local file = assert(io.open(name, mode))
      local pid = helper.read_file("/proc/self/stat", "n")
      return file, tonumber(helper.output(("ls -l /proc/%d/fd"):format(pid)):match("(%d+) %-> " .. name .. "\n"))
    end

    --- Makes a pipe with a name.
    local function make_pipe()
      local name = helper.file()
      os.remove(name)
      assert(os.execute("mkfifo " .. name))
      return name
    end

    it("tells that it is readable, and does not wait then", function()
      local file, number = opened(helper.write_file(""))
      local seconds, n, readable = took(websocket.poll, helper.TIMEOUT, number)
      assert.same({ 0, true }, { n, readable })
      assert.is_true(seconds < helper.TIMEOUT / 2, seconds)
      assert.same({ 0, true }, { websocket.poll(0, number) })
      file:close()
    end)

    it("ends when it becomes readable, or when an event comes, or in time", function()
      local name = make_pipe()
      os.execute("sleep 0.3 >" .. name .. " &")
      local file, number = opened(name)
      local seconds, n, readable = took(websocket.poll, 0.05, number)
      assert.same({ 0, false }, { n, readable })
      assert.is_true(seconds >= 0.045, seconds)
      local c = echo()
      c.ws:sendText("an answer comes before the process has ended")
      n = websocket.poll(helper.TIMEOUT, number)
      assert.equal(1, n)
      n, readable = websocket.poll(helper.TIMEOUT, number)
      assert.same({ 0, true }, { n, readable }, "the end of a pipe can be read")
      file:close()
    end)

    it("is ended by a timer", function()
      local file, number = opened(make_pipe(), "r+")
      local ran = false
      websocket.after(0.02, function() ran = true end)
      local n, readable = websocket.poll(helper.TIMEOUT, number)
      assert.same({ 0, false, true }, { n, readable, ran })
      file:close()
    end)

    it("is refused when it is none, at the script's line", function()
      local file, number = opened(helper.write_file(""))
      file:close()
      for _, wrong in ipairs { number + 500, 1000000 } do
        local err = raises("it is not open", function()
          websocket.poll(0, wrong)
          return
        end)
        assert.truthy(err:find("poll_spec.lua:", 1, true), err)
      end
      raises("a descriptor expected", function() websocket.poll(0, -1) end)
      raises("number expected", function() websocket.poll(0, "stdin") end)
    end)
  end)

  describe("run", function()
    it("returns true at once without a live websocket", function()
      helper.within(0.5, function() assert.is_true(websocket.run()) end)
      assert.is_true(websocket.run(0))
      assert.is_true(websocket.run(math.huge))
    end)

    it("returns false on a timeout", function()
      local c = echo()
      assert.is_false(websocket.run(0))
      helper.within(0.3, function()
        local seconds, result = took(websocket.run, 0.2)
        assert.is_false(result)
        assert.is_true(seconds >= 0.18, seconds)
      end)
      c:close()
    end)

    it("returns true once the last websocket has ended", function()
      local c, d
      c = echo(function(kind) if kind == TEXT then c.ws:close() end end)
      d = echo(function(kind) if kind == TEXT then d.ws:close() end end)
      c.ws:sendText("a")
      d.ws:sendText("b")
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal("OPEN TEXT CLOSE", c:list())
      assert.equal("OPEN TEXT CLOSE", d:list())
    end)

    it("continues while a websocket will reconnect", function()
      local c = helper.client { url = raw:url("/refuse"), minreconnectwait = 0.05, maxreconnectwait = 0.05 }
      helper.wait(function()
        assert.is_false(websocket.run(0.3))
        return c:count("ERROR") >= 2
      end, "the second ERROR")
    end)

    it("raises a callback's error, and continues when called again", function()
      local c = echo(function(kind) if kind == TEXT then error("oh") end end)
      c.ws:sendText("a")
      raises("oh", websocket.run, helper.TIMEOUT)
      c.ws:close()
      assert.is_true(websocket.run(helper.TIMEOUT))
    end)
  end)

  describe("a callback that raises", function()
    it("makes poll raise the same value, of any type", function()
      local named = setmetatable({}, { __tostring = function() return "" end })
      local values = { "text", 5, 2.5, true, false, {}, print, named }
      for _, value in ipairs(values) do
        local c = echo(function(kind) if kind == TEXT then error(value, 0) end end)
        c.ws:sendText("a")
        local ok, err = pcall(helper.wait, function() return false end, "nothing")
        assert.is_false(ok)
        assert.is_true(rawequal(err, value))
      end
      local c = echo(function(kind) if kind == TEXT then error(nil) end end)
      c.ws:sendText("a")
      local ok, err = pcall(websocket.run, helper.TIMEOUT)
      assert.is_false(ok)
      -- Lua 5.5 has a text in place of nil.
      assert.equal(select(2, pcall(error, nil)), err)
    end)

    it("is in the traceback", function()
      local function culprit(kind) if kind == TEXT then error("oh") end end
      local c = echo(function(kind) culprit(kind) end)
      c.ws:sendText("a")
      local ok, trace = xpcall(websocket.run, debug.traceback, helper.TIMEOUT)
      assert.is_false(ok)
      assert.truthy(trace:find("poll_spec.lua:%d+: oh"), trace)
      assert.truthy(trace:find("'culprit'", 1, true), trace)
    end)

    it("consumes only its event: the next poll delivers the following ones", function()
      local c
      c = echo(function(kind) if kind == TEXT and c:count("TEXT") % 2 == 1 then error("odd") end end)
      queue(c, 6)
      for n = 1, 5, 2 do
        raises("odd", poll)
        assert.equal(n, c:count("TEXT"))
      end
      assert.equal(1, websocket.poll())
      for i = 1, 6 do assert.equal(tostring(i), c:get("TEXT", i).data) end
      c.ws:sendText("still here")
      helper.wait(function()
        pcall(websocket.poll, 0.05)
        return c:count("TEXT") == 7
      end, "the answer")
    end)

    it("in the last event: the websocket still ends", function()
      local c = echo(function(kind) if kind == CLOSE then error("last") end end)
      c.ws:close()
      raises("last", websocket.run, helper.TIMEOUT)
      assert.is_true(websocket.run(0))
    end)
  end)

  describe("a callback may", function()
    it("send", function()
      local c
      c = echo(function(kind, data) if kind == TEXT and #data < 10 then c.ws:sendText(data, "a") end end)
      c.ws:sendText("a")
      assert.equal(("a"):rep(10), c:get("TEXT", 10).data)
    end)

    it("close: queued events are delivered, then CLOSE", function()
      local c
      c = echo(function(kind) if kind == TEXT then c.ws:close() end end)
      queue(c, 10)
      c:get("CLOSE")
      assert.equal("OPEN " .. ("TEXT "):rep(10) .. "CLOSE", c:list())
    end)

    it("connect another websocket", function()
      local c, d
      c = echo(function(kind) if kind == TEXT then d = helper.client(server:url("/close")) end end)
      c.ws:sendText("a")
      helper.wait(function() return d and d:count("CLOSE") > 0 end, "the other's CLOSE")
    end)

    it("make a thousand websockets", function()
      local c = echo(function(kind)
        if kind == TEXT then
          for _ = 1, 1000 do websocket.WebSocket { url = server:url("/echo") } end
          collectgarbage()
        end
      end)
      queue(c, 3)
      c:get("TEXT", 3)
    end)

    it("poll", function()
      local depth, deepest = 0, 0
      local c = echo(function(kind)
        if kind == TEXT then
          depth = depth + 1
          deepest = math.max(deepest, depth)
          websocket.poll()
          depth = depth - 1
        end
      end)
      queue(c, 10)
      poll()
      for i = 1, 10 do assert.equal(tostring(i), c:get("TEXT", i).data) end
      assert.equal("OPEN" .. (" TEXT"):rep(10), c:list())
      assert.is_true(deepest > 1)
    end)

    it("poll until the event it waits for has come", function()
      local c, answer
      c = echo(function(kind, data)
        if kind == TEXT and data == "question" then
          c.ws:sendText("answer")
          helper.wait(function() return c:count("TEXT") == 2 end, "the answer")
          answer = c:get("TEXT", 2).data
        end
      end)
      c.ws:sendText("question")
      helper.wait(function() return answer end, "the outer callback")
      assert.equal("answer", answer)
    end)

    it("run to the end of its own websocket", function()
      local c, ended
      c = echo(function(kind)
        if kind == TEXT then
          c.ws:close()
          ended = websocket.run(helper.TIMEOUT)
        end
      end)
      c.ws:sendText("a")
      helper.wait(function() return ended ~= nil end, "run")
      assert.is_true(ended)
      assert.equal("OPEN TEXT CLOSE", c:list())
    end)

    it("drop the last reference and collect garbage", function()
      local weak, count, done = setmetatable({}, { __mode = "v" }), 0, false
      do
        local ws
        ws = websocket.WebSocket {
          url = server:url("/flood?count=50"), reconnect = false,
          onreceive = function(kind, data)
            ws = nil
            collectgarbage()
            collectgarbage()
            if kind == TEXT then count = count + 1 end
            if data == "end" then done = true end
          end,
        }
        ws:connect()
        weak[1] = ws
      end
      helper.wait(function() return done end, "the last message")
      assert.equal(51, count)
      weak[1]:close()
      assert.is_true(websocket.run(helper.TIMEOUT))
      collectgarbage()
      assert.is_nil(weak[1])
    end)

    it("drop and collect a closed websocket whose CLOSE is being delivered", function()
      local weak, done = setmetatable({}, { __mode = "v" }), false
      weak[1] = websocket.WebSocket {
        url = server:url("/close"), reconnect = false,
        onreceive = function(kind)
          collectgarbage()
          if kind == CLOSE then done = true end
        end,
      }
      weak[1]:connect()
      helper.wait(function() return done end, "CLOSE")
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
    end)
  end)

  describe("in a coroutine", function()
    it("poll works", function()
      local c = echo()
      c.ws:sendText("a")
      local co = coroutine.wrap(function() return websocket.poll(helper.TIMEOUT) end)
      assert.equal(1, co())
      assert.equal("a", c:get("TEXT").data)
    end)

    it("poll raises a callback's error into the coroutine", function()
      local c = echo(function(kind) if kind == TEXT then error({ "oh" }) end end)
      c.ws:sendText("a")
      local ok, err = coroutine.resume(coroutine.create(function() websocket.poll(helper.TIMEOUT) end))
      assert.is_false(ok)
      assert.same({ "oh" }, err)
    end)

    if not helper.callbacks_yield then
      it("a callback's yield raises, and no event is lost", function()
        local c = echo(function(kind, data) if kind == TEXT and data == "1" then coroutine.yield() end end)
        queue(c, 3)
        local ok, err = coroutine.resume(coroutine.create(poll))
        assert.is_false(ok)
        assert.truthy(err:find("attempt to yield across", 1, true), err)
        assert.equal("3", c:get("TEXT", 3).data)
      end)
    end

    for _, name in ipairs { "poll", "run" } do
      yields("callbacks of " .. name .. " may yield and be resumed", function()
        local log = {}
        local c
        c = echo(function(kind, data)
          if kind == TEXT then
            log[#log + 1] = data
            log[#log + 1] = coroutine.yield("wait " .. data)
            if data == "3" then c.ws:close() end
          end
        end)
        queue(c, 3)
        local co = coroutine.create(websocket[name])
        local _, yielded = coroutine.resume(co, helper.TIMEOUT)
        assert.equal("wait 1", yielded)
        _, yielded = coroutine.resume(co, "x")
        assert.equal("wait 2", yielded)
        _, yielded = coroutine.resume(co, "y")
        assert.equal("wait 3", yielded)
        local ok, result = coroutine.resume(co, "z")
        assert.is_true(ok)
        assert.equal(name == "run" or 3, result)
        assert.same({ "1", "x", "2", "y", "3", "z" }, log)
      end)
    end

    yields("others may poll while a callback is suspended: no event is lost or repeated", function()
      local c = echo(function(kind, data) if kind == TEXT and data == "1" then coroutine.yield() end end)
      queue(c, 5)
      local co = coroutine.create(poll)
      assert.is_true(coroutine.resume(co))
      assert.equal(1, c:count("TEXT"))
      assert.equal(4, websocket.poll())
      c.ws:sendText("6")
      c:get("TEXT", 6)
      local ok, n = coroutine.resume(co)
      assert.is_true(ok)
      assert.equal(1, n)
      for i = 1, 6 do assert.equal(tostring(i), c:get("TEXT", i).data) end
    end)

    yields("a coroutine that is never resumed can be collected", function()
      local c = echo(function(kind) if kind == TEXT and coroutine.isyieldable() then coroutine.yield() end end)
      queue(c, 3)
      do
        local co = coroutine.create(poll)
        coroutine.resume(co)
      end
      collectgarbage()
      collectgarbage()
      websocket.poll()
      assert.equal(3, c:count("TEXT"))
    end)
  end)

  it("pings are answered while Lua computes", function()
    local c = helper.client(server:url("/pinging?count=5&key=computes")):open()
    c.ws:sendText("go")
    assert.equal(5, helper.watch(server:url("/progress?key=computes"), 5))
    assert.equal("5 answered", c:get("TEXT").data)
    assert.equal("OPEN PING PING PING PING PING TEXT", c:list())
  end)

  it("two websockets do not get each other's events", function()
    local list = {}
    for i = 1, 20 do list[i] = echo() end
    for n = 1, 50 do for i, c in ipairs(list) do c.ws:sendText(i, ":", n) end end
    for i, c in ipairs(list) do
      for n = 1, 50 do assert.equal(i .. ":" .. n, c:get("TEXT", n).data) end
    end
  end)
end)
