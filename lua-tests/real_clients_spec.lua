-- Clients of others against our server: each sends texts and binary messages of 0 B to 16 MiB, and compares the echoes.

local helper = require "helper"
local websocket, types = helper.websocket, helper.types

local MiB = 1024 * 1024

describe("a server and the client", function()
  local servers, close_code = {}, nil

  --- Starts a server with TLS if `is_secure`, and one of the tests' certificates. It echoes, unless there is another
  --- `onreceive`, and compresses; `options` may differ.
  local function listen(is_secure, options)
    local folder = helper.certificates
    if is_secure then assert(os.execute(helper.folder .. "/certificates.sh '" .. folder .. "'")) end
    local all = {
      address = "127.0.0.1:0",
      deflate = true,
      maxmessagesize = 16 * MiB,
      maxbuffered = 40 * MiB,
      protocols = { "dumb-increment-protocol", "lws-mirror-protocol" }, -- of the test client of libwebsockets
      tls = is_secure and { cert = folder .. "/good.pem", key = folder .. "/good.key" } or nil,
      onreceive = function(type, data, _, info, ws)
        if type == types.TEXT then ws:sendText(data) end
        if type == types.BINARY then ws:sendBinary(data) end
        if type == types.CLOSE then close_code = info.code end
      end,
    }
    for name, value in pairs(options or {}) do all[name] = value end
    local server = websocket.listen(all)
    servers[#servers + 1] = server
    return server
  end

  after_each(function()
    while #servers > 0 do table.remove(servers):close() end
    close_code = nil
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

  --- Compiles the client with libwebsockets, once. False without cc or libwebsockets' headers.
  local compiled
  local function libwebsockets()
    if compiled == nil then
      local name = helper.build .. "/echo_lws"
      compiled = os.execute(("%s -o %s %s/clients/echo_lws.c -lwebsockets 2>/dev/null"):format(
        helper.cc, name, helper.folder)) and name or false
    end
    return compiled
  end

  --- Calls `test` for TCP and TLS, each without and with permessage-deflate.
  local function each_way(name, test)
    for _, is_secure in ipairs { false, true } do
      for _, deflate in ipairs { "none", "deflate" } do
        it(("%s, %s, %s, exchange texts and binary messages of 0 B to 16 MiB"):format(
          name, is_secure and "TLS" or "TCP", deflate), function() return test(is_secure, deflate) end)
      end
    end
  end

  local function extension(deflate) return deflate == "deflate" and "permessage-deflate" or "none" end

  --- Runs a client against an echo server. It prints how many echoes were right, the extensions and, if it knows it,
  --- the code of the Close.
  local function exchange(command, is_secure, deflate, options, code)
    local server = listen(is_secure, options)
    local url = (is_secure and "wss://localhost:%d/" or "ws://127.0.0.1:%d/"):format(server.port)
    local ca = is_secure and "CA='" .. helper.certificates .. "/ca.pem' " or ""
    local output, status = run(helper.start("env " .. ca .. command, url, deflate == "deflate" and deflate or nil))
    assert.equal(("16 %s%s\n"):format(extension(deflate), code), output)
    assert.equal(0, status)
    helper.wait(function() return close_code end, "CLOSE")
    assert.equal(1000, close_code)
  end

  local clients = {
    websockets = helper.python .. " " .. helper.folder .. "/clients/echo.py",
    ws = "NODE_PATH=/usr/share/nodejs " .. helper.node .. " " .. helper.folder .. "/clients/echo.js",
    websocket = ("LUA_CPATH='%s' %s %s/clients/echo.lua"):format(package.cpath, helper.lua, helper.folder),
  }
  for name, command in pairs(clients) do
    each_way(name, function(is_secure, deflate) exchange(command, is_secure, deflate, nil, " 1000") end)
  end

  each_way("libwebsockets", function(is_secure, deflate)
    local command = libwebsockets()
    if not command then return pending("needs cc and libwebsockets' headers (libwebsockets-dev)") end
    -- As a client, libwebsockets 4.1 hangs at a message that is not compressed on a connection with permessage-deflate.
    exchange(command, is_secure, deflate, { deflate = { threshold = 0 } }, "")
  end)

  each_way("Chromium", function(is_secure, deflate)
    local page = helper.read_file(helper.folder .. "/clients/echo.html")
    local result
    local server = listen(is_secure, {
      deflate = deflate == "deflate",
      onrequest = function(request)
        if request.path == "/page" then
          return { status = 200, headers = { ["Content-Type"] = "text/html; charset=utf-8" }, body = page }
        elseif request.path == "/result" then
          result = request.query
          return { status = 204 }
        end
      end,
    })
    local profile = helper.output("mktemp -d", "l")
    local browser = helper.start("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--ignore-certificate-errors", "--no-proxy-server", "--remote-debugging-port=0",
      "--remote-debugging-address=127.0.0.1", "--user-data-dir=" .. profile,
      (is_secure and "https://localhost:%d/page" or "http://127.0.0.1:%d/page"):format(server.port))
    local deadline = helper.now() + 10 * helper.TIMEOUT
    repeat websocket.poll(0.05) until result or browser:ended() or helper.now() > deadline
    browser:stop()
    os.execute("rm -r '" .. profile .. "'")
    assert.equal(("16-%s-1000"):format(extension(deflate)), result)
    assert.equal(1000, close_code)
  end)

  for _, is_secure in ipairs { false, true } do
    it(("curl, %s, gets texts and binary messages of 0 B to 16 MiB"):format(is_secure and "TLS" or "TCP"), function()
      local version = helper.output(helper.curl .. " -V")
      if not version:find(" wss", 1, true) then return pending("this curl is built without ws, which 8.11 has") end
      local all = {}
      for _, size in ipairs { 0, 1, 125, 126, 65535, 65536, MiB, 16 * MiB } do
        all[#all + 1] = ("x"):rep(size)
        all[#all + 1] = ("\255"):rep(size)
      end
      local server = listen(is_secure, {
        closetimeout = 0.5, -- curl doesn't answer a Close
        onreceive = function(type, _, _, _, ws)
          if type ~= types.OPEN then return end
          for i, message in ipairs(all) do
            if i % 2 == 1 then ws:sendText(message) else ws:sendBinary(message) end
          end
          ws:close()
        end,
      })
      local name = helper.file()
      local url = (is_secure and "wss://localhost:%d/" or "ws://127.0.0.1:%d/"):format(server.port)
      local ca = helper.certificates .. "/ca.pem"
      run(helper.start(helper.curl, "-sSN", "--noproxy", "*", "--cacert", ca, "-o", name, url))
      -- curl writes the payload of the Close, too: the code 1000.
      assert.is_true(helper.read_file(name) == table.concat(all) .. "\3\232")
    end)
  end

  -- The test client of libwebsockets doesn't compare. Its protocols close by themselves after a while, at random.
  for _, is_secure in ipairs { false, true } do
    for _, deflate in ipairs { "none", "deflate" } do
      it(("libwebsockets-test-client, %s, %s, exchange messages"):format(is_secure and "TLS" or "TCP", deflate),
        function()
          local pongs, commands = {}, 0
          local server = listen(is_secure, {
            deflate = deflate == "deflate" and { threshold = 0 },
            onreceive = function(type, data, _, _, ws)
              if type == types.OPEN then
                assert.equal(extension(deflate), ws.extensions:match("^[^;]+") or "none")
                -- The dumb-increment-protocol of the client can't inflate, though the client has agreed to
                -- permessage-deflate: "permessage-deflate requires the protocol to have an RX buffer >= 128".
                if deflate == "none" or ws.protocol == "lws-mirror-protocol" then
                  for _, size in ipairs { 0, 1, 125, 126, 65535, 65536, MiB } do ws:sendText(("x"):rep(size)) end
                end
                ws:sendPing("after the messages")
              elseif type == types.PONG then
                pongs[ws.protocol] = data
              elseif type == types.TEXT then
                assert(data:find("^c #%x+ %d+ %d+ %d+;$"), data)
                commands = commands + 1
              end
            end,
          })
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
  end
end)
