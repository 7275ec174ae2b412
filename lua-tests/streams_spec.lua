-- Streams: messages that arrive faster than the script takes them, and sends faster than the socket takes them.
local helper = require "helper"
local websocket = helper.websocket
local TEXT, OPEN = helper.types.TEXT, helper.types.OPEN

describe("streams:", function()
  local server
  lazy_setup(function() server = helper.serve("raw") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.close_clients)

  -- Not helper.client: recording all events would take most of the time.
  local function counter(url, maxqueued)
    local last, ordered, opened = 0, true, false
    local c = helper.client {
      url = url, maxqueued = maxqueued,
      onreceive = function(type, data)
        if type == OPEN then opened = true end
        if type ~= TEXT then return end
        local n = tonumber(data)
        if n ~= last + 1 then ordered = false end
        last = n
      end,
    }
    helper.wait(function() return opened end, "OPEN")
    return c.ws, function() return last, ordered end, function() last = 0 end
  end

  it("many small messages arrive in order, repeatedly, followed by an answer", function()
    local ws, seen, again = counter(server:url("/burst"))
    for _, count in ipairs { 100000, 1, 30000, 200000, 1 } do
      again()
      ws:sendText("burst ", count)
      helper.wait(function() return seen() == count end, count .. " texts")
      assert.is_true(select(2, seen()), "lost or out of order")
    end
  end)

  it("messages that arrive while the script computes are delivered, with pauses at maxqueued", function()
    local ws, seen = counter(server:url("/burst"), 1 << 20)
    ws:sendText("burst 300000")
    websocket.poll(helper.TIMEOUT)
    local busy = helper.now() + 0.2
    repeat until helper.now() > busy
    helper.wait(function() return seen() == 300000 end, "all texts")
    assert.is_true(select(2, seen()), "lost or out of order")
  end)

  it("a burst is written to its last byte while the script does not poll", function()
    local ws = counter(server:url("/burst"))
    for i = 1, 20000 do ws:sendText(i) end
    local deadline = helper.now() + helper.TIMEOUT
    repeat until ws.bufferedamount == 0 or helper.now() > deadline
    assert.equal(0, ws.bufferedamount)
  end)

  it("bursts are echoed in order", function()
    local ws, seen = counter(server:url("/burst"))
    local sent = 0
    for _ = 1, 20 do
      for _ = 1, 500 do
        sent = sent + 1
        ws:sendText(sent)
      end
      websocket.poll(0)
    end
    helper.wait(function() return seen() == sent end, "all answers")
    assert.is_true(select(2, seen()), "lost or out of order")
  end)
end)
