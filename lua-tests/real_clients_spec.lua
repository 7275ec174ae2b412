-- Clients of others against our server: each sends texts and binary messages of 0 B to 16 MiB, and compares the echoes.

local helper = require "helper"
local websocket, types = helper.websocket, helper.types

local MiB = 1024 * 1024

describe("a server and the client", function()
  local servers = {}

  --- Starts a server; without `onreceive` it echoes, and compresses. With `is_secure` it has TLS, and one of the tests'
  --- certificates.
  local function listen(is_secure, onreceive)
    local folder = helper.certificates
    if is_secure then assert(os.execute(helper.folder .. "/certificates.sh '" .. folder .. "'")) end
    local server = websocket.listen {
      address = "127.0.0.1:0",
      deflate = not onreceive,
      maxmessagesize = 16 * MiB,
      maxbuffered = 40 * MiB,
      protocols = { "dumb-increment-protocol", "lws-mirror-protocol" }, -- of the test client of libwebsockets
      tls = is_secure and { cert = folder .. "/good.pem", key = folder .. "/good.key" } or nil,
      onreceive = onreceive or function(type, data, _, _, ws)
        if type == types.TEXT then ws:sendText(data) end
        if type == types.BINARY then ws:sendBinary(data) end
      end,
    }
    servers[#servers + 1] = server
    return server
  end

  after_each(function()
    while #servers > 0 do table.remove(servers):close() end
    assert(websocket.run(helper.TIMEOUT))
    helper.remove_files()
  end)

  --- Runs a client to its end while the server answers; returns its output and exit code.
  local function run(process)
    local deadline = helper.now() + 10 * helper.TIMEOUT
    repeat websocket.poll(0.02) until process:ended() or helper.now() > deadline
    if not process:ended() then process:signal("KILL") end
    return helper.finish(process)
  end

  local clients = {
    websockets = helper.python .. " " .. helper.folder .. "/clients/echo.py",
    ws = "env NODE_PATH=/usr/share/nodejs " .. helper.node .. " " .. helper.folder .. "/clients/echo.js",
    websocket = ("env LUA_CPATH='%s' %s %s/clients/echo.lua"):format(package.cpath, helper.lua, helper.folder),
  }
  for name, command in pairs(clients) do
    for _, is_secure in ipairs { false, true } do
      for _, deflate in ipairs { "none", "deflate" } do
        local what = ("%s, %s, %s"):format(name, is_secure and "TLS" or "TCP", deflate)
        it(what .. " exchange texts and binary messages of 0 B to 16 MiB", function()
          local server = listen(is_secure)
          local url = (is_secure and "wss://localhost:%d/" or "ws://127.0.0.1:%d/"):format(server.port)
          local ca = is_secure and "CA='" .. helper.certificates .. "/ca.pem' " or ""
          local process = helper.start(command:gsub("^env ", ""):gsub("^", "env " .. ca), url, deflate)
          local output, code = run(process)
          local extension = deflate == "deflate" and "permessage-deflate" or "none"
          assert.equal(("16 %s 1000\n"):format(extension), output)
          assert.equal(0, code)
        end)
      end
    end
  end

  for _, is_secure in ipairs { false, true } do
    it("libwebsockets, " .. (is_secure and "TLS" or "TCP") .. ", without deflate, exchange messages", function()
      local pongs, commands = {}, 0
      local server = listen(is_secure, function(type, data, _, _, ws)
        if type == types.OPEN then
          for _, size in ipairs { 0, 1, 125, 126, 65535, 65536, MiB } do ws:sendText(("x"):rep(size)) end
          ws:sendPing("after the messages")
        elseif type == types.PONG then
          pongs[ws.protocol] = data
        elseif type == types.TEXT then
          assert(data:find("^c #%x+ %d+ %d+ %d+;$"), data)
          commands = commands + 1
        end
      end)
      local secure = is_secure and "--ssl --ssl-ca='" .. helper.certificates .. "/ca.pem'" or ""
      local client = helper.start(("timeout 30 libwebsockets-test-client localhost --port=%d %s"):format(
        server.port, secure))
      helper.wait(function() return pongs["dumb-increment-protocol"] and pongs["lws-mirror-protocol"] end, "pongs")
      assert.equal("after the messages", pongs["dumb-increment-protocol"])
      assert.equal("after the messages", pongs["lws-mirror-protocol"])
      helper.wait(function() return commands > 0 end, "a message of the client")
      client:stop()
    end)
  end
end)
