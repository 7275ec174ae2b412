-- Examples of examples/protocols with real servers: nats-server, strawberry, prosody and crossbar. Each example runs in
-- Lua 5.4 and in LuaJIT.

local helper = require "helper"
local protocols = require "protocols"
local start, start_example, run = protocols.start, protocols.start_example, protocols.run
local line, find, stop = protocols.line, protocols.find, protocols.stop
local each, slow = protocols.tests(it)

local crossbar = "build/crossbar/bin/crossbar"
local has_crossbar = os.rename(crossbar, crossbar)

describe("examples/protocols/", function()
  local url -- of the server
  local folder -- of the server's files

  --- Writes a file into the server's folder, and returns its path.
  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
    return folder .. "/" .. name
  end

  lazy_setup(function() folder = helper.output("mktemp -d", "l") end)
  lazy_teardown(function() os.execute("rm -r '" .. folder .. "'") end)

  --- Asserts that the example prints `expected` and ends without an error.
  local function prints(expected, lua, ...)
    local output, code = run(lua, ...)
    assert.equal(expected, output)
    assert.equal(0, code)
  end

  --- Asserts that the example ends with an error that contains `text`.
  local function fails(text, lua, ...)
    local output, code = run(lua, ...)
    assert.truthy(output:find(text, 1, true), output)
    assert.equal(1, code)
  end

  describe("nats.lua", function()
    local port, server
    local plain -- the port without WebSocket

    --- `more`: lines of configuration.
    local function start_server(more)
      server = start("/usr/sbin/nats-server", "-c", write("nats.conf", ([[
        listen: "127.0.0.1:%d"
        websocket { host: "127.0.0.1", port: %d, no_tls: true }
        %s
      ]]):format(plain, port, more or "")))
      find(server, "Server is ready")
    end

    lazy_setup(function()
      protocols.name = "nats"
      port, plain = helper.free_port(), helper.free_port()
      url = ("ws://127.0.0.1:%d/"):format(port)
    end)
    after_each(stop)

    each("publishes messages and prints those of a subject", function(lua)
      start_server()
      local subscriber = start_example(lua, url, "news.>")
      assert.equal("subscribed", line(subscriber))
      for _, text in ipairs { "", "Grüße", "MSG x 1 1\r", ("x"):rep(100000) } do
        prints("", lua, url, "news.lua", text)
        assert.equal("news.lua " .. text, line(subscriber))
      end
      prints("", lua, url, "other.lua", "not printed")
      prints("", lua, url, "news.end", "two\r\n\r\nlines")
      assert.equal("news.end two\r", line(subscriber))
      assert.equal("\r", line(subscriber))
      assert.equal("lines", line(subscriber))
    end)

    each("takes commands that begin and end within messages, also after a cut connection", function(lua)
      start_server()
      local splitter = start(helper.python, helper.folder .. "/servers/splitter.py", 0, plain)
      local subscriber = start_example(lua, ("ws://127.0.0.1:%d/"):format(line(splitter)), "news")
      assert.not_equal("subscribed", line(subscriber)) -- The first connection was cut.
      assert.equal("subscribed", line(subscriber))
      prints("", lua, url, "news", "in pieces")
      assert.equal("news in pieces", line(subscriber))
    end)

    each("answers the server's pings", function(lua)
      start_server 'ping_interval: "0.1s", trace: true'
      start_example(lua, url, "news")
      -- The first PONG may be the answer to a PING that measures the latency.
      for _ = 1, 2 do find(server, "<<%- %[PONG%]") end
    end)

    each("says why the server refuses a command", function(lua)
      start_server()
      fails("'Invalid Publish Subject'", lua, url, "news..lua", "text")
      fails("'Invalid Subject'", lua, url, "news..lua")
    end)

    slow("says that the server needs a password", function(lua)
      start_server [[authorization { user: "lua", password: "secret" }]]
      fails("'Authorization Violation'", lua, url, "news", "text")
    end)

    slow("subscribes again after the server was restarted", function(lua)
      start_server()
      local subscriber = start_example(lua, url, "news")
      assert.equal("subscribed", line(subscriber))
      server:stop()
      start_server()
      local text
      repeat text = assert(line(subscriber)) until text == "subscribed"
      prints("", lua, url, "news", "back")
      assert.equal("news back", line(subscriber))
    end)
  end)

  describe("graphql.lua", function()
    local function start_server()
      local server = start(helper.python, helper.folder .. "/servers/graphql_server.py")
      local port = tonumber(line(server)) or error(server.pipe:read("a"))
      url = ("ws://127.0.0.1:%d/"):format(port)
      return server
    end

    lazy_setup(function()
      protocols.name = "graphql"
      start_server()
    end)
    lazy_teardown(stop)

    each("prints each result of a subscription, and that of a query", function(lua)
      prints('{"count":1}\n{"count":2}\n{"count":3}\n', lua, url, "subscription { count(to: 3) }")
      prints('{"count":1}\n', lua, url, "subscription ($n: Int!) { count(to: $n) }", '{"n": 1}')
      prints('{"hello":"Hello, Grüße!"}\n', lua, url, "query ($name: String!) { hello(name: $name) }",
        '{"name": "Grüße"}')
    end)

    each("says why there is no result", function(lua)
      fails("Cannot query field 'help'", lua, url, "{ help }")
      fails("Int cannot represent non-integer value", lua, url, 'subscription { count(to: "three") }')
      local output, code = run(lua, url, "subscription { fail }")
      assert.truthy(output:find('{"fail":1}\n', 1, true), output)
      assert.truthy(output:find("the sensor is broken", 1, true), output)
      assert.equal(1, code)
    end)

    slow("ends when the server ends", function(lua)
      local server = start_server()
      local subscriber = start_example(lua, url, "subscription { hang }")
      assert.equal('{"hang":1}', line(subscriber))
      server:stop()
      local output, code = helper.finish(subscriber)
      assert.truthy(output:find("closed: 1012", 1, true), output)
      assert.equal(1, code)
    end)
  end)

  describe("xmpp.lua", function()
    local romeo, juliet = "romeo@localhost", "juliet@localhost"

    lazy_setup(function()
      protocols.name = "xmpp"
      protocols.environment = "XMPP_PASSWORD=secret"
      local port = helper.free_port()
      local configuration = write("prosody.cfg.lua", ([[
        run_as_root = true
        pidfile = "FOLDER/pid"
        data_path = "FOLDER"
        certificates = "FOLDER"
        log = { info = "*console" }
        modules_enabled = { "saslauth", "websocket", "offline" }
        modules_disabled = { "s2s" }
        c2s_ports, c2s_direct_tls_ports, https_ports = {}, {}, {}
        http_ports, http_interfaces = { PORT }, { "127.0.0.1" }
        c2s_require_encryption, allow_unencrypted_plain_auth = false, true
        VirtualHost "localhost"
      ]]):gsub("FOLDER", folder):gsub("PORT", port))
      for _, user in ipairs { "romeo", "juliet" } do
        local output, code = helper.finish(start("prosodyctl", "--config", configuration, "register", user, "localhost",
          "secret"))
        assert(code == 0, output)
      end
      find(start("prosody", "-F", "--config", configuration), "Serving 'websocket' at http://localhost")
      url = ("ws://127.0.0.1:%d/xmpp-websocket"):format(port)
    end)
    lazy_teardown(function()
      stop()
      protocols.environment = ""
    end)

    each("sends messages and prints those that arrive", function(lua)
      prints("", lua, url, romeo, juliet, "Too early?") -- The server keeps it.
      local reader = start_example(lua, url, juliet)
      assert.equal("online", line(reader))
      for _, text in ipairs { "Too early?", "Grüße", "<b>&amp;</b> 'x' \"y\"", ("x"):rep(10000) } do
        if text ~= "Too early?" then prints("", lua, url, romeo, juliet, text) end
        assert.equal("romeo@localhost: " .. text, line(reader))
      end
      reader:stop()
    end)

    each("says why the server refuses a password or a message", function(lua)
      fails("not-authorized", lua, url, "tybalt@localhost", juliet, "text")
      fails("service-unavailable", lua, url, romeo, "tybalt@localhost", "text")
    end)

  end)

  describe("wamp.lua", function()
    local realm, topic = "realm1", "com.example.news"

    lazy_setup(function()
      protocols.name = "wamp"
      if not has_crossbar then return end
      local port = helper.free_port()
      write("config.json", ([[{
        "version": 2,
        "workers": [{
          "type": "router",
          "realms": [{ "name": "realm1", "roles": [{ "name": "anonymous", "permissions": [{
            "uri": "", "match": "prefix",
            "allow": { "call": true, "register": false, "publish": true, "subscribe": true }
          }] }] }],
          "transports": [{
            "type": "websocket", "serializers": ["json"],
            "endpoint": { "type": "tcp", "interface": "127.0.0.1", "port": %d }
          }]
        }]
      }]]):format(port))
      find(start(crossbar, "start", "--cbdir", folder), "NODE_BOOT_COMPLETE")
      url = ("ws://127.0.0.1:%d/"):format(port)
    end)
    lazy_teardown(stop)

    --- A test of each interpreter, if there is a router.
    local function each_with_router(what, test)
      each(what, function(lua)
        if not has_crossbar then return pending("needs crossbar, which could not be installed") end
        test(lua)
      end)
    end

    each_with_router("publishes events and prints those of a topic", function(lua)
      local subscriber = start_example(lua, url, realm, "subscribe", topic)
      assert.equal("subscribed", line(subscriber))
      for _, arguments in ipairs { '["Grüße",1]', '[["nested",true]]', ('["%s"]'):format(("x"):rep(100000)) } do
        prints("", lua, url, realm, "publish", topic, arguments)
        assert.equal(arguments, line(subscriber))
      end
      prints("", lua, url, realm, "publish", topic)
      assert.equal("null", line(subscriber))
      subscriber:stop()
    end)

    each_with_router("calls a procedure and prints its result", function(lua)
      prints("[1]\n", lua, url, realm, "call", "wamp.session.count")
      prints("[0]\n", lua, url, realm, "call", "wamp.session.count", '[["administrator"]]') -- those of a role
    end)

    each_with_router("says why the router refuses something", function(lua)
      fails("wamp.error.no_such_procedure", lua, url, realm, "call", "com.example.add", "[1, 2]")
      fails("wamp.error.no_such_realm", lua, url, "realm2", "call", "com.example.add", "[1, 2]")
    end)
  end)
end)
