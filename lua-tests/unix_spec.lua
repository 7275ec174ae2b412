local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("a Unix socket:", function()
  local folder
  lazy_setup(function()
    local pipe <close> = assert(io.popen("mktemp -d"))
    folder = pipe:read("l")
  end)
  lazy_teardown(function() os.execute("rm -r " .. folder) end)
  after_each(helper.close_clients)
  after_each(helper.stop_servers)

  local paths = 0
  --- A path that does not exist yet; `suffix` adds unusual characters.
  local function path(suffix)
    paths = paths + 1
    return ("%s/%d%s"):format(folder, paths, suffix or ".sock")
  end

  local function serve(name, kind) return helper.serve(kind or "raw", nil, ("'%s'"):format(name)) end

  it("passes messages, and its path is the address", function()
    local name = path()
    serve(name)
    local c = helper.client(("ws+unix:%s:/burst"):format(name)):open()
    c.ws:sendText("local ✓")
    assert.equal("local ✓", c:get("TEXT").data)
    c.ws:sendText(("x"):rep(100))
    assert.equal(100, #c:get("TEXT", 2).data)
    assert.equal(name, c:get("OPEN").info.address)
    assert.equal(name, c.ws.address)
    assert.equal(("ws+unix:%s:/burst"):format(name), c.ws.url)
    assert.equal(c.ws.url, c:get("OPEN").info.url)
    assert.same({ code = 1000, reason = "", clean = true, remote = false, unsent = 0 }, c:close().info)
  end)

  for request, expected in pairs {
    [":/request?a=1:2&b=/#part"] = "/request?a=1:2&b=/", [":/request"] = "/request",
    [":/request?%C3%A4"] = "/request?%C3%A4",
  } do
    it("requests " .. request, function()
      local name = path()
      serve(name)
      local head = helper.client(("ws+unix:%s%s"):format(name, request)):get("TEXT").data
      assert.equal(("GET %s HTTP/1.1"):format(expected), head:match("^[^\r]*"))
      assert.equal("localhost", head:match("\r\nHost: ([^\r]*)\r\n"))
    end)
  end

  for _, request in ipairs { "", ":", ":/" } do
    it("requests / when " .. (request == "" and "nothing" or request) .. " follows the path", function()
      local name = path()
      serve(name, "python")
      assert.equal("/", helper.client(("ws+unix:%s%s"):format(name, request)):get("TEXT").data)
    end)
  end

  for suffix, escaped in pairs {
    [" a.sock"] = "%20a.sock", [":a.sock"] = "%3Aa.sock", ["%a.sock"] = "%25a.sock",
    ["ä?#.sock"] = "%C3%A4%3F%23.sock",
  } do
    it("has a path with escapes: " .. escaped, function()
      local name = path(suffix)
      serve(name)
      local url = ("ws+unix:%s%s:/request"):format(name:sub(1, -#suffix - 1), escaped)
      local c = helper.client(url):open()
      assert.equal(name, c.ws.address)
      assert.equal(url, c.ws.url)
    end)
  end

  it("has headers, credentials and compression like TCP", function()
    local name = path()
    serve(name)
    local c = helper.client {
      url = ("ws+unix:%s:/request"):format(name), deflate = true,
      headers = { Authorization = "Bearer abc", Host = "b" },
    }
    local head = c:get("TEXT").data
    assert.truthy(head:find("\r\nAuthorization: Bearer abc\r\n", 1, true), head)
    assert.truthy(head:find("\r\nHost: b\r\n", 1, true), head)
    assert.truthy(head:find("\r\nSec-WebSocket-Extensions: permessage-deflate", 1, true), head)
  end)

  it("passes large messages", function()
    local name = path()
    serve(name, "python")
    local c = helper.client(("ws+unix:%s:/echo"):format(name)):open()
    local message = ("0123456789abcdef"):rep(200000)
    c.ws:sendBinary(message)
    assert.is_true(message == c:get("BINARY").data)
  end)

  it("uses no proxy", function()
    local name = path()
    serve(name)
    helper.client { url = ("ws+unix:%s:/burst"):format(name), proxy = "http://127.0.0.1:1" }:open()
  end)

  it("reconnects to a server that was restarted", function()
    local name = path()
    local server = serve(name)
    local c = helper.client { url = ("ws+unix:%s:/frames"):format(name), maxreconnectwait = 0.05 }:open()
    server:stop("KILL")
    assert.equal(1006, c:get("CLOSE").info.code)
    assert.equal("connect", c:get("ERROR").info.kind)
    os.remove(name)
    serve(name)
    c:get("OPEN", 2)
  end)

  it("may be redirected to another path, and to nothing else", function()
    local name, raw = path(), helper.serve("raw")
    serve(name)
    local url = ("ws+unix:%s:/redirect?code=302&to="):format(name)
    helper.client(url .. "/burst"):open()
    local c = helper.client { url = url .. helper.escape(("ws+unix:%s:/burst"):format(name)), reconnect = false }
    assert.equal("handshake", c:get("ERROR").info.kind)
    c = helper.client {
      url = url .. helper.escape(raw:url("/request")), headers = { Authorization = "Bearer abc" },
    }
    assert.is_nil(c:get("TEXT").data:find("abc", 1, true))
  end)

  --- Asserts one ERROR of kind "connect" that names the path, with a retry.
  local function fails(name, words)
    local c = helper.client { url = ("ws+unix:%s:/"):format(name), minreconnectwait = 60 }
    local event = c:get("ERROR")
    assert.equal("connect", event.info.kind)
    assert.truthy(event.err:find(name, 1, true), event.err)
    assert.truthy(event.err:find(words, 1, true), event.err)
    assert.truthy(event.info.retryin)
  end

  it("that does not exist", function() fails(path(), "No such file") end)
  it("that is a folder", function() fails(folder, "refused") end)
  it("without a listener", function()
    local name = path()
    serve(name):stop("KILL")
    fails(name, "refused")
  end)

  for what, url in pairs {
    ["no path"] = "ws+unix:", ["no path but a request"] = "ws+unix::/request",
    ["a path of 108 bytes"] = "ws+unix:/" .. ("a"):rep(107) .. ":/",
    ["a zero byte"] = "ws+unix:/a%00b:/", ["a bad escape"] = "ws+unix:/a%zz:/", ["a space"] = "ws+unix:/a b:/",
    ["a request without its slash"] = "ws+unix:/a:b", ["a relative path"] = "ws+unix:a.sock:/",
    ["a control character"] = "ws+unix:/a\nb:/", TLS = "wss+unix:/a:/",
  } do
    it("raises for a URL with " .. what, function()
      raises("'url'", websocket.WebSocket, { url = url })
    end)
  end
end)
