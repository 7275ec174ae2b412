-- Hosts that bring Lua in other ways than the stock interpreter: compiled as C++, static, in a plugin. What does not
-- work is described in docs/troubleshooting.md. Runs on every version of Lua.

local helper = require "helper"
local version = helper.version

local page = helper.read_file(helper.folder .. "/../docs/troubleshooting.md")

-- Linker options for the libraries of each version. A Lua that is built from source has no shared library.
local static, shared = ("-l:liblua%s.a -lm -ldl"):format(version), "-llua" .. version
if version == "jit" then
  static, shared = "-l:libluajit-5.1.a -lm -ldl", "-lluajit-5.1"
elseif version == "5.5" then
  static, shared = ("-L%s/lib -l:liblua.a -lm -ldl"):format(helper.prefix), nil
end
local compiled_as_cxx = shared and version ~= "jit" and shared .. "-c++"

--- Tests that need one of these libraries.
local function needs(library) return library and it or function() end end

describe("a host", function()
  after_each(helper.remove_files)

  --- Builds a program of this folder. Returns its path.
  local function build(source, options)
    local program = helper.file()
    local command = ("%s %s -o %s %s/%s.c %s"):format(
      helper.cc, helper.headers, program, helper.folder, source, options)
    assert(os.execute(command), command)
    return program
  end

  -- Each line of output is of a call that raises, or yields, from inside the module.
  local script = [[
    local websocket = require "websocket"
    print(pcall(websocket.WebSocket, { url = 5 }))
    local what = "raise"
    local ws = websocket.WebSocket {
      url = "ws://127.0.0.1:1", maxreconnectwait = 0.01,
      onreceive = function(type)
        if what == "raise" then error("oh", 0) end
        coroutine.yield(type)
      end,
    }
    ws:connect()
    print(pcall(websocket.poll, 10))
    what = "yield"
    print(coroutine.resume(coroutine.create(function() return websocket.poll(10) end)))
    ws:close()
    print(websocket.run(1))
    print(pcall(ws.sendText, ws, "x"))
  ]]
  local expected = {
    "false\tWebSocket option 'url' must be a string, not number",
    "false\toh",
    helper.callbacks_yield and "true\t3" or "attempt to yield across ",
    "true",
    "false\tWebSocket is not connected, can't send text",
  }

  local function assert_works(...)
    local output, code = helper.finish(helper.start(...))
    assert.equal(0, code, output)
    local n = 0
    for line in output:gmatch("[^\n]+") do
      n = n + 1
      assert.truthy(line:find(expected[n], 1, true), line)
    end
    assert.equal(#expected, n)
  end

  --- The host says what docs/troubleshooting.md quotes.
  local function assert_undefined(...)
    local output, code = helper.finish(helper.start(...))
    assert.equal(1, code, output)
    -- Which function is missed first is of no importance.
    local quoted = output:gsub("[^%s']*websocket%.so", "./websocket.so"):gsub("symbol: luaL?_%w+", "symbol: lua_…")
    assert.truthy(("\n" .. page):gsub("\n    ", "\n"):find("\n" .. quoted, 1, true), quoted)
  end

  needs(compiled_as_cxx)("whose Lua is compiled as C++ works: errors are exceptions", function()
    assert_works(build("embed", compiled_as_cxx), helper.write_script(script))
  end)

  it("with a static Lua that it exports works", function()
    assert_works(build("embed", "-Wl,-E " .. static), helper.write_script(script))
  end)

  it("with a static Lua that it does not export gets an error", function()
    assert_undefined(build("embed", static), helper.write_script(script))
  end)

  needs(shared)("that loads Lua with a plugin, for the plugin alone, gets an error", function()
    local plugin = build("embed", "-DPLUGIN -shared -fPIC " .. shared)
    assert_undefined(build("plugin_host", "-ldl"), plugin, helper.write_script(script))
  end)

  needs(shared)("that loads Lua with a plugin works with what docs/troubleshooting.md advises", function()
    local plugin, host = build("embed", "-DPLUGIN -shared -fPIC " .. shared), build("plugin_host", "-ldl")
    local library = shared:gsub("^%-l", "lib") .. (version == "jit" and ".so.2" or ".so.0")
    assert_works("env LD_PRELOAD=" .. library .. " " .. host, plugin, helper.write_script(script))
    if version ~= "5.1" then
      local advice = 'package.loadlib("liblua5.4.so.0", "*")'
      assert.truthy(page:find(advice, 1, true))
      assert_works(host, plugin, helper.write_script(advice:gsub("liblua5.4.so.0", library) .. script))
    end
  end)

  -- 5.1 has no function that returns its version; those of 5.2 and 5.3 are not known to any other.
  needs(version == "5.4" or version == "5.5")("of a later version gets an error in words, not a crash", function()
    local host = build("embed", "-DPRETENDED=599 -Wl,-E -Wl,-z,muldefs " .. static)
    for _, name in ipairs { "websocket", "websocket.global" } do
      local output, code = helper.finish(helper.start(host, helper.write_script(("require %q"):format(name))))
      assert.equal(1, code)
      assert.equal(("websocket.so was built for Lua %s, and this is Lua 5.99: install the build for Lua 5.99\n"):format(
        version), output)
    end
  end)
end)
