-- For the specs of examples/hosts: a server of this process as the peer, the host in a folder of its own, and HTTP
-- requests to the host.

local helper = require "helper"
local websocket, types = helper.websocket, helper.types

local top = helper.folder .. "/../"
local here = helper.output("pwd", "l")

local hosts = {
  here = here,
  is_root = helper.output("id -u", "n") == 0,
  chapter = helper.read_file(top .. "docs/guide.md"):match("\n## Inside other programs\n(.*)"),
}

local folder

--- For before_each and after_each.
function hosts.reset()
  if hosts.process then hosts.process:stop() end
  if hosts.server then hosts.server:close() end
  helper.close_clients()
  if folder then assert(os.execute("rm -r " .. folder)) end
  helper.remove_files()
  hosts.process, hosts.server, folder = nil, nil, nil
  hosts.clients = {} -- of the server: the open websockets
  hosts.opened = 0 -- how many were opened
  hosts.codes = {} -- the close codes of those that have ended
end

--- The command of the chapter that starts a program.
function hosts.command(program)
  for block in hosts.chapter:gmatch("\n```sh\n(.-)```") do
    local line = ("\n" .. block):match("\n(" .. program .. " [^\n]+)")
    if line then return line end
  end
end

--- The option `tls` of a server for localhost, and the file of its CA.
function hosts.certificates()
  local path = helper.certificates
  assert(os.execute(helper.folder .. "/certificates.sh '" .. path .. "'"))
  path = here .. "/" .. path
  return { cert = path .. "/good.pem", key = path .. "/good.key" }, path .. "/ca.pem"
end

--- Starts the server. Each client gets `greeting`, and `ontext(ws, data)` gets each text. Returns the URL without "/".
function hosts.listen(tls, greeting, ontext)
  local clients, codes = hosts.clients, hosts.codes
  hosts.server = websocket.listen {
    address = "127.0.0.1:0",
    tls = tls,
    onreceive = function(type, data, _, info, ws)
      if type == types.OPEN then
        hosts.opened = hosts.opened + 1
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
  return (tls and "wss://localhost:" or "ws://127.0.0.1:") .. hosts.server.port
end

--- Copies files of the project into a new folder, with other words for some words, the longest first. Each word must be
--- in a file.
function hosts.copy(files, changes)
  folder = helper.output("mktemp -d", "l")
  assert(os.execute("chmod 755 " .. folder))
  local words, found = {}, {}
  for word in pairs(changes) do words[#words + 1] = word end
  table.sort(words, function(a, b) return #a > #b end)
  for _, file in ipairs(files) do
    local text = helper.read_file(top .. file)
    for _, word in ipairs(words) do
      local first, last = text:find(word, 1, true)
      while first do
        found[word] = true
        text = text:sub(1, first - 1) .. changes[word] .. text:sub(last + 1)
        first, last = text:find(word, first + #changes[word], true)
      end
    end
    local copy = assert(io.open(folder .. "/" .. file:match("[^/]*$"), "w"))
    copy:write(text)
    copy:close()
  end
  for _, word in ipairs(words) do assert(found[word], "not in the example: " .. word) end
end

--- Runs a command, behind variables of the environment, in the copy's folder. Waits until it listens at `port`.
function hosts.start(port, line, ...)
  hosts.log = helper.file()
  hosts.process = helper.start(("env -C %s PATH=/usr/sbin:$PATH %s >%s"):format(folder, line:format(...), hosts.log))
  helper.wait(function() return hosts.process:ended() or helper.is_listening(port) end, "the host to listen")
  assert(not hosts.process:ended(), helper.read_file(hosts.log))
end

--- Ends the host with a signal, and asserts its exit code (0 by default); that its websockets, but for `lost` ones, are
--- closed with 1001; and that no process has crashed.
function hosts.stop(signal, code, lost)
  local process = hosts.process
  process:signal(signal)
  helper.wait(function() return process:ended() end, "the host to end")
  local _, status = helper.finish(process)
  local log = helper.read_file(hosts.log)
  assert(status == (code or 0), status .. ": " .. log)
  assert(not log:find("signal 11", 1, true), log)
  helper.wait(function() return #hosts.codes == hosts.opened end, "the last CLOSE")
  for _, closecode in ipairs(hosts.codes) do
    if closecode == 1006 then lost = (lost or 0) - 1 end
    assert(closecode == 1001 or closecode == 1006, closecode)
  end
  assert((lost or 0) == 0, "1006")
end

--- Begins an HTTP request by curl.
function hosts.begin(port, ...)
  local url = ("http://127.0.0.1:%d/ask"):format(port)
  return helper.start("curl", "-s", "--noproxy", "*", "-w", "%{http_code}", url, ...)
end

--- Waits until the request has an answer, while this process answers as the server. Returns the status and the body.
function hosts.answer(curl)
  helper.wait(function() return curl:ended() end, "curl")
  local body, status = helper.finish(curl):match("^(.-)\n?(%d%d%d)$")
  return tonumber(status), body
end

function hosts.request(...) return hosts.answer(hosts.begin(...)) end

--- Waits until the host answers with this message.
function hosts.shows(port, text)
  helper.wait(function() return select(2, hosts.request(port)) == text end, "the page to show: " .. text)
end

local function is_missing(name)
  local file = io.open(name)
  if file then file:close() end
  return not file
end

--- Returns busted's `it`, or its `pending` if the host or the module for its Lua is missing; and a function that makes
--- a test for ws:// and one for wss://, which gets the results of `certificates`.
function hosts.tests(it, pending, host, module)
  local missing = is_missing(host) and host or is_missing(module) and module
  local it_runs = missing and function(text) pending(text .. ": there is no " .. missing) end or it
  return it_runs, function(text, test)
    it_runs(text .. ", ws://", function() test() end)
    it_runs(text .. ", wss://", function() test(hosts.certificates()) end)
  end
end

return hosts
