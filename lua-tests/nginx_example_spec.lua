-- examples/hosts/nginx, as docs/guide.md starts it, with our server as the peer. nginx is Debian's; its Lua module and
-- LuaJIT are in build/nginx-lua.

local helper = require "helper"
local hosts = require "host_examples"

describe("examples/hosts/nginx", function()
  before_each(hosts.reset)
  after_each(hosts.reset)

  local files = { "examples/hosts/nginx/nginx.conf", "examples/hosts/nginx/backend.lua" }
  local unpacked = hosts.here .. "/build/nginx-lua/usr"
  local port, late

  --- Starts a server that answers a question with "QUESTION!"; "wait" and "close" are special. Then starts nginx;
  --- `changes` are functions of the server's URL.
  local function start(tls, ca, changes)
    late = {}
    local url = hosts.listen(tls, nil, function(ws, data)
      local number, question = data:match("^(%d* ?)(.*)$")
      if question == "close" then
        ws:close(1001)
      elseif question == "wait" then
        late[#late + 1] = function() ws:sendText(number, "at last") end
      else
        ws:sendText(number, question, "!")
      end
    end)
    port = helper.free_port()
    local all = {
      ["ws://127.0.0.1:9000"] = url,
      ["127.0.0.1:8080"] = "127.0.0.1:" .. port,
      ["/usr/lib/nginx"] = unpacked .. "/lib/nginx",
      ["/usr/local/lib/lua/5.1"] = hosts.here .. "/build/lua-jit",
      ["?.lua;;"] = ("?.lua;%s/share/lua/5.1/?.lua;;"):format(unpacked),
    }
    for word, replacement in pairs(changes or {}) do all[word] = replacement(url) end
    hosts.copy(files, all)
    local libraries = helper.output(("find %s/.. -name 'lib*.so.?' -printf %%h:"):format(unpacked))
    hosts.start(port, "LD_LIBRARY_PATH=%s SSL_CERT_FILE='%s' %s", libraries, ca or "", hosts.command("nginx"))
  end

  local function ask(question) return hosts.request(port, "-d", question) end

  --- Asks while other questions wait.
  local function talk()
    local waiting = {}
    for i = 1, 4 do waiting[i] = hosts.begin(port, "-d", "wait") end
    helper.wait(function() return #late == 4 end, "the questions")
    for i = 1, 10 do assert.same({ 200, i .. "!" }, { ask(i) }) end
    for _, send in ipairs(late) do send() end
    for i = 1, 4 do assert.same({ 200, "at last" }, { hosts.answer(waiting[i]) }) end
  end

  local it_runs, each = hosts.tests(it, pending, "build/nginx-lua", "build/lua-jit/websocket.so")

  each("asks a server for each request", function(tls, ca)
    start(tls, ca)
    helper.wait(function() return hosts.opened == 2 end, "both workers")
    talk()
    -- The connection ends before the answer, and comes again.
    assert.equal(502, (ask("close")))
    helper.wait(function() return hosts.opened == 3 end, "a worker to connect again")
    -- New workers, new Lua states.
    hosts.process:signal("HUP")
    helper.wait(function() return hosts.opened == 5 and #hosts.codes == 3 end, "new workers, and the end of the old")
    assert.same({ 200, "again!" }, { ask("again") })
    hosts.stop("QUIT")
  end)

  it_runs("can have a websocket for each request", function()
    local yield = hosts.chapter:match("set `(websocket%.yield = [^`]+)`")
    start(nil, nil, {
      ['require "backend".start("ws://127.0.0.1:9000/")'] = function()
        return 'local websocket = require "websocket" ' .. yield
      end,
      ['require "backend".ask(ngx.req.get_body_data() or "", 5)'] = function(url)
        return ([[(function()
          local ws = require "websocket".WebSocket{url = %q, reconnect = false}
          ws:connect()
          local ok, reason = ws:waitopen(5)
          if not ok then return nil, reason end
          ws:sendText(ngx.req.get_body_data())
          local answer, err = ws:receive(5)
          ws:close(1001)
          return answer, err
        end)()]]):format(url)
      end,
    })
    talk()
    assert.equal(502, (ask("close")))
    assert.equal(15, hosts.opened)
    hosts.stop("QUIT")
  end)

  it_runs("closes in its workers, not in the master, a websocket that was made before the fork", function()
    start(nil, nil, {
      ['require "backend" }'] = function(url)
        return ([[
          require "backend"
          master = require "websocket".WebSocket{url = %q, reconnect = false}
          master:connect()
          assert(master:waitopen(5))
        }]]):format(url .. "/master")
      end,
      ["ngx.say(answer)"] = function() return 'ngx.say(answer, " ", master.state)' end,
    })
    helper.wait(function() return hosts.opened == 3 end, "the master and its workers")
    for i = 1, 10 do assert.same({ 200, i .. "! closed" }, { ask(i) }) end
    -- Another worker takes the place of a dead one.
    local worker = helper.output(("ps -o pid= --ppid %d"):format(hosts.process.pid), "n")
    assert(os.execute("kill -KILL " .. worker))
    helper.wait(function() return hosts.opened == 4 end, "another worker")
    assert.same({ 200, "again! closed" }, { ask("again") })
    local master
    for _, ws in ipairs(hosts.clients) do
      if ws.request.path == "/master" then master = ws end
    end
    assert.equal("open", master.state)
    hosts.stop("QUIT", 0, 1)
  end)
end)
