-- examples/hosts with HAProxy, lighttpd and mpv, as docs/guide.md starts them in "Inside other programs", with our
-- server as the peer.

local helper = require "helper"
local browser = require "browser"
local hosts = require "host_examples"
local websocket, types = helper.websocket, helper.types

--- Starts a server that sends a first message to each client. Returns its URL.
local function feed(tls) return hosts.listen(tls, "the first", function() end) end

--- Sends some messages, which the host must show.
local function broadcast(port)
  for i = 1, 10 do
    local text = "message " .. i
    assert(websocket.broadcastText(hosts.clients, text) == #hosts.clients)
    hosts.shows(port, text)
  end
end

describe("the chapter about hosts", function()
  it("quotes its examples", function()
    local count = 0
    for text in (hosts.chapter:gsub("\n### ", "\n\1") .. "\1"):gmatch("\1([^\1]+)") do
      local files = ""
      for name in text:gmatch("%(%.%./(examples/hosts/[^)]+)%)") do
        files = files .. helper.read_file(helper.folder .. "/../" .. name)
      end
      for language, block in text:gmatch("\n```(%w+)\n(.-)```") do
        for line in (language == "sh" and "" or block):gmatch("[^\n]+") do
          count = count + 1
          assert.truthy(files:find(line, 1, true), line)
        end
      end
    end
    assert.equal(17, count)
  end)
end)

describe("examples/hosts/haproxy", function()
  before_each(hosts.reset)
  after_each(hosts.reset)

  local files = { "examples/hosts/haproxy/haproxy.cfg", "examples/hosts/haproxy/latest.lua" }

  --- Starts the server and HAProxy. Returns HAProxy's port.
  local function start(tls, ca, changes)
    local port = helper.free_port()
    changes["ws://127.0.0.1:9000"] = feed(tls)
    changes["bind 127.0.0.1:8080"] = "bind 127.0.0.1:" .. port
    changes["/usr/local/lib/lua/5.3"] = hosts.here .. "/build/lua-5.3"
    -- As Debian starts it: not as root.
    changes["global\n"] = "global\n" .. (hosts.is_root and "user haproxy\ngroup haproxy\n" or "")
    hosts.copy(files, changes)
    hosts.start(port, "SSL_CERT_FILE='%s' %s", ca or "", hosts.command("haproxy"))
    return port
  end

  --- HAProxy has this number of websockets, and shows the messages of one.
  local function talk(port, websockets)
    helper.wait(function() return hosts.opened == websockets end, "HAProxy to connect")
    hosts.shows(port, "the first")
    broadcast(port)
    -- The connection ends, and comes again.
    for _, ws in ipairs(hosts.clients) do ws:close(1001) end
    helper.wait(function() return hosts.opened == 2 * websockets end, "HAProxy to connect again")
    hosts.shows(port, "the first")
    hosts.stop("USR1")
  end

  local it_runs, each = hosts.tests(it, pending, "/usr/sbin/haproxy", "build/lua-5.3/websocket.so")

  each("shows the latest message", function(tls, ca) talk(start(tls, ca, {}), 1) end)

  it_runs("shows the latest message, with a Lua state for each thread", function()
    talk(start(nil, nil, { ["lua-load latest.lua"] = "nbthread 3\nlua-load-per-thread latest.lua" }), 3)
  end)

  it_runs("shows the latest message over TLS in a chroot, with the CA as text", function()
    if not hosts.is_root then return pending("chroot needs root") end
    local tls, ca = hosts.certificates()
    talk(start(tls, nil, {
      ["insecure-fork-wanted"] = "insecure-fork-wanted\nchroot /var/lib/haproxy",
      ["{url = url}"] = "{url = url, tls = {ca = ca}}",
      ["local latest\n"] = ("local latest\nlocal ca = assert(io.open(%q)):read('a')\n"):format(ca),
    }), 1)
  end)

  it_runs("says why it can't connect without insecure-fork-wanted", function()
    start(nil, nil, { ["insecure-fork-wanted"] = "" })
    local message = hosts.chapter:match("`(WebSocket can't connect: [^`]+)`")
    helper.wait(function() return helper.read_file(hosts.log):find(message, 1, true) end, message)
    hosts.stop("USR1")
  end)
end)

describe("examples/hosts/lighttpd", function()
  before_each(hosts.reset)
  after_each(hosts.reset)

  local files = { "examples/hosts/lighttpd/lighttpd.conf", "examples/hosts/lighttpd/latest.lua" }
  local _, each = hosts.tests(it, pending, "/usr/lib/lighttpd/mod_magnet.so", "build/websocket.so")

  each("shows the latest message", function(tls, ca)
    local port = helper.free_port()
    hosts.copy(files, { ["ws://127.0.0.1:9000"] = feed(tls), ["= 8080"] = "= " .. port })
    local cpath = hosts.here .. "/build/?.so"
    hosts.start(port, "LUA_CPATH='%s' SSL_CERT_FILE='%s' %s", cpath, ca or "", hosts.command("lighttpd"))
    hosts.shows(port, "the first") -- the first request waits for 1 s only
    broadcast(port)
    assert.equal(1, hosts.opened)
    -- New configuration, new Lua states.
    hosts.process:signal("USR1")
    helper.wait(function() return hosts.codes[1] end, "the end of the first Lua state")
    hosts.shows(port, "the first")
    assert.equal(2, hosts.opened)
    hosts.stop("TERM")
  end)
end)

describe("examples/hosts/mpv", function()
  before_each(hosts.reset)
  after_each(function()
    browser.stop()
    hosts.reset()
  end)

  --- 20 s of silence, which mpv plays.
  local function silence()
    local rate, seconds = 8000, 20
    local format = ("<I4I2I2I4I4I2I2"):pack(16, 1, 1, rate, rate, 1, 8)
    local data = ("<c4s4"):pack("data", ("\128"):rep(rate * seconds))
    return helper.write_file(("<c4s4"):pack("RIFF", "WAVEfmt " .. format .. data))
  end

  local it_runs = hosts.tests(it, pending, "/usr/bin/mpv", "build/lua-5.2/websocket.so")

  --- Starts mpv with the example. Returns its port, and the name of the file that it plays.
  local function start()
    local port, film = helper.free_port(), silence()
    hosts.copy({ "examples/hosts/mpv/remote.lua" }, {})
    local line = hosts.command("mpv"):gsub("examples/hosts/mpv/", ""):gsub("film.mkv", film)
    local options = "--no-config --vo=null --ao=null --pause --msg-level=statusline=no"
    hosts.start(port, "LUA_CPATH='%s/build/lua-5.2/?.so' %s %s --script-opts=remote-address=127.0.0.1:%d",
      hosts.here, line, options, port)
    return port, film
  end

  it_runs("has a page with buttons", function()
    local port = start()
    browser.start()
    local tab = browser.open(("http://127.0.0.1:%d/"):format(port))
    browser.shows(tab, '"pause": "true"')
    local function press(button)
      browser.wait(tab, ("(document.querySelector('button[value=%q]').click(), true)"):format(button))
    end
    press("seek 10")
    browser.shows(tab, '"time-pos": "10"')
    press("seek -10")
    browser.shows(tab, '"time-pos": "0"')
    press("toggle")
    browser.shows(tab, '"pause": "false"')
  end)

  it_runs("is controlled by several clients", function()
    local port, film = start()
    local clients, states = {}, { {}, {} } -- states: the properties that each client knows
    for i, state in ipairs(states) do
      clients[i] = helper.client {
        url = ("ws://127.0.0.1:%d/"):format(port),
        onreceive = function(type, data)
          if type ~= types.TEXT then return end
          local name, value = data:match("^(.-)=(.*)$")
          state[name] = value
        end,
      }:open()
    end
    --- Sends a command. Waits until both clients, or the first one alone, know the new value.
    local function send(text, name, value, is_alone)
      if text then clients[1].ws:sendText(text) end
      helper.wait(function() return states[1][name] == value and (is_alone or states[2][name] == value) end, function()
        return ("%s=%s; it is %s, %s"):format(name, value, states[1][name], states[2][name])
      end)
    end
    send(nil, "media-title", film:match("[^/]*$"))
    send("play", "pause", "false")
    send("pause", "pause", "true")
    send("seek 10", "time-pos", "10")
    send("seek -5", "time-pos", "5")
    send("volume 33", "volume", "33")
    send("toggle", "pause", "false")
    send("quit", "error", "quit: no such command", true)
    local err = "remote.lua:31: bad argument #2 to 'set_property_number' (number expected, got nil)"
    send("volume", "error", "volume: " .. err, true)
    assert.is_nil(states[2].error)
    hosts.stop("TERM", 4) -- mpv's own exit code for a signal
    for _, client in ipairs(clients) do assert.equal(1001, client:get("CLOSE").info.code) end
  end)
end)
