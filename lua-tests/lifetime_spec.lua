-- The end of scripts, Lua states and processes; fork. Each test runs in its own process.
-- Runs on every version of Lua.

local helper = require "helper"

-- The beginning of each script: `connect(url, options)` and `wait(condition)`.
local prelude = [[
  local websocket = require "websocket"
  local function connect(url, options)
    options = options or {}
    options.url = url
    local ws = websocket.WebSocket(options)
    ws:connect()
    return ws
  end
  local function wait(condition) -- luacheck: ignore
    repeat websocket.poll(0.1) until condition()
  end
]]

local function script(text, ...) return helper.script(prelude .. text, ...) end

describe("lifetime:", function()
  local peer, raw, refused
  lazy_setup(function()
    peer, raw, refused = helper.serve("own"), helper.serve("raw"), helper.serve("raw")
    refused:stop()
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  -- A script that Ctrl-C does not end runs for longer than any test waits.
  describe("Ctrl-C ends at once", function()
    for name, text in pairs {
      ["poll(math.huge)"] = "websocket.poll(math.huge) print 'poll returned'",
      ["poll(60)"] = "websocket.poll(60) print 'poll returned'",
      ["run()"] = "websocket.run()",
      ["run(60)"] = "websocket.run(60)",
      ["a loop of poll(60)"] = "while true do websocket.poll(60) end",
    } do
      it(name, function()
        local process = helper.start_script(prelude .. [[
          local ws = connect((...))
          wait(function() return ws.state == "open" end)
          websocket.poll()
          print "ready"
          io.stdout:flush()
        ]] .. text, peer:url("/echo"))
        assert.equal("ready", process.pipe:read("l"))
        process:signal("INT")
        local output, code, seconds = helper.finish(process)
        assert.truthy(output:find("interrupted!", 1, true), output)
        assert.is_nil(output:find("poll returned", 1, true))
        assert.equal(1, code)
        assert.is_true(seconds < helper.TIMEOUT, seconds)
      end)
    end

    -- The signal arrives about when the wait begins: once, half of the signals that came just before it
    -- were noticed only at its end.
    it("run() while it begins to wait", function()
      for _ = 1, 20 do
        local process = helper.start_script(prelude .. [[
          connect((...), { connecttimeout = 60 })
          print "ready"
          io.stdout:flush()
          websocket.run()
        ]], raw:url("/silence"))
        assert.equal("ready", process.pipe:read("l"))
        process:signal("INT")
        local output, code, seconds = helper.finish(process)
        assert.truthy(output:find("interrupted!", 1, true), output)
        assert.equal(1, code)
        assert.is_true(seconds < helper.TIMEOUT, seconds)
      end
    end)
  end)

  local ways = {
    ["the end of the script"] = { "", 0 },
    ["os.exit()"] = { "os.exit()", 0 },
    ["os.exit(7)"] = { "os.exit(7)", 7 },
    ["os.exit(0, true)"] = { "os.exit(0, true)", 0 },
    ["an error"] = { "error('the end')", 1 },
  }

  for way, how in pairs(ways) do
    describe("at " .. way, function()
      local text, expected = table.unpack(how)

      --- `#` in the first URL becomes another number each time; returns the last number.
      local function ends(seconds, before, url, ...)
        local more, last = { ... }, nil
        helper.within(seconds, function(n)
          last = n
          local process = helper.start_script(prelude .. before .. [[
            print "leaving"
            io.stdout:flush()
          ]] .. text, (url:gsub("#", n)), table.unpack(more))
          assert.equal("leaving", process.pipe:read("l"))
          local output, code, took = helper.finish(process)
          assert.equal(expected, code, output)
          if way ~= "an error" then assert.equal("", output) end
          return took
        end)
        return last
      end

      it("a message sent just before arrives, and the peer gets a Close with 1001", function()
        local key = way:gsub("%W", "")
        local n = ends(0.9, [[
          local ws
          ws = connect((...))
          wait(function() return ws.state == "open" end)
          for i = 1, 100 do ws:sendText(i, ("."):rep(10000)) end
          ws:sendText("last")
        ]], peer:url("/record?key=%s#", key))
        local recorded = helper.client(peer:url("/recorded?key=%s%d", key, n)):get("TEXT").data
        assert.truthy(recorded:find("^1001:1%.+|2%.+|3%."), recorded:sub(1, 100))
        assert.equal("|last", recorded:sub(-5))
      end)

      it("a compressed message arrives too", function()
        local key = "deflate" .. way:gsub("%W", "")
        local n = ends(0.9, [[
          local ws = connect((...), { deflate = true })
          wait(function() return ws.state == "open" end)
          ws:sendText(("all work and no play "):rep(100000))
          ws:sendText("last")
        ]], peer:url("/record?key=%s#", key))
        local recorded = helper.client(peer:url("/recorded?key=%s%d", key, n)):get("TEXT").data
        assert.equal("|last", recorded:sub(-5))
      end)

      it("twenty live connections end quickly", function()
        ends(0.9, [[
          local list = {}
          for i = 1, 20 do list[i] = connect((...)) end
          wait(function()
            for _, ws in ipairs(list) do if ws.state ~= "open" then return false end end
            return true
          end)
        ]], peer:url("/echo"))
      end)

      it("a server that never answers Close costs a second at most", function()
        ends(1.5, [[
          local ws = connect((...))
          wait(function() return ws.state == "open" end)
        ]], raw:url("/frames?end=mute"))
      end)

      it("a server that reads nothing costs a second at most", function()
        ends(1.5, [[
          local ws = connect((...))
          wait(function() return ws.state == "open" end)
          ws:sendBinary(("x"):rep(16 * 2^20))
        ]], raw:url("/frames?end=deaf"))
      end)

      it("connecting, waiting and resolving take no time", function()
        ends(0.9, [[
          local silent, refused = ...
          connect(silent)
          local ws = connect(refused, { minreconnectwait = 60, maxreconnectwait = 60 })
          wait(function() return ws.state == "waiting" end)
          connect("ws://nonexistent.invalid/")
        ]], raw:url("/silence"), refused:url("/"))
      end)

      it("undelivered events, even a flood, take no time", function()
        ends(0.9, [[
          local ws = connect((...), { maxqueued = 2^16 })
          wait(function() return ws.state == "open" end)
        ]], peer:url("/flood?count=2000&size=20000"))
      end)
    end)
  end

  it("a script that only requires the module ends at once", function()
    helper.within(0.5, function()
      local output, code, took = helper.script([[require "websocket"]])
      assert.equal("", output)
      assert.equal(0, code)
      return took
    end)
  end)

  it("a script may end in a callback", function()
    for _, exit in ipairs { "os.exit(3)", "os.exit(3, true)" } do
      helper.within(0.9, function()
        local output, code, took = script([[
          connect((...), { onreceive = function() ]] .. exit .. [[ end })
          websocket.run()
        ]], peer:url("/echo"))
        assert.equal("", output)
        assert.equal(3, code)
        return took
      end)
    end
  end)

  it("finalizers that run when the state closes may still use a websocket", function()
    local output, code = script([[
      local ws = connect((...))
      wait(function() return ws.state == "open" end)
      finalizer = setmetatable({}, { __gc = function()
        pcall(ws.sendText, ws, "bye")
        pcall(ws.close, ws)
        pcall(ws.connect, ws)
        pcall(websocket.poll, 0.01)
        pcall(websocket.WebSocket, { url = "ws://127.0.0.1:1" })
        print(type(tostring(ws)), type(ws.state), ws.bufferedamount)
      end })
    ]], peer:url("/echo"))
    assert.equal(0, code, output)
    assert.truthy(output:find("^string\tstring"), output)
  end)

  it("finalizers created before the websocket may still use it", function()
    local output, code = script([[
      local ws
      finalizer = setmetatable({}, { __gc = function()
        for _, name in ipairs { "sendText", "sendBinary", "sendPing", "close", "connect" } do pcall(ws[name], ws) end
        for _, name in ipairs { "url", "state", "bufferedamount", "attempts", "protocol" } do local _ = ws[name] end
        pcall(websocket.poll, 0.01)
        pcall(websocket.run, 0.01)
        print "done"
      end })
      ws = connect((...))
      wait(function() return ws.state == "open" end)
    ]], peer:url("/echo"))
    assert.equal(0, code, output)
    assert.truthy(output:find("done", 1, true), output)
  end)

  it("a websocket that a finalizer makes when the state closes is closed with it", function()
    helper.within(0.9, function(n)
      local output, code, took = helper.script([[
        local ws
        -- A global: else it may be collected while the module is loaded.
        finalizer = setmetatable({}, { __gc = function()
          print(ws.state)
          debug.getmetatable(ws).__gc(ws)
        end })
        local websocket, url = require "websocket", ...
        maker = setmetatable({}, { __gc = function()
          ws = websocket.WebSocket { url = url, onreceive = print }
          ws:connect()
          repeat websocket.poll(0.1) until ws.state == "open"
          websocket.poll()
          websocket.WebSocket()
        end })
      ]], peer:url("/record?key=finalizer%d", n))
      assert.truthy(output:find("^1\t\t\ttable: [^\n]*\tWebSocket: [^\n]*\nclosed\n$"), output)
      assert.equal(0, code)
      assert.equal("1001:", helper.client(peer:url("/recorded?key=finalizer%d", n)):get("TEXT").data)
      return took
    end)
  end)

  it("a finalizer created before the module was loaded may still call it", function()
    local output, code = helper.script([[
      local websocket, ws
      -- A global: else it may be collected while the module is loaded.
      finalizer = setmetatable({}, { __gc = function()
        pcall(websocket.poll, 0.01)
        pcall(websocket.run, 0.01)
        pcall(websocket.WebSocket, { url = "ws://127.0.0.1:1" })
        pcall(ws.connect, ws)
        pcall(ws.sendText, ws)
        pcall(ws.close, ws)
        print "done"
      end })
      websocket = require "websocket"
      ws = websocket.WebSocket { url = ... }
      ws:connect()
      repeat websocket.poll(0.1) until ws.state == "open"
    ]], peer:url("/echo"))
    assert.equal(0, code, output)
    assert.truthy(output:find("done", 1, true), output)
  end)

  it("the module can be loaded twice in one state: each has its own events", function()
    local output, code = script([[
      local first = websocket
      package.loaded.websocket = nil
      local second = require "websocket"
      assert(first ~= second)
      local got = {}
      local function open(module, name)
        local ws = module.WebSocket { url = url, onreceive = function(type, data)
          if type == 0 then got[#got + 1] = name .. data end
        end }
        ws:connect()
        repeat module.poll(0.1) until ws.state == "open"
        ws:sendText(name)
        return ws
      end
      url = ...
      local a, b = open(first, "a"), open(second, "b")
      repeat first.poll(0.1) until #got == 1
      repeat second.poll(0.1) until #got == 2
      print(table.concat(got, " "), pcall(second.WebSocket().close, a))
      a:close()
      b:close()
      print(first.run(5), second.run(5))
    ]], peer:url("/echo"))
    assert.equal(0, code, output)
    assert.truthy(output:find("^aa bb\tfalse\t.*WebSocket expected.*\ntrue\ttrue\n$"), output)
  end)

  describe("several states in one process", function()
    local host
    lazy_setup(function() host = helper.host("host") end)

    local path = "/echo"
    before_each(function() path = "/echo" end)

    local function run(text, ...)
      local arguments = { ... }
      arguments[#arguments + 1] = helper.write_script(prelude .. text)
      arguments[#arguments + 1] = peer:url(path)
      return helper.finish(helper.start(host, table.unpack(arguments)))
    end

    it("five, one after the other", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      -- A state that misses the end of its connection takes a second to close.
      helper.within(1, function()
        local output, code, took = run([[
          local got
          local ws = connect(url, { onreceive = function(type, data) if type == 0 then got = data end end })
          wait(function() return ws.state == "open" end)
          ws:sendText(name)
          wait(function() return got end)
          print(got)
        ]], "cycles", 5)
        assert.equal(("cycle\n"):rep(5) .. "done\n", output)
        assert.equal(0, code)
        return took
      end)
    end)

    it("two hundred, each closed in the middle of a flood: none misses the end of its connection", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      path = "/flood?count=100&size=20000"
      local host_script = [[
        local function now() return io.open("/proc/uptime"):read("n") end
        io.stdout:write(now(), " ")
        local ws = connect(url, { maxqueued = 2^16 })
        wait(function() return ws.state == "open" end)
        io.stdout:write(now(), " ")
      ]]
      -- A state that misses it takes a second to close.
      helper.one_of_five(function()
        local output, code = run(host_script, "cycles", 200)
        assert.equal(0, code)
        local slow, left = 0, nil
        for from, to in output:gmatch("([%d.]+) ([%d.]+) ") do
          if left and from - left > 0.9 then slow = slow + 1 end
          left = to
        end
        assert.truthy(left)
        return slow == 0, slow .. " took a second"
      end)
    end)

    local talk = [[
      local got = {}
      local ws = connect(url, { onreceive = function(type, data) if type == 0 then got[#got + 1] = data end end })
      wait(function() return ws.state == "open" end)
      for i = 1, 100 do ws:sendText(name, i) end
    ]]
    local compare = [[
      for i = 1, 100 do assert(got[i] == name .. i, got[i]) end
      assert(#got == 100)
    ]]

    it("two on one thread do not see each other's events", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = run(talk .. [[
        return function()
          websocket.poll(0.01)
          if #got < 100 then return false end
      ]] .. compare .. [[
          return true
        end
      ]], "both")
      assert.equal("done\n", output)
      assert.equal(0, code)
    end)

    it("two on threads of their own do not see each other's events", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = run(talk .. "wait(function() return #got == 100 end)\n" .. compare, "threads")
      assert.equal("done\n", output)
      assert.equal(0, code)
    end)

    it("one in a forked child: it has its own engine, and nothing happens there when the parent closes", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = run([[
        local function visit(url)
          local ws = connect(url)
          wait(function() return ws.state == "open" or ws.state == "waiting" end)
          return ws
        end
        -- Name resolution and TLS use threads, which a forked child does not have.
        visit("ws://nonexistent.invalid/"):close()
        visit("wss://127.0.0.1:1/"):close()
        local ws = visit(url)
        if name == "child" then return print("child", ws.state) end
        return function()
          ws:close()
          websocket.run(5)
          local from = os.clock()
          websocket.run(0)
          local function now() return io.open("/proc/uptime"):read("n") end
          local stop = now() + 0.5
          connect("ws://nonexistent.invalid/", { maxreconnectwait = 60, minreconnectwait = 60 })
          while now() < stop do websocket.poll(stop - now()) end
          print("parent", os.clock() - from < 0.25 or os.clock() - from)
          return true
        end
      ]], "fork")
      assert.equal("child\topen\nparent\ttrue\ndone\n", output)
      assert.equal(0, code)
    end)

    it("one that a forked child goes on using: its websockets are closed there and can connect", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = run([[
        local answers = {}
        local function answer(type, data) if type == 0 then answers[#answers + 1] = data end end
        local ws = connect(url, { onreceive = answer, maxbuffered = 2^30 })
        local unused = websocket.WebSocket { url = url, onreceive = answer }
        wait(function() return ws.state == "open" end)
        -- More than the kernel takes at once.
        ws:sendBinary(("x"):rep(32 * 2^20))
        return function()
          if name == "parent" then
            ws:sendText("parent")
            wait(function() return answers[1] == "parent" end)
            print("parent", #answers, ws.state)
            return true
          end
          print(ws.state, ws.bufferedamount, websocket.run(5), pcall(ws.sendText, ws, "lost"))
          for i, mine in ipairs { ws, unused } do
            mine:connect()
            wait(function() return mine.state == "open" end)
            mine:sendText("child", i)
            wait(function() return #answers == i end)
          end
          print(table.concat(answers, " "))
          ws:close()
          unused:close()
          print(websocket.run(5), ws.state)
          return true
        end
      ]], "children", 1)
      local text = "closed\t0\ttrue\tfalse\tWebSocket is not connected, can't send text\nchild1 child2\ntrue\tclosed\n"
      assert.equal(text .. "parent\t1\topen\nparent\t2\topen\ndone\n", output)
      assert.equal(0, code)
    end)

    it("one whose forked child makes websockets: none of them is taken for one that the parent has made", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = run([[
        local function visit()
          local echoes = {}
          local ws = connect(url, { onreceive = function(type, data)
            if type == 0 then echoes[#echoes + 1] = data end
          end })
          wait(function() return ws.state == "open" end)
          return ws, echoes
        end
        collectgarbage "stop"
        visit():close()
        local old, oldEchoes = visit()
        return function()
          if name == "parent" then return true end
          local first, firstEchoes = visit()
          local second, secondEchoes = visit()
          old:connect()
          wait(function() return old.state == "open" end)
          -- The first websocket of the parent.
          collectgarbage()
          for i, ws in ipairs { first, second, old } do ws:sendText("echo " .. i) end
          wait(function() return #firstEchoes + #secondEchoes + #oldEchoes == 3 end)
          print(firstEchoes[1], secondEchoes[1], oldEchoes[1])
          return true
        end
      ]], "children", 1)
      assert.equal("echo 1\techo 2\techo 3\ndone\n", output)
      assert.equal(0, code)
    end)

    for _, waits in ipairs { "websocket.run", "websocket.poll" } do
      it("a callback that forks: " .. waits .. " returns in the child, where no websocket is live", function()
        if not host then return pending("needs cc and liblua5.4-dev") end
        local output, code = run([[
          local child
          local ws = connect(url, { onreceive = function(type) if type == 0 then child = fork() end end })
          wait(function() return ws.state == "open" end)
          ws:sendText("fork")
          while not child do
            local result = ]] .. waits .. [[(0.5)
            if child == 0 then
              print(ws.state, result, websocket.run())
              leave()
            end
          end
          print(await(child), ws.state)
        ]], "cycles", 1)
        local result = waits == "websocket.run" and "true" or "1"
        assert.equal("closed\t" .. result .. "\ttrue\n0\topen\ndone\n", output)
        assert.equal(0, code)
      end)
    end

    it("one that forks during the first connections of its process: the child connects", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      if os.getenv("WEBSOCKET_CC") then return pending("a sanitizer makes Swift's runtime hold locks for long") end
      for i = 0, 19 do
        local output, code = run(([[
          for i = 1, 5 do connect(i %% 2 == 0 and url or "wss://127.0.0.1:1/", { minreconnectwait = 60 }) end
          local start = clock()
          while clock() - start < %g do end
          local child = fork()
          if child == 0 then
            local echo
            local ws = connect(url, { onreceive = function(type, data) if type == 0 then echo = data end end })
            wait(function() return ws.state == "open" end)
            ws:sendText("x")
            wait(function() return echo end)
            leave()
          end
          print(await(child))
        ]]):format(i * 0.0004), "cycles", 1)
        assert.equal("0\ndone\n", output)
        assert.equal(0, code)
      end
    end)

    for name, text in pairs {
      ["makes its first websockets"] = [[
        begin()
        local answers, list = 0, {}
        for i = 1, 5 do
          list[i] = connect(url, { onreceive = function(type) if type == 0 then answers = answers + 1 end end })
        end
        wait(function()
          for i = 1, 5 do if list[i].state ~= "open" then return end end
          return true
        end)
        for i = 1, 5 do list[i]:sendText(i) end
        wait(function() return answers == 5 end)
      ]],
      ["makes its first server"] = [[
        begin()
        local server = websocket.listen { address = "127.0.0.1:0", onreceive = function() end }
        local ws = connect("ws://" .. server.address .. "/")
        wait(function() return ws.state == "open" end)
        ws:close()
        server:close()
      ]],
    } do
      it("one that " .. name .. " while another thread forks: the child can do the same", function()
        if not host then return pending("needs cc and liblua5.4-dev") end
        if os.getenv("WEBSOCKET_CC") then return pending("a sanitizer makes Swift's runtime hold locks for long") end
        for i = 0, 19 do
          local output, code = run(text, "aside", 15 * i)
          assert.equal("0\ndone\n", output)
          assert.equal(0, code)
        end
      end)
    end

    it("one whose forked child needs TLS while the parent initialises it", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      if os.getenv("WEBSOCKET_CC") then return pending("a sanitizer makes Swift's runtime hold locks for long") end
      local output, code = run([[
        -- The process's first connections have a test of their own.
        local first = connect("wss://127.0.0.1:1/", { minreconnectwait = 60 })
        wait(function() return first.state == "waiting" end)
        for i = 1, 5 do
          -- Other options need another TLS context, which is made on its own thread.
          connect("wss://127.0.0.1:1/", { minreconnectwait = 60, tls = { servername = "parent" .. i } })
          local child = fork()
          if child == 0 then
            connect("wss://127.0.0.1:1/", { reconnect = false, tls = { servername = "child" } })
            websocket.run()
            leave()
          end
          local status = await(child)
          if status ~= 0 then print("a child ended by " .. status) end
        end
      ]], "cycles", 1)
      assert.equal("done\n", output)
      assert.equal(0, code)
    end)

    it("one that forks while its threads resolve names and read certificates: each child connects, and ends at once",
      function()
        if not host then return pending("needs cc and liblua5.4-dev") end
        if os.getenv("WEBSOCKET_CC") then return pending("a sanitizer makes Swift's runtime hold locks for long") end
        local output, code = run([[
          local never = { minreconnectwait = math.huge }
          local function visit(name, options)
            options.tls = { servername = name }
            -- The system knows without a server that a label of more than 63 bytes is no name (RFC 1035 section 2.3.4).
            local long = name .. ("x"):rep(64)
            return connect("wss://127.0.0.1:1/", options), connect("ws://" .. long .. "/", options)
          end
          -- The process's first connections have a test of their own.
          local tls, named = visit("first", never)
          wait(function() return tls.state == "waiting" and named.state == "waiting" end)
          tls:close()
          named:close()
          local late = 0
          for children = 1, 20 do
            local list = {}
            for i = 1, 8, 2 do list[i], list[i + 1] = visit("parent" .. children .. i, never) end
            -- The threads are at work, each time at another point.
            local start = clock()
            repeat websocket.poll() until clock() - start > children % 10 * 0.0003
            start = clock()
            local child = fork()
            if child == 0 then
              local ws = connect(url)
              local first, second = visit("child", { reconnect = false })
              wait(function() return ws.state == "open" and first.state == "closed" and second.state == "closed" end)
              os.exit(true, true)
            end
            local status = await(child)
            if status ~= 0 then print("a child ended by " .. status) end
            if clock() - start > 0.9 then late = late + 1 end
            for _, ws in ipairs(list) do ws:close() end
          end
          -- At its end, a child that waited for threads of its parent would take a second.
          print(late <= 2 or late)
        ]], "cycles", 1)
        assert.equal("true\ndone\n", output)
        assert.equal(0, code)
      end)

    it("one that forked children go on using while many bytes arrive: none of them hangs", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      path = "/flood?count=1000000&size=1000"
      local output, code = run([[
        local ws = connect(url)
        wait(function() return ws.state == "open" end)
        return function()
          local from = os.clock()
          while os.clock() - from < 0.003 do websocket.poll() end
          return true
        end
      ]], "children", 40)
      assert.equal("done\n", output)
      assert.equal(0, code)
    end)

    it("one shared with a forked child: the child consumes no wake-up of its parent", function()
      if not host then return pending("needs cc and liblua5.4-dev") end
      local output, code = run([[
        local answers = 0
        local ws = connect(url, { onreceive = function(type) if type == 0 then answers = answers + 1 end end })
        wait(function() return ws.state == "open" end)
        local function now() return io.open("/proc/uptime"):read("n") end
        if name == "first" then while true do websocket.poll(60) end end
        -- The other state runs the loop, so that this one waits on its event queue.
        local started = now()
        while now() - started < 0.3 do end
        return function()
          if name == "heir" then return websocket.poll(60) > 0 end
          local late = 0
          for i = 1, 500 do
            local from = now()
            ws:sendText(i)
            while answers < i do websocket.poll(2) end
            -- A wait checks again after 0.1 s without a wake-up.
            if now() - from > 0.08 then late = late + 1 end
          end
          print(late < 20 or late)
          return true
        end
      ]], "heir")
      assert.equal("true\ndone\n", output)
      assert.equal(0, code)
    end)
  end)
end)
