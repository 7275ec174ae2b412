-- Servers of websocket.listen that record their events, for the specs; and raw requests to them. Client and server are
-- in one Lua state, so `helper.wait` delivers the events of both.

local helper = require "helper"
local websocket = helper.websocket

local own = {}

local names = {}
for name, number in pairs(helper.types) do names[number] = name end

local Server = {}
Server.__index = Server
local servers = {}

--- Starts a server that echoes messages, at a free port of 127.0.0.1 unless `options.address` is given. Its
--- `onreceive` is called after the recording; `echo = false`: it sends nothing.
function own.listen(options)
  local self = setmetatable({ events = {}, accepted = {} }, Server)
  local copy, handler = { address = "127.0.0.1:0" }, options.onreceive
  for name, value in pairs(options) do copy[name] = value end
  copy.echo = nil
  copy.onreceive = function(kind, data, err, info, ws)
    self.events[#self.events + 1] = { type = names[kind], data = data, err = err, info = info, ws = ws }
    if names[kind] == "OPEN" then self.accepted[#self.accepted + 1] = ws end
    if options.echo ~= false and names[kind] == "TEXT" then ws:sendText(data) end
    if options.echo ~= false and names[kind] == "BINARY" then ws:sendBinary(data) end
    if handler then return handler(kind, data, err, info, ws) end
  end
  self.server = websocket.listen(copy)
  servers[#servers + 1] = self
  return self
end

--- For after_each: no server outlives its test.
function own.close()
  while #servers > 0 do table.remove(servers).server:close() end
end

--- For after_each of a spec that has clients, other servers and files as well.
function own.clean_up()
  own.close()
  helper.close_clients()
  helper.stop_servers()
  helper.remove_files()
end

function Server:url(path) return "ws://" .. self.server.address .. (path or "/") end

--- Waits for the n-th event of that name (1 by default) and returns it.
function Server:get(name, n)
  n = n or 1
  local found
  helper.wait(function()
    local count = 0
    for _, event in ipairs(self.events) do
      if event.type == name then
        count = count + 1
        found = event
        if count == n then return true end
      end
    end
  end, function() return ("%s %d of the server"):format(name, n) end)
  return found
end

--- Connects a client, waits until both sides are open, and returns the client and the accepted websocket.
function Server:pair(options)
  local copy = { url = self:url(), reconnect = false }
  for name, value in pairs(options or {}) do copy[name] = value end
  local n = #self.accepted + 1
  local client = helper.client(copy):open()
  helper.wait(function() return self.accepted[n] end, "the server's OPEN")
  return client, self.accepted[n]
end

--- A connected client's websocket on the server's side, as an event is expected.
function Server:accept()
  local _, ws = self:pair()
  return { ws = ws }
end

--- Sends the parts of a request as they are, in writes of their own (own.END: ends the sending side), and returns all
--- bytes of the server until it closes. `place`: a port or the path of a Unix socket.
function own.ask(place, ...)
  local parts = {}
  for i, part in ipairs { ... } do parts[i] = part == own.END and "-" or helper.hex(part) end
  local name = helper.write_file(table.concat(parts, "\n"))
  local answer = helper.file()
  local process = helper.start(helper.python, helper.folder .. "/servers/asker.py", place, name, answer)
  helper.wait(function() return process:ended() end, "the end of the connection")
  local output, code = helper.finish(process)
  assert(code == 0, output)
  return helper.read_file(answer)
end

own.END = {}

--- A connection that sends nothing, in another process, which ends with the server's answer as its output.
function own.silent(place)
  return helper.start(helper.python, helper.folder .. "/servers/asker.py", place, helper.write_file(""), "/dev/stdout")
end

--- A client, in another process, that sends these bytes and leaves without reading: see servers/leaver.py.
function own.leaving(port, bytes, how, when)
  return helper.start(helper.python, helper.folder .. "/servers/leaver.py", port, helper.hex(bytes), how, when)
end

--- The lines of a request for a websocket; `fields` replaces some by name, false leaves one out.
function own.request(fields, first)
  local lines = { first or "GET / HTTP/1.1" }
  local copy = {
    Host = "localhost", Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13",
    ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==",
  }
  for name, value in pairs(fields or {}) do copy[name] = value end
  for name, value in pairs(copy) do
    if value then lines[#lines + 1] = name .. ": " .. value end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

return own
