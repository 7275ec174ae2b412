local helper = require "helper"

describe("a URL's host:", function()
  after_each(function()
    helper.close_clients()
    helper.stop_servers()
  end)

  -- Connects to a server that listens at `address`. Asserts the request's Host field and the peer's address.
  local function visit(address, host)
    local server = helper.serve("raw", nil, address)
    local c = helper.client { url = ("ws://%s:%d/request"):format(host, server.port), reconnect = false }
    local authority = c:get("TEXT").data:match("\r\nHost: ([^\r]*)\r\n")
    assert.equal(("%s:%d"):format(host, server.port), authority)
    return (c.ws.address:gsub(":%d+$", ""))
  end

  it("an IPv4 address", function() assert.equal("127.0.0.1", visit("127.0.0.1", "127.0.0.1")) end)
  it("an IPv6 address", function() assert.equal("[::1]", visit("::1", "[::1]")) end)
  it("localhost, served on IPv4", function() assert.equal("127.0.0.1", visit("127.0.0.1", "localhost")) end)
  it("localhost, served on IPv6", function() assert.equal("[::1]", visit("::1", "localhost")) end)

  it("a name that the system's resolver knows", function()
    local file <close> = assert(io.popen("getent ahostsv4 \"$(hostname)\" | head -n 1"))
    local address = file:read("a"):match("^(127%.[%d.]+)")
    if not address then return pending("this machine's own name is not a loopback address") end
    local name_file <close> = assert(io.popen("hostname"))
    assert.equal(address, visit(address, name_file:read("l"):lower()))
  end)
end)

describe("localaddress:", function()
  after_each(function()
    helper.close_clients()
    helper.stop_servers()
  end)

  --- The client's end of the connection to a port of 127.0.0.1, as /proc/net/tcp writes it.
  local function local_end(port)
    local file <close> = assert(io.open("/proc/net/tcp"))
    -- Local address, remote address, state 01: established.
    return file:read("a"):match((" (%%x+):%%x+ 0100007F:%04X 01 "):format(port))
  end

  it("the socket is bound to it", function()
    local server = helper.serve("raw")
    helper.client { url = server:url("/request"), localaddress = "127.0.0.2" }:open()
    assert.equal("0200007F", local_end(server.port))
  end)

  it("so is the socket to a proxy", function()
    local server, proxy = helper.serve("raw"), helper.proxy("microsocks")
    helper.client {
      url = server:url("/request"), localaddress = "127.0.0.2", proxy = "socks5://127.0.0.1:" .. proxy.port,
    }:open()
    assert.equal("0200007F", local_end(proxy.port))
  end)

  it("only the other family's addresses are left out", function()
    local server = helper.serve("raw", nil, "::1")
    local url = ("ws://localhost:%d/request"):format(server.port)
    helper.client { url = url, localaddress = "::1" }:open()
    local c = helper.client { url = url, localaddress = "127.0.0.2", reconnect = false }
    local event = c:get("ERROR")
    assert.equal("connect", event.info.kind)
    assert.truthy(event.err:find(("127.0.0.1:%d: Connection refused"):format(server.port), 1, true), event.err)
    assert.falsy(event.err:find("[::1]", 1, true), event.err)
  end)

  it("an address that no machine has is an ERROR, and tried again", function()
    local c = helper.client { url = "ws://127.0.0.1:9/", localaddress = "192.0.2.77", maxreconnectwait = 0.01 }
    local event = c:get("ERROR", 2)
    assert.equal("connect", event.info.kind)
    assert.truthy(event.err:find("localaddress 192.0.2.77: Cannot assign requested address", 1, true), event.err)
  end)

  it("a Unix socket has none", function()
    local path = os.tmpname()
    os.remove(path)
    local url = ("ws+unix:%s:/"):format(path)
    local event = helper.client { url = url, localaddress = "192.0.2.77", reconnect = false }:get("ERROR")
    assert.truthy(event.err:find("No such file", 1, true), event.err)
  end)
end)
