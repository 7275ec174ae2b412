-- Slow peers, and reads that return before the socket is empty.

local helper = require "helper"
local websocket = helper.websocket

describe("a peer that", function()
  local paced
  lazy_setup(function() paced = helper.serve("paced") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  it("reads slowly is not given up: TCP acknowledgements are signs of life", function()
    -- The ping is behind megabytes that the kernel has accepted at once.
    local c = helper.client {
      url = paced:url("/slow?rate=1000000"), pinginterval = 0.1, pongtimeout = 2, reconnect = false,
    }:open()
    c.ws:sendBinary(("u"):rep(6000000))
    assert.equal("6000000", c:get("TEXT").data)
    helper.wait(function() return c.ws.latency end, "a pong")
    assert.equal("OPEN TEXT", c:list())
  end)

  it("reads slowly gets all bytes sent before close", function()
    local c = helper.client {
      url = paced:url("/slow?rate=1000000&talks=yes"), closetimeout = 0.6, reconnect = false,
    }:open()
    c.ws:sendBinary(("u"):rep(3000000))
    local info = c:close().info
    assert.same({ 1000, true, 0 }, { info.code, info.clean, info.unsent })
    local told = false
    for _, event in ipairs(c.events) do told = told or event.data == "3000000" end
    assert.is_true(told)
  end)

  for name, query in pairs { ["reads everything"] = "?reads=yes", ["reads nothing"] = "" } do
    it("sends messages without end, " .. name .. " and answers no Close: closetimeout ends it", function()
      helper.within(1.5, function()
        local count, close = 0, nil
        local ws = websocket.WebSocket {
          url = paced:url("/floods" .. query), closetimeout = 0.5, reconnect = false,
          onreceive = function(type, _, _, info)
            if type == helper.types.TEXT then count = count + 1 end
            if type == helper.types.CLOSE then close = info end
          end,
        }
        ws:connect()
        helper.wait(function() return count > 0 end, "the first messages")
        -- More than the peer's system takes without its program.
        ws:sendBinary(("u"):rep(query == "" and 20000000 or 1000))
        local from = websocket.time()
        ws:close()
        helper.wait(function() return close end, "CLOSE")
        assert.equal("the peer sent no Close frame within the closetimeout of 0.5 s", close.cause)
        return websocket.time() - from
      end)
    end)
  end

  it("resets the connection leaves bytes unacknowledged: unsent counts them", function()
    local raw = helper.serve("raw")
    local key = tostring(helper.now())
    local c = helper.client {
      url = raw:url("/frames?end=deaf&key=%s", key), closetimeout = 0.3, reconnect = false,
    }:open()
    c.ws:sendBinary(("u"):rep(1000000))
    -- The kernel accepts all bytes, and the peer reads none.
    helper.wait(function() return c.ws.bufferedamount == 0 end, "the kernel")
    c.ws:close()
    local info = c:get("CLOSE").info
    assert.equal(1006, info.code)
    -- Some bytes are in the receive buffer of the peer's system.
    assert.is_true(info.unsent > 0 and info.unsent < 1000100, info.unsent)
  end)

  for name, more in pairs { ["leaves TCP open"] = 0, ["sends more behind its Close frame"] = 3000000 } do
    it(name .. ": CLOSE comes when both Close frames were exchanged", function()
      local c = helper.client { url = paced:url("/lingers?more=%d", more), closetimeout = 60, reconnect = false }:open()
      local info = c:close(4000).info
      assert.same({ 4000, true, false }, { info.code, info.clean, info.remote })
      assert.is_true(websocket.run(helper.TIMEOUT))
    end)

    it(name .. ": the reconnect is immediate when the server has closed", function()
      local c = helper.client { url = paced:url("/lingers?more=%d", more), closetimeout = 60 }:open()
      c.ws:sendText("close")
      local info = c:get("CLOSE").info
      assert.same({ 4001, true, true }, { info.code, info.clean, info.remote })
      c:get("OPEN", 2)
    end)

    it(name .. ": a script ends without waiting for it", function()
      local _, code, took = helper.script([[
        local websocket = require "websocket"
        local ws
        ws = websocket.WebSocket { url = ..., onreceive = function(type) if type == 1 then ws:close() end end }
        ws:connect()
        websocket.run()
      ]], paced:url("/lingers?more=%d", more))
      assert.equal(0, code)
      assert.is_true(took < 1 * helper.slowness, took)
    end)
  end

  it("leaves TCP open does not exhaust the descriptors of a script that reconnects repeatedly", function()
    local name = helper.write_script([[
      local websocket = require "websocket"
      local url, ends, failure = ..., 0, nil
      local ws
      ws = websocket.WebSocket { url = url, reconnect = false, onreceive = function(type, _, err)
        if type == 1 then ws:close() end
        if type == 2 then
          ends = ends + 1
          if ends < 100 then ws:connect() end
        end
        failure = failure or type == 3 and err
      end }
      ws:connect()
      websocket.run(30)
      print(ends, failure or nil)
      os.exit(true, false)
    ]])
    local output = helper.finish(helper.start("sh", "-c", 'ulimit -n 40; exec "$0" "$@"', helper.lua, name,
      paced:url("/lingers")))
    assert.equal("100\tnil\n", output)
  end)

  --- The messages that a script gets when they arrived while it was stopped (SIGSTOP), so that one read finds them all.
  local function got(url, server, last)
    local process = helper.start_script([[
      local websocket = require "websocket"
      io.stdout:setvbuf "line"
      local ws
      ws = websocket.WebSocket { url = ..., onreceive = function(type, data)
        if type == 1 then print "open" end
        if type == 0 then print(data) end
      end }
      ws:connect()
      websocket.run(20)
    ]], url)
    assert.equal("open", process.pipe:read("l"))
    process:signal("STOP")
    helper.wait(function()
      local file <close> = assert(io.open(("/proc/%d/stat"):format(process.pid)))
      return file:read("a"):match("^.*%) T")
    end, "a process to stop")
    assert.equal("sent", helper.client(server):get("TEXT").data)
    process:signal("CONT")
    local list = {}
    local from = helper.now()
    repeat list[#list + 1] = process.pipe:read("l") until not list[#list] or list[#list] == last
    local took = helper.now() - from
    process:stop("KILL")
    assert.is_true(took < 10, "it comes only when the script has given up waiting")
    return table.concat(list, ", ")
  end

  it("sends an urgent byte between two messages does not delay the second", function()
    assert.equal("before, behind", got(paced:url("/pieces?stop=urgent"), paced:url("/go"), "behind"))
  end)

  it("passes a descriptor with a message over a Unix socket does not delay the next", function()
    local path = helper.file()
    os.remove(path)
    helper.serve("paced", nil, path)
    local url = ("ws+unix:%s:"):format(path)
    assert.equal("before, with a descriptor, behind", got(url .. "/pieces?stop=fd", url .. "/go", "behind"))
  end)
end)
