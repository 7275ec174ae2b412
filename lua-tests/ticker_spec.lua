-- examples/ticker.lua, both ends.
-- Runs on every version of Lua.

local helper = require "helper"

describe("examples/ticker.lua", function()
  local lua = ("timeout 30 env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)
  local example = helper.folder .. "/../examples/ticker.lua"
  local processes = {}
  after_each(function()
    while #processes > 0 do table.remove(processes):stop() end
    helper.close_clients()
  end)

  local function start(...)
    local process = helper.start(lua, example, ...)
    processes[#processes + 1] = process
    return process
  end

  --- Starts the server, with 0.02 s between its messages. Returns it and its URL.
  local function serve(address)
    local server = start("serve", address or "127.0.0.1:0", 0.02)
    return server, server.pipe:read("l")
  end

  local names = { "APPLE", "PEAR", "PLUM" }

  --- Reads a table from the client's output. Returns the prices and their changes.
  local function read_table(client)
    local line = client.pipe:read("l") -- nil after 30 s without a table
    assert.equal("             price    change", line)
    local prices, changes = {}, {}
    for i, name in ipairs(names) do
      line = client.pipe:read("l")
      local price, change = line:match("^" .. name .. " +(%d+%.%d%d) +([+-]%d%.%d%d)$")
      assert(price, line)
      prices[i], changes[i] = tonumber(price), tonumber(change)
    end
    return prices, changes
  end

  it("prints the prices that the server sends, and their changes", function()
    local _, url = serve()
    local client = start(url)
    local before, changes = read_table(client)
    assert.same({ 0, 0, 0 }, changes)
    for _ = 1, 5 do
      local prices
      prices, changes = read_table(client)
      for i = 1, #names do assert.near(prices[i] - before[i], changes[i], 1e-6) end
      before = prices
    end
  end)

  it("sends the same prices to all clients", function()
    local _, url = serve()
    local one, two = helper.client(url), helper.client(url)
    local first = two:get("TEXT").data
    helper.wait(function()
      for _, event in ipairs(one.events) do
        if event.data == first then return true end
      end
    end, "the same prices")
  end)

  it("goes on when the server comes back", function()
    local server, url = serve()
    local client = start(url)
    read_table(client)
    server:stop()
    local line
    repeat line = assert(client.pipe:read("l")) until line:find("^closed: 1006")
    serve(url:match("//(.*)/"))
    repeat line = assert(client.pipe:read("l")) until line:find("^APPLE")
  end)

  it("goes on when a client goes", function()
    local server, url = serve()
    helper.client(url):open():close()
    helper.client(url):get("TEXT", 3)
    assert(not server:ended())
  end)
end)
