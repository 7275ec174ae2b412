-- examples/processes.lua, started as the chapter "How do I use all cores?" of docs/guide.md does, but with two workers.
-- Runs on every version of Lua.

local helper = require "helper"

local guide = helper.read_file(helper.folder .. "/../docs/guide.md")
local chapter = guide:match("\n## How do I use all cores%?\n(.-)\n## ")
local script, address = chapter:match("```sh\nlua5.4 (%S+) (%S+) 4\n```")
local line, answer = chapter:match("```text\n(.-)\n```.-```text\n(.-)\n```")
local pattern = answer:gsub("3", "(%%d)"):gsub("Hello", "(.*)")

describe("examples/processes.lua", function()
  local server, url
  before_each(function()
    local lua = ("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua)
    local free = address:gsub(":.*", ":" .. helper.free_port())
    server = helper.start(lua, helper.folder .. "/../" .. script, free, 2)
    url = server.pipe:read("l")
    assert.equal((line:gsub(address, free)), url)
  end)
  after_each(function()
    helper.close_clients()
    server:stop("INT")
  end)

  --- The ids of the workers.
  local function workers()
    local list = {}
    for id in helper.read_file(("/proc/%d/task/%d/children"):format(server.pid, server.pid)):gmatch("%d+") do
      list[#list + 1] = tonumber(id)
    end
    return list
  end

  --- Waits until none of these processes exists.
  local function end_of(ids)
    for _, id in ipairs(ids) do
      helper.wait(function() return not os.execute(("kill -0 %d 2>/dev/null"):format(id)) end, "the end of a worker")
    end
  end

  --- Opens connections until both workers have one, 50 at most. Each client says a word, which all get. Returns a
  --- client of each worker.
  local function connect()
    local all, found, heard = {}, {}, {}
    --- Waits for the words. A new client may first get what the hub has sent to its worker before.
    local function hear(client, wanted)
      local is_new = not heard[client]
      local number, words
      repeat
        heard[client] = (heard[client] or 0) + 1
        number, words = client:get("TEXT", heard[client]).data:match(pattern)
      until words == wanted or not is_new
      assert.equal(wanted, words)
      return number
    end
    while not (found["1"] and found["2"]) do
      assert(#all < 50, "all connections went to one worker")
      local client = helper.client { url = url, reconnect = false }
      all[#all + 1] = client
      client:open().ws:sendText("I am ", #all)
      local number
      for _, each in ipairs(all) do number = hear(each, "I am " .. #all) end
      found[number] = client
    end
    return found["1"], found["2"]
  end

  it("spreads connections, and a message gets to the clients of all workers", function()
    connect()
    local ids = workers()
    assert.equal(2, #ids)
    server:signal("INT")
    local output, code = helper.finish(server)
    assert.equal("", output)
    assert.equal(0, code)
    end_of(ids)
  end)

  it("replaces a worker that has died", function()
    local one, two = connect()
    local first, second = table.unpack(workers())
    assert(os.execute("kill -KILL " .. first))
    helper.wait(function() return one:count("CLOSE") + two:count("CLOSE") == 1 end, "a CLOSE")
    helper.wait(function() return #workers() == 2 and workers()[1] ~= first and workers()[2] ~= first end, "another")
    assert(workers()[1] == second or workers()[2] == second)
    helper.close_clients()
    connect()
  end)

  it("ends its workers when it is killed", function()
    local one, two = connect()
    local ids = workers()
    server:signal("KILL")
    for _, client in ipairs { one, two } do assert.equal(1001, client:get("CLOSE").info.code) end
    end_of(ids)
  end)
end)
