-- tools/wscat.lua in pipes, its options and exit statuses, its manual page, and how it is installed. In a terminal:
-- wscat_terminal_spec.lua.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"

local top = helper.folder .. "/.."
local tool = top .. "/tools/wscat.lua"

describe("wscat", function()
  local python, raw
  lazy_setup(function() python, raw = helper.serve("python"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(function()
    own.close()
    helper.close_clients()
    helper.remove_files()
  end)

  local Run = {}
  Run.__index = Run

  --- Starts wscat with a file as its input, or with a pipe if `is_pipe`. `pid` is wscat's own, or the pipe's shell.
  local function start(input, is_pipe, ...)
    local run = setmetatable({ input = helper.write_file(input), out = helper.file(), err = helper.file() }, Run)
    local script = is_pipe and 'i=$1 o=$2 e=$3; shift 3; cat "$i" | "$@" >"$o" 2>"$e"'
      or 'i=$1 o=$2 e=$3; shift 3; exec "$@" <"$i" >"$o" 2>"$e"'
    run.process = helper.start("bash", "-c", script, "bash", run.input, run.out, run.err,
      "env", "LUA_CPATH=" .. package.cpath, helper.lua, tool, ...)
    return run
  end

  function Run:says(words)
    helper.wait(function() return (helper.read_file(self.out) .. helper.read_file(self.err)):find(words, 1, true) end,
      function() return words .. " in " .. helper.read_file(self.out) .. helper.read_file(self.err) end)
  end

  --- Waits for its end. Returns standard output, the exit status, and standard error.
  function Run:finish()
    helper.wait(function() return self.process:ended() end, "wscat to end")
    local _, status = helper.finish(self.process)
    return helper.read_file(self.out), status, helper.read_file(self.err)
  end

  local function file(input, ...) return start(input, false, ...):finish() end
  local function pipe(input, ...) return start(input, true, ...):finish() end

  --- Asserts an exit status, and words in standard error.
  local function fails(expected, words, ...)
    local _, status, err = file("", ...)
    assert.equal(expected, status, err)
    assert.truthy(err:find(words, 1, true), err)
  end

  describe("in a pipe", function()
    it("sends lines and writes the answers, and nothing else", function()
      for _, send in ipairs { pipe, file } do
        local output, status, err = send("one\n\n/ping\ntwo ✓\nlast", "--wait", 0.2, python:url("/echo"))
        assert.equal("one\n\n/ping\ntwo ✓\nlast\n", output)
        assert.equal("", err)
        assert.equal(0, status)
      end
    end)

    it("waits for an answer unless told otherwise, and closes with 1000", function()
      assert.equal("hi\n", (pipe("hi\n", python:url("/echo"))))
      local key = tostring(helper.now())
      file("one\ntwo\n", "-w0", python:url("/record?key=%s", key))
      file("one\ntwo\n", "-w", 0, python:url("/record?key=%s", key))
      assert.equal("1000:one|two", helper.client(python:url("/recorded?key=%s", key)):get("TEXT").data)
    end)

    it("sends lines while the pipe stays open", function()
      local s, out = own.listen {}, helper.file()
      local command = ("LUA_CPATH='%s' %s %s %s >%s"):format(package.cpath, helper.lua, tool, s:url(), out)
      local writer = io.popen(command, "w")
      finally(function()
        if io.type(writer) == "file" then writer:close() end
      end)
      writer:write("first\nsecond\n")
      writer:flush()
      assert.equal("second", s:get("TEXT", 2).data)
      s.accepted[1]:close()
      s:get("CLOSE")
      assert.is_true((writer:close()))
      assert.equal("first\nsecond\n", helper.read_file(out))
    end)

    it("writes what the server sends, until it closes", function()
      local output, status = file("", "--wait=inf", python:url("/close?count=3"))
      assert.equal("message 1\nmessage 2\nmessage 3\n", output)
      assert.equal(0, status)
    end)

    it("writes control characters as they are", function()
      assert.equal("\27[2J\n", (file("", "-w", 0.2, raw:url("/frames?hex=81041b5b324a"))))
    end)

    it("--binary sends the input as one message, and writes it as it is", function()
      local s = own.listen { maxmessagesize = 2 ^ 26, maxbuffered = 2 ^ 26 }
      local data = ("\0\255\n\r"):rep(500000)
      local output, status, err = pipe(data, "--binary", "-w", 0.5, s:url())
      assert.equal("", err)
      assert.equal(0, status)
      assert(output == data)
      assert.equal(#data, #s:get("BINARY").data)
    end)

    it("--chunk sends binary messages of one size", function()
      local s = own.listen {}
      assert.equal("abcdefg", (pipe("abcdefg", "--chunk", 3, "-w", 0.2, s:url())))
      assert.equal("abc def g", table.concat({ s:get("BINARY").data, s:get("BINARY", 2).data,
        s:get("BINARY", 3).data }, " "))
    end)

    it("reads no faster than the server", function()
      local line = ("x"):rep(4095) .. "\n"
      local run = start(line:rep(12288), false, raw:url("/accepts?end=deaf")) -- 48 MiB
      -- How far it has read, once it has not read for a while.
      local position, still = 0, 0
      helper.wait(function()
        local now = tonumber(helper.read_file(("/proc/%d/fdinfo/0"):format(run.process.pid)):match("pos:%s*(%d+)"))
        still = now == position and now > 0 and still + 1 or 0
        position = now
        return still == 10
      end, "the reading to stop")
      run.process:stop()
      assert(position < 2 ^ 25, position)
    end)

    it("goes on after a line that is not UTF-8, and ends with 4", function()
      local output, status, err = file("\255\ngood\n", "-w", 0.2, python:url("/echo"))
      assert.equal("good\n", output)
      assert.equal(4, status)
      assert.truthy(err:find("UTF-8", 1, true), err)
    end)

    it("ends with 4 when nobody takes its output", function()
      local run = helper.start("bash", "-c", 'echo hi | "$@" >/dev/full', "bash",
        "env", "LUA_CPATH=" .. package.cpath, helper.lua, tool, python:url("/echo"))
      local output, status = helper.finish(run)
      assert.equal("wscat: can't write to standard output\n", output)
      assert.equal(4, status)
    end)

    it("closes at SIGINT", function()
      local s = own.listen {}
      local run = start("hi\n", false, "-w", "inf", s:url())
      run:says("hi")
      run.process:signal("INT")
      local output, status, err = run:finish()
      assert.equal("hi\n", output)
      assert.equal("", err)
      assert.equal(0, status)
      assert.equal(1000, s:get("CLOSE").info.code)
    end)

    it("ends at SIGINT while it connects", function()
      local run = start("", false, "--debug", raw:url("/silence"))
      run:says("GET /silence")
      run.process:signal("INT")
      assert.equal(1, select(2, run:finish()))
    end)
  end)

  describe("ends with", function()
    it("1 if there is no connection", function()
      fails(1, "403", python:url("/status?code=403"))
      fails(1, "refused", "127.0.0.1:" .. helper.free_port())
      fails(1, "connecttimeout", "--connect-timeout", 0, python:url())
      fails(1, "can't listen", "--listen", python.port)
    end)

    it("2 after wrong usage", function()
      fails(2, "--help")
      fails(2, "unexpected: --nonsense", "--nonsense", python:url())
      fails(2, "unexpected: -x", "-x", python:url())
      fails(2, "unexpected: two", "one", "two")
      fails(2, "unexpected: --binary=1", "--binary=1", python:url())
      fails(2, "--wait needs a value", python:url(), "--wait")
      fails(2, "--wait needs a number", "--wait", "soon", python:url())
      fails(2, "--wait needs a number", "--wait", "nan", python:url())
      fails(2, "--chunk needs a number", "--chunk", 0, python:url())
      fails(2, "--header needs", "--header", "X", python:url())
      fails(2, "scheme", "ftp://127.0.0.1/")
      fails(2, "either", "--listen", 0, python:url())
      fails(2, "cert", "--listen", 0, "--key", "x")
    end)

    it("3 after another Close, or none", function()
      fails(3, "closed: 4001 bye", "-w", "inf", python:url("/close?code=4001&reason=bye"))
      fails(3, "closed: 1006", "-w", "inf", raw:url("/accepts?end=reset&key=x"))
      fails(3, "reserved bits", "-w", "inf", raw:url("/frames?hex=ff00"))
    end)

    it("0 after a Close without a code", function()
      assert.equal(0, select(2, file("", "-w", "inf", raw:url("/frames?hex=8800&end=closed"))))
    end)
  end)

  describe("has the option", function()
    --- The output, after 0.2 s of silence.
    local function output(...) return (file("", "-w", 0.2, ...)) end

    it("--header, --origin, --protocol", function()
      local fields = output("-H", "X-One: 1", "--header=X-Two:2", "--origin", "https://a.example", "-p", "chat",
        "-p", "other", python:url("/headers"))
      for _, field in ipairs {
        "X-One: 1", "X-Two: 2", "Origin: https://a.example", "Sec-WebSocket-Protocol: chat, other",
      } do assert.truthy(fields:find(field, 1, true), fields) end
    end)

    it("--deflate", function()
      local s = own.listen { deflate = true }
      output("--deflate", s:url())
      assert.truthy(s.accepted[1].extensions:find("permessage-deflate", 1, true))
      output(s:url())
      assert.equal("", s.accepted[2].extensions)
    end)

    it("--ca, --insecure", function()
      local secure = helper.serve("python-tls")
      fails(1, "certificate", secure:url("/path"))
      assert.equal("/path\n", output("--ca", helper.certificates .. "/ca.pem", secure:url("/path")))
      assert.equal("/path\n", output("--insecure", secure:url("/path")))
    end)

    it("--proxy", function()
      local proxy = helper.proxy("tinyproxy")
      assert.equal("/path\n", output("--proxy", "http://127.0.0.1:" .. proxy.port, python:url("/path")))
      proxy:says("CONNECT 127.0.0.1:" .. python.port)
      assert.equal("/path\n", output("--proxy", "none", python:url("/path")))
    end)

    it("--ping", function()
      local s = own.listen {}
      local run = start("", false, "--wait", "inf", "--ping", 0.05, s:url())
      s:get("PING", 2)
      s.accepted[1]:close()
      assert.equal(0, select(2, run:finish()))
    end)

    it("--max-size", function()
      fails(3, "larger", "-w", "inf", "--max-size", 4, raw:url("/frames?hex=81053132333435"))
      assert.equal("12345\n", output("--max-size", 5, raw:url("/frames?hex=81053132333435")))
    end)

    it("--reconnect", function()
      local s = own.listen {}
      local run = start("", false, "-w", "inf", "--reconnect", s:url())
      s:get("OPEN").ws:close(1012)
      s:get("OPEN", 2).ws:sendText("again")
      run:says("again")
      run.process:signal("INT")
      assert.equal(0, select(2, run:finish()))
      assert.equal(1000, s:get("CLOSE", 2).info.code)
    end)

    it("--debug", function()
      local _, _, err = file("", "-w", 0, "--debug", python:url("/path"))
      assert.truthy(err:find("# ", 1, true) and err:find("GET /path", 1, true), err)
    end)

    it("--version, --help", function()
      assert.equal("wscat of " .. helper.websocket._VERSION .. "\n", (file("", "--version")))
      assert.truthy(file("", "-h"):find("Usage: wscat", 1, true))
    end)
  end)

  describe("--listen", function()
    local run
    after_each(function()
      if run.process.pipe then run.process:stop() end
    end)

    --- Starts a server; returns its URL.
    local function listen(input, ...)
      run = start(input, false, "--listen", ...)
      run:says("/\n")
      return helper.read_file(run.err):match("listening: (%S+)")
    end

    it("sends the input to the first client, and numbers what it receives", function()
      local url = listen("to the first\n", 0)
      assert.truthy(url:find("^ws://127%.0%.0%.1:%d+/$"), url)
      local one = helper.client { url = url, reconnect = false }
      assert.equal("to the first", one:get("TEXT").data)
      local two = helper.client { url = url, reconnect = false }:open()
      one.ws:sendText("hello")
      run:says("1 < hello\n")
      two.ws:sendBinary("\1\255")
      run:says("2 < 2 bytes: 01 ff\n")
      one:close(4000)
      run:says("* 1 closed: 4000")
      run.process:signal("INT")
      assert.equal(1001, two:get("CLOSE").info.code)
      assert.equal(0, select(2, run:finish()))
    end)

    it("with --protocol, --header, --deflate, --origin, --wait", function()
      local url = listen("", "[::1]:0", "-p", "chat", "-H", "X-A: b", "--deflate", "-o", "https://a.example", "-w", 0.2)
      assert.truthy(url:find("^ws://%[::1%]:"), url)
      local client = helper.client { url = url, reconnect = false, protocols = { "x", "chat" }, deflate = true,
        headers = { Origin = "https://a.example" } }
      local info = client:get("OPEN").info
      assert.equal("chat permessage-deflate b",
        info.protocol .. " " .. info.extensions:match("^[^;]+") .. " " .. info.headers["x-a"])
      assert.equal(1001, client:get("CLOSE").info.code)
      assert.equal(0, select(2, run:finish()))
    end)

    it("with --cert, --key, --ca", function()
      assert(os.execute(helper.folder .. "/certificates.sh '" .. helper.certificates .. "'"))
      local folder = helper.certificates
      local url = listen("", 0, "--cert", folder .. "/good.pem", "--key", folder .. "/good.key",
        "--ca", folder .. "/ca.pem")
      local own_certificate = { ca = folder .. "/ca.pem", cert = folder .. "/client.pem", key = folder .. "/client.key",
        servername = "localhost" }
      assert.truthy(url:find("^wss://"), url)
      helper.client { url = url, reconnect = false, tls = own_certificate }:open()
      local stranger = helper.client { url = url, reconnect = false,
        tls = { ca = folder .. "/ca.pem", servername = "localhost" } }
      helper.wait(function() return stranger:count("ERROR") + stranger:count("CLOSE") > 0 end, "a refusal")
      assert.equal(0, stranger:count("OPEN"))
    end)
  end)

  describe("its manual page", function()
    local page = helper.read_file(top .. "/man/wscat.1")

    it("has no fault", function()
      assert.equal("", helper.output(("mandoc -T lint -W warning %s/man/wscat.1 2>&1"):format(top)))
      -- "In", "Li" and others are macros, also at the beginning of a heading.
      local text = helper.output(("mandoc -T ascii %s/man/wscat.1"):format(top)):gsub(".\8", "")
      for _, heading in ipairs { "In a terminal", "In a pipe", "As a server" } do
        assert.truthy(text:find("\n   " .. heading .. "\n", 1, true), heading)
      end
    end)

    it("has the options of --help", function()
      local in_page, in_help = {}, {}
      for short, long in page:gmatch("\n%.It ([^\n]-)Fl \\%-([%l-]+)") do
        in_page[#in_page + 1] = (short:match("Fl (%a)") or "") .. " " .. long
      end
      for short, long in file("", "--help"):gmatch("\n +%-?(%a?),? +%-%-([%l-]+)") do
        in_help[#in_help + 1] = short .. " " .. long
      end
      assert(#in_help > 15)
      assert.same(in_help, in_page)
    end)
  end)

  it("is installed with its manual page, and finds the module beside it", function()
    if os.getenv("WEBSOCKET_BUILD") then return pending("a sanitizer's module needs its own interpreter") end
    local prefix = helper.output("mktemp -d", "l")
    local output, status = helper.finish(helper.start("cmake", "--install", helper.build, "--prefix", prefix))
    assert(status == 0, output)
    local version = helper.finish(helper.start("env", "-u", "LUA_CPATH", prefix .. "/bin/wscat", "--version"))
    local first = helper.read_file(prefix .. "/bin/wscat", "l")
    local page = helper.read_file(prefix .. "/share/man/man1/wscat.1")
    os.execute("rm -r '" .. prefix .. "'")
    assert.equal(helper.read_file(top .. "/man/wscat.1"), page)
    -- Debian has no Lua 5.5.
    if helper.version == "5.5" then return end
    assert.equal("#!/usr/bin/env " .. helper.lua:match("[^/]*$"), first)
    assert.equal("wscat of " .. helper.websocket._VERSION .. "\n", version)
  end)
end)
