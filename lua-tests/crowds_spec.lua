-- Crowds of hostile clients, and slow ones, at a server of websocket.listen in a process of its own: its memory and
-- processor time, and what another client notices.

local helper = require "helper"
local raw = require "raw_clients"

describe("a server among", function()
  local server
  after_each(function()
    helper.close_clients()
    if server then server:stop() end
    server = nil
    helper.remove_files()
  end)

  --- Connects a correct client.
  local function client(options)
    options = options or {}
    options.url = server:url()
    options.reconnect = false
    return helper.client(options):open()
  end

  --- Seconds of the slowest of 20 echoes.
  local function slowest_echo(one)
    local slowest = 0
    for i = 1, 20 do
      local n = one:count("TEXT") + 1
      local from = helper.now()
      one.ws:sendText(tostring(i))
      one:get("TEXT", n)
      slowest = math.max(slowest, helper.now() - from)
    end
    return slowest
  end

  --- Waits for a line of a process, and returns it.
  local function line(process) return process.pipe:read("l") end

  it("thousands of connections that say nothing: they get 408 after connecttimeout, and the memory is back", function()
    server = raw.serve "{connecttimeout = 2, maxconnections = 1e6}"
    local one = client()
    local before = server:memory()
    local count = math.min(10000, helper.output("ulimit -Hn", "n") - 100)
    local crowd = raw.start(server.port, "say_nothing", count)
    assert.equal("open " .. count, line(crowd))
    assert.is_true(slowest_echo(one) < 2 * helper.slowness)
    local closed = line(crowd)
    helper.finish(crowd)
    local seconds, words = closed:match("^closed (%S+) (.*)")
    assert.equal("HTTP/1.1 408 Request Timeout", words)
    assert.is_true(tonumber(seconds) < 8 * helper.slowness, seconds)
    helper.wait(function() return server:descriptors() < 50 end, "the descriptors")
    assert.is_true(server:memory() - before < 60, server:memory() - before .. " MiB")
    assert.is_true(slowest_echo(one) < 2 * helper.slowness)
  end)

  it("thousands of connections that are reset, before and behind their request", function()
    server = raw.serve "{connecttimeout = 5}"
    local one = client()
    local request = raw.request()
    for _, beginning in ipairs { "", request:sub(1, 50), request, request .. raw.frame(0x81, "hi") } do
      assert.equal("done\n", raw.run(server.port, "reset", 500, helper.hex(beginning)))
    end
    assert.is_true(slowest_echo(one) < 2 * helper.slowness)
    helper.wait(function() return server:descriptors() < 50 end, "the descriptors")
    local used = server:processor_time()
    helper.wait(function() return server:processor_time() - used < 0.3 end, "rest")
  end)

  for _, kind in ipairs { "request", "tls" } do
    it("slow ones: a byte at a time of the " .. kind .. " is no progress", function()
      local tls = ""
      if kind == "tls" then
        assert(os.execute(helper.folder .. "/certificates.sh " .. helper.certificates))
        tls = (", tls = {cert = '%s/good.pem', key = '%s/good.key'}"):format(helper.certificates, helper.certificates)
      end
      server = raw.serve("{connecttimeout = 0.5" .. tls .. "}")
      local seconds, words = raw.run(server.port, "drip", kind):match("begun\n(%S+) ([^\n]*)")
      assert.is_true(tonumber(seconds) < 2 * helper.slowness, seconds)
      if kind == "request" then assert.equal("HTTP/1.1 408 Request Timeout", words) end
    end)
  end

  it("slow ones: a byte at a time of a frame holds no more than its connection", function()
    server = raw.serve "{connecttimeout = 0.5, closetimeout = 0.5, pinginterval = 0.5, pongtimeout = 0.5}"
    local slow = raw.start(server.port, "drip", "frame")
    assert.equal("begun", line(slow))
    assert.is_true(slowest_echo(client()) < 1 * helper.slowness)
    slow:stop()
  end)

  it("HTTP at the port with TLS, and other bytes: closed at once", function()
    assert(os.execute(helper.folder .. "/certificates.sh " .. helper.certificates))
    server = raw.serve(("{tls = {cert = '%s/good.pem', key = '%s/good.key'}}"):format(
      helper.certificates, helper.certificates))
    local record = "\22\3\1\255\255" .. ("x"):rep(70000)
    local answers = raw.ask(server.port, { { raw.request() }, { ("\0"):rep(1000) }, { record } })
    for _, answer in ipairs(answers) do
      -- At most an alert of TLS, or a reset.
      assert.is_nil(answer:find("HTTP", 1, true))
      assert.is_nil(answer:find("!open", 1, true))
    end
  end)

  for _, kind in ipairs { "pings", "fragments", "messages" } do
    it("floods of " .. kind .. ": another client's echoes, and bounded memory", function()
      server = raw.serve "{closetimeout = 0.5}"
      local one = client()
      local before = server:memory()
      local flood = raw.start(server.port, "flood", kind, 1)
      assert.equal("begun", line(flood))
      assert.is_true(slowest_echo(one) < 1 * helper.slowness)
      helper.finish(flood)
      assert.is_true(server:memory() - before < 30, server:memory() - before .. " MiB")
    end)
  end

  it("clients that read nothing: a send raises at maxbuffered, and another client's echoes go on", function()
    server = raw.serve "{maxbuffered = 1000000, closetimeout = 0.5}"
    local one = client()
    local before = server:memory()
    local deaf = {}
    for i = 1, 5 do
      deaf[i] = raw.start(server.port, "read_nothing")
      assert.equal("open", line(deaf[i]))
      assert.truthy(line(server.process):find("maxbuffered (1000000)", 1, true))
    end
    assert.is_true(slowest_echo(one) < 1 * helper.slowness)
    assert.is_true(server:memory() - before < 30, server:memory() - before .. " MiB")
    for _, one_deaf in ipairs(deaf) do one_deaf:stop("KILL") end
    helper.wait(function() return server:descriptors() < 20 end, "the descriptors")
  end)

  it("deflate bombs: 1009 before the message is larger than maxmessagesize", function()
    server = raw.serve "{deflate = true, maxmessagesize = 1000000, closetimeout = 0.5}"
    local one = client()
    local before = server:memory()
    local used = server:processor_time()
    local answer = helper.unhex(raw.run(server.port, "bomb", 512 * 1048576):sub(1, -2))
    assert.equal(1009, answer:byte(3) * 256 + answer:byte(4))
    assert.is_true(server:processor_time() - used < 1 * helper.slowness)
    assert.is_true(server:memory() - before < 20, server:memory() - before .. " MiB")
    assert.is_true(slowest_echo(one) < 1 * helper.slowness)
  end)

  it("more connections than descriptors: open ones go on without a spin, and later it accepts again", function()
    server = raw.serve("{connecttimeout = 3}", 64)
    local one = client()
    local crowd = raw.start(server.port, "say_nothing", 200)
    assert.equal("open 200", line(crowd))
    helper.wait(function() return server:descriptors() >= 62 end, "no descriptor")
    local used = server:processor_time()
    local from = helper.now()
    local slowest = slowest_echo(one)
    assert.is_true(slowest < 1 * helper.slowness)
    while helper.now() - from < 1 do helper.websocket.poll(0.1) end
    assert.is_true(server:processor_time() - used < 0.3 * helper.slowness, server:processor_time() - used .. " s")
    crowd:stop("KILL")
    slowest_echo(client())
    helper.wait(function() return server:descriptors() < 20 end, "the descriptors")
  end)
end)
