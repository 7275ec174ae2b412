-- examples/chat.lua, which reads lines from its input.
-- Runs on every version of Lua.

local helper = require "helper"

describe("examples/chat.lua", function()
  local example = helper.folder .. "/../examples/chat.lua"
  local peer, raw
  lazy_setup(function() peer, raw = helper.serve("own"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  local function command(url) return ("LUA_CPATH='%s' %s %s '%s'"):format(package.cpath, helper.lua, example, url) end

  --- Runs the example with an open pipe as its input. Returns the pipe; a function that waits, without any input, until
  --- the example has printed `words`; and a function that returns all output.
  local function type_into(url)
    local name = helper.file()
    local pipe = assert(io.popen(("%s >%s 2>&1"):format(command(url), name), "w"))
    pipe:setvbuf("line")
    local function output() return helper.read_file(name) end
    return pipe, function(words)
      helper.wait(function() return output():find(words, 1, true) end, function()
        return words .. " in " .. output()
      end)
    end, output
  end

  --- Runs the example with this input, which ends once it has printed `words`. Returns its output and exit code.
  local function chat(url, input, words)
    local pipe, says, output = type_into(url)
    pipe:write(input)
    says(words)
    local _, _, code = pipe:close()
    return output(), code
  end

  it("sends the lines of its input and shows the answers", function()
    local output, code = chat(peer:url("/echo"), "one\n\ntwo ✓\nthree\n", "< three")
    local expected = "* connected to 127.0.0.1:%d\n< one\n< two ✓\n< three\n* closed: 1000 \n"
    assert.equal(expected:format(peer.port), output)
    assert.equal(0, code)
  end)

  it("sends a last line without a line end", function()
    local key = tostring(helper.now())
    local pipe, says = type_into(peer:url("/record?key=%s", key))
    says("* connected")
    pipe:write("one\nlast")
    assert.is_true((pipe:close()))
    assert.equal("1000:one|last", helper.client(peer:url("/recorded?key=%s", key)):get("TEXT").data)
  end)

  it("shows the server's messages", function()
    local output, code = chat(peer:url("/flood?count=3"), "", "< end")
    assert.truthy(output:find("\n< 1\n< 2\n< 3\n< end\n", 1, true), output)
    assert.equal(0, code)
  end)

  it("shows the server's Close code and reason", function()
    chat(peer:url("/close?code=4001&reason=bye"), "", "* closed: 4001 bye; again in")
  end)

  it("shows a refused handshake, and fails when a line remains unsent", function()
    local output, code = chat(peer:url("/status?code=403"), "hello\n", "! Unable to connect")
    assert.truthy(output:find("! Unable to connect.*403"), output)
    assert.equal(1, code)
  end)

  it("removes control characters before printing", function()
    -- ESC [ 2 J
    local output = chat(raw:url("/frames?hex=81041b5b324a"), "", "< ?[2J")
    assert.is_nil(output:find("\27", 1, true))
  end)

  it("continues after a line that is not UTF-8", function()
    local output, code = chat(peer:url("/echo"), "\255\ngood\n", "< good")
    assert.truthy(output:find("! .*UTF%-8"), output)
    assert.equal(0, code)
  end)

  it("reconnects while it waits for a line, then sends the lines typed before", function()
    local server = helper.serve("own")
    local pipe, says = type_into(server:url("/echo"))
    pipe:write("before\n")
    says("< before")
    server:stop()
    says("* closed: 1006")
    pipe:write("meanwhile\n")
    local back = helper.serve("own", server.port)
    says("< meanwhile")
    assert.is_true((pipe:close()))
    back:stop()
  end)
end)
