-- examples/love, a game without a window: a script in place of the player reads what the game draws and presses keys.
-- Runs on every version of Lua: LÖVE with the module for LuaJIT, the server with the others.

local helper = require "helper"

local has_love = helper.version == "jit" and os.execute("command -v love >/dev/null")

describe("examples/love:", function()
  local folder = helper.folder .. "/../examples/love/"
  local server, url
  lazy_setup(function()
    server = helper.start(("env LUA_CPATH='%s' %s"):format(package.cpath, helper.lua), folder .. "server.lua")
    url = server.pipe:read("l")
  end)
  lazy_teardown(function() server:stop() end)
  after_each(function()
    helper.close_clients()
    helper.remove_files()
  end)

  --- The last places that the server has sent: those of the coin, of the number `n`, and how many players there are.
  local function places(client, n)
    local text = client.events[#client.events].data
    local found, count = nil, 0
    for number, x, y, points in text:gmatch("\n(%d+) (%d+) (%d+) (%d+)") do
      count = count + 1
      if number == n then found = { x = tonumber(x), y = tonumber(y), points = tonumber(points) } end
    end
    local x, y = text:match("^(%d+) (%d+)")
    return { x = tonumber(x), y = tonumber(y) }, found, count
  end

  --- A player in this process, and its number.
  local function enter()
    local client = helper.client { url = url, reconnect = false }
    return client, client:get("TEXT").data:match("^you are (%d+)$")
  end

  --- Waits until `condition(coin, player, count)` holds.
  local function wait(client, n, condition)
    helper.wait(function() return client:count("TEXT") > 1 and condition(places(client, n)) end, function()
      return client.events[#client.events].data
    end)
  end

  it("the server gives a point to the player who touches the coin, and moves the coin", function()
    local client, number = enter()
    client:get("TEXT", 2)
    local coin = places(client, number)
    client.ws:sendText(coin.x, " ", coin.y)
    wait(client, number, function(new, me) return me.points == 1 and (new.x ~= coin.x or new.y ~= coin.y) end)
  end)

  it("the server ignores what is no place, and keeps players in the field", function()
    local client, number = enter()
    client.ws:sendText("99999 0")
    for _, words in ipairs { "", "1", "-1 5", "x y", "5 5 5", "1e9 5" } do client.ws:sendText(words) end
    wait(client, number, function(_, me) return me.x == 400 and me.y == 0 end)
    assert(not server:ended())
  end);

  (has_love and it or pending)("a player sees the others, gets the coin, and goes", function()
    local client = enter()
    client.ws:sendText("7 293")
    local game = helper.write_script(([[
      local keys, drawn, has_other = {}, {}, false
      love.keyboard = { isDown = function(key) return keys[key] end }
      love.graphics = { isActive = function() return false end, setColor = function() end }
      function love.graphics.circle(_, x, y, radius) drawn[#drawn + 1] = { x = x, y = y, radius = radius } end
      function love.graphics.print(text)
        if text == "1" and has_other then love.event.quit() end -- the player's point
      end
      dofile %q
      local update = love.update
      function love.update(seconds)
        update(seconds)
        drawn = {}
        love.draw()
        local coin, me = drawn[1], drawn[#drawn]
        if not me then return end
        has_other = has_other or drawn[2].x == 7 and drawn[2].y == 293
        keys = { right = me.x < coin.x - 3, left = me.x > coin.x + 3, down = me.y < coin.y - 3, up = me.y > coin.y + 3 }
      end
    ]]):format(folder .. "main.lua"))
    local program = "env SDL_VIDEODRIVER=dummy XDG_DATA_HOME=/nonexistent SCRIPT=%s timeout -s KILL 30 love"
    local process = helper.start(program:format(game), helper.folder .. "/game", url)
    client:get("TEXT", 2)
    local count
    helper.wait(function()
      count = math.max(count or 0, (select(3, places(client, ""))))
      return process:ended()
    end, "the end of the game")
    local output, code = helper.finish(process)
    assert.equal("", output)
    assert.equal(0, code)
    assert.equal(2, count)
    wait(client, "", function(_, _, players) return players == 1 end)
  end)
end)
