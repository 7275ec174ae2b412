-- The option onattempt: the function that decides on each attempt before anything is opened.
-- Runs on every version of Lua.

local helper = require "helper"
local websocket, raises = helper.websocket, helper.raises

-- In 5.1 and LuaJIT a callback can't yield.
local it_yields = helper.version ~= "jit" and helper.version >= "5.2" and it or function() end
local closes_at_errors = helper.version ~= "jit" and helper.version >= "5.4"

describe("onattempt", function()
  local raw, peer
  lazy_setup(function() raw, peer = helper.serve("raw"), helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)
  after_each(helper.remove_files)

  --- A client whose attempts are `answer(attempt, ws)`; its list `asked` has the numbers of the attempts.
  local function asking(url, answer, options)
    local asked = {}
    local copy = { url = url, maxreconnectwait = 0.01 }
    for name, value in pairs(options or {}) do copy[name] = value end
    function copy.onattempt(attempt, ws, ...)
      assert(select("#", ...) == 0)
      asked[#asked + 1] = attempt
      return answer(attempt, ws)
    end
    local c = helper.client(copy)
    c.asked = asked
    return c
  end

  local function nothing() end

  --- The number of connections that the server has had with this key.
  local function count(key) return tonumber(helper.client(raw:url("/attempts?key=%s", key)):get("TEXT").data) end

  it("is called before each attempt, with its number and the websocket", function()
    local c
    local websockets = {}
    c = asking(("ws://127.0.0.1:%d/"):format(helper.free_port()), function(attempt, ws)
      websockets[attempt] = ws
      assert(ws.state == "connecting" and ws.attempts == attempt)
      assert(c == nil or c:count("ERROR") == attempt - 1)
    end)
    c:get("ERROR", 3)
    assert.same({ 1, 2, 3 }, { c.asked[1], c.asked[2], c.asked[3] })
    for _, ws in ipairs(websockets) do assert.equal(c.ws, ws) end
  end)

  it("is called for a reconnect, whose attempts are counted from 1", function()
    local c = asking(raw:url("/frames?end=close"), nothing)
    c:get("CLOSE", 3)
    assert.same({ 1, 1, 1 }, { c.asked[1], c.asked[2], c.asked[3] })
    assert.equal("OPEN CLOSE OPEN CLOSE OPEN CLOSE", c:list():sub(1, 32))
  end)

  it("is called by poll, which counts it; until then nothing is opened", function()
    local called = false
    local c = asking(raw:url("/accepts?key=poll"), function() called = true end, { reconnect = false })
    -- Another process asks: nobody polls here.
    assert.equal(0, helper.watch(raw:url("/attempts?key=poll"), 0))
    assert.equal("connecting", c.ws.state)
    assert.is_false(called)
    assert.equal(1, websocket.poll(helper.TIMEOUT))
    assert.is_true(called)
    assert.equal("", c:list())
    c:open()
    assert.equal(1, count("poll"))
  end)

  it("may be any callable object; other values are refused", function()
    local calls = 0
    local callable = setmetatable({}, { __call = function() calls = calls + 1 end })
    helper.client { url = peer:url("/echo"), onattempt = callable }:open()
    assert.equal(1, calls)
    for _, value in ipairs { true, false, "f", 5, {} } do
      raises("'onattempt'", websocket.WebSocket, { url = "ws://a", onattempt = value })
    end
  end)

  it("that returns nothing, nil or true goes on", function()
    for _, answer in ipairs { nothing, function() return nil end, function() return true, "more" end } do
      asking(peer:url("/echo"), answer):open():close()
    end
  end)

  it("works for a websocket without onreceive", function()
    local ws
    ws = websocket.WebSocket { url = peer:url("/echo"), onattempt = function(_, w) assert(w == ws) end }
    ws:connect()
    assert.is_true(ws:waitopen(helper.TIMEOUT))
    ws:sendText("kept")
    assert.equal("kept", ws:receive(helper.TIMEOUT))
    ws:close()
  end)

  describe("that returns a table", function()
    it("replaces url, headers, protocols and proxy for this attempt only", function()
      local proxy = helper.proxy("tinyproxy")
      local url = raw:url("/request?own")
      local c = asking(url, function(attempt)
        return attempt == 1 and {
          url = peer:url("/status?code=503"), proxy = "http://127.0.0.1:" .. proxy.port,
          headers = { ["X-Token"] = "new" }, protocols = { "superchat" },
        } or { headers = {} }
      end, { headers = { ["X-Old"] = "old" }, protocols = { "chat" } })
      local event = c:get("ERROR")
      assert.equal(503, event.info.status)
      assert.truthy(event.err:find(peer:url("/status?code=503"), 1, true), event.err)
      proxy:says("CONNECT 127.0.0.1:" .. peer.port)
      local request = c:get("TEXT").data
      assert.truthy(request:find("GET /request?own HTTP/1.1", 1, true))
      assert.truthy(request:find("\r\nSec-WebSocket-Protocol: chat\r\n", 1, true), request)
      assert.falsy(request:find("X%-Old") or request:find("X%-Token"), request)
      assert.equal(url, c.ws.url)
      assert.equal(url, c:get("OPEN").info.url)
    end)

    it("has fields of the request for this attempt", function()
      local c = asking(raw:url("/request"), function()
        return { headers = { { "X-Token", "t1" }, { "X-Token", "t2" } }, protocols = { "superchat", "chat" } }
      end, { headers = { Cookie = "a=b" }, protocols = { "other" } })
      local request = c:get("TEXT").data
      assert.truthy(request:find("\r\nX-Token: t1\r\nX-Token: t2\r\n", 1, true), request)
      assert.truthy(request:find("\r\nSec-WebSocket-Protocol: superchat, chat\r\n", 1, true), request)
      assert.falsy(request:find("Cookie", 1, true))
    end)

    it("has a URL, which OPEN reports and ws.url does not", function()
      local url = "ws://me:pw@" .. raw:url("/request"):sub(6)
      local c = asking("ws://127.0.0.1:1/", function() return { url = url } end)
      assert.truthy(c:get("TEXT").data:find("\r\nAuthorization: Basic bWU6cHc=\r\n", 1, true))
      assert.equal(raw:url("/request"), c:get("OPEN").info.url)
      assert.equal("ws://127.0.0.1:1/", c.ws.url)
    end)

    it("may be empty, and switch a proxy off", function()
      asking(peer:url("/echo"), function() return {} end):open()
      asking(peer:url("/echo"), function() return { proxy = false } end, { proxy = "http://127.0.0.1:1" }):open()
    end)

    local wrong = {
      { { url = 5 }, "option 'url' must be a string" }, { { url = "ftp://a" }, "option 'url' is wrong: bad URL" },
      { { headers = "a" }, "option 'headers' must be" },
      { { headers = { Upgrade = "x" } }, "option 'headers' must not" },
      { { protocols = { "a b" } }, "option 'protocols' has a name" }, { { proxy = true }, "option 'proxy' must be" },
      { { onreceive = print }, "option 'onreceive' is unknown" }, { { tls = {} }, "option 'tls' is unknown" },
      { { 1 }, "options have names" },
    }
    for _, case in ipairs(wrong) do
      it("that is wrong makes poll raise and the attempt fail: " .. case[2], function()
        local c = asking(peer:url("/echo"), function(attempt) return attempt == 1 and case[1] or nil end)
        local words = "WebSocket onattempt " .. case[2]
        raises(words, function() c:open() end)
        local event = c:get("ERROR")
        assert.truthy(event.err:find(words, 1, true), event.err)
        assert.equal("system", event.info.kind)
        assert.equal(1, event.info.attempt)
        c:open()
        assert.equal(2, #c.asked)
      end)
    end

    it("or what is no answer at all makes poll raise and the attempt fail", function()
      for _, value in ipairs { 5, "ws://a", print } do
        local c = asking(peer:url("/echo"), function(attempt) return attempt == 1 and value or nil end)
        raises("'onattempt' must return a table of options, false or nothing, not " .. type(value),
          function() c:open() end)
        assert.equal("system", c:get("ERROR").info.kind)
        c:open()
      end
    end)
  end)

  describe("that returns false", function()
    it("ends the websocket without an event", function()
      local c = asking(raw:url("/accepts?key=false"), function() return false end)
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal("closed", c.ws.state)
      assert.equal("", c:list())
      assert.equal(0, count("false"))
    end)

    it("ends the reconnects", function()
      local c = asking(raw:url("/frames?end=close"), function() return nil end)
      c:get("CLOSE", 2)
      local number = #c.asked
      c = asking(raw:url("/frames?end=close"), function() return number < 1 and {} or false end)
      number = 0
      c:open()
      number = 1
      assert.truthy(c:get("CLOSE").info.retryin)
      helper.wait(function() return c.ws.state == "closed" end, "the end")
      assert.equal("OPEN CLOSE", c:list())
    end)

    it("lets connect start it again at once", function()
      local may = false
      local c = asking(peer:url("/echo"), function() return may end)
      helper.wait(function() return #c.asked > 0 end, "the call")
      may = nil
      assert.equal("closed", c.ws.state)
      c.ws:connect()
      c:open()
      assert.equal(2, #c.asked)
      assert.equal("OPEN", c:list())
    end)
  end)

  describe("that raises an error", function()
    it("makes poll raise the same; the attempt fails", function()
      local value = {}
      local c = asking(peer:url("/echo"), function(attempt) if attempt == 1 then error(value) end end,
        { connecttimeout = 3600 })
      local ok, err
      repeat ok, err = pcall(websocket.poll, 1) until not ok
      assert.equal(value, err)
      -- Before Lua 5.4 the engine learns of it when the garbage is collected.
      if not closes_at_errors then collectgarbage() end
      local event = c:get("ERROR")
      assert.truthy(event.err:find("onattempt failed: it has ", 1, true), event.err)
      c:open()
    end)

    if closes_at_errors then
      it("has its words in the ERROR, and its traceback in poll's error", function()
        local function no_token() error("no token\nmore") end
        local c = asking(peer:url("/echo"), function(attempt) if attempt == 1 then no_token() end end)
        local ok, trace
        repeat ok, trace = xpcall(websocket.poll, debug.traceback, 1) until not ok
        assert.truthy(trace:find("no_token", 1, true), trace)
        local event = c:get("ERROR")
        assert.truthy(event.err:find("no token$"), event.err)
        c:open()
      end)
    end
  end)

  describe("may close the websocket:", function()
    it("then its answer does not count", function()
      for _, answer in ipairs { {}, true, false } do
        local c = asking(raw:url("/accepts?key=closed"), function(_, ws)
          ws:close()
          return answer
        end)
        assert.is_true(websocket.run(helper.TIMEOUT))
        assert.equal("", c:list())
      end
      assert.equal(0, count("closed"))
    end)

    it("and start it again: each start is asked for, and has its own answer", function()
      for _, answer in ipairs { { url = "ws://127.0.0.1:1/" }, true, false } do
        local number = 0
        local c = asking(peer:url("/echo"), function(_, ws)
          number = number + 1
          if number > 1 then return end
          ws:close()
          ws:connect()
          return answer
        end)
        c:open()
        assert.equal(2, number)
        assert.equal("OPEN", c:list())
      end
    end)
  end)

  it("may poll, and make other websockets", function()
    local other
    local c = asking(peer:url("/echo"), function()
      other = other or helper.client(peer:url("/echo")):open()
    end)
    c:open()
    assert.equal("open", other.ws.state)
  end)

  describe("in a coroutine", function()
    --- Polls in a coroutine until the callback yields. Returns the coroutine, which ends with that poll.
    local function poll_until_yield(c)
      local co = coroutine.create(function()
        repeat websocket.poll(0.05) until #c.asked > 0
      end)
      assert(coroutine.resume(co))
      assert.equal("suspended", coroutine.status(co))
      return co
    end

    it_yields("may yield, and answer when it is resumed", function()
      local c = asking("ws://127.0.0.1:1/", function() return { url = coroutine.yield() } end)
      local co = poll_until_yield(c)
      assert.equal(1, #c.asked)
      websocket.poll(0.1)
      assert.equal("connecting", c.ws.state)
      assert(coroutine.resume(co, peer:url("/echo")))
      assert.equal("dead", coroutine.status(co))
      c:open()
      assert.equal("OPEN", c:list())
    end)

    it_yields("raises in poll when the answer is wrong", function()
      local c = asking(peer:url("/echo"), function(attempt)
        if attempt == 1 then return { url = coroutine.yield() } end
      end)
      local co = poll_until_yield(c)
      local ok, err = coroutine.resume(co, 5)
      assert.is_false(ok)
      assert.truthy(err:find("WebSocket onattempt option 'url' must be a string, not number", 1, true), err)
      assert.equal("system", c:get("ERROR").info.kind)
      c:open()
    end)

    it_yields("answers too late after connecttimeout: the attempt has failed, and the answer does not count", function()
      local c = asking(raw:url("/accepts?key=late"), function(attempt)
        if attempt == 1 then coroutine.yield() end
        return attempt == 1 and {} or false
      end, { connecttimeout = 0.1 })
      local co = poll_until_yield(c)
      local event = c:get("ERROR")
      assert.equal("timeout", event.info.kind)
      assert.truthy(event.err:find("onattempt gave no answer within the connecttimeout of 0.1 s", 1, true), event.err)
      assert.truthy(event.info.retryin)
      coroutine.resume(co)
      helper.wait(function() return c.ws.state == "closed" end, "the end")
      assert.equal("ERROR", c:list())
      assert.equal(0, count("late"))
    end)

    it_yields("answers false too late: nothing ends", function()
      local c = asking(peer:url("/echo"), function(attempt)
        if attempt > 1 then return end
        coroutine.yield()
        return false
      end, { connecttimeout = 0.1 })
      local co = poll_until_yield(c)
      c:open()
      assert(coroutine.resume(co))
      assert.equal("open", c.ws.state)
      c.ws:sendText("alive")
      assert.equal("alive", c:get("TEXT").data)
    end)

    it_yields("that is collected has no answer: the attempt fails", function()
      local c = asking(peer:url("/echo"), function(attempt) if attempt == 1 then coroutine.yield() end end,
        { connecttimeout = 3600 })
      poll_until_yield(c)
      collectgarbage()
      collectgarbage()
      local event = c:get("ERROR")
      assert.truthy(event.err:find("it has ended without an answer", 1, true), event.err)
      c:open()
    end)

    it_yields("may wait with the functions of the module", function()
      local token = peer:url("/echo")
      local function yield(descriptor, timeout) coroutine.yield(descriptor, timeout) end
      finally(function() websocket.yield = nil end)
      websocket.yield = yield
      local c
      c = asking("ws://127.0.0.1:1/", function()
        local ws = websocket.WebSocket { url = token }
        ws:connect()
        assert(ws:waitopen(helper.TIMEOUT))
        ws:sendText(token)
        local url = ws:receive(helper.TIMEOUT)
        ws:close()
        return { url = url }
      end)
      local co = coroutine.create(function() return c.ws:waitopen(helper.TIMEOUT) end)
      local ok, is_open
      repeat
        ok, is_open = assert(coroutine.resume(co))
        websocket.poll(0.01)
      until coroutine.status(co) == "dead"
      assert.is_true(ok and is_open)
      assert.equal(token, c:get("OPEN").info.url)
    end)
  end)

  it("that poll does not call in time fails the attempt after connecttimeout", function()
    local ws
    local errors, asked = {}, 0
    ws = websocket.WebSocket {
      url = raw:url("/accepts?key=silent"), connecttimeout = 0.05, reconnect = false,
      onattempt = function() asked = asked + 1 end,
      onreceive = function(_, _, err) errors[#errors + 1] = err end,
    }
    ws:connect()
    helper.compute(0.2)
    helper.wait(function() return #errors > 0 end, "the ERROR")
    assert.truthy(errors[1]:find("onattempt gave no answer", 1, true), errors[1])
    -- It is called all the same: its record was queued before.
    assert.equal(1, asked)
    assert.is_true(websocket.run(helper.TIMEOUT))
    assert.equal(0, count("silent"))
  end)

  it("ends with its Lua state", function()
    for _, exit in ipairs { "", "os.exit()", "os.exit(0, true)" } do
      helper.within(0.9, function()
        local output, code, took = helper.script([[
          local websocket = require "websocket"
          local ws = websocket.WebSocket { url = "ws://127.0.0.1:1/", onattempt = function() end }
          ws:connect()
          websocket.poll(0)
        ]] .. exit)
        assert.equal("", output)
        assert.equal(0, code)
        return took
      end)
    end
  end)
end)
