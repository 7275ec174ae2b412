-- Wrong requests and frames to a server of websocket.listen: what the client gets, and which events come.

local helper = require "helper"
local raw = require "raw_clients"
local websocket = helper.websocket

-- The names of the events of each path.
local events, server, answers = {}, nil, {}
local cases = {}
local names = {}
for name, number in pairs(helper.types) do names[number] = name end

--- A case that gets `expected`: the status, or for frames the close code; `came`: the events on the server.
local function case(name, expected, parts, came)
  if type(parts) == "string" then parts = { parts } end
  cases[#cases + 1] = { name = name, expected = expected, parts = parts, came = came }
end

local request = raw.request
local function with(more) return request(nil, more) end

-- Requests

case("a correct one, and a Close", 101, { request(), raw.frame(0x88) }, "OPEN CLOSE")
case("POST", 400, request(nil, nil, "POST / HTTP/1.1"))
case("get, in lower case", 400, request(nil, nil, "get / HTTP/1.1"))
case("CONNECT", 400, request(nil, nil, "CONNECT localhost:80 HTTP/1.1"))
case("the target *", 400, request(nil, nil, "GET * HTTP/1.1"))
case("a target that is no path", 400, request(nil, nil, "GET x HTTP/1.1"))
case("two spaces in the request line", 400, request(nil, nil, "GET  / HTTP/1.1"))
case("a tab in the request line", 400, request(nil, nil, "GET\t/ HTTP/1.1"))
case("a space behind the version", 400, request(nil, nil, "GET / HTTP/1.1 "))
case("no version", 400, "GET /\r\n\r\n")
case("HTTP/1.0", 505, request(nil, nil, "GET / HTTP/1.0"))
case("HTTP/1.2", 505, request(nil, nil, "GET / HTTP/1.2"))
case("http/1.1, in lower case", 400, request(nil, nil, "GET / http/1.1"))
case("the preface of HTTP/2", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
case("a ClientHello of TLS", 400, "\22\3\1\2\0\1\0\1\252\3\3" .. ("x"):rep(500))
case("SSH", 400, "SSH-2.0-OpenSSH_9.2\r\n")
case("SOCKS5", 400, "\5\1\0")
case("no Host", 400, request { Host = false })
case("two Hosts", 400, with "Host: localhost\r\n")
case("a Host that is none", 400, request { Host = "a b" })
case("a Host with a user", 400, request { Host = "user@localhost" })
case("no Upgrade", 426, request { Upgrade = false })
case("Upgrade: h2c", 426, request { Upgrade = "h2c" })
case("no Connection", 400, request { Connection = false })
case("Connection: keep-alive", 400, request { Connection = "keep-alive" })
case("no Sec-WebSocket-Version", 426, request { ["Sec-WebSocket-Version"] = false })
case("version 8", 426, request { ["Sec-WebSocket-Version"] = "8" })
case("two versions", 400, with "Sec-WebSocket-Version: 8\r\n")
case("no key", 400, request { ["Sec-WebSocket-Key"] = false })
case("an empty key", 400, request { ["Sec-WebSocket-Key"] = "" })
case("a key of 15 bytes", 400, request { ["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAA" })
case("a key that is not Base64", 400, request { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZ*==" })
case("two keys", 400, with "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
case("malformed extensions", 400, with "Sec-WebSocket-Extensions: a=;\r\n")
case("a malformed subprotocol", 400, with "Sec-WebSocket-Protocol: a b\r\n")
case("lines that end with LF", 400, (request():gsub("\r\n", "\n")))
case("one line that ends with LF", 400, with "A: b\n")
case("a CR in a value", 400, with "A: b\rc\r\n")
case("a NUL in a value", 400, with "A: b\0c\r\n")
case("a folded line", 400, with "A: b\r\n c\r\n")
case("white space before the first field", 400, "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n")
case("a space before a colon", 400, with "A : b\r\n")
case("a line without a colon", 400, with "A\r\n")
case("an empty name", 400, with ": b\r\n")
-- Requests for a page, which are well-formed but for the length of their body: otherwise they would get 426.
local function page(more) return request({ Upgrade = false }, more) end
case("Content-Length and Transfer-Encoding", 400,
  page "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" .. "0\r\n\r\n")
case("two Content-Lengths", 400, page "Content-Length: 0\r\nContent-Length: 0\r\n")
case("Content-Length: +0", 400, page "Content-Length: +0\r\n")
case("Content-Length: 0, 0", 400, page "Content-Length: 0, 0\r\n")
case("a body with a length", 400, with "Content-Length: 5\r\n" .. "hello")
case("a body in chunks", 400, with "Transfer-Encoding: chunked\r\n" .. "0\r\n\r\n")
case("Transfer-Encoding: gzip, chunked", 400, page "Transfer-Encoding: gzip, chunked\r\n")
case("Transfer-Encoding with HTTP/1.0", 400, request(nil, "Transfer-Encoding: chunked\r\n", "GET / HTTP/1.0"))
case("a field of 70 KB", 431, with("A: " .. ("b"):rep(70000) .. "\r\n"))
case("fields without end", 431, { "GET / HTTP/1.1\r\n" .. ("A: b\r\n"):rep(10000) })
case("a header line without end", 431, { "GET / HTTP/1.1\r\nA: ", ("b"):rep(200000) })
case("a request line without end", 414, { "GET /", ("b"):rep(200000) })
case("pipelined requests for pages", 426, ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(100))
case("the Origin of another website", 403, with "Origin: http://example.com\r\n")
case("the Origin null", 403, with "Origin: null\r\n")
case("the Origin of another port", 403, with "Origin: http://localhost:8080\r\n")
case("an Origin that begins as the Host", 403, with "Origin: http://localhost.example.com\r\n")
case("an Origin that ends as the Host", 403, with "Origin: http://evillocalhost\r\n")
case("an Origin with a user", 403, with "Origin: http://localhost@example.com\r\n")
case("two Origins", 400, with "Origin: http://localhost\r\nOrigin: http://example.com\r\n")
case("an empty Origin", 403, with "Origin: \r\n")
case("its own Origin", 101, { with "Origin: http://localhost\r\n", raw.frame(0x88) }, "OPEN CLOSE")

-- Frames

local function frames(name, code, bytes, came) case(name, -code, request() .. bytes, came or "OPEN ERROR CLOSE") end

frames("a text that is not masked", 1002, "\x81\x02hi")
frames("a Close that is not masked", 1002, "\x88\x00")
frames("a ping that is not masked", 1002, "\x89\x00")
frames("another request behind the first", 1002, request())
for bit, name in pairs { [0x40] = "RSV1", [0x20] = "RSV2", [0x10] = "RSV3" } do
  frames(name, 1002, raw.frame(0x81 + bit, "hi"))
end
for _, opcode in ipairs { 3, 7, 11, 15 } do frames("the opcode " .. opcode, 1002, raw.frame(0x80 + opcode)) end
frames("a ping in fragments", 1002, raw.frame(0x09, "hi"))
frames("a ping of 126 bytes", 1002, raw.frame(0x89, ("x"):rep(126)))
frames("a continuation of nothing", 1002, raw.frame(0x80, "x"))
frames("a text within a text", 1002, raw.frame(0x01, "a") .. raw.frame(0x81, "b"), "OPEN FRAGMENT ERROR CLOSE")
frames("a Close of one byte", 1002, raw.frame(0x88, "x"))
for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 2999, 5000 } do
  frames("a Close with " .. code, 1002, raw.frame(0x88, string.char(math.floor(code / 256), code % 256)))
end
frames("a text that is not UTF-8", 1007, raw.frame(0x81, "\xFF"))
frames("a text that is cut in a character", 1007, raw.frame(0x81, "\xC3"))
frames("a reason that is not UTF-8", 1007, raw.frame(0x88, "\x03\xE8\xFF"))
frames("a length with the highest bit", 1002, "\x82\xFF\x80\0\0\0\0\0\0\0\0\0\0\0")
frames("a length of 2^63 - 1", 1009, "\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0")
frames("a length that is not the shortest form", 1002, "\x82\xFE\x00\x05\0\0\0\0hello")
frames("fragments that are larger than maxmessagesize together", 1009,
  raw.frame(0x02, ("x"):rep(60000)) .. raw.frame(0x00, ("x"):rep(60000)), "OPEN FRAGMENT ERROR CLOSE")

--- The close code of the server's Close frame, which is the last one.
local function close_code(answer)
  local body = answer:match("\r\n\r\n(.*)")
  local high, low = body:match("\x88[\2-\125](.)(.)")
  return high and high:byte() * 256 + low:byte()
end

describe("hostile clients: the server gets", function()
  lazy_setup(function()
    server = websocket.listen {
      address = "127.0.0.1:0",
      maxmessagesize = 100000,
      onrequest = function(asked)
        asked.number = asked.headers["x-case"]
      end,
      onreceive = function(kind, _, _, _, ws)
        local number = ws.request.number or "another"
        events[number] = (events[number] and events[number] .. " " or "") .. names[kind]
      end,
    }
    local parts = {}
    for i, one in ipairs(cases) do
      -- The number is in the first part, behind the first line of a whole request.
      local first = one.parts[1]:gsub("^(GET /[^\r]*\r\nHost: [^\r]*\r\n)", "%1X-Case: " .. i .. "\r\n", 1)
      parts[i] = { first, table.unpack(one.parts, 2) }
    end
    answers = raw.ask(server.port, parts)
    helper.wait(function() return server.connections == 0 end, "the end of the connections")
  end)
  lazy_teardown(function()
    server:close()
    helper.remove_files()
  end)

  for i, one in ipairs(cases) do
    it(one.name .. ": " .. math.abs(one.expected), function()
      local answer = answers[i]
      local status = tonumber(answer:match("^HTTP/1.1 (%d+)"))
      assert.falsy(answer:find("!", 1, true) and answer:match("!%a+$"), answer)
      if one.expected < 0 then
        assert.equal(101, status)
        assert.equal(-one.expected, close_code(answer))
      else
        assert.equal(one.expected, status)
        assert.truthy(answer:find("^HTTP/1.1 %d+ %a"))
        -- One response, which says why.
        assert.equal(1, select(2, answer:gsub("HTTP/1.1 %d%d%d", "")))
        if status ~= 101 then
          local length, body = answer:match("Content%-Length: (%d+)\r\n.*\r\n\r\n(.*)$")
          assert.equal(tonumber(length), #body)
          assert.truthy(#body > 0 or one.parts[1]:find("^HEAD"))
        end
        if status == 426 then assert.truthy(answer:find("Sec-WebSocket-Version: 13\r\n", 1, true)) end
      end
      assert.equal(one.came, events[tostring(i)])
    end)
  end

  it("nothing that hurts others: a correct client still gets its answer", function()
    local client = helper.client(("ws://127.0.0.1:%d/"):format(server.port)):open()
    assert.equal(1000, client:close().info.code)
  end)
end)
