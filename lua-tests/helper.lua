-- Shared by the specs: the module from the build folder, servers as child processes, websockets that record
-- their events, and scripts in their own interpreter. Nothing here sleeps: `wait` polls until a condition
-- holds, for TIMEOUT seconds at most.

--- The folder of this file.
local folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."

--- The running version of Lua: "5.1" to "5.5", or "jit".
local version = rawget(_G, "jit") and "jit" or _VERSION:match("%d.%d")
local is_old = version == "jit" or version < "5.4"
if is_old then dofile(folder .. "/portable.lua") end

-- What scripts/requirements.sh builds for this version, and the prefix of its Lua 5.5.
local build = os.getenv("WEBSOCKET_BUILD") or (version == "5.4" and "./build" or "./build/lua-" .. version)
local prefix = os.getenv("WEBSOCKET_LUA55") or "/usr/local"
local interpreters = { jit = "luajit", ["5.5"] = prefix .. "/bin/lua" }

local cpath = build .. "/?.so;"
if package.cpath:sub(1, #cpath) ~= cpath then package.cpath = cpath .. package.cpath end

local websocket = require "websocket"

-- Factor for all time limits; scripts/sanitize sets 3.
local slowness = tonumber(os.getenv("WEBSOCKET_SLOWNESS") or 1)

local helper = {
  websocket = websocket,
  types = websocket.WebSocketMessageType,
  version = version,
  prefix = prefix,
  folder = folder,
  cpath = cpath,
  build = build,
  lua = os.getenv("WEBSOCKET_LUA") or interpreters[version] or "lua" .. version,
  python = os.getenv("WEBSOCKET_PYTHON") or "build/venv/bin/python",
  node = os.getenv("WEBSOCKET_NODE") or "node",
  curl = os.getenv("WEBSOCKET_CURL") or "curl",
  cc = os.getenv("WEBSOCKET_CC") or "cc",
  certificates = build .. "/certificates", -- made when a server needs them
  -- With a sanitizer, a traced process can't look for leaks at its end.
  strace = "env LSAN_OPTIONS=detect_leaks=0 strace",
  TIMEOUT = 10 * slowness,
  slowness = slowness,
}

local names = {}
for name, number in pairs(helper.types) do names[number] = name end

-- Files

--- Reads a file in this format, for example "a" or "n", and closes it.
local function read_and_close(file, format)
  local result = file:read(format)
  file:close()
  return result
end

function helper.read_file(name, format) return read_and_close(assert(io.open(name)), format or "a") end

--- The output of a shell command.
function helper.output(command, format) return read_and_close(assert(io.popen(command)), format or "a") end

-- Time

--- Seconds on a clock that only goes forward; stock Lua has none finer than a second.
function helper.now() return helper.read_file("/proc/uptime", "n") end

--- Lets `seconds` pass without calling poll, in a busy loop: stock Lua has no sleep.
function helper.compute(seconds)
  local from = helper.now()
  repeat until helper.now() - from >= seconds
end

--- Delivers events until `condition()` is true, and returns its result.
function helper.wait(condition, what)
  local deadline = helper.now() + helper.TIMEOUT
  while true do
    local result = condition()
    if result then return result end
    local left = deadline - helper.now()
    if left <= 0 then error("timed out waiting for " .. (type(what) == "function" and what() or what), 2) end
    websocket.poll(math.min(left, 0.05))
  end
end

--- Asserts that `attempt(n)` returns true in one of five tries; otherwise it returns false and a message. A busy
--- machine can spoil some tries; a bug fails all of them.
function helper.one_of_five(attempt)
  local wrong
  for n = 1, 5 do
    local ok
    ok, wrong = attempt(n)
    if ok then return end
  end
  error("five times: " .. wrong, 2)
end

--- Asserts that `attempt(n)` takes less than `seconds` in one of five tries. It may return its own measurement.
function helper.within(seconds, attempt)
  helper.one_of_five(function(n)
    local from = helper.now()
    local took = attempt(n) or helper.now() - from
    return took < seconds, took .. " s"
  end)
end

-- Errors

--- Asserts that `f(...)` raises an error whose text contains `text`; returns the error.
function helper.raises(text, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("no error was raised; expected: " .. text, 2) end
  if type(err) ~= "string" or not err:find(text, 1, true) then
    error(("the error was %q; expected: %s"):format(tostring(err), text), 2)
  end
  return err
end

-- Versions of Lua

--- Whether callbacks of poll and run may yield. In 5.1 and LuaJIT no function that C calls may.
helper.callbacks_yield = version ~= "5.1" and version ~= "jit"

-- Child processes

local Process = {}
Process.__index = Process

--- Starts a shell command; `pid` is the process itself.
local function start(command)
  local pipe = assert(io.popen("echo $$; exec " .. command))
  return setmetatable({ pipe = pipe, pid = assert(pipe:read("n", "l")) }, Process)
end

function Process:signal(name) assert(os.execute(("kill -%s %d"):format(name, self.pid))) end

--- Whether the process has ended. It stays a zombie until its pipe is closed.
function Process:ended()
  local file = io.open(("/proc/%d/stat"):format(self.pid))
  local text = file and read_and_close(file, "a") -- nil if the process ends between open and read
  return not text or text:match("^.*%) (%a)") == "Z"
end

--- Ends the process and returns once it is gone.
function Process:stop(name)
  if not self.pipe then return end
  if not self:ended() then self:signal(name or "TERM") end
  local has_ended = pcall(helper.wait, function() return self:ended() end, "a process to end")
  if not has_ended and not self:ended() then self:signal("KILL") end
  self.pipe:close()
  self.pipe = nil
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Hosts in C

local hosts = {}

--- For the C compiler: where Lua's headers are, and its library. That of 5.5 is a static one.
helper.headers = "-I/usr/include/lua" .. version
local library = "-llua" .. version
if version == "jit" then
  helper.headers, library = "-I/usr/include/luajit-2.1", "-lluajit-5.1"
elseif version == "5.5" then
  helper.headers, library = "-I" .. prefix .. "/include", ("-Wl,-E -L%s/lib -llua -lm -ldl"):format(prefix)
end

--- Builds a C program of this folder, linked with Lua, once. Returns its path, or false without cc or Lua's headers.
function helper.host(source)
  if hosts[source] == nil then
    local name = build .. "/" .. source
    hosts[source] = os.execute(("%s %s -o %s %s/%s.c %s -lpthread 2>/dev/null"):format(
      helper.cc, helper.headers, name, helper.folder, source, library)) and name or false
  end
  return hosts[source]
end

-- Servers

local python = helper.python .. " -W ignore::DeprecationWarning " .. helper.folder .. "/servers/"
local secure = "env CERTIFICATES=" .. quote(helper.certificates) .. " "
local commands = {
  own = "env LUA_CPATH=" .. quote(cpath) .. " " .. helper.lua .. " " .. helper.folder .. "/servers/peer.lua",
  python = python .. "peer.py",
  node = "env NODE_PATH=/usr/share/nodejs " .. helper.node .. " " .. helper.folder .. "/servers/peer.js",
  raw = python .. "raw.py",
  paced = python .. "paced.py",
}
local secure_commands = {
  nginx = secure .. python .. "nginx.py",
  openssl = secure .. python .. "openssl.py",
  -- Its debug output names the port before the server listens there; sed prints the port once it does.
  lws = secure .. [[bash -c 'exec libwebsockets-test-server --port="$0" --interface=lo --ssl \
    --ssl-cert="$CERTIFICATES"/good.pem --ssl-key="$CERTIFICATES"/good.key \
    -d 31 2> >(exec sed -un "/lws_socket_bind says/{s/.* //;h}; /OPERATIONAL/{g;p}")']],
}
for kind, command in pairs(commands) do secure_commands[kind .. "-tls"] = secure .. command end

local servers = {}
local Server = setmetatable({}, Process)
Server.__index = Server

--- Starts a server. "own" is this library's; "python" and "node" are other well-behaved peers; "raw" also violates the
--- protocol; "paced" reads slowly; "python-tls" and so on are the same over TLS; "nginx" is TLS in front of another
--- server; "lws" is the test server of libwebsockets; "openssl" is s_server.
--- `port`: the port of a stopped server, to start it again there. `more`: the address of "raw" (127.0.0.1 by default),
--- the port of the server behind nginx, or the command for openssl.
function helper.serve(kind, port, more)
  local command = commands[kind]
  if not command then
    command = secure_commands[kind]
    assert(os.execute(helper.folder .. "/certificates.sh " .. quote(helper.certificates)))
  end
  local server = setmetatable(start(("%s %d %s 2>&1"):format(command, port or 0, more or "")), Server)
  server.host = commands[kind] and "ws://127.0.0.1" or "wss://localhost"
  local line = server.pipe:read("l")
  server.port = tonumber(line)
  if not server.port then
    error(("the %s server did not start: %s\n%s"):format(kind, line, server.pipe:read("a")), 2)
  end
  servers[#servers + 1] = server
  return server
end

function Server:url(path, ...)
  if select("#", ...) > 0 then path = path:format(...) end
  return ("%s:%d%s"):format(self.host, self.port, path or "/")
end

--- The URL with another host name. For "raw-tls", NAME.localhost chooses the certificate or the behaviour.
function Server:named(name, ...) return (self:url(...):gsub("//[^:]*", "//" .. name, 1)) end

function helper.stop_servers()
  while #servers > 0 do table.remove(servers):stop() end
end

-- Proxies

--- Makes a "raw" server listen at another port, where it sends one of these answers for each piece it receives, and
--- then ends as `ending` says (see dialogue in raw.py).
function Server:dialogue(ending, ...)
  local steps = {}
  for i, step in ipairs { ... } do steps[i] = helper.hex(step) end
  local control = helper.client(self:url("/dialogue?end=%s&steps=%s", ending, table.concat(steps, ",")))
  return {
    port = tonumber(control:get("TEXT").data),
    --- The n-th piece that the server received.
    heard = function(n) return helper.unhex(control:get("TEXT", n + 1).data) end,
  }
end

--- A port on which no process listens.
function helper.free_port()
  local code = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
  return helper.output(helper.python .. " -ISc " .. quote(code), "n")
end

--- Whether a process listens on this port.
function helper.is_listening(port)
  for _, name in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
    local file = io.open(name)
    if file and read_and_close(file, "a"):find((":%04X 0+:0000 0A"):format(port)) then return true end
  end
  return false
end

--- Starts a proxy: "tinyproxy" (`more`: lines of configuration) or "microsocks" (`more`: options). `port`: as in
--- `serve`.
function helper.proxy(kind, more, port)
  port = port or helper.free_port()
  local command = ("microsocks -i 127.0.0.1 -p %d %s"):format(port, more or "")
  if kind == "tinyproxy" then
    local name = helper.write_file(("Port %d\nListen 127.0.0.1\nLogLevel Connect\n%s\n"):format(port, more or ""))
    command = "tinyproxy -d -c " .. name
  end
  local log = helper.file()
  local server = setmetatable(start(("%s >%s 2>&1 </dev/null"):format(command, log)), Server)
  servers[#servers + 1] = server
  server.port, server.log = port, log
  helper.wait(function() return server:ended() or helper.is_listening(port) end, kind)
  return server
end

--- Waits until the proxy's log contains these words.
function Server:says(words)
  local text
  helper.wait(function()
    text = helper.read_file(self.log)
    return text:find(words, 1, true)
  end, function() return words .. " in " .. text end)
end

function helper.hex(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

function helper.unhex(text)
  return (text:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- Percent-encodes a part of a URL.
function helper.escape(text)
  return (text:gsub("[^%w%-._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- Websockets that record

local Client = {}
Client.__index = Client
local clients = {}

--- Makes and connects a websocket. `options` may be a URL; its `onreceive` is called after the recording.
function helper.client(options)
  if type(options) == "string" then options = { url = options } end
  local self = setmetatable({ events = {}, counts = {} }, Client)
  local handler = options.onreceive
  local copy = {}
  for name, value in pairs(options) do copy[name] = value end
  copy.onreceive = function(kind, data, err, info)
    local name = names[kind]
    self.events[#self.events + 1] = { type = name, data = data, err = err, info = info }
    self.counts[name] = (self.counts[name] or 0) + 1
    if name == "CLOSE" then
      -- Only a CLOSE without a Close frame has a cause, and each of these has one.
      assert(err == (info.cause or "") and (info.code == 1006) == (err ~= ""), err)
    end
    if handler then return handler(kind, data, err, info) end
  end
  self.ws = websocket.WebSocket(copy)
  self.ws:connect()
  clients[#clients + 1] = self
  return self
end

function Client:count(name) return self.counts[name] or 0 end

--- The names of the first 50 events, with the error texts, for failure messages.
function Client:names()
  local list = {}
  for i = 1, math.min(#self.events, 50) do
    local event = self.events[i]
    list[i] = event.type == "ERROR" and "ERROR(" .. event.err .. ")" or event.type
  end
  return table.concat(list, " ")
end

function Client:list()
  local list = {}
  for i, event in ipairs(self.events) do list[i] = event.type end
  return table.concat(list, " ")
end

--- Waits for the n-th event of that name (1 by default) and returns it.
function Client:get(name, n)
  n = n or 1
  helper.wait(function() return self:count(name) >= n end, function()
    return ("%s %d; so far: %s"):format(name, n, self:names())
  end)
  for _, event in ipairs(self.events) do
    if event.type == name then
      n = n - 1
      if n == 0 then return event end
    end
  end
end

function Client:open() self:get("OPEN") return self end

--- Closes the websocket and waits for its CLOSE.
function Client:close(...)
  self.ws:close(...)
  return self:get("CLOSE")
end

--- For after_each: no websocket outlives its test.
function helper.close_clients()
  while #clients > 0 do table.remove(clients).ws:close() end
  assert(websocket.run(helper.TIMEOUT), "a websocket of the test did not end")
end

-- Scripts in their own interpreter

local files = {}

--- A name for a file that `remove_files` removes.
function helper.file()
  local name = os.tmpname()
  files[#files + 1] = name
  return name
end

--- Writes a file, and returns its name.
function helper.write_file(text)
  local name = helper.file()
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
  return name
end

--- Writes a Lua script that finds the module, and returns the file's name.
function helper.write_script(text)
  local beginning = ("package.cpath = %q .. package.cpath "):format(cpath)
  if is_old then beginning = beginning .. ("dofile %q "):format(folder .. "/portable.lua") end
  return helper.write_file(beginning .. text)
end

--- Starts a Lua script, which gets the arguments as `...`, and returns the process.
function helper.start_script(text, ...) return helper.start(helper.lua, helper.write_script(text), ...) end

--- Starts a program, and returns the process.
function helper.start(program, ...)
  local command = { program }
  for _, value in ipairs { ... } do command[#command + 1] = quote(tostring(value)) end
  return start(table.concat(command, " ") .. " 2>&1 </dev/null")
end

--- Waits for the end of a process. Returns its remaining output, its exit code or signal, and the seconds waited.
function helper.finish(process)
  local from = helper.now()
  local output = process.pipe:read("a")
  local _, how, code = process.pipe:close()
  process.pipe = nil
  return output, how == "exit" and code or how .. " " .. code, helper.now() - from
end

function helper.script(...) return helper.finish(helper.start_script(...)) end

--- Waits, without calling poll here, for the number that a server sends at `url`: another process asks until it is
--- `least` or more and, with `still`, has not changed for that many seconds. Returns the last number, which is less
--- than `least` on a timeout.
function helper.watch(url, least, still)
  local output, code = helper.script([[
    local websocket = require "websocket"
    local url, least, still, limit = ...
    local function now()
      local file = io.open("/proc/uptime")
      local seconds = file:read("n")
      file:close()
      return seconds
    end
    local stop, last, since = now() + limit, nil, nil
    repeat
      local number
      local ws = websocket.WebSocket { url = url, onreceive = function(type, data)
        if type == websocket.WebSocketMessageType.TEXT then number = tonumber(data) end
      end }
      ws:connect()
      repeat websocket.poll(0.1) until number or now() > stop
      ws:close()
      websocket.run(0.1)
      if number ~= last then last, since = number, now() end
    until now() > stop or last >= least + 0 and now() - since >= still + 0
    print(last)
    os.exit(true, false)
  ]], url, least, still or 0, helper.TIMEOUT)
  return code == 0 and tonumber(output) or error(output, 2)
end

--- Makes an attempt, which could occupy the engine without end, in another process, with a connecttimeout of 0.3 s.
--- Returns that process's exit code: 0 if the timeout was kept.
function helper.ends_in_time(url, proxy)
  local name = helper.write_script([[
    local websocket = require "websocket"
    local url, proxy = ...
    websocket.WebSocket { url = url, proxy = proxy or false, connecttimeout = 0.3, reconnect = false }:connect()
    os.exit(websocket.run(10), false)
  ]])
  return select(2, helper.finish(helper.start("timeout -s KILL 20 " .. helper.lua, name, url, proxy)))
end

function helper.remove_files()
  while #files > 0 do os.remove(table.remove(files)) end
end

return helper
