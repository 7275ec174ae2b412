-- docs/guide.md: each script runs in its own interpreter against real servers, and prints what the page says. "…" on
-- the page stands for any text. A chapter's name in another spec means that this spec runs the chapter's blocks.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local types = helper.types

local top = helper.folder .. "/../"
local guide = helper.read_file(top .. "docs/guide.md")
local lua = ("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)

--- The chapters by their headings; each has its `body`, and a list of its blocks for each language.
local chapters, headings = {}, {}
for heading, body in (guide:gsub("\n## ", "\n\1") .. "\n"):gmatch("\1([^\n]+)([^\1]*)") do
  local chapter = { body = body, lua = {}, sh = {}, text = {}, others = {} }
  for language, block in body:gmatch("\n```(%w*)\n(.-\n)```") do
    table.insert(chapter[language] or chapter.others, block)
  end
  chapters[heading], headings[#headings + 1] = chapter, heading
end

local function plain(text) return (text:gsub("%p", "%%%0")) end

--- What the chapter says that its script prints, as a pattern. `changes`: other words for words of the page.
local function printed(heading, changes)
  local text = chapters[heading].text[1]
  for words, other in pairs(changes or {}) do text = text:gsub(plain(words), (other:gsub("%%", "%%%%"))) end
  return (plain(text):gsub("…", ".-"))
end

local tested, processes = {}, {}

--- Keeps a process for after_each, which stops it if the test has not.
local function keep(process)
  processes[#processes + 1] = process
  return process
end

--- Starts a script of the guide with these arguments. Returns a function for its output so far, and the process.
local function start(heading, ...)
  tested[heading] = true
  local script, log = helper.write_file(chapters[heading].lua[1]), helper.file()
  local process = keep(helper.start(lua:gsub("^env", "%0 >" .. log, 1), script, ...))
  return function() return helper.read_file(log) end, process
end

--- Waits until a pattern is in the output of a process.
local function says(output, pattern)
  helper.wait(function() return output():find(pattern) end, function() return pattern .. " in " .. output() end)
end

--- Runs a script to its end, while this process delivers events of its own servers. Returns its output and exit code.
local function run(heading, ...)
  local output, process = start(heading, ...)
  helper.wait(function() return process:ended() end, function() return "the end after " .. output() end)
  local _, code = helper.finish(process)
  return output(), code
end

--- Asserts that a script prints what the page says, with these changes, and ends without an error.
local function prints(heading, changes, ...)
  local output, code = run(heading, ...)
  assert.equal(0, code, output)
  assert.truthy(output:find("^" .. printed(heading, changes) .. "$"), output)
end

describe("docs/guide.md:", function()
  local echo, python, closed

  --- Starts examples/echo_server.lua.
  local function start_echo(address)
    local server = helper.start(lua, top .. "examples/echo_server.lua", address)
    return server, server.pipe:read("l")
  end

  local url
  lazy_setup(function()
    echo, url = start_echo("127.0.0.1:0")
    python = helper.serve("python"):url("/echo")
    closed = ("ws://127.0.0.1:%d/"):format(helper.free_port())
  end)
  lazy_teardown(function()
    helper.stop_servers()
    echo:stop()
  end)
  after_each(function()
    while #processes > 0 do table.remove(processes):stop() end
    own.close()
    helper.close_clients()
    helper.remove_files()
  end)

  describe("the page", function()
    --- The anchor that GitHub makes of a heading.
    local function anchor(heading)
      return (heading:lower():gsub("`", ""):gsub("Ö", "ö"):gsub("[^%w\128-\255 _-]", ""):gsub(" ", "-"))
    end

    it("begins with a list of its chapters", function()
      local lines = {}
      for _, heading in ipairs(headings) do lines[#lines + 1] = ("- [%s](#%s)\n"):format(heading, anchor(heading)) end
      local list = {}
      for line in guide:match("^(.-)\n## "):gmatch("%- %[[^\n]*\n") do list[#list + 1] = line end
      assert.same(lines, list)
    end)

    it("has no link to a file or a heading that does not exist", function()
      for target in guide:gmatch("%]%(([^)]+)%)") do
        local name, fragment = target:match("^([^#]*)#?(.*)$")
        local file = io.open(top .. "docs/" .. (name == "" and "guide.md" or name))
        assert(file, target)
        local text = "\n" .. (file:read("*a") or "")
        file:close()
        local found = fragment == ""
        for heading in text:gmatch("\n#+ ([^\n]+)") do found = found or anchor(heading) == fragment end
        assert(found, target)
      end
    end)
  end)

  it("the first commands start an echo server and a script", function()
    local command = guide:match("```sh\n(lua5.4 examples/echo_server.lua) 127.0.0.1:9000\nlua5.4 try.lua ws://")
    assert.equal("lua5.4 examples/echo_server.lua", command)
  end)

  describe("waiting for one answer", function()
    local heading = "How do I wait for one answer, with a timeout?"

    it("prints the answer", function()
      prints(heading, nil, url)
      prints(heading, nil, python)
    end)

    it("ends without an answer when the connection ends", function()
      local server = own.listen { echo = false, onreceive = function(type, _, _, _, ws)
        if type == types.TEXT then ws:close() end
      end }
      assert.equal("no answer: closed\n", (run(heading, server:url())))
    end)

    it("says why there is no connection", function()
      local output, code = run(heading, closed)
      assert.truthy(output:find("not connected: Unable to connect", 1, true), output)
      assert.equal(1, code)
    end)
  end)

  describe("requests and responses", function()
    local heading = "How do I match responses to requests?"

    it("belong together", function()
      prints(heading, nil, url)
      prints(heading, nil, python)
    end)

    it("belong together when the responses come in another order, or not at all", function()
      local first
      local server = own.listen { echo = false, onreceive = function(type, data, _, _, ws)
        if type ~= types.TEXT then return end
        if not first then
          first = data
        elseif not data:find("Bye from Ann", 1, true) then
          ws:sendText(data)
          if data:find("Hello", 1, true) then ws:sendText(first) end
        end
      end }
      local lines = { "Bob\tHello from Bob\tnil", "Ann\tHello from Ann\tnil", "Bob\tBye from Bob\tnil" }
      lines[#lines + 1] = "Ann\tnil\ttimeout\n"
      assert.equal(table.concat(lines, "\n"), (run(heading, server:url(), 0.5)))
    end)

    it("end with the connection", function()
      local server = own.listen { echo = false, onreceive = function(type, _, _, _, ws)
        if type == types.TEXT then ws:close() end
      end }
      local output, code = run(heading, server:url())
      assert.equal(0, code, output)
      for _, name in ipairs { "Ann", "Bob" } do
        assert.truthy(output:find(name .. "\tnil\tclosed\n", 1, true), output)
      end
      assert.equal(2, select(2, output:gsub("can't send text", "")))
    end)
  end)

  describe("heartbeats", function()
    local heading = "How do I send the heartbeats that a service asks for?"

    it("are sent and answered", function()
      for _, address in ipairs { url, python } do
        local output = start(heading, address, 0.4)
        says(output, "^" .. printed(heading))
      end
    end)

    it("without an answer end the connection, and the next one has them again", function()
      local server = own.listen { echo = false }
      local output = start(heading, server:url(), 0.05)
      says(output, "^heartbeat 1 has no answer\n")
      assert.equal('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}', server:get("TEXT").data)
      assert.truthy(server:get("TEXT", 2).data:find('"ref":"2"', 1, true))
      assert.equal(1000, server:get("CLOSE").info.code)
    end)

    it("stop with the connection, and go on with the next", function()
      local count = 0
      local server = own.listen { onreceive = function(type, _, _, _, ws)
        if type == types.OPEN then count = count + 1 end
        if type == types.TEXT and count == 1 then ws:close(1001) end
      end }
      local output = start(heading, server:url(), 0.4)
      says(output, "heartbeat 3 is answered\n$")
      assert.equal(2, count)
      assert.equal(nil, output():find("has no answer", 1, true))
    end)
  end)

  describe("a fresh token", function()
    local heading = "How do I reconnect with a fresh token?"

    it("is fetched for each attempt", function()
      local server, address = start_echo("127.0.0.1:0")
      keep(server)
      local output = start(heading, address)
      says(output, "open with token%-1\n")
      server:signal("INT")
      says(output, "token%-2: Unable to connect")
      server:stop()
      keep((start_echo(address:match("//(.*)/"))))
      says(output, "^" .. printed(heading))
    end)

    it("is fetched after status 401", function()
      local tokens = {}
      local server = own.listen { onrequest = function(request)
        tokens[#tokens + 1] = request.headers.authorization
        return #tokens > 1 or { status = 401 }
      end }
      local output = start(heading, server:url())
      says(output, "^token%-1: [^\n]*401[^\n]*\nopen with token%-2\n")
      assert.same({ "Bearer token-1", "Bearer token-2" }, tokens)
    end)
  end)

  describe("an upload", function()
    local heading = "How do I upload 1 GiB?"
    local size = 20 * 2 ^ 20 + 12345

    --- A file of that size, and its content.
    local function make_file()
      local content = ("0123456789abcde\n"):rep(math.floor(size / 16) + 1):sub(1, size)
      return helper.write_file(content), content
    end

    it("brings all bytes", function()
      local name, content = make_file()
      local parts = {}
      local server = own.listen { echo = false, onreceive = function(type, data)
        if type == types.BINARY then parts[#parts + 1] = data end
      end }
      prints(heading, { ["1073741824"] = ("%d"):format(size) }, server:url(), name)
      assert.is_true(table.concat(parts) == content)
      assert.equal(21, #parts)
    end)

    it("needs little memory", function()
      local name, total, process, peak = helper.file(), 0, nil, nil
      assert(os.execute("truncate -s 100M " .. name))
      local server = helper.websocket.listen { address = "127.0.0.1:0", onreceive = function(type, data)
        if type == types.BINARY then total = total + #data end
        -- The client waits for the answer to its Close: it is still there.
        if total == 100 * 2 ^ 20 and not peak then
          peak = tonumber(helper.read_file(("/proc/%d/status"):format(process.pid)):match("VmHWM:%s*(%d+)"))
        end
      end }
      local output
      output, process = start(heading, "ws://" .. server.address .. "/", name)
      helper.wait(function() return process:ended() end, output)
      server:close()
      assert.truthy(output():find(": complete\n", 1, true), output())
      assert.is_true(peak < 50 * 2 ^ 10, peak and peak .. " KiB")
    end)

    it("to an echo server is complete, too", function()
      prints(heading, { ["1073741824"] = ("%d"):format(size) }, url, (make_file()))
    end)

    it("that the server refuses is not complete", function()
      local server = own.listen { echo = false, maxmessagesize = 100 }
      for _, name in ipairs { (make_file()), helper.write_file(("x"):rep(1000)) } do
        local output, code = run(heading, server:url(), name)
        assert.truthy(output:find("^closed: 1009 .* s: incomplete\n$"), output)
        assert.equal(0, code)
      end
    end)
  end)

  describe("wss with a private CA", function()
    local heading = "How do I use wss with a private CA?"

    it("works with the certificate that the commands make", function()
      local folder = helper.output("mktemp -d", "l")
      local script = folder .. "/try.lua"
      local file = assert(io.open(script, "w"))
      file:write(chapters[heading].lua[1])
      file:close()
      tested[heading] = true
      local commands = helper.write_file("set -e\n" .. chapters[heading].sh[1])
      local cpath = package.cpath:gsub("%./", helper.output("pwd", "l") .. "/")
      local process = helper.start(("env -C %s LUA_CPATH='%s' sh -c"):format(folder, cpath),
        "sh " .. commands .. " >log 2>&1 || { cat log; exit 1; }; exec " .. helper.lua .. " try.lua")
      local output, code = helper.finish(process)
      os.execute("rm -r '" .. folder .. "'")
      assert.equal(0, code, output)
      assert.truthy(output:find("^" .. printed(heading) .. "$"), output)
    end)

    it("works with another server, and not with another CA", function()
      local server = helper.serve("python-tls")
      prints(heading, nil, server:url("/echo"), helper.certificates .. "/ca.pem")
      local output = run(heading, server:url("/echo"), helper.certificates .. "/other-ca.pem")
      assert.truthy(output:find("^Unable to connect.*certificate"), output)
      server:stop()
    end)
  end)

  describe("a proxy", function()
    local heading = "How do I connect through a proxy?"

    it("of each kind passes the messages", function()
      for _, kind in ipairs { "http://tinyproxy", "socks5://microsocks", "socks5h://microsocks" } do
        local scheme, program = kind:match("^(.*://)(.*)$")
        local proxy = helper.proxy(program)
        local address = "127.0.0.1:" .. proxy.port
        prints(heading, { ["127.0.0.1:8888"] = address }, url, scheme .. address)
        proxy:stop()
      end
    end)

    it("that does not run is an error", function()
      local output, code = run(heading, url, (closed:gsub("^ws", "http")))
      assert.truthy(output:find("^Unable to connect.*proxy"), output)
      assert.equal(1, code)
    end)
  end)

  describe("several servers", function()
    local heading = "How do I ask several servers and take the first answer?"

    it("one of which runs", function()
      for _, address in ipairs { url, python } do
        prints(heading, { ["ws://127.0.0.1:9000/"] = address }, closed, address)
      end
    end)

    it("one of which does not answer", function()
      local silent = own.listen { echo = false }
      prints(heading, { ["ws://127.0.0.1:9000/"] = url }, silent:url(), url)
    end)

    it("none of which runs", function()
      local output = run(heading, closed, closed)
      assert.truthy(output:find("^no answer\tUnable to connect.*; Unable to connect"), output)
    end)
  end)

  it("a game loop keeps its time and handles all messages", function()
    local heading = "How do I use it in a game loop?"
    helper.one_of_five(function()
      local output = run(heading, url)
      local seconds = tonumber(output:match("60 frames in ([%d.]+) s"))
      return seconds and seconds < 1.1 and output:find("^" .. printed(heading) .. "$"), output
    end)
  end)

  it("a server sends its page and counts the visitors", function()
    local heading = "How do I serve a page and its WebSocket from one port?"
    local address = "127.0.0.1:" .. helper.free_port()
    local output = start(heading, address)
    says(output, "^" .. printed(heading, { ["127.0.0.1:9000"] = address }) .. "$")
    local code = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode(), end='')"
    local page = helper.finish(helper.start(helper.python .. ' -Ic "' .. code .. '"', "http://" .. address .. "/"))
    assert.equal(chapters[heading].lua[1]:match("%[%[\n(.-)%]%]"), page)
    local one = helper.client { url = "ws://" .. address .. "/visitors", reconnect = false }
    assert.equal("1", one:get("TEXT").data)
    local two = helper.client { url = "ws://" .. address .. "/visitors", reconnect = false }
    assert.equal("2", one:get("TEXT", 2).data)
    two:close()
    assert.equal("1", one:get("TEXT", 3).data)
    local other = helper.client { url = "ws://" .. address .. "/other", reconnect = false }
    assert.equal(404, other:get("ERROR").info.status)
  end)

  describe("a test of a script for Aseprite", function()
    local heading = "How do I test a script written for Aseprite?"

    --- Runs the test beside the script, with `change` made to the script.
    local function test(change)
      tested[heading] = true
      local folder, port = helper.output("mktemp -d", "l"), tostring(helper.free_port())
      for i, name in ipairs { "sync.lua", "test_sync.lua" } do
        assert(chapters[heading].body:find("`" .. name .. "`", 1, true))
        local file = assert(io.open(folder .. "/" .. name, "w"))
        local text = chapters[heading].lua[i]:gsub("34613", port)
        file:write((i == 1 and change or function(same) return same end)(text))
        file:close()
      end
      local cpath = package.cpath:gsub("%./", helper.output("pwd", "l") .. "/")
      local program = ("env -C %s LUA_CPATH='%s' %s"):format(folder, cpath, helper.lua)
      local output, code = helper.finish(helper.start(program, "test_sync.lua"))
      os.execute("rm -r '" .. folder .. "'")
      return output, code
    end

    it("passes", function()
      local output, code = test()
      assert.truthy(output:find("^" .. printed(heading) .. "$"), output)
      assert.equal(0, code)
    end)

    it("fails when the script is wrong", function()
      local output, code = test(function(text) return (text:gsub("activeSprite.height", "activeSprite.width")) end)
      assert.truthy(output:find("test_sync.lua:23: assertion failed!", 1, true), output)
      assert.equal(1, code)
    end)
  end)

  describe("the examples", function()
    --- The text of all specs but this one.
    local specs = helper.output(("cd %s && ls *_spec.lua"):format(helper.folder)):gsub("guide_spec.lua\n", "")
    local text = specs:gsub("[^\n]+", function(name) return helper.read_file(helper.folder .. "/" .. name) end)

    it("of each chapter are tested, here or in another spec", function()
      for _, heading in ipairs(headings) do
        local chapter = chapters[heading]
        local blocks = #chapter.lua + #chapter.text + #chapter.others
        assert(blocks == 0 or tested[heading] or text:find(heading, 1, true), "not tested: " .. heading)
        if tested[heading] then
          assert.equal(heading:find("Aseprite") and 2 or 1, #chapter.lua, heading)
          assert.equal(1, #chapter.text, heading)
          assert.equal(0, #chapter.others, heading)
        end
      end
    end)

    it("say in their first lines how to run them", function()
      local files = "examples/*.lua examples/loops/*.lua examples/love/[ms]*.lua"
      local list = helper.output(("cd '%s' && ls %s"):format(top, files))
      for name in list:gmatch("[^\n]+") do
        local beginning = helper.read_file(top .. name):match("^(%-%- .-)\n[^-]")
        assert(beginning and beginning:find(" " .. name:gsub("/main%.lua$", ""), 1, true), name)
      end
    end)

    it("that the guide names are tested in another spec", function()
      for name in guide:gmatch("examples/[%w_/.]*[%w_]") do
        assert(io.open(top .. name), name)
        -- event_loops_spec and the specs of examples/protocols name an example without the folder.
        local loop, protocol = name:match("^examples/loops/(%w+)%.lua$"), name:match("^examples/protocols/(.*)$")
        local quoted = loop and '{ name = "' .. loop .. '"' or protocol and 'describe("' .. protocol .. '"'
        local words = { name, '("' .. name:gsub("examples/", "") .. '"', quoted }
        local found = false
        for _, word in ipairs(words) do found = found or text:find(word, 1, true) end
        assert(found, "not tested: " .. name)
      end
    end)
  end)
end)
