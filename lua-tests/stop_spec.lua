-- websocket.stop ends the innermost run that goes on, whatever has become of the runs inside and outside of it.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket = helper.websocket

describe("stop", function()
  local timers = {}

  --- Calls `f` in a delivery.
  local function soon(f) timers[#timers + 1] = websocket.after(0, f) end

  --- A timer that is not due in any of these tests: it keeps `run` from returning by itself.
  before_each(function() timers[1] = websocket.after(1000, error) end)
  after_each(function()
    websocket.yield = nil
    while #timers > 0 do table.remove(timers):cancel() end
  end)

  --- What `run` returned: "stopped", or "time" if it has used up its seconds.
  local function run(seconds)
    local from = websocket.time()
    assert.is_false(websocket.run(seconds or helper.TIMEOUT))
    return websocket.time() - from < (seconds or helper.TIMEOUT) and "stopped" or "time"
  end

  it("without a run does nothing to the next one", function()
    websocket.stop()
    assert.equal("time", run(0.01))
    soon(websocket.stop)
    websocket.poll()
    assert.equal("time", run(0.01))
  end)

  it("ends the inner run only", function()
    local inner
    soon(function()
      soon(websocket.stop)
      inner = run()
    end)
    assert.equal("time", run(0.05))
    assert.equal("stopped", inner)
  end)

  it("for the outer run is not lost when a run begins after it, and raises", function()
    soon(function()
      websocket.stop()
      soon(function() error("inner", 0) end)
      assert.same({ false, "inner" }, { pcall(websocket.run, helper.TIMEOUT) })
    end)
    assert.equal("stopped", run())
  end)

  it("for the outer run is not lost when a run begins after it, and ends", function()
    local inner
    soon(function()
      websocket.stop()
      inner = run(0.01)
    end)
    assert.equal("stopped", run())
    assert.equal("time", inner)
  end)

  it("for an inner run that raises does not end the outer one", function()
    soon(function()
      soon(function()
        websocket.stop()
        error("inner", 0)
      end)
      assert.same({ false, "inner" }, { pcall(websocket.run, helper.TIMEOUT) })
    end)
    assert.equal("time", run(0.05))
  end)

  it("after an inner run has raised ends the outer one", function()
    soon(function()
      soon(function() error("inner", 0) end)
      assert.is_false(pcall(websocket.run, helper.TIMEOUT))
      -- Deeper in the C stack than the inner run was.
      ;("x"):gsub("x", function() websocket.stop() end)
    end)
    assert.equal("stopped", run())
  end)

  it("ends a run that goes on below polls", function()
    soon(function()
      soon(websocket.stop)
      websocket.poll()
    end)
    assert.equal("stopped", run())
  end)

  it("in a coroutine ends the run whose callback has resumed it", function()
    soon(function() coroutine.wrap(function() websocket.stop() end)() end)
    assert.equal("stopped", run())
    local co = coroutine.wrap(function()
      soon(function() coroutine.wrap(function() coroutine.wrap(function() websocket.stop() end)() end)() end)
      return run()
    end)
    assert.equal("stopped", co())
  end)

  it("of one copy of the module does not end a run of another", function()
    local loaded = package.loaded.websocket
    package.loaded.websocket = nil
    local other = require "websocket"
    package.loaded.websocket = loaded
    assert.not_equal(loaded, other)
    soon(function() other.stop() end)
    assert.equal("time", run(0.05))
  end)

  it("is not what a killed run leaves behind", function()
    if not coroutine.close then return end
    soon(function()
      websocket.yield = coroutine.yield
      local co = coroutine.create(websocket.run)
      coroutine.resume(co, helper.TIMEOUT)
      websocket.yield = nil
      coroutine.close(co)
      websocket.stop()
    end)
    assert.equal("stopped", run())
  end)

  describe("with websocket.yield", function()
    local results, runs

    --- Starts `run` in a coroutine, which waits in websocket.yield.
    local function start(name, seconds)
      websocket.yield = coroutine.yield
      runs[name] = coroutine.create(function() results[name] = run(seconds) end)
      assert(coroutine.resume(runs[name]))
      assert.is_nil(results[name])
    end

    local function resume(name) assert(coroutine.resume(runs[name])) end

    before_each(function() results, runs = {}, {} end)

    it("ends the run whose step calls it", function()
      start "first"
      start "second"
      soon(websocket.stop)
      resume "first"
      resume "second"
      assert.same({ first = "stopped" }, results)
      websocket.stop()
      resume "second"
      assert.same({ first = "stopped", second = "stopped" }, results)
    end)

    it("called by the scheduler ends the run that began last", function()
      start "first"
      start "second"
      websocket.stop()
      resume "first"
      resume "second"
      assert.same({ second = "stopped" }, results)
      websocket.stop()
      resume "first"
      assert.same({ first = "stopped", second = "stopped" }, results)
    end)

    it("makes the descriptor readable until the run that it ends has returned", function()
      start "first"
      assert.is_false(websocket.loop:dirty())
      websocket.stop()
      assert.is_true(websocket.loop:dirty())
      resume "first"
      assert.same({ first = "stopped" }, results)
      assert.is_false(websocket.loop:dirty())
    end)

    for name, finish in pairs {
      ["the last timer was cancelled"] = function(timer) timer:cancel() end,
      ["the last timer was run elsewhere"] = function(timer)
        timer:cancel()
        soon(function() end)
        websocket.poll()
      end,
      ["the last websocket was closed elsewhere"] = function(timer)
        local ws = websocket.WebSocket { url = "ws://127.0.0.1:1/", minreconnectwait = 60, maxreconnectwait = 60 }
        ws:connect()
        timer:cancel()
        helper.wait(function() return ws.state == "waiting" end)
        ws:close()
        helper.wait(function() return ws.state == "closed" end)
        -- The engine tells of its end a moment later, without an event.
        helper.wait(function() return websocket.loop:dirty() end)
      end,
      ["the last server was closed elsewhere"] = function(timer)
        local server = websocket.listen { address = "127.0.0.1:0", onreceive = function() end }
        timer:cancel()
        server:close()
        helper.wait(function() return websocket.loop:dirty() end)
      end,
    } do
      it("is not needed: the descriptor wakes two runs when " .. name, function()
        websocket.yield = coroutine.yield
        local threads = {}
        for i = 1, 2 do
          threads[i] = coroutine.create(function() return websocket.run() end)
          assert(coroutine.resume(threads[i]))
        end
        finish(table.remove(timers))
        for i = 1, 2 do
          assert.is_true(websocket.loop:dirty())
          assert.same({ true, true }, { coroutine.resume(threads[i]) })
          assert.equal("dead", coroutine.status(threads[i]))
        end
        assert.is_false(websocket.loop:dirty())
      end)
    end

    it("does not end a run whose websocket.yield has raised, but the one around", function()
      start "first"
      websocket.yield = function() error("no scheduler", 0) end
      local other = coroutine.create(function()
        assert.same({ false, "no scheduler" }, { pcall(websocket.run, helper.TIMEOUT) })
        coroutine.yield()
      end)
      assert(coroutine.resume(other))
      websocket.stop()
      resume "first"
      assert.same({ first = "stopped" }, results)
      assert(coroutine.resume(other))
    end)
  end)

  it("in a callback that has yielded ends its run", function()
    if not helper.callbacks_yield then return end
    local co = coroutine.create(function() return run() end)
    soon(function()
      coroutine.yield()
      websocket.stop()
    end)
    assert(coroutine.resume(co))
    assert.same({ true, "stopped" }, { coroutine.resume(co) })
  end)
end)
