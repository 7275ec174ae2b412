-- Clients of others against our server: each sends texts and binary messages of 0 B to 16 MiB, and compares the echoes.

local helper = require "helper"
local websocket, types = helper.websocket, helper.types

local MiB = 1024 * 1024

describe("a server and the client", function()
  local servers = {}

  --- Starts an echo server. With `is_secure` it has TLS, and one of the tests' certificates.
  local function listen(is_secure)
    local folder = helper.certificates
    if is_secure then assert(os.execute(helper.folder .. "/certificates.sh '" .. folder .. "'")) end
    local server = websocket.listen {
      address = "127.0.0.1:0",
      deflate = true,
      maxmessagesize = 16 * MiB,
      maxbuffered = 40 * MiB,
      protocols = { "dumb-increment-protocol" }, -- the test client of libwebsockets asks for it
      tls = is_secure and { cert = folder .. "/good.pem", key = folder .. "/good.key" } or nil,
      onreceive = function(type, data, _, _, ws)
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
end)
