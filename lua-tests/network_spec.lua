-- Networks that lose packets, have unreachable addresses, change, or do not resolve a name. Each test is a script in
-- its own network namespace (unshare), which ends with the script.

local helper = require "helper"

-- In each network 10.9.0.1 and 2001:db8::1 are this machine; other addresses of 192.0.2.0/24 and 2001:db8::/64 never
-- answer. Names are those of `hosts`; the name server never answers either.
local setup = [[
  set -e
  PATH=$PATH:/usr/sbin:/sbin
  mount --bind "$1" /etc/hosts
  mount --bind "$2" /etc/resolv.conf
  mount --bind "$3" /etc/nsswitch.conf
  sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0 2>/dev/null || true
  ip link set lo up
  ip addr add 10.9.0.1/32 dev lo
  ip link add hole type veth peer name end
  ip link set hole arp off up
  ip link set end up
  ip addr add 192.0.2.1/24 dev hole
  ip addr add 2001:db8::1/64 dev hole nodad
  shift 3
  exec "$@"
]]
local hosts = [[
127.0.0.1 localhost
2001:db8::7 second.test
10.9.0.1 second.test only.test
2001:db8::7 hole.test
192.0.2.7 hole.test
2001:db8::8 hole.test
2001:db8::1 both.test six.test
10.9.0.1 both.test
203.0.113.1 six.test
2001:db8::1 half.test
192.0.2.7 half.test
]]
local prelude = ([[
  package.path = %q .. "/?.lua;" .. package.path
  local assert, helper = require "luassert", require "helper"
  local websocket = helper.websocket
  local from = helper.now()
  local function passed() return helper.now() - from end
  local function sh(command) assert(os.execute(command), command) end
  -- Number of connections in the state SYN-SENT.
  local function tries()
    local pipe <close> = assert(io.popen "ss -Htn state syn-sent")
    return select(2, pipe:read("a"):gsub("\n", ""))
  end
  -- The command that drops packets to and from this port: all of them, or every `one_of`-th.
  local function filter(port, one_of)
    local which = one_of and "numgen inc mod " .. one_of .. " 0 " or ""
    local rules = "add table inet t; add chain inet t c { type filter hook input priority 0; };"
    for _, side in ipairs { "sport", "dport" } do
      rules = rules .. ("add rule inet t c tcp %%s %%d %%s drop;"):format(side, port, which)
    end
    return "nft '" .. rules .. "'"
  end
  local function lose(...) sh(filter(...)) end
  local function heal() sh "nft delete table inet t" end
  local _ = { websocket, passed, tries, lose, heal }
  local ok, err = xpcall(function() ]]):format(helper.folder)
local postlude = [[ end, function(err) return type(err) == "string" and debug.traceback(err) or tostring(err) end)
  if not ok then io.write(err) end
  io.stdout:flush()
  helper.remove_files()
  os.exit(ok, false)
]]

describe("in its own network:", function()
  after_each(helper.remove_files)

  local as_whom = ""
  local function start(...)
    local files = {}
    for i, text in ipairs { hosts, "nameserver 192.0.2.53\noptions timeout:30", "hosts: files dns" } do
      files[i] = helper.write_file(text .. "\n")
    end
    return helper.start(
      "env RESOLV_MULTI=on unshare --net --mount --pid --fork --kill-child --mount-proc " .. as_whom .. " sh",
      "-c", setup, "sh", files[1], files[2], files[3], ...)
  end

  local obstacle, filters
  lazy_setup(function()
    for _, option in ipairs { "", "--map-root-user" } do
      as_whom = option
      local output, code = helper.finish(start("true"))
      obstacle = code ~= 0 and "this machine allows no network of one's own: " .. output
      if not obstacle then break end
    end
    filters = select(2, helper.finish(start("nft", "list", "ruleset"))) == 0
    helper.remove_files()
  end)

  --- Declares a test whose body is a script.
  local function inside(name, text, filtering)
    it(name, function()
      if obstacle then return pending(obstacle) end
      if filtering and not filters then return pending("this machine can't filter packets with nft") end
      local output, code = helper.finish(start(helper.lua, helper.write_script(prelude .. text .. postlude)))
      local reason = output:match("^pending: (.*)")
      if reason then return pending(reason) end
      assert.equal("", output)
      assert.equal(0, code)
    end)
  end

  local function losing(name, text) inside(name, text, true) end

  describe("several addresses", function()
    inside("a first one that never answers costs a quarter of a second, and is closed", [[
      local server = helper.serve("raw", nil, "10.9.0.1")
      local c
      helper.within(0.45, function()
        from = helper.now()
        c = helper.client(("ws://second.test:%d/burst"):format(server.port)):open()
        assert(passed() >= 0.23, passed())
        assert.equal("10.9.0.1:" .. server.port, c.ws.address)
        assert.equal(0, tries())
      end)
      c.ws:sendText "here"
      assert.equal("here", c:get("TEXT").data)
      assert.equal("OPEN TEXT", c:list())
    ]])

    inside("a first one that refuses costs nothing", [[
      local server = helper.serve("raw", nil, "10.9.0.1")
      helper.within(0.2, function() helper.client(("ws://both.test:%d/burst"):format(server.port)):open() end)
    ]])

    inside("are tried a quarter of a second apart, the families in turns, until there is no more", [[
      helper.within(0.7, function()
        from = helper.now()
        local c, took = helper.client "ws://hole.test/", nil
        helper.wait(function()
          local count = tries()
          took = passed()
          -- A busy machine may start an attempt late, but never early.
          assert(count <= 1 + took // 0.24, count .. " after " .. took)
          return count == 3
        end, "three attempts")
        c.ws:close()
        helper.wait(function() return tries() == 0 end, "the end of them")
        assert.equal("", c:list())
        return took
      end)
    ]])

    inside("that all fail are all named", [[
      local c = helper.client { url = "ws://both.test:9/", reconnect = false }
      local event = c:get "ERROR"
      assert.equal("connect", event.info.kind)
      for _, words in ipairs { "[2001:db8::1]:9", "10.9.0.1:9", "refused" } do
        assert(event.err:find(words, 1, true), event.err)
      end
    ]])

    inside("that never answer are named after connecttimeout, beside those that failed", [[
      for name, addresses in pairs {
        ["hole.test"] = { "[2001:db8::7]:9", "192.0.2.7:9", "[2001:db8::8]:9" },
        ["half.test"] = { "[2001:db8::1]:9", "192.0.2.7:9" },
      } do
        from = helper.now()
        -- The third address is tried after 0.5 s.
        local c = helper.client { url = "ws://" .. name .. ":9/", connecttimeout = 2, reconnect = false }
        local event = c:get "ERROR"
        assert(passed() >= 1.98, passed())
        assert.equal("timeout", event.info.kind)
        assert(event.err:find("connecttimeout", 1, true), event.err)
        assert.equal(0, tries())
        for _, address in ipairs(addresses) do assert(event.err:find(address, 1, true), event.err) end
      end
    ]])

    inside("of a proxy that never answer are named after connecttimeout, as the proxy's", [[
      local c = helper.client {
        url = "ws://only.test/", proxy = "http://me:s3cret@192.0.2.7:1", connecttimeout = 0.3, reconnect = false,
      }
      local event = c:get "ERROR"
      assert(event.err:find("proxy", 1, true), event.err)
      assert(event.err:find("192.0.2.7:1", 1, true), event.err)
      assert.is_nil(event.err:find("s3cret", 1, true))
    ]])

    inside("of which all fail, and then do not any more, are tried on", [[
      local server = helper.serve("raw", nil, "10.9.0.1")
      local url = ("ws://both.test:%d/beats"):format(server.port)
      local c = helper.client { url = url, maxreconnectwait = 0.1, pinginterval = 0.1, pongtimeout = 1 }:open()
      sh "ip addr del 10.9.0.1/32 dev lo"
      sh "ip -6 addr flush dev hole"
      assert.equal("timeout", c:get("ERROR").info.kind)
      assert.equal(1006, c:get("CLOSE").info.code)
      local event = c:get("ERROR", 3)
      assert.equal("connect", event.info.kind)
      assert(event.err:find("unreachable", 1, true), event.err)
      sh "ip addr add 10.9.0.1/32 dev lo"
      c:get("OPEN", 2)
      assert.equal(2, c:count "OPEN")
    ]])
  end)

  describe("IPv6 only", function()
    local flush = [[
      sh "ip -4 addr flush dev lo && ip -4 addr flush dev hole"
    ]]

    inside("a name that has both", flush .. [[
      local server = helper.serve("raw", nil, "2001:db8::1")
      helper.within(0.2, function()
        local c = helper.client(("ws://six.test:%d/burst"):format(server.port)):open()
        assert.equal("[2001:db8::1]:" .. server.port, c.ws.address)
      end)
    ]])

    inside("an address", flush .. [[
      local server = helper.serve("raw", nil, "2001:db8::1")
      local c = helper.client(("ws://[2001:db8::1]:%d/burst"):format(server.port)):open()
      c.ws:sendText "six"
      assert.equal("six", c:get("TEXT").data)
    ]])

    inside("localhost", flush .. [[
      local server = helper.serve("raw", nil, "::1")
      helper.within(0.2, function() helper.client(("ws://localhost:%d/burst"):format(server.port)):open() end)
    ]])

    inside("an IPv4 address is an ERROR without a wait for connecttimeout", flush .. [[
      local c = helper.client { url = "ws://10.9.0.1:9/", reconnect = false, connecttimeout = math.huge }
      local event = c:get "ERROR"
      assert.equal("connect", event.info.kind)
      assert(event.err:find("10.9.0.1:9", 1, true), event.err)
    ]])
  end)

  describe("localaddress", function()
    inside("is tried again until this machine has it", [[
      local server = helper.serve("raw", nil, "10.9.0.1")
      local url = ("ws://10.9.0.1:%d/burst"):format(server.port)
      local c = helper.client { url = url, localaddress = "10.9.0.2", maxreconnectwait = 0.05 }
      local event = c:get("ERROR", 2)
      assert.equal("connect", event.info.kind)
      assert(event.err:find("localaddress 10.9.0.2", 1, true), event.err)
      sh "ip addr add 10.9.0.2/32 dev lo"
      c:open()
      sh(("ss -Htn state established src 10.9.0.2 dst 10.9.0.1:%d | grep -q ."):format(server.port))
    ]])

    inside("of a link has a zone", [[
      sh "ip addr add fe80::1/64 dev lo nodad && ip addr add 2001:db8:1::1/128 dev lo nodad"
      local server = helper.serve("raw", nil, "2001:db8:1::1")
      local url = ("ws://[2001:db8:1::1]:%d/burst"):format(server.port)
      helper.client { url = url, localaddress = "fe80::1%lo" }:open()
      sh(("ss -Htn state established | grep -q 'fe80::1.*2001:db8:1::1.*:%d'"):format(server.port))
      local event = helper.client { url = url, localaddress = "fe80::1%nowhere", reconnect = false }:get "ERROR"
      assert(event.err:find("localaddress fe80::1%nowhere: No such device", 1, true), event.err)
    ]])
  end)

  describe("a URL's zone", function()
    local link = [[
      sh "ip addr add fe80::9/64 dev lo nodad"
    ]]

    inside("chooses the link, by its name or number, and is not in the Host field", link .. [[
      local server = helper.serve("raw", nil, "fe80::9%lo")
      for _, zone in ipairs { "%25lo", "%lo", "%251", "%1" } do
        local c = helper.client(("ws://[fe80::9%s]:%d/request"):format(zone, server.port)):open()
        assert.equal(("[fe80::9%%lo]:%d"):format(server.port), c.ws.address)
        local authority = c:get("TEXT").data:match "\r\nHost: ([^\r]*)\r\n"
        assert.equal(("[fe80::9]:%d"):format(server.port), authority)
      end
    ]])

    inside("is not in the name that the certificate must have", link .. [[
      local server = helper.serve("raw-tls", nil, "fe80::9%lo")
      local function visit(name)
        return helper.client {
          url = ("wss://[fe80::9%%25lo]:%d/tls"):format(server.port), reconnect = false,
          tls = { ca = helper.certificates .. "/ca.pem", servername = name },
        }
      end
      local text = visit():open():get("TEXT").data
      -- RFC 6066 section 3: an address is not sent as a name.
      assert(text:find('"name": null', 1, true), text)
      local event = visit "::2":get "ERROR"
      assert.equal("tls", event.info.kind)
      assert(event.err:find(("wss://[fe80::9%%25lo]:%d/tls: "):format(server.port), 1, true), event.err)
    ]])

    inside("stays when a redirect leads to the same address", link .. [[
      local server = helper.serve("raw", nil, "fe80::9%lo")
      for _, target in ipairs { "/burst", ("ws://[fe80::9]:%d/burst"):format(server.port) } do
        local url = ("ws://[fe80::9%%25lo]:%d/redirect?code=307&to=%s"):format(server.port, helper.escape(target))
        local c = helper.client { url = url, reconnect = false }
        assert.equal(("ws://[fe80::9%%25lo]:%d/burst"):format(server.port), c:get("OPEN").info.url)
      end
    ]])

    inside("of a proxy's address chooses the link to the proxy", link .. [[
      local raw = helper.serve("raw", nil, "fe80::9%lo")
      local c = helper.client {
        url = "ws://only.test/", proxy = ("http://[fe80::9%%25lo]:%d"):format(raw.port), reconnect = false,
      }
      -- It is no proxy: its answer shows that it was reached.
      local event = c:get "ERROR"
      assert.equal("proxy", event.info.kind)
      assert(event.err:find(("the proxy http://[fe80::9%%25lo]:%d: "):format(raw.port), 1, true), event.err)
      assert(not event.err:find("can't connect to", 1, true), event.err)
    ]])

    inside("that this machine does not have is an ERROR until it has it", link .. [[
      local server = helper.serve("raw", nil, "fe80::9%lo")
      local url = ("ws://[fe80::9%%25later]:%d/burst"):format(server.port)
      local c = helper.client { url = url, maxreconnectwait = 0.05, connecttimeout = 0.3 }
      local event = c:get("ERROR", 2)
      assert.equal("dns", event.info.kind)
      assert(event.err:find("no network interface later", 1, true), event.err)
      sh "ip link set hole down && ip link set hole name later && ip link set later up"
      event = helper.wait(function()
        local last = c.events[#c.events]
        return last.info.kind ~= "dns" and last
      end, "another error")
      -- Nobody answers on that link.
      assert.equal("timeout", event.info.kind)
    ]])
  end)

  -- The resolver would take longer than any test waits.
  describe("a file system that never answers", function()
    inside("delays no other websocket when a Unix socket is on it, no close and no end of run", [[
      local folder = helper.output("mktemp -d", "l")
      local mount = helper.start(helper.python, helper.folder .. "/servers/silent_mount.py", folder)
      local line = mount.pipe:read "l"
      if line ~= "mounted" then
        print("pending: " .. line)
        os.exit(true, false)
      end
      local url = ("ws+unix:%s/socket:/"):format(folder)
      local other = helper.client(("ws://10.9.0.1:%d/burst"):format(helper.serve("raw", nil, "10.9.0.1").port)):open()
      local lists, from = {}, helper.now()
      for i = 1, 3 do lists[i] = helper.client { url = url, connecttimeout = 0.5, maxreconnectwait = 0.1 } end
      other.ws:sendText "here"
      assert.equal("here", other:get("TEXT").data)
      assert.is_true(passed() < 5)
      local reason = ("the Unix socket %s/socket could not be found within the connecttimeout"):format(folder)
      assert.truthy(lists[1]:get("ERROR").err:find(reason, 1, true), lists[1]:get("ERROR").err)
      for i = 1, 3 do
        lists[i].ws:close()
        assert.equal("closed", lists[i].ws.state)
      end
      other:close()
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.is_true(helper.now() - from < 10)
    ]])
  end)

  describe("a resolver that never answers", function()
    inside("delays no close, and no end of run", [[
      local c = helper.client "ws://unknown.test/"
      websocket.poll(0.1)
      assert.equal("connecting", c.ws.state)
      c.ws:close()
      assert.equal("closed", c.ws.state)
      assert.is_true(websocket.run(helper.TIMEOUT))
      assert.equal("", c:list())
    ]])

    inside("delays no other websocket, even when it has a hundred names", [[
      local server = helper.serve("raw", nil, "10.9.0.1")
      for i = 1, 100 do helper.client(("ws://unknown%d.test/"):format(i)) end
      websocket.poll(0.1)
      for _, host in ipairs { "10.9.0.1", "only.test" } do
        helper.client(("ws://%s:%d/burst"):format(host, server.port)):open()
      end
      helper.close_clients()
    ]])

    inside("takes a limited number of threads, whatever the number of names", [[
      for i = 1, 1000 do helper.client(("ws://unknown%d.test/"):format(i)) end
      websocket.poll(0.2)
      local status = assert(io.open "/proc/self/status")
      local threads = tonumber(status:read "a":match "Threads:%s+(%d+)")
      status:close()
      -- Those of the resolver, the engine's and Lua's.
      assert(threads > 100 and threads <= 130, threads)
      helper.close_clients()
    ]])

    inside("is nothing to localhost, even when no file knows it", [[
      sh "echo '# nothing' >/etc/hosts"
      helper.client(helper.serve("raw"):url("/burst"):gsub("127.0.0.1", "localhost")):open()
    ]])

    inside("delays no exit", [=[
      for _, exit in ipairs { "", "os.exit()", "os.exit(0, true)", "ws:close() websocket.run()" } do
        -- An exit that waits for anything takes a second.
        helper.within(0.9, function()
          local output, code, took = helper.script([[
            local websocket = require "websocket"
            local ws = websocket.WebSocket { url = "ws://unknown.test/" }
            ws:connect()
            websocket.poll(0.1)
          ]] .. exit)
          assert.equal("", output)
          assert.equal(0, code)
          return took
        end)
      end
    ]=])

    inside("is an ERROR after connecttimeout, and asked again", [[
      from = helper.now()
      local c = helper.client { url = "ws://unknown.test/", connecttimeout = 0.3, maxreconnectwait = 0.05 }
      local event = c:get "ERROR"
      assert(passed() >= 0.28, passed())
      assert.equal("timeout", event.info.kind)
      assert(event.err:find("unknown.test", 1, true), event.err)
      assert(event.err:find("connecttimeout", 1, true), event.err)
      assert.truthy(event.info.retryin)
      c:get("ERROR", 2)
    ]])

    inside("is an ERROR after connecttimeout for a proxy's name, too", [[
      local c = helper.client {
        url = "ws://only.test/", proxy = "http://me:s3cret@unknown.test:1", connecttimeout = 0.3, reconnect = false,
      }
      local event = c:get "ERROR"
      assert(event.err:find("unknown.test", 1, true), event.err)
      assert(event.err:find("proxy", 1, true), event.err)
      assert.is_nil(event.err:find("s3cret", 1, true))
    ]])

    inside("is not asked for a name that a proxy resolves", [[
      local proxy = helper.proxy "microsocks"
      local server = helper.serve("raw", nil, "10.9.0.1")
      helper.client {
        url = ("ws://only.test:%d/burst"):format(server.port), proxy = "socks5h://127.0.0.1:" .. proxy.port,
      }:open()
      local c = helper.client { url = "ws://unknown.test/", proxy = "socks5h://127.0.0.1:" .. proxy.port }
      proxy:says "client"
      c.ws:close()
    ]])

    inside("may be there later", [[
      sh "echo 'nameserver 127.0.0.1' >/etc/resolv.conf"
      local server = helper.serve("raw", nil, "10.9.0.1")
      local c = helper.client { url = ("ws://later.test:%d/burst"):format(server.port), maxreconnectwait = 0.05 }
      assert.equal("dns", c:get("ERROR", 2).info.kind)
      assert(c:get("ERROR").err:find("later.test", 1, true), c:names())
      sh "echo '10.9.0.1 later.test' >>/etc/hosts"
      c:open()
    ]])
  end)

  describe("packets are lost:", function()
    losing("one of five, and all messages arrive in order", [[
      local server = helper.serve "raw"
      local c = helper.client { url = server:url "/burst", pinginterval = 0.5 }:open()
      lose(server.port, 5)
      for i = 1, 100 do c.ws:sendText(i) end
      for i = 1, 100 do assert.equal(tostring(i), c:get("TEXT", i).data) end
      c.ws:sendText "burst 1000"
      assert.equal("1000", c:get("TEXT", 1100).data)
      assert.equal(0, c:count "ERROR" + c:count "CLOSE")
    ]])

    losing("all, for less than pongtimeout: nothing happens", [[
      local server = helper.serve "raw"
      local pings = 0
      local c = helper.client {
        url = server:url "/burst", pinginterval = 0.5, pongtimeout = 60,
        debug = function(line) if line:find "^sent PING" then pings = pings + 1 end end,
      }:open()
      lose(server.port)
      websocket.poll(0)
      local before, latency = pings, c.ws.latency
      c.ws:sendText "kept"
      helper.wait(function() return pings > before end, "a ping")
      from = helper.now()
      helper.wait(function() return passed() >= 0.5 end, "0.5 s to pass")
      heal()
      assert.equal("kept", c:get("TEXT").data)
      helper.wait(function() return c.ws.latency ~= latency end, "the pong, which may come in a segment of its own")
      assert(c.ws.latency >= 0.48, c.ws.latency)
      assert.equal("OPEN TEXT", c:list())
    ]])

    losing("all, for longer: ERROR, CLOSE 1006, ERRORs, and OPEN when they are there again", [[
      local server = helper.serve "raw"
      local c = helper.client {
        url = server:url "/burst", pinginterval = 0.1, pongtimeout = 1, connecttimeout = 1, maxreconnectwait = 0.05,
      }:open()
      lose(server.port)
      c.ws:sendText "lost"
      local info = c:get("ERROR").info
      assert.equal("timeout", info.kind)
      info = c:get("CLOSE").info
      assert.equal(1006, info.code)
      assert.is_false(info.clean)
      assert.equal("timeout", c:get("ERROR", 3).info.kind)
      heal()
      c:get("OPEN", 2)
      c.ws:sendText "found"
      assert.equal("found", c:get("TEXT").data)
    ]])

    losing("all, and close ends after closetimeout, run with it", [[
      local server = helper.serve "raw"
      local c = helper.client { url = server:url "/burst", closetimeout = 0.3 }:open()
      lose(server.port)
      c.ws:sendText "lost"
      from = helper.now()
      assert.equal(1006, c:close().info.code)
      -- The default is 5 s.
      assert(passed() >= 0.28 and passed() < 4, passed())
      assert.is_true(websocket.run(0))
    ]])

    losing("all, and a script ends within a second", [[
      local server = helper.serve "raw"
      helper.within(1.5, function()
        local process = helper.start_script([=[
          local websocket = require "websocket"
          local url, filter = ...
          local ws = websocket.WebSocket { url = url }
          ws:connect()
          repeat websocket.poll(1) until ws.state == "open"
          os.execute(filter)
          print "leaving"
          io.stdout:flush()
        ]=], server:url "/burst", filter(server.port))
        assert.equal("leaving", process.pipe:read "l")
        local output, code, took = helper.finish(process)
        assert.equal("", output)
        assert.equal(0, code)
        heal()
        return took
      end)
    ]])

    losing("all, until the kernel gives up: CLOSE 1006, and a new connection", [[
      local server = helper.serve "raw"
      local c = helper.client { url = server:url "/burst", connecttimeout = 0.3, maxreconnectwait = 0.05 }:open()
      local stat <close> = assert(io.open "/proc/self/stat")
      local output, code = helper.finish(helper.start(helper.python, helper.folder .. "/socket_options.py",
        stat:read "n", server.port, "TCP_USER_TIMEOUT=300"))
      if code == 77 then return end
      assert.equal(0, code, output)
      lose(server.port)
      c.ws:sendText "lost"
      local info = c:get("CLOSE").info
      assert.equal(1006, info.code)
      assert.is_false(info.clean)
      heal()
      c:get("OPEN", 2)
    ]])
  end)
end)
