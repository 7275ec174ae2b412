-- A warm connection allocates nothing for a message but the Lua string itself. Counted by allocations.c, which replaces
-- malloc.
-- Runs on every version of Lua.

local helper = require "helper"

local is_sanitized = os.getenv("WEBSOCKET_CC") ~= nil

describe("allocations on a warm connection:", function()
  local raw, peer, library
  lazy_setup(function()
    raw, peer = helper.serve("raw"), helper.serve("own")
    library = os.tmpname()
    assert(os.execute(("cc -shared -fPIC -O1 %s -o %s %s/allocations.c"):format(
      helper.headers, library, helper.folder)))
  end)
  lazy_teardown(function()
    helper.stop_servers()
    os.remove(library)
  end)
  after_each(helper.remove_files)

  -- Runs a script in which `count()` returns malloc's calls and the bytes held, and `url` is the server. Returns its
  -- output.
  local function run(text, url)
    local script = helper.write_script([[
      local websocket = require "websocket"
      local library, url = ...
      local count = package.loadlib(library, "luaopen_allocations")()
    ]] .. text)
    local output, code = helper.finish(helper.start(
      "env LD_PRELOAD=" .. library .. " " .. helper.lua, script, library, url))
    assert.equal(0, code, output)
    return output
  end

  -- Runs `round` 90 times and returns the average number of allocations of the last 50, rounded down: a buffer may
  -- still grow when more bytes arrive at once than ever before.
  local function allocations(url, round)
    return tonumber(run(([[
      local got, kept = 0, {}
      local ws = websocket.WebSocket { url = url, onreceive = function(type, data)
        if type ~= websocket.WebSocketMessageType.TEXT then return end
        got = got + 1
        -- Lua interns short strings. Keeping each one means that it is not allocated again in the next round.
        if #data < 40 then kept[data] = true end
      end }
      ws:connect()
      repeat websocket.poll(1) until ws.state == "open"
      local large = ("x"):rep(50000)
      local function await(number)
        while got < number do websocket.poll(1) end
        got = got - number
      end
      local function round() %s end
      for _ = 1, 20 do round() end
      -- A garbage collection would free memory that Lua then allocates again.
      collectgarbage()
      collectgarbage "stop"
      for _ = 1, 20 do round() end
      local before = count()
      for _ = 1, 50 do round() end
      print(math.floor((count() - before) / 50))
      os.exit(true, false)
    ]]):format(round), url))
  end

  it("none for short messages received", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    assert.equal(0, allocations(raw:url("/burst"), "ws:sendText 'burst 1000' await(1000)"))
  end)

  it("none for short messages sent and received", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    assert.equal(0, allocations(raw:url("/burst"), "for i = 1, 200 do ws:sendText 'to and fro' end await(200)"))
  end)

  it("none for round trips", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    assert.equal(0, allocations(raw:url("/burst"), "for i = 1, 20 do ws:sendText 'to and fro' await(1) end"))
  end)

  it("one for each large message received: the Lua string", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    local count = allocations(peer:url("/echo"), "for i = 1, 2 do ws:sendText(large) end await(2)")
    -- Before 5.3, the bytes are copied once more (ws_push_bytes).
    local most = (helper.version == "5.1" or helper.version == "5.2" or helper.version == "jit") and 4 or 2
    assert.is_true(count <= most, count)
  end)

  it("a failed allocation of the module's, of 1 KiB or more, at any place, is an error and not the end", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    local script = [[
      local refuse = package.loadlib(library, "luaopen_large_refusals")()
      local types = websocket.WebSocketMessageType
      local text = ("0123456789"):rep(1000)
      local server, ws, failure
      local got, errors = 0, 0
      refuse(%d)
      local function try(f, ...)
        local ok, result = pcall(f, ...)
        if ok then return result or true end
        errors, failure = errors + 1, result
      end
      -- A message that can't be sent would be waited for.
      local function echo(type, data, _, _, client)
        if type == types.TEXT and not try(client.sendText, client, data) then client:close() end
      end
      repeat server = try(websocket.listen, { address = "127.0.0.1:0", deflate = true, onreceive = echo }) until server
      local function make()
        return websocket.WebSocket { url = "ws://" .. server.address, deflate = true, maxreconnectwait = 0.01,
          onreceive = function(type, data, err)
            local is_sent = type ~= types.OPEN or try(ws.sendText, ws, text) and try(ws.sendText, ws, "end")
            if not is_sent then ws:close() end
            if type == types.TEXT and data == text then got = got + 1 end
            if type == types.ERROR then errors, failure = errors + 1, err end
            if type == types.TEXT and data == "end" then ws:close() end
          end }
      end
      -- These commands wait for the loop together.
      for _ = 1, 4 do
        local other = { url = "ws://" .. server.address, onreceive = function() end }
        try(function() websocket.WebSocket(other):connect() end)
      end
      for _ = 1, 5 do
        repeat ws = try(make) until ws
        repeat until try(ws.connect, ws)
        repeat try(websocket.poll, 0.1) until ws.state == "closed"
        if got > 0 then break end
      end
      print(refuse(0), got, errors, failure)
      os.exit(true, false)
    ]]
    local n, refused = 0, 0
    repeat
      n = n + 1
      local left, got, errors = run(script:format(n), ""):match "^(%d+)%s+(%d+)%s+(%d+)"
      -- The script gets its message in the end.
      assert.is_true(tonumber(got) > 0, n)
      if tonumber(errors) > 0 then refused = refused + 1 end
    until tonumber(left) > 0
    -- Two of them are the engine's own buffers; those of zlib are more.
    assert.is_true(n > 10 and refused >= 2, n .. " allocations, " .. refused .. " errors")
  end)

  it("a failed allocation for the files of tls is an error", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    assert(os.execute(("%s/certificates.sh '%s'"):format(helper.folder, helper.certificates)))
    local folder = helper.certificates .. "/"
    local function padded(name)
      return helper.write_file(helper.read_file(folder .. name) .. ("# a comment\n"):rep(50000))
    end
    local script = ([[
      local refuse = package.loadlib(library, "luaopen_large_refusals")()
      local types = websocket.WebSocketMessageType
      local errors = 0
      local server, ws, is_open
      refuse(%%d, 500000)
      repeat
        local ok, result = pcall(websocket.listen, {
          address = "127.0.0.1:0", tls = { cert = %q, key = %q }, onreceive = function() end })
        if ok then server = result else errors = errors + 1 end
      until server
      ws = websocket.WebSocket {
        url = "wss://localhost:" .. server.address:match "%%%%d+$", tls = { ca = %q }, maxreconnectwait = 0.01,
        onreceive = function(type)
          if type == types.OPEN then is_open = true end
          if type == types.ERROR then errors = errors + 1 end
        end }
      ws:connect()
      repeat websocket.poll(1) until is_open
      print(refuse(0), errors)
      os.exit(true, false)
    ]]):format(padded "good.pem", padded "good.key", padded "ca.pem")
    local n = 0
    repeat
      n = n + 1
      local left, errors = run(script:format(n), ""):match "^(%d+)%s+(%d+)"
      assert.equal(left == "0" and 1 or 0, tonumber(errors), n)
    until left ~= "0"
    -- One for each of the three files.
    assert.is_true(n > 3, n)
  end)

  it("a failed allocation of OpenSSL's, of 1 KiB or more, does not end the attempts", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    assert(os.execute(("%s/certificates.sh '%s'"):format(helper.folder, helper.certificates)))
    local folder = helper.certificates .. "/"
    local script = ([[
      local refuse = package.loadlib(library, "luaopen_large_refusals")()
      local types = websocket.WebSocketMessageType
      local server = websocket.listen {
        address = "127.0.0.1:0", tls = { cert = %q, key = %q }, onreceive = function() end,
      }
      local errors = {}
      local function connect(ca)
        local is_open, is_over
        local ws = websocket.WebSocket {
          url = "wss://localhost:" .. server.port, tls = { ca = ca }, maxreconnectwait = 0.01,
          onreceive = function(type, _, err, info)
            if type == types.OPEN then is_open, is_over = true, true end
            if type == types.ERROR then
              errors[#errors + 1] = err
              is_over = not info.retryin
            end
          end }
        ws:connect()
        repeat websocket.poll(1) until is_over
        return is_open
      end
      -- First without a refusal: OpenSSL loads its algorithms once, and one that it could not load is missing for ever.
      connect(%q)
      refuse(%%d, 1024)
      -- The same certificates are a CA of its own, which is read now.
      local is_open = connect(%q)
      print(refuse(0), is_open, #errors, errors[#errors])
      os.exit(true, false)
    ]]):format(folder .. "good.pem", folder .. "good.key", folder .. "ca.pem",
      helper.write_file(helper.read_file(folder .. "ca.pem")))
    local n, refused = 0, 0
    repeat
      n = n + 1
      local left, is_open, errors, reason = run(script:format(n), ""):match "^(%d+)%s+(%S+)%s+(%d+)%s*([^\n]*)"
      assert.equal("true", is_open, n .. ": " .. reason)
      if tonumber(errors) > 0 then refused = refused + 1 end
    until left ~= "0"
    assert.is_true(n > 10 and refused >= 2, n .. " allocations, " .. refused .. " errors")
  end)

  -- LuaJIT does not allocate with realloc.
  local refusals = helper.version ~= "jit" and it or function() end
  refusals("a failed allocation of Lua's, at any place, raises an error; no message is lost or repeated", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    local output = run([[
      local refuse = package.loadlib(library, "luaopen_refusals")()
      local TEXT = websocket.WebSocketMessageType.TEXT
      local large = ("x"):rep(1000)
      local rounds, errors, last, wrong = 0, 0, 0, nil

      -- Allocates nothing, not even for a call. Once this has been called, the message counts as delivered.
      local expected = { "1", "2", "3", "4", "5" }
      local function receive(type, data)
        if type ~= TEXT then return end
        last = last + 1
        if data ~= expected[last] then wrong = data end
      end

      -- Whether Lua's own metatable for string buffers is half made (docs/workarounds.md, "Lua").
      local function is_odd()
        local box = debug.getregistry()["_UBOX*"]
        return box and not rawget(box, "__close")
      end

      -- One refused allocation causes one error. When the stack can't grow, luaL_checkstack says "stack overflow".
      local function check(ok, err)
        if ok or is_odd() and err:find("non-closable value", 1, true) then return end
        errors = errors + 1
        if errors > 1 or err ~= "not enough memory" and not err:find("stack overflow$") then error(err, 0) end
      end

      -- A table that is there already: reading it is the module's part.
      local answers = { url = url, headers = { ["X-A"] = "b" }, protocols = {} }
      local function answer() return answers end

      local ws
      local function exchange()
        ws = websocket.WebSocket { url = url, onreceive = receive, onattempt = answer }
        ws:connect()
        repeat check(pcall(websocket.poll, 1)) until ws.state == "open"
        check(pcall(table.concat, { large, large }))
        local ok, err
        repeat
          ok, err = pcall(ws.sendText, ws, "burst ", 5)
          check(ok, err)
        until ok
        repeat check(pcall(websocket.poll, 1)) until last >= 5
      end

      repeat
        rounds, errors, last = rounds + 1, 0, 0
        -- Makes Lua create this metatable again, so that each round allocates as often as the first.
        debug.getregistry()["_UBOX*"] = nil
        collectgarbage()
        local co = coroutine.create(exchange)
        refuse(rounds)
        check(coroutine.resume(co))
        if ws then
          local ok, err = pcall(ws.close, ws)
          check(ok, err)
          if not ok then ws:close() end
          ws = nil
        end
        local is_over = refuse(0)
        if is_odd() then
          local _, err = pcall(table.concat, { large, large })
          assert(err:find("non-closable value", 1, true), err)
        end
        assert(websocket.run(10))
        assert(not wrong, wrong)
      until is_over
      print(rounds)
      os.exit(true, false)
    ]], raw:url("/burst"))
    assert.is_true(tonumber(output) > 20, output)
  end)

  it("the memory of large messages is freed once no more arrive", function()
    if is_sanitized then return pending("a sanitizer has a malloc of its own") end
    local output = run([[
      local got = 0
      local ws = websocket.WebSocket { url = url, reconnect = false, onreceive = function(type)
        if type == websocket.WebSocketMessageType.TEXT then got = got + 1 end
      end }
      local function held()
        collectgarbage()
        return select(2, count())
      end
      local function compute(seconds, done)
        local stop = os.clock() + seconds
        repeat until done and done() or os.clock() > stop
      end
      ws:connect()
      repeat websocket.poll(1) until ws.state == "open"
      local before = held()
      -- The engine receives all messages while the script computes, for longer than the engine keeps
      -- the memory of delivered messages.
      compute(1.5)
      local most = held() - before
      repeat websocket.poll(1) until got == 16 -- with "end"
      compute(10, function() return held() < before + 1e6 end)
      print(most, held() - before)
      os.exit(true, false)
    ]], peer:url("/flood?count=15&size=1000000"))
    local most, left = output:match("^(%d+)%s(-?%d+)")
    assert.is_true(tonumber(most) > 10e6, output)
    assert.is_true(tonumber(left) < 1e6, output)
  end)
end)
