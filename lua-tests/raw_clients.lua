-- For the specs of hostile clients: a server in its own process, whose memory and processor time can be measured, and
-- the clients of servers/raw_client.py.

local helper = require "helper"

local raw = {}

--- Starts a behaviour of servers/raw_client.py.
function raw.start(port, ...)
  return helper.start(helper.python, helper.folder .. "/servers/raw_client.py", port, ...)
end

--- Runs a behaviour while events are delivered here, and returns its output.
function raw.run(port, ...)
  local process = raw.start(port, ...)
  helper.wait(function() return process:ended() end, "the end of " .. select(1, ...))
  local output, code = helper.finish(process)
  assert(code == 0, output)
  return output
end

local key = "dGhlIHNhbXBsZSBub25jZQ=="
local usual = {
  { "Host", "localhost" }, { "Upgrade", "websocket" }, { "Connection", "Upgrade" }, { "Sec-WebSocket-Version", "13" },
  { "Sec-WebSocket-Key", key },
}

--- A request for a websocket. `changes` replaces fields by name; false leaves one out. `more` follows the fields.
function raw.request(changes, more, first)
  local lines = { first or "GET / HTTP/1.1" }
  for _, field in ipairs(usual) do
    local value = changes and changes[field[1]]
    if value == nil then value = field[2] end
    if value then lines[#lines + 1] = field[1] .. ": " .. value end
  end
  return table.concat(lines, "\r\n") .. "\r\n" .. (more or "") .. "\r\n"
end

--- Sends each of `cases` (lists of parts) over a connection of its own, and returns what the server has sent until it
--- closed the connection.
function raw.ask(port, cases)
  local lines = {}
  for i, parts in ipairs(cases) do
    local digits = {}
    for n, part in ipairs(parts) do digits[n] = helper.hex(part) end
    lines[i] = table.concat(digits, ",")
  end
  local output = raw.run(port, "ask", helper.write_file(table.concat(lines, "\n") .. "\n"))
  local answers = {}
  for line in output:gmatch("[^\n]*\n") do answers[#answers + 1] = helper.unhex(line:sub(1, -2)) end
  assert(#answers == #cases, output)
  return answers
end

--- A masked frame with a key of zeros.
function raw.frame(first, payload)
  payload = payload or ""
  local size = #payload
  local length = size < 126 and string.char(0x80 + size) or string.char(0xFE, math.floor(size / 256), size % 256)
  return string.char(first) .. length .. "\0\0\0\0" .. payload
end

-- A server in its own process

local Server = {}
Server.__index = Server

-- Echoes texts. A client at /deaf is sent to until that raises, and the error is printed.
local script = [[
  local websocket = require "websocket"
  local types = websocket.WebSocketMessageType
  local options = load("return " .. ...)()
  options.onreceive = function(type, data, err, info, ws)
    if type == types.TEXT then
      ws:sendText(data)
    elseif type == types.OPEN and info.request.path == "/deaf" then
      local ok, wrong
      repeat
        ok, wrong = pcall(ws.sendBinary, ws, ("x"):rep(65536))
      until not ok
      print(wrong)
      io.stdout:flush()
    end
  end
  options.address = "127.0.0.1:0"
  local server = websocket.listen(options)
  print(server.port)
  io.stdout:flush()
  websocket.run()
]]

--- Starts a server with these options, which are Lua source. `limit`: its number of descriptors, by default as many as
--- may be.
function raw.serve(options, limit)
  local command = ("ulimit -n %s; exec %s %s"):format(limit or "$(ulimit -Hn)", helper.lua, helper.write_script(script))
  local process = helper.start("bash", "-c", command .. ' "$0"', options)
  local line = process.pipe:read("l")
  local self = setmetatable({ process = process, port = tonumber(line) }, Server)
  if not self.port then error(line .. process.pipe:read("a")) end
  return self
end

function Server:url(path) return ("ws://127.0.0.1:%d%s"):format(self.port, path or "/") end

--- Seconds of processor time so far.
function Server:processor_time()
  local fields = {}
  local text = helper.read_file(("/proc/%d/stat"):format(self.process.pid)):match("%) (.*)")
  for field in text:gmatch("%S+") do fields[#fields + 1] = field end
  return (fields[12] + fields[13]) / 100
end

--- MiB in memory; 0 with a sanitizer, which keeps freed memory.
function Server:memory()
  if os.getenv("WEBSOCKET_CC") then return 0 end
  return helper.read_file(("/proc/%d/status"):format(self.process.pid)):match("VmRSS:%s*(%d+)") / 1024
end

--- Open descriptors.
function Server:descriptors()
  return tonumber(helper.output(("ls /proc/%d/fd | wc -l"):format(self.process.pid), "n"))
end

function Server:stop() self.process:stop() end

return raw
