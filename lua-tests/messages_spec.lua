-- Messages of all sizes and kinds with two other implementations, with and without compression.
-- Runs on every version of Lua.

local helper = require "helper"
local raises, unhex = helper.raises, helper.unhex

-- Every byte once, and text with every length of UTF-8 at its limits.
local bytes = {}
for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
local all_bytes = table.concat(bytes)
local characters = {
  "\0", "a", "\127", "é", "€", "😀",
  -- U+80, U+7FF, U+800, U+D7FF, U+E000, U+FFFF, U+10000, U+10FFFF
  unhex("C280"), unhex("DFBF"), unhex("E0A080"), unhex("ED9FBF"), unhex("EE8080"), unhex("EFBFBF"), unhex("F0908080"),
  unhex("F48FBFBF"),
}
local not_utf8 = {
  ["a lone byte"] = unhex("FF"), ["a lone continuation"] = unhex("80"), ["an overlong NUL"] = unhex("C080"),
  ["an overlong slash"] = unhex("E080AF"), ["a surrogate"] = unhex("EDA080"), ["beyond Unicode"] = unhex("F4908080"),
  ["cut short"] = unhex("E282"), ["Latin-1"] = "caf\233 au lait", ["wrong far behind"] = ("a"):rep(100000) .. "\255",
}

local sizes = { 0, 1, 125, 126, 65535, 65536, 16 * 2^20 }
local lasts = 16 * 2^20

--- Text of `size` bytes that is made fast and does not compress well.
local function message(size)
  if size == lasts then return (all_bytes:sub(1, 128)):rep(size / 128) end
  local list = {}
  for i = 1, size do list[i] = string.char(32 + (i * i + math.floor(i / 7)) % 95) end
  return table.concat(list)
end
local messages = {}
for i, size in ipairs(sizes) do messages[i] = message(size) end

for _, kind in ipairs { "python", "node" } do
  for _, deflate in ipairs { false, true } do
    describe("with the " .. kind .. " peer" .. (deflate and ", compressed," or ""), function()
      local server, c

      local function connect(path) c = helper.client({ url = server:url(path), deflate = deflate }):open() end
      local function echo() connect("/echo") end

      lazy_setup(function() server = helper.serve(kind) end)
      lazy_teardown(helper.stop_servers)
      after_each(helper.close_clients)

      it("the connection is compressed exactly if the script asked for it", function()
        echo()
        if deflate then
          assert.truthy(c.ws.extensions:find("permessage%-deflate"))
        else
          assert.equal("", c.ws.extensions)
        end
      end)

      for i, size in ipairs(sizes) do
        it(("a text and a binary of %d bytes come back as they were sent"):format(size), function()
          echo()
          c.ws:sendText(messages[i])
          c.ws:sendBinary(messages[i])
          local text, binary = c:get("TEXT"), c:get("BINARY")
          assert.equal(size, #text.data)
          assert.is_true(text.data == messages[i])
          assert.is_true(binary.data == messages[i])
          assert.equal("", text.err)
          assert.is_nil(text.info)
          assert.equal("OPEN TEXT BINARY", c:list())
        end)
      end

      it("text has characters of every UTF-8 length", function()
        echo()
        for _, character in ipairs(characters) do c.ws:sendText(character) end
        c.ws:sendText(table.unpack(characters))
        for i, character in ipairs(characters) do assert.equal(character, c:get("TEXT", i).data) end
        assert.equal(table.concat(characters), c:get("TEXT", #characters + 1).data)
      end)

      it("binary has all bytes", function()
        echo()
        c.ws:sendBinary(all_bytes)
        c.ws:sendBinary(table.unpack(bytes))
        assert.equal(all_bytes, c:get("BINARY", 1).data)
        assert.equal(all_bytes, c:get("BINARY", 2).data)
      end)

      it("text that is not UTF-8 raises and nothing is sent; the connection stays open", function()
        echo()
        for what, text in pairs(not_utf8) do
          local err = raises("WebSocket failed to send text: ", function() c.ws:sendText("good ", text) end)
          assert.truthy(err:find("UTF-8", 1, true), what)
        end
        raises("UTF-8", function() c.ws:sendText(unhex("E2"), unhex("82")) end)
        c.ws:sendText("still here")
        assert.equal("still here", c:get("TEXT").data)
        assert.equal("OPEN TEXT", c:list())
      end)

      it("a character may be split between two arguments", function()
        echo()
        c.ws:sendText(unhex("E2"), unhex("82"), unhex("AC"), unhex("F09F"), "", unhex("9880"))
        assert.equal("€😀", c:get("TEXT").data)
      end)

      it("any number of arguments is joined", function()
        echo()
        local parts = {}
        for i = 1, 200 do parts[i] = i % 3 == 0 and i or "<" .. i .. ">" end
        for _, count in ipairs { 0, 1, 2, 15, 16, 17, 100, 200 } do
          c.ws:sendText(table.unpack(parts, 1, count))
          c.ws:sendBinary(table.unpack(parts, 1, count))
        end
        for i, count in ipairs { 0, 1, 2, 15, 16, 17, 100, 200 } do
          local joined = table.concat(parts, "", 1, count)
          assert.equal(joined, c:get("TEXT", i).data)
          assert.equal(joined, c:get("BINARY", i).data)
        end
      end)

      it("10000 messages arrive in order", function()
        connect("/flood?count=10000")
        c:get("OPEN")
        helper.wait(function() return c:count("TEXT") > 10000 end, "the messages")
        local n = 0
        for _, event in ipairs(c.events) do
          if event.type == "TEXT" and event.data ~= "end" then
            n = n + 1
            if event.data ~= tostring(n) then error(event.data .. " instead of " .. n) end
          end
        end
        assert.equal(10000, n)
      end)

      it("10000 messages are sent in order", function()
        connect("/count")
        for i = 1, 10000 do c.ws:sendText(i) end
        c.ws:sendText("end")
        assert.equal("10000 in order", c:get("TEXT").data)
      end)

      it("messages larger than the socket's buffer, sent between polls, arrive whole and in order", function()
        connect("/count")
        local padding = ("."):rep(2^20)
        for i = 1, 40 do
          c.ws:sendText(i, padding)
          c.ws:sendText("")
          helper.websocket.poll()
        end
        c.ws:sendText("end")
        assert.equal("40 in order", c:get("TEXT").data)
      end)

      it("10000 messages go both ways, between polls", function()
        echo()
        for i = 1, 10000 do
          c.ws:sendText(i)
          if i % 100 == 0 then helper.websocket.poll() end
        end
        helper.wait(function() return c:count("TEXT") == 10000 end, "the messages")
        for i = 1, 10000 do
          if c.events[i + 1].data ~= tostring(i) then error(c.events[i + 1].data .. " instead of " .. i) end
        end
      end)

      for _, name in ipairs { "text", "binary" } do
        it("a fragmented " .. name .. " gives an event for each fragment, then the whole message", function()
          connect("/fragments?type=" .. name)
          assert.equal("abcdéf", c:get(name:upper()).data)
          local received = {}
          for _, event in ipairs(c.events) do
            if event.type == "FRAGMENT" then
              assert.equal("", event.data)
              assert.equal("", event.err)
              assert.equal("integer", math.type(event.info.received))
              received[#received + 1] = event.info.received
            end
          end
          -- The Python peer ends with an empty frame. With compression, bytes may belong to a later fragment.
          local last = kind == "python" and 3 or 2
          assert.equal(last, #received)
          if deflate then
            for i = 2, last do assert.is_true(received[i - 1] <= received[i] and received[i] <= 7) end
          else
            assert.same({ 3, 6, kind == "python" and 7 or nil }, received)
          end
          assert.equal("OPEN " .. ("FRAGMENT "):rep(last) .. name:upper(), c:list())
        end)
      end

      it("a ping is answered with its payload, of 0 to 125 bytes", function()
        echo()
        local longest = all_bytes:sub(1, 125)
        c.ws:sendPing()
        c.ws:sendPing("abc", 12)
        c.ws:sendPing(longest)
        assert.equal("", c:get("PONG", 1).data)
        assert.equal("abc12", c:get("PONG", 2).data)
        assert.equal(longest, c:get("PONG", 3).data)
        assert.equal("", c:get("PONG").err)
      end)

      it("a ping of 126 bytes raises; the connection stays open", function()
        echo()
        raises("WebSocket failed to send ping: ", function() c.ws:sendPing(("a"):rep(126)) end)
        raises("WebSocket failed to send ping: ", function() c.ws:sendPing(("a"):rep(63), ("b"):rep(63)) end)
        c.ws:sendText("still here")
        assert.equal("still here", c:get("TEXT").data)
        assert.equal("OPEN TEXT", c:list())
      end)

      it("a ping of the server is answered, then delivered", function()
        connect("/ping?payload=p%20q")
        assert.equal("answered p q", c:get("TEXT").data)
        assert.equal("p q", c:get("PING").data)
        assert.equal("", c:get("PING").err)
        assert.equal("OPEN PING TEXT", c:list())
      end)

      it("an unsolicited pong is delivered", function()
        connect("/pong?payload=news")
        assert.equal("news", c:get("PONG").data)
      end)
    end)
  end
end

describe("compression", function()
  local server
  lazy_setup(function() server = helper.serve("python") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  for name, options in pairs {
    ["without taking the client's context over"] = { clienttakeover = false },
    ["without taking the server's context over"] = { servertakeover = false },
    ["with the smallest windows"] = { clientwindow = 9, serverwindow = 9 },
    ["at level 0"] = { level = 0 },
    ["at level 9 for everything"] = { level = 9, threshold = 0 },
    ["for nothing"] = { threshold = 2^30 },
  } do
    it("works " .. name, function()
      local c = helper.client({ url = server:url("/echo"), deflate = options }):open()
      local text = ("all work and no play "):rep(5000)
      for _ = 1, 3 do
        c.ws:sendText(text)
        c.ws:sendText("")
        c.ws:sendText("short")
      end
      for i = 1, 9, 3 do
        assert.is_true(c:get("TEXT", i).data == text)
        assert.equal("", c:get("TEXT", i + 1).data)
        assert.equal("short", c:get("TEXT", i + 2).data)
      end
    end)
  end
end)

describe("compression: a server that", function()
  local raw
  local hello, again = "c107f248cdc9c90700", "c105f200110000" -- compressed; the second refers to the first
  lazy_setup(function() raw = helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  local function open(extensions, hex, options)
    local header = helper.escape("Sec-WebSocket-Extensions: " .. extensions)
    return helper.client {
      url = raw:url("/frames?header=%s&hex=%s", header, hex), deflate = options or true, reconnect = false,
    }:open()
  end

  -- Answers as Mojolicious, Tornado and nats-server give them
  for extensions, second in pairs {
    ["permessage-deflate"] = again,
    ["permessage-deflate; server_max_window_bits=10"] = again,
    ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"] = hello,
  } do
    it("accepts only some of the offered parameters is connected to: " .. extensions, function()
      local c = open(extensions, hello .. second, { serverwindow = 10, servertakeover = false })
      assert.equal("Hello", c:get("TEXT", 2).data)
      assert.equal(extensions, c.ws.extensions)
    end)
  end

  it("compresses an empty message to no byte is understood, and its next message too", function()
    local c = open("permessage-deflate", "c100" .. hello .. "41008000" .. again)
    for i, text in ipairs { "", "Hello", "", "Hello" } do assert.equal(text, c:get("TEXT", i).data) end
  end)
end)

describe("frames split in unusual places", function()
  local server
  lazy_setup(function() server = helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  it("byte by byte make the same messages", function()
    local c = helper.client { url = server:url("/drip"), reconnect = false }
    assert.equal(1000, c:get("CLOSE").info.code)
    assert.equal("drop by drop ✓", c:get("TEXT").data)
    assert.equal(("\0"):rep(130), c:get("BINARY").data)
    assert.equal("OPEN TEXT BINARY CLOSE", c:list())
  end)

  it("right behind the handshake's response are not lost", function()
    local c = helper.client { url = server:url("/together"), reconnect = false }
    assert.equal(4001, c:get("CLOSE").info.code)
    assert.equal("OPEN TEXT TEXT CLOSE", c:list())
    assert.equal("first", c:get("TEXT", 1).data)
  end)

  it("with pings inside a fragmented message keep their order", function()
    -- "ab", ping "p", "cd", pong "q", "ef"
    local hex = "01026162" .. "890170" .. "00026364" .. "8a0171" .. "80026566"
    local c = helper.client { url = server:url("/frames?hex=%s", hex), reconnect = false }
    assert.equal("abcdef", c:get("TEXT").data)
    assert.equal("OPEN FRAGMENT PING FRAGMENT PONG TEXT", c:list())
    assert.equal(4, c:get("FRAGMENT", 2).info.received)
  end)
end)
