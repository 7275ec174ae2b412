-- The event loops of event_loops_spec.lua and bench/loops.lua behind one interface. Runs in their scripts, on Lua 5.1
-- to 5.4 and LuaJIT, in Neovim and in LÖVE:
--     local loop, websocket = dofile "event_loops.lua"(NAME)
--   loop.callbacks()     from now on the loop calls websocket.poll when the module's descriptor is readable
--   loop.coroutines()    sets websocket.yield, where the loop has coroutines
--   loop.spawn(f)        runs f as a coroutine of the loop
--   loop.run(tick)       runs the loop, and `tick`, if given, every 10 ms, until loop.stop() was called
-- `coroutines` and `spawn` are nil where the loop has no coroutines. In Neovim and LÖVE `run` returns at once: the
-- program runs the loop after the script, and `stop` ends the process.
local loops = {}
local period = 0.01

function loops.cqueues(websocket)
  local cqueues = require "cqueues"
  local controller, is_over = cqueues.new(), false
  local loop = {}
  function loop.callbacks()
    controller:wrap(function()
      while not is_over do
        cqueues.poll(websocket.loop)
        websocket.poll()
      end
    end)
  end
  function loop.coroutines()
    function websocket.yield(_, timeout) cqueues.poll(websocket.loop, timeout < math.huge and timeout or nil) end
  end
  function loop.spawn(f) controller:wrap(f) end
  function loop.stop() is_over = true end
  function loop.run(tick)
    if tick then
      controller:wrap(function()
        while true do
          cqueues.sleep(period)
          tick()
        end
      end)
    end
    while not is_over do assert(controller:step()) end
  end
  return loop
end

--- A loop around `step(seconds)`, which waits at most so long.
local function stepping(loop, now, step)
  local is_over = false
  function loop.stop() is_over = true end
  function loop.run(tick)
    local next_tick = now() + period
    while not is_over do
      step(tick and math.max(next_tick - now(), 0))
      if tick and now() >= next_tick then
        next_tick = now() + period
        tick()
      end
    end
  end
  return loop
end

function loops.copas(websocket)
  local copas, socket = require "copas", require "socket"
  local loop = { spawn = copas.addthread }
  local getfd, dirty = websocket.loop.getfd, websocket.loop.dirty
  function loop.callbacks()
    -- To copas this is a server: when its descriptor is readable it calls `accept`, which accepts nobody.
    local server = { getfd = getfd, dirty = dirty, settimeout = function() end }
    function server.accept() websocket.poll() end
    copas.addserver(server, function() end)
  end
  -- To copas each wait is a socket, whose first `receive` has to wait and whose second one succeeds.
  local Wait = { getfd = getfd, close = function() end }
  Wait.__index = Wait
  function Wait:dirty() return self.is_over or dirty() end
  function Wait:receive()
    self.calls = self.calls + 1
    return self.calls > 1, "timeout"
  end
  function loop.coroutines()
    function websocket.yield(_, timeout)
      local wait = setmetatable({ calls = 0 }, Wait)
      local timer = timeout < math.huge and websocket.after(timeout, function() wait.is_over = true end)
      copas.receive(wait)
      if timer then timer:cancel() end
    end
  end
  return stepping(loop, socket.gettime, copas.step)
end

function loops.luasocket(websocket)
  local socket = require "socket"
  local sockets = { websocket.loop }
  return stepping({ callbacks = function() end }, socket.gettime, function(seconds)
    socket.select(sockets, nil, seconds)
    websocket.poll()
  end)
end

--- `wrap`, if given, makes the function that the loop calls.
local function libuv(websocket, uv, wrap)
  local loop, waiting = {}, {}
  local function watch(ready)
    local poll = uv.new_poll(websocket.fd())
    poll:start("r", function(err)
      assert(not err, err)
      ready()
    end)
  end
  function loop.callbacks() watch(wrap and wrap(websocket.poll) or websocket.poll) end
  local function wake()
    local threads = waiting
    waiting = {}
    for _, thread in ipairs(threads) do
      if coroutine.status(thread) == "suspended" then assert(coroutine.resume(thread)) end
    end
  end
  function loop.coroutines()
    watch(wake)
    function websocket.yield(_, timeout)
      local timer = timeout < math.huge and uv.new_timer()
      if timer then timer:start(math.ceil(timeout * 1000), 0, wake) end
      waiting[#waiting + 1] = coroutine.running()
      coroutine.yield()
      if timer then timer:close() end
    end
  end
  function loop.spawn(f) coroutine.wrap(f)() end
  function loop.stop() uv.stop() end
  function loop.run(tick)
    if tick then uv.new_timer():start(period * 1000, period * 1000, tick) end
    uv.run()
  end
  return loop
end

function loops.luv(websocket) return libuv(websocket, (require "luv")) end

function loops.neovim(websocket)
  local uv = vim.uv or vim.loop
  local loop = libuv(websocket, uv, vim.schedule_wrap)
  function loop.stop() vim.schedule(function() vim.cmd "quitall" end) end
  function loop.run(tick)
    if tick then uv.new_timer():start(period * 1000, period * 1000, tick) end
  end
  return loop
end

function loops.love(websocket)
  local loop = { callbacks = function() end, stop = love.event.quit }
  function loop.run(tick)
    local time = 0
    function love.update(seconds)
      websocket.poll()
      time = time + seconds
      if tick and time >= period then
        time = time - period
        tick()
      end
    end
    love.timer.sleep = websocket.poll
  end
  return loop
end

--- The module's own loop, to compare with.
function loops.run(websocket)
  local loop = { callbacks = function() end, coroutines = function() end, stop = websocket.stop }
  function loop.spawn(f) f() end
  function loop.run() websocket.run() end
  return loop
end

return function(name)
  local websocket = require "websocket"
  return loops[name](websocket), websocket
end
