-- The limits and timeouts of a server and of the websockets that it has accepted; server:close.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local websocket, raises = helper.websocket, helper.raises

describe("a server's limits:", function()
  after_each(own.clean_up)

  it("maxmessagesize: 1009, 1 MiB by default", function()
    for _, size in ipairs { 100, 2 ^ 20 } do
      local s = own.listen { maxmessagesize = size == 100 and size or nil }
      local c = s:pair()
      c.ws:sendBinary(("x"):rep(size))
      c:get("BINARY")
      c.ws:sendBinary(("x"):rep(size + 1))
      assert.equal(1009, c:get("CLOSE").info.code)
      assert.equal("size", s:get("ERROR").info.kind)
    end
  end)

  it("maxbuffered: a send beyond it raises, and the connection goes on; 1 MiB by default", function()
    for _, limit in ipairs { 2 ^ 16, 2 ^ 20 } do
      local s = own.listen { maxbuffered = limit == 2 ^ 16 and limit or nil, echo = false }
      local c, ws = s:pair()
      local err = raises("maxbuffered", function() ws:sendBinary(("x"):rep(limit + 1)) end)
      assert.truthy(err:find("send", 1, true), err)
      ws:sendText("x")
      assert.equal("x", c:get("TEXT").data)
    end
  end)

  it("maxqueued: the client is not read until the script has caught up, and no event is lost", function()
    local s = own.listen { maxqueued = 2 ^ 16, echo = false }
    local c = s:pair { maxbuffered = 2 ^ 26 }
    -- Another process waits here for the kernel to take what it can.
    for i = 1, 320 do c.ws:sendBinary(("%5d"):format(i):rep(10000)) end
    helper.compute(0.3)
    assert.is_true(c.ws.bufferedamount > 2 ^ 20, c.ws.bufferedamount)
    for i = 1, 320 do assert.equal(i, tonumber(s:get("BINARY", i).data:sub(1, 5))) end
  end)

  it("maxconnections: the next is accepted when one ends", function()
    local lines = {}
    local s = own.listen { maxconnections = 2, debug = function(line) lines[#lines + 1] = line end }
    local a, b = s:pair(), s:pair()
    local third, fourth = helper.client(s:url()), helper.client(s:url())
    websocket.run(0.2)
    assert.same({ "", "" }, { third:list(), fourth:list() })
    assert.equal(2, s.server.connections)
    assert.truthy(table.concat(lines, "\n"):find("accepting pauses", 1, true))
    a:close()
    helper.wait(function() return third:count("OPEN") + fourth:count("OPEN") == 1 end, "one more")
    b:close()
    helper.wait(function() return third:count("OPEN") + fourth:count("OPEN") == 2 end, "both")
    third.ws:sendText("x")
    third:get("TEXT")
  end)

  it("maxconnections: those that have sent no request count, too", function()
    local accepted = 0
    local s = own.listen { maxconnections = 1, connecttimeout = 0.3, debug = function(line)
      if line:find(": accepted", 1, true) then accepted = accepted + 1 end
    end }
    local silent = own.silent(s.server.port)
    helper.wait(function() return accepted == 1 end, "the silent client")
    local c = helper.client(s:url()):open()
    local answer = helper.finish(silent)
    assert.truthy(answer:find("^HTTP/1.1 408 "), answer)
    c:close()
  end)

  it("no descriptor left: accepting pauses, other connections go on, nothing spins; later it goes on", function()
    local process = helper.start("bash", "-c", ("ulimit -n 64; exec %s %s"):format(helper.lua, helper.write_script [[
      local websocket = require "websocket"
      local files, pauses, cpu = {}, 0, nil
      local server = websocket.listen { address = "127.0.0.1:0",
        debug = function(line)
          if line:find("accepting pauses: .*Too many open files") then pauses = pauses + 1 end
        end,
        onreceive = function(type, data, _, _, ws)
          if type ~= 0 then return end
          if data == "fill" then repeat files[#files + 1] = io.open("/dev/null") until not io.open("/dev/null") end
          if data == "free" then
            for _, file in ipairs(files) do file:close() end
            print(pauses > 0, pauses < 100, os.clock() - cpu < 0.3)
            io.stdout:flush()
          end
          cpu = os.clock()
          ws:sendText(data)
        end }
      print(server.port)
      io.stdout:flush()
      websocket.run(20)
    ]]))
    local url = ("ws://127.0.0.1:%d/"):format(process.pipe:read("n", "l"))
    local first = helper.client { url = url, reconnect = false }
    first:open()
    first.ws:sendText("fill")
    first:get("TEXT")
    local second = helper.client { url = url, reconnect = false }
    websocket.run(0.5)
    assert.equal("", second:list())
    first.ws:sendText("still")
    assert.equal("still", first:get("TEXT", 2).data)
    first.ws:sendText("free")
    second:open()
    assert.equal("true\ttrue\ttrue", process.pipe:read("l"))
    process:stop("KILL")
  end)

  describe("connecttimeout", function()
    it("is for the whole request: 408", function()
      local s = own.listen { connecttimeout = 0.2 }
      for _, start in ipairs { "", "GET / HT", own.request():sub(1, -3) } do
        local answer = own.ask(s.server.port, start)
        assert.truthy(answer:find("^HTTP/1.1 408 "), answer)
        assert.truthy(answer:find("0.2 s", 1, true), answer)
      end
      assert.same({}, s.events)
    end)

    it("does not end an open connection", function()
      local s = own.listen { connecttimeout = 0.1 }
      local c = s:pair()
      websocket.run(0.3)
      c.ws:sendText("x")
      c:get("TEXT")
    end)
  end)

  it("closetimeout: a client that does not answer the Close", function()
    local s = own.listen { closetimeout = 0.2 }
    s.server:close()
    s = own.listen { closetimeout = 0.2, onreceive = function(kind, _, _, _, ws)
      if kind == helper.types.OPEN then ws:close(4000) end
    end }
    local answer = own.ask(s.server.port, own.request())
    assert.equal("\136\2\15\160", answer:match("\r\n\r\n(.*)$"))
    local close = s:get("CLOSE")
    assert.equal(1006, close.info.code)
    assert.truthy(close.err:find("closetimeout", 1, true), close.err)
  end)

  it("pinginterval and pongtimeout: a client that is silent", function()
    local s = own.listen { pinginterval = 0.1, pongtimeout = 0.2 }
    local answer = own.ask(s.server.port, own.request())
    assert.equal("\137", answer:match("\r\n\r\n(.)"))
    assert.equal("timeout", s:get("ERROR").info.kind)
    assert.equal(1006, s:get("CLOSE").info.code)
  end)

  it("pinginterval: a client that answers stays, and latency is known", function()
    local s = own.listen { pinginterval = 0.05, pongtimeout = 1 }
    local c, ws = s:pair()
    helper.wait(function() return ws.latency end, "a pong")
    assert.is_true(ws.latency < 1)
    assert.equal("open", c.ws.state)
    -- The pongs of these pings are not delivered.
    for _, event in ipairs(s.events) do assert.not_equal("PONG", event.type) end
  end)
end)

describe("server:close", function()
  after_each(own.clean_up)

  it("closes each connection with 1001, and run returns after their CLOSE events", function()
    local s = own.listen {}
    local clients = {}
    for i = 1, 5 do clients[i] = s:pair() end
    s.server:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
    for i = 1, 5 do
      assert.same({ code = 1001, reason = "", clean = true, remote = true, unsent = 0 }, clients[i]:get("CLOSE").info)
      assert.same({ code = 1001, reason = "", clean = true, remote = false, unsent = 0 }, s:get("CLOSE", i).info)
    end
    assert.equal("closed", s.server.state)
    -- Again, it does nothing.
    s.server:close(4000)
    assert.equal("closed", s.server.state)
  end)

  it("with a code and a reason", function()
    local s = own.listen {}
    local c = s:pair()
    s.server:close(4001, "maintenance")
    local info = c:get("CLOSE").info
    assert.same({ 4001, "maintenance" }, { info.code, info.reason })
  end)

  for _, case in ipairs {
    { 999 }, { 1005 }, { 5000 }, { "x" }, { 1001, ("x"):rep(124) }, { 1000, "\255" }, { 1001, {} }, { 1006 }, { 1015 },
  } do
    it("refuses " .. tostring(case[1]) .. " with " .. #tostring(case[2]) .. " bytes", function()
      local s = own.listen {}
      local c = s:pair()
      assert.is_false(pcall(s.server.close, s.server, case[1], case[2]))
      assert.equal("listening", s.server.state)
      c.ws:sendText("x")
      c:get("TEXT")
    end)
  end

  it("takes 1001 itself, with a reason", function()
    local s = own.listen {}
    local c = s:pair()
    s.server:close(1001, "night")
    assert.equal("night", c:get("CLOSE").info.reason)
  end)

  it("ends a connection whose request is not whole, or is not answered", function()
    local waiting
    local s = own.listen { onrequest = function(request) waiting = request return request end }
    local client = helper.client { url = s:url(), reconnect = false }
    local silent = own.silent(s.server.port)
    helper.wait(function() return waiting end, "the request")
    s.server:close()
    client:get("ERROR")
    helper.wait(function() return silent:ended() end, "the end")
    assert.is_false(waiting:answer(true))
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("closed", s.server.state)
  end)

  it("frees the port at once, also while its connections are being closed", function()
    local s = own.listen {}
    local c = s:pair()
    local address = s.server.address
    s.server:close()
    local again = own.listen { address = address }
    assert.equal(address, again.server.address)
    c:get("CLOSE")
    again:pair()
  end)

  it("before the OPEN of a connection was delivered: run delivers that, and its CLOSE", function()
    local s = own.listen {}
    -- The client is in another process, so that no poll here delivers the events.
    local process = helper.start_script([[
      local websocket = require "websocket"
      local ws = websocket.WebSocket { url = ..., onreceive = function(type, _, _, info)
        if type == 1 then print("open") io.stdout:flush() end
        if type == 2 then print(info.code) end
      end, reconnect = false }
      ws:connect()
      websocket.run(10)
    ]], s:url())
    assert.equal("open", process.pipe:read("l"))
    s.server:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.same({ "OPEN", "CLOSE" }, { s.events[1].type, s.events[2].type })
    assert.equal("1001\n", (helper.finish(process)))
  end)

  it("from a callback of its own", function()
    local s
    s = own.listen { onreceive = function(kind) if kind == helper.types.TEXT then s.server:close() end end }
    local c = s:pair()
    c.ws:sendText("x")
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("OPEN TEXT CLOSE", c:list())
    assert.equal(1001, c:get("CLOSE").info.code)
  end)

  it("of one server does not touch another", function()
    local a, b = own.listen {}, own.listen {}
    local c, d = a:pair(), b:pair()
    a.server:close()
    c:get("CLOSE")
    d.ws:sendText("x")
    assert.equal("x", d:get("TEXT").data)
    assert.same({ "closed", "listening" }, { a.server.state, b.server.state })
  end)

  it("closes TCP at once after the closing handshake, as a client may wait for it (RFC 6455 7.1.1)", function()
    helper.within(2, function()
      local s = own.listen {}
      own.ask(s.server.port, own.request() .. "\136\130\0\0\0\0\3\232")
    end)
  end)
end)
