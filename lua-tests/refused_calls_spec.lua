-- System calls that fail for a moment, as they do when the system is short of memory: strace refuses one in each
-- thread. Both ends are in one process; in the end both connections have echoed.

local helper = require "helper"

describe("a system call fails:", function()
  lazy_setup(function() assert(os.execute(("%s/certificates.sh '%s'"):format(helper.folder, helper.certificates))) end)
  after_each(helper.remove_files)

  local script = [[
    local websocket = require "websocket"
    local TEXT, OPEN = websocket.WebSocketMessageType.TEXT, websocket.WebSocketMessageType.OPEN
    io.open("/loaded")
    local certificates, which = ...
    local refused = 0
    local function listen(options)
      -- Then the loop's thread waits, and is to be woken.
      local from = os.clock()
      repeat until os.clock() - from > 0.005
      options.address = "127.0.0.1:0"
      function options.onreceive(type, data, _, _, ws)
        if type == TEXT then ws:sendText(data) end
      end
      -- A server is not tried again by itself.
      local works, server = pcall(websocket.listen, options)
      if works then return server end
      refused = refused + 1
      if refused == 3 then error(server, 0) end
      return listen(options)
    end
    local echoes = 0
    local function connect(url, server)
      local ws, has_echo
      ws = websocket.WebSocket {
        url = url .. server.port, tls = { ca = certificates .. "/ca.pem" },
        maxreconnectwait = 0.02, pinginterval = 0.05,
        onreceive = function(type)
          if type == OPEN then
            pcall(ws.sendText, ws, "hello")
          elseif type == TEXT and not has_echo then
            echoes, has_echo = echoes + 1, true
            ws:close()
            server:close()
          end
        end,
      }
      ws:connect()
    end
    connect("ws://127.0.0.1:", listen {})
    if which == "both" then
      local good = certificates .. "/good."
      connect("wss://localhost:", listen { tls = { cert = good .. "pem", key = good .. "key" } })
    else
      connect("ws://127.0.0.1:", listen {})
    end
    websocket.run(10)
    print(echoes, which == "wakes" and refused or "")
    os.exit(true, false)
  ]]

  --- Runs strace with these arguments. Returns what the program printed, and its exit code.
  local function trace(...) return helper.finish(helper.start(helper.strace, ...)) end

  --- Whether a process may trace another one here.
  local function can_trace()
    local _, failed = trace("-o", "/dev/null", "true")
    return failed == 0 or pending("a process must not trace another one here (ptrace)")
  end

  local function echoes_although(calls, refusal, from, which)
    local log = helper.file()
    local output, code = trace("-f", "-qq", "-o", log, "-e", "trace=" .. calls,
      "-e", ("inject=%s:error=%s:when=%s"):format(calls, refusal, from),
      helper.lua, helper.write_script(script), helper.certificates, which or "both")
    assert.equal(which == "wakes" and "2\t0\n" or "2\t\n", output)
    assert.equal(0, code)
    return helper.read_file(log):find("INJECTED", 1, true) ~= nil
  end

  -- No refusal that the kernel never has: a connection's socket that has told EAGAIN is reported later. (Without TLS,
  -- sendto is called for wake-ups only.)
  for calls, refusals in pairs {
    sendto = { "EINTR", "EAGAIN", "ENOBUFS", "ENOMEM" }, sendmsg = { "EINTR", "ENOBUFS", "ENOMEM" },
    recvfrom = { "EINTR", "ENOMEM" }, epoll_pwait = { "EINTR" },
    accept4 = { "EINTR", "EMFILE", "ECONNABORTED" }, getsockname = { "ENOBUFS" }, socket = { "EMFILE", "ENOBUFS" },
    connect = { "EINTR", "ENOBUFS" }, bind = { "EADDRINUSE" },
  } do
    it(calls, function()
      if not can_trace() then return end
      -- strace refuses this call of each thread; the refusals take turns, since each run takes a part of a second.
      local reached = 0
      for from = 1, 12 do
        local refusal = refusals[from % #refusals + 1]
        if not echoes_although(calls, refusal, from, calls == "sendto" and "wakes") then break end
        reached = from
      end
      assert.is_true(reached > 0, "no call of " .. calls)
    end)
  end

  for _, refusal in ipairs { "EPERM", "EACCES", "ENOSYS" } do
    it("a sandbox forbids sendmsg, which looks for a socket's mark: " .. refusal, function()
      if not can_trace() then return end
      assert.is_true(echoes_although("sendmsg", refusal, "1+", "plain"))
    end)
  end

  it("a sandbox forbids fstat, by which a descriptor is recognized", function()
    if not can_trace() then return end
    local log = helper.file()
    local _, code = trace("-o", log, "-e", "trace=openat,newfstatat,fstat", helper.lua, helper.write_script(script),
      helper.certificates, "plain")
    assert.equal(0, code)
    local _, loading = helper.read_file(log):match("^(.*)\"/loaded\""):gsub("fstat", "")
    assert.is_true(echoes_although("newfstatat,fstat", "EPERM", loading + 1 .. "+", "plain"))
  end)
end)
