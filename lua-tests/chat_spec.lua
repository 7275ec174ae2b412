local helper = require "helper"

describe("examples/chat.lua", function()
  local example = helper.folder .. "/../examples/chat.lua"
  local python, raw
  lazy_setup(function() python, raw = helper.serve("python"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  local function command(url) return ("LUA_CPATH='%s' %s %s '%s'"):format(package.cpath, helper.lua, example, url) end

  --- Runs it with all its input in a pipe: what it printed, its exit code, the seconds it took.
  local function chat(url, input)
    local name = helper.file()
    local file <close> = assert(io.open(name, "w"))
    file:write(input)
    file:close()
    return helper.finish(helper.start("sh", "-c", ("cat %s | %s"):format(name, command(url))))
  end

  --- Runs it with a pipe that stays open: what is typed is written to the first result; the second waits for
  --- what it prints.
  local function type_into(url)
    local name = helper.file()
    local pipe = assert(io.popen(("%s >%s 2>&1"):format(command(url), name), "w"))
    pipe:setvbuf("line")
    local function output()
      local file <close> = assert(io.open(name))
      return file:read("a")
    end
    return pipe, function(words, meanwhile)
      helper.wait(function()
        if meanwhile then meanwhile() end
        return output():find(words, 1, true)
      end, function() return words .. " in " .. output() end)
    end
  end

  it("sends the lines of its input and shows the answers", function()
    local output, code, seconds = chat(python:url("/echo"), "one\n\ntwo ✓\nthree")
    local expected = "* connected to 127.0.0.1:%d\n< one\n< two ✓\n< three\n* closed: 1000 \n"
    assert.equal(expected:format(python.port), output)
    assert.equal(0, code)
    assert.is_true(seconds < 3, seconds)
  end)

  it("shows what the server says", function()
    local output, code = chat(python:url("/flood?count=3"), "")
    assert.truthy(output:find("\n< 1\n< 2\n< 3\n< end\n", 1, true), output)
    assert.equal(0, code)
  end)

  it("shows that the server has closed, and why", function()
    local output = chat(python:url("/close?code=4001&reason=bye"), "")
    assert.truthy(output:find("* closed: 4001 bye; again in", 1, true), output)
  end)

  it("shows a refusal, and fails when something is left unsent", function()
    local output, code = chat(python:url("/status?code=403"), "hello\n")
    assert.truthy(output:find("! Unable to connect.*403"), output)
    assert.equal(1, code)
  end)

  it("lets nobody command the terminal", function()
    -- ESC [ 2 J
    local output = chat(raw:url("/frames?hex=81041b5b324a"), "")
    assert.truthy(output:find("< ?[2J", 1, true), output)
    assert.is_nil(output:find("\27", 1, true))
  end)

  it("goes on after a line that is not UTF-8", function()
    local output, code = chat(python:url("/echo"), "\xFF\ngood\n")
    assert.truthy(output:find("! .*UTF%-8"), output)
    assert.truthy(output:find("< good", 1, true), output)
    assert.equal(0, code)
  end)

  it("reconnects while it waits for a line, and sends then what was typed before", function()
    local server = helper.serve("python")
    local pipe, says = type_into(server:url("/echo"))
    pipe:write("before\n")
    says("< before")
    server:stop()
    pipe:write("meanwhile\n")
    says("* closed: 1006")
    local back = helper.serve("python", server.port)
    -- An empty line looks, as a user would.
    local looked = helper.now()
    says("< meanwhile", function()
      if helper.now() - looked < 0.2 then return end
      looked = helper.now()
      pipe:write("\n")
    end)
    assert.is_true((pipe:close()))
    back:stop()
  end)
end)
