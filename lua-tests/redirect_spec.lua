local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("a redirect:", function()
  local raw, other, closed
  lazy_setup(function()
    raw, other, closed = helper.serve("raw"), helper.serve("raw"), helper.free_port()
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  local keys = 0
  local function new_key()
    keys = keys + 1
    return "redirect" .. keys
  end

  --- A path that redirects to `to`, which may be such a path, too.
  local function to(target, code, key)
    return ("/redirect?code=%d&key=%s&to=%s"):format(code or 302, key or "", helper.escape(target))
  end

  --- Number of redirects that the server has counted for this key.
  local function attempts(key) return tonumber(helper.client(raw:url("/attempts?key=%s", key)):get("TEXT").data) end

  --- Asserts one ERROR of a redirect that is not followed, with its status and a retry.
  local function refuses(options, code, ...)
    options.minreconnectwait, options.maxreconnectwait = 60, 60
    local c = helper.client(options)
    local event = c:get("ERROR")
    assert.equal("handshake", event.info.kind, event.err)
    assert.equal(code, event.info.status)
    assert.equal("number", type(event.info.retryin))
    for _, words in ipairs { ... } do assert.truthy(event.err:find(words, 1, true), event.err) end
    assert.equal("ERROR", c:list())
    assert.equal("waiting", c.ws.state)
    return event
  end

  for _, code in ipairs { 301, 302, 303, 307, 308 } do
    it("status " .. code .. " is followed; ws.url stays, info.url is the new URL", function()
      local c = helper.client(raw:url(to(other:url("/burst?a=1"), code))):open()
      local info = c:get("OPEN").info
      assert.equal(other:url("/burst?a=1"), info.url)
      assert.equal("127.0.0.1:" .. other.port, info.address)
      assert.equal(raw:url(to(other:url("/burst?a=1"), code)), c.ws.url)
      assert.equal(info.address, c.ws.address)
      c.ws:sendText("here")
      assert.equal("here", c:get("TEXT").data)
      assert.equal(0, c:count("ERROR"))
    end)
  end

  for _, code in ipairs { 300, 304, 305, 306, 309 } do
    it("status " .. code .. " is no redirect", function() refuses({ url = raw:url(to("/burst", code)) }, code) end)
  end

  for name, case in pairs {
    ["a path"] = { "/request?x=1", "/request?x=1" },
    ["a path beside the old one"] = { "request?x=1", "/request?x=1" },
    ["a path with dots"] = { "/a/./b/../../request", "/request" },
    ["a path above the root"] = { "../../request", "/request" },
    ["a host without a scheme"] = { "//127.0.0.1:PORT/request", "/request" },
    ["ws"] = { "ws://127.0.0.1:PORT/request", "/request" },
    ["http"] = { "http://127.0.0.1:PORT/request", "/request" },
    ["HTTP"] = { "HTTP://127.0.0.1:PORT/request", "/request" },
    ["a URL with a fragment"] = { "/request#part", "/request" },
  } do
    it("to " .. name, function()
      local target, path = table.unpack(case)
      local c = helper.client(raw:url(to((target:gsub("PORT", raw.port)))))
      assert.equal(("GET %s HTTP/1.1"):format(path), c:get("TEXT").data:match("^[^\r]*"))
      assert.equal(raw:url(path), c:get("OPEN").info.url)
    end)
  end

  --- The last request that the server redirected for this key.
  local function redirected(key)
    return helper.unhex(helper.client(raw:url("/captured?key=%s", key)):get("TEXT").data)
  end

  it("sends another Sec-WebSocket-Key", function()
    local key, pattern = new_key(), "\r\nSec%-WebSocket%-Key: (%S+)\r\n"
    local second = helper.client(raw:url(to("/request", 302, key))):get("TEXT").data:match(pattern)
    assert.not_equal(second, redirected(key):match(pattern))
  end)

  it("offers protocols and compression to the second server, too", function()
    local c = helper.client { url = raw:url(to(other:url("/request"))), protocols = { "chat" }, deflate = true }
    local head = c:get("TEXT").data
    assert.truthy(head:find("\r\nSec-WebSocket-Protocol: chat\r\n", 1, true), head)
    assert.truthy(head:find("\r\nSec-WebSocket-Extensions: permessage-deflate", 1, true), head)
  end)

  describe("maxredirects", function()
    --- A path of `count` redirects in a chain.
    local function chain(count, key)
      local path = "/burst"
      for _ = 1, count do path = to(path, 302, key) end
      return raw:url(path)
    end

    it("is 5 by default", function()
      local key = new_key()
      helper.client(chain(5, key)):open()
      assert.equal(5, attempts(key))
      refuses({ url = chain(6, key) }, 302, "maxredirects", "5")
      assert.equal(11, attempts(key))
    end)

    it("is a limit", function()
      helper.client { url = chain(2), maxredirects = 2 }:open()
      refuses({ url = chain(3), maxredirects = 2 }, 302, "maxredirects", "2")
    end)

    it("ends a loop", function()
      local key = new_key()
      refuses({ url = raw:url("/redirect?code=307&key=%s", key), maxredirects = 10 }, 307, "maxredirects")
      assert.equal(11, attempts(key))
    end)

    it("is counted for each attempt, which starts at ws.url", function()
      local key = new_key()
      local c = helper.client {
        url = raw:url(to(other:url("/accepts?end=close"), 302, key)), maxredirects = 1, maxreconnectwait = 0.01,
      }
      c:get("OPEN", 3)
      assert.equal(0, c:count("ERROR"))
      c.ws:close()
      assert.is_true(attempts(key) >= 3)
    end)

    it("of 0 allows none: the redirect is the error, with its headers", function()
      local event = refuses({ url = chain(1), maxredirects = 0 }, 302, "302")
      assert.equal("/burst", event.info.headers.location)
    end)

    it("is checked by the constructor", function()
      for _, value in ipairs { -1, 1.5, "1", true, {}, 0 / 0 } do
        raises("'maxredirects'", websocket.WebSocket, { url = "ws://a", maxredirects = value })
      end
      for _, value in ipairs { 0, 1, 2.0, 100 } do assert.truthy(websocket.WebSocket { maxredirects = value }) end
    end)
  end)

  describe("is not followed", function()
    for name, location in pairs {
      ["to FTP"] = "ftp://127.0.0.1/", ["to a file"] = "file:///etc/passwd", ["to a script"] = "javascript:alert(1)",
      ["to a Unix socket"] = "ws+unix:/run/some.sock:/", ["to nowhere"] = "ws://", ["to a bad port"] = "ws://a:x/",
      ["to a bad address"] = "ws://[::g]/", ["to a bad escape"] = "ws://a/%zz", ["to a space"] = "ws://a b/",
    } do
      it(name, function() refuses({ url = raw:url(to(location)) }, 302) end)
    end

    it("to a control character, which is in no message", function()
      local c = helper.client { url = raw:url(to("/burst\27[2J")), reconnect = false }
      local event = c:get("ERROR")
      assert.equal("handshake", event.info.kind)
      assert.is_nil(event.err:find("%c"), event.err)
    end)

    it("without Location", function()
      refuses({ url = raw:url("/status?code=302") }, 302, "302")
    end)

    it("with an empty Location", function()
      refuses({ url = raw:url("/status?code=302&header=Location:%20") }, 302, "302")
    end)

    it("after connecttimeout, which is for all redirects together", function()
      local from = helper.now()
      local c = helper.client { url = raw:url(to("/silence")), connecttimeout = 0.3, reconnect = false }
      local event = c:get("ERROR")
      assert.is_true(helper.now() - from >= 0.28)
      assert.equal("timeout", event.info.kind)
    end)

    it("after close", function()
      -- On a busy machine any number of redirects may come before that.
      local c = helper.client { url = raw:url("/redirect?code=302"), maxredirects = 1000000 }
      c.ws:close()
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal("", c:list())
    end)
  end)

  it("to a port without a listener: an ERROR with that address; the next attempt starts at ws.url", function()
    local key = new_key()
    local c = helper.client {
      url = raw:url(to(("ws://127.0.0.1:%d/"):format(closed), 302, key)), maxreconnectwait = 0.01,
    }
    local event = c:get("ERROR", 2)
    assert.equal("connect", event.info.kind)
    assert.truthy(event.err:find("127.0.0.1:" .. closed, 1, true), event.err)
    assert.is_true(attempts(key) >= 2)
  end)

  it("to a server that refuses: its status, headers and body are in info", function()
    local c = helper.client(raw:url(to(other:url("/status?code=403&body=no%20way"))))
    local info = c:get("ERROR").info
    assert.equal(403, info.status)
    assert.equal("no way", info.body)
    assert.equal("because", info.headers["x-reason"])
    assert.is_nil(info.retryin)
  end)

  describe("and TLS:", function()
    local secure
    local tls = { ca = helper.certificates .. "/ca.pem" }
    lazy_setup(function() secure = helper.serve("raw-tls") end)

    for name, scheme in pairs { wss = "wss", https = "https" } do
      it("leads from plain to " .. name, function()
        local target = scheme .. secure:url("/request"):sub(4)
        local c = helper.client { url = raw:url(to(target)), tls = tls }
        c:get("TEXT")
        assert.equal(secure:url("/request"), c:get("OPEN").info.url)
      end)
    end

    it("leads from plain to a certificate that does not verify", function()
      local c = helper.client(raw:url(to(secure:url("/request"))))
      assert.equal("tls", c:get("ERROR").info.kind)
      assert.is_nil(c:get("ERROR").info.retryin)
    end)

    for name, target in pairs {
      ["a path"] = "/request", ["a host without a scheme"] = "//localhost:PORT/request",
      ["its own URL"] = "wss://localhost:PORT/request",
    } do
      it("stays on TLS by " .. name .. ", and secrets are sent", function()
        local c = helper.client {
          url = secure:url(to((target:gsub("PORT", secure.port)))), tls = tls, headers = { Cookie = "id=abc" },
        }
        assert.truthy(c:get("TEXT").data:find("\r\nCookie: id=abc\r\n", 1, true))
        assert.equal(secure:url("/request"), c:get("OPEN").info.url)
      end)
    end

    for name, scheme in pairs { ws = "ws", http = "http" } do
      it("never leads from TLS to plain " .. name, function()
        local target = scheme .. raw:url("/request"):sub(3)
        refuses({ url = secure:url(to(target)), tls = tls }, 302, "TLS")
      end)
    end

    it("never leads from TLS to plain over a third server", function()
      refuses({ url = raw:url(to(secure:url(to(raw:url("/request"))))), tls = tls }, 302, "TLS")
    end)

    it("does not send secrets from plain to TLS on the same host", function()
      local c = helper.client { url = raw:url(to(secure:url("/request"))), tls = tls, headers = { Cookie = "id=abc" } }
      assert.is_nil(c:get("TEXT").data:find("abc", 1, true))
    end)
  end)

  describe("credentials", function()
    local mine = {
      Authorization = "Bearer abc", Cookie = "id=abc", Host = "mine.example", ["Proxy-Authorization"] = "Basic abc",
      ["X-Test"] = "1", ["User-Agent"] = "me", Origin = "http://mine.example",
    }

    --- The request that follows a redirect.
    local function request(target, path, headers, user)
      local url = ("ws://%s127.0.0.1:%d%s"):format(user or "", raw.port, to(target .. (path or "/request")))
      return helper.client { url = url, headers = headers }:get("TEXT").data
    end

    local function has(head, field) return head:find("\r\n" .. field .. "\r\n", 1, true) ~= nil end

    for name, target in pairs { ["a path"] = "", ws = "ws://127.0.0.1:PORT", http = "http://127.0.0.1:PORT" } do
      it("follow to the same origin, by " .. name, function()
        local head = request((target:gsub("PORT", raw.port)), nil, mine)
        for _, field in ipairs {
          "Authorization: Bearer abc", "Cookie: id=abc", "Host: mine.example", "X-Test: 1", "User-Agent: me",
        } do
          assert.is_true(has(head, field), field .. " in " .. head)
        end
      end)
    end

    for name, target in pairs { ["another port"] = "ws://127.0.0.1:OTHER", ["another host"] = "ws://localhost:PORT" } do
      it("do not follow to " .. name .. ", while other headers do", function()
        target = target:gsub("OTHER", other.port):gsub("PORT", raw.port)
        local head = request(target, nil, mine)
        assert.is_nil(head:find("abc", 1, true), head)
        assert.is_nil(head:find("Authorization", 1, true), head)
        assert.is_true(has(head, "Host: " .. target:match("//(.*)")), head)
        for _, field in ipairs { "X-Test: 1", "User-Agent: me" } do
          assert.is_true(has(head, field), field .. " in " .. head)
        end
      end)

      it("of the URL do not follow to " .. name, function()
        local head = request(target:gsub("OTHER", other.port):gsub("PORT", raw.port), nil, nil, "me:s3cret@")
        assert.is_nil(head:find("Authorization", 1, true), head)
      end)
    end

    it("do not follow when their names are in another case", function()
      local head = request(other:url(""), nil, { AUTHORIZATION = "Bearer abc", cookie = "id=abc" })
      assert.is_nil(head:find("abc", 1, true), head)
    end)

    it("do not follow to another origin after a redirect to the same one", function()
      local head = request("", to(other:url("/request")), mine, "me:s3cret@")
      assert.is_nil(head:find("abc", 1, true), head)
    end)

    it("of the URL follow to the same origin", function()
      assert.is_true(has(request("", nil, nil, "me:a%3Ab@"), "Authorization: Basic bWU6YTpi"))
    end)

    it("are sent again in the next attempt", function()
      local key = new_key()
      local c = helper.client {
        url = raw:url(to(other:url("/refuse"), 302, key)), headers = mine, maxreconnectwait = 0.01,
      }
      c:get("ERROR", 2)
      c.ws:close()
      assert.is_true(has(redirected(key), "Authorization: Bearer abc"))
    end)

    it("are in no message", function()
      local c = helper.client { url = raw:url(to("ws://me:s3cret@127.0.0.1:" .. closed)), reconnect = false }
      local event = c:get("ERROR")
      -- The message names the redirecting URL, whose query contains the target.
      assert.is_nil(event.err:find("s3cret@", 1, true), event.err)
    end)
  end)
end)
