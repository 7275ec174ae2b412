-- websocket.listen: addresses, wrong options, what an accepted websocket is, limits, close.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local websocket, raises = helper.websocket, helper.raises

describe("a server:", function()
  after_each(own.clean_up)

  local function nothing() end

  describe("its address", function()
    --- Asserts that a client reaches the server at this host.
    local function reaches(server, host)
      local c = helper.client { url = ("ws://%s:%d/"):format(host, server.port), reconnect = false }
      c:open()
      c.ws:sendText("x")
      assert.equal("x", c:get("TEXT").data)
      c:close()
    end

    local function refuses(server, host)
      local c = helper.client { url = ("ws://%s:%d/"):format(host, server.port), reconnect = false }
      assert.equal("connect", c:get("ERROR").info.kind)
    end

    it("of IPv4, with port 0: address and port are the real ones", function()
      local s = own.listen {}
      assert.is_true(s.server.port > 0)
      assert.equal("127.0.0.1:" .. s.server.port, s.server.address)
      reaches(s.server, "127.0.0.1")
      refuses(s.server, "[::1]")
      assert.equal("127.0.0.1", (s:get("OPEN").info.address:match("^(.*):%d+$")))
    end)

    it("of IPv6 in brackets", function()
      local s = own.listen { address = "[::1]:0" }
      assert.equal("[::1]:" .. s.server.port, s.server.address)
      reaches(s.server, "[::1]")
      refuses(s.server, "127.0.0.1")
      assert.equal("[::1]", (s:get("OPEN").info.address:match("^(.*):%d+$")))
    end)

    it("localhost: 127.0.0.1 and ::1 at one port", function()
      local s = own.listen { address = "localhost:0" }
      assert.equal("127.0.0.1:" .. s.server.port, s.server.address)
      reaches(s.server, "127.0.0.1")
      reaches(s.server, "[::1]")
      s.server:close()
      refuses(s.server, "127.0.0.1")
      refuses(s.server, "[::1]")
    end)

    it("with a port only: every address, IPv4 and IPv6", function()
      -- Both families of this machine, and only them.
      local s = own.listen { address = ":0" }
      assert.equal("[::]:" .. s.server.port, s.server.address)
      reaches(s.server, "127.0.0.1")
      reaches(s.server, "[::1]")
      reaches(s.server, "127.0.0.7")
      assert.equal("127.0.0.1", (s:get("OPEN").info.address:match("^(.*):%d+$")))
    end)

    it("with a port of its own", function()
      local port = helper.free_port()
      assert.equal(port, own.listen { address = "127.0.0.1:" .. port }.server.port)
    end)

    it("in use", function()
      local first = own.listen {}
      local address = first.server.address
      local words = ("WebSocket server can't listen at %s: Address already in use"):format(address)
      local err = raises(words, websocket.listen, { address = address, onreceive = nothing })
      assert.truthy(err:find(words .. "$"), err)
      raises(words:gsub("127.0.0.1", ""), websocket.listen, { address = ":" .. first.server.port, onreceive = nothing })
      -- ::1 of localhost is free, 127.0.0.1 is not; and the other way round nothing stays bound.
      raises("Address already in use", websocket.listen,
        { address = "localhost:" .. first.server.port, onreceive = nothing })
      own.listen { address = "[::1]:" .. first.server.port }
    end)

    it("localhost, whose ::1 is in use: 127.0.0.1 is free again", function()
      local port = own.listen { address = "[::1]:0" }.server.port
      local address = "localhost:" .. port
      raises("Address already in use", websocket.listen, { address = address, onreceive = nothing })
      own.listen { address = "127.0.0.1:" .. port }
    end)

    it("that this machine does not have", function()
      raises("WebSocket server can't listen at 192.0.2.1:0: Cannot assign requested address", websocket.listen,
        { address = "192.0.2.1:0", onreceive = nothing })
    end)

    for address, words in pairs {
      ["127.0.0.1"] = "no port", ["127.0.0.1:"] = "no port", ["127.0.0.1:65536"] = "no port",
      ["127.0.0.1:+1"] = "no port", ["127.0.0.1:-1"] = "no port", [""] = "no port", ["::1"] = "IP address",
      ["example.com:80"] = "localhost or an IP address", ["[127.0.0.1]:80"] = "IP address", ["[::1:80"] = "IP address",
      ["ws://127.0.0.1:80"] = "IP address", ["127.0.0.1:80\0"] = "NUL", ["unix:s.sock"] = "unix:", ["unix:"] = "unix:",
      ["unix:/" .. ("a"):rep(107)] = "107 bytes", ["[fe80::1%nosuch0]:0"] = "can't listen",
    } do
      it(("%q is refused"):format(address:sub(1, 20)), function()
        local err = raises(words, websocket.listen, { address = address, onreceive = nothing })
        if not address:find("fe80") then assert.truthy(err:find("WebSocket server option 'address' ", 1, true), err) end
      end)
    end
  end)

  describe("a Unix socket", function()
    local function listen(name, options)
      options = options or {}
      options.address = "unix:" .. name
      return own.listen(options)
    end
    local function exists(name) return os.execute("test -S " .. name) == true end
    local function path()
      local name = helper.file()
      os.remove(name)
      return name
    end

    it("passes messages; its file is removed at close", function()
      local name = path()
      local s = listen(name)
      assert.equal("unix:" .. name, s.server.address)
      assert.equal(0, s.server.port)
      assert.is_true(exists(name))
      local c = helper.client { url = "ws+unix:" .. name .. ":/a?b", reconnect = false }
      c:open()
      c.ws:sendText("x")
      assert.equal("x", c:get("TEXT").data)
      local request = s:get("OPEN").info.request
      assert.equal("unix:" .. name, request.address)
      assert.equal("/a", request.path)
      s.server:close()
      assert.is_false(exists(name))
      c:get("CLOSE")
    end)

    it("whose file a dead server has left is replaced", function()
      local name = path()
      local bind = " -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(%q)'"
      helper.output(helper.python .. bind:format(name))
      assert.is_true(exists(name))
      listen(name)
      helper.client { url = "ws+unix:" .. name .. ":/", reconnect = false }:open()
    end)

    it("of a live server is refused, and that goes on", function()
      local name = path()
      listen(name)
      raises(("can't listen at unix:%s: Address already in use"):format(name), websocket.listen,
        { address = "unix:" .. name, onreceive = nothing })
      helper.client { url = "ws+unix:" .. name .. ":/", reconnect = false }:open()
    end)

    it("in the place of another file, or in no folder, is refused", function()
      local name = helper.write_file("precious")
      raises("Address already in use", websocket.listen, { address = "unix:" .. name, onreceive = nothing })
      assert.equal("precious", helper.read_file(name))
      raises("No such file or directory", websocket.listen, { address = "unix:/nowhere/s.sock", onreceive = nothing })
    end)

    it("whose file was replaced by another: close does not remove that", function()
      local name = path()
      local first = listen(name)
      os.remove(name)
      local second = listen(name)
      first.server:close()
      assert.is_true(exists(name))
      helper.client { url = "ws+unix:" .. name .. ":/", reconnect = false }:open()
      second.server:close()
      assert.is_false(exists(name))
    end)
  end)

  describe("options:", function()
    local function refuses(words, options)
      options.address = options.address or "127.0.0.1:0"
      options.onreceive = options.onreceive or nothing
      return raises("WebSocket server option " .. words, websocket.listen, options)
    end

    it("onreceive and address are required; the argument is a table", function()
      raises("WebSocket server option 'onreceive' is missing", websocket.listen, { address = "127.0.0.1:0" })
      raises("WebSocket server option 'address' is missing", websocket.listen, { onreceive = nothing })
      raises("table expected", websocket.listen)
      raises("table expected", websocket.listen, "127.0.0.1:0")
    end)

    for name, value in pairs {
      foo = 1, url = "ws://a", reconnect = true, proxy = false, onattempt = nothing, localaddress = "127.0.0.1",
      minreconnectwait = 1, maxredirects = 1,
    } do
      it(name .. " is unknown", function() refuses(("'%s' is unknown"):format(name), { [name] = value }) end)
    end

    for _, case in ipairs {
      { "onreceive", 5, "a function" }, { "onrequest", true, "a function" }, { "debug", "f", "a function" },
      { "address", 5, "a string" }, { "origins", true, "a string or a list" }, { "origins", { 5 }, "strings" },
      { "origins", "https://a/b", "must have origins as browsers send them" },
      { "origins", { "example.com" }, "example.com" }, { "origins", { "https://a", "" }, "origins" },
      { "protocols", "a", "a list" }, { "protocols", { "a b" }, "" }, { "protocols", { "a", "a" }, "twice" },
      { "maxconnections", -1, "whole number" }, { "maxconnections", 0.5, "whole number" },
      { "maxconnections", "1", "a number" }, { "backlog", 0, "from 1 to 65535" }, { "backlog", 65536, "from 1" },
      { "reuseport", 1, "a boolean" }, { "connecttimeout", -1, "seconds" }, { "closetimeout", 0 / 0, "seconds" },
      { "pinginterval", -1, "seconds" }, { "pongtimeout", -1, "seconds" }, { "maxmessagesize", -1, "whole number" },
      { "maxbuffered", {}, "a number" }, { "maxqueued", -1, "whole number" },
      { "deflate", "x", "a boolean or a table" },
      { "deflate", { level = 10 }, "from 0 to 9" }, { "headers", { Upgrade = "x" }, "Upgrade" },
      { "headers", { ["a b"] = "x" }, "" }, { "headers", { a = "x\r\ny" }, "" }, { "headers", "a", "{name = value}" },
      { "headers", { ["Sec-WebSocket-Accept"] = "x" }, "Sec-WebSocket-Accept" },
      { "tls", true, "a table" }, { "tls", {}, "cert" }, { "tls", { verify = false }, "is unknown" },
      { "tls", { cert = "/nowhere/cert.pem" }, "/nowhere/cert.pem" }, { "tls", { cert = helper.folder }, "" },
      { "tls", { minversion = "1.1" }, "minversion" }, { "tls", { pin = "sha256//" }, "is unknown" },
    } do
      local name, value, words = case[1], case[2], case[3]
      it(("%s: a wrong value (%s)"):format(name, words), function()
        local err = refuses("'" .. name, { [name] = value })
        assert.truthy(err:find(words, 1, true), err)
      end)
    end

    it("that are wrong leave nothing behind", function()
      local port = helper.free_port()
      refuses("'foo'", { address = "127.0.0.1:" .. port, foo = 1 })
      refuses("'tls': the file", { address = "127.0.0.1:" .. port, tls = { cert = "/nowhere/cert.pem" } })
      assert.is_false(helper.is_listening(port))
      assert.is_true(websocket.run(0))
    end)

    it("onreceive may be any callable object", function()
      local events = {}
      local object = setmetatable({}, { __call = function(_, kind) events[#events + 1] = kind end })
      local server = websocket.listen { address = "127.0.0.1:0", onreceive = object }
      helper.client { url = "ws://" .. server.address, reconnect = false }:open():close()
      helper.wait(function() return #events == 2 end, "the events")
      assert.same({ 1, 2 }, events)
      server:close()
    end)
  end)

  describe("its properties", function()
    it("can't be set; unknown ones are nil; getmetatable tells nothing", function()
      local server = own.listen {}.server
      raises("can't be set", function() server.port = 5 end)
      raises("can't be set", function() server.x = 5 end)
      assert.is_nil(server.x)
      assert.is_nil(server[1])
      assert.equal("WebSocketServer", getmetatable(server))
      assert.truthy(tostring(server):find("^WebSocketServer: "))
    end)

    it("its methods want a server", function()
      local s = own.listen {}
      local close = s.server.close
      for _, value in ipairs { 5, "x", {}, io.stdout, helper.client(s:url()).ws } do
        raises("WebSocketServer expected", close, value)
      end
      raises("WebSocketServer expected", close)
      raises("WebSocket expected", s:accept().ws.close, s.server)
    end)

    it("state and connections go through listening, closing, closed", function()
      local s = own.listen { closetimeout = 0.5 }
      assert.same({ "listening", 0 }, { s.server.state, s.server.connections })
      local a = s:pair()
      -- This one does not answer the Close.
      local name = helper.write_file(helper.hex(own.request()))
      local deaf = helper.start(helper.python, helper.folder .. "/servers/asker.py", s.server.port, name, "/dev/null")
      s:get("OPEN", 2)
      assert.same({ "listening", 2 }, { s.server.state, s.server.connections })
      a:close()
      helper.wait(function() return s.server.connections == 1 end, "one connection")
      s.server:close()
      assert.same({ "closing", 1 }, { s.server.state, s.server.connections })
      s:get("CLOSE", 2)
      assert.same({ "closed", 0 }, { s.server.state, s.server.connections })
      deaf:stop()
    end)
  end)
end)
