-- Real event loops: cqueues, copas, LuaSocket's select, libuv (luv, Neovim), LÖVE; and the examples for them.
-- event_loops.lua has them behind one interface.
-- Runs on every version of Lua. A loop that a version lacks is pending; Neovim and LÖVE run with the module for LuaJIT.

local helper = require "helper"

local limited = "timeout -s KILL 30 "

--- Whether this version of Lua has the module.
local function has(name) return (os.execute(("%s -e 'require %q' 2>/dev/null"):format(helper.lua, name))) end

--- Whether this is LuaJIT, and the program, which has it, too, is installed.
local function has_program(name)
  return helper.version == "jit" and os.execute(("command -v %s >/dev/null"):format(name))
end

-- `program` runs the script that SCRIPT names.
local loops = {
  { name = "cqueues", exists = has "cqueues", has_coroutines = true },
  { name = "copas", exists = has "copas", has_coroutines = true },
  { name = "luasocket", exists = has "socket" },
  { name = "luv", exists = has "luv", has_coroutines = true },
  {
    name = "neovim", exists = has_program "nvim", has_coroutines = true,
    program = "nvim --headless -u NONE -c 'luafile $SCRIPT'",
  },
  { name = "love", exists = has_program "love", is_game = true, program = "love " .. helper.folder .. "/game" },
}

describe("event loops:", function()
  local server
  lazy_setup(function() server = helper.serve("node") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  --- Runs a script with the locals loop, websocket, types, url and now. Returns the number that it writes.
  local function script(loop, text)
    local prelude = [[
      local loop, websocket = dofile %q (%q)
      local url, types, now = %q, websocket.WebSocketMessageType, websocket.time
    ]]
    local beginning = prelude:format(helper.folder .. "/event_loops.lua", loop.name, server:url("/echo"))
    local file = helper.write_script(beginning .. text)
    local environment = "env SDL_VIDEODRIVER=dummy XDG_DATA_HOME=/nonexistent SCRIPT=" .. file .. " "
    local command = environment .. limited .. (loop.program or helper.lua .. " " .. file)
    local output, status = helper.finish(helper.start(command))
    assert.equal(0, status, output)
    return assert(tonumber(output), output)
  end

  --- In a script: `alternate(seconds, finished)` sends one message after the other, each after the answer to the last;
  --- then closes, and calls finished(count, seconds).
  local alternate = [[
    local function alternate(seconds, finished)
      local from, count = nil, 0
      websocket.WebSocket { url = url, onreceive = function(type, data, err, _, ws)
        if type == types.ERROR then error(err) end
        if type == types.CLOSE then finished(count, now() - from) end
        from = from or now()
        if type == types.TEXT then
          assert(data == "message " .. count)
          if now() - from > seconds then return ws:close() end
        end
        if type == types.TEXT or type == types.OPEN then
          count = count + 1
          ws:sendText("message ", count)
        end
      end }:connect()
    end
  ]]

  for _, loop in ipairs(loops) do
    local function it_with(text, test) (loop.exists and it or pending)(loop.name .. ": " .. text, test) end

    it_with("an alternation loses no wake-up, and the process ends", function()
      local count = script(loop, alternate .. [[
        loop.callbacks()
        alternate(0.4, function(count)
          io.write(count)
          loop.stop()
        end)
        loop.run()
      ]])
      assert.is_true(count > 200, count)
    end)

    if loop.name == "copas" then
      it_with("callbacks come as the guide has it, too", function()
        local guide = helper.read_file(helper.folder .. "/../docs/guide.md")
        local heading = "\n## How do I use it with cqueues, copas, luv, Neovim or LÖVE?"
        local _, from = guide:find(heading, 1, true)
        local block = guide:match("```lua\n(.-)```", from)
        local count = script(loop, "local copas = require 'copas'\ndo " .. block .. " end " .. alternate .. [[
            alternate(0.2, function(count)
              io.write(count)
              loop.stop()
            end)
            loop.run()
          ]])
        assert.is_true(count > 100, count)
      end)
    end

    it_with("a ticker beside an alternation keeps its time", function()
      helper.one_of_five(function()
        -- Ticks in a second: without a websocket, and beside one.
        local alone = script(loop, [[
          local ticks, from = 0, now()
          loop.run(function()
            ticks = ticks + 1
            if now() - from < 0.3 then return end
            io.write(ticks / (now() - from))
            loop.stop()
          end)
        ]])
        local beside = script(loop, alternate .. [[
          local ticks = 0
          loop.callbacks()
          alternate(0.3, function(_, seconds)
            io.write(ticks / seconds)
            loop.stop()
          end)
          loop.run(function() ticks = ticks + 1 end)
        ]])
        return beside > 0.7 * alone, ("%g instead of %g ticks"):format(beside, alone)
      end)
    end)

    local it_sleeps = loop.is_game and function() end or it_with
    it_sleeps("while nothing happens, the process takes no processor time", function()
      local ticks = script(loop, [[
        local function processor_time()
          local file = io.open("/proc/self/stat")
          local user, system = file:read("*a"):match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
          file:close()
          return user + system
        end
        local before
        loop.callbacks()
        websocket.WebSocket { url = url, onreceive = function(type, _, _, _, ws)
          if type == types.OPEN then ws:sendText("once") end
          if type ~= types.TEXT then return end
          websocket.after(0.3, function() before = processor_time() end)
          websocket.after(0.8, function()
            io.write(processor_time() - before)
            loop.stop()
          end)
        end }:connect()
        loop.run()
      ]])
      assert.is_true(ticks <= 2, ticks .. " ticks of 10 ms")
    end)

    if loop.has_coroutines then
      it_with("coroutines that receive, each from its own websocket: none starves", function()
        local slowest = script(loop, [[
          local websockets, messages = 8, 1000
          local received, left, slowest = {}, websockets, nil
          local function finished()
            for i = 1, websockets do slowest = math.min(slowest or messages, received[i]) end
            left = left - 1
            if left > 0 then return end
            io.write(slowest)
            loop.stop()
          end
          loop.coroutines()
          for i = 1, websockets do
            received[i] = 0
            loop.spawn(function()
              local ws = websocket.WebSocket { url = url }
              ws:connect()
              assert(ws:waitopen(10))
              ws:sendText(i, " 0")
              -- Lua 5.1 can't yield in an iterator.
              if _VERSION == "Lua 5.1" or i % 2 == 0 then
                for n = 0, messages - 1 do
                  assert(ws:receive(10) == i .. " " .. n)
                  received[i] = n + 1
                  ws:sendText(i, " ", n + 1)
                end
              else
                for data in ws:messages() do
                  assert(data == i .. " " .. received[i])
                  received[i] = received[i] + 1
                  if received[i] == messages then break end
                  ws:sendText(i, " ", received[i])
                end
              end
              ws:close()
              finished()
            end)
          end
          loop.run()
        ]])
        assert.is_true(slowest > 100, slowest .. " of 1000 messages when the first coroutine had all")
      end)

      it_with("waits in several coroutines keep their times", function()
        helper.one_of_five(function()
          local late = script(loop, [[
            local left, latest = 5, 0
            loop.coroutines()
            for i = 1, left do
              loop.spawn(function()
                local ws = websocket.WebSocket { url = url }
                ws:connect()
                assert(ws:waitopen(10))
                local from = now()
                local data, reason = ws:receive(i / 20)
                assert(data == nil and reason == "timeout", reason)
                local late = now() - from - i / 20
                assert(late > -1e-3, late)
                latest, left = math.max(latest, late), left - 1
                ws:close()
                if left > 0 then return end
                io.write(latest)
                loop.stop()
              end)
            end
            loop.run()
          ]])
          return late < 0.02, late .. " s late"
        end)
      end)
    end
  end

  describe("the example", function()
    --- A test that runs an example, whose command gets the URL and a number of messages.
    local function example(name, exists, start)
      (exists and it or pending)(name, function()
        helper.one_of_five(function()
          local from, count = helper.now(), 2000
          local output, status = helper.finish(start("examples/" .. name, server:url("/echo"), count))
          local seconds = helper.now() - from
          assert.equal(0, status, output)
          for i = 1, count do
            local line, rest = output:match("^([^\n]*)\n(.*)$")
            assert.equal("message " .. i, line)
            output = rest
          end
          local ticks = tonumber(output:match("^(%d+) ticks\n$"))
          assert.truthy(ticks, output)
          -- The start of the interpreter takes some of the time.
          return ticks / 100 > 0.4 * seconds - 0.1, ("%d ticks in %g s"):format(ticks, seconds)
        end)
      end)
    end

    local path = package.cpath:match("^[^;]*;")
    local environment = ("env LUA_CPATH='%s;' "):format(path)

    for _, loop in ipairs(loops) do
      if not loop.program then
        example("loops/" .. loop.name .. ".lua", loop.exists, function(file, url, count)
          local run = helper.write_script(("arg = { %q, %q } dofile %q"):format(url, count, file))
          return helper.start(limited .. helper.lua, run)
        end)
      end
    end

    example("neovim.lua", has_program "nvim", function(file, url, count)
      local variables = ("URL=%s MESSAGES=%d "):format(url, count)
      return helper.start(environment .. variables .. limited .. "nvim --headless -u NONE -i NONE -S", file)
    end)
  end)
end)
