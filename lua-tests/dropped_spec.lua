-- Websockets that a script drops: in each state, with and without references from its own functions; finalizers at any
-- time and in any order; memory after many. Each test runs in its own process.
-- Runs on every version of Lua.

local helper = require "helper"

local is_sanitized = os.getenv("WEBSOCKET_CC") ~= nil

-- The beginning of each script.
local prelude = [[
  local websocket = require "websocket"
  local WebSocket, types = websocket.WebSocket, websocket.WebSocketMessageType
  local echo, mute, silent = ...
  local refused = "ws://127.0.0.1:1"
  local function wait(condition) -- luacheck: ignore
    local stop = websocket.time() + 20
    while not condition() do
      if websocket.time() > stop then error("timed out", 2) end
      websocket.poll(0.1)
    end
  end
  local function collect() -- luacheck: ignore
    for _ = 1, 4 do collectgarbage() end
  end
  -- Brings a new websocket into a state.
  local ways = {
    new = { echo, function() end },
    connecting = { silent, function(ws) ws:connect() websocket.poll(0.01) end },
    open = { echo, function(ws) ws:connect() wait(function() return ws.address end) end },
    closing = { mute, function(ws) ws:connect() wait(function() return ws.address end) ws:close() end },
    closed = { echo, function(ws)
      ws:connect()
      wait(function() return ws.address end)
      ws:close()
      wait(function() return ws.closecode end)
    end },
    waiting = { refused, function(ws) ws:connect() wait(function() return ws.state == "waiting" end) end },
  }
  local function reach(state, options)
    options.url, options.minreconnectwait, options.closetimeout = ways[state][1], 60, 0.3
    local ws = WebSocket(options)
    ways[state][2](ws)
    return ws
  end
]]

describe("dropped websockets:", function()
  local peer, raw
  lazy_setup(function() peer, raw = helper.serve("own"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  --- `first`: the beginning of the script, before the module is loaded.
  local function prints(expected, text, first)
    local output, code = helper.finish(helper.start("timeout -s KILL 100 " .. helper.lua,
      helper.write_script((first or "") .. prelude .. text),
      peer:url("/echo"), raw:url("/frames?end=mute"), raw:url("/silence")))
    assert.equal(expected, output)
    assert.equal(0, code)
  end

  it("live ones are kept, all others collected, also those that their own functions refer to", function()
    prints("done\n", [[
      local alive = setmetatable({}, { __mode = "v" })
      local timers = {}
      local references = {
        none = function() end,
        onreceive = function(options, get) function options.onreceive() return get() end end,
        debug = function(options, get) function options.debug() return get() end end,
        onattempt = function(options, get) function options.onattempt() local _ = get() end end,
        timer = function(_, get) timers[#timers + 1] = websocket.after(1000, get) end,
        finalizer = function(options, get)
          options.onreceive = function() end
          local object = setmetatable({}, { __gc = function() local _ = get().state end })
          function options.debug() return object end
        end,
      }
      local function make(state, refer)
        local ws
        local options = {}
        refer(options, function() return ws end)
        ws = reach(state, options)
        return ws
      end
      local function drop_one_in_each_state()
        for state in pairs(ways) do
          for name, refer in pairs(references) do alive[state .. " " .. name] = make(state, refer) end
          -- A coroutine that waits for its websocket.
          coroutine.wrap(function()
            local ws = reach(state, {})
            alive[state .. " coroutine"] = ws
            websocket.yield = coroutine.yield
            ws:receive()
          end)()
          websocket.yield = nil
        end
      end
      drop_one_in_each_state()
      collect()
      for state in pairs(ways) do
        local is_live = state ~= "new" and state ~= "closed"
        for name in pairs(references) do
          local key = state .. " " .. name
          -- The closing ones may have ended meanwhile.
          if state ~= "closing" and (alive[key] ~= nil) ~= (is_live or name == "timer") then
            print(key, alive[key])
          end
        end
      end
      for _, ws in pairs(alive) do ws:close() end
      for _, timer in ipairs(timers) do timer:cancel() end
      timers = nil
      assert(websocket.run(20))
      collect()
      for key, ws in pairs(alive) do print("kept: " .. key, ws.state) end
      print "done"
    ]])
  end)

  for _, option in ipairs { "collect", "step" } do
    it("collectgarbage '" .. option .. "' in each callback loses nothing", function()
      prints("100 messages, each kind of callback\n", ([[
        local ran, got, kinds = {}, 0, 0
        local function collect(name)
          if not ran[name] then ran[name], kinds = true, kinds + 1 end
          collectgarbage "%s"
          return WebSocket { url = echo, onreceive = function() end }
        end
        websocket.yield = function() collect "yield" coroutine.yield() end
        local options = { url = refused, debug = function() collect "debug" end }
        function options.onattempt() collect "onattempt" return { url = echo } end
        function options.onreceive(type, data, _, _, ws)
          collect "onreceive"
          if type == types.OPEN then ws:sendText(1) end
          if type ~= types.TEXT then return end
          got = got + 1
          assert(data == tostring(got), data)
          websocket.after(0, function()
            collect "timer"
            if got == 100 then ws:close() else ws:sendText(got + 1) end
          end)
        end
        WebSocket(options):connect()
        local is_over
        local co = coroutine.create(function()
          websocket.run(30)
          is_over = true
        end)
        while not is_over do assert(coroutine.resume(co)) end
        assert(kinds == 5, kinds)
        print(got .. " messages, each kind of callback")
      ]]):format(option))
    end)
  end

  it("__gc called by hand at any moment is harmless", function()
    prints("done\n", [[
      local function release(ws) debug.getmetatable(ws).__gc(ws) end
      local function use(ws)
        for _, name in ipairs { "sendText", "sendPing", "close", "connect" } do pcall(ws[name], ws) end
        for _, name in ipairs { "url", "state", "bufferedamount", "attempts", "latency", "address" } do
          local _ = ws[name]
        end
        release(ws)
      end
      for state in pairs(ways) do
        local ws = reach(state, {})
        release(ws)
        use(ws)
        -- In each wait.
        for _, name in ipairs { "receive", "waitopen", "flush" } do
          ws = reach(state, {})
          websocket.after(0, function() release(ws) end)
          local _ = ws[name](ws, 0.05)
          use(ws)
          -- In a coroutine, by the scheduler.
          ws = reach(state, {})
          websocket.yield = coroutine.yield
          local co = coroutine.wrap(function() local _ = ws[name](ws, 0.05) end)
          co()
          websocket.yield = nil
          release(ws)
          if name ~= "flush" then pcall(co) end
          use(ws)
        end
        for _, wait in ipairs { websocket.poll, websocket.run } do
          ws = reach(state, { onreceive = function() end })
          websocket.after(0, function() release(ws) end)
          wait(0.02)
          use(ws)
        end
      end
      -- By its own callbacks, at each event.
      for _, name in ipairs { "onreceive", "onattempt", "debug" } do
        for n = 1, 6 do
          local calls, options = 0, { url = echo, reconnect = false }
          local ws
          options[name] = function()
            calls = calls + 1
            if calls == n then use(ws) end
          end
          ws = WebSocket(options)
          ws:connect()
          local stop = websocket.time() + 0.05
          while websocket.time() < stop and ws.state ~= "closed" do
            if ws.state == "open" then pcall(ws.sendText, ws, "x") end
            websocket.poll(0.01)
          end
          use(ws)
        end
      end
      assert(websocket.run(20))
      print "done"
    ]])
  end)

  it("finalizers that use them at the end of the state are harmless in any order", function()
    prints("done\n", [[
      timers, coroutines = {}, {}
      watch()
      websocket.fd()
      for state in pairs(ways) do
        for _, name in ipairs { "onreceive", "debug", "onattempt", "none" } do
          local ws
          ws = reach(state, { [name ~= "none" and name or "debug"] = function() return nil, ws end })
          objects[#objects + 1] = ws
        end
        local ws = reach(state, {})
        objects[#objects + 1] = ws
        coroutines[#coroutines + 1] = coroutine.create(function() ws:receive() end)
        websocket.yield = coroutine.yield
        coroutine.resume(coroutines[#coroutines])
        websocket.yield = nil
        timers[#timers + 1] = websocket.after(1000, function() return ws end)
        watch()
      end
      print "done"
    ]], [[
      objects, url = {}, ...
      -- Made before and after what it uses; each uses all.
      function watch()
        finalizers = finalizers or {}
        finalizers[#finalizers + 1] = setmetatable({}, { __gc = function()
          local websocket = package.loaded.websocket
          for _, ws in ipairs(objects) do
            for _, name in ipairs { "sendText", "sendPing", "close", "connect", "receive", "waitopen", "flush" } do
              pcall(ws[name], ws, name ~= "close" and 0 or nil)
            end
            local _ = tostring(ws), ws.url, ws.state, ws.bufferedamount, ws.attempts
            debug.getmetatable(ws).__gc(ws)
          end
          pcall(websocket.poll, 0.01)
          pcall(websocket.run, 0.01)
          pcall(websocket.stop)
          pcall(websocket.fd)
          pcall(websocket.after, 0, error)
          pcall(websocket.WebSocket, { url = url })
          for _, timer in ipairs(timers) do timer:cancel() end
          for _, co in ipairs(coroutines) do coroutine.resume(co) end
        end })
      end
      watch()
    ]])
  end)

  -- Lua's memory in KiB, and the process's.
  local measure = [[
    local function measure()
      collect()
      local file = assert(io.open "/proc/self/statm")
      local _, pages = file:read("n", "n")
      file:close()
      return collectgarbage "count", pages * 4
    end
    local function compare(count, resident)
      local count_now, resident_now = measure()
      -- Lua's own table of strings may stay at 128 KiB; ten thousand leaks would be more than 1000.
      print(count_now - count < 300 or count_now - count, resident_now - resident < 3000 or resident_now - resident)
    end
  ]]

  it("ten thousand that were never connected leave no memory", function()
    if is_sanitized then return pending("a sanitizer keeps freed memory") end
    prints("true\ttrue\n", measure .. [[
      local function make(n)
        for i = 1, n do
          local ws
          local options = { url = echo .. "?" .. i, headers = { a = "b" }, protocols = { "x" } }
          options[i % 2 == 0 and "onreceive" or "debug"] = function() return ws end
          ws = WebSocket(options)
        end
      end
      make(10000)
      -- The allocator may take more from the system once; what is never freed is missing each time.
      local count, resident
      for _ = 1, 3 do
        count, resident = measure()
        make(10000)
        if select(2, measure()) - resident < 3000 then break end
      end
      compare(count, resident)
    ]])
  end)

  it("two thousand that were connected and closed, or only connected and finalized, leave no memory", function()
    if is_sanitized then return pending("a sanitizer keeps freed memory") end
    prints("true\ttrue\n", measure .. [[
      local function visit(n)
        local left = 0
        for i = 1, n do
          local ws
          local options = { url = echo, reconnect = false }
          function options.onreceive(type)
            if type == types.OPEN then ws:sendText("x") end
            if type == types.TEXT then ws:close() end
            if type == types.CLOSE or type == types.ERROR then left = left - 1 end
          end
          ws = WebSocket(options)
          ws:connect()
          left = left + 1
          if i % 4 == 0 then
            left = left - 1
            debug.getmetatable(ws).__gc(ws)
          end
          while left > 20 do websocket.poll(1) end
        end
        assert(websocket.run(30))
        collect()
      end
      visit(500)
      local count, resident = measure()
      visit(2000)
      compare(count, resident)
    ]])
  end)
end)
