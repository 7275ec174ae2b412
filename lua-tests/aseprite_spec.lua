-- The API and behaviour that scripts written for Aseprite rely on.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("a script written for Aseprite:", function()
  local server, refused, silent
  lazy_setup(function()
    server, refused, silent = helper.serve("own"), helper.serve("raw"), helper.serve("raw")
    refused:stop()
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  local function http(path) return (server:url(path):gsub("^ws:", "http:")) end

  -- Before 5.3, Lua lacks string.pack.
  local documented = string.pack and it or function() end
  documented("the documented example runs as it is, in a fresh interpreter", function()
    local output, code = helper.script([[
      local url = ...
      require "websocket.global"

      local ws

      local function handleMessage(mt, data)
        if mt == WebSocketMessageType.OPEN then
          print("open")
          ws:sendText("Hello, World!")
        elseif mt == WebSocketMessageType.TEXT then
          print(data)
          ws:sendBinary(string.pack("<i2", 640), string.pack("<i2", 480))
        elseif mt == WebSocketMessageType.BINARY then
          print(string.unpack("<i2i2", data))
          ws:close()
        elseif mt == WebSocketMessageType.CLOSE then
          print("close")
        end
      end

      ws = WebSocket{
        onreceive = handleMessage,
        url = url,
        deflate = false
      }
      ws:connect()
      print "connecting"
      require "websocket".run(10)
    ]], http("/echo"))
    assert.equal("connecting\nopen\nHello, World!\n640\t480\t5\nclose\n", output)
    assert.equal(0, code)
  end)

  it("websocket.global is the same module and sets two globals", function()
    local output = helper.script([[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      local module = require "websocket.global"
      assert(module == require "websocket")
      assert(WebSocket == module.WebSocket)
      assert(WebSocketMessageType == module.WebSocketMessageType)
      local names = {}
      for name in pairs(_G) do if not before[name] then names[#names + 1] = name end end
      table.sort(names)
      print(table.concat(names, " "))
    ]])
    assert.equal("WebSocket WebSocketMessageType\n", output)
  end)

  it("the constants have their numbers", function()
    assert.same({ TEXT = 0, OPEN = 1, CLOSE = 2, ERROR = 3, PING = 4, PONG = 5, FRAGMENT = 6, BINARY = 16 },
      websocket.WebSocketMessageType)
  end)

  it("tostring begins with WebSocket: and differs for two websockets", function()
    local first, second = websocket.WebSocket(), websocket.WebSocket()
    assert.truthy(tostring(first):find("^WebSocket: "))
    assert.equal(tostring(first), tostring(first))
    assert.not_equal(tostring(first), tostring(second))
  end)

  it("url is the given one, http:// too", function()
    local c = helper.client(http("/echo")):open()
    assert.equal(http("/echo"), c.ws.url)
  end)

  it("deflate = false offers no compression", function()
    local c = helper.client { url = http("/headers"), deflate = false }
    assert.is_nil(c:get("TEXT").data:lower():find("sec-websocket-extensions", 1, true))
    c = helper.client { url = http("/headers") }
    assert.is_nil(c:get("TEXT").data:lower():find("sec-websocket-extensions", 1, true))
    c = helper.client { url = http("/headers"), deflate = true }
    assert.truthy(c:get("TEXT").data:lower():find("sec-websocket-extensions", 1, true))
  end)

  it("nothing is delivered inside connect, send and close", function()
    local inside
    local function guarded(name, ws, ...)
      inside = name
      ws[name](ws, ...)
      inside = nil
    end
    local during = {}
    local c = helper.client { url = server:url("/echo"), onreceive = function() during[#during + 1] = inside end }
    guarded("connect", c.ws)
    helper.wait(function() return c.ws.state == "open" end, "open")
    for i = 1, 100 do
      guarded("sendText", c.ws, i)
      guarded("sendBinary", c.ws, i)
      guarded("sendPing", c.ws, i)
    end
    c:get("PONG", 100)
    guarded("close", c.ws)
    c:get("CLOSE")
    assert.same({}, during)
  end)

  it("methods return nothing", function()
    local c = helper.client(server:url("/echo")):open()
    assert.equal(0, select("#", c.ws:connect()))
    assert.equal(0, select("#", c.ws:sendText("a")))
    assert.equal(0, select("#", c.ws:sendBinary("a")))
    assert.equal(0, select("#", c.ws:sendPing("a")))
    assert.equal(0, select("#", c.ws:close()))
  end)

  it("a second connect does nothing", function()
    local c = helper.client(server:url("/echo"))
    c.ws:connect()
    c:open()
    c.ws:connect()
    c.ws:sendText("a")
    c:get("TEXT")
    c:close()
    assert.equal("OPEN TEXT CLOSE", c:list())
  end)

  local texts = { sendText = "text", sendBinary = "data", sendPing = "ping" }
  for method, what in pairs(texts) do
    local words = "WebSocket is not connected, can't send " .. what

    it(method .. " raises with position before connect", function()
      local ws = websocket.WebSocket { url = server:url("/echo") }
      local err = raises(words, function() ws[method](ws, "a") end)
      assert.truthy(err:find("^.*aseprite_spec%.lua:%d+: WebSocket is not connected, can't send %a+$"), err)
    end)

    it(method .. " raises while connecting", function()
      local c = helper.client(silent:url("/silence"))
      assert.equal("connecting", c.ws.state)
      raises(words, function() c.ws[method](c.ws, "a") end)
    end)

    it(method .. " raises right after close, and when closed", function()
      local c = helper.client(server:url("/echo")):open()
      c.ws:close()
      raises(words, function() c.ws[method](c.ws, "a") end)
      c:get("CLOSE")
      raises(words, function() c.ws[method](c.ws, "a") end)
    end)

    it(method .. " raises between two attempts", function()
      local c = helper.client { url = refused:url("/"), minreconnectwait = 60, maxreconnectwait = 60 }
      c:get("ERROR")
      assert.equal("waiting", c.ws.state)
      raises(words, function() c.ws[method](c.ws, "a") end)
    end)

    it(method .. " refuses nil, tables and booleans as argument errors", function()
      local c = helper.client(server:url("/echo")):open()
      -- Called as a method: Lua then names the method in the error and does not count `self` as an argument.
      local send = assert(load("local ws = ... return function(...) ws:" .. method .. "(...) end"))(c.ws)
      for _, value in ipairs { {}, true, print, c.ws } do
        raises("bad argument #1 to '" .. method .. "'", send, value)
        raises("bad argument #3 to '" .. method .. "'", send, "a", 5, value)
      end
      raises("bad argument #1 to '" .. method .. "'", send, nil)
      raises("bad argument #2 to '" .. method .. "'", send, "a", nil)
      raises("bad argument #2 to '" .. method .. "'", send, "a", nil, "b")
      c.ws:sendText("still here")
      assert.equal("still here", c:get("TEXT").data)
      assert.equal("OPEN TEXT", c:list())
    end)
  end

  it("sends join their arguments, numbers as Lua writes them", function()
    local c = helper.client(server:url("/echo")):open()
    local parts = { "a", 1, " ", 2.5, " ", -0.0, " ", 1e100, " ", 3.0, "", math.maxinteger }
    c.ws:sendText(table.unpack(parts))
    assert.equal(table.concat(parts), c:get("TEXT").data)
    c.ws:sendBinary("\7\0\0\0", 8, "\0")
    assert.equal("\7\0\0\0008\0", c:get("BINARY").data)
    c.ws:sendPing(1, "b", 2)
    assert.equal("1b2", c:get("PONG").data)
  end)

  it("a send does not change the script's numbers", function()
    local c = helper.client(server:url("/echo")):open()
    local list = { 1, 2.5 }
    c.ws:sendText(table.unpack(list))
    assert.equal("integer", math.type(list[1]))
    assert.equal("float", math.type(list[2]))
  end)

  it("sends without arguments are empty messages", function()
    local c = helper.client(server:url("/echo")):open()
    c.ws:sendText()
    c.ws:sendBinary()
    c.ws:sendPing()
    assert.equal("", c:get("TEXT").data)
    assert.equal("", c:get("BINARY").data)
    assert.equal("", c:get("PONG").data)
  end)

  it("handlers get strings for data and error; only ERROR has an error text", function()
    local c = helper.client(server:url("/ping")):open()
    c.ws:sendPing("x")
    c:get("TEXT")
    c:get("PONG")
    c:close()
    local d = helper.client { url = refused:url("/"), reconnect = false }
    d:get("ERROR")
    for _, client in ipairs { c, d } do
      for _, event in ipairs(client.events) do
        assert.equal("string", type(event.data))
        assert.equal("string", type(event.err))
        assert.equal(event.type == "ERROR", event.err ~= "")
        if event.type == "OPEN" or event.type == "CLOSE" or event.type == "ERROR" then
          assert.equal("", event.data)
          assert.equal("table", type(event.info))
        end
      end
    end
  end)

  it("an object that can be called is a handler", function()
    local calls = {}
    local handler = setmetatable({}, { __call = function(self, kind) calls[#calls + 1] = { self, kind } end })
    local ws = websocket.WebSocket { url = server:url("/echo"), onreceive = handler }
    ws:connect()
    helper.wait(function() return #calls > 0 end, "OPEN")
    ws:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.same({ handler, 1 }, calls[1])
    assert.equal(2, calls[2][2])
  end)

  it("a websocket without a handler works", function()
    local ws = websocket.WebSocket { url = server:url("/close?count=3") , reconnect = false }
    ws:connect()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal(1000, ws.closecode)
  end)

  it("close then connect at once gives CLOSE, then OPEN", function()
    local c = helper.client(server:url("/echo")):open()
    c.ws:close()
    c.ws:connect()
    c:get("OPEN", 2)
    assert.equal("OPEN CLOSE OPEN", c:list())
    c.ws:sendText("again")
    assert.equal("again", c:get("TEXT").data)
  end)

  it("every failed attempt gives one ERROR and no CLOSE, without end", function()
    local c = helper.client { url = refused:url("/"), maxreconnectwait = 0.01 }
    c:get("ERROR", 5)
    assert.is_nil(c:list():find("CLOSE"))
    c.ws:close()
    assert.is_true(websocket.run(helper.TIMEOUT))
  end)
end)
