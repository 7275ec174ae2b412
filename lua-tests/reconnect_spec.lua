local helper = require "helper"
local websocket = helper.websocket

describe("reconnecting:", function()
  local raw, python, refused
  lazy_setup(function()
    raw, python, refused = helper.serve("raw"), helper.serve("python"), helper.serve("raw")
    refused:stop()
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  local function ends(c, list)
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal(list, c:list())
    assert.equal("closed", c.ws.state)
  end

  --- Number of attempts that the server has counted for this key.
  local function attempts(key)
    local c = helper.client(raw:url("/attempts?key=%s", key))
    local count = tonumber(c:get("TEXT").data)
    c:close()
    return count
  end

  --- Largest possible number of attempts in these seconds: the waits between are 0.1, 0.2, 0.4 s and so on, less 25 %.
  local function most(seconds) return 1 + math.log(seconds / 0.075 + 1, 2) // 1 end

  local keys = 0
  local function new_key()
    keys = keys + 1
    return "reconnect" .. keys
  end

  it("a server killed in the middle of a message: CLOSE 1006, ERRORs, and OPEN when it is back", function()
    local server = helper.serve("raw")
    local half = "810a6162" -- 2 of 10 bytes
    local c = helper.client { url = server:url("/frames?hex=%s", half), maxreconnectwait = 0.05 }:open()
    server:stop("KILL")
    local close = c:get("CLOSE").info
    assert.equal(1006, close.code)
    assert.is_false(close.clean)
    assert.equal("number", type(close.retryin))
    c:get("ERROR", 2)
    local back = helper.serve("raw", server.port)
    c:get("OPEN", 2)
    assert.is_nil(c:list():find("TEXT"))
    assert.truthy(c:list():find("^OPEN CLOSE ERROR ERROR [ERROR ]*OPEN$"), c:list())
    c:close()
    back:stop()
  end)

  it("the same websocket connects to a restarted server", function()
    local server = helper.serve("python")
    local c = helper.client { url = server:url("/echo"), maxreconnectwait = 0.05 }:open()
    c.ws:sendText("before")
    assert.equal("before", c:get("TEXT", 1).data)
    server:stop()
    c:get("CLOSE")
    local back = helper.serve("python", server.port)
    c:get("OPEN", 2)
    c.ws:sendText("after")
    assert.equal("after", c:get("TEXT", 2).data)
    assert.equal("open", c.ws.state)
    c:close()
    back:stop()
  end)

  it("half a message of the old connection is not joined with the new connection's", function()
    local c = helper.client { url = raw:url("/frames?hex=01026162&end=close") }
    c:get("OPEN", 3)
    c.ws:close()
    assert.is_nil(c:list():find("TEXT"))
    for n = 1, 2 do
      if c:count("FRAGMENT") >= n then assert.equal(2, c:get("FRAGMENT", n).info.received) end
    end
  end)

  it("messages sent to the old connection are not sent to the new one", function()
    local server = helper.serve("raw")
    local c = helper.client { url = server:url("/frames?end=deaf"), maxreconnectwait = 0.05 }:open()
    c.ws:sendBinary(("x"):rep(16 << 20))
    server:stop("KILL")
    assert.is_true(c:get("CLOSE").info.unsent > 0)
    assert.equal(0, c.ws.bufferedamount)
    local back = helper.serve("python", server.port)
    c:get("OPEN", 2)
    c.ws:close()
    c:get("CLOSE", 2)
    -- For an unknown path the peer sends the path.
    assert.equal("/frames?end=deaf", c:get("TEXT").data)
    back:stop()
  end)

  it("a server that accepts and closes causes no busy loop", function()
    -- If the server is slow to close, the connection counts as lasting, and the next attempt is immediate.
    helper.one_of_five(function()
      local key = new_key()
      local from = helper.now()
      local c = helper.client(raw:url("/accepts?end=close&key=%s", key))
      helper.wait(function() return helper.now() - from >= 1 end, "a second")
      c:get("OPEN", 2)
      c.ws:close()
      assert.is_true(websocket.run(helper.TIMEOUT))
      local count, limit = attempts(key), most(helper.now() - from)
      assert.equal(c:count("OPEN"), c:count("CLOSE"))
      assert.equal(0, c:count("ERROR"))
      return count <= limit, count .. " attempts"
    end)
  end)

  it("a server that accepts and closes counts as a failure for reconnect = 2", function()
    local key = new_key()
    local c = helper.client {
      url = raw:url("/accepts?end=close&key=%s", key), reconnect = 2,
      -- A connection that lasts this long counts as a success.
      minreconnectwait = 0.5, maxreconnectwait = 0.5,
    }
    ends(c, "OPEN CLOSE OPEN CLOSE OPEN CLOSE")
    assert.equal("number", type(c:get("CLOSE", 2).info.retryin))
    assert.is_nil(c:get("CLOSE", 3).info.retryin)
  end)

  it("the ERROR of an open connection has the same retryin as its CLOSE", function()
    -- A text message that is not UTF-8.
    local c = helper.client { url = raw:url("/frames?hex=8101ff"), maxreconnectwait = 0.2 }
    local retryin = c:get("ERROR").info.retryin
    assert.equal("number", type(retryin))
    assert.equal(retryin, c:get("CLOSE").info.retryin)
    c.ws:close()
    local last = helper.client { url = raw:url("/frames?hex=8101ff"), reconnect = false }
    assert.is_nil(last:get("ERROR").info.retryin)
    ends(last, "OPEN ERROR CLOSE")
  end)

  it("connections that come and go while the script does not poll stop at maxqueued", function()
    local key = new_key()
    local c = helper.client {
      url = raw:url("/accepts?end=close&key=%s", key), maxreconnectwait = 0.01, maxqueued = 4000,
    }:open()
    helper.compute(1)
    local before = c:count("CLOSE")
    websocket.poll()
    local queued = c:count("CLOSE") - before
    -- One OPEN and one CLOSE together take some hundred bytes of the queue.
    assert.is_true(queued <= 20, queued)
    -- It connects again once events have been delivered.
    c:get("OPEN", c:count("OPEN") + 5)
  end)

  it("a server that closes without a response causes no busy loop", function()
    local key = new_key()
    local from = helper.now()
    local c = helper.client(raw:url("/refuses?key=%s", key))
    helper.wait(function() return helper.now() - from >= 1 end, "a second")
    c:get("ERROR", 2)
    c.ws:close()
    local count = attempts(key)
    assert.is_true(count <= most(helper.now() - from), count)
    assert.equal(0, c:count("OPEN"))
  end)

  it("the waits double from 0.1 s to maxreconnectwait, plus or minus 25 %", function()
    local c = helper.client { url = refused:url("/"), maxreconnectwait = 0.35 }
    for n = 1, 5 do
      local info = c:get("ERROR", n).info
      local wait = math.min(0.1 * 2 ^ (n - 1), 0.35)
      assert.equal(n, info.attempt)
      assert.is_true(info.retryin >= wait * 0.74 and info.retryin <= math.min(wait * 1.26, 0.35), info.retryin)
    end
  end)

  it("retryin is kept", function()
    helper.within(0.55, function()
      local from = helper.now()
      local c = helper.client { url = refused:url("/"), minreconnectwait = 0.2, maxreconnectwait = 0.2 }
      c:get("ERROR", 3)
      local took = helper.now() - from
      assert.is_true(took >= 0.38, took)
      for n = 1, 2 do assert.equal(0.2, c:get("ERROR", n).info.retryin) end
      c.ws:close()
      return took
    end)
  end)

  it("minreconnectwait is kept before every attempt but the first", function()
    helper.client { url = python:url("/close-on-message"), minreconnectwait = 60 }:open()
    local c = helper.client { url = python:url("/close-on-message"), minreconnectwait = 0.3 }:open()
    -- The connection lasted, and minreconnectwait is kept all the same.
    local from = helper.now()
    helper.wait(function() return helper.now() - from >= 0.4 end, "some time to pass")
    from = helper.now()
    c.ws:sendText("close")
    assert.is_true(c:get("CLOSE").info.retryin >= 0.3)
    c:get("OPEN", 2)
    assert.is_true(helper.now() - from >= 0.28)
  end)

  it("minreconnectwait wins over a smaller maxreconnectwait", function()
    local c = helper.client { url = refused:url("/"), minreconnectwait = 0.3, maxreconnectwait = 0.1 }
    assert.equal(0.3, c:get("ERROR").info.retryin)
  end)

  it("the first retry after a connection that lasted is immediate", function()
    local c = helper.client(python:url("/close-on-message")):open()
    local from = helper.now()
    helper.wait(function() return helper.now() - from >= 0.15 end, "some time to pass")
    c.ws:sendText("close")
    assert.equal(0, c:get("CLOSE").info.retryin)
    c:get("OPEN", 2)
  end)

  it("a connection that lasted resets the waits", function()
    local c = helper.client { url = refused:url("/echo"), maxreconnectwait = 0.4 }
    c:get("ERROR", 3)
    local back = helper.serve("python", refused.port)
    c:open()
    local from, errors = helper.now(), c:count("ERROR")
    helper.wait(function() return helper.now() - from >= 0.5 end, "some time to pass")
    back:stop()
    assert.equal(0, c:get("CLOSE").info.retryin)
    local info = c:get("ERROR", errors + 1).info
    assert.equal(1, info.attempt)
    assert.is_true(info.retryin < 0.13, info.retryin)
  end)

  for _, value in ipairs { false, 0 } do
    it("reconnect = " .. tostring(value) .. " stops after a CLOSE", function()
      local c = helper.client { url = raw:url("/accepts?end=close&key=%s", new_key()), reconnect = value }
      assert.is_nil(c:get("CLOSE").info.retryin)
      ends(c, "OPEN CLOSE")
    end)

    it("reconnect = " .. tostring(value) .. " stops after an ERROR", function()
      local c = helper.client { url = refused:url("/"), reconnect = value }
      assert.is_nil(c:get("ERROR").info.retryin)
      ends(c, "ERROR")
    end)
  end

  it("reconnect = 2 stops after two more attempts", function()
    local c = helper.client { url = refused:url("/"), reconnect = 2, maxreconnectwait = 0.01 }
    c:get("ERROR", 3)
    assert.equal("number", type(c:get("ERROR", 2).info.retryin))
    assert.is_nil(c:get("ERROR", 3).info.retryin)
    assert.equal(3, c:get("ERROR", 3).info.attempt)
    ends(c, "ERROR ERROR ERROR")
  end)

  it("reconnect = 2 stops after two attempts that follow a CLOSE", function()
    local server = helper.serve("raw")
    local c = helper.client { url = server:url("/frames"), reconnect = 2, maxreconnectwait = 0.01 }:open()
    server:stop()
    ends(c, "OPEN CLOSE ERROR ERROR")
  end)

  it("connect restarts a websocket that has stopped", function()
    local c = helper.client { url = refused:url("/"), reconnect = false }
    ends(c, "ERROR")
    c.ws:connect()
    c:get("ERROR", 2)
    assert.equal(1, c:get("ERROR", 2).info.attempt)
    ends(c, "ERROR ERROR")
  end)

  it("connect in the last ERROR's handler restarts", function()
    local c
    c = helper.client {
      url = refused:url("/"), reconnect = false,
      onreceive = function() if c:count("ERROR") < 3 then c.ws:connect() end end,
    }
    c:get("ERROR", 3)
    ends(c, "ERROR ERROR ERROR")
  end)

  it("connect in the last CLOSE's handler restarts", function()
    local c
    c = helper.client {
      url = python:url("/close"), reconnect = false,
      onreceive = function(kind)
        if kind == helper.types.CLOSE and c:count("CLOSE") < 3 then c.ws:connect() end
      end,
    }
    c:get("CLOSE", 3)
    ends(c, "OPEN CLOSE OPEN CLOSE OPEN CLOSE")
  end)

  it("every failed attempt gives one ERROR with kind, attempt and retryin", function()
    local c = helper.client { url = refused:url("/"), maxreconnectwait = 0.01 }
    for n = 1, 5 do
      local event = c:get("ERROR", n)
      assert.equal("connect", event.info.kind)
      assert.equal(n, event.info.attempt)
      assert.equal("integer", math.type(event.info.attempt))
      assert.is_true(event.info.retryin >= 0 and event.info.retryin <= 0.01)
      assert.truthy(event.err:find(refused:url("/"), 1, true), event.err)
    end
  end)

  it("ws.attempts counts the attempts", function()
    local c = helper.client { url = refused:url("/frames"), maxreconnectwait = 0.01, minreconnectwait = 0.01 }
    c:get("ERROR", 4)
    assert.is_true(c.ws.attempts >= 4)
    local back = helper.serve("raw", refused.port)
    c:get("OPEN")
    assert.equal(0, c.ws.attempts)
    c:close()
    back:stop()
  end)

  for _, code in ipairs { 400, 401, 403, 404, 405, 410, 426 } do
    it("status " .. code .. " is final: one ERROR, and it stops", function()
      local c = helper.client(raw:url("/status?code=%d&body=no%%20way", code))
      local event = c:get("ERROR")
      assert.equal("handshake", event.info.kind)
      assert.equal(code, event.info.status)
      assert.equal("no way", event.info.body)
      assert.equal("because", event.info.headers["x-reason"])
      assert.is_nil(event.info.retryin)
      assert.truthy(event.err:find(tostring(code), 1, true), event.err)
      ends(c, "ERROR")
    end)
  end

  it("status 401 of the Python peer stops, with its headers and body", function()
    local c = helper.client(python:url("/status?code=401&body=who"))
    local info = c:get("ERROR").info
    assert.equal(401, info.status)
    assert.equal("who", info.body)
    assert.equal("because", info.headers["x-reason"])
    ends(c, "ERROR")
  end)

  for _, code in ipairs { 408, 429, 500, 502, 503 } do
    it("status " .. code .. " is tried again", function()
      local c = helper.client { url = raw:url("/status?code=%d", code), maxreconnectwait = 0.01 }
      c:get("ERROR", 2)
      assert.equal(code, c:get("ERROR", 2).info.status)
      assert.equal("number", type(c:get("ERROR").info.retryin))
    end)
  end

  it("info.body has the first 1024 bytes of a refusal's body", function()
    local c = helper.client(raw:url("/status?code=403&body=%s", ("x"):rep(3000)))
    assert.equal(("x"):rep(1024), c:get("ERROR").info.body)
  end)

  it("Retry-After is kept, up to a minute", function()
    for header, wait in pairs { ["7"] = 7, ["60"] = 60, ["100000"] = 60, ["soon"] = 0, ["-5"] = 0 } do
      local c = helper.client {
        url = raw:url("/status?code=503&header=Retry-After:%%20%s", header), maxreconnectwait = 0.01,
      }
      local retryin = c:get("ERROR").info.retryin
      assert.is_true(retryin >= wait and retryin <= wait + 0.01, header .. ": " .. retryin)
    end
  end)

  it("Retry-After is kept up to a maxreconnectwait of more than a minute", function()
    local c = helper.client {
      url = raw:url("/status?code=503&header=Retry-After:%20500"), maxreconnectwait = 90,
    }
    assert.equal(90, c:get("ERROR").info.retryin)
  end)

  it("Retry-After may be a date, relative to the response's Date", function()
    for date, wait in pairs {
      ["Tue, 15 Nov 1994 08:12:38 GMT"] = 7, ["Tuesday, 15-Nov-94 08:12:38 GMT"] = 7, ["Tue Nov 15 08:12:38 1994"] = 7,
      ["Wed, 16 Nov 1994 08:12:38 GMT"] = 60, ["Tue, 15 Nov 1994 08:12:30 GMT"] = 0,
      ["Tue, 32 Nov 1994 08:12:38 GMT"] = 0, ["Tue, 15 Nov 1994"] = 0,
    } do
      local headers = helper.escape("Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nRetry-After: " .. date)
      local c = helper.client { url = raw:url("/status?code=503&header=%s", headers), maxreconnectwait = 0.01 }
      local retryin = c:get("ERROR").info.retryin
      assert.is_true(retryin >= wait and retryin <= wait + 0.01, date .. ": " .. retryin)
    end
  end)

  it("Retry-After of a final refusal changes nothing", function()
    local c = helper.client(raw:url("/status?code=403&header=Retry-After:%201"))
    assert.is_nil(c:get("ERROR").info.retryin)
    ends(c, "ERROR")
  end)

  it("the state is \"waiting\" before the next attempt", function()
    local c = helper.client { url = refused:url("/"), minreconnectwait = 60, maxreconnectwait = 60 }
    c:get("ERROR")
    assert.equal("waiting", c.ws.state)
    c.ws:close()
    assert.equal("closed", c.ws.state)
    ends(c, "ERROR")
  end)
end)
