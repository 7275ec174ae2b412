-- TLS with other servers: nginx in front of the Python peer, libwebsockets' test server.

local helper = require "helper"

local folder = helper.certificates
local ca = folder .. "/ca.pem"

describe("nginx in front of the Python peer:", function()
  local python, nginx
  lazy_setup(function()
    python = helper.serve("python")
    nginx = helper.serve("nginx", nil, python.port)
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  local function client(path, tls, options)
    options = options or { reconnect = false }
    options.url = nginx:named("chained.localhost", path)
    options.tls = tls or {}
    options.tls.ca = ca
    return helper.client(options)
  end

  --- A header field in which nginx describes the TLS connection.
  local function seen(c, field, n) return c:get("TEXT", n).data:match("X%-" .. field .. ": ([^\n]*)") end

  it("sees the name (SNI) and the protocol (ALPN)", function()
    local c = client("/headers")
    assert.truthy(seen(c, "TLS"):find("^TLSv1%.[23] http/1%.1 chained%.localhost$"))
    assert.equal("NONE", seen(c, "Client"))
  end)

  it("sees the client's certificate", function()
    local c = client("/headers", { cert = folder .. "/client-both.pem" })
    assert.equal("SUCCESS CN=Test Client", seen(c, "Client"))
  end)

  it("refuses a client's certificate that it does not trust", function()
    local event = client("/headers", { cert = folder .. "/stranger.pem", key = folder .. "/stranger.key" }):get("ERROR")
    assert.equal("handshake", event.info.kind)
    assert.equal(400, event.info.status)
    assert.truthy(event.info.body:find("SSL certificate error", 1, true))
  end)

  it("resumes a session", function()
    local c = client("/headers", { servername = "chained.localhost" })
    assert.equal(".", seen(c, "Resumed", 1))
    c:close()
    c.ws:connect()
    assert.equal("r", seen(c, "Resumed", 2))
  end)

  it("echoes messages of all sizes, compressed too", function()
    for _, deflate in ipairs { false, true } do
      local c = client("/echo", nil, { deflate = deflate }):open()
      if deflate then assert.truthy(c.ws.extensions:find("permessage-deflate", 1, true)) end
      local sizes = { 0, 1, 125, 126, 65535, 65536, 16 << 20 }
      for _, size in ipairs(sizes) do c.ws:sendText(("wss"):rep(size // 3 + 1):sub(1, size)) end
      for i, size in ipairs(sizes) do
        assert.is_true(c:get("TEXT", i).data == ("wss"):rep(size // 3 + 1):sub(1, size), size)
      end
    end
  end)

  it("passes 10000 messages in order, both ways", function()
    local c = client("/echo"):open()
    for i = 1, 10000 do
      c.ws:sendText(i)
      if i % 100 == 0 then helper.websocket.poll() end
    end
    c:get("TEXT", 10000)
    for i = 1, 10000 do
      if c.events[i + 1].data ~= tostring(i) then error(c.events[i + 1].data .. " instead of " .. i) end
    end
  end)

  it("passes pings of both sides", function()
    local c = client("/ping?payload=hi"):open()
    assert.equal("answered hi", c:get("TEXT").data)
    c.ws:sendPing("ho")
    assert.equal("ho", c:get("PONG").data)
  end)

  it("passes a Close of either side", function()
    local c = client("/echo"):open()
    assert.is_true(c:close(4000, "mine").info.clean)
    local close = client("/close?code=4001&reason=theirs"):get("CLOSE").info
    assert.equal(4001, close.code)
    assert.equal("theirs", close.reason)
    assert.is_true(close.clean)
  end)

  it("answers 502 while the server behind it is down, and the websocket connects later", function()
    local behind = helper.serve("raw")
    behind:stop()
    local front = helper.serve("nginx", nil, behind.port)
    local c = helper.client {
      url = front:named("chained.localhost", "/echo"), tls = { ca = ca }, maxreconnectwait = 0.05,
    }
    local info = c:get("ERROR").info
    assert.equal("handshake", info.kind)
    assert.equal(502, info.status)
    assert.equal("number", type(info.retryin))
    local back = helper.serve("python", behind.port)
    c:open()
    c.ws:sendText("back")
    assert.equal("back", c:get("TEXT").data)
    c:close()
    front:stop()
    back:stop()
  end)
end)

describe("libwebsockets:", function()
  local server
  lazy_setup(function() server = helper.serve("lws") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  local function client(name)
    return helper.client({ url = server:url(), protocols = { name }, tls = { ca = ca }, reconnect = false }):open()
  end

  it("lws-mirror-protocol sends each message to all clients", function()
    local one, other = client("lws-mirror-protocol"), client("lws-mirror-protocol")
    assert.equal("lws-mirror-protocol", one.ws.protocol)
    one.ws:sendText("hello")
    assert.equal("hello", one:get("TEXT").data)
    assert.equal("hello", other:get("TEXT").data)
    assert.is_true(one:close().info.clean)
    assert.is_true(other:close(1000, "bye").info.clean)
  end)

  it("lws-mirror-protocol sends a long message in fragments", function()
    local c = client("lws-mirror-protocol")
    local list = {}
    for i = 1, 10000 do list[i] = i end
    local text = table.concat(list, " ")
    c.ws:sendText(text)
    local heard, n = "", 0
    while #heard < #text do
      n = n + 1
      heard = heard .. c:get("TEXT", n).data
    end
    assert.equal(text, heard)
  end)

  it("a ping is answered", function()
    local c = client("lws-mirror-protocol")
    c.ws:sendPing("there?")
    assert.equal("there?", c:get("PONG").data)
  end)

  it("dumb-increment-protocol counts, restarts, and closes on request", function()
    local c = client("dumb-increment-protocol")
    for n = 1, 3 do assert.equal(tostring(n - 1), c:get("TEXT", n).data) end
    c.ws:sendText("reset\n")
    helper.wait(function() return c.events[#c.events].data == "0" end, "the count to start again")
    c.ws:sendText("closeme\n")
    local close = c:get("CLOSE").info
    assert.equal(1001, close.code)
    assert.equal("seeya", close.reason)
    assert.is_true(close.clean)
    assert.is_true(close.remote)
  end)
end)
