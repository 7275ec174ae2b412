-- Examples of examples/protocols with real servers: Chromium, mosquitto, python-socketio and Jupyter. Each example runs
-- in Lua 5.4 and in LuaJIT.

local helper = require "helper"
local protocols = require "protocols"
local start, start_example, run = protocols.start, protocols.start_example, protocols.run
local line, find, stop = protocols.line, protocols.find, protocols.stop
local each, slow = protocols.tests(it)

describe("examples/protocols/", function()
  it("have at most 60 lines each", function()
    for file in helper.output("ls " .. helper.folder .. "/../examples/protocols/*.lua"):gmatch "[^\n]+" do
      local _, count = helper.read_file(file):gsub("\n", "")
      assert(count <= 60, file .. ": " .. count)
    end
  end)

  describe("devtools.lua", function()
    local profile, url

    lazy_setup(function()
      protocols.name = "devtools"
      profile = helper.output("mktemp -d", "l")
      local browser = start("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--window-size=400,300", "--remote-debugging-port=0", "--user-data-dir=" .. profile)
      url = find(browser, "^DevTools listening on (ws:.*)")
    end)

    lazy_teardown(function()
      stop()
      os.execute("rm -r '" .. profile .. "'")
    end)
    after_each(helper.remove_files)

    --- Takes a screenshot. Returns how many different rows of pixels it has.
    local function rows(lua, page)
      local image = helper.file()
      local output, code = run(lua, url, page, image)
      assert.equal("", output)
      assert.equal(0, code)
      return helper.output(("base64 %s | %s %s/clients/rows.py"):format(image, helper.python, helper.folder), "n")
    end

    each("takes a screenshot of a page when it is loaded", function(lua)
      assert.equal(1, rows(lua, "about:blank"))
      local page = rows(lua, "data:text/html,<body onload='document.body.textContent = \"Hello\"'>")
      assert(page > 5, page)
    end)

    each("says why a page can't be shown", function(lua)
      local output, code = run(lua, url, ("http://127.0.0.1:%d/"):format(helper.free_port()), "/dev/null")
      assert.truthy(output:find("/: net::ERR_CONNECTION_REFUSED\n", 1, true), output)
      assert.equal(1, code)
    end)
  end)

  describe("mqtt.lua", function()
    local port, url
    local plain -- port without WebSocket

    --- `more`: a line of configuration.
    local function start_broker(more)
      plain = helper.free_port()
      local broker = start("/usr/sbin/mosquitto", "-c", helper.write_file(([[
        user root
        log_type information
        listener %d 127.0.0.1
        listener %d 127.0.0.1
        protocol websockets
        socket_domain ipv4
        %s
      ]]):gsub("\n +", "\n"):gsub("^ +", ""):format(plain, port, more)))
      find(broker, "version.*running")
      return broker
    end

    lazy_setup(function()
      protocols.name = "mqtt"
      port = helper.free_port()
      url = ("ws://127.0.0.1:%d/"):format(port)
    end)
    after_each(function()
      stop()
      helper.remove_files()
    end)

    local function publish(lua, topic, text)
      local output, code = run(lua, url, topic, text)
      assert.equal("", output)
      assert.equal(0, code)
    end

    each("publishes messages and prints those of a topic", function(lua)
      start_broker "allow_anonymous true"
      local subscriber = start_example(lua, url, "news/#")
      assert.equal("subscribed", line(subscriber))
      for _, text in ipairs { "Grüße", ("x"):rep(116), ("y"):rep(100000) } do
        publish(lua, "news/lua", text)
        assert.equal("news/lua " .. text, line(subscriber))
      end
    end)

    each("takes packets that begin and end within messages, also after a cut connection", function(lua)
      start_broker "allow_anonymous true"
      local splitter = start(helper.python .. " " .. helper.folder .. "/servers/splitter.py", 0, plain)
      local subscriber = start_example(lua, ("ws://127.0.0.1:%d/"):format(line(splitter)), "news/lua")
      assert.truthy(line(subscriber):find "closed$")
      assert.equal("subscribed", line(subscriber))
      publish(lua, "news/lua", "in pieces")
      assert.equal("news/lua in pieces", line(subscriber))
    end)

    each("says that the broker refuses the connection", function(lua)
      start_broker "allow_anonymous false"
      assert.truthy(line(start_example(lua, url, "news/lua")):find "the broker has refused the connection$")
    end)

    slow("subscribes again after the broker was restarted", function(lua)
      local broker = start_broker "allow_anonymous true"
      local subscriber = start_example(lua, url, "news/lua")
      assert.equal("subscribed", line(subscriber))
      broker:stop()
      start_broker "allow_anonymous true"
      assert.truthy(line(subscriber):find "closed$")
      assert.equal("subscribed", line(subscriber))
      publish(lua, "news/lua", "back")
      assert.equal("news/lua back", line(subscriber))
    end)
  end)

  describe("socketio.lua", function()
    local port, url, server

    --- `wanted`: the port of the last server, or 0 for any.
    local function start_server(wanted)
      server = start(helper.python .. " " .. helper.folder .. "/servers/socketio_server.py", wanted)
      port = tonumber(line(server)) or error(server.pipe:read("a"))
      url = ("http://127.0.0.1:%d"):format(port)
    end

    before_each(function()
      protocols.name = "socketio"
      start_server(0)
    end)
    after_each(stop)

    each("emits an event and prints the answer", function(lua)
      local output, code = run(lua, url, '["greet", "Lua"]')
      assert.equal('connected\n["Hello, Lua!",3]\n', output)
      assert.equal(0, code)
    end)

    slow("answers the server's pings", function(lua)
      local output = run(lua, url, '["stay"]')
      assert.truthy(output:find('^connected\n%[".+"%]\n$'), output)
    end)

    each("prints the server's events and answers them", function(lua)
      local listener = start_example(lua, url)
      assert.equal("connected", line(listener))
      assert.equal("connected\n[[null]]\n", run(lua, url, '["ask"]'))
      assert.equal('["question",{"number":42}]', line(listener))
    end)

    slow("connects again after the server was restarted", function(lua)
      local listener = start_example(lua, url)
      assert.equal("connected", line(listener))
      server:stop()
      start_server(port)
      find(listener, "^connected$")
    end)

    each("ends when the server ends the session or refuses it", function(lua)
      local listener = start_example(lua, url)
      assert.equal("connected", line(listener))
      run(lua, url, '["close"]')
      local output, code = helper.finish(listener)
      assert.equal("the server has ended the session\n", output)
      assert.equal(0, code)
      output, code = run(lua, url)
      assert.truthy(output:find('the server has refused the session: {"message":"closed for today"}', 1, true), output)
      assert.equal(1, code)
    end)
  end)

  describe("jupyter.lua", function()
    local folder, server, kernel

    lazy_setup(function()
      protocols.name = "jupyter"
      folder = helper.output("mktemp -d", "l")
      local port = helper.free_port()
      server = start("env HOME=" .. folder .. " " .. helper.python, "-m", "jupyter_server", "--ip=127.0.0.1",
        "--port=" .. port, "--port-retries=0", "--allow-root", "--ServerApp.root_dir=" .. folder,
        -- A dead kernel is noticed within 0.3 s, and stays dead.
        "--KernelRestarter.time_to_dead=0.3", "--KernelRestarter.restart_limit=0", "--IdentityProvider.token=secret")
      find(server, "is running at:")
      local kernels = ("http://127.0.0.1:%d/api/kernels"):format(port)
      local answer = helper.output("curl -s -X POST -H 'Authorization: token secret' " .. kernels)
      kernel = kernels .. "/" .. (answer:match('"id": "([^"]+)"') or error(answer))
    end)

    lazy_teardown(function()
      -- It ends its kernel first, which may take longer than `stop` waits.
      server:signal("TERM")
      helper.finish(server)
      stop()
      os.execute("rm -r '" .. folder .. "'")
    end)

    each("prints what the code prints, and its value", function(lua)
      local output, code = run(lua, kernel, "secret", "for i in range(3): print(i, 'ü')\n6 * 7")
      assert.equal("0 ü\n1 ü\n2 ü\n42\n", output)
      assert.equal(0, code)
    end)

    each("prints an error of the code, and fails", function(lua)
      local output, code = run(lua, kernel, "secret", "1 / 0")
      assert.truthy(output:find("ZeroDivisionError", 1, true), output)
      assert.equal(1, code)
    end)

    each("fails with a wrong token", function(lua)
      local output, code = run(lua, kernel, "wrong", "1")
      assert.truthy(output:find("403 Forbidden", 1, true), output)
      assert.equal(1, code)
    end)

    slow("fails when the kernel dies", function(lua)
      local output, code = run(lua, kernel, "secret", "import os; os._exit(1)")
      assert.truthy(output:find("the kernel has died", 1, true), output)
      assert.equal(1, code)
    end)
  end)
end)
