-- examples/echo_server.lua, with our client and with examples/echo.lua.
-- Runs on every version of Lua.

local helper = require "helper"

describe("examples/echo_server.lua", function()
  local server
  after_each(function()
    helper.close_clients()
    server:stop()
    helper.remove_files()
  end)

  --- Starts the example. Returns the URL that it prints.
  local function start(...)
    local lua = ("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)
    server = helper.start(lua, helper.folder .. "/../examples/echo_server.lua", ...)
    return server.pipe:read("l")
  end

  it("sends texts and binary messages back, and ends at Ctrl-C", function()
    local url = start()
    assert(url:find("^ws://127%.0%.0%.1:%d+/$"), url)
    local client = helper.client { url = url, deflate = true, reconnect = false }
    client:open().ws:sendText("Grüße")
    client.ws:sendBinary("\0\255")
    assert.equal("Grüße", client:get("TEXT").data)
    assert.equal("\0\255", client:get("BINARY").data)
    assert.equal("permessage-deflate", client.ws.extensions:match("^[^;]+"))
    server:signal("INT")
    assert.equal(1001, client:get("CLOSE").info.code)
    local output, code = helper.finish(server)
    assert.equal("", output)
    assert.equal(0, code)
  end)

  it("talks to examples/echo.lua", function()
    local url = start()
    local lua = ("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)
    local output, code = helper.finish(helper.start(lua, helper.folder .. "/../examples/echo.lua", url))
    assert.equal(0, code, output)
    local beginning = "connecting to %s\nconnected to %s with permessage-deflate\nsent a text, 4 bytes and a ping\n"
    assert.equal(beginning:format(url, url), output:match("^.-ping\n"))
    for _, line in ipairs { "text    Hello, wörld!", "binary  0 1 254 255", "pong    are you there?" } do
      assert.truthy(output:find("\n" .. line .. "\n", 1, true), output)
    end
    assert.truthy(output:find("\nclosed  1000 \n$"), output)
  end)

  it("listens at the address of its argument", function()
    local port = helper.free_port()
    assert.equal(("ws://127.0.0.1:%d/"):format(port), start("127.0.0.1:" .. port))
  end)

  it("goes on when a client does not read its echoes", function()
    local url = start()
    local deaf = helper.start(helper.python, helper.folder .. "/clients/deaf.py", url:match("%d+/"):sub(1, -2))
    assert.equal("1008 read your echoes\n", (helper.finish(deaf)))
    local other = helper.client { url = url, reconnect = false }
    other:open().ws:sendText("still there?")
    assert.equal("still there?", other:get("TEXT").data)
    assert(not server:ended())
  end)
end)
