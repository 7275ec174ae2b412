-- Descriptors: the process has none left, files can't be opened for a short time, and the host closes
-- descriptors of the engine.

local helper = require "helper"

describe("descriptors:", function()
  local raw, peer, secure, host
  lazy_setup(function()
    raw, peer, secure = helper.serve("raw"), helper.serve("own"), helper.serve("own-tls")
    host = helper.host("host")
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  local function copy_of_ca()
    local name = helper.file()
    assert(os.execute(("cp %s/ca.pem %s"):format(helper.certificates, name)))
    return name
  end

  --- A script that records a websocket's events as "OPEN", "ERROR kind retries" and so on, in `log`.
  local prelude = [[
    local websocket = require "websocket"
    local names = {}
    for name, number in pairs(websocket.WebSocketMessageType) do names[number] = name end
    local log, words = {}, {}
    local function make(options)
      function options.onreceive(type, _, err, info)
        words[#words + 1] = err ~= "" and err or nil
        local more = type == 3 and (" %s %s"):format(info.kind, info.retryin and "again" or "never") or ""
      log[#log + 1] = names[type] .. more
      end
      local ws = websocket.WebSocket(options)
      ws:connect()
      return ws
    end
    --- What the descriptors above 2 stand for. A datagram socket with an address of the kernel's choice is a wake-up.
    local function numbers()
      local sockets, found = {}, {}
      for line in io.lines("/proc/net/unix") do
        local inode = line:match("0002 %x+ +(%d+) @%x+$")
        if inode then sockets["socket:[" .. inode .. "]"] = "wakeup " .. inode end
      end
      local pipe = io.popen("ls -l /proc/$PPID/fd 2>/dev/null")
      for line in pipe:lines() do
        local number, target = line:match("(%d+) %-> (.*)")
        if number and tonumber(number) > 2 then found[tonumber(number)] = sockets[target] or target end
      end
      pipe:close()
      return found
    end
    --- The number of a socket that was not there `before`.
    local function new_socket(before)
      for number, target in pairs(numbers()) do
        if before[number] ~= target and target:find "^socket" then return number end
      end
    end
    local function await(what)
      local from = os.time()
      while log[#log] ~= what do
        websocket.poll(0.1)
        if os.time() - from > 8 then error("no " .. what .. ": " .. table.concat(log, ", ")) end
      end
    end
  ]]

  for where, start in pairs {
    ["tls.ca"] = "", ["the system's CAs"] = "env SSL_CERT_DIR=/nowhere SSL_CERT_FILE=%s ",
  } do
    it("with none left, the files of " .. where .. " can't be opened; a later attempt succeeds", function()
      local ca = copy_of_ca()
      local output, code = helper.finish(helper.start(start:format(ca) .. helper.lua, helper.write_script(prelude .. [[
        local plain, secure, ca = ...
        -- After the first OPEN the engine has opened its own descriptors.
        local first = make { url = plain }
        await "OPEN"
        local files = {}
        repeat files[#files + 1] = io.open("/dev/null") until not io.open("/dev/null")
        log = {}
        local ws = make { url = secure, tls = ca and { ca = ca }, maxreconnectwait = 0.1 }
        await "ERROR tls again"
        assert(words[1]:find("Too many open files", 1, true), words[1])
        for _, file in ipairs(files) do file:close() end
        await "OPEN"
        os.exit(ws.state == "open", false)
      ]]), raw:url("/burst"), secure:url("/echo"), where == "tls.ca" and ca or nil))
      assert.equal("", output)
      assert.equal(0, code)
    end)
  end

  for _, number in ipairs { "EIO", "ENOMEM", "EMFILE" } do
    for _, call in ipairs { "read", "openat" } do
      it(("%s of %s on a file of the option tls: the attempt is repeated"):format(number, call), function()
        local ca = copy_of_ca()
        local output, code = helper.finish(helper.start(helper.strace, "-f", "-qq", "-o", "/dev/null", "-P", ca,
          "-e", "trace=" .. call, "-e", ("inject=%s:error=%s"):format(call, number),
          helper.lua, helper.write_script(prelude .. [[
            local secure, ca = ...
            make { url = secure, tls = { ca = ca }, maxreconnectwait = 0.05 }
            repeat websocket.poll(1) until #log == 3
            print(table.concat(log, ", "))
            os.exit(true, false)
          ]]), secure:url("/echo"), ca))
        assert.equal("ERROR tls again, ERROR tls again, ERROR tls again\n", output)
        assert.equal(0, code)
      end)
    end
  end

  for name, damage in pairs {
    ["is missing"] = "os.remove(ca)", ["is empty"] = "assert(io.open(ca, 'w')):close()",
    ["is half written"] = "local half = assert(io.open(ca, 'w')) half:write(text:sub(1, 300)) half:close()",
  } do
    for past, words in pairs {
      ["was open before"] = 'ws:sendText("close")',
      ["was open before the script called close and connect"] = 'ws:close() await "CLOSE" ws:connect()',
    } do
      it("a CA file that " .. name .. " is read again by a websocket that " .. past, function()
        local output, code = helper.script(prelude .. ([[
          local secure, ca = ...
          local text = assert(io.open(ca)):read("a")
          local ws = make { url = secure, tls = { ca = ca }, maxreconnectwait = 0.05 }
          await "OPEN"
          %s
          %s
          await "ERROR tls again"
          await "ERROR tls again"
          local file = assert(io.open(ca, "w"))
          file:write(text)
          file:close()
          await "OPEN"
          os.exit(true, false)
        ]]):format(damage, words), secure:url("/close-on-message"), copy_of_ca())
        assert.equal("", output)
        assert.equal(0, code)
      end)
    end
  end

  it("a CA file that is missing from the start ends the attempts", function()
    local output, code = helper.script(prelude .. [[
      make { url = ..., tls = { ca = "/nowhere/ca.pem" } }
      await "ERROR tls never"
      assert(words[1]:find("/nowhere/ca.pem", 1, true), words[1])
      os.exit(true, false)
    ]], secure:url("/echo"))
    assert.equal("", output)
    assert.equal(0, code)
  end)

  for name, pattern in pairs {
    ["epoll"] = "eventpoll", ["wake-ups"] = "wakeup", ["anonymous descriptors"] = "anon_inode",
    ["descriptors from 3 up, as daemons do,"] = ".",
  } do
    it("the host closes the engine's " .. name .. ": an ERROR or no effect, and no thread spins", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. ([[
        local list = {}
        for i = 1, 3 do list[i] = make { url = url } end
        local refused = make { url = "ws://127.0.0.1:1", minreconnectwait = 60, maxreconnectwait = 60 }
        repeat
          websocket.poll(0.1)
          local open = 0
          for i = 1, 3 do if list[i].state == "open" then open = open + 1 end end
        until open == 3 and refused.state == "waiting" and #log == 4
        log = {}
        local found = {}
        for number, target in pairs(numbers()) do
          if target:find(%q) then found[#found + 1] = number end
        end
        for _, number in ipairs(found) do shut(number) end
        assert(#found > 0)
        local from, cpu = clock(), os.clock()
        local is_over = websocket.run(1)
        assert(os.clock() - cpu < 0.5, "it spins")
        print(is_over, table.concat(log, ", "))
        if not is_over then os.exit(true, false) end
        -- A new engine.
        log = {}
        local again = make { url = url }
        await "OPEN"
        again:close()
        print(websocket.run(5))
      ]]):format(pattern)), raw:url("/burst")))
      assert.equal(0, code, output)
      -- When only these are closed, the sockets remain, and this thread polls them.
      if name == "wake-ups" then return end
      local first = output:match("^true%s+([^\n]*)")
      assert.truthy(first, output)
      local errors, closes = select(2, first:gsub("ERROR system never", "")), select(2, first:gsub("CLOSE", ""))
      assert.same({ 4, 3 }, { errors, closes }, output)
      assert.truthy(output:find("\ntrue\n", 1, true), output)
    end)
  end

  it("a sandbox without Unix sockets: the engine is woken all the same", function()
    -- The first socket is the engine's wake-up.
    local output, code = helper.finish(helper.start(helper.strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=socket",
      "-e", "inject=socket:error=EAFNOSUPPORT:when=1", helper.lua, helper.write_script(prelude .. [[
        local ws = make { url = ... }
        await "OPEN"
        -- The thread of the loop has it now, and must be woken for the second message.
        local from = os.clock()
        repeat until os.clock() - from > 0.3
        for _ = 1, 2 do ws:sendText("hello") end
        await "TEXT"
        ws:close()
        assert(websocket.run(5))
        local pipe, found = io.popen("ls -l /proc/$PPID/fd 2>/dev/null"), 0
        for line in pipe:lines() do
          if line:find "^lrwx.*pipe:" then found = found + 1 end
        end
        pipe:close()
        print(table.concat(log, ", "), found)
      ]]), peer:url("/echo")))
    assert.equal("OPEN, TEXT, TEXT, CLOSE\t1\n", output)
    assert.equal(0, code)
  end)

  -- A wait is another one after its first 0.1 s.
  for _, seconds in ipairs { 0.03, 0.3 } do
    it(("another thread closes all descriptors %g s after poll has begun: it ends"):format(seconds), function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. ([[
        make { url = url }
        await "OPEN"
        websocket.poll(0.01)
        local from = clock()
        shut_all(%g)
        websocket.poll(0.5)
        local took = clock() - from
        assert(took < 4, took)
        await "CLOSE"
        print(table.concat(log, ", "))
      ]]):format(seconds)), raw:url("/burst")))
      assert.equal("OPEN, ERROR system never, CLOSE\ndone\n", output)
      assert.equal(0, code)
    end)
  end

  for _, kind in ipairs { "eventfd", "timerfd", "epoll", "socket", "datagram", "tcp" } do
    it(("descriptors of the host that get the engine's numbers are left alone: %s"):format(kind), function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. ([[
        local kind, list = %q, {}
        local before = numbers()
        for i = 1, 3 do list[i] = make { url = url } end
        repeat websocket.poll(0.1) until #log == 3
        websocket.fd()
        websocket.poll(0)
        log = {}
        local count = 0
        for number, target in pairs(numbers()) do
          -- The connections end if their sockets are closed.
          if before[number] ~= target and (kind:find "^[sdt][^i]" or not target:find "^socket") then
            occupy(kind, number)
            count = count + 1
          end
        end
        assert(count > 6, count)
        -- The first message of each would be written by this thread, the second by the loop's.
        for _, ws in ipairs(list) do
          for _ = 1, 2 do pcall(ws.sendText, ws, "not for the host") end
        end
        -- The engine looks once in each tick of the clock.
        local cpu, from = os.clock(), clock()
        repeat until clock() - from > 0.02
        -- Waits that end with their time, though the timer is gone.
        from = clock()
        for _ = 1, 10 do websocket.poll(0.05) end
        assert(clock() - from < 5, "it waits for the host's events")
        list[1]:close()
        websocket.after(0.05, function() end)
        -- Its socket is added.
        local last = make { url = url }
        from = clock()
        repeat websocket.poll(0.1) until clock() - from > 0.5
        websocket.fd()
        last:close()
        websocket.poll(0.1)
        assert(os.clock() - cpu < 0.5, "it spins")
        local again = make { url = url }
        from = clock()
        repeat websocket.poll(0.1) until again.state == "open" or clock() - from > 5
        assert(again.state == "open", again.state)
        collectgarbage()
        print(touched() or "nothing was touched")
      ]]):format(kind)), raw:url("/burst")))
      assert.equal("nothing was touched\ndone\n", output)
      assert.equal(0, code)
    end)
  end

  for _, kind in ipairs { "socket", "tcp", "udp" } do
    it(("a socket of the host that gets our number in a callback gets no message: %s"):format(kind), function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. ([[
        local kind, list, own = %q, {}, {}
        for i = 1, 3 do
          local before = numbers()
          list[i] = make { url = url, minreconnectwait = 60, maxreconnectwait = 60 }
          await "OPEN"
          own[i] = new_socket(before)
          log = {}
        end
        assert(#own == 3, #own)
        local first = websocket.WebSocket { url = url, onreceive = function(type, _, _, _, ws)
          if type ~= websocket.WebSocketMessageType.OPEN then return end
          for _, number in ipairs(own) do occupy(kind, number) end
          -- The loop's thread may find out first, and a send then raises.
          pcall(list[1].sendText, list[1], "not for the host")
          pcall(list[1].sendText, list[1], "nor this")
          -- More than a datagram has room for.
          websocket.broadcastBinary({ list[2] }, ("nor that"):rep(10000))
          list[3]:close()
          ws:sendText("for the server")
        end }
        first:connect()
        local from = clock()
        repeat websocket.poll(0.1) until #log == 3 or clock() - from > 5
        print(touched() or "nothing was touched", table.concat(log, ", "))
        os.exit(true, false)
      ]]):format(kind)), peer:url("/echo")))
      assert.equal("nothing was touched\tCLOSE, CLOSE, CLOSE\n", output)
      assert.equal(0, code)
    end)
  end

  it("a connection that gets the number of another one that the host has closed gets no message of it", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. [[
      local before = numbers()
      local first = make { url = url }
      await "OPEN"
      local own = new_socket(before)
      local old = numbers()[own]
      shut(own)
      log = {}
      make { url = url }
      await "OPEN"
      assert(numbers()[own] ~= old and numbers()[own], "it has another number")
      log = {}
      first:sendText("of the first")
      -- It connects anew.
      await "OPEN"
      local from = clock()
      repeat websocket.poll(0.1) until clock() - from > 0.3
      print(table.concat(log, ", "))
      os.exit(true, false)
    ]]), peer:url("/echo")))
    assert.equal("CLOSE, OPEN\n", output)
    assert.equal(0, code)
  end)

  it("the host's socket is not read when a child of fork holds the one that had the number", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. [[
      local before = numbers()
      make { url = url, minreconnectwait = 60, maxreconnectwait = 60 }
      await "TEXT"
      local own = new_socket(before)
      local child = fork()
      if child == 0 then stay() end
      occupy("tcp", own)
      -- The peer goes on sending to the child's socket.
      await "CLOSE"
      print(touched() or "nothing was touched")
      kill(child)
      os.exit(true, false)
    ]]), raw:url("/beats?key=child&every=0.02&beat=81024f4b")))
    assert.equal("nothing was touched\n", output)
    assert.equal(0, code)
  end)

  it("a listening socket that the host has closed while a child of fork holds it does not spin, nor another accept",
    function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. [[
        local before = numbers()
        local server = websocket.listen { address = "127.0.0.1:0", onreceive = function() end }
        local own = new_socket(before)
        local child = fork()
        if child == 0 then stay() end
        occupy("tcp", own)
        -- The child's socket reports it.
        make { url = "ws://" .. server.address }
        local cpu, from = os.clock(), clock()
        repeat websocket.poll(0.1) until clock() - from > 0.5
        assert(os.clock() - cpu < 0.2, "it spins")
        print(touched() or "nothing was touched")
        kill(child)
        os.exit(true, false)
      ]]), ""))
      assert.equal("nothing was touched\n", output)
      assert.equal(0, code)
    end)

  it("a connection that gets the number of a listening socket, which the host has closed, stays as it is", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. [[
      local before = numbers()
      local server = websocket.listen { address = "127.0.0.1:0", maxconnections = 1, onreceive = function() end }
      local own = new_socket(before)
      local first = make { url = "ws://" .. server.address }
      await "OPEN"
      -- Accepting pauses.
      make { url = "ws://" .. server.address }
      local from = clock()
      repeat websocket.poll(0.1) until clock() - from > 0.3
      shut(own)
      log = {}
      local ws = make { url = url }
      await "OPEN"
      assert((numbers()[own] or ""):find "^socket", "it has another number")
      first:close()
      await "CLOSE"
      repeat websocket.poll(0) until server.connections == 0
      ws:sendText("hello")
      await "TEXT"
      print(ws.state)
      os.exit(true, false)
    ]]), peer:url("/echo")))
    assert.equal("open\n", output)
    assert.equal(0, code)
  end)

  it("an epoll descriptor of the host, which has the number of websocket.fd, keeps what it has for the engine's number",
    function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = helper.finish(helper.start(host, "cycles", 1, helper.write_script(prelude .. [[
        make { url = url, minreconnectwait = 60, maxreconnectwait = 60 }
        await "OPEN"
        local engine
        for number, target in pairs(numbers()) do
          if target:find "eventpoll" then engine = number end
        end
        local own = websocket.fd()
        websocket.poll(0)
        occupy("epoll", own, engine)
        -- The engine's thread takes the loop.
        local from = clock()
        repeat until clock() - from > 0.3
        websocket.poll(0)
        print(touched() or "nothing was touched")
        os.exit(true, false)
      ]]), peer:url("/echo")))
      assert.equal("nothing was touched\n", output)
      assert.equal(0, code)
    end)

  it("a thread that waits in poll when the process ends does not spin", function()
    if not host then return pending("needs cc and liblua5.4-dev") end
    local flag = helper.file()
    os.remove(flag)
    local output, code = helper.finish(helper.start("env FLAG=" .. flag .. " " .. host, "leaving",
      helper.write_script([[
      local websocket = require "websocket"
      local ws = websocket.WebSocket { url = url }
      ws:connect()
      repeat websocket.poll(1) until ws.state == "open"
      local file = os.getenv "FLAG"
      if name == "second" then
        io.open(file, "w"):close()
        websocket.run()
      end
      return function()
        local flag = io.open(file)
        return flag and flag:close()
      end
    ]]), raw:url("/burst")))
    assert.equal(0, code, output)
    assert.is_true(tonumber(output) < 0.15, output)
  end)
end)
