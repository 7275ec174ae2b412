-- The life of servers: garbage, <close>, the end of scripts, states and processes; fork; processes that share a port.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local websocket = helper.websocket

describe("a server's life:", function()
  after_each(own.clean_up)

  local function collect() for _ = 1, 3 do collectgarbage() end end

  it("kept while it listens, though the script has no reference; run goes on", function()
    local gone = setmetatable({}, { __mode = "v" })
    local address
    do
      local s = websocket.listen { address = "127.0.0.1:0", onreceive = function(kind, data, _, _, ws)
        if kind == helper.types.TEXT then ws:sendText(data) end
      end }
      gone[1], address = s, s.address
    end
    collect()
    assert.is_false(websocket.run(0.05))
    local c = helper.client { url = "ws://" .. address, reconnect = false }:open()
    collect()
    c.ws:sendText("x")
    assert.equal("x", c:get("TEXT").data)
    gone[1]:close()
    c:get("CLOSE")
    assert.is_true(websocket.run(helper.TIMEOUT))
    helper.wait(function()
      collect()
      return gone[1] == nil
    end, "the server to be collected")
  end)

  it("collected after close, also when its callbacks and websockets refer to it", function()
    local gone = setmetatable({}, { __mode = "v" })
    do
      local s, accepted
      s = websocket.listen { address = "127.0.0.1:0",
        onrequest = function(request) request.server = s end,
        onreceive = function(_, _, _, _, ws) accepted = ws assert(ws.server == s) end }
      helper.client { url = "ws://" .. s.address, reconnect = false }:open()
      helper.wait(function() return accepted end, "OPEN")
      gone[1], gone[2], gone[3] = s, accepted, accepted.request
      s:close()
    end
    assert.is_true(websocket.run(helper.TIMEOUT))
    helper.close_clients()
    -- In 5.1 and LuaJIT tables can't keep the values of userdata weakly, so a cycle through them may stay.
    if helper.version == "5.1" or helper.version == "jit" then return end
    helper.wait(function()
      collect()
      return not (gone[1] or gone[2] or gone[3])
    end, "all to be collected")
  end)

  it("an accepted websocket is kept while it is open, and the server with it", function()
    local gone = setmetatable({}, { __mode = "v" })
    local c
    do
      local s = websocket.listen { address = "127.0.0.1:0", onreceive = function(kind, data, _, _, ws)
        gone[1] = ws
        if kind == helper.types.TEXT then ws:sendText(ws.server.address .. data) end
      end }
      c = helper.client { url = "ws://" .. s.address, reconnect = false }:open()
      gone[2] = s
    end
    collect()
    c.ws:sendText("x")
    assert.truthy(c:get("TEXT").data:find(":%d+x$"))
    gone[2]:close()
    c:get("CLOSE")
  end)

  it("its __gc called by hand closes it and harms nothing", function()
    local s = own.listen {}
    local c = s:pair()
    local port = s.server.port
    local gc = debug.getmetatable(s.server).__gc
    gc(s.server)
    assert.same({ "closed" }, { s.server.state, s.server.port, s.server.address, s.server.connections })
    gc(s.server)
    s.server:close()
    assert.equal(1001, c:get("CLOSE").info.code)
    s:get("CLOSE")
    assert.is_true(websocket.run(helper.TIMEOUT))
    own.listen { address = "127.0.0.1:" .. port }
    assert.is_false(pcall(gc))
    assert.is_false(pcall(gc, 5))
    assert.is_false(pcall(gc, c.ws))
  end)

  it("its __gc called by hand while an OPEN waits", function()
    local s = own.listen {}
    local process = helper.start_script([[
      local websocket = require "websocket"
      websocket.WebSocket { url = ..., onreceive = function(type, _, _, info)
        if type == 1 then print("open") io.stdout:flush() end
        if type == 2 then print(info.code) end
      end, reconnect = false }:connect()
      websocket.run(10)
    ]], s:url())
    assert.equal("open", process.pipe:read("l"))
    debug.getmetatable(s.server).__gc(s.server)
    collect()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("1001\n", (helper.finish(process)))
    assert.same({}, s.events)
  end)

  if helper.version ~= "jit" and helper.version >= "5.4" then
    it("a <close> variable closes it", function()
      local s = assert(load [[
        local websocket = ...
        local kept
        do
          local server <close> = websocket.listen { address = "127.0.0.1:0", onreceive = function() end }
          kept = server
          assert(server.state == "listening")
        end
        return kept
      ]])(websocket)
      assert.equal("closed", s.state)
      assert.is_true(websocket.run(helper.TIMEOUT))
    end)
  end

  local ends = {
    ["the end of the script"] = "", ["os.exit()"] = "os.exit()", ["os.exit(0, true)"] = "os.exit(0, true)",
    ["an error"] = "error('the end')",
  }
  for name, text in pairs(ends) do
    it("at " .. name .. ", with connections, requests and a Unix socket: 1001, and no file is left", function()
      local path = helper.file()
      os.remove(path)
      local process = helper.start_script([[
        local websocket = require "websocket"
        local path = ...
        local open, asked = 0, nil
        local function onrequest(request)
          if request.path ~= "/later" then return end
          asked = request
          return request
        end
        local function onreceive(type) if type == 1 then open = open + 1 end end
        local unix = websocket.listen { address = "unix:" .. path, onreceive = onreceive }
        local server = websocket.listen { address = "127.0.0.1:0", onreceive = onreceive, onrequest = onrequest }
        print(server.port)
        io.stdout:flush()
        repeat websocket.poll(0.1) until open == 3 and asked
        print("leaving")
        io.stdout:flush()
      ]] .. text, path)
      local port = process.pipe:read("n", "l")
      local function connect(url) return helper.client { url = url, reconnect = false } end
      local url = ("ws://127.0.0.1:%d/"):format(port)
      local clients = { connect(("ws+unix:%s:/"):format(path)), connect(url), connect(url) }
      local later = connect(url .. "later")
      for i = 1, 3 do assert.equal(1001, clients[i]:get("CLOSE").info.code) end
      later:get("ERROR")
      process.pipe:read("l")
      local output, code, seconds = helper.finish(process)
      if name == "an error" then assert.truthy(output:find("the end", 1, true)) else assert.equal("", output) end
      assert.equal(name == "an error" and 1 or 0, code)
      assert.is_true(seconds < 2, seconds)
      assert.is_nil(io.open(path))
      assert.not_equal(true, os.execute("test -e " .. path))
      assert.is_false(helper.is_listening(port))
    end)
  end

  it("reuseport: two processes share a port; without it the second is refused", function()
    local s = own.listen { reuseport = true }
    local process = helper.start_script([[
      local websocket = require "websocket"
      local address = ...
      local function onreceive(type, _, _, _, ws)
        if type == 1 then ws:sendText("other") end
      end
      print(pcall(websocket.listen, { address = address, onreceive = onreceive }))
      websocket.listen { address = address, reuseport = true, onreceive = onreceive }
      print("ready")
      io.stdout:flush()
      websocket.run(20)
    ]], s.server.address)
    assert.truthy(process.pipe:read("l"):find("Address already in use", 1, true))
    assert.equal("ready", process.pipe:read("l"))
    local mine, others = 0, 0
    for _ = 1, 200 do
      if mine > 0 and others > 0 then break end
      local before = #s.accepted
      local c = helper.client { url = s:url(), reconnect = false }:open()
      helper.wait(function() return #s.accepted > before or c:count("TEXT") > 0 end, "one of the two")
      if #s.accepted > before then mine = mine + 1 else others = others + 1 end
      c:close()
    end
    process:stop("KILL")
    assert.is_true(mine > 0 and others > 0, mine .. " " .. others)
  end)

  describe("in several Lua states", function()
    local host
    lazy_setup(function() host = helper.host("host") end)

    local function run(text, how, ...)
      local arguments = { ... }
      arguments[#arguments + 1] = helper.write_script(text)
      arguments[#arguments + 1] = "unused"
      return helper.finish(helper.start(host, how, table.unpack(arguments)))
    end

    local talk = [[
      local websocket = require "websocket"
      local got = {}
      local server = websocket.listen { address = "127.0.0.1:0", onreceive = function(type, data, _, _, ws)
        if type == 0 then ws:sendText(data) end
      end }
      local ws = websocket.WebSocket { url = "ws://" .. server.address, onreceive = function(type, data, _, _, ws)
        if type == 1 then for i = 1, 100 do ws:sendText(name .. i) end end
        if type == 0 then got[#got + 1] = data end
      end, reconnect = false }
      ws:connect()
      repeat websocket.poll(1) until #got == 100
    ]]

    it("one after the other, each closed with a server and connections", function()
      if not host then return pending("needs cc and Lua's headers") end
      local output, code = run(talk, "cycles", 5)
      assert.equal(0, code, output)
    end)

    it("two on threads of their own", function()
      if not host then return pending("needs cc and Lua's headers") end
      local output, code = run(talk .. [[
        for i = 1, 100 do assert(got[i] == name .. i) end
        server:close()
        assert(websocket.run(10) and server.state == "closed")
      ]], "threads")
      assert.equal(0, code, output)
    end)

    it("fork: closed in the child, which can listen anew; the parent's goes on with its connections", function()
      if not host then return pending("needs cc and Lua's headers") end
      local output, code = run(talk .. [[
        local address = server.address
        return function()
          if name == "parent" then
            got = {}
            for i = 1, 100 do ws:sendText("again" .. i) end
            repeat websocket.poll(1) until #got == 100
            print("parent", server.state, server.connections, server.address == address)
            return true
          end
          print("child", server.state, server.connections, websocket.run(1), ws.state)
          server:close()
          local other = websocket.listen { address = "127.0.0.1:0", onreceive = function(type, data, _, _, ws)
            if type == 0 then ws:sendText("child " .. data) end
          end }
          got = {}
          local mine = websocket.WebSocket { url = "ws://" .. other.address, onreceive = function(type, data, _, _, ws)
            if type == 1 then ws:sendText("hello") end
            if type == 0 then got[1] = data other:close() end
          end, reconnect = false }
          mine:connect()
          print(websocket.run(5), got[1], other.state)
          -- The parent's listens still.
          local visitor = websocket.WebSocket { url = "ws://" .. address, reconnect = false }
          visitor:connect()
          visitor:close()
          return true
        end
      ]], "children", 1)
      local parent = "parent\tlistening\t1\ttrue\n"
      local child = "child\tclosed\t0\ttrue\tclosed\ntrue\tchild hello\tclosed\n"
      assert.equal(child .. parent .. parent, (output:gsub("done\n", "")))
      assert.equal(0, code)
    end)

    it("fork: the port and the Unix socket are free once the parent has closed, though the child lives", function()
      if not host then return pending("needs cc and Lua's headers") end
      local path = helper.file()
      os.remove(path)
      local output, code = run(([[
        local websocket = require "websocket"
        local function onreceive() end
        local options = { address = "127.0.0.1:0", onreceive = onreceive }
        local server = websocket.listen(options)
        local unix = websocket.listen { address = "unix:%s", onreceive = onreceive }
        local ws = websocket.WebSocket { url = "ws://" .. server.address, reconnect = false }
        ws:connect()
        assert(ws:waitopen(5))
        local reader = io.popen("sleep 5; echo over")
        local child = fork()
        if child == 0 then
          -- Lives on with copies of the descriptors, and notices the fork at its next call.
          websocket.poll()
          for _ = 1, 20 do websocket.poll(0.1) end
          leave()
        end
        websocket.poll()
        options.address = server.address
        server:close()
        unix:close()
        local again = websocket.listen(options)
        local other = websocket.WebSocket { url = "ws://" .. again.address, reconnect = false }
        other:connect()
        print(other:waitopen(5), again.address == options.address, ws.state)
        print(io.open(%q))
        again:close()
        other:close()
        assert(websocket.run(5))
        os.exit(true, false)
      ]]):format(path, path), "cycles", 1)
      assert.equal(0, code, output)
      assert.truthy(output:find("^true\ttrue\t"), output)
      assert.truthy(output:find("\nnil\t", 1, true), output)
    end)

    it("the host closes the engine's descriptors: the server is closed, connections get ERROR and CLOSE", function()
      if not host then return pending("needs cc and Lua's headers") end
      local output, code = run([[
        local websocket = require "websocket"
        local log = {}
        local server = websocket.listen { address = "127.0.0.1:0", onreceive = function(type) log[#log + 1] = type end }
        local ws = websocket.WebSocket { url = "ws://" .. server.address, reconnect = false }
        ws:connect()
        repeat websocket.poll(0.1) until log[1] == 1 and ws.state == "open"
        local file = io.open("/proc/self/stat")
        local pipe = io.popen(("ls -l /proc/%d/fd"):format(file:read("n")))
        local found = {}
        for line in pipe:lines() do
          local number, target = line:match("(%d+) %-> (.*)")
          if number and target:find("eventpoll") then found[#found + 1] = tonumber(number) end
        end
        pipe:close()
        for _, number in ipairs(found) do shut(number) end
        print(websocket.run(5), table.concat(log, " "), server.state, server.connections)
        local again = websocket.listen { address = "127.0.0.1:0", onreceive = function() end }
        ws = websocket.WebSocket { url = "ws://" .. again.address, reconnect = false }
        ws:connect()
        print(ws:waitopen(5))
      ]], "cycles", 1)
      assert.equal("true\t1 3 2\tclosed\t0\ntrue\n", (output:gsub("done\n", "")))
      assert.equal(0, code)
    end)
  end)
end)
