-- The closing handshake: who closes, codes and reasons, what is delivered and counted.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

--- The bits that differ between two bytes. Before 5.3, Lua has no operator for it.
local function xor(a, b)
  local result, bit = 0, 1
  while bit < 256 do
    if a % (2 * bit) >= bit ~= (b % (2 * bit) >= bit) then result = result + bit end
    bit = bit * 2
  end
  return result
end

describe("closing:", function()
  local servers = {}
  lazy_setup(function()
    for _, kind in ipairs { "python", "node", "raw" } do servers[kind] = helper.serve(kind) end
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  --- Asserts that CLOSE was delivered and that no event follows it.
  local function ends_with(c, list)
    assert.is_true(websocket.run(helper.TIMEOUT))
    websocket.poll(0.02)
    assert.equal(list, c:list())
    assert.equal("closed", c.ws.state)
  end

  for _, kind in ipairs { "python", "node" } do
    describe("the " .. kind .. " peer", function()
      it("closes with code and reason", function()
        local c = helper.client {
          url = servers[kind]:url("/close?code=4001&reason=%E2%9C%93%20done"), reconnect = false,
        }
        assert.same({ code = 4001, reason = "✓ done", clean = true, remote = true, unsent = 0 }, c:get("CLOSE").info)
        assert.equal(4001, c.ws.closecode)
        assert.equal("✓ done", c.ws.closereason)
        ends_with(c, "OPEN CLOSE")
      end)

      it("is closed by ws:close() with 1000", function()
        local c = helper.client(servers[kind]:url("/echo")):open()
        assert.same({ code = 1000, reason = "", clean = true, remote = false, unsent = 0 }, c:close().info)
        ends_with(c, "OPEN CLOSE")
      end)

      it("sends messages and closes: all messages are delivered before CLOSE", function()
        local c = helper.client { url = servers[kind]:url("/close?count=1000&code=3000"), reconnect = false }
        assert.equal(3000, c:get("CLOSE").info.code)
        assert.equal(1000, c:count("TEXT"))
        assert.equal("message 1000", c:get("TEXT", 1000).data)
        ends_with(c, "OPEN " .. ("TEXT "):rep(1000) .. "CLOSE")
      end)
    end)
  end

  it("the peer gets all messages sent before the Close, in order", function()
    local key = tostring(helper.now())
    local c = helper.client(servers.python:url("/record?key=%s", key)):open()
    local list = {}
    for i = 1, 1000 do
      list[i] = i
      c.ws:sendText(i)
    end
    c:close(4000)
    ends_with(c, "OPEN CLOSE")
    local recorded = helper.client(servers.python:url("/recorded?key=%s", key)):get("TEXT").data
    assert.equal("4000:" .. table.concat(list, "|"), recorded)
  end)

  it("ws:close(code, reason) sends both", function()
    local key = tostring(helper.now())
    local c = helper.client(servers.raw:url("/frames?key=%s", key)):open()
    local close = c:close(4321, "enough ✓")
    assert.equal(4321, close.info.code)
    assert.equal("enough ✓", close.info.reason)
    local sent = helper.client(servers.raw:url("/captured?key=%s", key)):get("TEXT").data
    sent = sent:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
    assert.equal(0x88, sent:byte(1))
    assert.equal(0x80 + 2 + #"enough ✓", sent:byte(2))
    local body = {}
    for i = 7, #sent do body[#body + 1] = string.char(xor(sent:byte(i), sent:byte(3 + (i - 7) % 4))) end
    -- 4321 is 16 * 256 + 225.
    assert.equal("\16\225enough ✓", table.concat(body))
  end)

  it("a code that must not be sent raises; the connection stays open", function()
    local c = helper.client(servers.python:url("/echo")):open()
    for _, code in ipairs { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535, 65536, -1, math.maxinteger } do
      assert.is_false(pcall(c.ws.close, c.ws, code), code)
    end
    raises("number", function() c.ws:close("bye") end)
    raises("123", function() c.ws:close(1000, ("a"):rep(124)) end)
    raises("UTF-8", function() c.ws:close(1000, "\255") end)
    raises("string", function() c.ws:close(1000, {}) end)
    c.ws:sendText("still here")
    assert.equal("still here", c:get("TEXT").data)
  end)

  it("a reason of 123 bytes is accepted", function()
    local c = helper.client(servers.python:url("/echo")):open()
    assert.equal(("a"):rep(123), c:close(1000, ("a"):rep(123)).info.reason)
  end)

  it("close while connecting gives no event", function()
    local c = helper.client(servers.raw:url("/silence"))
    assert.equal("connecting", c.ws.state)
    c.ws:close()
    ends_with(c, "")
  end)

  it("close right after connect gives an OPEN only with its CLOSE", function()
    for _ = 1, 50 do
      local c = helper.client(servers.python:url("/echo"))
      c.ws:close()
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal(c:count("OPEN"), c:count("CLOSE"))
      assert.equal(0, c:count("ERROR"))
    end
  end)

  it("close while waiting for the next attempt gives no event", function()
    local c = helper.client { url = servers.raw:url("/refuse"), minreconnectwait = 60, maxreconnectwait = 60 }
    c:get("ERROR")
    assert.equal("waiting", c.ws.state)
    c.ws:close()
    ends_with(c, "ERROR")
  end)

  it("close of a websocket that was never connected does nothing", function()
    local ws = websocket.WebSocket { url = servers.python:url("/echo") }
    ws:close()
    ws:close(4000, "x")
    assert.equal("closed", ws.state)
    assert.is_true(websocket.run(0))
  end)

  it("a second close does nothing, whenever it comes", function()
    local c = helper.client(servers.python:url("/echo")):open()
    c.ws:close(4000)
    c.ws:close(4001)
    assert.equal(4000, c:get("CLOSE").info.code)
    c.ws:close(4002)
    ends_with(c, "OPEN CLOSE")
    assert.equal(4000, c.ws.closecode)
  end)

  it("close, connect, close ends with one CLOSE", function()
    local c = helper.client { url = servers.raw:url("/frames?end=mute"), closetimeout = 0.1 }:open()
    c.ws:close()
    c.ws:connect()
    c.ws:close()
    ends_with(c, "OPEN CLOSE")
  end)

  it("close and connect a hundred times over ends open", function()
    local c = helper.client(servers.python:url("/echo")):open()
    for _ = 1, 100 do
      c.ws:close()
      c.ws:connect()
    end
    -- Any OPEN but the last may belong to a connection that is already being closed.
    local tried = c:count("OPEN")
    helper.wait(function()
      if c:count("OPEN") > tried then
        tried = c:count("OPEN")
        pcall(c.ws.sendText, c.ws, "here")
      end
      return c:count("TEXT") > 0
    end, "an answer over the last connection")
    assert.equal("open", c.ws.state)
    c:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal(c:count("OPEN"), c:count("CLOSE"))
  end)

  it("the state goes from open to closing to closed", function()
    local c = helper.client { url = servers.raw:url("/frames?end=mute"), closetimeout = 0.1 }:open()
    assert.equal("open", c.ws.state)
    c.ws:close()
    assert.equal("closing", c.ws.state)
    c:get("CLOSE")
    assert.equal("closed", c.ws.state)
  end)

  it("a connection whose server never answers Close ends after closetimeout", function()
    local c = helper.client { url = servers.raw:url("/frames?end=mute"), closetimeout = 0.3 }:open()
    local from = helper.now()
    assert.same({
      code = 1006, reason = "", clean = false, remote = false, unsent = 0,
      cause = "the peer sent no Close frame within the closetimeout of 0.3 s",
    }, c:close().info)
    local took = helper.now() - from
    -- The default is 5 s.
    assert.is_true(took >= 0.28 and took < 4, took)
    ends_with(c, "OPEN CLOSE")
  end)

  it("Close frames that cross answer each other, and the server ends the connection", function()
    local c = helper.client { url = servers.raw:url("/crossing?key=crossing"), reconnect = false }:open()
    c.ws:close(3001)
    local info = c:get("CLOSE").info
    assert.equal(4002, info.code)
    assert.equal("me too", info.reason)
    assert.is_true(info.clean)
    assert.is_false(info.remote)
    local after = helper.client(servers.raw:url("/captured?key=crossing")):get("TEXT").data
    assert.equal("nothing", (after:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end)))
  end)

  it("the state never returns to open after close, whatever the engine was about to do", function()
    for _ = 1, 200 do
      local c = helper.client { url = servers.raw:url("/accepts"), reconnect = false }
      c.ws:close()
      repeat
        local state = c.ws.state
        assert.is_true(state == "closed" or state == "closing", state)
      until websocket.run(0)
    end
  end)

  it("bytes that were never written are counted in unsent", function()
    local c = helper.client { url = servers.raw:url("/frames?end=deaf"), closetimeout = 0.2 }:open()
    local size = 32 * 2^20
    c.ws:sendBinary(("x"):rep(size))
    assert.is_true(c.ws.bufferedamount > 0)
    local info = c:close().info
    assert.is_false(info.clean)
    assert.is_true(info.unsent > 0 and info.unsent < size + 100, info.unsent)
    assert.equal(0, c.ws.bufferedamount)
  end)

  it("a Close without a code is 1005", function()
    local c = helper.client { url = servers.raw:url("/frames?hex=8800&end=closed"), reconnect = false }
    assert.same({ code = 1005, reason = "", clean = true, remote = true, unsent = 0 }, c:get("CLOSE").info)
  end)

  for how, cause in pairs {
    close = "the peer closed the connection without a Close frame",
    reset = "the connection broke: Connection reset by peer",
  } do
    it("a connection that is " .. how .. " without a Close frame is 1006, without ERROR", function()
      local c = helper.client { url = servers.raw:url("/frames?hex=810161&end=%s", how), reconnect = false }
      assert.same(
        { code = 1006, reason = "", clean = false, remote = true, unsent = 0, cause = cause }, c:get("CLOSE").info)
      if how == "close" then ends_with(c, "OPEN TEXT CLOSE") end
    end)

    it("a connection that is " .. how .. " in the middle of a message gives no half message", function()
      local hex = "820a61626364" -- 4 of 10 bytes
      local c = helper.client { url = servers.raw:url("/frames?hex=%s&end=%s", hex, how), reconnect = false }
      assert.equal(1006, c:get("CLOSE").info.code)
      ends_with(c, "OPEN CLOSE")
    end)
  end

  it("nothing after the server's Close is delivered", function()
    local hex = "810161" .. "880203e8" .. "810162"
    local c = helper.client { url = servers.raw:url("/frames?hex=%s&end=closed", hex), reconnect = false }
    c:get("CLOSE")
    ends_with(c, "OPEN TEXT CLOSE")
  end)

  it("a server's last messages are delivered although it broke off an upload", function()
    local c = helper.client {
      url = servers.raw:url("/last-words"), reconnect = false,
      onreceive = function() end,
    }:open()
    c.ws:sendBinary(("x"):rep(32 * 2^20))
    local info = c:get("CLOSE").info
    assert.equal("too much", c.events[2].data)
    assert.equal(4009, info.code)
    assert.equal("enough", info.reason)
  end)

  -- Before 5.4, Lua can't compile these two: it has no <close> variables.
  local block = load("local ws <close> = ... return ws.state")
  local failing_block = load("local ws <close> = ... error('oh ' .. ws.state)")
  if block then
    it("a <close> variable closes at the end of its block", function()
      local c = helper.client(servers.python:url("/echo")):open()
      assert.equal("open", block(c.ws))
      assert.not_equal("open", c.ws.state)
      assert.equal(1000, c:get("CLOSE").info.code)
    end)

    it("a <close> variable closes when an error leaves its block", function()
      local c = helper.client(servers.python:url("/echo")):open()
      raises("oh open", failing_block, c.ws)
      assert.equal(1000, c:get("CLOSE").info.code)
    end)
  end
end)
