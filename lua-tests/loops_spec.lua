-- The examples for event loops in docs/api.md, with luv and cqueues, where a version of Lua has them.
-- Runs on every version of Lua.

local helper = require "helper"

describe("the example in docs/api.md for", function()
  local server
  lazy_setup(function() server = helper.serve("own") end)
  lazy_teardown(helper.stop_servers)
  after_each(helper.remove_files)

  local file = assert(io.open(helper.folder .. "/../docs/api.md"))
  local chapter = assert(file:read("a"):match("\n## Event loops\n(.*)"))
  file:close()

  --- A test of the example that contains `words`; `script` has it in the place of EXAMPLE, and prints `expected`.
  local function example(name, words, script, expected)
    local code
    for block in chapter:gmatch("```lua\n(.-)```") do
      if block:find(words, 1, true) then code = block end
    end
    local command = ("%s -e 'require %q' 2>/dev/null"):format(helper.lua, name)
    local it_runs = os.execute(command) and it or pending
    it_runs(name, function()
      local output, status = helper.script(script:gsub("EXAMPLE", function() return code end), server:url("/echo"))
      assert.equal(expected, output)
      assert.equal(0, status)
    end)
  end

  example("luv", "uv.new_poll", [[
    local uv, websocket = require "luv", require "websocket"
    local types = websocket.WebSocketMessageType
    local ws
    ws = websocket.WebSocket { url = ..., onreceive = function(type, data)
      if type == types.OPEN then ws:sendText("one") end
      if type == types.TEXT then
        print(data)
        ws:close()
      end
      if type == types.CLOSE then
        print("closed")
        websocket.after(0.01, function()
          print("timer")
          uv.stop()
        end)
      end
    end }
    ws:connect()
    EXAMPLE
    uv.run()
    print(watcher ~= nil)
  ]], "one\nclosed\ntimer\ntrue\n")

  example("cqueues", "cqueues.poll", [[
    local cqueues, websocket = require "cqueues", require "websocket"
    local url = ...
    EXAMPLE
    local loop, turns = cqueues.new(), {}
    local first = websocket.WebSocket { url = url }
    local function exchange(ws, name)
      for i = 1, 100 do
        ws:sendText(name, i)
        assert(ws:receive(10) == name .. i)
        turns[#turns + 1] = name
      end
      ws:close()
      assert(select(2, ws:receive(10)) == "closed")
    end
    loop:wrap(function()
      first:connect()
      -- The other client sends this when it has done all its work.
      assert(first:receive(10) == "go")
      exchange(first, "a")
    end)
    loop:wrap(function()
      local ws = websocket.WebSocket { url = url }
      ws:connect()
      assert(ws:waitopen(10))
      exchange(ws, "b")
      assert(first:waitopen(10))
      first:sendText("go")
    end)
    assert(loop:loop())
    print(#turns, turns[1], turns[200])
  ]], "200\tb\ta\n")
end)
