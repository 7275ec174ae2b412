-- Options and their errors, URLs, the request that they make, properties before anything was connected.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises
local WebSocket = websocket.WebSocket

describe("the constructor", function()
  it("makes a websocket without options, which can't connect", function()
    local ws = WebSocket()
    assert.equal("closed", ws.state)
    assert.is_nil(ws.url)
    raises("url", function() ws:connect() end)
    assert.equal("closed", ws.state)
  end)

  it("treats an empty table as no options", function() assert.is_nil(WebSocket({}).url) end)

  it("refuses an argument that is not a table", function()
    for _, value in ipairs { "ws://localhost", 5, true, print } do
      raises("table expected", function() WebSocket(value) end)
    end
  end)

  it("does not connect by itself", function()
    assert.equal("closed", WebSocket { url = "ws://127.0.0.1:1" }.state)
    assert.is_true(websocket.run(0))
  end)

  it("reads only the table's own fields, not those of its metatable", function()
    local ws = WebSocket(setmetatable({}, { __index = { url = "ws://127.0.0.1:1", onreceive = 5 } }))
    assert.is_nil(ws.url)
    raises("url", function() ws:connect() end)
  end)

  it("refuses bytes that are not UTF-8 instead of replacing them", function()
    raises("'url' is not UTF-8", function() WebSocket { url = "ws://localhost/\255" } end)
    raises("'headers' is not UTF-8", function() WebSocket { url = "ws://a", headers = { ["X-A"] = "\233" } } end)
    raises("'protocols' is not UTF-8", function() WebSocket { url = "ws://a", protocols = { "\233" } } end)
  end)

  it("raises with the position of the call", function()
    raises("constructor_spec.lua:", function() WebSocket { url = 5 } end)
  end)
end)

describe("an option of a wrong type raises an error that names it:", function()
  local nan = 0 / 0
  local pin = "sha256//" .. ("A"):rep(43) .. "="
  local wrong = {
    url = { 5, true, {}, print },
    onreceive = { 5, "f", true, false, {} },
    deflate = { 5, "yes", print },
    minreconnectwait = { "1", true, {}, -1, nan },
    maxreconnectwait = { "1", true, {}, -1, nan },
    reconnect = { "yes", {}, -1, 1.5, nan },
    headers = {
      "X: y", 5, true, { 5 }, { ["X-A"] = true }, { ["X-A"] = {} }, { { "X-A" } }, { { 5, "x" } },
      { { "X-A", "b", "c" } }, { { "X-A", "b", more = "c" } }, { ["X-A"] = { "b", more = "c" } },
      { { "X-A", "b" }, ["X-B"] = "c" }, { [2] = { "X-A", "b" } },
      -- RFC 9112 section 3.2: exactly one Host field.
      { Host = "a", host = "b" }, { Host = { "a", "b" } }, { { "Host", "a" }, { "HOST", "a" } },
    },
    protocols = {
      "chat", 5, true, { 5 }, { true }, { name = "chat" }, { [2] = "chat" }, { "chat", more = "x" }, { "a", nil, "b" },
    },
    connecttimeout = { "1", true, {}, -1, nan },
    closetimeout = { "1", true, {}, -1, nan },
    maxmessagesize = { "1", true, {}, -1, 1.5, nan },
    maxbuffered = { "1", true, {}, -1, 1.5, nan },
    maxqueued = { "1", true, {}, -1, 1.5, nan },
    pinginterval = { "1", true, {}, -1, nan },
    pongtimeout = { "1", true, {}, -1, nan },
    maxredirects = { "1", true, {}, -1, 1.5, nan },
    proxy = { 5, true, {} },
    localaddress = { 5, true, {}, "", "localhost", "127.1", "[::1]", "127.0.0.1:80", "::1%lo", "fe80::1" },
    tls = { 5, true, "ca.pem" },
    debug = { 5, true, "f", {} },
    onattempt = { 5, true, "f", {} },
  }
  for name, values in pairs(wrong) do
    for _, value in ipairs(values) do
      it(name .. " = " .. (type(value) == "number" and tostring(value) or type(value)), function()
        raises("'" .. name .. "'", function() WebSocket { url = "ws://127.0.0.1:1", [name] = value } end)
      end)
    end
  end

  local wrong_tls = {
    ca = { 5, {}, "", "a\0b" },
    cert = { 5, {}, "" },
    key = { 5, {}, "" },
    password = { 5, {} },
    verify = { 0, "false" },
    servername = { 5, "" },
    minversion = { 1.1, "1.0", "TLS1.2", true },
    ciphers = { 5, {}, "" },
    -- An empty list of pins would accept every key.
    pin = {
      5, {5}, "", "sha256//", "sha1//" .. ("A"):rep(43) .. "=", "sha256//" .. ("A"):rep(44), { "x" }, {},
      { key = pin }, { [2] = pin }, { pin, more = pin }, { [0] = pin }, { [1.5] = pin }, { [true] = pin },
    },
  }
  for name, values in pairs(wrong_tls) do
    for i, value in ipairs(values) do
      it(("tls.%s, wrong %d"):format(name, i), function()
        raises("'tls." .. name .. "'", function() WebSocket { tls = { [name] = value } } end)
      end)
    end
  end

  local wrong_deflate = {
    level = { "1", -1, 10, 1.5 },
    threshold = { "1", -1, 1.5 },
    clientwindow = { 8, 16, 9.5, "9" },
    serverwindow = { 8, 16, 9.5, "9" },
    clienttakeover = { 1, "true" },
    servertakeover = { 0, {} },
  }
  for name, values in pairs(wrong_deflate) do
    for _, value in ipairs(values) do
      it("deflate." .. name .. " = " .. (type(value) == "number" and tostring(value) or type(value)), function()
        raises("'deflate." .. name .. "'", function() WebSocket { deflate = { [name] = value } } end)
      end)
    end
  end
end)

describe("an option of the right type is accepted:", function()
  local right = {
    url = { "ws://127.0.0.1:1", "http://127.0.0.1" },
    onreceive = { print, setmetatable({}, { __call = print }) },
    deflate = {
      true, false, {}, { level = 0 }, { level = 9, threshold = 0, clientwindow = 9, serverwindow = 15 },
      { clienttakeover = false, servertakeover = true },
    },
    minreconnectwait = { 0, 1, 0.5, math.huge },
    maxreconnectwait = { 0, 1, 0.5, math.huge },
    reconnect = { true, false, 0, 3, math.huge, math.maxinteger },
    headers = { {}, { ["X-A"] = "b", ["X-N"] = 5 }, { { "X-A", "b" }, { "X-A", "c" } } },
    protocols = { {}, { "chat" }, { "chat", "superchat" } },
    connecttimeout = { 0, 0.5, math.huge },
    closetimeout = { 0, 0.5, math.huge },
    maxmessagesize = { 0, 1, 2.0, math.huge, math.maxinteger },
    maxbuffered = { 0, 1, math.huge, math.maxinteger },
    maxqueued = { 0, 1, math.huge, math.maxinteger },
    pinginterval = { 0, 0.5, math.huge },
    pongtimeout = { 0, 0.5, math.huge },
    maxredirects = { 0, 5, math.huge, math.maxinteger },
    proxy = { false },
    debug = { print, setmetatable({}, { __call = print }) },
    tls = {
      {},
      { ca = "file", cert = "file", key = "file", password = "", verify = false, servername = "a" },
      { minversion = "1.2" },
      { minversion = 1.3 },
      { ciphers = "HIGH" },
      { pin = "sha256//" .. ("A"):rep(43) .. "=" },
      { pin = { "sha256//" .. ("A"):rep(43) .. "=", "sha256//" .. ("B"):rep(43) .. "=" } },
    },
  }
  for name, values in pairs(right) do
    it(name, function()
      for _, value in ipairs(values) do assert.truthy(WebSocket { [name] = value }) end
    end)
  end
end)

describe("an unknown option raises an error that names it:", function()
  it("a misspelt one", function()
    raises("'onrecieve' is unknown", function() WebSocket { onrecieve = print } end)
  end)
  it("one with a zero byte behind a known name", function()
    raises("'url' is unknown", function() WebSocket { ["url\0x"] = "ws://a" } end)
    raises("'tls.ca' is unknown", function() WebSocket { tls = { ["ca\0x"] = "x" } } end)
    assert.is_nil(WebSocket({ url = "ws://a" })["state\0x"])
  end)
  it("one in upper case", function() raises("'URL' is unknown", function() WebSocket { URL = "ws://a" } end) end)
  it("one in the table deflate", function()
    raises("'deflate.levle' is unknown", function() WebSocket { deflate = { levle = 1 } } end)
  end)
  it("a list entry", function() raises("number", function() WebSocket { "ws://127.0.0.1:1" } end) end)
  it("one in the table tls", function()
    raises("'tls.certificate' is unknown", function() WebSocket { tls = { certificate = "x" } } end)
  end)
  it("a list entry in the table tls", function()
    raises("'tls' must have names for keys, not a number", function() WebSocket { tls = { "ca.pem" } } end)
  end)
end)

describe("a bad URL raises an error that says what is wrong:", function()
  local bad = {
    [""] = "scheme",
    ["localhost"] = "scheme",
    ["//localhost"] = "scheme",
    ["ftp://localhost"] = "'ftp'",
    ["file:///etc/passwd"] = "'file'",
    ["ws://"] = "host",
    ["ws:///path"] = "host",
    ["ws://:80/"] = "host",
    ["ws://user@/"] = "host",
    ["ws://a b/"] = "space",
    ["ws://a/b c"] = "space",
    ["ws://bad\\host/"] = "backslash",
    ["ws://bücher.example/"] = "ASCII",
    ["ws://a:0/"] = "'0' is not a port",
    ["ws://a:65536/"] = "'65536' is not a port",
    ["ws://a:99999999999999999999/"] = "port",
    ["ws://a:x/"] = "'x' is not a port",
    ["ws://a:-1/"] = "port",
    ["ws://a:80:80/"] = "brackets",
    ["ws://::1/"] = "brackets",
    ["ws://[::1/"] = "closing bracket",
    ["ws://[::1]x/"] = "IPv6",
    ["ws://[::g]/"] = "IPv6",
    ["ws://[]/"] = "IPv6",
    ["ws://a/%"] = "hex",
    ["ws://a/%4"] = "hex",
    ["ws://a/%zz"] = "hex",
    ["ws://u%:p@a/"] = "user:password",
  }
  for url, words in pairs(bad) do
    it(("%q"):format(url), function()
      local err = raises("'url'", function() WebSocket { url = url } end)
      assert.truthy(err:find(words, 1, true), err)
    end)
  end

  it("without the password in the message", function()
    for _, url in ipairs {
      "ws://me:secret@a:x/", "ws://me:secret/secret@a/", "ws://me:secret?secret@a/", "ws://me:secret#secret@a/",
    } do
      local err = raises("port", function() WebSocket { url = url } end)
      assert.is_nil(err:find("secret", 1, true), err)
    end
  end)
end)

describe("control characters are refused", function()
  for _, byte in ipairs { "\r\n", "\n", "\r", "\0", "\1", "\t", "\127" } do
    local shown = ("%q"):format(byte):gsub("\n", "n")
    it("in the URL: " .. shown, function()
      raises("control character", function() WebSocket { url = "ws://127.0.0.1/a" .. byte .. "b" } end)
      raises("control character", function() WebSocket { url = "ws://127.0.0.1" .. byte .. "/" } end)
    end)
    it("in a header's name: " .. shown, function()
      raises("'headers'", function() WebSocket { headers = { ["X-A" .. byte] = "b" } } end)
    end)
    if byte ~= "\t" then
      it("in a header's value: " .. shown, function()
        raises("'headers'", function() WebSocket { headers = { ["X-A"] = "a" .. byte .. "X-B: c" } } end)
      end)
    end
    it("in a protocol: " .. shown, function()
      raises("'protocols'", function() WebSocket { protocols = { "chat" .. byte } } end)
    end)
  end

  it("and do not appear in the message", function()
    local err = raises("control character", function() WebSocket { url = "ws://127.0.0.1/\27[2J\r\nb" } end)
    assert.is_nil(err:find("%c"))
    err = raises("'headers'", function() WebSocket { headers = { ["\27[2J"] = "b" } } end)
    assert.is_nil(err:find("%c"))
    err = raises("'protocols'", function() WebSocket { protocols = { "\27[2J" } } end)
    assert.is_nil(err:find("%c"))
  end)
end)

describe("the handshake's own headers are refused:", function()
  for _, name in ipairs {
    "Upgrade", "Connection", "Sec-WebSocket-Key", "sec-websocket-version", "SEC-WEBSOCKET-PROTOCOL",
    "Sec-WebSocket-Extensions",
  } do
    it(name, function()
      raises(name, function() WebSocket { headers = { [name] = "x" } } end)
      raises(name, function() WebSocket { headers = { { name, "x" } } } end)
    end)
  end
end)

describe("protocols", function()
  it("must be tokens", function()
    for _, name in ipairs { "", "a b", "a,b", "a/b", "ä" } do
      raises("'protocols'", function() WebSocket { protocols = { name } } end)
    end
  end)
  it("must be different", function()
    raises("'chat' twice", function() WebSocket { protocols = { "chat", "b", "chat" } } end)
  end)
end)

describe("the request", function()
  local raw, peer
  lazy_setup(function() raw, peer = helper.serve("raw"), helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  --- The request line and the header fields that a server received from a websocket with these options.
  local function request(options, path)
    options.url = options.url or raw:url(path or "/request")
    local head = helper.client(options):get("TEXT").data
    local fields = {}
    for name, value in head:gmatch("\r\n([^:\r\n]+): ([^\r\n]*)") do
      fields[#fields + 1] = { name:lower(), value }
      fields[name:lower()] = value
    end
    return head:match("^[^\r]*"), fields
  end

  it("has the fields that RFC 6455 requires and no others", function()
    local line, fields = request {}
    assert.equal("GET /request HTTP/1.1", line)
    assert.equal("127.0.0.1:" .. raw.port, fields.host)
    assert.equal("websocket", fields.upgrade)
    assert.equal("Upgrade", fields.connection)
    assert.equal("13", fields["sec-websocket-version"])
    assert.equal(24, #fields["sec-websocket-key"])
    assert.is_nil(fields.origin)
    assert.is_nil(fields["sec-websocket-protocol"])
    assert.is_nil(fields["sec-websocket-extensions"])
    assert.is_nil(fields.authorization)
  end)

  it("has another key each time", function()
    local _, first = request {}
    local _, second = request {}
    assert.not_equal(first["sec-websocket-key"], second["sec-websocket-key"])
  end)

  it("has path and query, without the fragment, and encodes what needs it", function()
    assert.equal("GET /request?a=1&b=%20#? HTTP/1.1", (request({}, "/request?a=1&b=%20%23?#part"):gsub("%%23", "#")))
    assert.equal("GET /request?%C3%A4=%22%3C HTTP/1.1", (request({}, '/request?ä="<')))
  end)

  it("has / for a URL without a path", function()
    local c = helper.client(peer:url(""))
    assert.equal("/", c:get("TEXT").data)
  end)

  it("has headers given by name", function()
    local _, fields = request { headers = { ["X-Test"] = "a b\tc", ["X-Number"] = 5 } }
    assert.equal("a b\tc", fields["x-test"])
    assert.equal("5", fields["x-number"])
  end)

  it("has headers given as a list, in order, also several with one name", function()
    local _, fields = request { headers = { { "X-Test", "1" }, { "X-Other", "2" }, { "X-Test", "3" } } }
    local found = {}
    for _, field in ipairs(fields) do
      if field[1]:match("^x%-") then found[#found + 1] = field[1] .. field[2] end
    end
    assert.same({ "x-test1", "x-other2", "x-test3" }, found)
  end)

  it("has a list of headers in order, in whatever order the list was filled", function()
    local headers = {}
    for _, i in ipairs { 8, 1, 3, 6, 10, 5, 4, 9, 2, 7 } do headers[i] = { "X-N", i } end
    local _, fields = request { headers = headers }
    local found = {}
    for _, field in ipairs(fields) do
      if field[1] == "x-n" then found[#found + 1] = tonumber(field[2]) end
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, found)
  end)

  it("has headers given by name with several values, in order", function()
    local _, fields = request { headers = { ["X-Test"] = { "1", 2, "3" } } }
    local found = {}
    for _, field in ipairs(fields) do
      if field[1] == "x-test" then found[#found + 1] = field[2] end
    end
    assert.same({ "1", "2", "3" }, found)
  end)

  it("has User-Agent, Origin and Host replaced, each once", function()
    local _, fields = request { headers = { ["user-agent"] = "me", Origin = "http://a", Host = "b:1" } }
    assert.equal("me", fields["user-agent"])
    assert.equal("http://a", fields.origin)
    assert.equal("b:1", fields.host)
    local count = 0
    for _, field in ipairs(fields) do
      if field[1] == "host" or field[1] == "user-agent" then count = count + 1 end
    end
    assert.equal(2, count)
  end)

  it("has user:password as Basic authorization, decoded", function()
    local _, fields = request { url = ("ws://me:a%%3Ab@127.0.0.1:%d/request"):format(raw.port) }
    assert.equal("Basic bWU6YTpi", fields.authorization)
  end)

  it("has the protocols in order, and the answer is ws.protocol", function()
    local _, fields = request { protocols = { "superchat", "chat" } }
    assert.equal("superchat, chat", fields["sec-websocket-protocol"])
    local c = helper.client { url = peer:url("/echo"), protocols = { "superchat", "chat" } }
    assert.equal("chat", c:get("OPEN").info.protocol)
    assert.equal("chat", c.ws.protocol)
  end)

  it("offers permessage-deflate with its four parameters", function()
    local _, fields = request { deflate = true }
    assert.truthy(fields["sec-websocket-extensions"]:find("^permessage%-deflate"))
    _, fields = request {
      deflate = { clientwindow = 10, serverwindow = 11, clienttakeover = false, servertakeover = false },
    }
    local offer = fields["sec-websocket-extensions"]
    assert.truthy(offer:find("client_max_window_bits=10", 1, true), offer)
    assert.truthy(offer:find("server_max_window_bits=11", 1, true), offer)
    assert.truthy(offer:find("client_no_context_takeover", 1, true), offer)
    assert.truthy(offer:find("server_no_context_takeover", 1, true), offer)
  end)

  it("is answered with an empty list of extensions, and none of subprotocols", function()
    for _, name in ipairs { "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol" } do
      local c = helper.client {
        url = raw:url("/frames?header=%s:", name), deflate = true, protocols = { "chat" }, reconnect = false,
      }
      assert.equal("", c:get("OPEN").info.extensions)
      assert.equal("", c.ws.protocol)
    end
  end)

  it("is answered with permessage-deflate and empty elements of the list", function()
    for _, answer in ipairs { "permessage-deflate,", " , permessage-deflate", "permessage-deflate\r\n%s:" } do
      local name = "Sec-WebSocket-Extensions"
      local header = helper.escape(name .. ":" .. answer:format(name))
      local c = helper.client { url = raw:url("/frames?header=%s", header), deflate = true, reconnect = false }
      assert.truthy(c:get("OPEN").info.extensions:find("permessage-deflate", 1, true))
    end
  end)
end)

describe("an error of the constructor", function()
  local server
  lazy_setup(function() server = helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  it("leaves the script's table as it was", function()
    local headers = { ["X-N"] = 5, ["X-A"] = "b" }
    local options = { url = "ws://127.0.0.1:1", headers = headers, protocols = { "a" }, reconnect = "x" }
    raises("'reconnect'", WebSocket, options)
    assert.same({ url = "ws://127.0.0.1:1", headers = headers, protocols = { "a" }, reconnect = "x" }, options)
    assert.equal("integer", math.type(headers["X-N"]))
  end)

  it("leaves no live websocket", function()
    for _ = 1, 100 do pcall(WebSocket, { url = server:url("/echo"), maxqueued = {} }) end
    assert.is_true(websocket.run(0))
  end)

  it("does not disturb a websocket that is open", function()
    local c = helper.client(server:url("/echo")):open()
    for _ = 1, 100 do pcall(WebSocket, { url = "nonsense" }) end
    c.ws:sendText("still here")
    assert.equal("still here", c:get("TEXT").data)
  end)
end)

describe("the options table", function()
  it("is not changed, and may be used for several websockets", function()
    local options = { url = "ws://127.0.0.1:1", headers = { ["X-N"] = 5 }, deflate = { level = 1 }, reconnect = 2 }
    local first, second = WebSocket(options), WebSocket(options)
    assert.not_equal(first, second)
    assert.same(
      { url = "ws://127.0.0.1:1", headers = { ["X-N"] = 5 }, deflate = { level = 1 }, reconnect = 2 }, options)
  end)
end)

describe("a property", function()
  local ws = WebSocket { url = "ws://127.0.0.1:1/a?b" }

  it("url is what the constructor got", function() assert.equal("ws://127.0.0.1:1/a?b", ws.url) end)

  it("has a value before anything was connected", function()
    assert.equal("closed", ws.state)
    assert.equal(0, ws.bufferedamount)
    assert.equal(0, ws.attempts)
    for _, name in ipairs { "protocol", "extensions", "headers", "address", "latency", "closecode", "closereason" } do
      assert.is_nil(ws[name], name)
    end
  end)

  it("of an unknown name is nil", function()
    assert.is_nil(ws.nonsense)
    assert.is_nil(ws[1])
    assert.is_nil(ws[{}])
    assert.is_nil(ws[true])
  end)

  it("can't be set, whatever its name", function()
    for _, name in ipairs { "url", "state", "onreceive", "nonsense", 1, true } do
      raises("can't be set", function() ws[name] = "x" end)
    end
    assert.is_nil(ws.nonsense)
  end)
end)

describe("a method", function()
  it("refuses a first argument that is not a WebSocket", function()
    local ws = WebSocket()
    for _, name in ipairs { "connect", "close", "sendText", "sendBinary", "sendPing" } do
      for _, value in ipairs { 5, "x", {}, io.stdout } do
        raises("WebSocket expected", function() ws[name](value) end)
      end
      raises("WebSocket expected", function() ws[name]() end)
    end
  end)
end)

describe("the module", function()
  it("has a name and a version and sets no global", function()
    assert.equal("websocket", websocket._NAME)
    assert.equal("string", type(websocket._VERSION))
    local output = helper.script([[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      require "websocket"
      for name in pairs(_G) do if not before[name] then print(name) end end
    ]])
    helper.remove_files()
    assert.equal("", output)
  end)
end)
