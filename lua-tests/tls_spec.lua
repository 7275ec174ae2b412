-- TLS: versions, ciphers, sessions, records split in unusual places, the end of a connection, and large transfers.

local helper = require "helper"
local websocket = helper.websocket

local ca = helper.certificates .. "/ca.pem"

--- Connects a websocket that trusts the test CA and keeps its debug lines in `lines`.
local function client(options, tls)
  local lines = {}
  local copy = { debug = function(line) lines[#lines + 1] = line end }
  for name, value in pairs(options) do copy[name] = value end
  copy.tls = tls or {}
  copy.tls.ca = ca
  local c = helper.client(copy)
  c.lines = lines
  return c
end

local function said(c, words) return (table.concat(c.lines, "\n"):find(words, 1, true)) end

describe("TLS:", function()
  local server
  lazy_setup(function() server = helper.serve("raw-tls") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  --- Connects once; the servers "tls12" and "tls13" support only that version.
  local function visit(name, tls, path)
    return client({ url = server:named(name .. ".wild.localhost", path or "/tls"), reconnect = false }, tls)
  end

  --- One field of the JSON in which the server describes the connection.
  local function seen(c, field, n) return c:get("TEXT", n).data:match('"' .. field .. '": "?([^",}]*)') end

  --- How the connection with that key ended, as the server saw it: "N bytes, REASON".
  local function ending(key) return client { url = server:url("/ending?of=%s", key) }:get("TEXT").data end

  --- Asserts one ERROR of this kind, with a retry.
  local function fails(kind, name, tls, ...)
    local limit = kind == "timeout" and 1 or 30
    local c = client({ url = server:named(name .. ".wild.localhost", "/tls"), connecttimeout = limit }, tls)
    local event = c:get("ERROR")
    c.ws:close()
    assert.equal(kind, event.info.kind)
    assert.equal("number", type(event.info.retryin))
    assert.equal(0, c:count("OPEN"))
    for _, words in ipairs { ... } do assert.truthy(event.err:find(words, 1, true), event.err) end
  end

  describe("the version", function()
    it("is 1.3 when both support it, and a debug line says so", function()
      local c = visit("any")
      assert.equal("TLSv1.3", seen(c, "version"))
      assert.truthy(said(c, "TLSv1.3"))
    end)
    it("is 1.2 when the server supports only that", function()
      local c = visit("tls12")
      assert.equal("TLSv1.2", seen(c, "version"))
      assert.truthy(said(c, "TLSv1.2"))
    end)
    it("is 1.3 when the server has only that", function() assert.equal("TLSv1.3", seen(visit("tls13"), "version")) end)
    for _, name in ipairs { "tls10", "tls11" } do
      it("is never " .. name, function() fails("tls", name, nil, "version") end)
    end
    it("is not 1.2 with minversion 1.3", function()
      fails("tls", "tls12", { minversion = "1.3" }, "version")
      assert.equal("TLSv1.3", seen(visit("any", { minversion = "1.3" }), "version"))
    end)
    it("may be 1.2 with minversion 1.2", function()
      assert.equal("TLSv1.2", seen(visit("tls12", { minversion = "1.2" }), "version"))
    end)
  end)

  it("ALPN offers http/1.1", function() assert.equal("http/1.1", seen(visit("any"), "protocol")) end)

  describe("ciphers", function()
    local old, new = "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_CHACHA20_POLY1305_SHA256"
    it("are chosen for TLS 1.2", function() assert.equal(old, seen(visit("tls12", { ciphers = old }), "cipher")) end)
    it("are chosen for TLS 1.3", function() assert.equal(new, seen(visit("tls13", { ciphers = new }), "cipher")) end)
    it("are chosen for both", function()
      local ciphers = old .. ":" .. new
      assert.equal(old, seen(visit("tls12", { ciphers = ciphers }), "cipher"))
      assert.equal(new, seen(visit("tls13", { ciphers = ciphers }), "cipher"))
    end)
    it("for TLS 1.2 do not change those for 1.3", function()
      assert.equal("TLSv1.3", seen(visit("any", { ciphers = old }), "version"))
    end)
    it("that the server does not support give an ERROR", function()
      fails("tls", "tls12", { ciphers = "ECDHE-RSA-AES128-GCM-SHA256" })
    end)
    it("with unknown names give an ERROR without a retry that names them", function()
      for _, ciphers in ipairs { "NONSENSE", "TLS_NONSENSE" } do
        local event = client({ url = server:url("/tls") }, { ciphers = ciphers }):get("ERROR")
        assert.equal("tls", event.info.kind)
        assert.is_nil(event.info.retryin)
        assert.truthy(event.err:find("tls.ciphers", 1, true), event.err)
        assert.truthy(event.err:find(ciphers, 1, true), event.err)
      end
    end)
  end)

  describe("a session", function()
    for _, name in ipairs { "tls12", "tls13" } do
      it("is resumed by a reconnect, with " .. name, function()
        local c = visit("session-" .. name)
        assert.equal("false", seen(c, "resumed", 1))
        assert.is_nil(said(c, "session resumed"))
        for n = 2, 4 do
          c:close()
          c.ws:connect()
          assert.equal("true", seen(c, "resumed", n))
        end
        assert.truthy(said(c, "resumed"))
      end)

      it("is resumed after a connection that broke, with " .. name, function()
        local c = client { url = server:named(name .. ".wild.localhost", "/frames?end=cut"), maxreconnectwait = 0.01 }
        c:get("OPEN", 2)
        c.ws:close()
        assert.truthy(said(c, "resumed"))
      end)

      it("is resumed with pins and the client's certificate, with " .. name, function()
        local file <close> = assert(io.open(helper.certificates .. "/good.pin"))
        local cert = helper.certificates .. "/client-both.pem"
        local c = visit("mutual-" .. name, { pin = "sha256//" .. file:read("l"), cert = cert })
        for n = 1, 2 do
          assert.equal(tostring(n == 2), seen(c, "resumed", n))
          assert.equal("Test Client", seen(c, "client", n))
          c:close()
          c.ws:connect()
        end
      end)
    end

    it("that a restarted server does not know is not needed", function()
      local other = helper.serve("raw-tls")
      local c = client { url = other:url("/tls"), maxreconnectwait = 0.05 }
      assert.equal("false", seen(c, "resumed", 1))
      other:stop("KILL")
      c:get("CLOSE")
      local back = helper.serve("raw-tls", other.port)
      assert.equal("false", seen(c, "resumed", 2))
      back:stop()
    end)
  end)

  describe("SSLKEYLOGFILE", function()
    after_each(helper.remove_files)

    --- Visits the server in another process, with the variable set to `path`.
    local function visit_with(path, name)
      local script = helper.write_script([[
        local websocket = require "websocket"
        local url, ca = ...
        local ws
        ws = websocket.WebSocket {
          url = url, tls = { ca = ca }, reconnect = false,
          onreceive = function(type, _, err) print(err) if type == 1 then ws:close() end end,
        }
        ws:connect()
        assert(websocket.run(10))
      ]])
      local output, code = helper.finish(helper.start("env SSLKEYLOGFILE=" .. path .. " " .. helper.lua, script,
        server:named(name .. ".wild.localhost", "/burst"), ca))
      assert.equal(0, code, output)
      assert.equal("\n\n", output)
    end

    local function sorted_lines(name)
      local lines = {}
      for line in io.lines(name) do lines[#lines + 1] = line end
      table.sort(lines)
      return lines
    end

    for _, name in ipairs { "keylog-tls12", "keylog-tls13" } do
      it("names a file that gets the same secrets as the server has, with " .. name, function()
        local theirs = helper.certificates .. "/" .. name .. ".log"
        os.remove(theirs)
        local ours = helper.file()
        os.remove(ours)
        visit_with(ours, name)
        visit_with(ours, name)
        local expected = sorted_lines(theirs)
        -- The first line of OpenSSL's own file is a comment.
        while expected[1] and expected[1]:find("^#") do table.remove(expected, 1) end
        assert.is_true(#expected >= 2)
        assert.same(expected, sorted_lines(ours))
        local pipe <close> = io.popen("stat -c %a " .. ours)
        assert.equal("600", pipe:read("l"))
      end)
    end

    it("that is no file is ignored", function()
      for _, path in ipairs { "", "/", "/nonexistent/keys" } do visit_with(path, "good") end
    end)
  end)

  describe("the end", function()
    for _, name in ipairs { "tls12", "tls13" } do
      it("after the Close frames is close_notify from both, with " .. name, function()
        local c = visit(name, nil, "/frames?key=clean-" .. name):open()
        local close = c:close(1000, "bye").info
        assert.equal(1000, close.code)
        assert.is_true(close.clean)
        assert.equal("OPEN CLOSE", c:list())
        assert.truthy(ending("clean-" .. name):find(", close_notify", 1, true))
      end)

      it("begun by the server is close_notify from both, with " .. name, function()
        local c = visit(name, nil, "/frames?hex=880203e8&end=closed&key=remote-" .. name)
        local close = c:get("CLOSE").info
        assert.is_true(close.clean)
        assert.is_true(close.remote)
        assert.truthy(ending("remote-" .. name):find(", close_notify", 1, true))
      end)

      it("of a connection whose Close is not answered has close_notify, with " .. name, function()
        local url = server:named(name .. ".wild.localhost", "/frames?end=mute&key=mute-" .. name)
        local c = client { url = url, reconnect = false, closetimeout = 0.1 }
        c:open()
        assert.is_false(c:close().info.clean)
        assert.truthy(ending("mute-" .. name):find(", close_notify", 1, true))
      end)

      it("with close_notify but no Close is 1006, with " .. name, function()
        local c = visit(name, nil, "/frames?hex=810161&end=close")
        assert.equal(1006, c:get("CLOSE").info.code)
        assert.equal("OPEN TEXT CLOSE", c:list())
      end)

      it("without close_notify and Close is 1006, and a debug line says so, with " .. name, function()
        local c = visit(name, nil, "/frames?hex=810161&end=cut")
        local close = c:get("CLOSE").info
        assert.equal(1006, close.code)
        assert.is_false(close.clean)
        assert.equal("OPEN TEXT CLOSE", c:list())
        assert.truthy(said(c, "close_notify"))
        assert.truthy(close.cause:find("TLS ended without close_notify", 1, true), close.cause)
      end)

      it("without close_notify inside a message delivers no part of it, with " .. name, function()
        local c = visit(name, nil, "/frames?hex=810a6162&end=cut")
        assert.equal(1006, c:get("CLOSE").info.code)
        assert.equal("OPEN CLOSE", c:list())
      end)

      it("without close_notify after a Close is clean, with " .. name, function()
        local c = visit(name, nil, "/frames?hex=880203e8&end=cut")
        local close = c:get("CLOSE").info
        assert.equal(1000, close.code)
        assert.is_true(close.clean)
        assert.equal("OPEN CLOSE", c:list())
      end)

      it("by a reset is 1006, with " .. name, function()
        assert.equal(1006, visit(name, nil, "/frames?end=reset"):get("CLOSE").info.code)
      end)

      for _, how in ipairs { "garbage", "forged" } do
        it("by " .. how .. " bytes is an ERROR and 1006; none of them is delivered, with " .. name, function()
          local c = visit(name, nil, "/frames?hex=810161&end=" .. how)
          local close = c:get("CLOSE")
          assert.equal(1006, close.info.code)
          assert.equal("OPEN TEXT ERROR CLOSE", c:list())
          assert.truthy(close.err:find("TLS failed", 1, true), close.err)
          assert.equal("tls", c:get("ERROR").info.kind)
        end)
      end
    end

    it("of a websocket that is closed during the handshake is immediate", function()
      local c = client { url = server:named("silence.localhost") }
      c.ws:close()
      assert.equal("closed", c.ws.state)
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal("", c:list())
    end)

    it("of a process does not wait for a handshake", function()
      -- An exit that waits for anything takes a second.
      helper.within(0.9, function()
        local _, code, took = helper.script([[
          local url, ca = ...
          local websocket = require "websocket"
          websocket.WebSocket{ url = url, tls = { ca = ca } }:connect()
          websocket.poll(0.1)
        ]], server:named("silence.localhost"), ca)
        helper.remove_files()
        assert.equal(0, code)
        return took
      end)
    end)

    it("of a process sends all messages and close_notify", function()
      local _, code = helper.script([[
        local url, ca = ...
        local websocket = require "websocket"
        local ws = websocket.WebSocket{ url = url, tls = { ca = ca } }
        ws:connect()
        while ws.state ~= "open" do websocket.poll(1) end
        ws:sendText(("x"):rep(100000))
      ]], server:url("/frames?key=process"), ca)
      helper.remove_files()
      assert.equal(0, code)
      local bytes, how = ending("process"):match("^(%d+) bytes, (.*)")
      assert.is_true(tonumber(bytes) > 100000)
      assert.equal("close_notify", how)
    end)
  end)

  describe("not a TLS server:", function()
    it("a plain answer", function() fails("tls", "plain", nil, "ws://") end)
    it("noise", function() fails("tls", "noise") end)
    it("an alert", function() fails("tls", "alert", nil, "handshake failure") end)
    it("a connection closed during the handshake", function() fails("tls", "hangup", nil, "closed") end)
    it("silence during the handshake", function() fails("timeout", "silence", nil, "connecttimeout", "TLS") end)
    it("endless records that OpenSSL skips do not stop other connections", function()
      local c = client {
        url = server:named("requests.localhost"), connecttimeout = 3 * helper.slowness, reconnect = false,
      }
      local other = helper.client(server:named("tls13.wild.localhost", "/tls"))
      assert.equal("tls", other:get("ERROR").info.kind)
      assert.equal(0, c:count("ERROR"))
      assert.equal("timeout", c:get("ERROR").info.kind)
    end)
    it("half a handshake", function() fails("timeout", "half", nil, "connecttimeout") end)
    it("ws:// to a server with TLS only", function()
      local other = helper.serve("python-tls")
      local c = helper.client { url = other:url():gsub("^wss", "ws"), reconnect = false }
      assert.equal("handshake", c:get("ERROR").info.kind)
      other:stop()
    end)
  end)

  it("handshake and records sent byte by byte give the same messages", function()
    local c = visit("split", nil, "/drip")
    assert.equal(1000, c:get("CLOSE").info.code)
    assert.equal("drop by drop ✓", c:get("TEXT").data)
    assert.equal(("\0"):rep(130), c:get("BINARY").data)
    assert.equal("OPEN TEXT BINARY CLOSE", c:list())
  end)

  it("many messages in one record, longer than one read, are all delivered", function()
    local c = visit("any", nil, "/burst"):open()
    for n, size in ipairs { 1, 100, 20000, 3 } do
      c.ws:sendText("burst " .. size)
      local before = c:count("TEXT")
      helper.wait(function() return c:count("TEXT") == before + size end, "burst " .. n)
      assert.equal(tostring(size), c.events[#c.events].data)
    end
  end)

  it("bytes already read by OpenSSL are delivered without another byte from the server", function()
    -- The text shares a record with the end of the binary, which is read straight into its message.
    for _, maxqueued in ipairs { 1000, 64 << 20 } do
      for _ = 1, 5 do
        local url = server:named("any.wild.localhost", "/frames?size=%d&hex=810161", 4 << 20)
        local c = client { url = url, maxqueued = maxqueued }
        assert.equal(4 << 20, #c:get("BINARY").data)
        assert.equal("a", c:get("TEXT").data)
      end
    end
  end)

  it("messages and a Close in the record of the handshake's response", function()
    local c = visit("any", nil, "/together")
    assert.equal(4001, c:get("CLOSE").info.code)
    assert.equal("OPEN TEXT TEXT CLOSE", c:list())
  end)

  describe("a server that does not read", function()
    local size = 32 << 20

    it("for some time: afterwards it gets all messages, then the Close, and nothing else", function()
      local c = client {
        url = server:url("/frames?end=held&key=held"), reconnect = false, closetimeout = 60,
      }:open()
      c.ws:sendBinary(("x"):rep(size))
      c.ws:sendText("last")
      c.ws:close(4000)
      helper.wait(function() return c.ws.bufferedamount < size end, "some of it to leave")
      assert.is_true(c.ws.bufferedamount > size / 2, c.ws.bufferedamount)
      assert.equal("closing", c.ws.state)
      client { url = server:url("/release?key=held") }:open()
      assert.same({ code = 4000, reason = "", clean = true, remote = false, unsent = 0 }, c:get("CLOSE").info)
      local count, how = ending("held"):match("^(%d+) bytes, (.*)")
      count = tonumber(count)
      assert.is_true(count > size and count < size + 1000, count)
      assert.equal("close_notify", how)
    end)

    it("until we give up: bytes that it may not have are counted in unsent", function()
      local c = client { url = server:url("/frames?end=deaf&key=deaf"), closetimeout = 0.2, reconnect = false }:open()
      c.ws:sendBinary(("x"):rep(size))
      c.ws:sendText("last")
      local info = c:close().info
      assert.is_false(info.clean)
      assert.is_true(info.unsent > size / 2 and info.unsent < size, info.unsent)
      assert.equal(0, c.ws.bufferedamount)
    end)
  end)

  it("a server that stops reading in the middle, sends its reason and resets", function()
    local c = visit("any", nil, "/last-words"):open()
    c.ws:sendBinary(("x"):rep(8 << 20))
    c:get("CLOSE")
    assert.equal("CLOSE", c.events[#c.events].type)
  end)

  it("renegotiation is refused", function()
    local openssl = helper.serve("openssl", nil, "r")
    local c
    c = client { url = openssl:url(), reconnect = false, onreceive = function(_, data)
      if data == "before" then c.ws:sendText("ok") end
    end }
    assert.equal(1006, c:get("CLOSE").info.code)
    assert.equal("before", c:get("TEXT", 1).data)
    assert.equal("warning no_renegotiation", openssl.pipe:read("l"))
    openssl:stop()
  end)

  it("a KeyUpdate of both sides changes nothing", function()
    local openssl = helper.serve("openssl", nil, "K")
    local c
    c = client { url = openssl:url(), reconnect = false, onreceive = function(kind)
      if kind == helper.types.TEXT then c.ws:sendText("ok") end
    end }
    assert.equal("before", c:get("TEXT", 1).data)
    assert.equal("after", c:get("TEXT", 2).data)
    assert.equal("KeyUpdate", openssl.pipe:read("l"))
    assert.equal("heard", openssl.pipe:read("l"))
    openssl:stop()
  end)
end)

local block = {}
for i = 1, 1 << 16 do block[i] = string.char((i * i + i // 7) % 251) end
block = table.concat(block)

--- Bytes without short repetitions, which compress badly.
local function bytes(size) return block:rep(size // #block + 1):sub(1, size) end

for _, kind in ipairs { "python", "node" } do
  describe("over TLS, with the " .. kind .. " peer,", function()
    local server
    local timeout = helper.TIMEOUT
    lazy_setup(function()
      server = helper.serve(kind .. "-tls")
      helper.TIMEOUT = 30
    end)
    lazy_teardown(function()
      helper.stop_servers()
      helper.TIMEOUT = timeout
    end)
    after_each(helper.close_clients)

    local function open(path, options)
      options = options or {}
      options.url = server:url(path)
      options.tls = { ca = ca }
      return helper.client(options):open()
    end

    it("100000 messages arrive in order", function()
      local expected, wrong = 1, nil
      local done = false
      local options = { reconnect = false, tls = { ca = ca }, url = server:url("/flood?count=100000") }
      function options.onreceive(type, data)
        if type ~= helper.types.TEXT then return end
        done = data == "end"
        if done then return end
        if data ~= tostring(expected) then wrong = wrong or data .. " instead of " .. expected end
        expected = expected + 1
      end
      helper.client(options)
      helper.wait(function() return done end, "the messages")
      assert.is_nil(wrong)
      assert.equal(100001, expected)
    end)

    it("100000 messages are sent in order", function()
      local c = open("/count")
      for i = 1, 100000 do c.ws:sendText(i) end
      c.ws:sendText("end")
      assert.equal("100000 in order", c:get("TEXT").data)
    end)

    it("64 MiB are sent and echoed", function()
      local c = open("/echo", { maxbuffered = 65 << 20 })
      local message = bytes(64 << 20)
      c.ws:sendBinary(message)
      assert.is_true(c:get("BINARY").data == message)
    end)

    it("64 messages of 1 MiB cross each other", function()
      local c = open("/echo", { maxbuffered = 65 << 20 })
      local message = bytes(1 << 20)
      for i = 1, 64 do
        c.ws:sendBinary(i, message)
        websocket.poll()
      end
      for i = 1, 64 do assert.is_true(c:get("BINARY", i).data == i .. message) end
    end)

    it("messages larger than the socket's buffer arrive whole and in order", function()
      local c = open("/count")
      local padding = ("."):rep(1 << 20)
      for i = 1, 40 do
        c.ws:sendText(i, padding)
        c.ws:sendText("")
      end
      c.ws:sendText("end")
      assert.equal("40 in order", c:get("TEXT").data)
    end)

    it("messages of all sizes are echoed, compressed too", function()
      for _, deflate in ipairs { false, true } do
        local c = open("/echo", { deflate = deflate })
        if deflate then assert.truthy(c.ws.extensions:find("permessage-deflate", 1, true)) end
        local sizes = { 0, 1, 125, 126, 16383, 16384, 16385, 65535, 65536, 1 << 20 }
        local messages = {}
        for i, size in ipairs(sizes) do
          messages[i] = bytes(size)
          c.ws:sendBinary(messages[i])
        end
        for i in ipairs(sizes) do assert.is_true(c:get("BINARY", i).data == messages[i]) end
      end
    end)

    it("300 connections at once", function()
      local list = {}
      for i = 1, 300 do list[i] = helper.client { url = server:url("/echo"), reconnect = false, tls = { ca = ca } } end
      for i, c in ipairs(list) do
        c:open()
        c.ws:sendText(i)
      end
      for i, c in ipairs(list) do assert.equal(tostring(i), c:get("TEXT").data) end
      for _, c in ipairs(list) do c.ws:close() end
      for _, c in ipairs(list) do
        assert.is_true(c:get("CLOSE").info.clean)
        assert.equal("OPEN TEXT CLOSE", c:list())
      end
    end)

    it("the server's Close is answered", function()
      local close = open("/close?count=3&code=4001&reason=done", { reconnect = false }):get("CLOSE").info
      assert.equal(4001, close.code)
      assert.equal("done", close.reason)
      assert.is_true(close.clean)
    end)

    it("the same websocket connects to a restarted server", function()
      local other = helper.serve(kind .. "-tls")
      local c = helper.client { url = other:url("/echo"), maxreconnectwait = 0.05, tls = { ca = ca } }
      c:open().ws:sendText("before")
      assert.equal("before", c:get("TEXT", 1).data)
      other:stop()
      c:get("CLOSE")
      local back = helper.serve(kind .. "-tls", other.port)
      c:get("OPEN", 2)
      c.ws:sendText("after")
      assert.equal("after", c:get("TEXT", 2).data)
      c:close()
      back:stop()
    end)
  end)
end
