-- The option onrequest of a server: the function that decides on the answer to each request.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local websocket, raises = helper.websocket, helper.raises

local it_yields = helper.callbacks_yield and it or function() end
local closes_at_errors = helper.version ~= "jit" and helper.version >= "5.4"

describe("onrequest", function()
  after_each(own.clean_up)

  local function collect() for _ = 1, 2 do collectgarbage() end end

  --- A server with this function, and its options.
  local function asking(onrequest, options)
    local copy = { onrequest = onrequest, protocols = { "b", "a" }, headers = { ["X-Option"] = "1" } }
    for name, value in pairs(options or {}) do copy[name] = value end
    return own.listen(copy)
  end

  --- The bytes of the server's answer to a request for a websocket, which ends the connection at once if it opens.
  local function answer(s, fields) return own.ask(s.server.port, own.request(fields) .. "\136\128\0\0\0\0") end

  --- A request for a page.
  local function page(s, method, more)
    return own.ask(s.server.port, ("%s /page?x HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(method or "GET", more or ""))
  end

  local function status(text) return tonumber(text:match("^HTTP/1.1 (%d+) ")) end

  it("gets the fields of each request that is correct HTTP", function()
    local requests = {}
    local s = asking(function(request, ...)
      assert(select("#", ...) == 0)
      requests[#requests + 1] = request
    end)
    assert.equal(101, status(answer(s, { Origin = "http://localhost", ["Sec-WebSocket-Protocol"] = "c, a" })))
    assert.equal(426, status(page(s, "POST", "X-A: 1\r\nx-a: 2\r\n")))
    local a, b = requests[1], requests[2]
    assert.same({ "GET", "/", "/", "http://localhost", false }, { a.method, a.target, a.path, a.origin, a.secure })
    assert.same({ "c", "a" }, a.protocols)
    assert.truthy(a.address:find("^127%.0%.0%.1:%d+$"))
    assert.same({ "POST", "/page?x", "/page", "x" }, { b.method, b.target, b.path, b.query })
    assert.same({}, b.protocols)
    assert.equal("1, 2", b.headers["x-a"])
    assert.is_nil(b.origin)
    -- One that is not correct HTTP does not come here, nor a wrong request for a websocket, or one of a wrong origin.
    assert.equal(400, status(own.ask(s.server.port, "garbage\r\n\r\n")))
    assert.equal(400, status(answer(s, { ["Sec-WebSocket-Key"] = "x" })))
    assert.equal(403, status(answer(s, { Origin = "http://evil.example" })))
    assert.equal(2, #requests)
  end)

  for name, value in pairs { ["nothing"] = function() end, ["nil"] = function() return nil end,
    ["true"] = function() return true end, ["an empty table"] = function() return {} end } do
    it("returns " .. name .. ": the usual answer", function()
      local s = asking(value)
      local text = answer(s, { ["Sec-WebSocket-Protocol"] = "a, b" })
      assert.equal(101, status(text))
      assert.truthy(text:find("\r\nSec-WebSocket-Protocol: b\r\n", 1, true))
      assert.truthy(text:find("\r\nX-Option: 1\r\n", 1, true))
      if name ~= "an empty table" then assert.equal(426, status(page(s))) end
    end)
  end

  it("returns false: 403", function()
    local s = asking(function() return false end)
    local text = answer(s)
    assert.equal(403, status(text))
    assert.truthy(text:find("does not accept", 1, true))
    assert.equal(403, status(page(s)))
    assert.same({}, s.events)
  end)

  it("returns a subprotocol and headers: accepts with these", function()
    local s = asking(function() return { protocol = "z", headers = { { "X-A", "1" }, { "X-A", 2 } } } end)
    local c, ws = s:pair { protocols = { "b", "z" } }
    assert.same({ "z", "z" }, { c.ws.protocol, ws.protocol })
    assert.same({ "1, 2", "1" }, { c.ws.headers["x-a"], c.ws.headers["x-option"] })
  end)

  it("returns a response, to any request", function()
    local body = "<p>\0\255"
    local s = asking(function(request)
      if request.path == "/page" then return { body = body, headers = { ["Content-Type"] = "text/html" } } end
      return { status = 401, headers = { ["WWW-Authenticate"] = "Basic" }, body = "who?" }
    end)
    local head, text = page(s):match("^(.-\r\n)\r\n(.*)$")
    assert.equal(200, status(head))
    assert.equal(body, text)
    assert.truthy(head:find("\r\nContent-Type: text/html\r\n", 1, true))
    assert.truthy(head:find("\r\nContent-Length: " .. #body .. "\r\n", 1, true))
    assert.is_nil(head:find("X-Option", 1, true))
    -- The answer to HEAD has no body (RFC 9110 9.3.2).
    head, text = page(s, "HEAD"):match("^(.-\r\n)\r\n(.*)$")
    assert.equal("", text)
    assert.truthy(head:find("\r\nContent-Length: " .. #body .. "\r\n", 1, true))
    local c = helper.client { url = s:url(), reconnect = false }
    local event = c:get("ERROR")
    local info = event.info
    assert.same({ 401, "who?", "Basic" }, { info.status, info.body, info.headers["www-authenticate"] })
    assert.same({}, s.events)
  end)

  it("returns a large body", function()
    local body = ("0123456789abcdef"):rep(2 ^ 18)
    local s = asking(function() return { body = body } end)
    assert.is_true(page(s):sub(-#body - 4) == "\r\n\r\n" .. body)
  end)

  it("returns the request: request:answer comes later", function()
    local waiting = {}
    local s = asking(function(request)
      waiting[#waiting + 1] = request
      return request
    end)
    local function connect(path) return helper.client { url = s:url(path), reconnect = false } end
    local c, d, e = connect("/1"), connect("/2"), connect("/3")
    helper.wait(function() return #waiting == 3 end, "the requests")
    for _, client in ipairs { c, d, e } do assert.equal("", client:list()) end
    local by = {}
    for _, request in ipairs(waiting) do by[request.path] = request end
    assert.is_true(by["/2"]:answer { status = 404 })
    assert.is_false(by["/2"]:answer(true))
    assert.equal(404, d:get("ERROR").info.status)
    assert.is_true(by["/1"]:answer())
    assert.is_true(by["/3"]:answer(false))
    c:open()
    assert.equal(403, e:get("ERROR").info.status)
    assert.is_false(by["/1"]:answer(true))
  end)

  -- Each: what follows the request, and how and when the client leaves.
  for what, case in pairs {
    ["closes"] = { "", "close", "later" },
    ["closes behind frames that were not read"] = { "\129\128\0\0\0\0", "close", "later" },
    ["closes together with its request"] = { "", "close", "now" },
    ["ends its sending side"] = { "", "end", "later" },
    ["resets"] = { "", "reset", "later" },
  } do
    it("a client that " .. what .. " before the answer is gone at once", function()
      local waiting = {}
      local s = asking(function(request)
        waiting[#waiting + 1] = request
        return request
      end, { maxconnections = 1 })
      local process = own.leaving(s.server.port, own.request(nil, "GET /gone HTTP/1.1") .. case[1], case[2], case[3])
      helper.wait(function() return waiting[1] end, "the first request")
      assert.equal("/gone", waiting[1].path)
      local c = helper.client { url = s:url("/next"), reconnect = false }
      if case[3] == "later" then process:signal("USR1") end
      helper.wait(function() return waiting[2] end, "the place of the first connection")
      assert.is_false(waiting[1]:answer(true))
      assert.is_true(waiting[2]:answer(true))
      c:open()
      process:stop("KILL")
      c:close()
      assert.equal(1, #s.accepted)
    end)
  end

  it("a client that ends its sending side behind the request for a page gets the answer that comes later", function()
    local s = asking(function(request)
      websocket.after(0.1, function() request:answer { body = "hello" } end)
      return request
    end)
    local text = own.ask(s.server.port, "GET /page HTTP/1.1\r\nHost: a\r\n\r\n", own.END)
    assert.equal("hello", text:match("\r\n\r\n(.*)"))
  end)

  it("frames behind the request wait for the answer, without processor time", function()
    local used
    local s = asking(function(request)
      local from = os.clock()
      websocket.after(0.5, function()
        used = os.clock() - from
        request:answer(true)
      end)
      return request
    end)
    local text = own.ask(s.server.port, own.request(), "\129\130\0\0\0\0hi", "\136\130\0\0\0\0\3\232")
    assert.equal("\129\2hi\136\2\3\232", text:match("\r\n\r\n(.*)"))
    assert.is_true(used < 0.2, used)
  end)

  it("may be answered before the function returns, whatever that returns then", function()
    local results = {}
    local s = asking(function(request)
      results[#results + 1] = request:answer { headers = { ["X-Early"] = "1" } }
      results[#results + 1] = request:answer(false)
      if request.path == "/false" then return false end
      if request.path == "/request" then return request end
      return { status = 500 }
    end)
    for i, path in ipairs { "/false", "/request", "/table" } do
      local c = helper.client { url = s:url(path), reconnect = false }
      c:open()
      assert.equal("1", c.ws.headers["x-early"])
      assert.same({ true, false }, { results[2 * i - 1], results[2 * i] })
    end
  end)

  it("own fields of the request are there in info.request of OPEN and in ws.request", function()
    local s = asking(function(request)
      request.user = { name = "me" }
      request.method = "changed"
      if request.path == "/later" then
        websocket.after(0.05, function() request:answer(true) end)
        return request
      end
    end)
    for i, path in ipairs { "/", "/later" } do
      local _, ws = s:pair { url = s:url(path) }
      assert.equal("me", ws.request.user.name)
      assert.equal("changed", ws.request.method)
      assert.is_true(rawequal(ws.request, s:get("OPEN", i).info.request))
      assert.is_false(ws.request:answer(true))
    end
  end)

  describe("with an answer that is wrong: poll raises, and the client gets 500:", function()
    for name, case in pairs {
      ["a number"] = { 5, "must return a table, a boolean, the request or nothing, not number" },
      ["a string"] = { "x", "not string" },
      ["another option"] = { { foo = 1 }, "option 'foo' is unknown" },
      ["a status below 200"] = { { status = 101 }, "option 'status'" },
      ["no status"] = { { status = "x" }, "'status'" },
      ["a fraction"] = { { status = 200.5 }, "'status'" },
      ["a subprotocol that was not offered"] = { { protocol = "zzz" }, "'zzz'" },
      ["a field of the handshake"] = { { headers = { Upgrade = "x" } }, "Upgrade" },
      ["a line break"] = { { headers = { a = "b\r\nc: d" } }, "" },
      ["Content-Length"] = { { body = "x", headers = { ["Content-Length"] = "5" } }, "Content-Length" },
      ["a status and a protocol"] = { { status = 200, protocol = "a" }, "protocol" },
    } do
      it(name, function()
        local s = asking(function() return case[1] end)
        local c = helper.client { url = s:url(), protocols = { "a" }, reconnect = false }
        local err = raises("WebSocket onrequest", helper.wait, function() end)
        assert.truthy(err:find(case[2], 1, true), err)
        collect()
        assert.equal(500, c:get("ERROR").info.status)
      end)
    end

    it("an acceptance of a request that asks for no websocket", function()
      local s = asking(function() return { headers = { a = "b" } } end)
      local failure
      local function poll()
        local ok, err = pcall(websocket.poll, 0.05)
        if not ok then failure = err end
        collectgarbage()
      end
      local name, output = helper.write_file(helper.hex("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), helper.file()
      local process = helper.start(helper.python, helper.folder .. "/servers/asker.py", s.server.port, name, output)
      repeat poll() until process:ended()
      process:stop()
      assert.truthy(failure:find("asks for no WebSocket", 1, true), failure)
      assert.equal(500, status(helper.read_file(output)))
    end)

    it("given to request:answer, which raises: another may follow", function()
      local s = asking(function(request)
        raises("'foo' is unknown", request.answer, request, { foo = 1 })
        raises("does not offer", request.answer, request, { protocol = "zzz" })
        raises("not number", request.answer, request, 5)
        assert(request:answer { status = 418 })
      end)
      assert.equal(418, helper.client { url = s:url(), reconnect = false }:get("ERROR").info.status)
    end)
  end)

  it("that raises: poll raises its error, and the client gets 500", function()
    local s = asking(function() error("my mistake", 0) end)
    local c = helper.client { url = s:url(), reconnect = false }
    raises("my mistake", helper.wait, function() end)
    if not closes_at_errors then collect() end
    local event = c:get("ERROR")
    assert.equal(500, event.info.status)
    assert.is_nil(event.info.body:find("mistake", 1, true))
    assert.same({}, s.events)
  end)

  it("that raises after it has answered: the answer counts", function()
    local s = asking(function(request)
      request:answer(true)
      error("late", 0)
    end)
    local c = helper.client { url = s:url(), reconnect = false }
    raises("late", helper.wait, function() end)
    collectgarbage()
    c:open()
  end)

  for when, wrong in pairs { ["without an answer"] = false, ["after a wrong answer to request:answer"] = true } do
    it("a request that is dropped " .. when .. ": 500 after a collection", function()
      local s = asking(function(request)
        if wrong then raises("'zzz'", request.answer, request, { protocol = "zzz" }) end
        return request
      end)
      local c = helper.client { url = s:url(), reconnect = false }
      helper.wait(function()
        collectgarbage()
        return c:count("ERROR") == 1
      end, "the end of the request")
      assert.equal(500, c:get("ERROR").info.status)
    end)
  end

  it("a request that is kept without an answer: 503 after connecttimeout; request:answer returns false then", function()
    local kept
    local s = asking(function(request) kept = request return request end, { connecttimeout = 0.2 })
    local event = helper.client { url = s:url(), reconnect = false }:get("ERROR")
    assert.equal(503, event.info.status)
    assert.truthy(event.info.body:find("0.2 s", 1, true), event.info.body)
    assert.is_false(kept:answer(true))
    assert.is_false(kept:answer { status = 200 })
    assert.same({}, s.events)
  end)

  it("a request whose answer came too late is not kept by the module", function()
    local s
    local kept = setmetatable({}, { __mode = "v" })
    local strong
    s = asking(function(request)
      kept[1], strong = request, request
      return request
    end, { connecttimeout = 0.05 })
    helper.client { url = s:url(), reconnect = false }:get("ERROR")
    websocket.run(0.2)
    strong:answer(true)
    strong = nil
    collect()
    assert.is_nil(kept[1])
    assert.is_nil(strong)
  end)

  it("a request that has led to an open connection is not kept after that", function()
    local kept = setmetatable({}, { __mode = "v" })
    local s = own.listen { onrequest = function(request) kept[1] = request end }
    local c = s:pair()
    c:close()
    -- LuaJIT's compiled code refers to the closures of `get` and their events, but is not to refer to the websocket.
    s:get("CLOSE").ws = nil
    s.events, s.accepted = {}, {}
    collect()
    assert.is_nil(kept[1])
  end)

  it_yields("may yield in a coroutine", function()
    local waiting
    local s = asking(function(request)
      waiting = coroutine.running()
      local word = coroutine.yield("asked")
      return { headers = { ["X-Word"] = word .. request.path } }
    end)
    local c = helper.client { url = s:url("/p"), reconnect = false }
    local thread = coroutine.create(function() return websocket.poll(helper.TIMEOUT) end)
    local result
    helper.one_of_five(function()
      if coroutine.status(thread) == "dead" then thread = coroutine.create(function() return websocket.poll(2) end) end
      result = select(2, coroutine.resume(thread))
      return result == "asked", tostring(result)
    end)
    assert.equal(thread, waiting)
    assert.equal("", c:list())
    coroutine.resume(thread, "word")
    c:open()
    assert.equal("word/p", c.ws.headers["x-word"])
  end)

  it("may be any callable object", function()
    local s = asking(setmetatable({}, { __call = function(_, request) return { body = request.path } end }))
    assert.equal("/page", page(s):match("\r\n\r\n(.*)$"))
  end)

  it("may poll: requests that come meanwhile are asked in between", function()
    local order = {}
    local s
    s = asking(function(request)
      order[#order + 1] = request.path
      if request.path == "/outer" then
        local inner = helper.client { url = s:url("/inner"), reconnect = false }
        inner:open()
        order[#order + 1] = "opened"
      end
    end)
    helper.client { url = s:url("/outer"), reconnect = false }:open()
    assert.same({ "/outer", "/inner", "opened" }, order)
  end)

  it("request:answer wants a request", function()
    local answer_of
    local s = asking(function(request) answer_of = request.answer end)
    s:pair()
    raises("table expected", answer_of)
    raises("table expected", answer_of, 5)
    assert.is_false(answer_of({}, true))
  end)
end)
