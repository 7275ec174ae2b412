-- While nothing happens, no thread of the engine runs. The kernel counts how often a thread leaves a processor and its
-- processor time; a thread that computes or makes a system call changes these counts.

local helper = require "helper"

local is_sanitized = os.getenv("WEBSOCKET_CC") ~= nil

-- The beginning of each script: `connect(options)`, `exchange()` of a message, `threads()` and `settle()`.
local prelude = [[
  local websocket = require "websocket"
  local types = websocket.WebSocketMessageType
  local url, ca = ...
  local ws, answer
  local function wait(condition) repeat websocket.poll(0.1) until condition() end
  local function connect(options, state)
    options.url, options.tls = url, { ca = ca }
    options.onreceive = function(type, data) if type == types.TEXT then answer = data end end
    ws = websocket.WebSocket(options)
    ws:connect()
    wait(function() return ws.state == state end)
  end
  local function exchange()
    ws:sendText("to and fro")
    wait(function() return answer end)
  end

  local function now()
    local file <close> = assert(io.open("/proc/uptime"))
    return file:read("n")
  end

  local function read(...)
    -- A thread may have ended after it was listed.
    local file <close> = io.open(("/proc/%d/task/%d/%s"):format(...))
    return file and file:read("a")
  end

  -- One line for each thread but the script's: its context switches and its processor time in ticks.
  local function threads()
    local file <close> = assert(io.open("/proc/self/stat"))
    local process, lines = file:read("n"), {}
    local list <close> = assert(io.popen(("ls /proc/%d/task"):format(process)))
    for thread in list:lines("n") do
      if thread ~= process then
        local stat, status = read(process, thread, "stat"), read(process, thread, "status")
        if stat and status then
          local name, ticks = stat:match("%((.*)%)" .. (" %S+"):rep(11) .. " (%d+ %d+)")
          lines[#lines + 1] = name .. ": " .. ticks .. " " .. status:match("voluntary_ctxt_switches.*"):gsub("%s+", " ")
        end
      end
    end
    return table.concat(lines, "\n")
  end

  -- Waits outside poll until no other thread has run for `seconds`, ten times as long at most: at first the engine may
  -- be busy, and its thread reclaims the loop. Returns the counts before and after the last wait.
  local function settle(seconds)
    local stop = now() + 10 * seconds
    repeat
      local before = threads()
      os.execute("sleep " .. seconds)
      local after = threads()
      if before == after or now() > stop then return before, after end
    until false
  end
]]

describe("idle:", function()
  local peer, secure, raw, refused
  lazy_setup(function()
    peer, secure, raw = helper.serve("own"), helper.serve("own-tls"), helper.serve("raw")
    refused = helper.serve("raw")
    refused:stop()
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  local function script(text, server)
    local path = server == raw and "/burst" or "/echo"
    return helper.script(prelude .. text, server:url(path), helper.certificates .. "/ca.pem")
  end

  describe("no thread runs while the script does not poll, with", function()
    for _, case in ipairs {
      { "an open connection", "connect({}, 'open') exchange()", function() return peer end },
      { "an open connection over TLS", "connect({}, 'open') exchange()", function() return secure end },
      { "a keepalive that is not due", "connect({ pinginterval = 60 }, 'open') exchange()",
        function() return peer end },
      { "a connecttimeout that was kept", "connect({ connecttimeout = 1 }, 'open') exchange()",
        function() return peer end },
      { "a wait for the next attempt", "connect({ minreconnectwait = 60, maxreconnectwait = 60 }, 'waiting')",
        function() return refused end },
      { "no connection any more", "connect({}, 'open') ws:close() websocket.run()", function() return peer end },
    } do
      local name, start, server = table.unpack(case)
      it(name, function()
        if is_sanitized then return pending("a sanitizer has threads of its own") end
        local output, code = script(start .. [[
          local before, after = settle(1)
          print(before .. "\n\n" .. after)
        ]], server())
        assert.equal(0, code, output)
        local first, last = output:match("^(.*)\n\n(.*)\n$")
        assert.truthy(first and first:find("websocket: ", 1, true), output)
        assert.equal(first, last)
      end)
    end
  end)

  it("a wait after heavy traffic stops spinning and sleeps", function()
    local output, code = script([[
      connect({}, "open")
      ws:sendText("row 20000")
      wait(function() return answer == "20000" end)
      local before = os.clock()
      assert(websocket.poll(1) == 0)
      local seconds = os.clock() - before
      assert(seconds < 0.1, seconds)
      os.exit(true, false)
    ]], raw)
    assert.equal(0, code, output)
  end)

  describe("poll(1) takes only a few system calls, counted in all threads, with", function()
    for name, server in pairs {
      ["an open connection"] = function() return peer end,
      ["an open connection over TLS"] = function() return secure end,
    } do
      it(name, function()
        if is_sanitized then return pending("a sanitizer makes calls of its own") end
        local _, failed = helper.finish(helper.start("strace", "-o", "/dev/null", "true"))
        if failed ~= 0 then return pending("a process must not trace another one here (ptrace): strace can't count") end
        local log = helper.file()
        local text = helper.write_script(prelude .. [[
          connect({}, "open")
          exchange()
          settle(0.2)
          io.open "/from here"
          local count = websocket.poll(1)
          io.open "/to here"
          assert(count == 0)
          os.exit(true, false)
        ]])
        local output, code = helper.finish(helper.start(
          helper.strace, "-f", "-o", log, helper.lua, text, server():url("/echo"), helper.certificates .. "/ca.pem"))
        assert.equal(0, code, output)
        local file <close> = assert(io.open(log))
        local calls = file:read("a"):match('"/from here"[^\n]*\n(.*\n)[^\n]*"/to here"')
        local count = 0
        for line in calls:gmatch("[^\n]+") do
          -- strace writes a second line for a call that another thread's call interrupted.
          if not line:find(" resumed>", 1, true) then count = count + 1 end
        end
        assert.is_true(count > 0 and count <= 26, calls)
      end)
    end
  end)
end)
