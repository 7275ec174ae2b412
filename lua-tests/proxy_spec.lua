-- Proxies: tinyproxy, microsocks, and scripted ones (raw.py's dialogue).

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("a proxy:", function()
  local raw, web, socks, closed
  lazy_setup(function()
    raw, web, socks = helper.serve("raw"), helper.proxy("tinyproxy"), helper.proxy("microsocks")
    closed = helper.free_port()
  end)
  lazy_teardown(helper.stop_servers)
  lazy_teardown(helper.remove_files)
  after_each(helper.close_clients)

  local function dialogue(...) return raw:dialogue(...) end

  local function url(scheme, proxy, user) return ("%s://%s127.0.0.1:%d"):format(scheme, user or "", proxy.port) end

  --- Asserts that a websocket opens and gets its echo, and that its address is the proxy's.
  local function works(options)
    if type(options) == "string" then options = { proxy = options } end
    options.url = options.url or raw:url("/burst")
    local c = helper.client(options):open()
    c.ws:sendText("through ✓")
    assert.equal("through ✓", c:get("TEXT").data)
    if options.proxy then
      assert.equal(options.proxy:match("([^/@]+)/?$"), c.ws.address)
      assert.equal(c.ws.address, c:get("OPEN").info.address)
    end
    assert.equal(options.url, c:get("OPEN").info.url)
    assert.equal(1000, c:close().info.code)
    return c
  end

  --- Asserts one ERROR of kind "proxy", without the password; `again`: whether a retry follows.
  local function refuses(again, status, options, ...)
    if type(options) == "string" then options = { proxy = options } end
    options.url = options.url or raw:url("/burst")
    options.minreconnectwait, options.maxreconnectwait = 60, 60
    local c = helper.client(options)
    local event = c:get("ERROR")
    assert.equal("ERROR", c:list())
    assert.equal("proxy", event.info.kind, event.err)
    assert.equal(status, event.info.status, event.err)
    assert.equal(again and "number" or "nil", type(event.info.retryin))
    assert.equal(again and "waiting" or "closed", c.ws.state)
    for _, words in ipairs { "proxy", ... } do assert.truthy(event.err:find(words, 1, true), event.err) end
    assert.is_nil(event.err:find("s3cret", 1, true), event.err)
    return event
  end

  describe("tinyproxy", function()
    local guarded, picky
    lazy_setup(function()
      guarded = helper.proxy("tinyproxy", "BasicAuth me s3cret")
      picky = helper.proxy("tinyproxy", "ConnectPort 443")
    end)

    it("connects to the server", function()
      works(url("http", web))
      web:says(("CONNECT 127.0.0.1:%d HTTP/1.1"):format(raw.port))
    end)

    it("accepts the right password", function() works(url("http", guarded, "me:s3cret@")) end)

    it("accepts the right password with percent-escapes", function() works(url("http", guarded, "%6de:s3%63ret@")) end)

    for name, case in pairs {
      ["a wrong password"] = { "me:s3cretive@", 401 }, ["a wrong name"] = { "you:s3cret@", 401 }, nobody = { "", 407 },
    } do
      it("refuses " .. name .. ": no retry", function()
        local user, status = table.unpack(case)
        refuses(false, status, url("http", guarded, user), "127.0.0.1:" .. guarded.port, tostring(status))
      end)
    end

    it("refuses a port: no retry", function() refuses(false, 403, url("http", picky), "403") end)

    it("can't reach the server: retry", function()
      refuses(true, 500, { url = ("ws://127.0.0.1:%d/"):format(closed), proxy = url("http", web) }, "500")
    end)

    it("passes messages of any size, both ways, and a Close with its code", function()
      local c = helper.client { url = raw:url("/frames?key=proxied"), proxy = url("http", web) }:open()
      c.ws:sendBinary(("x"):rep(3 << 20))
      c:close(4000, "enough")
      assert.equal(4000, c.ws.closecode)
      local captured = helper.client { url = raw:url("/captured?key=proxied"), proxy = url("socks5", socks) }
      assert.is_true(#captured:get("TEXT").data > 6 << 20)
    end)

    it("stops and starts again: the websocket reconnects", function()
      local proxy = helper.proxy("tinyproxy")
      local c = helper.client { url = raw:url("/frames"), proxy = url("http", proxy), maxreconnectwait = 0.05 }:open()
      proxy:stop("KILL")
      assert.equal(1006, c:get("CLOSE").info.code)
      assert.equal("proxy", c:get("ERROR").info.kind)
      helper.proxy("tinyproxy", nil, proxy.port)
      c:get("OPEN", 2)
    end)
  end)

  describe("microsocks", function()
    local guarded
    lazy_setup(function() guarded = helper.proxy("microsocks", "-u me -P s3cret") end)

    for _, scheme in ipairs { "socks5", "socks5h" } do
      it("connects to the server as " .. scheme, function()
        works(url(scheme, socks))
        socks:says("connected to 127.0.0.1:" .. raw.port)
      end)

      it("accepts the right password as " .. scheme, function() works(url(scheme, guarded, "me:s3%63ret@")) end)

      it("refuses a wrong password as " .. scheme, function()
        local c = helper.client { url = raw:url("/burst"), proxy = url(scheme, guarded, "me:s3cretive@") }
        local event = c:get("ERROR")
        assert.equal("proxy", event.info.kind)
        assert.is_nil(event.err:find("s3cret", 1, true), event.err)
      end)

      it("refuses a client without a password as " .. scheme, function()
        assert.equal("proxy", helper.client { url = raw:url("/"), proxy = url(scheme, guarded) }:get("ERROR").info.kind)
      end)

      it("can't reach the server as " .. scheme .. ": retry", function()
        refuses(true, 5, { url = ("ws://127.0.0.1:%d/"):format(closed), proxy = url(scheme, socks) })
      end)
    end

    it("resolves the name as socks5h", function()
      works { url = ("ws://localhost:%d/burst"):format(raw.port), proxy = url("socks5h", socks) }
      socks:says("connected to localhost:" .. raw.port)
    end)

    it("gets an address, resolved here, as socks5", function()
      works { url = ("ws://localhost:%d/burst"):format(raw.port), proxy = url("socks5", guarded, "me:s3cret@") }
      guarded:says("connected to 127.0.0.1:" .. raw.port)
    end)

    it("can't resolve the name as socks5h", function()
      refuses(true, 1, { url = "ws://nonexistent.invalid/", proxy = url("socks5h", socks) })
    end)

    it("is not asked as socks5 when the name can't be resolved here", function()
      local c = helper.client { url = "ws://nonexistent.invalid/", proxy = url("socks5", socks), reconnect = false }
      assert.equal("dns", c:get("ERROR").info.kind)
    end)
  end)

  describe("that does not exist:", function()
    for _, scheme in ipairs { "http", "socks5", "socks5h" } do
      it(scheme .. ", a port without a listener", function()
        local place = "127.0.0.1:" .. closed
        refuses(true, nil, ("%s://me:s3cret@%s"):format(scheme, place), place, "refused")
      end)

      it(scheme .. ", a name that does not exist", function()
        refuses(true, nil, scheme .. "://me:s3cret@nonexistent.invalid:1", "nonexistent.invalid")
      end)
    end
  end)

  describe("HTTP CONNECT", function()
    local ok = "HTTP/1.1 200 OK\r\n\r\n"

    it("sends the server's name and port and the proxy's password, but no header meant for the server", function()
      local proxy = dialogue("tunnel", ok)
      local c = helper.client {
        url = "ws://you:s3cr3t@target.invalid:8080/request?token=abc", proxy = url("http", proxy, "me:s%3Acret@"),
        headers = { Cookie = "id=abc", ["X-Test"] = "abc" },
      }
      local request, asked = c:get("TEXT").data, proxy.heard(1)
      assert.truthy(asked:find("^CONNECT target%.invalid:8080 HTTP/1%.1\r\n"), asked)
      assert.truthy(asked:find("\r\nHost: target.invalid:8080\r\n", 1, true), asked)
      assert.truthy(asked:find("\r\nProxy-Authorization: Basic bWU6czpjcmV0\r\n", 1, true), asked)
      for _, words in ipairs { "\nAuthorization", "Cookie", "X-Test", "abc", "Sec-WebSocket" } do
        assert.is_nil(asked:find(words, 1, true), asked)
      end
      assert.truthy(request:find("^GET /request%?token=abc HTTP/1%.1\r\n"), request)
      assert.truthy(request:find("\r\nHost: target.invalid:8080\r\n", 1, true), request)
      assert.truthy(request:find("\r\nAuthorization: Basic eW91OnMzY3IzdA==\r\n", 1, true), request)
      assert.is_nil(request:find("Proxy", 1, true), request)
    end)

    for target, authority in pairs {
      ["ws://target.invalid/request"] = "target.invalid:80", ["ws://[2001:db8::1]:9/request"] = "[2001:db8::1]:9",
    } do
      it("to " .. authority, function()
        local proxy = dialogue("tunnel", ok)
        helper.client { url = target, proxy = url("http", proxy) }:open()
        assert.equal(("CONNECT %s HTTP/1.1"):format(authority), proxy.heard(1):match("^[^\r]*"))
      end)
    end

    for user, encoded in pairs { ["j%C3%B6:p%25%40"] = "asO2OnAlQA==", ["me:"] = "bWU6", ["me"] = "bWU6" } do
      it("with the name and password " .. user, function()
        local proxy = dialogue("tunnel", ok)
        helper.client { url = raw:url("/request"), proxy = url("http", proxy, user .. "@") }:open()
        assert.equal("Basic " .. encoded, proxy.heard(1):match("\r\nProxy%-Authorization: ([^\r]*)\r\n"))
      end)
    end

    it("at an IPv6 address", function()
      works("http://[::1]:" .. dialogue("tunnel&host=::1", ok).port)
    end)

    it("at a name", function()
      local proxy = dialogue("tunnel", ok)
      local c = helper.client { url = raw:url("/burst"), proxy = "http://localhost:" .. proxy.port }:open()
      assert.equal("127.0.0.1:" .. proxy.port, c.ws.address)
    end)

    for name, answer in pairs {
      ["of HTTP/1.0"] = "HTTP/1.0 200 Connection established\r\nProxy-agent: old\r\n\r\n",
      ["without a reason"] = "HTTP/1.1 200 \r\n\r\n",
      ["with another status of success"] = "HTTP/1.1 201 Created\r\n\r\n",
      -- RFC 9110 section 9.3.6: ignore both fields.
      ["with Content-Length"] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
      ["with Transfer-Encoding"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      -- RFC 9110 section 15.2: interim responses may precede any response.
      ["behind a 100 Continue"] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    } do
      it("accepts a response " .. name, function() works(url("http", dialogue("tunnel", answer))) end)
      it("accepts a response " .. name .. ", byte by byte", function()
        works(url("http", dialogue("tunnel&drip=1", answer)))
      end)
    end

    for name, answer in pairs {
      ["no answer"] = { "close", "" },
      ["half an answer"] = { "close", "HTTP/1.1 200 OK\r\nVia:" },
      garbage = { "hold", ("\0\255garbage"):rep(100) .. "\r\n\r\n" },
      ["another protocol"] = { "hold", "SSH-2.0-OpenSSH_9.2\r\n\r\n" },
      ["headers without end"] = { "flood", "HTTP/1.1 200 OK\r\nVia: " },
      ["a header that is none"] = { "hold", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n" },
    } do
      it("gets " .. name, function() refuses(true, nil, url("http", dialogue(table.unpack(answer)))) end)
    end

    it("fails on endless interim responses before connecttimeout", function()
      local function flood()
        return url("http", dialogue("flood&flood=" .. helper.hex("HTTP/1.1 100 Continue\r\n\r\n"), ""))
      end
      refuses(true, nil, flood(), "interim answers")
      assert.equal(0, helper.ends_in_time(raw:url("/burst"), flood()))
    end)

    it("fails when the proxy closes before the server has answered", function()
      local c = helper.client {
        url = raw:url("/burst"), proxy = url("http", dialogue("close", ok, "")), reconnect = false,
      }
      assert.equal("handshake", c:get("ERROR").info.kind)
    end)

    for _, status in ipairs { 400, 401, 403, 404, 405, 407, 410, 426 } do
      it("is refused with " .. status .. ": no retry", function()
        local proxy = dialogue("close", ("HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"):format(status))
        refuses(false, status, url("http", proxy, "me:s3cret@"), "127.0.0.1:" .. proxy.port, tostring(status))
      end)
    end

    it("keeps Retry-After", function()
      local proxy = dialogue("close", "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
      local c = helper.client { url = raw:url("/burst"), proxy = url("http", proxy) }
      local wait = c:get("ERROR").info.retryin
      assert.is_true(wait >= 7 and wait < 8, wait)
    end)

    -- 101 and 302 are failures here, and no redirect is followed.
    for _, status in ipairs { 101, 302, 408, 429, 500, 502, 503, 504 } do
      it("is retried after " .. status, function()
        local head = "HTTP/1.1 %d No\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n"
        refuses(true, status, url("http", dialogue("hold", head:format(status, raw:url("/burst")))), tostring(status))
      end)
    end

    it("fails on bytes behind the proxy's response: they can't be the server's", function()
      local more = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        .. "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n\x81\x01a"
      for _, behind in ipairs { { "hold", ok .. more }, { "hold", ok .. "x" }, { "flood", ok } } do
        local c = helper.client {
          url = raw:url("/burst"), proxy = url("http", dialogue(table.unpack(behind))), reconnect = false,
          connecttimeout = 0.3,
        }
        c:get("ERROR")
        assert.equal("ERROR", c:list())
      end
    end)

    it("ends with connecttimeout", function()
      local proxy = dialogue("hold", "")
      local from = helper.now()
      local c = helper.client { url = raw:url("/burst"), proxy = url("http", proxy), connecttimeout = 0.3 }
      local event = c:get("ERROR")
      assert.is_true(helper.now() - from >= 0.28)
      assert.truthy(event.err:find("connecttimeout", 1, true), event.err)
      assert.truthy(event.err:find("proxy", 1, true), event.err)
      assert.truthy(event.info.retryin)
    end)

    it("is ended by close, without an event", function()
      local proxy = dialogue("hold", "")
      local c = helper.client { url = raw:url("/burst"), proxy = url("http", proxy) }
      proxy.heard(1)
      c.ws:close()
      assert.equal("closed", c.ws.state)
      assert.equal("", c:list())
    end)
  end)

  describe("SOCKS5", function()
    local bound = "\5\0\0\1\127\0\0\1\0\80"

    local function asked(host, port) return "\5\1\0" .. host .. (">I2"):pack(port) end

    it("with a name that the proxy resolves", function()
      local proxy = dialogue("tunnel", "\5\0", bound)
      works { url = "ws://target.invalid:513/burst", proxy = url("socks5h", proxy) }
      assert.equal("\5\1\0", proxy.heard(1))
      assert.equal(asked("\3\14target.invalid", 513), proxy.heard(2))
    end)

    it("with an IPv4 address", function()
      local proxy = dialogue("tunnel", "\5\0", bound)
      works { url = "ws://192.0.2.1/burst", proxy = url("socks5", proxy) }
      assert.equal(asked("\1\192\0\2\1", 80), proxy.heard(2))
    end)

    it("with an IPv6 address", function()
      local proxy = dialogue("tunnel", "\5\0", bound)
      works { url = "ws://[2001:db8::1]:9/burst", proxy = url("socks5", proxy) }
      assert.equal(asked("\4\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\1", 9), proxy.heard(2))
    end)

    it("with name and password", function()
      local proxy = dialogue("tunnel", "\5\2", "\1\0", bound)
      works(url("socks5", proxy, "j%C3%B6:s3cret%00@"))
      local greeting = proxy.heard(1)
      assert.equal(5, greeting:byte())
      assert.equal(#greeting, greeting:byte(2) + 2)
      assert.truthy(greeting:find("\2", 3, true))
      assert.equal("\1\3jö\7s3cret\0", proxy.heard(2))
    end)

    it("with name and password, which the proxy does not request", function()
      works(url("socks5", dialogue("tunnel", "\5\0", bound), "me:s3cret@"))
    end)

    for name, reply in pairs {
      ["an IPv4 address"] = bound, ["a name"] = "\5\0\0\3\11example.org\0\80",
      ["an empty name"] = "\5\0\0\3\0\0\80", ["an IPv6 address"] = "\5\0\0\4" .. ("\0"):rep(18),
    } do
      it("accepts a reply with " .. name, function() works(url("socks5", dialogue("tunnel", "\5\0", reply))) end)
      it("accepts a reply with " .. name .. ", byte by byte", function()
        works(url("socks5h", dialogue("tunnel&drip=1", "\5\2", "\1\0", reply), "me:s3cret@"))
      end)
    end

    for name, answers in pairs {
      ["nothing"] = { "close", "" },
      ["half a method"] = { "close", "\5" },
      ["version 4"] = { "hold", "\4\0" },
      ["HTTP"] = { "hold", "HTTP/1.1 400 Bad Request\r\n\r\n" },
      ["no acceptable method"] = { "hold", "\5\255" },
      ["a method that was not offered"] = { "hold", "\5\1" },
      ["nothing for the password"] = { "close", "\5\2", "" },
      ["a wrong password"] = { "hold", "\5\2", "\1\1" },
      ["a wrong version for the password"] = { "hold", "\5\2", "\5\0" },
      ["a reply with a wrong version"] = { "hold", "\5\0", "\4" .. bound:sub(2) },
      ["a reply with an unknown type of address"] = { "hold", "\5\0", "\5\0\0\2\127\0\0\1\0\80" },
      ["half a reply"] = { "close", "\5\0", bound:sub(1, 7) },
      ["a reply without its name"] = { "close", "\5\0", "\5\0\0\3\255" },
    } do
      it("gets " .. name, function()
        local c = helper.client {
          url = raw:url("/burst"), proxy = url("socks5", dialogue(table.unpack(answers)), "me:s3cret@"),
          reconnect = false,
        }
        local event = c:get("ERROR")
        assert.equal("proxy", event.info.kind, event.err)
        assert.truthy(event.err:find("proxy", 1, true), event.err)
        assert.is_nil(event.err:find("s3cret", 1, true), event.err)
        assert.equal("ERROR", c:list())
      end)
    end

    it("fails when the proxy requests a password and none is given", function()
      refuses(true, nil, url("socks5", dialogue("hold", "\5\2")))
    end)

    for code = 1, 9 do
      it("is refused with " .. code .. ", which is info.status", function()
        local proxy = dialogue("hold", "\5\0", "\5" .. string.char(code) .. bound:sub(3))
        refuses(true, code, url("socks5", proxy), "127.0.0.1:" .. proxy.port)
      end)
    end

    it("fails on bytes behind the proxy's reply: they can't be the server's", function()
      local proxy = dialogue("hold", "\5\0", bound .. "HTTP/1.1 101 Switching Protocols\r\n\r\n")
      local c = helper.client {
        url = raw:url("/burst"), proxy = url("socks5", proxy), reconnect = false, connecttimeout = 0.3,
      }
      c:get("ERROR")
      assert.equal("ERROR", c:list())
    end)

    it("ends with connecttimeout", function()
      for _, answers in ipairs { { "" }, { "\5\0", "" }, { "\5\0", bound } } do
        local proxy = dialogue("hold", table.unpack(answers))
        local c = helper.client {
          url = raw:url("/burst"), proxy = url("socks5", proxy), connecttimeout = 0.2, reconnect = false,
        }
        assert.truthy(c:get("ERROR").err:find("connecttimeout", 1, true), c:names())
      end
    end)

    -- The length of each is one byte.
    for name, case in pairs {
      ["a host name of 300 bytes"] = { "", ("a.123456789"):rep(30) .. ".invalid" },
      ["a user name of 300 bytes"] = { ("u"):rep(300) .. ":s3cret@", "127.0.0.1" },
      ["a password of 300 bytes"] = { "me:" .. ("p"):rep(300) .. "@", "127.0.0.1" },
    } do
      it("can't carry " .. name .. ": an error", function()
        local user, host = table.unpack(case)
        local output, code = helper.script([[
          local websocket = require "websocket"
          local proxy, url = ...
          local ok = pcall(function()
            local ws = websocket.WebSocket {
              url = url, proxy = proxy, reconnect = false,
              onreceive = function(type, _, _, info) if type == 3 then print(info.kind) end end,
            }
            ws:connect()
          end)
          if not ok then print "proxy" end
          os.exit(websocket.run(5), false)
        ]], url("socks5h", dialogue("tunnel", "\5\2", "\1\0", bound), user), ("ws://%s/burst"):format(host))
        assert.equal(0, code, output)
        assert.equal("proxy\n", output)
      end)
    end
  end)

  describe("with TLS behind it", function()
    local secure
    local tls = { ca = helper.certificates .. "/ca.pem" }
    lazy_setup(function() secure = helper.serve("raw-tls") end)

    for _, scheme in ipairs { "http", "socks5", "socks5h" } do
      it("connects to the server, whose name is verified: " .. scheme, function()
        local proxy = scheme == "http" and web or socks
        works { url = secure:url("/burst"), proxy = url(scheme, proxy), tls = tls }
        local c = helper.client { url = secure:url("/burst"), proxy = url(scheme, proxy) }
        assert.equal("tls", c:get("ERROR").info.kind)
      end)
    end

    it("learns the host's name and nothing else", function()
      local proxy = dialogue("close", "HTTP/1.1 200 OK\r\n\r\n", "")
      local c = helper.client {
        url = "wss://you:s3cr3t@target.invalid/path?token=abc", proxy = url("http", proxy), reconnect = false,
      }
      assert.equal("tls", c:get("ERROR").info.kind)
      assert.truthy(proxy.heard(1):find("^CONNECT target%.invalid:443 HTTP/1%.1\r\n"))
      -- A TLS record of type handshake with a ClientHello
      assert.equal("\x16\x03", proxy.heard(2):sub(1, 2))
      for n = 1, 2 do
        for _, secret in ipairs { "s3cr3t", "abc", "eW91" } do assert.is_nil(proxy.heard(n):find(secret, 1, true)) end
      end
    end)

    it("sends bytes before the server does: an ERROR", function()
      local proxy = dialogue("hold", "HTTP/1.1 200 OK\r\n\r\n\x16\3\3\0\2\2\x28")
      local c = helper.client { url = secure:url("/burst"), proxy = url("http", proxy), tls = tls, reconnect = false }
      assert.equal("proxy", c:get("ERROR").info.kind)
    end)

    it("refuses: an ERROR before TLS starts", function()
      refuses(false, 403, { url = secure:url("/"), proxy = url("http", dialogue("hold", "HTTP/1.1 403 No\r\n\r\n")) })
    end)
  end)

  describe("for each request:", function()
    it("a redirect goes through the proxy, too", function()
      local proxy = dialogue("tunnel", "HTTP/1.1 200 OK\r\n\r\n")
      local c = helper.client {
        url = "ws://first.invalid/redirect?code=302&to=ws://second.invalid/burst", proxy = url("http", proxy),
      }:open()
      assert.equal("ws://second.invalid/burst", c:get("OPEN").info.url)
      assert.truthy(proxy.heard(1):find("CONNECT first.invalid:80 ", 1, true))
      assert.truthy(proxy.heard(2):find("CONNECT second.invalid:80 ", 1, true))
    end)
  end)

  describe("option", function()
    it("with a bad value raises an error that names it", function()
      for _, value in ipairs {
        5, {}, true, "https://a:1", "socks4://a:1", "socks4a://a:1", "ftp://a:1", "ws://a:1", "http://", "http://:1",
        "http://a:0", "http://a:65536", "http://a:x", "http://a b:1", "http://a:1\r\nX: y", "socks5://%zz@a:1",
        "http://a\0b:1", "http://[::g]:1", "http://a:1/path", "http://me%3A:s3cret@a:1", "socks5://me@a:1",
        ("socks5://%s:s3cret@a:1"):format(("u"):rep(256)),
      } do
        raises("'proxy'", websocket.WebSocket, { url = "ws://b", proxy = value })
      end
    end)

    it("with a bad value raises an error without the password", function()
      for _, value in ipairs { "http://me:s3cret@a:x", "https://me:s3cret@a:1", "socks4://me:s3cret@a" } do
        local err = raises("'proxy'", websocket.WebSocket, { url = "ws://b", proxy = value })
        assert.is_nil(err:find("s3cret", 1, true), err)
      end
    end)

    it("with a good value is accepted", function()
      for _, value in ipairs {
        false, "http://a:1", "http://a:1/", "HTTP://A:1", "http://me@a:1", "http://me:@a:1", "socks5://[::1]:1",
        "socks5h://me:s3cret@a.example:65535",
      } do
        assert.truthy(websocket.WebSocket { url = "ws://b", proxy = value })
      end
    end)
  end)
end)
