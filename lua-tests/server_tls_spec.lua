-- The option tls of a server: its certificate, which is read again when it changes, client certificates, versions.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local websocket, raises = helper.websocket, helper.raises

local folder = helper.certificates
local ca = folder .. "/ca.pem"

describe("a server with tls:", function()
  lazy_setup(function() assert(os.execute(("%s/certificates.sh '%s'"):format(helper.folder, folder))) end)
  after_each(function()
    own.close()
    helper.close_clients()
    helper.remove_files()
  end)

  local function nothing() end
  local function content(name) return helper.read_file(folder .. "/" .. name) end
  local function pin(name) return "sha256//" .. content(name .. ".pin"):gsub("%s", "") end

  --- A server with this certificate, and more fields of `tls`.
  local function listen(name, tls, options)
    local copy = { cert = folder .. "/" .. name .. ".pem", key = folder .. "/" .. name .. ".key" }
    for field, value in pairs(tls or {}) do copy[field] = value end
    local all = { tls = copy }
    for field, value in pairs(options or {}) do all[field] = value end
    return own.listen(all)
  end

  local function client(s, tls, host)
    local copy = { ca = ca }
    for field, value in pairs(tls or {}) do copy[field] = value end
    local url = ("wss://%s:%d/"):format(host or "localhost", s.server.port)
    return helper.client { url = url, tls = copy, reconnect = false }
  end

  it("passes messages; request.secure and the URL tell of TLS", function()
    local s = listen "good"
    local c = client(s):open()
    c.ws:sendText("x")
    assert.equal("x", c:get("TEXT").data)
    local message = ("0123456789abcdef"):rep(2 ^ 15)
    c.ws:sendBinary(message)
    assert.is_true(c:get("BINARY").data == message)
    local ws = s.accepted[1]
    assert.is_true(ws.request.secure)
    assert.equal(("wss://localhost:%d/"):format(s.server.port), ws.url)
    assert.same({ code = 1000, reason = "", clean = true, remote = false, unsent = 0 }, c:close().info)
    assert.equal(1000, s:get("CLOSE").info.code)
  end)

  it("has a certificate and key as text, in one file, with a password, or of a chain", function()
    client(listen("good", { cert = content "good.pem", key = content "good.key" })):open()
    local both = helper.write_file(content "good.pem" .. content "good.key")
    client(own.listen { tls = { cert = both } }):open()
    local encrypted = helper.file()
    assert(os.execute(("openssl pkey -in %s/good.key -aes256 -passout pass:secret -out %s"):format(folder, encrypted)))
    client(listen("good", { key = encrypted, password = "secret" })):open()
    client(listen "chained", nil, "chained.localhost"):open()
  end)

  it("that is wrong raises at once, before anything listens", function()
    local port = helper.free_port()
    local function refuses(words, tls)
      local err = raises("WebSocket server option 'tls", websocket.listen,
        { address = "127.0.0.1:" .. port, onreceive = nothing, tls = tls })
      assert.truthy(err:find(words, 1, true), err)
    end
    refuses("/nowhere.pem", { cert = "/nowhere.pem" })
    refuses("cert", { key = folder .. "/good.key" })
    refuses("key", { cert = folder .. "/good.pem" })
    refuses("key", { cert = folder .. "/good.pem", key = folder .. "/chained.key" })
    refuses("password", { cert = folder .. "/client.pem", key = folder .. "/client-encrypted.key", password = "wrong" })
    refuses("ca", { cert = folder .. "/good.pem", key = folder .. "/good.key", ca = "/nowhere.pem" })
    refuses("ciphers", { cert = folder .. "/good.pem", key = folder .. "/good.key", ciphers = "nonsense" })
    refuses("minversion", { cert = folder .. "/good.pem", key = folder .. "/good.key", minversion = "1.4" })
    assert.is_false(helper.is_listening(port))
  end)

  it("a client without TLS, or that does not trust the certificate, does not disturb others", function()
    local lines = {}
    local s = listen("good", nil, { debug = function(line) lines[#lines + 1] = line end })
    local plain = helper.client { url = "ws://" .. s.server.address, reconnect = false }
    plain:get("ERROR")
    assert.equal("tls", client(s, { ca = folder .. "/other-ca.pem" }):get("ERROR").info.kind)
    own.ask(s.server.port, "garbage")
    client(s):open()
    s:get("OPEN")
    assert.equal(1, #s.events)
    assert.truthy(table.concat(lines, "\n"):find("TLS", 1, true))
  end)

  it("a client that begins no handshake is dropped after connecttimeout", function()
    local s = listen("good", nil, { connecttimeout = 0.2 })
    assert.equal("", own.ask(s.server.port))
  end)

  it("minversion and ciphers", function()
    local lines = {}
    local function note(line) lines[#lines + 1] = line end
    local function version(tls, environment)
      lines = {}
      local s = listen("good", tls, { debug = note })
      local command = ("echo | openssl s_client -connect %s %s 2>&1"):format(s.server.address, environment)
      local name = helper.file()
      local process = helper.start("sh", "-c", command .. " >" .. name)
      helper.wait(function() return process:ended() end, "s_client")
      process:stop()
      return helper.read_file(name):match("New, (TLSv[%d.]+), Cipher is (%S+)")
    end
    assert.equal("TLSv1.3", (version({}, "")))
    assert.equal("TLSv1.2", (version({}, "-tls1_2")))
    assert.is_nil((version({ minversion = "1.3" }, "-tls1_2")))
    assert.equal("TLSv1.3", (version({ minversion = "1.3" }, "")))
    local _, cipher = version({ ciphers = "TLS_CHACHA20_POLY1305_SHA256" }, "")
    assert.equal("TLS_CHACHA20_POLY1305_SHA256", cipher)
    _, cipher = version({ ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384" }, "-tls1_2")
    assert.equal("ECDHE-ECDSA-AES256-GCM-SHA384", cipher)
  end)

  describe("with ca,", function()
    local function own_certificate(name)
      return { cert = folder .. "/" .. name .. ".pem", key = folder .. "/" .. name .. ".key" }
    end

    it("accepts a client with a certificate of these", function()
      local c = client(listen("good", { ca = ca }), own_certificate "client"):open()
      c.ws:sendText("x")
      c:get("TEXT")
    end)

    it("refuses one without, and one of another CA", function()
      local s = listen("good", { ca = ca })
      for _, tls in ipairs { {}, own_certificate "stranger" } do
        local c = client(s, tls)
        c:get("ERROR")
        assert.equal(0, c:count("OPEN"))
      end
      assert.same({}, s.events)
      client(s, own_certificate "client"):open()
    end)

    it("without ca no certificate is asked for", function()
      client(listen "good", own_certificate "stranger"):open()
    end)
  end)

  it("its files are read again when they have changed; wrong ones leave the old ones in use", function()
    local cert, key = helper.file(), helper.file()
    local function put(file, text)
      -- As certbot does: a new file takes the place of the old one.
      local name = helper.write_file(text)
      assert(os.rename(name, file))
    end
    put(cert, content "good.pem")
    put(key, content "good.key")
    local lines = {}
    local s = own.listen { tls = { cert = cert, key = key }, debug = function(line) lines[#lines + 1] = line end }
    local first = client(s, { pin = pin "good" }):open()
    put(cert, content "chained.pem")
    -- Now the key does not fit.
    client(s, { pin = pin "good" }):open()
    put(key, content "chained.key")
    client(s, { pin = pin "chained", servername = "chained.localhost" }):open()
    assert.equal("tls", client(s, { pin = pin "good", servername = "chained.localhost" }):get("ERROR").info.kind)
    os.remove(cert)
    client(s, { pin = pin "chained", servername = "chained.localhost" }):open()
    first.ws:sendText("still here")
    assert.equal("still here", first:get("TEXT").data)
  end)

  it("close ends a connection in the middle of the TLS handshake", function()
    local accepted = 0
    local s = listen("good", nil, { debug = function(line)
      if line:find(": accepted", 1, true) then accepted = accepted + 1 end
    end })
    local silent = own.silent(s.server.port)
    helper.wait(function() return accepted == 1 end, "the connection")
    s.server:close()
    helper.wait(function() return silent:ended() end, "the end")
    silent:stop()
    assert.is_true(websocket.run(helper.TIMEOUT))
  end)

  it("broadcast reaches connections with TLS", function()
    local s = listen("good", nil, { echo = false })
    local a, b = client(s):open(), client(s):open()
    s:get("OPEN", 2)
    assert.equal(2, (websocket.broadcastText(s.accepted, "all")))
    assert.equal("all", a:get("TEXT").data)
    assert.equal("all", b:get("TEXT").data)
  end)
end)
