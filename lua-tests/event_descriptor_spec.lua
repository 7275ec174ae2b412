-- websocket.fd and websocket.loop in a host that waits with LuaSocket's select: several Lua states, before the first
-- connect, after a fork, after the host has closed descriptors, and how many system calls they take.

local helper = require "helper"

local is_sanitized = os.getenv("WEBSOCKET_CC") ~= nil

describe("the descriptor for event loops", function()
  local server, raw, host
  lazy_setup(function()
    server = helper.serve("own")
    raw = helper.serve("raw")
    host = helper.host("host")
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  -- The beginning of each script: `wait(condition)`, `connect()` and `exchange(ws, count)`, which wait in select.
  local prelude = [[
    local websocket, socket = require "websocket", require "socket"
    local types, url = websocket.WebSocketMessageType, url or ...
    local loop = websocket.loop
    local events = {}
    local function wait(condition)
      while not condition() do
        assert(socket.select({ loop }, nil, 10)[1], "nothing came within 10 s")
        websocket.poll()
      end
    end
    local function is_readable() return socket.select({ loop }, nil, 0)[1] ~= nil end
    local function connect()
      local ws = websocket.WebSocket { url = url, reconnect = false, onreceive = function(type, data, _, _, ws)
        events[#events + 1] = type
        if type == types.TEXT then events[ws] = data end
      end }
      ws:connect()
      wait(function() return ws.state ~= "connecting" end)
      return ws
    end
    local function exchange(ws, count)
      for i = 1, count do
        ws:sendText(i)
        wait(function() return events[ws] == tostring(i) end)
        events[ws] = nil
      end
    end
  ]]

  --- Runs a script, in a mode of host.c ("children 3") or, without one, in the interpreter.
  local function script(text, mode)
    local program = mode and host .. " " .. mode or helper.lua
    local file = helper.write_script(prelude .. text)
    return helper.finish(helper.start("timeout -s KILL 30 " .. program, file, server:url("/echo")))
  end

  local function it_hosts(name, test)
    it(name, function()
      if not host then return pending("no C compiler, or no liblua5.4-dev") end
      test()
    end)
  end

  it("can be made before the first connect, and stays the same", function()
    local output, code = script [[
      local number = websocket.fd()
      assert(not is_readable())
      local ws = connect()
      exchange(ws, 1000)
      assert(websocket.fd() == number and loop:getfd() == number and loop:pollfd() == number)
      ws:close()
      wait(function() return ws.state == "closed" and events[#events] == types.CLOSE end)
      local second = connect()
      exchange(second, 100)
      assert(websocket.fd() == number)
      os.exit(true, false)
    ]]
    assert.equal("", output)
    assert.equal(0, code)
  end)

  --- A test with a script that is traced, and opens the files "/from here" and "/to here" around the part whose system
  --- calls are counted, in all threads: `most` at most.
  local function it_takes(name, most, text, url)
    it(name, function()
      if is_sanitized then return pending("a sanitizer makes calls of its own") end
      local _, failed = helper.finish(helper.start("strace", "-o", "/dev/null", "true"))
      if failed ~= 0 then return pending("a process must not trace another one here (ptrace): strace can't count") end
      local log, file = helper.file(), helper.write_script(prelude .. text .. " os.exit(true, false)")
      local output, code = helper.finish(helper.start(helper.strace, "-f", "-o", log, helper.lua, file, url()))
      assert.equal("", output)
      assert.equal(0, code)
      local trace <close> = assert(io.open(log))
      local calls = trace:read("a"):match('"/from here"[^\n]*\n(.-)[^\n]*"/to here"')
      local count = 0
      for line in calls:gmatch("[^\n]+") do
        -- strace writes a second line for a call that another thread's call interrupted. Two calls, by which the loop
        -- sees in each tick of the clock that its epoll descriptor is its own, do not count.
        local is_check = line:find " timerfd_gettime%(" or line:find "EPOLL_CTL_ADD, %d+, {events=0,"
        if not is_check and not line:find " resumed>" then count = count + 1 end
      end
      assert.is_true(count <= most, count .. " calls:\n" .. calls:sub(1, 5000))
    end)
  end

  it_takes("takes no system call for each loop:getfd()", 20, [[
    connect()
    io.open "/from here"
    for _ = 1, 1000 do assert(loop:getfd() == loop:pollfd()) end
    io.open "/to here"
  ]], function() return server:url("/echo") end)

  -- And a few of the loop thread, which checks every 160 ms whether it has to run the loop.
  it_takes("takes four system calls for a round trip: the host's select, epoll_wait, recv and send", 4.2 * 500, [[
    local ws = connect()
    exchange(ws, 10)
    io.open "/from here"
    exchange(ws, 500)
    io.open "/to here"
  ]], function() return raw:url("/burst") end)

  it_takes("takes no system call for each event of a burst", 1000, [[
    local received = 0
    local ws = websocket.WebSocket { url = url, onreceive = function(type)
      if type == types.TEXT then received = received + 1 end
    end }
    ws:connect()
    wait(function() return ws.state == "open" end)
    io.open "/from here"
    ws:sendText("burst 20000")
    wait(function() return received == 20000 end)
    io.open "/to here"
  ]], function() return raw:url("/burst") end)

  for mode, name in pairs { both = "two states on one thread", threads = "two states, each on its thread" } do
    it_hosts("is each state's own: " .. name, function()
      local output, code = script([[
        local ws = connect()
        if ]] .. tostring(mode == "threads") .. [[ then
          exchange(ws, 1000)
        else
          local count = 0
          return function()
            exchange(ws, 1)
            count = count + 1
            return count == 500
          end
        end
      ]], mode)
      assert.equal("done\n", output)
      assert.equal(0, code)
    end)
  end

  it_hosts("is made anew in a forked child, while the parent's goes on", function()
    local output, code = script([[
      local ws = connect()
      exchange(ws, 100)
      local number = websocket.fd()
      return function()
        if name == "child" then
          -- The parent's is still open here.
          assert(loop:getfd() ~= number and not is_readable())
          local is_due = false
          websocket.after(0.01, function() is_due = true end)
          wait(function() return is_due end)
          exchange(connect(), 100)
          return true
        end
        exchange(ws, 100)
        return true
      end
    ]], "children 3")
    assert.equal("done\n", output)
    assert.equal(0, code)
  end)

  it_hosts("is made anew by connect after the host has closed the engine's descriptors and this one", function()
    local output, code = script([[
      local ws = connect()
      exchange(ws, 100)
      local stat <close> = assert(io.open("/proc/self/stat"))
      local process, closed = stat:read("n"), 0
      for number = 3, 60 do
        local link = io.popen(("readlink /proc/%d/fd/%d"):format(process, number))
        local target = link:read("a")
        link:close()
        if target:find("event", 1, true) or target:find("timerfd", 1, true) then
          shut(number)
          closed = closed + 1
        end
      end
      assert(closed > 3, closed)
      events = {}
      ws:close() -- so that the engine finds out
      local from = clock()
      while events[#events] ~= types.CLOSE do
        websocket.poll(0.1)
        assert(clock() - from < 10, "no CLOSE")
      end
      exchange(connect(), 1000)
      return function() return true end
    ]], "children 0")
    assert.equal("done\n", output)
    assert.equal(0, code)
  end)

  it_hosts("is made anew by websocket.fd() after the host has closed it and got its number", function()
    local output, code = script([[
      local ws = connect()
      exchange(ws, 100)
      local number = websocket.fd()
      shut(number)
      local file = assert(io.open("/dev/zero"))
      local again = websocket.fd()
      assert(again ~= number and loop:getfd() == again)
      exchange(ws, 1000)
      file:close()
      return function() return true end
    ]], "children 0")
    assert.equal("done\n", output)
    assert.equal(0, code)
  end)
end)
