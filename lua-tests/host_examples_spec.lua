-- examples/hosts: each host runs its example at a free port of 127.0.0.1, with a server of this process as the peer.

local helper = require "helper"
local websocket, types = helper.websocket, helper.types

local here = helper.output("pwd", "l")

describe("examples/hosts/", function()
  local process, server, folder, log
  local clients, opened, codes = {}, 0, {} -- open websockets; how many were opened; the close codes of the others

  after_each(function()
    if process then process:stop() end
    if server then server:close() end
    process, server = nil, nil
    helper.close_clients()
    assert(os.execute("rm -r " .. folder))
    helper.remove_files()
    clients, opened, codes = {}, 0, {}
  end)

  --- Starts the server that the host connects to. Returns its address.
  local function listen(tls, ontext, greeting)
    server = websocket.listen {
      address = "127.0.0.1:0",
      tls = tls,
      onreceive = function(type, data, _, info, ws)
        if type == types.OPEN then
          opened = opened + 1
          clients[#clients + 1] = ws
          if greeting then ws:sendText(greeting) end
        elseif type == types.TEXT then
          ontext(ws, data)
        elseif type == types.CLOSE then
          codes[#codes + 1] = info.code
          for i = #clients, 1, -1 do
            if clients[i] == ws then table.remove(clients, i) end
          end
        end
      end,
    }
    return (tls and "wss://localhost:" or "ws://127.0.0.1:") .. server.port
  end

  --- A copy of the example's folder, in which `changes` replace words. Each word must be there.
  local function copy(name, changes)
    folder = helper.output("mktemp -d", "l")
    local source = helper.folder .. "/../examples/hosts/" .. name
    assert(os.execute(("chmod 755 %s && cp %s/* %s"):format(folder, source, folder)))
    local found = {}
    for file in helper.output("ls " .. folder):gmatch("%S+") do
      local text = helper.read_file(folder .. "/" .. file)
      for word, replacement in pairs(changes) do
        local first, last = text:find(word, 1, true)
        while first do
          found[word] = true
          text = text:sub(1, first - 1) .. replacement .. text:sub(last + 1)
          first, last = text:find(word, first + #replacement, true)
        end
      end
      local handle = assert(io.open(folder .. "/" .. file, "w"))
      handle:write(text)
      handle:close()
    end
    for word in pairs(changes) do assert(found[word], "not in the example: " .. word) end
  end

  --- Runs a command in the copy of the folder, and waits until it listens at `port`.
  local function start(command, port)
    log = helper.file()
    process = helper.start(("env -C %s PATH=/usr/sbin:$PATH %s >%s"):format(folder, command, log))
    helper.wait(function() return process:ended() or helper.is_listening(port) end, "the host to listen")
    assert(not process:ended(), helper.read_file(log))
  end

  --- Ends the host with a signal. Its websockets are closed with 1001, and no process crashes.
  local function stop(signal, expected)
    if signal then process:signal(signal) end
    helper.wait(function() return process:ended() end, "the host to end")
    local output, code = helper.finish(process)
    assert.equal(expected or 0, code, output .. helper.read_file(log))
    helper.wait(function() return #codes == opened end, "the last CLOSE")
    for _, closecode in ipairs(codes) do assert.equal(1001, closecode) end
    assert(not helper.read_file(log):find("signal 11", 1, true), helper.read_file(log))
  end

  --- An HTTP request by curl, during which this process answers as the server. Returns the status and the body.
  local function begin(port, ...)
    local url = ("http://127.0.0.1:%d/ask"):format(port)
    return helper.start("curl", "-s", "--noproxy", "*", "-w", "%{http_code}", url, ...)
  end
  local function answer(curl)
    helper.wait(function() return curl:ended() end, "curl")
    local body, status = helper.finish(curl):match("^(.-)\n?(%d%d%d)$")
    return tonumber(status), body
  end
  local function request(...) return answer(begin(...)) end

  local function is_missing(name)
    local file = io.open(name)
    if file then file:close() end
    return not file
  end

  --- `it`, or `pending` without the host's file or the module for its Lua.
  local function it_has(host, module)
    local missing = is_missing(host) and host or is_missing(module) and module
    return missing and function(text) pending(text .. ": there is no " .. missing) end or it
  end

  --- A test for ws:// and one for wss://.
  local function each(text, host, module, test)
    it_has(host, module)(text .. ", ws://", function() test() end)
    it_has(host, module)(text .. ", wss://", function()
      local certificates = helper.certificates
      assert(os.execute(helper.folder .. "/certificates.sh '" .. certificates .. "'"))
      certificates = here .. "/" .. certificates
      test({ cert = certificates .. "/good.pem", key = certificates .. "/good.key" }, certificates .. "/ca.pem")
    end)
  end

  local is_root = helper.output("id -u", "n") == 0

  local unpacked = here .. "/build/nginx-lua/usr"
  each("nginx asks a server for each request", "build/nginx-lua", "build/lua-jit/websocket.so", function(tls, ca)
    local port = helper.free_port()
    local late = {}
    local url = listen(tls, function(ws, data)
      local number, question = data:match("^(%d+) (.*)$")
      if question == "close" then return ws:close(1001) end
      if question == "wait" then
        late[#late + 1] = function() ws:sendText(number, " at last") end
        return
      end
      ws:sendText(number, " ", question, "!")
    end)
    copy("nginx", {
      ["ws://127.0.0.1:9000"] = url,
      ["127.0.0.1:8080"] = "127.0.0.1:" .. port,
      ["/usr/lib/nginx"] = unpacked .. "/lib/nginx",
      ["/usr/local/lib/lua/5.1"] = here .. "/build/lua-jit",
      ["?.lua;;"] = ("?.lua;%s/share/lua/5.1/?.lua;;"):format(unpacked),
    })
    local libraries = helper.output("dirname " .. unpacked .. "/lib/*/libluajit-5.1.so.2", "l")
    start(("env LD_LIBRARY_PATH=%s SSL_CERT_FILE='%s' nginx -p . -c nginx.conf -e stderr"):format(libraries, ca or ""),
      port)
    helper.wait(function() return opened == 2 end, "both workers")
    assert.same({ 200, "Hello!" }, { request(port, "-d", "Hello") })
    -- A request that waits stops no other.
    local waiting = {}
    for i = 1, 4 do waiting[i] = begin(port, "-d", "wait") end
    helper.wait(function() return #late == 4 end, "the questions")
    for i = 1, 10 do assert.same({ 200, i .. "!" }, { request(port, "-d", i) }) end
    for _, send in ipairs(late) do send() end
    for i = 1, 4 do assert.same({ 200, "at last" }, { answer(waiting[i]) }) end
    -- The connection ends before the answer, and comes again.
    assert.equal(502, (request(port, "-d", "close")))
    helper.wait(function() return opened == 3 end, "a worker to connect again")
    -- New workers, new Lua states.
    process:signal("HUP")
    helper.wait(function() return opened == 5 and #codes == 3 end, "new workers, and the end of the old")
    assert.same({ 200, "again!" }, { request(port, "-d", "again") })
    stop("QUIT")
  end)

  --- A server that sends a first message to each client. Returns its URL, and a function that sends others to all.
  local function feed(tls)
    local url = listen(tls, function() end, "the first")
    return url, function(text) assert.equal(#clients, (websocket.broadcastText(clients, text))) end
  end

  --- Waits until the host answers with this message.
  local function shows(port, text)
    helper.wait(function() return select(2, request(port)) == text end, "the page to show: " .. text)
  end

  for threads = 1, 2 do
    local what = threads == 1 and "HAProxy shows the latest message" or "HAProxy with a Lua state for each thread"
    each(what, "/usr/sbin/haproxy", "build/lua-5.3/websocket.so", function(tls, ca)
      local port = helper.free_port()
      local url, send = feed(tls)
      -- As Debian starts it: another user, and no file of the system can be opened.
      local user = is_root and "user haproxy\ngroup haproxy\n" or ""
      if is_root and not tls then user = user .. "chroot /var/lib/haproxy\n" end
      if threads == 2 then user = user .. "nbthread 2\n" end
      copy("haproxy", {
        ["ws://127.0.0.1:9000"] = url,
        ["bind 127.0.0.1:8080"] = "bind 127.0.0.1:" .. port,
        ["/usr/local/lib/lua/5.3"] = here .. "/build/lua-5.3",
        ["insecure-fork-wanted"] = "insecure-fork-wanted\n" .. user,
        ["lua-load latest.lua"] = threads == 2 and "lua-load-per-thread latest.lua" or "lua-load latest.lua",
      })
      start(("env SSL_CERT_FILE='%s' haproxy -f haproxy.cfg"):format(ca or ""), port)
      helper.wait(function() return opened == threads end, "HAProxy to connect")
      shows(port, "the first")
      for i = 1, 10 do
        send("message " .. i)
        shows(port, "message " .. i)
      end
      -- The connection ends, and comes again.
      for _, ws in ipairs(clients) do ws:close(1001) end
      helper.wait(function() return opened == 2 * threads end, "HAProxy to connect again")
      shows(port, "the first")
      stop("USR1")
    end)
  end

  local magnet = "/usr/lib/lighttpd/mod_magnet.so"
  each("lighttpd shows the latest message", magnet, "build/websocket.so", function(tls, ca)
    local port = helper.free_port()
    local url, send = feed(tls)
    copy("lighttpd", {
      ["ws://127.0.0.1:9000"] = url,
      ["= 8080"] = "= " .. port,
    })
    local command = "env LUA_CPATH='%s/build/?.so' SSL_CERT_FILE='%s' lighttpd -D -f lighttpd.conf"
    start(command:format(here, ca or ""), port)
    assert.same({ 200, "the first" }, { request(port) })
    for i = 1, 10 do
      send("message " .. i)
      shows(port, "message " .. i)
    end
    assert.equal(1, opened)
    -- New configuration, new Lua states.
    process:signal("USR1")
    helper.wait(function() return codes[1] end, "the end of the first Lua state")
    shows(port, "the first")
    assert.equal(2, opened)
    stop("TERM")
  end)

  --- 20 s of silence, which mpv plays.
  local function silence()
    local rate, seconds = 8000, 20
    local format = ("<I4I2I2I4I4I2I2"):pack(16, 1, 1, rate, rate, 1, 8)
    local data = ("<c4s4"):pack("data", ("\128"):rep(rate * seconds))
    return helper.write_file(("<c4s4"):pack("RIFF", "WAVEfmt " .. format .. data))
  end

  it_has("/usr/bin/mpv", "build/lua-5.2/websocket.so")("mpv is controlled from a page", function()
    local port, film = helper.free_port(), silence()
    copy("mpv", {})
    local command = "env LUA_CPATH='%s/build/lua-5.2/?.so' mpv --no-config --vo=null --ao=null --pause %s"
      .. " --msg-level=statusline=no --script=remote.lua --script-opts=remote-address=127.0.0.1:%d"
    start(command:format(here, film, port), port)
    local status, page = request(port)
    assert.equal(200, status)
    assert.truthy(page:find("new WebSocket", 1, true))
    -- What each client has been told.
    local states = { {}, {} }
    local first
    for _, state in ipairs(states) do
      local client = helper.client {
        url = ("ws://127.0.0.1:%d/"):format(port),
        onreceive = function(type, data)
          if type ~= types.TEXT then return end
          local name, value = data:match("^(.-)=(.*)$")
          state[name] = value
        end,
      }
      first = first or client
      client:open()
    end
    --- Sends a command; waits until both clients, or the first one alone, know the new value.
    local function send(text, name, value, is_alone)
      first.ws:sendText(text)
      helper.wait(function() return states[1][name] == value and (is_alone or states[2][name] == value) end, function()
        return ("%s=%s; it is %s, %s"):format(name, value, states[1][name], states[2][name])
      end)
    end
    helper.wait(function() return states[1]["media-title"] == film:match("[^/]*$") end, "the title")
    send("play", "pause", "false")
    send("pause", "pause", "true")
    send("seek 10", "time-pos", "10")
    send("seek -5", "time-pos", "5")
    send("volume 33", "volume", "33")
    send("toggle", "pause", "false")
    send("quit", "error", "quit: no such command", true)
    local err = "bad argument #2 to 'set_property_number' (number expected, got nil)"
    send("volume", "error", "volume: remote.lua:31: " .. err, true)
    assert(not states[2].error)
    process:signal("TERM")
    assert.equal(1001, first:get("CLOSE").info.code)
    stop(nil, 4) -- mpv's own exit code for a signal
  end)
end)
