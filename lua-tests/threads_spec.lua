-- The loop's thread: its name and signals, no other thread remains, and a system that allows no more threads.

local helper = require "helper"

local is_sanitized = os.getenv("WEBSOCKET_CC") ~= nil

-- The beginning of each script: `connect()`, `exchange()` of a message, `now()` and `threads()`.
local prelude = [[
  local websocket = require "websocket"
  local url = url or ...
  local answer
  local function connect()
    local function keep(type, data) if type == 0 then answer = data end end
    local ws = websocket.WebSocket { url = url, onreceive = keep }
    ws:connect()
    repeat websocket.poll(0.1) until ws.state == "open"
    return ws
  end
  -- Prints the error of connect without the place, or "connected".
  local function attempt()
    local ok, err = pcall(connect)
    print(ok and "connected" or err:gsub("^[^:]*:%d+: ", "", 1))
    return ok and err
  end
  local function exchange(ws)
    answer = nil
    ws:sendText("to and fro")
    repeat websocket.poll(0.1) until answer
    assert(answer == "to and fro", answer)
  end
  local function now()
    local file <close> = assert(io.open("/proc/uptime"))
    return file:read("n")
  end
  -- "name mask" of each thread but the script's, where the mask has the blocked signals.
  local function threads()
    local stat <close> = assert(io.open("/proc/self/stat"))
    local process, lines = stat:read("n"), {}
    local list <close> = assert(io.popen(("ls /proc/%d/task"):format(process)))
    for thread in list:lines("n") do
      -- A thread may have ended after it was listed.
      local file <close> = thread ~= process and io.open(("/proc/%d/task/%d/status"):format(process, thread))
      local status = file and file:read("a")
      if status then lines[#lines + 1] = status:match("Name:%s*(%S+)") .. " " .. status:match("SigBlk:%s*(%S+)") end
    end
    return table.concat(lines, ", ")
  end
  -- Polls until these are the threads. The thread that hands the loop to Dispatch ends a little later than connect.
  local function expect_threads(expected)
    local stop, found = now() + 5, nil
    repeat
      websocket.poll(0.01)
      found = threads()
    until found == expected or now() > stop
    assert(found == expected, found)
  end
]]

-- All signals but SIGKILL and SIGSTOP, and the two that the C library keeps for itself.
local alone = "websocket fffffffe7ffbfeff"

describe("threads:", function()
  local peer, host
  lazy_setup(function() peer, host = helper.serve("own"), helper.host("host") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  local function run_host(mode, text, ...)
    local arguments = { ... }
    arguments[#arguments + 1] = helper.write_script(prelude .. text)
    arguments[#arguments + 1] = peer:url("/echo")
    return helper.finish(helper.start(host, mode, table.unpack(arguments)))
  end

  it("one of the engine's remains, with its name and with all signals blocked", function()
    if is_sanitized then return pending("a sanitizer has threads of its own") end
    local output, code = helper.script(prelude .. ([[
      assert(threads() == "", threads())
      exchange(connect())
      expect_threads %q
      local mine <close> = io.open("/proc/self/status")
      assert(mine:read("a"):find("SigBlk:%%s*0000000000000000"), "the script's signals are blocked")
    ]]):format(alone), peer:url("/echo"))
    assert.equal("", output)
    assert.equal(0, code)
  end)

  it("a forked child has one of its own", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    if is_sanitized then return pending("a sanitizer has threads of its own") end
    local output, code = run_host("cycles", ([[
      local ws = connect()
      expect_threads %q
      local child = fork()
      if child == 0 then
        assert(threads() == "", threads())
        exchange(connect())
        expect_threads %q
        leave()
      end
      print(await(child))
      exchange(ws)
    ]]):format(alone, alone), 1)
    assert.equal("0\ndone\n", output)
    assert.equal(0, code)
  end)

  it("a forked child connects although a thread of Dispatch was idle at the fork", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    local output, code = run_host("cycles", [[
      connect()
      -- The engine ends when the host closes its descriptors, and its thread is then idle for five seconds.
      local pipe = io.popen("ls -l /proc/$PPID/fd")
      for line in pipe:lines() do
        local number = line:match("(%d+) %-> anon_inode:%[eventpoll%]")
        if number then shut(tonumber(number)) end
      end
      pipe:close()
      assert(websocket.run(5))
      local child = fork()
      if child == 0 then
        -- Without a poll, the child's own thread must run the loop.
        local ws = websocket.WebSocket { url = url }
        ws:connect()
        local stop = now() + 5
        while ws.state ~= "open" and now() < stop do end
        print(ws.state)
        leave()
      end
      print(await(child))
      exchange(connect())
    ]], 1)
    assert.equal("open\n0\ndone\n", output)
    assert.equal(0, code)
  end)

  it("the host's many signals all go to its own thread", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    local output, code = run_host("signals", [[
      local ws = connect()
      for _ = 1, 300 do exchange(ws) end
      -- The loop's thread runs the loop meanwhile.
      local stop = now() + 0.3
      repeat ws:sendText("more") until now() > stop
      ws:close()
      assert(websocket.run(10) or websocket.run(10))
    ]])
    local own, others = output:match("^(%d+) (%d+)\ndone\n$")
    assert.truthy(own, output)
    assert.equal("0", others)
    assert.is_true(tonumber(own) > 100, own)
    assert.equal(0, code)
  end)

  describe("when the system allows no more,", function()
    local refused = "WebSocket can't connect: pthread_create: Resource temporarily unavailable\n"

    -- Each has its thread's stack in the address space, 8 MiB: the limit allows none, one, two, three.
    it("connect raises at once or succeeds", function()
      if is_sanitized then return pending("a sanitizer needs address space of its own") end
      local results = {}
      for _, mebibytes in ipairs { 4, 12, 20, 28 } do
        local output, code = helper.script(prelude .. [[
          local limit = select(2, ...)
          local stat <close> = assert(io.open("/proc/self/stat"))
          local sizes <close> = assert(io.open("/proc/self/statm"))
          local process, size = stat:read("n"), sizes:read("n") * 4096
          assert(os.execute(("prlimit --pid %d --as=%d"):format(process, size + limit * 1048576)))
          attempt()
        ]], peer:url("/echo"), mebibytes)
        assert.equal(0, code, output)
        results[#results + 1] = output
      end
      assert.same({ refused, refused, "connected\n", "connected\n" }, results)
    end)

    it("and allows one more when Dispatch has been refused, the script's polls run the loop", function()
      if is_sanitized then return pending("a sanitizer has threads of its own") end
      local _, failed = helper.finish(helper.start("strace", "-o", "/dev/null", "true"))
      if failed ~= 0 then return pending("a process must not trace another one here (ptrace)") end
      -- Refused are the script's first thread, then the first one of the thread that submits to Dispatch, which tries
      -- again a second later.
      helper.within(0.9, function()
        local output, code = helper.finish(helper.start(helper.strace, "-f", "-qq", "-o", "/dev/null", "-e",
          "trace=clone,clone3", "-e", "inject=clone,clone3:error=EAGAIN:when=1", helper.lua,
          helper.write_script(prelude .. [[
            attempt()
            local from = now()
            exchange(attempt())
            print(now() - from)
          ]]), peer:url("/echo")))
        local before, took = output:match("^(.*)connected\n(%S+)\n$")
        assert.equal(refused, before, output)
        assert.equal(0, code)
        return tonumber(took)
      end)
    end)
  end)
end)
