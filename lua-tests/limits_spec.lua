local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("limits:", function()
  local server, raw
  lazy_setup(function() server, raw = helper.serve("own"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  for _, deflate in ipairs { false, true } do
    local how = deflate and ", compressed" or ""

    it("a message of maxmessagesize is delivered" .. how, function()
      local c = helper.client { url = server:url("/flood?count=3&size=1000"), maxmessagesize = 1000, deflate = deflate }
      assert.equal(1000, #c:get("TEXT", 3).data)
    end)

    it("a message above maxmessagesize: ERROR size that names the option, then CLOSE" .. how, function()
      local c = helper.client {
        url = server:url("/flood?count=3&size=1001"), maxmessagesize = 1000, deflate = deflate, reconnect = false,
      }
      c:get("CLOSE")
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal("OPEN ERROR CLOSE", c:list())
      local event = c:get("ERROR")
      assert.equal("size", event.info.kind)
      assert.truthy(event.err:find("maxmessagesize", 1, true), event.err)
      assert.truthy(event.err:find("1000", 1, true), event.err)
    end)
  end

  it("maxmessagesize counts all fragments", function()
    -- 3 and 3 bytes
    local hex = "0203616263" .. "8003646566"
    local c = helper.client { url = raw:url("/frames?hex=%s", hex), maxmessagesize = 6, reconnect = false }
    assert.equal("abcdef", c:get("BINARY").data)
    c = helper.client { url = raw:url("/frames?hex=%s", hex), maxmessagesize = 5, reconnect = false }
    assert.equal("size", c:get("ERROR").info.kind)
    c:get("CLOSE")
    assert.equal("OPEN FRAGMENT ERROR CLOSE", c:list())
  end)

  it("the peer gets a Close with 1009", function()
    local c = helper.client {
      url = raw:url("/frames?hex=8203616263&key=limit"), maxmessagesize = 2, reconnect = false,
    }
    c:get("CLOSE")
    local sent = helper.client(raw:url("/captured?key=limit")):get("TEXT").data
    local mask, body = sent:match("^88..(........)(....)")
    assert.equal(1009, tonumber(mask:sub(1, 4), 16) ~ tonumber(body, 16))
  end)

  it("maxmessagesize = 0 accepts empty messages only", function()
    local c = helper.client { url = raw:url("/frames?hex=8100810161"), maxmessagesize = 0, reconnect = false }
    assert.equal("size", c:get("ERROR").info.kind)
    assert.equal("", c:get("TEXT").data)
  end)

  for method, what in pairs { sendText = "text", sendBinary = "data" } do
    it(method .. " beyond maxbuffered raises and sends nothing; the connection stays open", function()
      local c = helper.client { url = server:url("/echo"), maxbuffered = 1000 }:open()
      local function send(...) c.ws[method](c.ws, ...) end
      local err = raises("WebSocket failed to send " .. what .. ": ", send, ("a"):rep(1001))
      assert.truthy(err:find("1001 bytes are more than maxbuffered (1000)", 1, true), err)
      assert.is_nil(err:find("wait", 1, true), err)
      raises("maxbuffered", send, ("a"):rep(500), ("b"):rep(501))
      assert.equal(0, c.ws.bufferedamount)
      c.ws:sendText("still here")
      assert.equal("still here", c:get("TEXT").data)
      assert.equal("OPEN TEXT", c:list())
    end)
  end

  it("a peer that reads nothing: sends fill maxbuffered, then raise; none blocks", function()
    local limit = 32 << 20 -- the kernel takes some MiB of these, part of them later
    local c = helper.client {
      url = raw:url("/frames?end=deaf"), maxbuffered = limit, closetimeout = 0.1, reconnect = false,
    }:open()
    local piece, count = ("x"):rep(1 << 16), 0
    local ok, err
    repeat
      ok, err = pcall(c.ws.sendBinary, c.ws, piece)
      count = count + 1
    until not ok or count > 10000
    -- A send that blocked would block without end.
    assert.truthy(tostring(err):find("maxbuffered", 1, true), err)
    assert.is_true(c.ws.bufferedamount > limit / 2 and c.ws.bufferedamount <= limit + 100, c.ws.bufferedamount)
    assert.equal("open", c.ws.state)
  end)

  --- Resident memory of this process, in bytes.
  local function resident()
    local file <close> = assert(io.open("/proc/self/statm"))
    return select(2, file:read("n", "n")) * 4096
  end

  it("memory of large sends is freed", function()
    if os.getenv("WEBSOCKET_CC") then return pending("a sanitizer does not return memory to the system") end
    local size = 40 << 20
    local c = helper.client { url = raw:url("/frames"), maxbuffered = 2 * size }:open()
    collectgarbage()
    local before = resident()
    c.ws:sendBinary(("x"):rep(size))
    helper.wait(function() return c.ws.bufferedamount == 0 end, "all to leave")
    collectgarbage()
    helper.wait(function() return resident() < before + size / 4 end, function()
      return ("%d bytes more to go"):format(resident() - before)
    end)
  end)

  it("maxqueued: a server that floods is paused, nothing is lost, the order is kept", function()
    local count, size = 1500, 20000 -- 30 MB
    local c = helper.client {
      url = server:url("/flood?count=%d&size=%d&key=paused", count, size), maxqueued = 1 << 20,
    }:open()
    -- 1 MiB in our queue, the rest in the buffers of the kernel and of the server.
    local sent = helper.watch(server:url("/progress?key=paused"), 51, 0.4)
    assert.is_true(sent > 50 and sent < count - 100, sent)
    c:get("TEXT", count + 1)
    for i = 1, count do
      local data = c.events[i + 1].data
      if #data ~= size or data:match("^%d+") ~= tostring(i) then error("message " .. i .. " is " .. data:sub(1, 9)) end
    end
    assert.equal("end", c.events[count + 2].data)
  end)

  it("maxqueued: compressed messages of one read are inflated one by one", function()
    if os.getenv("WEBSOCKET_CC") then return pending("a sanitizer does not return memory to the system") end
    collectgarbage()
    local before = resident()
    local c = helper.client {
      url = raw:url("/bombs?count=100"), deflate = true, maxqueued = 1 << 20,
    }:open()
    helper.compute(1)
    local more = resident() - before
    assert.is_true(more < 50 << 20, more)
    assert.equal(1 << 20, #c:get("BINARY", 100).data)
  end)

  it("a message larger than maxqueued is delivered", function()
    local c = helper.client { url = server:url("/flood?count=3&size=100000"), maxqueued = 1000 }
    for i = 1, 3 do assert.equal(100000, #c:get("TEXT", i).data) end
    assert.equal("end", c:get("TEXT", 4).data)
  end)

  it("maxqueued = 0 reads again only after all events were delivered", function()
    local c = helper.client { url = server:url("/flood?count=1000"), maxqueued = 0 }
    c:get("TEXT", 1001)
    for i = 1, 1000 do assert.equal(tostring(i), c.events[i + 1].data) end
  end)

  it("a paused websocket can be closed", function()
    local c = helper.client {
      url = server:url("/flood?count=1500&size=20000"), maxqueued = 1 << 16, closetimeout = 60,
    }:open()
    c.ws:close()
    assert.is_true(c:get("CLOSE").info.clean)
  end)

  it("a paused websocket's closetimeout starts when reading resumes", function()
    local c = helper.client {
      url = server:url("/flood?count=40&size=20000"), maxqueued = 1 << 16, closetimeout = 1.5, reconnect = false,
    }:open()
    helper.compute(0.1)
    c.ws:close()
    helper.compute(1.9)
    assert.is_true(c:get("CLOSE").info.clean)
  end)

  it("a paused websocket whose server is gone does not spin", function()
    local victim = helper.serve("own")
    local c = helper.client {
      url = victim:url("/flood?count=1500&size=20000"), maxqueued = 1 << 16, reconnect = false,
    }:open()
    helper.compute(0.1)
    victim:signal("KILL")
    local before = os.clock()
    os.execute("sleep 0.5")
    local used = os.clock() - before
    assert.is_true(used < 0.2, used)
    assert.equal(1006, c:get("CLOSE").info.code)
  end)

  it("a closed websocket without references is collected", function()
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 20 do
      local ws = websocket.WebSocket { url = server:url("/close"), reconnect = false }
      ws:connect()
      weak[ws] = true
    end
    for _ = 1, 20 do weak[websocket.WebSocket { url = server:url("/echo") }] = true end
    assert.is_true(websocket.run(helper.TIMEOUT))
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("a live websocket without references is kept", function()
    local weak, count = setmetatable({}, { __mode = "k" }), 0
    do
      local ws = websocket.WebSocket {
        url = server:url("/flood?count=10"), reconnect = false, onreceive = function() count = count + 1 end,
      }
      weak[ws] = true
      ws:connect()
    end
    collectgarbage()
    collectgarbage()
    local ws = next(weak)
    assert.truthy(ws)
    helper.wait(function() return count == 12 end, "the messages")
    ws:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
  end)
end)
