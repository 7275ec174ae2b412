-- Each message of docs/troubleshooting.md is provoked, and compared with the page; each of the page has its test. Those
-- of hosts and versions are in hosts_spec.lua and versions_spec.lua.

local helper = require "helper"
local websocket = helper.websocket

local page = helper.read_file(helper.folder .. "/../docs/troubleshooting.md")
local it_loads = os.getenv("WEBSOCKET_BUILD") and pending or it -- a sanitizer's module needs its interpreter

--- The messages of the page: indented lines, and the first cells of the tables of messages.
local messages = {}
do
  local is_message_table, is_code = false, false
  for line in page:gmatch("[^\n]*") do
    if line:find("^```") then is_code = not is_code end
    if line:find("^    ") and not is_code then messages[line:sub(5)] = "without a test" end
    if not line:find("^|") then is_message_table = false end
    if line:find("^| message") then is_message_table = true end
    local message = is_message_table and line:match("^| `([^`]*)` |")
    if message then messages[message] = "without a test" end
  end
  -- In hosts_spec.lua.
  messages["error loading module 'websocket' from file './websocket.so':"] = nil
  messages["\t./websocket.so: undefined symbol: lua_…"] = nil
end

--- Asserts that `text` ends as the page's message says, where "…" stands for anything.
local function assert_matches(message, text)
  local pattern = message:gsub("[%p]", "%%%0"):gsub("%%?…", "…"):gsub("…", ".-") .. "$"
  assert.truthy(text:find(pattern), ("%s\nis not on the page; there it is:\n%s"):format(text, message))
end

--- A test: `provoke()` returns a message, which ends with this one of the page.
local function case(message, provoke, it_runs)
  assert(messages[message], "not a message of the page: " .. message)
  messages[message] = nil;
  (it_runs or it)(message, function() assert_matches(message, provoke()) end)
end

local function error_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

--- The err of the ERROR event, without "Unable to connect to URL: ", and with `prefix` removed, too.
local function refusal(kind, options, prefix)
  if type(options) == "string" then options = { url = options } end
  options.reconnect = false
  local event = helper.client(options):get("ERROR")
  assert.equal(kind, event.info.kind)
  local err = assert(event.err:match("^Unable to connect to %S+: (.*)"), event.err)
  if prefix then
    local from, to = err:find(prefix)
    assert.equal(1, from, err)
    err = err:sub(to + 1)
  end
  return "\n" .. err
end

local function nothing() end

describe("troubleshooting:", function()
  local raw, tls, server
  lazy_setup(function() raw, tls = helper.serve("raw"), helper.serve("raw-tls") end)
  lazy_teardown(helper.stop_servers)
  after_each(function()
    if server then server:close() end
    server = nil
    helper.close_clients()
    helper.remove_files()
  end)

  --- A server of this module, for one test. Returns its address.
  local function listen(options)
    options.address, options.onreceive = "127.0.0.1:0", nothing
    server = websocket.listen(options)
    return server.address
  end

  -- Loading

  --- Runs a line of Lua, in which `websocket.so` is a copy with these bytes replaced by others of the same length.
  --- Returns the first lines of its error message.
  local function load(line, from, to)
    local folder = helper.file()
    assert(os.execute(("rm %s && mkdir %s"):format(folder, folder)))
    if from then
      assert(#from == #to)
      local file = assert(io.open(folder .. "/websocket.so", "wb"))
      file:write((helper.read_file("build/websocket.so"):gsub(from:gsub("%p", "%%%0"), to)))
      file:close()
    end
    local script = helper.write_file(("package.path, package.cpath = '%s/?.lua', '%s/?.so'\n%s"):format(folder, folder,
      line))
    local output, code = helper.finish(helper.start("env -u LUA_INIT lua5.4", script))
    os.execute("rm -r " .. folder)
    assert.equal(1, code, output)
    return output:match("^(.-)\nstack traceback")
  end

  case("module 'websocket' not found:", function() return load("require 'websocket'"):match("^[^\n]*") end)
  it("LUA_CPATH_5_4 takes the place of LUA_CPATH", function()
    local command = "env LUA_CPATH_5_4='/nowhere/?.so' LUA_CPATH=x lua5.4 -e 'print(package.cpath)'"
    assert.equal("/nowhere/?.so\n", helper.output(command))
  end)

  case("…: version `GLIBC_2.…' not found (required by …websocket.so)", function()
    return load("require 'websocket'", "GLIBC_2.34", "GLIBC_2.99")
  end, it_loads)
  for _, name in ipairs { "libssl.so.3", "libcrypto.so.3", "libz.so.1" } do
    local missing = name:gsub("%d$", "9")
    case(name .. ": cannot open shared object file: No such file or directory", function()
      return (load("require 'websocket'", name, missing):gsub(missing:gsub("%p", "%%%0"), name))
    end, it_loads)
  end

  --- Runs a script beside another module called websocket, as lua-websockets has it.
  local function beside_another(script)
    local folder = helper.file()
    assert(os.execute(("rm %s && mkdir %s"):format(folder, folder)))
    local file = assert(io.open(folder .. "/websocket.lua", "w"))
    file:write("return { client = {}, server = {} }\n")
    file:close()
    local path = ("package.path, package.cpath = '%s/?.lua', '%s'\n"):format(folder, helper.cpath)
    local output = helper.finish(helper.start(helper.lua, helper.write_file(path .. script)))
    os.execute("rm -r " .. folder)
    return output:gsub(folder, "")
  end

  case("attempt to call a nil value (field 'WebSocket')", function()
    return beside_another("local websocket = require 'websocket'\nwebsocket.WebSocket{}"):match("^(.-)\nstack")
  end)
  it("an older Lua has another text for that", function()
    local text = assert(page:match('In Lua 5.1, 5.2 and LuaJIT: "([^"]*)"'))
    for _, interpreter in ipairs { "lua5.1", "lua5.2", "luajit" } do
      local output = helper.finish(helper.start(interpreter, "-e", "local websocket = {} websocket.WebSocket{}"))
      assert.truthy(output:find(text, 1, true), output)
    end
  end)
  it("another module of the same name is found and passed by with what the page says", function()
    local print_path = assert(page:match("lua5.4 %-e '(print%(package.searchpath[^']*)'"))
    assert.equal("/websocket.lua\n", beside_another(print_path))
    local load_by_path = assert(page:match("local websocket = assert%(package.loadlib[^\n]*"))
    local here = helper.output("realpath " .. helper.build .. "/websocket.so", "l")
    load_by_path = load_by_path:gsub("/folder/of/the/module/websocket%.so", here)
    assert.equal(websocket._VERSION .. "\n", beside_another(load_by_path .. " print(websocket._VERSION)"))
  end)

  it("nothing happens without run or poll", function()
    local script = [[
      local websocket = require "websocket"
      websocket.WebSocket{ url = "%s", reconnect = false, onreceive = function(type, _, err) print(type) end }:connect()
      %s
    ]]
    local url = "ws://127.0.0.1:" .. helper.free_port() .. "/"
    assert.equal("", (helper.script(script:format(url, ""))))
    assert.equal("3\n", (helper.script(script:format(url, "websocket.run()"))))
  end)

  -- Addresses

  case("can't resolve the host …: Name or service not known", function()
    return refusal("dns", "ws://nonexistent.invalid/")
  end)
  case("…: Connection refused", function() return refusal("connect", "ws://127.0.0.1:" .. helper.free_port()) end)
  case("no address answered (…) within the connecttimeout of … s", function()
    -- A listener that accepts nothing drops connections when its queue is full.
    local full = helper.start(helper.python, "-c", [[
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
clients = [socket.socket() for _ in range(3)]
for c in clients: c.setblocking(False); c.connect_ex(s.getsockname())
print(s.getsockname()[1], flush=True)
time.sleep(60)]])
    local port = full.pipe:read("n")
    local err = refusal("timeout", { url = "ws://127.0.0.1:" .. port, connecttimeout = 0.3 })
    full:stop()
    return err
  end)
  case("the server did not answer the handshake within the connecttimeout of … s", function()
    return refusal("timeout", { url = raw:url("/silence"), connecttimeout = 0.1 })
  end)
  case("the server did not finish the TLS handshake within the connecttimeout of … s", function()
    local options = { ca = helper.certificates .. "/ca.pem" }
    return refusal("timeout", { url = "wss://127.0.0.1:" .. raw.port, tls = options, connecttimeout = 0.5 })
  end)
  case("WebSocket option 'url' is wrong: bad URL '…': it has no scheme; it must begin with ws:// or wss://", function()
    return error_of(websocket.WebSocket, { url = "127.0.0.1:80" })
  end)
  case("WebSocket option '…' is unknown", function() return error_of(websocket.WebSocket, { timeout = 5 }) end)

  -- Responses

  case("it answered 404 Not Found instead of 101 Switching Protocols", function()
    return refusal("handshake", "ws://" .. listen { onrequest = function() return { status = 404 } end })
  end)
  it("redirects that are not followed have the page's words", function()
    for words, options in pairs {
      ["without saying where to"] = { url = raw:url("/status?code=301") },
      ["and maxredirects is 0"] = {
        url = raw:url("/status?code=301&header=%s", helper.escape("Location: /other")), maxredirects = 0,
      },
    } do
      assert.truthy(page:find("`" .. words .. "`", 1, true))
      assert_matches(words, refusal("handshake", options))
    end
  end)

  it("ws:// at a port of nginx for TLS gets 400", function()
    assert.truthy(page:find("| 400 | [^\n]*: `ws://` at a port for TLS %(nginx%)"))
    local url = helper.serve("nginx", nil, raw.port):url():gsub("^wss", "ws")
    assert_matches("it answered 400 Bad Request instead of 101 Switching Protocols", refusal("handshake", url))
  end)

  case("its answer is not HTTP", function()
    return refusal("handshake", "ws://127.0.0.1:" .. raw:dialogue("hold&drip=1", "SSH-2.0-OpenSSH_9.2p1\r\n").port)
  end)
  case("the server does not speak TLS on this port; is it ws:// instead of wss://?", function()
    return refusal("tls", "wss://" .. listen {})
  end)
  case("the connection was closed before the handshake was answered", function()
    return refusal("handshake", raw:url("/refuse"))
  end)
  local switching = "HTTP/1.1 101 Switching Protocols\r\n"
  case("its answer has no Upgrade field", function()
    local port = raw:dialogue("close", switching .. "Connection: Upgrade\r\n\r\n").port
    return refusal("handshake", "ws://127.0.0.1:" .. port)
  end)
  case("the Sec-WebSocket-Accept field of its answer is wrong: it did not read our key", function()
    return refusal("handshake", raw:url("/wrong-accept"))
  end)
  case('it chose the subprotocol "…", which was not offered', function()
    local header = helper.escape("Sec-WebSocket-Protocol: other")
    return refusal("handshake", { url = raw:url("/frames?header=%s", header), protocols = { "chat" } })
  end)
  it("a server that chooses no subprotocol leaves ws.protocol empty", function()
    assert.equal("", helper.client { url = "ws://" .. listen {}, protocols = { "chat" } }:open().ws.protocol)
  end)

  -- Certificates

  local function refused_certificate(name)
    return function()
      local options = { ca = helper.certificates .. "/ca.pem" }
      return refusal("tls", { url = tls:named(name .. ".localhost", "/tls"), tls = options })
    end
  end

  local advice = "; if it is the right one, give it as tls.ca"
  case("the server's certificate (…) is self-signed and not trusted" .. advice, refused_certificate("self-signed"))
  case("the server's certificate (…) is not trusted: its issuer (…) is none of the known CAs" .. advice,
    refused_certificate("unknown"))
  case("the CA certificate (…) is not trusted: it is none of the known CAs" .. advice,
    refused_certificate("unknown-with-root"))
  case("the server's certificate (…) expired on …", refused_certificate("expired"))
  case("the server's certificate (…) is not valid before …", refused_certificate("early"))
  case("the CA certificate (…) expired on …", refused_certificate("old-chain"))
  case("the server's certificate (…) is not for …; it is for …", refused_certificate("wrong-name"))
  case("the key of the server's certificate (…) is too weak: … bits", refused_certificate("weak"))

  local function refused_options(options)
    return function() return refusal("tls", { url = tls:url("/tls"), tls = options }) end
  end

  case("the server's key does not match tls.pin: it is sha256//…", function()
    return refused_options { ca = helper.certificates .. "/ca.pem", pin = "sha256//" .. ("A"):rep(43) .. "=" }()
  end)
  case("the file '…' of tls.ca can't be read: No such file or directory", refused_options { ca = "/nowhere/ca.pem" })
  case("the file '…' of tls.ca has no certificate in PEM form", function()
    return refused_options { ca = helper.certificates .. "/index" }()
  end)
  case("no certificates of CAs were found on this system; install them (ca-certificates) or give tls.ca", function()
    local command = "env SSL_CERT_FILE=/nowhere SSL_CERT_DIR=/nowhere " .. helper.lua
    local output = helper.finish(helper.start(command, helper.write_script [[
      local websocket = require "websocket"
      local ws = websocket.WebSocket{ url = ..., reconnect = false }
      ws:connect()
      io.write(select(2, ws:waitopen(10)))
    ]], tls:url("/tls")))
    return output
  end)

  -- Proxies

  local function refused_by(kind, scheme, more)
    return function()
      local port = kind and helper.proxy(kind, more).port or raw.port
      local options = { url = raw:url("/"), proxy = scheme .. "://127.0.0.1:" .. port }
      return refusal("proxy", options, "the proxy %S+: ")
    end
  end

  case("it answered 407 Proxy Authentication Required", refused_by("tinyproxy", "http", "BasicAuth user password"))
  case("it answered 403 …", refused_by("tinyproxy", "http", "ConnectPort 1"))
  case("can't connect to …: Connection refused", function()
    local options = { url = raw:url("/"), proxy = "http://127.0.0.1:" .. helper.free_port() }
    return refusal("proxy", options, "the proxy %S+: ")
  end)
  case("its host can't be resolved: Name or service not known", function()
    return refusal("proxy", { url = raw:url("/"), proxy = "http://nonexistent.invalid" }, "the proxy %S+: ")
  end)
  case("it accepts none of our ways to authenticate", refused_by("microsocks", "socks5", "-u user -P password"))
  case("its answer is not SOCKS5", function()
    local port = raw:dialogue("close", "HTTP/1.1 400 No\r\n").port
    return refusal("proxy", { url = raw:url("/"), proxy = "socks5://127.0.0.1:" .. port }, "the proxy %S+: ")
  end)

  -- Sends

  case("WebSocket is not connected, can't send text", function()
    local ws = websocket.WebSocket { url = raw:url("/") }
    return error_of(ws.sendText, ws, "x")
  end)
  case("WebSocket failed to send text: the text is not UTF-8", function()
    local ws = helper.client(raw:url("/burst")):open().ws
    return error_of(ws.sendText, ws, "\xff")
  end)
  case("WebSocket failed to send text: … bytes beside the … that wait are more than maxbuffered (…); "
    .. "send less, or wait until bufferedamount has fallen", function()
    local ws = helper.client { url = raw:url("/frames?end=deaf"), maxbuffered = 1 << 20, closetimeout = 0 }:open().ws
    return error_of(function() while true do ws:sendText(("x"):rep(1 << 20)) end end)
  end)

  -- The end of a connection

  --- The err of CLOSE, with code 1006.
  local function ending(options)
    if type(options) == "string" then options = { url = options } end
    options.reconnect = false
    local c = helper.client(options):open()
    if options.closetimeout then c.ws:close() end
    local event = c:get("CLOSE")
    assert.equal(1006, event.info.code)
    return event.err, c
  end

  it("a code of the peer is in info.code, its reason in info.reason", function()
    for code in ("1000 1001 1002 1007 1008 1009 1011 1012 1013 3000 4999"):gmatch("%d+") do
      assert.truthy(page:find(code, 1, true), code)
      local url = raw:url("/frames?hex=8804%04x6162&end=closed", code)
      local event = helper.client { url = url, reconnect = false }:get("CLOSE")
      assert.equal(tonumber(code), event.info.code)
      assert.equal("ab", event.info.reason)
      assert.equal("", event.err)
    end
  end)
  case("the peer closed the connection without a Close frame", function()
    return (ending(raw:url("/frames?hex=810161&end=close")))
  end)
  case("the connection broke: Connection reset by peer", function()
    return (ending(raw:url("/frames?hex=810161&end=reset")))
  end)
  case("no sign of life within the pongtimeout of … s after a ping", function()
    return (ending { url = raw:url("/frames?end=mute"), pinginterval = 0.1, pongtimeout = 0.1 })
  end)
  case("the peer sent no Close frame within the closetimeout of … s", function()
    return (ending { url = raw:url("/frames?end=mute"), closetimeout = 0.1 })
  end)
  case("a message is larger than … bytes; raise the option maxmessagesize to receive it", function()
    local err, c = ending { url = raw:url("/frames?hex=8203000000"), maxmessagesize = 2 }
    assert.equal("size", c:get("ERROR").info.kind)
    return err
  end)
  case("a text message is not UTF-8 (RFC 6455 8.1)", function() return (ending(raw:url("/frames?hex=8101ff"))) end)

  -- Servers

  case("WebSocket server can't listen at …: Address already in use", function()
    return error_of(websocket.listen, { address = listen {}, onreceive = nothing })
  end)
  case("WebSocket server can't listen at …: Permission denied", function()
    -- In a new network all systems keep the low ports for root.
    local command = "unshare --user --map-root-user --net setpriv --bounding-set=-all --inh-caps=-all " .. helper.lua
    if not os.execute("unshare --user --map-root-user --net true 2>/dev/null") then
      command = "unshare --net setpriv --bounding-set=-all --inh-caps=-all " .. helper.lua
    end
    return (helper.finish(helper.start(command, helper.write_script [[
      local websocket = require "websocket"
      io.write(select(2, pcall(websocket.listen, { address = "0.0.0.0:80", onreceive = print })))
    ]])))
  end)
  case("WebSocket server can't listen at …: Cannot assign requested address", function()
    return error_of(websocket.listen, { address = "192.0.2.1:0", onreceive = nothing })
  end)

  --- What a client of a server without options gets for these bytes, in one line.
  local function response(request)
    local port = listen {}:match("%d+$")
    local program = ([[
import socket
s = socket.create_connection(("127.0.0.1", %s))
s.sendall(bytes.fromhex("%s"))
print(s.recv(10000).decode().split("\r\n\r\n")[1].strip())]]):format(port, helper.hex(request))
    local client = helper.start(helper.python, "-c", program)
    helper.wait(function() return client:ended() end, "the client")
    return (helper.finish(client):gsub("%s+$", ""))
  end

  local websocket_request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-WebSocket-Version: 13\r\n"
    .. "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
  case('403 Forbidden: websites of the origin "…" may not connect to this server', function()
    local fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://evil.example\r\n\r\n"
    return response(websocket_request .. fields)
  end)
  case("426 Upgrade Required: this is a WebSocket server, and the request asks for no WebSocket", function()
    return response("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
  end)
  case("426 Upgrade Required: the request has Sec-WebSocket-Key but not Upgrade: websocket, "
    .. "which a proxy may have removed", function() return response(websocket_request .. "\r\n") end)
  case("400 Bad Request: the client speaks TLS to a port without TLS", function()
    return response("\22\3\1\0\5\1\0\0\1\0")
  end)

  it("each message of the page has a test", function()
    local left = {}
    for message in pairs(messages) do left[#left + 1] = message end
    assert.same({}, left)
  end)
end)
