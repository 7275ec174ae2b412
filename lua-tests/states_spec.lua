-- Eight threads, each with its own server and its own Lua state, which is made anew time and again: states begin and
-- end while others connect, talk and wait. A message comes back once, to the state that sent it.
-- WEBSOCKET_STATES is the number of seconds that this takes.
-- Runs on every version of Lua.

local helper = require "helper"

describe("eight threads", function()
  local host, urls, raw = nil, {}, nil
  lazy_setup(function()
    host, raw = helper.host("states"), helper.serve("raw")
    for i = 1, 8 do urls[i] = helper.serve("own"):url("/echo") end
  end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  it("make and close Lua states while connections open and other states poll", function()
    if not host then return pending("needs cc and Lua's headers") end
    local output, code = helper.finish(helper.start(host, tonumber(os.getenv("WEBSOCKET_STATES") or 3),
      helper.write_script([[
      local websocket = require "websocket"
      local types = websocket.WebSocketMessageType
      local count, name = 0, thread .. "." .. round .. "."

      --- A websocket with an onreceive that checks each answer; `options.answered(n)` is called for the n-th.
      local function client(options)
        local got, ws = 0, nil
        local answered = options.answered
        options.answered = nil
        options.url = options.url or url
        function options.onreceive(type, data, err)
          if type == types.ERROR then error(err) end
          if type == types.OPEN then answered(0, ws) end
          if type ~= types.TEXT then return end
          got = got + 1
          if data ~= name .. got then error(data .. " instead of " .. name .. got) end
          count = count + 1
          answered(got, ws)
        end
        ws = websocket.WebSocket(options)
        ws:connect()
        return ws
      end

      --- For `answered`: sends five messages, the next after each answer; then closes.
      local function talk(got, ws)
        if got == 5 then ws:close() else ws:sendText(name, got + 1) end
      end

      local function check(data, expected)
        if data ~= expected then error(tostring(data) .. " instead of " .. expected) end
        count = count + 1
      end

      --- For coroutines and for the thread itself.
      local function receive(key)
        local ws = websocket.WebSocket { url = url }
        ws:connect()
        assert(ws:waitopen(30))
        for i = 1, 5 do
          ws:sendText(key, i)
          check(ws:receive(30), key .. i)
        end
        ws:close()
        assert(select(2, ws:receive(30)) == "closed")
      end

      local ways = {
        function() -- poll
          local ws = client { answered = talk, deflate = true }
          repeat websocket.poll(30) until ws.closecode == 1000
        end,
        function() -- run
          client { answered = talk }
          assert(websocket.run(30))
        end,
        function() -- a loop of the host
          local ws = client { answered = talk, debug = function() end }
          local fd = websocket.fd()
          repeat
            wait(fd, 30)
            websocket.poll(0)
          until ws.closecode == 1000
        end,
        function() receive(name) end,
        function() -- websocket.yield
          local until_when, over = {}, 0
          websocket.yield = function(_, seconds) coroutine.yield(seconds) end
          local threads = {}
          for i = 1, 3 do
            threads[i] = coroutine.create(function()
              receive(name .. i .. ".")
              over = over + 1
            end)
          end
          while over < 3 do
            local shortest = 30
            for _, co in ipairs(threads) do
              if coroutine.status(co) == "suspended" then
                local ok, seconds = coroutine.resume(co)
                if not ok then error(seconds) end
                shortest = math.min(shortest, seconds or 0)
              end
            end
            wait(websocket.fd(), shortest)
          end
        end,
        function() -- timers
          local ws = client { answered = function(got, socket)
            websocket.after(0.001, function() talk(got, socket) end)
          end }
          websocket.after(1000, error)
          repeat websocket.poll(30) until ws.closecode == 1000
        end,
        function() -- onattempt
          local asked
          client { url = "ws://127.0.0.1:1", answered = talk, onattempt = function()
            asked = true
            return { url = url }
          end }
          assert(websocket.run(30) and asked)
        end,
        -- These leave everything open to the end of the state.
        function() -- connecting, to servers of each kind; not even polled
          for _, other in ipairs { url, elsewhere .. "/silence", "ws://127.0.0.1:1", "ws://localhost:1", url } do
            websocket.WebSocket { url = other }:connect()
          end
          if round % 2 == 0 then websocket.poll(0.002) end
        end,
        function() -- open, with messages that are not sent yet, and others that are not delivered
          local ws = client { answered = function() end, maxbuffered = 2 ^ 30 }
          repeat websocket.poll(30) until ws.state == "open"
          ws:sendBinary(("x"):rep(1000000))
          for i = 1, 100 do ws:sendText(i) end
        end,
        function() -- waiting for the next attempt, with a question, a timer and a descriptor
          local ws = websocket.WebSocket { url = "ws://127.0.0.1:1", minreconnectwait = 60, maxreconnectwait = 60 }
          ws:connect()
          websocket.WebSocket { url = url, onattempt = function() end }:connect()
          websocket.after(1000, error)
          websocket.fd()
          for _ = 1, 100 do
            if ws.state == "waiting" then break end
            websocket.poll(0.01)
          end
        end,
        function() -- closing, then dropped
          local ws = client { answered = function(_, socket) socket:close() end }
          repeat websocket.poll(30) until ws.state ~= "connecting"
          ws = nil
          collectgarbage()
        end,
      }
      ways[(thread + round) % #ways + 1]()
      return count
    ]]), raw:url(""), table.unpack(urls)))
    assert.equal(0, code, output)
    local states, messages = output:match("^(%d+) (%d+)\n$")
    assert.truthy(states, output)
    -- 45 messages in each 11 states, but for the last states of a thread.
    states, messages = tonumber(states), tonumber(messages)
    assert.is_true(states > 8 and math.abs(messages - states * 45 / 11) < 8 * 45, output)
  end)
end)
