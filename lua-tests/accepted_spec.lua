-- Websockets that a server has accepted: the response, their events, properties, limits and timeouts; server:close.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local raises = helper.raises

describe("an accepted websocket:", function()
  after_each(own.clean_up)

  describe("its properties", function()
    it("are those of the request", function()
      local s = own.listen { protocols = { "b", "a" } }
      local c, ws = s:pair {
        url = s:url("/chat%20room/?a=1&b=%C3%A4"), protocols = { "a", "b" },
        headers = { ["X-A"] = { "1", "2" }, cookie = "k=v" },
      }
      local open = s:get("OPEN")
      assert.equal("OPEN", open.type)
      assert.same({ "", "" }, { open.data, open.err })
      local request = open.info.request
      assert.is_true(rawequal(request, ws.request))
      assert.same({ "GET", "/chat%20room/?a=1&b=%C3%A4", "/chat%20room/", "a=1&b=%C3%A4" },
        { request.method, request.target, request.path, request.query })
      assert.same({ "a", "b" }, request.protocols)
      assert.is_nil(request.origin)
      assert.is_false(request.secure)
      assert.equal(open.info.address, request.address)
      assert.equal(ws.address, request.address)
      assert.truthy(ws.address:find("^127%.0%.0%.1:%d+$"))
      assert.equal("1, 2", request.headers["x-a"])
      assert.equal("k=v", ws.headers.cookie)
      assert.equal(s.server.address, ws.headers.host)
      assert.equal(s:url("/chat%20room/?a=1&b=%C3%A4"), ws.url)
      assert.same({ "b", "b", "b" }, { ws.protocol, open.info.protocol, c.ws.protocol })
      assert.same({ "", "" }, { ws.extensions, c.ws.extensions })
      assert.same({ "open", 0 }, { ws.state, ws.bufferedamount })
      assert.equal(s.server, ws.server)
      assert.is_nil(ws.latency)
      assert.is_nil(ws.closecode)
      assert.is_nil(ws.nothing)
      raises("can't be set", function() ws.url = "" end)
      assert.is_nil(c.ws.server)
      assert.is_nil(c.ws.request)
      -- They stay after the end.
      c:close(4000, "over")
      s:get("CLOSE")
      assert.same({ 4000, "over", "closed" }, { ws.closecode, ws.closereason, ws.state })
      assert.equal("/chat%20room/", ws.request.path)
      assert.equal(s.server, ws.server)
    end)

    it("without a query: nil, and with an empty one: \"\"", function()
      local s = own.listen {}
      s:pair { url = s:url("/a") }
      s:pair { url = s:url("/a?") }
      assert.is_nil(s.accepted[1].request.query)
      assert.equal("", s.accepted[2].request.query)
      assert.equal(s:url("/a?"), s.accepted[2].url)
    end)
  end)

  it("can't connect, and never reconnects", function()
    local s = own.listen {}
    local c, ws = s:pair()
    local words = raises("connect", ws.connect, ws)
    assert.truthy(words:find("server", 1, true), words)
    c:close()
    local close = s:get("CLOSE")
    assert.same({ code = 1000, reason = "", clean = true, remote = true, unsent = 0 }, close.info)
    assert.equal("closed", ws.state)
    raises("connect", ws.connect, ws)
    raises("WebSocket is not connected, can't send text", ws.sendText, ws, "late")
  end)

  it("has the events of a client's", function()
    local s = own.listen {}
    local c, ws = s:pair()
    c.ws:sendText("täxt")
    c.ws:sendBinary("\0\255")
    c.ws:sendPing("ping")
    assert.equal("täxt", s:get("TEXT").data)
    assert.equal("\0\255", s:get("BINARY").data)
    assert.equal("ping", s:get("PING").data)
    assert.equal("ping", c:get("PONG").data)
    ws:sendPing("from the server")
    assert.equal("from the server", c:get("PING").data)
    assert.equal("from the server", s:get("PONG").data)
    assert.is_true(ws:flush(helper.TIMEOUT))
    for _, event in ipairs(s.events) do assert.equal(ws, event.ws) end
    raises("has an onreceive", ws.receive, ws)
    ws:close(4321, "bye")
    assert.same({ code = 4321, reason = "bye", clean = true, remote = true, unsent = 0 }, c:get("CLOSE").info)
    assert.same({ code = 4321, reason = "", clean = true, remote = false, unsent = 0 }, s:get("CLOSE").info)
  end)

  it("passes a message of 20 MB both ways, with and without compression", function()
    for _, deflate in ipairs { false, true } do
      local s = own.listen { maxmessagesize = 2 ^ 25, maxbuffered = 2 ^ 25, deflate = deflate }
      local c = s:pair { deflate = deflate }
      local message = ("0123456789abcdef"):rep(20 * 2 ^ 16)
      c.ws:sendBinary(message)
      assert.is_true(c:get("BINARY").data == message)
      c:close()
    end
  end)

  it("gets a frame that came together with the request, and FRAGMENT for each that is not the last", function()
    local s = own.listen {}
    -- Masked with the key 0: "ab" and "c" as two frames of one message, then a Close with 1000.
    local frames = "\1\130\0\0\0\0ab" .. "\128\129\0\0\0\0c" .. "\136\130\0\0\0\0\3\232"
    local answer = own.ask(s.server.port, own.request() .. frames)
    assert.truthy(answer:find("^HTTP/1.1 101 "), answer)
    assert.equal("\129\3abc\136\2\3\232", answer:match("\r\n\r\n(.*)$"))
    assert.equal("abc", s:get("TEXT").data)
    assert.equal("FRAGMENT", s.events[2].type)
    assert.equal(1000, s:get("CLOSE").info.code)
  end)

  it("whose client does not mask its frames gets an ERROR, and the client 1002", function()
    local s = own.listen {}
    local answer = own.ask(s.server.port, own.request() .. "\129\2ab")
    assert.equal("\136", answer:match("\r\n\r\n(.*)$"):sub(1, 1))
    assert.equal("\3\234", answer:match("\r\n\r\n(.*)$"):sub(3, 4))
    local event = s:get("ERROR")
    assert.equal("protocol", event.info.kind)
    assert.is_nil(event.info.retryin)
    assert.is_nil(s:get("CLOSE").info.retryin)
  end)

  it("whose connection breaks gets a CLOSE with 1006", function()
    local s = own.listen {}
    own.ask(s.server.port, own.request(), own.END)
    local close = s:get("CLOSE")
    assert.equal(1006, close.info.code)
    assert.is_false(close.info.clean)
    assert.equal(close.err, close.info.cause)
  end)

  describe("the response:", function()
    it("has the option headers", function()
      local s = own.listen { headers = { { "X-A", "1" }, { "X-A", "2" }, { "Server", "mine" } } }
      local c = s:pair()
      assert.equal("1, 2", c.ws.headers["x-a"])
      assert.equal("mine", c.ws.headers.server)
      -- A response that opens none does not have them.
      assert.is_nil(own.ask(s.server.port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"):find("X-A", 1, true))
    end)

    for offered, chosen in pairs { a = "a", ["a,b"] = "b", ["c"] = "", [""] = "" } do
      it(("chooses %q of the protocols %q"):format(chosen, offered), function()
        local s = own.listen { protocols = { "b", "a" } }
        local fields = { ["Sec-WebSocket-Protocol"] = offered ~= "" and offered }
        local answer = own.ask(s.server.port, own.request(fields) .. "\136\128\0\0\0\0")
        assert.truthy(answer:find("^HTTP/1.1 101 "), answer)
        assert.equal(chosen, answer:match("Sec%-WebSocket%-Protocol: ([^\r]*)") or "")
        assert.equal(chosen, s.accepted[1].protocol)
      end)
    end

    it("has the accept value of RFC 6455 1.3", function()
      local answer = own.ask(own.listen {}.server.port, own.request() .. "\136\128\0\0\0\0")
      assert.truthy(answer:find("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 1, true), answer)
    end)

    for _, case in ipairs {
      { "426 ", "asks for no WebSocket", "GET /page HTTP/1.1\r\nHost: a\r\n\r\n" },
      { "426 ", "13", own.request { ["Sec-WebSocket-Version"] = "8" }, "\r\nSec-WebSocket-Version: 13\r\n" },
      { "400 ", "Sec-WebSocket-Key", own.request { ["Sec-WebSocket-Key"] = "short" } },
      { "400 ", "Connection", own.request { Connection = "close" } },
      { "400 ", "GET", own.request({}, "POST / HTTP/1.1") },
      { "400 ", "Host", own.request { Host = false } },
      { "400 ", "", "garbage\r\n\r\n" },
      { "403 ", "https://evil.example", own.request { Origin = "https://evil.example" } },
      { "431 ", "", own.request { ["X-Long"] = ("a"):rep(200000) } },
    } do
      it(("is %swith words about it: %s"):format(case[1], case[2]), function()
        local s = own.listen {}
        local answer = own.ask(s.server.port, case[3])
        assert.equal("HTTP/1.1 " .. case[1], answer:sub(1, 13))
        local head, body = answer:match("^(.-\r\n)\r\n(.*)$")
        assert.truthy(body:find(case[2], 1, true), answer)
        assert.truthy(head:find(case[4] or "", 1, true), answer)
        assert.equal(#body, tonumber(head:match("\r\nContent%-Length: (%d+)")))
        assert.truthy(head:find("\r\nConnection: close", 1, true), head)
        assert.same({}, s.events)
        assert.equal(0, s.server.connections)
      end)
    end
  end)

  describe("origins", function()
    --- The status for a request with this Origin.
    local function status(s, origin)
      local fields = { Origin = origin or false, Host = "chat.example:8080" }
      return tonumber(own.ask(s.server.port, own.request(fields) .. "\136\128\0\0\0\0"):match("^HTTP/1.1 (%d+)"))
    end

    it("by default: the same host and port, and requests without one", function()
      local s = own.listen {}
      assert.same({ 101, 101, 101, 403, 403, 403 }, {
        status(s, nil), status(s, "http://chat.example:8080"), status(s, "https://CHAT.example:8080"),
        status(s, "http://chat.example"), status(s, "http://evil.example:8080"), status(s, "null"),
      })
      assert.equal("http://chat.example:8080", s.accepted[2].request.origin)
    end)
    it("of a list, or one as a string", function()
      local s = own.listen { origins = { "https://a.example", "http://b.example:81" } }
      assert.same({ 101, 101, 101, 403, 403 }, {
        status(s, nil), status(s, "https://a.example"), status(s, "http://b.example:81"), status(s, "http://a.example"),
        status(s, "http://chat.example:8080"),
      })
      s = own.listen { origins = "https://a.example" }
      assert.same({ 101, 403 }, { status(s, "https://a.example"), status(s, "http://chat.example:8080") })
    end)
    it("of an empty list: none", function()
      local s = own.listen { origins = {} }
      assert.same({ 101, 403 }, { status(s, nil), status(s, "http://chat.example:8080") })
    end)
    it("\"*\": any", function()
      local s = own.listen { origins = "*" }
      assert.same({ 101, 101 }, { status(s, "https://evil.example"), status(s, "null") })
    end)
  end)

  describe("deflate", function()
    local function agreed(server, client)
      local s = own.listen { deflate = server }
      local c, ws = s:pair { deflate = client }
      assert.equal(c.ws.extensions, ws.extensions)
      assert.equal(ws.extensions, s:get("OPEN").info.extensions)
      local text = ("all work and no play "):rep(100)
      for i = 1, 3 do
        c.ws:sendText(text)
        assert.equal(text, c:get("TEXT", i).data)
      end
      return ws.extensions
    end
    local function has(extensions, ...)
      for _, word in ipairs { ... } do assert.truthy(extensions:find(word, 1, true), extensions) end
    end

    it("is agreed to only if both want it", function()
      assert.equal("", agreed(false, true))
      assert.equal("", agreed(true, false))
      assert.equal("permessage-deflate", agreed(true, true))
    end)
    it("with the server's windows and takeover", function()
      has(agreed({ serverwindow = 10, clientwindow = 11, servertakeover = false, clienttakeover = false }, true),
        "server_max_window_bits=10", "client_max_window_bits=11", "server_no_context_takeover",
        "client_no_context_takeover")
    end)
    it("with the client's", function()
      has(agreed(true, { serverwindow = 9, clientwindow = 9, servertakeover = false, clienttakeover = false }),
        "server_max_window_bits=9", "server_no_context_takeover")
    end)
    it("compresses: fewer bytes arrive, and above the threshold only", function()
      local s = own.listen { deflate = { threshold = 50 }, echo = false }
      local fields = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" }
      s.server:close()
      s = own.listen { deflate = { threshold = 50 }, onreceive = function(kind, _, _, _, ws)
        if kind ~= helper.types.OPEN then return end
        ws:sendText(("a"):rep(49))
        ws:sendText(("a"):rep(50))
        ws:close()
      end }
      local answer = own.ask(s.server.port, own.request(fields), "\136\130\0\0\0\0\3\232")
      local frames = answer:match("\r\n\r\n(.*)$")
      assert.equal("\129\49" .. ("a"):rep(49), frames:sub(1, 51))
      assert.equal("\193", frames:sub(52, 52))
      assert.is_true(frames:byte(53) < 20)
    end)
  end)
end)
