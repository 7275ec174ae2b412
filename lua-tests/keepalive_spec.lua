local helper = require "helper"
local websocket = helper.websocket

describe("keepalive:", function()
  local raw, python
  lazy_setup(function() raw, python = helper.serve("raw"), helper.serve("python") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  local keys = 0
--- Connects to a server that counts pings; `how` is the query of its other behaviour (see beats in raw.py). Returns
--- the client, a function that returns the number of pings, and the URL that it asks.
  local function beats(how, options)
    keys = keys + 1
    options.url = raw:url("/beats?key=keepalive%d%s", keys, how)
    options.maxreconnectwait = 0.01
    local c, url = helper.client(options), raw:url("/pings?key=keepalive%d", keys)
    return c:open(), function() return tonumber(helper.client(url):get("TEXT").data) end, url
  end

  --- Delivers events for `seconds`.
  local function during(seconds)
    local from = helper.now()
    helper.wait(function() return helper.now() - from >= seconds end, seconds .. " s")
  end

--- Asserts that, with a pinginterval of 0.2 s, no ping is sent for 0.5 s, in one of five tries: a server may be late.
  local function sends_none(pings)
    helper.one_of_five(function()
      local before = pings()
      during(0.5)
      return pings() == before, "a ping"
    end)
  end

  --- Asserts an ERROR that names pongtimeout, then CLOSE 1006. Returns CLOSE's info.
  local function is_gone(c, seconds)
    local event = c:get("ERROR")
    assert.equal("timeout", event.info.kind)
    assert.truthy(event.err:find("pongtimeout", 1, true), event.err)
    assert.truthy(event.err:find(seconds .. " s", 1, true), event.err)
    local info = c:get("CLOSE").info
    assert.equal(1006, info.code)
    assert.is_false(info.clean)
    assert.is_false(info.remote)
    assert.equal(1, c:count("ERROR"))
    return info
  end

  it("is off by default, and with a pinginterval of 0", function()
    local default, pings = beats("", {})
    local off, more = beats("", { pinginterval = 0, pongtimeout = 0.01 })
    during(0.3)
    assert.equal(0, pings())
    assert.equal(0, more())
    assert.is_nil(default.ws.latency)
    assert.equal("OPEN", default:list())
    assert.equal("OPEN", off:list())
  end)

  it("sends a ping each pinginterval; neither ping nor pong is an event", function()
    local started = helper.now()
    local c, pings = beats("", { pinginterval = 0.1 })
    helper.within(0.7, function()
      local enough = pings() + 4
      helper.wait(function() return pings() >= enough end, "four pings")
    end)
    local count = pings()
    assert.is_true(count <= (helper.now() - started) / 0.1 + 1, count)
    assert.equal("OPEN", c:list())
  end)

  it("measures the latency from the pongs of its own pings", function()
    local c = beats("", { pinginterval = 0.2 })
    assert.is_nil(c.ws.latency)
    helper.wait(function() return c.ws.latency end, "the latency")
    assert.equal("float", math.type(c.ws.latency))
    assert.is_true(c.ws.latency > 0, c.ws.latency)
    -- On a busy machine only some pings are that fast; if the interval were counted in, none would be.
    helper.wait(function() return c.ws.latency < 0.05 end, function() return "less than " .. c.ws.latency end)
  end)

  it("measures the latency as the time from ping to pong", function()
    local c = beats("&delay=0.2", { pinginterval = 0.05 })
    helper.wait(function()
      assert.is_true((c.ws.latency or 1) >= 0.19, c.ws.latency)
      return c.ws.latency and c.ws.latency < 0.39
    end, function() return "less than " .. tostring(c.ws.latency) end)
  end)

  it("delivers the pongs of the script's own pings", function()
    local c = beats("", { pinginterval = 0.02 })
    helper.wait(function() return c.ws.latency end, "the latency")
    for _, payload in ipairs { "mine", "", ("x"):rep(8), ("y"):rep(125) } do
      c.ws:sendPing(payload)
      assert.equal(payload, c:get("PONG", c:count("PONG") + 1).data)
    end
    during(0.1)
    assert.equal(4, c:count("PONG"))
  end)

  it("delivers unsolicited pongs: they are signs of life but set no latency", function()
    local c, pings = beats("&pong=other", { pinginterval = 0.05, pongtimeout = 1 })
    during(1.2)
    assert.equal("other", c:get("PONG", 5).data)
    assert.is_nil(c.ws.latency)
    assert.equal(0, c:count("ERROR"))
    assert.is_true(pings() >= 5)
  end)

  -- A ping is sent all the same when we have sent nothing: servers drop silent clients.
  it("accepts any message as a sign of life", function()
    -- An empty text
    local c, pings = beats("&answers=0&beat=8100&every=0.03", { pinginterval = 0.2, pongtimeout = 1 })
    helper.wait(function() return pings() >= 2 end, "two pings")
    c:get("TEXT", 50)
    assert.equal("open", c.ws.state)
    assert.equal(0, c:count("ERROR"))
  end)

  it("accepts any byte as a sign of life", function()
    -- The start of a binary message of 4096 bytes, then one byte at a time
    local c, pings = beats("&answers=0&first=827e1000&beat=00&every=0.03", { pinginterval = 0.2, pongtimeout = 1 })
    helper.wait(function() return pings() >= 7 end, "pings for longer than pongtimeout")
    assert.equal("OPEN", c:list())
  end)

  it("accepts the server's pings as signs of life; our pongs count as sent data", function()
    local c, pings = beats("&answers=0&beat=8900&every=0.03", { pinginterval = 0.2, pongtimeout = 1 })
    sends_none(pings)
    c:get("PING", 10)
    assert.equal(0, c:count("ERROR"))
  end)

  -- The thread of the script writes them to the socket itself.
  it("counts the script's messages as sent data", function()
    local c, pings = beats("&answers=0&beat=8100&every=0.03", { pinginterval = 0.2, pongtimeout = 1 })
    local timer
    local function send()
      c.ws:sendText("message")
      timer = websocket.after(0.03, send)
    end
    send()
    sends_none(pings)
    timer:cancel()
    assert.equal(0, c:count("ERROR"))
  end)

  it("goes on pinging a server that answers no ping, with an infinite pongtimeout", function()
    local c, pings = beats("&answers=0", { pinginterval = 0.02, pongtimeout = math.huge })
    helper.wait(function() return pings() >= 5 end, "five pings")
    assert.equal("OPEN", c:list())
  end)

  it("counts from the last byte received, not from the last sent", function()
    local c, _, url = beats("", { pinginterval = 0.15 })
    local asking = helper.client(url)
    helper.wait(function()
      c.ws:sendText("chatter")
      if asking:count("TEXT") == 0 then return false end
      if asking:get("TEXT").data ~= "0" then return true end
      asking:close()
      asking = helper.client(url)
    end, "a ping")
    assert.equal(0, c:count("ERROR"))
  end)

  it("gives up a silent server after pongtimeout: ERROR, CLOSE 1006, and a new connection", function()
    local from = helper.now()
    local c = beats("&answers=0", { pinginterval = 0.1, pongtimeout = 0.2 })
    local info = is_gone(c, "0.2")
    assert.is_true(helper.now() - from >= 0.28)
    assert.equal("number", type(info.retryin))
    c:get("OPEN", 2)
    assert.truthy(c:list():find("^OPEN ERROR CLOSE OPEN"), c:list())
    -- The new connection has a keepalive, too.
    assert.equal("timeout", c:get("ERROR", 2).info.kind)
  end)

  it("gives up a server that stops answering", function()
    local c = beats("&answers=3", { pinginterval = 0.05, pongtimeout = 1.5, reconnect = false })
    is_gone(c, "1.5")
    assert.truthy(c.ws.latency)
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("OPEN ERROR CLOSE", c:list())
    assert.equal(1006, c.ws.closecode)
  end)

  it("gives up a server that reads nothing, and counts the unsent bytes", function()
    local large = ("x"):rep(32 << 20)
    local c = helper.client {
      url = raw:url("/frames?end=deaf"), pinginterval = 0.1, pongtimeout = 0.4, reconnect = false,
    }:open()
    c.ws:sendBinary(large)
    assert.is_true(is_gone(c, "0.4").unsent > 0)
    assert.equal(0, c.ws.bufferedamount)
  end)

  it("sends its ping in the middle of an upload, between messages", function()
    local c = helper.client { url = python:url("/count"), pinginterval = 0.01 }:open()
    for i = 1, 200 do c.ws:sendText(i, ("."):rep(100000)) end
    c.ws:sendText("end")
    assert.equal("200 in order", c:get("TEXT").data)
    assert.equal(0, c:count("ERROR"))
  end)

  it("works with compression", function()
    local c = helper.client { url = python:url("/echo"), pinginterval = 0.02, deflate = true }:open()
    for i = 1, 50 do c.ws:sendText(("again and "):rep(1000), i) end
    c:get("TEXT", 50)
    helper.wait(function() return c.ws.latency end, "the latency")
    assert.equal(0, c:count("ERROR") + c:count("PONG") + c:count("CLOSE"))
  end)

  it("goes on while the script computes", function()
    local c, _, url = beats("", { pinginterval = 0.05 })
    assert.is_true(helper.watch(url, 4) >= 4)
    assert.equal("OPEN", c:list())
  end)

  it("does not give up a server that is not read because the script does not poll", function()
    local c = helper.client {
      url = python:url("/flood?count=2000&size=5000"), maxqueued = 1 << 16, pinginterval = 0.05, pongtimeout = 1,
    }:open()
    helper.compute(1.5)
    c:get("TEXT", 2001)
    assert.equal(0, c:count("ERROR") + c:count("CLOSE"))
  end)

  it("counts bytes that came while the process was stopped", function()
    -- A pong comes 0.2 s after its ping. The process is stopped for longer than pongtimeout.
    keys = keys + 1
    local process = helper.start_script([[
      local websocket = require "websocket"
      local t = websocket.WebSocketMessageType
      local ws = websocket.WebSocket {
        url = ..., pinginterval = 0.05, pongtimeout = 1, reconnect = false,
        onreceive = function(type, data, err)
          if type == t.OPEN then print("open") io.stdout:flush() end
          if type == t.ERROR then print(err) end
        end,
      }
      ws:connect()
      os.exit(websocket.run(4), false)
    ]], raw:url("/beats?key=keepalive%d&delay=0.2", keys))
    assert.equal("open", process.pipe:read("l"))
    for _ = 1, 2 do
      during(0.2)
      process:signal("STOP")
      during(1.3)
      process:signal("CONT")
    end
    local output = helper.finish(process)
    assert.equal("", output)
  end)

  it("does not end a closing handshake, for which closetimeout counts", function()
    local c = helper.client {
      url = raw:url("/frames?end=mute"), pinginterval = 0.5, pongtimeout = 0.2, closetimeout = 1,
    }:open()
    local from = helper.now()
    assert.equal(1006, c:close().info.code)
    assert.is_true(helper.now() - from >= 0.98)
    assert.equal(0, c:count("ERROR"))
  end)

  it("takes any number of seconds", function()
    for _, seconds in ipairs { math.huge, 1e300, 1e-300, 1e9 } do
      local c = helper.client { url = raw:url("/burst"), pinginterval = seconds, pongtimeout = math.huge }:open()
      c.ws:sendText("here")
      assert.equal("here", c:get("TEXT").data)
      c:close()
    end
    local c = helper.client { url = raw:url("/burst"), pinginterval = math.huge, pongtimeout = 0 }:open()
    c.ws:sendText("here")
    assert.equal("here", c:get("TEXT").data)
  end)

  it("sets TCP_NODELAY and SO_KEEPALIVE as well", function()
    helper.client(raw:url("/burst")):open()
    local stat <close> = assert(io.open("/proc/self/stat"))
    local output, code = helper.finish(
      helper.start(helper.python, helper.folder .. "/socket_options.py", stat:read("n"), raw.port))
    if code == 77 then return pending("pidfd_getfd is not permitted here: " .. output) end
    assert.equal(0, code, output)
    local value = {}
    for name, number in output:gmatch("(%S+)=(%d+)\n") do value[name] = tonumber(number) end
    assert.equal(1, value.TCP_NODELAY)
    assert.equal(1, value.SO_KEEPALIVE)
    local notices = value.TCP_KEEPIDLE + value.TCP_KEEPINTVL * value.TCP_KEEPCNT
    assert.is_true(notices >= 30 and notices <= 300, output)
    -- TCP_USER_TIMEOUT would end a connection whose reader pauses although the reader's system answers.
    assert.equal(0, value.TCP_USER_TIMEOUT)
  end)
end)
