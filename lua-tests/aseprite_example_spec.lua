-- examples/aseprite.lua runs scripts that were written for Aseprite. The scripts here use the API as published ones do:
-- http:// URLs, deflate = false, string.pack, a label while it reconnects, no use of errors.
-- Runs on every version of Lua.

local helper = require "helper"

describe("examples/aseprite.lua", function()
  local example = helper.folder .. "/../examples/aseprite.lua"
  local program = ("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)
  local server
  lazy_setup(function() server = helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  --- Runs a script whose URL is http://127.0.0.1:34613 with that of the server. Returns its output, its exit code and
  --- its name.
  local function run(text, ...)
    local name = helper.write_file((text:gsub("34613", server.port)))
    local output, code = helper.finish(helper.start(program, example, name, ...))
    return output, code, name
  end

  it("runs a ticker that closes after some messages", function()
    local output, code = run([[
      local ws
      local prices = {}

      local function receive(mt, data)
        if mt == WebSocketMessageType.OPEN then
          print("Connected")
        elseif mt == WebSocketMessageType.TEXT then
          prices[#prices + 1] = tonumber(data)
          if #prices == 20 then ws:close() end
        elseif mt == WebSocketMessageType.CLOSE then
          print("Disconnected after", prices[1], prices[20])
        end
      end

      ws = WebSocket{
        url = "http://127.0.0.1:34613/flood?count=1000",
        onreceive = receive,
        deflate = false
      }
      ws:connect()
    ]])
    assert.equal("Connected\nDisconnected after\t1\t20\n", output)
    assert.equal(0, code)
  end)

  it("runs a script that is reconnected", function()
    local output, code = run([[
      local ws, status
      local opened = 0

      local function setStatus(text)
        status = text
        print(status)
      end

      local function handleMessage(mt, data)
        if mt == WebSocketMessageType.OPEN then
          opened = opened + 1
          setStatus("Sync ON")
          ws:sendText("ready")
        elseif mt == WebSocketMessageType.CLOSE then
          setStatus("Reconnecting...")
          if opened == 3 then ws:close() end
        end
      end

      ws = WebSocket{
        onreceive = handleMessage,
        url = "http://127.0.0.1:34613/close-on-message",
        deflate = false
      }
      setStatus("Connecting...")
      ws:connect()
    ]])
    assert.equal("Connecting...\n" .. ("Sync ON\nReconnecting...\n"):rep(3), output)
    assert.equal(0, code)
  end)

  local it_packs = string.pack and it or function() end -- since Lua 5.3
  it_packs("runs a script whose messages call for the next", function()
    local output, code = run([[
      local width, height, frame = 64, 48, 0
      local ws

      local function sendFrame()
        frame = frame + 1
        ws:sendBinary(string.pack("<LLL", string.byte("I"), width, height), string.pack("<L", frame))
      end

      local function handleMessage(mt, data)
        if mt == WebSocketMessageType.OPEN then
          sendFrame()
        elseif mt == WebSocketMessageType.BINARY then
          local id, w, h, number = string.unpack("<LLLL", data)
          assert(id == string.byte("I") and w == width and h == height and number == frame)
          if frame < 100 then
            sendFrame()
          else
            print(frame .. " frames")
            ws:close()
          end
        end
      end

      ws = WebSocket{ onreceive = handleMessage, url = "http://127.0.0.1:34613/echo", deflate = false }
      ws:connect()
    ]])
    assert.equal("100 frames\n", output)
    assert.equal(0, code)
  end)

  it("passes the arguments", function()
    local script = "print(select('#', ...), ...) print(#arg, arg[0], arg[1], arg[2])"
    local output, code, name = run(script, "one", "two words")
    assert.equal(("2\tone\ttwo words\n2\t%s\tone\ttwo words\n"):format(name), output)
    assert.equal(0, code)
  end)

  it("has only the two globals of the API", function()
    assert.equal("nil\n", (run("print(app)")))
    assert.equal("table\tfunction\n", (run("print(type(WebSocketMessageType), type(WebSocket))")))
  end)

  it("prints an error with its traceback", function()
    local output, code, name = run("local function deep()\n  error 'oops'\nend\ndeep()")
    assert.truthy(output:find(name .. ":2: oops\nstack traceback:", 1, true), output)
    assert.truthy(output:find(name .. ":4: in main chunk", 1, true), output)
    assert.equal(1, code)
  end)

  it("prints an error of a handler with its traceback", function()
    local output, code, name = run([[
      local ws
      local function draw(sprite) return sprite.width end
      ws = WebSocket{ url = "http://127.0.0.1:34613/echo", onreceive = function() print(draw(nil)) end }
      ws:connect()
    ]])
    assert.truthy(output:find(name .. ":2: attempt to index ", 1, true), output)
    assert.truthy(output:find(name .. ":3: in function", 1, true), output)
    assert.equal(1, code)
  end)

  it("prints why a script can't be loaded", function()
    local output, code, name = run("local = 1")
    assert.truthy(output:find(name .. ":1: ", 1, true), output)
    assert.equal(1, code)
    output, code = helper.finish(helper.start(program, example, "/no/such.lua"))
    assert.truthy(output:find("cannot open /no/such.lua", 1, true), output)
    assert.equal(1, code)
  end)

  it("without a script explains its use", function()
    local output, code = helper.finish(helper.start(program, example))
    assert.equal("usage: lua examples/aseprite.lua SCRIPT [ARGUMENT…]\n", output)
    assert.equal(2, code)
  end)
end)
