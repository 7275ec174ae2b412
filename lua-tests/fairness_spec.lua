-- A busy websocket delays neither other websockets nor a script's short wait. Two Lua states in one process share the
-- engine: one sends a message each tick and waits for its echo, while the other keeps the engine busy.

local helper = require "helper"

describe("a websocket gets its echoes in time beside", function()
  local host, ticks, peer, raw
  lazy_setup(function()
    ticks, peer, raw = helper.serve("raw"), helper.serve("own"), helper.serve("raw")
    host = helper.host("host")
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  --- Milliseconds by which ticks were late while `work` ran, the 99th percentile and the maximum: of ticks in the same
  --- engine, and of a control, ticks at the same time in a process of their own, which are late only because the
  --- machine is busy.
  local function delays(work)
    local flag = helper.file()
    os.remove(flag)
    local script = helper.write_script(([[
      local websocket = require "websocket"
      local types = websocket.WebSocketMessageType
      local flag, ticks, peer, raw = %q, %q, %q, %q
      if name == "b" then
        local function work() %s end
        local ok, err = pcall(work)
        io.open(flag, "w"):close()
        return assert(ok, err)
      end
      local has_come = false
      local ws = websocket.WebSocket { url = ticks, onreceive = function(type)
        if type == types.TEXT then has_come = true end
      end }
      ws:connect()
      repeat websocket.poll(1) until ws.state == "open"
      local delays = {}
      local function is_over()
        local file = io.open(flag)
        return file and file:close()
      end
      repeat
        local from = clock()
        has_come = false
        ws:sendText("tick")
        repeat websocket.poll(0.05) until has_come
        delays[#delays + 1] = clock() - from
        -- A short wait must end in time.
        from = clock()
        websocket.poll(0.002)
        delays[#delays + 1] = math.max(0, clock() - from - 0.002)
      until is_over()
      table.sort(delays)
      print(delays[math.ceil(#delays * 0.99)] * 1000, delays[#delays] * 1000, #delays)
      ws:close()
      websocket.run(5)
    ]]):format(flag, ticks:url("/burst"), peer:url(""), raw:url(""), work))
    local control = helper.start(host, "cycles", 1, script, "no url")
    local output, code = helper.finish(helper.start(host, "threads", script, "no url"))
    local control_output, control_code = helper.finish(control)
    assert.same({ 0, 0 }, { code, control_code }, output .. control_output)
    local late, most = output:match("^(%S+)%s+(%S+)")
    local control_late, control_most = control_output:match("^(%S+)%s+(%S+)")
    return tonumber(late), tonumber(most), tonumber(control_late), tonumber(control_most), output .. control_output
  end

  --- Asserts that ticks are in time beside `work`. A busy machine delays the control, too, and can spoil some tries.
  local function keeps_time(work)
    helper.one_of_five(function()
      local late, most, control_late, control_most, output = delays(work)
      return late < 10 * helper.slowness + 3 * control_late and most < 60 * helper.slowness + 3 * control_most,
        "99th percentile and maximum in ms, number of ticks, then those of the control: " .. output
    end)
  end

  local works = {
    ["a message of 60 MB that is compressed"] = [[
      local words = {}
      for i = 1, 200000 do words[i] = ("%x"):format((i * 2654435761) % 4294967296) end
      local text = table.concat(words, " ")
      text = text:rep(60000000 // #text)
      local ws
      ws = websocket.WebSocket { url = peer .. "/measure", deflate = true, onreceive = function(type)
        if type == types.OPEN then ws:sendText(text) end
        if type == types.TEXT then ws:close() end
      end }
      ws:connect()
      assert(websocket.run(60))
    ]],
    ["compressed bombs of 63 MiB"] = [[
      local ws, count = nil, 0
      ws = websocket.WebSocket { url = raw .. "/bombs?count=5&size=66060288", deflate = true, reconnect = false,
        onreceive = function(type)
          if type == types.BINARY then count = count + 1 end
          if count == 5 then ws:close() end
        end }
      ws:connect()
      assert(websocket.run(60))
    ]],
    ["1 000 closes, large texts both ways, compression and bombs, all at once"] = [[
      local list, open, left = {}, 0, 5
      local function make(options)
        local ws
        local onreceive = options.onreceive
        options.reconnect = false
        function options.onreceive(type, data) onreceive(ws, type, data) end
        ws = websocket.WebSocket(options)
        ws:connect()
        return ws
      end
      local function finish(ws)
        left = left - 1
        ws:close()
      end
      for i = 1, 1000 do
        list[i] = make { url = raw .. "/burst", connecttimeout = 60, onreceive = function(_, type)
          if type == types.OPEN then open = open + 1 end
        end }
      end
      while open < 1000 do websocket.poll(1) end
      local text = ("ä"):rep(30000000)
      for _, deflate in ipairs { true, false } do
        make { url = peer .. "/measure", deflate = deflate, onreceive = function(ws, type)
          if type == types.OPEN then ws:sendText(text) end
          if type == types.TEXT then finish(ws) end
        end }
      end
      make { url = peer .. "/flood?count=2&size=60000000", onreceive = function(ws, type, data)
        if type == types.TEXT and data == "end" then finish(ws) end
      end }
      for _ = 1, 2 do
        make { url = raw .. "/bombs?count=1&size=66060288", deflate = true, onreceive = function(ws, type)
          if type == types.BINARY then finish(ws) end
        end }
      end
      while left > 2 do websocket.poll(1) end
      for i = 1, 1000 do list[i]:close() end
      assert(websocket.run(60))
    ]],
  }
  for name, work in pairs(works) do
    it(name, function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      keeps_time(work)
    end)
  end

  describe("files on a slow disk:", function()
    local secure, ca
    before_each(function()
      secure, ca = helper.serve("own-tls"), helper.file()
      assert(os.execute(("cp %s/ca.pem %s"):format(helper.certificates, ca)))
    end)

    --- A script that connects two websockets with the option tls, and notes how long other work takes beside them at
    --- most: an echo, a short wait, the host's fork.
    local beside = [[
      local websocket = require "websocket"
      local types = websocket.WebSocketMessageType
      local secure, ca, timeout = %q, %q, %q
      local has_come, longest = false, 0
      local function note(from) longest = math.max(longest, clock() - from) end
      local ws = websocket.WebSocket { url = url, onreceive = function(type)
        if type == types.TEXT then has_come = true end
      end }
      ws:connect()
      repeat websocket.poll(1) until ws.state == "open"
      local from, list, errors = clock(), {}, {}
      for i, minversion in ipairs { "1.2", "1.3" } do
        list[i] = websocket.WebSocket {
          url = secure, tls = { ca = ca, minversion = minversion }, connecttimeout = tonumber(timeout),
          onreceive = function(type, _, err)
            if type == types.ERROR then errors[#errors + 1] = err end
          end,
        }
        list[i]:connect()
      end
      local function work()
        local start = clock()
        has_come = false
        ws:sendText("tick")
        repeat websocket.poll(0.05) until has_come
        note(start)
        start = clock()
        websocket.poll(0.01)
        note(start)
        start = clock()
        local child = fork()
        if child == 0 then leave() end
        note(start)
        await(child)
      end
    ]]

    --- Runs `script` behind `beside` while strace injects a delay into the system calls of `trace` on the file. Returns
    --- the output when the host has ended; strace may wait for the end of a delay.
    local function run(script, timeout, file, trace, injection, environment)
      local text = beside:format(secure:url("/echo"), ca, timeout) .. script
      local process = helper.start(helper.strace, "-f", "-qq", "-o", "/dev/null", "-P", file, "-e", "trace=" .. trace,
        "-e", ("inject=%s:%s"):format(trace, injection), "env", environment or "WEBSOCKET=", host, "cycles", 1,
        helper.write_script(text), ticks:url("/burst"))
      local lines = {}
      for line in process.pipe:lines() do
        lines[#lines + 1] = line
        if line == "done" then break end
      end
      process:stop("KILL")
      assert.equal("done", lines[#lines], table.concat(lines, "\n"))
      return table.concat(lines, "\n")
    end

    --- Asserts that other work does not wait for the second by which `injection` delays a call of `trace` on the file.
    local function delays_nothing_else(file, trace, injection, environment)
      helper.one_of_five(function()
        local output = run([[
          repeat work() until list[1].state == "open" and list[2].state == "open"
          print(("%.3f %.3f"):format(clock() - from, longest))
        ]], 30, file, trace, injection, environment)
        local took, longest = output:match("^(%S+) (%S+)")
        assert.is_true(tonumber(took) >= 1, "the disk was not slow: " .. output)
        return tonumber(longest) < 0.8, output
      end)
    end

    it("those of the option tls delay neither another websocket nor the host's fork", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      delays_nothing_else(ca, "read", "delay_enter=1000000")
    end)

    it("those of the option tls that never come end only their own attempts", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      helper.within(5, function()
        local output = run([[
          repeat work() until errors[2]
          list[1]:close()
          work()
          assert(list[1].state == "closed")
          print(table.concat(errors, " "))
        ]], 0.5, ca, "all", "delay_enter=30000000")
        local reason = "the files of the option tls could not be read within the connecttimeout of 0.5 s"
        local _, count = output:gsub(reason, "")
        assert.is_true(count >= 2, output)
      end)
    end)

    it("OpenSSL's configuration delays neither another websocket nor the host's fork", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local configuration = helper.file()
      assert(io.open(configuration, "w")):close()
      delays_nothing_else(configuration, "openat", "delay_enter=1000000:when=1", "OPENSSL_CONF=" .. configuration)
    end)

    it("the lines of SSLKEYLOGFILE delay neither another websocket nor the host's fork", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local keys = helper.file()
      helper.one_of_five(function()
        local output = run([[
          repeat work() until list[1].state == "open" and list[2].state == "open"
          for _ = 1, 5 do work() end
          print(("%.3f"):format(longest))
        ]], 30, keys, "write", "delay_enter=1000000", "SSLKEYLOGFILE=" .. keys)
        return tonumber(output:match("^%S+")) < 0.8, output
      end)
    end)

    it("the resolver's configuration keeps no forked child from looking up its names", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local script = helper.write_script [[
        local websocket = require "websocket"
        -- The system knows without a server that a label of more than 63 bytes is no name (RFC 1035 section 2.3.4).
        local function visit(letter)
          local ws = websocket.WebSocket {
            url = "ws://" .. letter:rep(64) .. "/", reconnect = false, onreceive = function() end }
          ws:connect()
          return ws
        end
        local ws = visit("x")
        local start = clock()
        repeat websocket.poll(0.01) until clock() - start > 0.2
        local is_slow = ws.state == "connecting"
        local child = fork()
        if child == 0 then
          local own = visit("y")
          repeat websocket.poll(0.1) until own.state == "closed"
          leave()
        end
        print(is_slow, await(child))
      ]]
      local output, code = helper.finish(helper.start(helper.strace, "-f", "-qq", "-o", "/dev/null",
        "-P", "/etc/resolv.conf", "-e", "trace=openat", "-e", "inject=openat:delay_enter=1000000:when=1",
        host, "cycles", 1, script, "-"))
      assert.equal("true\t0\ndone\n", output)
      assert.equal(0, code)
    end)

    it("the file of a Unix socket, removed when its server closes, does not delay the loop", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local socket = helper.file()
      os.remove(socket)
      local script = helper.write_script(([[
        local websocket = require "websocket"
        local path = %q
        if name == "a" then
          local server = websocket.listen { address = "unix:" .. path, onreceive = function() end }
          websocket.poll(0.1)
          server:close()
          return
        end
        local has_come, longest, start = false, 0, clock()
        local ws = websocket.WebSocket { url = url, onreceive = function(type)
          if type == websocket.WebSocketMessageType.TEXT then has_come = true end
        end }
        ws:connect()
        repeat websocket.poll(0.05) until ws.state == "open"
        repeat
          -- The server may still accept.
          websocket.WebSocket { url = "ws+unix:" .. path .. ":/", reconnect = false }:connect()
          local from = clock()
          has_come = false
          ws:sendText("tick")
          repeat websocket.poll(0.05) until has_come
          longest = math.max(longest, clock() - from)
        until clock() - start > 1.5
        print(("%%.3f"):format(longest))
      ]]):format(socket))
      helper.one_of_five(function()
        local output, code = helper.finish(helper.start(helper.strace, "-f", "-qq", "-o", "/dev/null", "-P", socket,
          "-e", "trace=unlink", "-e", "inject=unlink:delay_enter=1000000", host, "threads", script,
          ticks:url("/burst")))
        assert.equal(0, code, output)
        return tonumber(output:match("^(%S+)\ndone\n$")) < 0.5, output
      end)
    end)
  end)
end)
