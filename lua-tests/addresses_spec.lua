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
