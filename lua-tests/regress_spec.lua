-- What once broke; each test is named after it.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("once broke:", function()
  local raw, python
  lazy_setup(function() raw, python = helper.serve("raw"), helper.serve("python") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  for name, hex in pairs {
    ["an empty ping"] = "8900", ["an empty pong"] = "8a00", ["an empty Close"] = "8800",
    ["an empty fragment"] = "01008000", ["empty fragments with a ping between"] = "020089000000" .. "8000",
  } do
    it("as the first frame, " .. name .. " killed the process", function()
      local output, code = helper.script([[
        local websocket = require "websocket"
        local ws = websocket.WebSocket {
          url = ..., reconnect = false,
          onreceive = function(type, data) if type ~= 1 then io.write(type, " ", #data, " ") end end,
        }
        ws:connect()
        websocket.run()
      ]], raw:url("/frames?hex=%s&end=close", hex))
      assert.equal(0, code, output)
    end)
  end

  it("text that is not UTF-8 was sent, so that the peer closed", function()
    local c = helper.client(python:url("/echo")):open()
    raises("WebSocket failed to send text: the text is not UTF-8", function() c.ws:sendText("\xFF") end)
    raises("WebSocket failed to send text: the text is not UTF-8", function() c.ws:sendText("\xE2\x82") end)
  end)

  it("a ping of more than 125 bytes was sent, so that the peer closed", function()
    local c = helper.client(python:url("/echo")):open()
    raises("WebSocket failed to send ping: it has 126 bytes; 125 is the most",
      function() c.ws:sendPing(("a"):rep(126)) end)
  end)

  it("the CLOSE of a connection that was closed, started again and closed was lost", function()
    local c = helper.client { url = raw:url("/frames?end=mute"), closetimeout = 0.1 }:open()
    c.ws:close()
    c.ws:connect()
    c.ws:close()
    assert.equal("closing", c.ws.state)
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal("OPEN CLOSE", c:list())
  end)

  it("the CLOSE of a connection that broke while it was written to came after closetimeout only", function()
    local c = helper.client { url = raw:url("/last-words"), reconnect = false, closetimeout = 60 }:open()
    c.ws:sendBinary(("x"):rep(32 << 20))
    assert.equal(4009, c:get("CLOSE").info.code)
  end)

  it("a url from the options' metatable passed the checks, and connect waited for ever", function()
    local ws = websocket.WebSocket(setmetatable({}, { __index = { url = "ws://127.0.0.1:1" } }))
    raises("no url", function() ws:connect() end)
  end)
end)
