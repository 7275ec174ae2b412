-- Addresses without a WebSocket server, and servers that violate the protocol.

local helper = require "helper"
local websocket = helper.websocket

describe("not a server:", function()
  local raw, refused
  lazy_setup(function()
    raw, refused = helper.serve("raw"), helper.serve("raw")
    refused:stop()
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  --- Asserts exactly one ERROR, of this kind and with a text; returns the event.
  local function fails(kind, options, ...)
    if type(options) == "string" then options = { url = options } end
    if options.reconnect == nil then options.reconnect = false end
    local c = helper.client(options)
    assert.is_true(websocket.run(helper.TIMEOUT))
    websocket.poll(0.02)
    assert.equal("ERROR", c:list())
    local event = c.events[1]
    assert.equal(kind, event.info.kind)
    assert.equal("", event.data)
    assert.equal(1, event.info.attempt)
    assert.is_nil(event.info.retryin)
    for _, words in ipairs { ... } do assert.truthy(event.err:find(words, 1, true), event.err) end
    assert.equal("closed", c.ws.state)
    return event
  end

  it("HTTP 200", function()
    local event = fails("handshake", raw:url("/status?code=200&body=hello"), "200", "101")
    assert.equal(200, event.info.status)
    assert.equal("hello", event.info.body)
  end)

  it("HTTP 503 with a folded header field, which is read as one line", function()
    local folded = helper.escape("X-Reason: out of\r\n \tservice\r\nX-Other: x")
    local event = fails("handshake", raw:url("/status?code=503&header=%s", folded))
    assert.equal("out of service", event.info.headers["x-reason"])
    assert.equal("x", event.info.headers["x-other"])
  end)

  it("HTTP 500 with control characters, which are not in the error's text", function()
    local server = raw:dialogue("close", "HTTP/1.1 500 \u{9b}31mred\u{9d}0;title\u{9c}\r\nContent-Length: 0\r\n\r\n")
    local err = helper.client { url = "ws://127.0.0.1:" .. server.port, reconnect = false }:get("ERROR").err
    assert.truthy(err:find("it answered 500 ?31mred?0;title? instead of 101", 1, true), err)
  end)

  it("HTTP 200 is not tried again", function()
    fails("handshake", { url = raw:url("/status?code=200"), reconnect = true }, "200")
  end)

  it("garbage", function() fails("handshake", raw:url("/garbage")) end)

  it("a banner of another protocol: an ERROR at once", function()
    for _, banner in ipairs { "SSH-2.0-OpenSSH_9.2p1\r\n", "RFB 003.008\n", "220 smtp\r\n", "\r\r\r" } do
      local server = raw:dialogue("hold&drip=1", banner)
      local c = helper.client { url = "ws://127.0.0.1:" .. server.port }
      local event = c:get("ERROR")
      assert.equal("handshake", event.info.kind)
      assert.truthy(event.err:find("not HTTP", 1, true), event.err)
      assert.is_nil(event.info.retryin)
    end
  end)

  it("silence", function()
    local from = helper.now()
    fails("timeout", { url = raw:url("/silence"), connecttimeout = 0.3 }, "connecttimeout", "0.3 s")
    assert.is_true(helper.now() - from >= 0.28)
  end)

  it("a wrong Sec-WebSocket-Accept", function()
    fails("handshake", raw:url("/wrong-accept"), "Sec-WebSocket-Accept")
  end)

  it("a wrong Sec-WebSocket-Accept is not tried again", function()
    fails("handshake", { url = raw:url("/wrong-accept"), reconnect = true }, "Sec-WebSocket-Accept")
  end)

  it("a port without a listener", function()
    fails("connect", refused:url("/"), "ws://127.0.0.1:" .. refused.port .. "/", "refused")
  end)

  it("a name that does not exist", function()
    fails("dns", "ws://nonexistent.invalid/", "nonexistent.invalid")
  end)

  it("a connection that is closed without a response", function()
    fails("handshake", raw:url("/refuse"), "closed")
  end)

  it("a refusal whose body never ends gives its ERROR at once", function()
    local head = "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n"
    -- A chunk extension without end, and a line end without end
    for begin, rest in pairs { ["5;"] = "a", ["1\r\nx"] = "\r" } do
      local server = raw:dialogue("flood&flood=" .. helper.hex(rest), head .. begin)
      local from = helper.now()
      local c = helper.client { url = "ws://127.0.0.1:" .. server.port, reconnect = false }
      assert.equal(503, c:get("ERROR").info.status)
      -- A slow body is awaited for 1 s
      assert.is_true(helper.now() - from < 0.9 * helper.slowness)
    end
  end)

  it("interim responses before a refusal are skipped", function()
    local head = "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    local server = raw:dialogue("close&drip=1", head .. "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    local c = helper.client { url = "ws://127.0.0.1:" .. server.port, reconnect = false }
    assert.equal(404, c:get("ERROR").info.status)
  end)

  it("endless interim responses give an ERROR before connecttimeout", function()
    for _, field in ipairs { "", ("Link: %s\r\n"):format(("x"):rep(3000)) } do
      local interim = "HTTP/1.1 103 Early Hints\r\n" .. field .. "\r\n"
      local server = raw:dialogue("flood&flood=" .. helper.hex(interim), "")
      local event = helper.client { url = "ws://127.0.0.1:" .. server.port }:get("ERROR")
      assert.equal("handshake", event.info.kind)
      assert.truthy(event.err:find("interim answers", 1, true), event.err)
      assert.is_nil(event.info.retryin)
    end
  end)

  it("the URL's password is in no message", function()
    local event = fails("handshake", ("ws://me:secret@127.0.0.1:%d/status?code=401"):format(raw.port))
    assert.is_nil(event.err:find("secret", 1, true))
  end)

  describe("a server that violates the protocol in", function()
    local cases = {
      { "a masked frame", "8181" .. "00000000" .. "61", 1002, "protocol" },
      { "a reserved bit", "c10161", 1002, "protocol" },
      { "a reserved opcode", "8300", 1002, "protocol" },
      { "a reserved control opcode", "8b00", 1002, "protocol" },
      { "a continuation of nothing", "800161", 1002, "protocol" },
      { "a message inside another", "010161" .. "810162", 1002, "protocol" },
      { "a fragmented ping", "090161", 1002, "protocol" },
      { "a ping of 126 bytes", "897e007e" .. ("61"):rep(126), 1002, "protocol" },
      { "a length not in its shortest form", "817e0001" .. "61", 1002, "protocol" },
      { "a length with the top bit set", "827f" .. "8000000000000000", 1002, "protocol" },
      { "a Close of one byte", "880103", 1002, "protocol" },
      { "a Close with 1006", "880203ee", 1002, "protocol" },
      { "a Close with a reason that is not UTF-8", "880303e8ff", 1007, "protocol" },
      { "text that is not UTF-8", "8101ff", 1007, "protocol" },
      { "text that ends inside a character", "8102e282", 1007, "protocol" },
      { "a length beyond every limit", "827f" .. "7fffffffffffffff", 1009, "size" },
    }
    for _, case in ipairs(cases) do
      local name, hex, code, kind = table.unpack(case)
      it(name .. ": earlier messages, one ERROR, one CLOSE, and our Close has " .. code, function()
        local key = name:gsub(" ", "-")
        local c = helper.client { url = raw:url("/frames?hex=810161%s&key=%s", hex, key), reconnect = false }
        local close = c:get("CLOSE").info
        assert.equal(1, c:count("ERROR"))
        assert.equal("TEXT", c.events[2].type)
        assert.equal("a", c.events[2].data)
        assert.equal(1, c:count("TEXT"))
        assert.is_true(websocket.run(helper.TIMEOUT))
        local event = c:get("ERROR")
        assert.equal(kind, event.info.kind)
        assert.not_equal("", event.err)
        assert.equal("CLOSE", c.events[#c.events].type)
        assert.is_false(close.remote)
        local sent = helper.client(raw:url("/captured?key=%s", key)):get("TEXT").data
        local head, mask, body = sent:match("^(88..)(........)(....)$")
        assert.truthy(head, sent)
        assert.equal(code, tonumber(mask:sub(1, 4), 16) ~ tonumber(body, 16))
      end)
    end
  end)
end)
