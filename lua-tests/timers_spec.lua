-- websocket.time, websocket.after and websocket.stop.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises, types = helper.websocket, helper.raises, helper.types
local now, after = websocket.time, websocket.after

describe("timers:", function()
  local server, raw
  lazy_setup(function() server, raw = helper.serve("own"), helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  it("run in the order of their times, those of one time in the order of their making", function()
    local order = {}
    local function add(name) return function() order[#order + 1] = name end end
    for i = 20, 1, -1 do after(i / 1000, add(i)) end
    after(0, add("first"))
    after(-1, add("second"))
    assert.is_true(websocket.run(helper.TIMEOUT))
    local expected = { "first", "second" }
    for i = 1, 20 do expected[#expected + 1] = i end
    assert.same(expected, order)
  end)

  it("run at their time, and not before", function()
    helper.one_of_five(function()
      local from, ran = now(), nil
      after(0.03, function() ran = now() - from end)
      websocket.run()
      assert.is_true(ran >= 0.03, ran)
      return ran < 0.035, ran .. " s"
    end)
  end)

  it("end a poll that waits, which counts events only", function()
    local ran = false
    after(0.01, function() ran = true end)
    local from = now()
    assert.equal(0, websocket.poll(helper.TIMEOUT))
    assert.is_true(ran)
    assert.is_true(now() - from < helper.TIMEOUT)
  end)

  it("are not run once they are cancelled, also by each other", function()
    local order, second = {}, nil
    after(0, function()
      order[#order + 1] = 1
      second:cancel()
    end)
    second = after(0, function() order[#order + 1] = 2 end)
    local third = after(0.001, function() order[#order + 1] = 3 end)
    local fourth = after(1000, error)
    fourth:cancel()
    fourth:cancel()
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.same({ 1, 3 }, order)
    third:cancel()
    assert.is_true(websocket.run(0))
  end)

  it("a timer that sets itself anew does not keep poll from returning", function()
    local count = 0
    local timer
    local function again()
      count = count + 1
      timer = after(0, again)
    end
    timer = after(0, again)
    for _ = 1, 10 do websocket.poll() end
    assert.is_true(count >= 5 and count <= 20, count)
    timer:cancel()
  end)

  it("are many", function()
    local sum, count, timers = 0, 2000, {}
    for i = 1, count do
      timers[i] = after((i * 7919 % count) / 1e6, function() sum = sum + i end)
    end
    local cancelled = 0
    for i = 1, count, 3 do
      timers[i]:cancel()
      cancelled = cancelled + i
    end
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal(count * (count + 1) / 2 - cancelled, sum)
  end)

  it("one that raises is over, and the others run later", function()
    local ran = false
    after(0, function() error("timer", 0) end)
    after(0, function() ran = true end)
    raises("timer", websocket.poll, 1)
    assert.is_false(ran)
    assert.equal(0, websocket.poll(1))
    assert.is_true(ran)
  end)

  it("keep their time while messages come all the time", function()
    local late, count = {}, 0
    local c
    c = helper.client { url = raw:url("/burst"), onreceive = function(type, data)
      if type ~= types.TEXT then return end
      count = count + 1
      if data == "1" and c.ws.state == "open" then c.ws:sendText("burst ", 1000) end
    end }:open()
    for _ = 1, 3 do c.ws:sendText("burst ", 1000) end
    local due
    local function tick()
      late[#late + 1] = now() - due
      if #late == 20 then return websocket.stop() end
      due = now() + 0.01
      after(0.01, tick)
    end
    helper.one_of_five(function()
      late, due = {}, now() + 0.01
      after(0.01, tick)
      assert.is_false(websocket.run(helper.TIMEOUT))
      table.sort(late)
      return late[10] < 0.003, ("%g s late"):format(late[10])
    end)
    assert.is_true(count > 0)
    c.ws:close()
  end)

  it("are run by a wait on one websocket", function()
    local ws = websocket.WebSocket { url = server:url("/echo") }
    ws:connect()
    assert(ws:waitopen(helper.TIMEOUT))
    after(0.02, function() ws:sendText("late") end)
    assert.equal("late", (ws:receive(helper.TIMEOUT)))
    ws:close()
    websocket.run(helper.TIMEOUT)
  end)

  it("are released with their functions", function()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local f = function() return weak end
      weak[1] = f
      local timer = after(1000, f)
      timer:cancel()
      local g = function() return weak end
      weak[2] = g
      after(0, g)
    end
    websocket.run(1)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("names the argument that is wrong", function()
    raises("number expected", after, "soon", print)
    raises("NaN", after, 0 / 0, print)
    raises("a function expected", after, 1)
    raises("a function expected", after, 1, {})
    local timer = after(1000, setmetatable({}, { __call = function() end }))
    raises("WebSocketTimer expected", timer.cancel, 5)
    timer:cancel()
  end)

  describe("stop", function()
    it("makes the innermost run return", function()
      local order = {}
      after(0, function()
        after(0, websocket.stop)
        table.insert(order, websocket.run(helper.TIMEOUT))
        table.insert(order, "inner")
        after(0, websocket.stop)
      end)
      local keep = after(1000, error)
      table.insert(order, websocket.run(helper.TIMEOUT))
      keep:cancel()
      assert.same({ false, "inner", false }, order)
    end)

    it("leaves the events behind it for later", function()
      local seen = 0
      local c
      c = helper.client { url = raw:url("/burst"), onreceive = function(type)
        if type ~= types.TEXT then return end
        seen = seen + 1
        if seen == 2 then websocket.stop() end
      end }:open()
      c.ws:sendText("burst ", 5)
      assert.is_false(websocket.run(helper.TIMEOUT))
      assert.equal(2, seen)
      c:get("TEXT", 5)
    end)

    it("without a run changes nothing", function()
      websocket.stop()
      local ran = false
      after(0, function() ran = true end)
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.is_true(ran)
    end)
  end)

  it("time is monotonic and counts seconds", function()
    local from = now()
    helper.compute(0.02)
    local passed = now() - from
    assert.is_true(passed >= 0.01 and passed < 1, passed)
  end)
end)

describe("polls inside callbacks:", function()
  local raw
  lazy_setup(function() raw = helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  it("a thousand queued events, each of whose callbacks polls, are all delivered once and in order", function()
    local seen, depth, deepest, returned = {}, 0, 0, 0
    local c = helper.client { url = raw:url("/burst"), onreceive = function(type, data)
      if type ~= types.TEXT then return end
      seen[#seen + 1] = tonumber(data)
      depth = depth + 1
      deepest = math.max(deepest, depth)
      returned = returned + websocket.poll()
      depth = depth - 1
    end }:open()
    c.ws:sendText("burst ", 1000)
    helper.wait(function() return #seen == 1000 end, "all events")
    for i = 1, 1000 do assert.equal(i, seen[i]) end
    assert.is_true(deepest > 20 and deepest <= 40, deepest)
  end)

  it("a callback that raises out of many polls leaves room for as many", function()
    local depth, deepest = 0, 0
    local fails = true
    local c = helper.client { url = raw:url("/burst"), onreceive = function(type)
      if type ~= types.TEXT then return end
      depth = depth + 1
      deepest = math.max(deepest, depth)
      if fails and depth == 30 then error("deep", 0) end
      websocket.poll()
      depth = depth - 1
    end }:open()
    for _ = 1, 5 do
      c.ws:sendText("burst ", 30)
      depth = 0
      raises("deep", function() helper.wait(function() return false end, "an error") end)
    end
    fails, deepest, depth = false, 0, 0
    c.ws:sendText("burst ", 100)
    c:get("TEXT", 250)
    assert.is_true(deepest >= 30, deepest)
  end)

  it("a wait that is nested too deep raises and says so", function()
    local message
    local function again()
      if message then return end
      websocket.after(0, again)
      local ok, err = pcall(websocket.run, helper.TIMEOUT)
      if not ok then message = err end
    end
    websocket.after(0, again)
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.truthy(message and message:find("callbacks that wait are nested", 1, true), message)
  end)
end)
