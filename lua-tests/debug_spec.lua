-- The lines of the option debug.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

describe("debug:", function()
  local raw, python, web, guarded
  lazy_setup(function()
    raw, python = helper.serve("raw"), helper.serve("python")
    web, guarded = helper.proxy("tinyproxy", "BasicAuth me s3cret"), helper.proxy("microsocks", "-u me -P s3cret")
  end)
  lazy_teardown(helper.stop_servers)
  lazy_teardown(helper.remove_files)
  after_each(helper.close_clients)

  --- Connects a websocket and records its debug lines. Asserts that no line has a secret or a control character.
  local function traced(options)
    if type(options) == "string" then options = { url = options } end
    local lines = {}
    function options.debug(...)
      assert.equal(1, select("#", ...))
      local line = ...
      assert.equal("string", type(line))
      lines[#lines + 1] = line
    end
    local c = helper.client(options)
    c.lines = lines
    return c
  end

  --- Whether one line has all these words, upper or lower case.
  local function says(c, ...)
    for _, line in ipairs(c.lines) do
      local has = true
      for _, words in ipairs { ... } do has = has and line:lower():find(words:lower(), 1, true) end
      if has then return line end
    end
    error(("%s is not in:\n%s"):format(table.concat({ ... }, ", "), table.concat(c.lines, "\n")), 2)
  end

  local function is_discreet(c)
    assert.is_true(#c.lines > 0)
    for _, line in ipairs(c.lines) do
      assert.is_nil(line:find("%c"), line)
      for _, secret in ipairs { "s3cret", "t0ken", "bWU6czNjcmV0" } do
        assert.is_nil(line:find(secret), line)
      end
    end
  end

  it("writes no line before poll", function()
    local c = traced(python:url("/echo"))
    assert.equal(0, #c.lines)
    c:open()
    assert.is_true(#c.lines > 0)
  end)

  it("writes both heads of the handshake", function()
    local c = traced(python:url("/echo")):open()
    says(c, "GET /echo HTTP/1.1")
    says(c, "Upgrade: websocket")
    says(c, "Sec-WebSocket-Version: 13")
    says(c, "101 Switching Protocols")
    says(c, "127.0.0.1:" .. python.port)
    is_discreet(c)
  end)

  it("writes what was offered and what the server chose", function()
    local c = traced { url = python:url("/echo"), deflate = true, protocols = { "superchat", "s3cret" } }:open()
    says(c, "> Sec-WebSocket-Protocol: superchat, …")
    says(c, "> Sec-WebSocket-Extensions: permessage-deflate")
    says(c, "< Sec-WebSocket-Protocol: superchat")
    says(c, "< Sec-WebSocket-Extensions: permessage-deflate")
    is_discreet(c)
  end)

  it("writes the lines about an event before the event is delivered", function()
    local order = {}
    local c = helper.client {
      url = python:url("/echo"),
      debug = function(line) order[#order + 1] = line:find("101", 1, true) and "answer" or nil end,
      onreceive = function(type) order[#order + 1] = type == 1 and "OPEN" or nil end,
    }
    c:open()
    assert.same({ "answer", "OPEN" }, order)
  end)

  it("writes the frames of both directions with their lengths", function()
    local c = traced { url = python:url("/echo"), pinginterval = 0.01 }:open()
    c.ws:sendText(("x"):rep(1234))
    c:get("TEXT")
    c.ws:sendBinary(("y"):rep(70000))
    c:get("BINARY")
    c.ws:sendPing("mine")
    c:get("PONG")
    helper.wait(function() return c.ws.latency end, "the latency")
    c:close(4000)
    for _, frame in ipairs { "TEXT", "BINARY", "PING", "CLOSE" } do says(c, "sent", frame) end
    for _, frame in ipairs { "TEXT", "BINARY", "PONG", "CLOSE" } do says(c, "received", frame) end
    says(c, "sent", "1234")
    says(c, "received", "70000")
    says(c, "4000")
  end)

  it("writes the server's fragments and pings, and our pongs", function()
    local c = traced { url = raw:url("/frames?hex=010161890080016288020fa1&end=closed"), reconnect = false }
    c:get("CLOSE")
    says(c, "received", "TEXT", "not final")
    says(c, "received", "CONTINUATION")
    says(c, "received", "PING")
    says(c, "sent", "PONG")
    says(c, "4001")
  end)

  describe("writes the reason of the end:", function()
    it("a connection that is refused, and the next attempt", function()
      local c = traced { url = ("ws://127.0.0.1:%d/"):format(helper.free_port()), maxreconnectwait = 0.01 }
      c:get("ERROR", 2)
      says(c, "refused")
      says(c, "attempt 2")
    end)

    it("a name that does not exist", function()
      local c = traced { url = "ws://nonexistent.invalid/", reconnect = false }
      c:get("ERROR")
      says(c, "nonexistent.invalid", "resolve")
    end)

    it("a refused handshake", function()
      local c = traced(python:url("/status?code=403"))
      c:get("ERROR")
      says(c, "403 Forbidden")
      says(c, "X-Reason")
    end)

    it("a timeout", function()
      local c = traced { url = raw:url("/silence"), connecttimeout = 0.1, reconnect = false }
      c:get("ERROR")
      says(c, "connecttimeout")
    end)

    it("a violation of the protocol", function()
      local c = traced { url = raw:url("/frames?hex=8300"), reconnect = false }
      c:get("CLOSE")
      says(c, "opcode")
    end)

    it("a message that is too long", function()
      local c = traced { url = raw:url("/frames?hex=8105"), maxmessagesize = 4, reconnect = false }
      c:get("CLOSE")
      says(c, "maxmessagesize")
    end)

    it("a silent peer", function()
      local c = traced {
        url = raw:url("/beats?key=debug&answers=0"), pinginterval = 0.05, pongtimeout = 0.05, reconnect = false,
      }
      c:get("CLOSE")
      says(c, "sent", "PING")
      says(c, "pongtimeout")
    end)

    it("the peer's Close reason", function()
      local c = traced { url = python:url("/close?code=4001&reason=bye"), reconnect = false }
      c:get("CLOSE")
      says(c, "4001", "bye")
    end)

    it("a redirect", function()
      local c = traced(raw:url("/redirect?code=307&to=%s", helper.escape(python:url("/echo")))):open()
      says(c, "307")
      says(c, "redirect", python:url("/echo"))
    end)

    it("a proxy, and its refusal", function()
      local c = traced {
        url = raw:url("/burst"), proxy = "http://127.0.0.1:" .. web.port, reconnect = false,
      }
      c:get("ERROR")
      says(c, "proxy", "407")
      c = traced { url = raw:url("/burst"), proxy = "http://me:s3cret@127.0.0.1:" .. web.port }:open()
      says(c, "proxy", "127.0.0.1:" .. web.port)
    end)
  end)

  describe("shows no secrets:", function()
    local function as_me(server, path) return ("ws://me:s3cret@127.0.0.1:%d%s"):format(server.port, path) end

    it("of the URL, the headers and the handshake", function()
      local c = traced {
        url = as_me(raw, "/request?token=t0ken&x=1"),
        headers = {
          Cookie = "id=s3cret", ["Proxy-Authorization"] = "s3cret", ["X-Api-Key"] = "s3cret",
          ["X-Auth-Token"] = "t0ken",
        },
        protocols = { "t0ken" },
      }
      local key = c:get("TEXT").data:match("\r\nSec%-WebSocket%-Key: (%S+)")
      is_discreet(c)
      for _, line in ipairs(c.lines) do assert.is_nil(line:find(key, 1, true), line) end
      says(c, "/request")
      says(c, "Authorization")
      says(c, "Cookie")
    end)

    it("of a response", function()
      local headers = helper.escape("Set-Cookie: id=s3cret\r\nX-Token: t0ken\r\nWWW-Authenticate: Basic realm=s3cret")
      local c = traced(raw:url("/status?code=401&header=%s&body=s3cret", headers))
      c:get("ERROR")
      is_discreet(c)
      says(c, "Set-Cookie")
    end)

    it("of messages", function()
      local c = traced { url = as_me(python, "/echo"), deflate = true }:open()
      c.ws:sendText("s3cret")
      c.ws:sendBinary("s3cret")
      c.ws:sendPing("s3cret")
      c:get("PONG")
      is_discreet(c)
    end)

    for name, location in pairs {
      ["that is followed"] = "ws://me:s3cret@127.0.0.1:PORT/request?token=t0ken",
      ["that is a path"] = "/request?token=t0ken#t0ken",
      ["to nobody"] = "ws://me:s3cret@127.0.0.1:1/?token=t0ken",
      ["to a bad port"] = "ws://me:s3cret@127.0.0.1:x/?token=t0ken",
      ["to a bad escape"] = "ws://me:s3cret@127.0.0.1/%zz?token=t0ken",
      ["to another scheme"] = "ftp://me:s3cret@127.0.0.1/?token=t0ken",
      ["to a scheme without a host"] = "mailto:me:s3cret?token=t0ken",
      ["to a Unix socket"] = "ws+unix:/a.sock:/?token=t0ken",
    } do
      it("of a redirect " .. name, function()
        local target = helper.escape((location:gsub("PORT", raw.port)))
        local c = traced { url = raw:url("/redirect?code=302&to=%s", target), reconnect = false }
        helper.wait(function() return c:count("OPEN") + c:count("ERROR") > 0 end, "an end")
        is_discreet(c)
      end)
    end

    for _, scheme in ipairs { "http", "socks5", "socks5h" } do
      it("of a proxy, " .. scheme, function()
        for _, port in ipairs { web.port, guarded.port, 1 } do
          for _, password in ipairs { "s3cret", "s3cretive" } do
            local c = traced {
              url = raw:url("/burst?token=t0ken"), reconnect = false, connecttimeout = 0.5,
              proxy = ("%s://me:%s@127.0.0.1:%d"):format(scheme, password, port),
            }
            helper.wait(function() return c:count("OPEN") + c:count("ERROR") > 0 end, "an end")
            is_discreet(c)
          end
        end
      end)
    end

    it("of a URL that can't be reached", function()
      for _, url in ipairs {
        "ws://me:s3cret@nonexistent.invalid/?token=t0ken", as_me(raw, "/garbage?token=t0ken"),
        as_me(raw, "/wrong-accept?token=t0ken"), as_me(raw, "/refuse?token=t0ken"),
        "ws+unix:/nonexistent.sock:/?token=t0ken",
      } do
        local c = traced { url = url, reconnect = false }
        c:get("ERROR")
        is_discreet(c)
      end
    end)

    it("and no control characters: the server can't control the terminal", function()
      local hex = "8807" .. "0fa1" .. "1b5b324a0a" -- Close 4001, ESC [ 2 J LF
      local c = traced { url = raw:url("/frames?end=closed&hex=%s", hex), reconnect = false }
      c:get("CLOSE")
      is_discreet(c)
    end)
  end)

  it("that raises an error makes poll raise it; no event is lost", function()
    local c
    local raised = 0
    c = helper.client {
      url = python:url("/echo"),
      debug = function()
        raised = raised + 1
        if raised == 1 then error("in debug") end
      end,
    }
    raises("in debug", function() c:open() end)
    c:open()
    c.ws:sendText("still here")
    assert.equal("still here", c:get("TEXT").data)
    assert.is_true(raised > 1)
  end)

  it("may close, poll and make websockets", function()
    local c
    local other
    c = helper.client {
      url = python:url("/close-on-message"), reconnect = false,
      debug = function(line)
        websocket.poll()
        if not other and line:find("101", 1, true) then
          other = helper.client(python:url("/echo"))
          c.ws:close()
        end
      end,
    }
    assert.is_true(#c:get("CLOSE").info.reason == 0)
    other:open()
  end)

  it("may be anything that can be called; other values are refused", function()
    local lines = 0
    local callable = setmetatable({}, { __call = function(_, line) lines = lines + #line end })
    helper.client { url = python:url("/echo"), debug = callable }:open()
    assert.is_true(lines > 0)
    for _, value in ipairs { true, false, "print", 5, {} } do
      raises("'debug'", websocket.WebSocket, { url = "ws://a", debug = value })
    end
  end)

  it("does not change the received events", function()
    local c = traced { url = python:url("/count"), deflate = true }:open()
    for i = 1, 500 do c.ws:sendText(i) end
    c.ws:sendText("end")
    assert.equal("500 in order", c:get("TEXT").data)
    assert.equal("OPEN TEXT", c:list())
  end)
end)
