-- websocket.broadcastText and broadcastBinary: one message for each websocket of a list.
-- Runs on every version of Lua.

local helper = require "helper"
local own = require "own_server"
local websocket, raises = helper.websocket, helper.raises

describe("broadcast", function()
  after_each(own.clean_up)

  --- A server with n clients; each option table of `more` makes a client, too.
  local function room(n, options, more)
    options = options or {}
    options.echo = false
    local s = own.listen(options)
    local clients = {}
    for i = 1, n do clients[i] = s:pair(more and more[i]) end
    return s, clients
  end

  it("sends the joined arguments to each websocket, and returns their number and nil", function()
    local s, clients = room(5)
    local n, left_out = websocket.broadcastText(s.accepted, "a", 1, "ö")
    assert.same({ 5 }, { n, left_out })
    assert.equal(2, select("#", websocket.broadcastBinary(s.accepted, "\0", "\255")))
    for _, c in ipairs(clients) do
      assert.equal("a1ö", c:get("TEXT").data)
      assert.equal("\0\255", c:get("BINARY").data)
    end
  end)

  it("of nothing is an empty message; to an empty list, nothing", function()
    local s, clients = room(2)
    assert.equal(2, (websocket.broadcastText(s.accepted)))
    assert.equal(2, (websocket.broadcastText(s.accepted, "")))
    assert.equal("", clients[1]:get("TEXT").data)
    assert.equal("", clients[2]:get("TEXT", 2).data)
    local n, left_out = websocket.broadcastText({}, "x")
    assert.equal(0, n)
    assert.is_nil(left_out)
  end)

  it("keeps the order with other messages", function()
    local s, clients = room(2)
    s.accepted[1]:sendText("before")
    websocket.broadcastText(s.accepted, "all")
    s.accepted[1]:sendText("after")
    websocket.broadcastText({ s.accepted[1], s.accepted[1] }, "twice")
    clients[1]:get("TEXT", 5)
    local got = {}
    for _, event in ipairs(clients[1].events) do got[#got + 1] = event.data end
    assert.same({ "", "before", "all", "after", "twice", "twice" }, got)
    assert.equal("all", clients[2]:get("TEXT").data)
  end)

  it("leaves out websockets that are not open, in the order of the list", function()
    local s, clients = room(4)
    local unused = websocket.WebSocket { url = s:url() }
    clients[2]:close()
    s:get("CLOSE")
    s.accepted[4]:close()
    local list = { unused, s.accepted[1], s.accepted[2], s.accepted[3], s.accepted[4] }
    local n, left_out = websocket.broadcastText(list, "x")
    assert.equal(2, n)
    assert.equal(3, #left_out)
    assert.equal(unused, left_out[1])
    assert.equal(list[3], left_out[2])
    assert.equal(list[5], left_out[3])
    assert.equal("x", clients[1]:get("TEXT").data)
    assert.equal("x", clients[3]:get("TEXT").data)
  end)

  it("leaves out those whose maxbuffered would be exceeded, and their connections go on", function()
    local s, clients = room(2, { maxbuffered = 2 ^ 16 })
    local n, left_out = websocket.broadcastBinary(s.accepted, ("x"):rep(2 ^ 16 + 1))
    assert.equal(0, n)
    assert.equal(2, #left_out)
    assert.equal(2, (websocket.broadcastText(s.accepted, "small")))
    for _, c in ipairs(clients) do assert.equal("small", c:get("TEXT").data) end
  end)

  it("to clients: each masks its own frame", function()
    local s, clients = room(3, {}, { {}, { deflate = true }, {} })
    local list = { clients[1].ws, clients[2].ws, clients[3].ws, s.accepted[1] }
    local text = ("all work and no play "):rep(50)
    assert.equal(4, (websocket.broadcastText(list, text)))
    for i = 1, 3 do assert.equal(text, s:get("TEXT", i).data) end
    assert.equal(text, clients[1]:get("TEXT").data)
  end)

  it("large messages", function()
    local s, clients = room(3, { maxbuffered = 2 ^ 25 })
    local message = ("0123456789abcdef"):rep(2 ^ 18)
    assert.equal(3, (websocket.broadcastBinary(s.accepted, message)))
    for _, c in ipairs(clients) do assert.is_true(c:get("BINARY").data == message) end
  end)

  it("with compression: each kind of agreement gets the message, again and again", function()
    local agreements = {
      { deflate = false }, { deflate = true }, { deflate = { servertakeover = false } },
      { deflate = { servertakeover = false, serverwindow = 9 } }, { deflate = { servertakeover = false } },
    }
    local s, clients = room(5, { deflate = true }, agreements)
    for i = 1, 20 do
      local text = ("%d all work and no play "):format(i):rep(30)
      -- Between two broadcasts one of them has messages of its own.
      s.accepted[1 + i % 5]:sendText(text)
      assert.equal(5, (websocket.broadcastText(s.accepted, text)))
      assert.equal(5, (websocket.broadcastBinary(s.accepted, "short")))
    end
    for i, c in ipairs(clients) do
      c:get("BINARY", 20)
      for _, event in ipairs(c.events) do
        if event.type == "TEXT" then assert.truthy(event.data:find("all work", 1, true), i) end
      end
      assert.equal(24, c:count("TEXT"))
    end
  end)

  it("a compressed frame is the same for those without takeover, and small", function()
    local s = own.listen { deflate = true, echo = false }
    local request = own.request { ["Sec-WebSocket-Extensions"] = "permessage-deflate; server_no_context_takeover" }
    local processes, names = {}, {}
    for i = 1, 2 do
      names[i] = helper.file()
      -- Closes once it has the message: the Close waits in the socket until then.
      processes[i] = helper.start(helper.python, helper.folder .. "/servers/asker.py", s.server.port,
        helper.write_file(helper.hex(request)), names[i])
    end
    s:get("OPEN", 2)
    for _ = 1, 2 do assert.equal(2, (websocket.broadcastText(s.accepted, ("a"):rep(1000)))) end
    s.server:close()
    helper.wait(function() return processes[1]:ended() and processes[2]:ended() end, "the ends")
    local frames = {}
    for i = 1, 2 do
      processes[i]:stop()
      frames[i] = helper.read_file(names[i]):match("\r\n\r\n(.*)$")
    end
    assert.equal(frames[1], frames[2])
    local length = frames[1]:byte(2)
    assert.is_true(length < 30, length)
    -- Both messages are whole: none refers to an earlier one. Then the Close with 1001.
    assert.equal(frames[1]:sub(1, length + 2), frames[1]:sub(length + 3, 2 * length + 4))
    assert.equal("\193", frames[1]:sub(1, 1))
    assert.equal("\136\2\3\233", frames[1]:sub(2 * length + 5))
  end)

  it("text that is not UTF-8 raises, and nobody gets it", function()
    local s, clients = room(2)
    raises("WebSocket failed to send text: the text is not UTF-8", websocket.broadcastText, s.accepted, "\255")
    raises("UTF-8", websocket.broadcastText, s.accepted, "ok", "\195")
    assert.equal(2, (websocket.broadcastText(s.accepted, "\195", "\164")))
    assert.equal("OPEN", clients[1]:list())
    assert.equal("ä", clients[1]:get("TEXT").data)
  end)

  it("wrong arguments raise, and nobody gets the message", function()
    local s, clients = room(1)
    raises("table expected", websocket.broadcastText)
    raises("table expected", websocket.broadcastText, s.accepted[1], "x")
    raises("string expected", websocket.broadcastText, s.accepted, {})
    raises("string expected", websocket.broadcastText, s.accepted, "x", nil)
    raises("string expected", websocket.broadcastBinary, s.accepted, true)
    for _, value in ipairs { 5, "x", {}, io.stdout, s.server } do
      raises("WebSocket expected at index 2 of the list", websocket.broadcastText, { s.accepted[1], value }, "x")
    end
    websocket.broadcastText(s.accepted, "last")
    assert.equal("last", clients[1]:get("TEXT").data)
  end)

  it("from a callback, to a room that changes", function()
    local members = {}
    local s
    s = own.listen { echo = false, onreceive = function(kind, data, _, _, ws)
      if kind == helper.types.OPEN then members[#members + 1] = ws end
      if kind == helper.types.TEXT then websocket.broadcastText(members, data) end
      if kind == helper.types.CLOSE then
        for i = #members, 1, -1 do if members[i] == ws then table.remove(members, i) end end
      end
    end }
    local a, b, c = s:pair(), s:pair(), s:pair()
    a.ws:sendText("hello")
    for _, client in ipairs { a, b, c } do assert.equal("hello", client:get("TEXT").data) end
    b:close()
    s:get("CLOSE")
    c.ws:sendText("bye")
    assert.equal("bye", a:get("TEXT", 2).data)
    assert.equal("bye", c:get("TEXT", 2).data)
    assert.equal(2, #members)
  end)
end)
