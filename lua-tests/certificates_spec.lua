-- Which server certificates are trusted, the error texts for those that are refused, and client certificates.

local helper = require "helper"

local folder = helper.certificates
local ca = folder .. "/ca.pem"

local function content(name)
  local file <close> = assert(io.open(folder .. "/" .. name))
  return file:read("a")
end

local function pin(name) return "sha256//" .. content(name .. ".pin"):gsub("%s", "") end

describe("certificates:", function()
  local server
  lazy_setup(function() server = helper.serve("raw-tls") end)
  lazy_teardown(helper.stop_servers)
  after_each(function()
    helper.close_clients()
    helper.remove_files()
  end)

  local function opens(url, tls)
    local c = helper.client { url = url, tls = tls, reconnect = false }
    c:open()
    return c
  end

  --- Asserts exactly one ERROR, with these words and without a retry.
  local function refused(url, tls, ...)
    local c = helper.client { url = url, tls = tls }
    local event = c:get("ERROR")
    assert.equal("ERROR", c:list())
    assert.equal("closed", c.ws.state)
    assert.equal("tls", event.info.kind)
    assert.is_nil(event.info.retryin)
    for _, words in ipairs { ... } do assert.truthy(event.err:find(words, 1, true), event.err) end
    return event
  end

  --- How the last connection with this host name or key ended, as the server saw it: "N bytes, REASON".
  local function ending(of)
    return helper.client { url = server:url("/ending?of=%s", of), tls = { ca = ca } }:get("TEXT").data
  end

  --- One field of the JSON in which the server describes the connection.
  local function seen(c, field) return c:get("TEXT").data:match('"' .. field .. '": "?([^",}]*)') end

  describe("refused, before a byte of the request is sent, is", function()
    local cases = {
      { "expired", "expired", "2020-12-31" },
      { "early", "not valid before", "2045-06-07" },
      { "wrong-name", "wrong-name.localhost", "other.example", "www.other.example" },
      { "no-names", "no-names.localhost" },
      { "self-signed", "self-signed" },
      { "unknown", "Other CA", "not trusted" },
      { "unknown-with-root", "Other CA", "not trusted" },
      { "incomplete", "Test Intermediate", "not trusted" },
      { "old-chain", "Old Intermediate", "expired", "2020-12-31" },
      { "by-server", "good" },
      { "weak", "too weak", "1024" },
      { "sha1", "too weak" },
      { "for-clients" },
    }
    for _, case in ipairs(cases) do
      local name = case[1]
      it("one that is " .. name, function()
        local url = server:named(name .. ".localhost", "/tls")
        refused(url, { ca = ca }, url, table.unpack(case, 2))
        assert.truthy(ending(name):find("^0 bytes, "))
      end)
    end

    it("one issued by a CA that the system does not know", function()
      refused(server:url("/tls"), nil, "Test CA", "not trusted")
      assert.truthy(ending("good"):find("^0 bytes, "))
    end)

    it("one for other names: the error lists them and the expected one", function()
      local other = "nobody.example"
      refused(server:url("/tls"), { ca = ca, servername = other }, other, "localhost", "*.wild.localhost", "127.0.0.1")
    end)

    it("no certificate at all, with any ciphers, and also with a pin", function()
      for _, options in ipairs { {}, { pin = pin("good") }, { pin = pin("good"), verify = false } } do
        options.ca, options.ciphers = ca, "ALL:@SECLEVEL=0"
        local c = helper.client { url = server:named("anonymous.localhost", "/tls"), tls = options, reconnect = false }
        assert.equal("tls", c:get("ERROR").info.kind)
        assert.truthy(ending("anonymous"):find("^0 bytes, "))
      end
    end)

    it("one with names only, for a URL with an address", function()
      refused(helper.serve("nginx", nil, 1):named("127.0.0.1"), { ca = ca }, "127.0.0.1", "chained.localhost")
    end)
  end)

  describe("accepted for", function()
    for _, host in ipairs { "localhost", "good.localhost", "a.wild.localhost", "127.0.0.1", "A.Wild.LocalHost" } do
      it(host .. ", a name in the certificate", function()
        local name = seen(opens(server:named(host, "/tls"), { ca = ca }), "name")
        -- RFC 6066 section 3: SNI carries names, never addresses.
        assert.equal(host == "127.0.0.1" and "null" or host:lower(), name)
      end)
    end

    it("an IPv6 address in the certificate", function()
      local other = helper.serve("raw-tls", nil, "::1")
      assert.equal("null", seen(opens(other:named("[::1]", "/tls"), { ca = ca }), "name"))
      other:stop()
    end)

    for _, host in ipairs { "b.a.wild.localhost", "wild.localhost", "other.localhost" } do
      it(host .. ", never: the certificate has no such name", function()
        refused(server:named(host, "/tls"), { ca = ca }, host, "*.wild.localhost")
      end)
    end

    it("no wildcard given by the script: it raises or gives an ERROR", function()
      for _, name in ipairs { ".localhost", ".wild.localhost", "*.wild.localhost" } do
        for _, options in ipairs {
          { url = server:url("/tls"), tls = { ca = ca, servername = name }, reconnect = false },
          { url = server:named(name, "/tls"), tls = { ca = ca }, reconnect = false },
        } do
          local ok, c = pcall(helper.client, options)
          if ok then c:get("ERROR") end
        end
      end
    end)

    it("tls.servername instead of the URL's host, and the server sees that name", function()
      for _, host in ipairs { "127.0.0.1", "localhost", "other.localhost" } do
        local c = opens(server:named(host, "/tls"), { ca = ca, servername = "good.localhost" })
        assert.equal("good.localhost", seen(c, "name"))
      end
    end)

    it("an https URL", function() opens(server:url("/tls"):gsub("^wss", "https"), { ca = ca }) end)
    it("one issued by an intermediate CA whose certificate the server sends", function()
      opens(server:named("chained.localhost", "/tls"), { ca = ca })
    end)
  end)

  describe("trusted by", function()
    it("a file", function() opens(server:url("/tls"), { ca = ca }) end)
    it("a folder with hashed names", function() opens(server:url("/tls"), { ca = folder .. "/ca" }) end)
    it("a folder with other names", function() opens(server:url("/tls"), { ca = folder }) end)
    it("a PEM text", function() opens(server:url("/tls"), { ca = content("ca.pem") }) end)
    it("a PEM text of several", function()
      opens(server:url("/tls"), { ca = "# two\n" .. content("other-ca.pem") .. "\nand\n" .. content("ca.pem") })
      opens(server:named("unknown.localhost", "/tls"), { ca = content("other-ca.pem") .. content("ca.pem") })
    end)
    it("itself, when it is self-signed", function()
      opens(server:named("self-signed.localhost", "/tls"), { ca = folder .. "/self-signed.pem" })
    end)

    local script = [[
      local url, file = ...
      local websocket = require "websocket"
      websocket.WebSocket{
        url = url, reconnect = false, tls = file and { ca = file },
        onreceive = function(kind, data, err)
          if kind == websocket.WebSocketMessageType.OPEN then print("open") os.exit() end
          print(err)
        end,
      }:connect()
      websocket.run(10)
    ]]
    --- Output of a process that connects to the server with these environment variables.
    local function with(environment, url, file)
      local command = ("env -u SSL_CERT_FILE -u SSL_CERT_DIR %s timeout 20 %s"):format(environment, helper.lua)
      return (helper.finish(helper.start(command, helper.write_script(script), url or server:url("/tls"), file)))
    end

    it("SSL_CERT_FILE", function() assert.equal("open\n", with("SSL_CERT_FILE=" .. ca)) end)
    it("SSL_CERT_DIR", function() assert.equal("open\n", with(("SSL_CERT_DIR=%s/ca"):format(folder))) end)
    it("no other CA by default", function()
      assert.truthy(with(""):find("not trusted", 1, true))
      assert.truthy(with(("SSL_CERT_FILE=%s/other-ca.pem"):format(folder)):find("not trusted", 1, true))
    end)
    it("tls.ca and not the system's CAs, when both are given", function()
      assert.truthy(with("SSL_CERT_FILE=" .. ca, nil, folder .. "/other-ca.pem"):find("not trusted", 1, true))
    end)

    it("nothing when the CA file is missing or contains no certificate", function()
      local missing = folder .. "/missing.pem"
      refused(server:url("/tls"), { ca = missing }, "tls.ca", missing)
      refused(server:url("/tls"), { ca = folder .. "/index" }, "tls.ca")
      refused(server:url("/tls"), { ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }, "tls.ca")
      refused(server:url("/tls"), { ca = helper.folder .. "/servers" }, "tls.ca")
    end)
  end)

  describe("with verify = false,", function()
    for _, name in ipairs { "expired", "wrong-name", "self-signed", "unknown", "old-chain", "for-clients" } do
      it("accepted though " .. name, function()
        local lines = {}
        helper.client {
          url = server:named(name .. ".localhost", "/tls"), reconnect = false, tls = { verify = false },
          debug = function(line) lines[#lines + 1] = line end,
        }:open()
        assert.truthy(table.concat(lines, "\n"):find("not verified", 1, true))
      end)
    end

    it("its TLS session is not resumed by a websocket that verifies", function()
      local url = server:named("unknown.localhost", "/tls")
      seen(opens(url, { verify = false }), "version")
      refused(url, { ca = ca }, "not trusted")
      refused(url, nil, "not trusted")
    end)

    it("the pin is still checked", function()
      local url = server:named("expired.localhost", "/tls")
      opens(url, { verify = false, pin = pin("expired") })
      refused(url, { verify = false, pin = pin("good") }, "tls.pin")
    end)
  end)

  describe("with a pin,", function()
    it("accepted when it is the server's", function() opens(server:url("/tls"), { ca = ca, pin = pin("good") }) end)
    it("refused although a session from before the pin could be resumed", function()
      seen(opens(server:url("/tls"), { ca = ca }), "version")
      refused(server:url("/tls"), { ca = ca, pin = pin("expired") }, "tls.pin")
    end)
    it("accepted when one of several pins matches", function()
      opens(server:url("/tls"), { ca = ca, pin = { pin("expired"), pin("good") } })
    end)
    it("refused when the pin is another key's or only the CA's; no byte of the request is sent", function()
      for _, version in ipairs { "tls12", "tls13" } do
        local url = server:named(version .. ".wild.localhost", "/tls")
        refused(url, { ca = ca, pin = pin("expired") }, "tls.pin", pin("good"))
        assert.truthy(ending(version):find("^0 bytes, "))
        refused(url, { ca = ca, pin = { pin("ca"), pin("expired") } }, "tls.pin")
        assert.truthy(ending(version):find("^0 bytes, "))
      end
    end)
    it("still refused when the certificate does not verify", function()
      refused(server:named("expired.localhost", "/tls"), { ca = ca, pin = pin("expired") }, "expired")
    end)
  end)

  describe("the client's own:", function()
    local function url() return server:named("mutual-tls13.wild.localhost", "/tls") end
    local function identity(options)
      options.ca = ca
      return options
    end

    local ways = {
      ["in two files"] = function() return { cert = folder .. "/client.pem", key = folder .. "/client.key" } end,
      ["in one file"] = function() return { cert = folder .. "/client-both.pem" } end,
      ["as text"] = function() return { cert = content("client.pem"), key = content("client.key") } end,
      ["as one text"] = function() return { cert = content("client-both.pem") } end,
      ["with an encrypted key"] = function()
        return { cert = folder .. "/client.pem", key = folder .. "/client-encrypted.key", password = "open sesame" }
      end,
      ["with an encrypted key as text"] = function()
        return { cert = content("client.pem"), key = content("client-encrypted.key"), password = "open sesame" }
      end,
    }
    for how, options in pairs(ways) do
      it(how .. ": the server accepts it", function()
        assert.equal("Test Client", seen(opens(url(), identity(options())), "client"))
      end)
    end

    it("missing: an ERROR with the server's alert", function()
      local event = helper.client { url = url(), tls = { ca = ca }, reconnect = false }:get("ERROR")
      assert.equal("tls", event.info.kind)
      assert.truthy(event.err:find("certificate", 1, true), event.err)
      assert.truthy(ending("mutual-tls13"):find("PEER_DID_NOT_RETURN_A_CERTIFICATE", 1, true))
    end)

    it("issued by a CA that the server does not trust: an ERROR", function()
      local options = { ca = ca, cert = folder .. "/stranger.pem", key = folder .. "/stranger.key" }
      local event = helper.client { url = url(), tls = options, reconnect = false }:get("ERROR")
      assert.equal("tls", event.info.kind)
      assert.truthy(ending("mutual-tls13"):find("CERTIFICATE_VERIFY_FAILED", 1, true))
    end)

    it("unusable: an ERROR without a retry that names the option and the file", function()
      local cert, key = folder .. "/client.pem", folder .. "/client.key"
      local encrypted = folder .. "/client-encrypted.key"
      refused(url(), identity { cert = folder .. "/missing.pem" }, "'" .. folder .. "/missing.pem' of tls.cert")
      refused(url(), identity { cert = folder .. "/index" }, "'" .. folder .. "/index' of tls.cert")
      refused(url(), identity { cert = content "client.key" }, ": tls.cert has no certificate")
      refused(url(), identity { cert = cert }, "'" .. cert .. "' of tls.key")
      refused(url(), identity { cert = cert, key = folder .. "/missing.key" }, "/missing.key' of tls.key")
      refused(url(), identity { cert = cert, key = folder .. "/good.key" }, "/good.key' of tls.key")
      refused(url(), identity { cert = cert, key = content "good.key" }, ": tls.key is not the key")
      refused(url(), identity { cert = cert, key = content("good.key"):gsub("^.-\n", "") }, ": tls.key can't be read")
      refused(url(), identity { cert = folder .. "/\27[2J\u{9b}2J" }, "/?[2J?2J' of tls.cert")
      refused(url(), identity { cert = cert, key = encrypted }, "tls.password")
      local event = refused(url(), identity { cert = cert, key = encrypted, password = "sesame open" }, "tls.password")
      assert.is_nil(event.err:find("sesame", 1, true))
      refused(url(), identity { cert = cert, key = encrypted, password = ("x"):rep(5000) }, "tls.password")
      opens(url(), identity { cert = cert, key = key, password = "for nothing" })
    end)

    it("with an encrypted key and no password: OpenSSL does not ask on the terminal", function()
      local script = [[
        local url, ca, cert, key = ...
        local websocket = require "websocket"
        websocket.WebSocket{
          url = url, tls = { ca = ca, cert = cert, key = key },
          onreceive = function(kind, data, err) print(kind == websocket.WebSocketMessageType.ERROR, err) end,
        }:connect()
        print(websocket.run(10))
      ]]
      -- Runs on a pseudo-terminal, where a prompt would appear and wait for input.
      local terminal = [[timeout 20 %s -c 'import pty, sys; pty.spawn(sys.argv[1:])' %s]]
      local output = helper.finish(helper.start(terminal:format(helper.python, helper.lua), helper.write_script(script),
        url(), ca, folder .. "/client.pem", folder .. "/client-encrypted.key"))
      assert.truthy(output:find("^true\t[^\r\n]*tls.password\r?\ntrue\r?\n$"), output)
    end)
  end)

  it("a changed file of tls.ca is read again", function()
    local name = helper.write_file(content("ca.pem"))
    opens(server:url("/burst"), { ca = name })
    local file <close> = assert(io.open(name, "w"))
    file:write(content("other-ca.pem"))
    file:close()
    refused(server:url("/burst"), { ca = name })
    os.remove(name)
    local c = helper.client { url = server:url("/burst"), tls = { ca = name }, reconnect = false }
    assert.truthy(c:get("ERROR").err:find(name, 1, true))
  end)

  describe("while the file of tls.ca is being replaced, a reconnect is tried again:", function()
    local whole = content("ca.pem")
    local states = {
      ["missing"] = function(name) os.remove(name) end,
      ["empty"] = "", ["half written"] = whole:sub(1, -40), ["written up to the right CA"] = content("other-ca.pem"),
    }
    for state, change in pairs(states) do
      it(state, function()
        local name = helper.write_file(whole)
        local function write(text)
          local file <close> = assert(io.open(name, "w"))
          file:write(text)
        end
        local url = server:url("/frames?end=cut")
        local c = helper.client { url = url, tls = { ca = name }, maxreconnectwait = 0.01 }
        c:get("OPEN")
        if type(change) == "string" then write(change) else change(name) end
        local n, event = 0
        repeat
          n = n + 1
          event = c:get("ERROR", n)
        until event.info.kind == "tls"
        assert.equal("number", type(event.info.retryin))
        write(whole)
        c:get("OPEN", c:count("OPEN") + 1)
        c.ws:close()
      end)
    end
  end)
end)
