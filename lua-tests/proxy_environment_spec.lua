-- Proxies from the environment. The targets are at 0.0.0.0 and ::, which are this machine but not among the
-- addresses that are reached without the environment's proxy.

local helper = require "helper"

describe("a proxy from the environment", function()
  local closed, target, proxy
  lazy_setup(function()
    closed = helper.free_port()
    target, proxy = ("ws://0.0.0.0:%d/"):format(closed), "127.0.0.1:" .. helper.free_port()
  end)
  after_each(helper.remove_files)

  --- The result of one attempt to each URL with these variables: "connect", "dns", "proxy" for an error of that kind,
  --- or the error's text.
  local function attempts(variables, options, ...)
    local command = {}
    for name, value in pairs(variables) do command[#command + 1] = name .. "=" .. value end
    for _, value in ipairs {
      helper.lua, helper.write_script([[
        local websocket = require "websocket"
        local proxy = ...
        local options = load("return " .. select(2, ...))()
        for _, url in ipairs { select(3, ...) } do
          local ws
          options.url = url
          function options.onreceive(_, _, err, info)
            local named = err:find(proxy, 1, true) ~= nil
            local wrong = named ~= (info.kind == "proxy") or err:find("s3cret", 1, true)
            io.write(url, " ", info.kind, wrong and ": " .. err or "", info.retryin and "" or " for good", "\n")
            ws:close()
          end
          ws = websocket.WebSocket(options)
          ws:connect()
          -- A long timeout: a busy name server may leave some queries unanswered for 5 s.
          if not websocket.run(30) then os.exit(1, false) end
        end
      ]]), proxy, options, ...
    } do command[#command + 1] = value end
    local output, code = helper.finish(helper.start("env", table.unpack(command)))
    assert.equal(0, code, output)
    local result = {}
    for url, kind in output:gmatch("(%S+) ([^\n]+)\n") do result[url] = kind end
    return result
  end

  -- The variables as curl reads them; P is the proxy.
  for _, case in ipairs {
    { "http_proxy, a URL", { http_proxy = "http://P" }, "proxy" },
    { "http_proxy, a URL with a password", { http_proxy = "http://me:s3cret@P/" }, "proxy" },
    { "http_proxy without a scheme", { http_proxy = "P" }, "proxy" },
    { "http_proxy without a scheme, with a password", { http_proxy = "me:s3cret@P" }, "proxy" },
    { "http_proxy, SOCKS5", { http_proxy = "socks5://P" }, "proxy" },
    { "all_proxy", { all_proxy = "socks5h://me:s3cret@P" }, "proxy" },
    { "all_proxy as desktops set it", { all_proxy = "socks://P/" }, "proxy" },
    { "ALL_PROXY", { ALL_PROXY = "http://P" }, "proxy" },
    { "http_proxy before all_proxy", { http_proxy = "P", all_proxy = "socks4://127.0.0.1:1" }, "proxy" },
    { "all_proxy before ALL_PROXY", { all_proxy = "P", ALL_PROXY = "socks4://127.0.0.1:1" }, "proxy" },
    { "all_proxy when http_proxy is empty", { http_proxy = "", all_proxy = "P" }, "proxy" },
    -- A CGI script gets the request's header field "Proxy" as this variable.
    { "not HTTP_PROXY", { HTTP_PROXY = "http://P" }, "connect" },
    { "not https_proxy, without TLS", { https_proxy = "http://P", HTTPS_PROXY = "http://P" }, "connect" },
    { "not an empty one", { http_proxy = "", all_proxy = "" }, "connect" },
    { "https_proxy, for TLS", { https_proxy = "http://P" }, "proxy", true },
    { "HTTPS_PROXY, for TLS", { HTTPS_PROXY = "P" }, "proxy", true },
    { "all_proxy, for TLS", { all_proxy = "P", http_proxy = "socks4://127.0.0.1:1" }, "proxy", true },
    { "not http_proxy, for TLS", { http_proxy = "P", HTTP_PROXY = "P" }, "connect", true },
  } do
    it("is " .. case[1], function()
      local variables = {}
      for name, value in pairs(case[2]) do variables[name] = value:gsub("P", proxy) end
      local url = case[4] and target:gsub("^ws", "wss") or target
      assert.equal(case[3], attempts(variables, "{}", url)[url])
    end)
  end

  -- The script can't change the environment, so a bad variable does not raise.
  it("gives an ERROR with a retry when it can't be used", function()
    for _, value in ipairs { "socks4://me:s3cret@127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1:x", "http://" } do
      local words = attempts({ http_proxy = value }, "{}", target)[target]
      assert.truthy(words:find("^proxy: .*http_proxy"), words)
      assert.is_nil(words:find("s3cret", 1, true), words)
      assert.is_nil(words:find("for good", 1, true), words)
    end
  end)

  -- Local addresses, as in browsers and Go
  local here = {
    "127.0.0.1", "127.1.2.3", "127.1", "localhost", "localhost.", "x.localhost", "[::1]", "[::ffff:127.0.0.1]",
  }

  local function urls_here()
    local urls = {}
    for i, host in ipairs(here) do urls[i] = ("ws://%s:%d/"):format(host, closed) end
    return urls
  end

  it("is not used for this machine", function()
    local urls = urls_here()
    for _, value in ipairs { proxy, "socks4://" .. proxy } do
      local variables = { http_proxy = value, all_proxy = value, no_proxy = "x" }
      local results = attempts(variables, "{}", table.unpack(urls))
      for _, url in ipairs(urls) do assert.equal("connect", results[url], url) end
    end
  end)

  it("may be the same as the option, which is used for this machine, too", function()
    local urls = urls_here()
    local results = attempts({ http_proxy = proxy }, ("{ proxy = 'http://%s' }"):format(proxy), table.unpack(urls))
    for _, url in ipairs(urls) do assert.equal("proxy", results[url], url) end
  end)

  it("is not used with proxy = false", function()
    local variables = { http_proxy = proxy, all_proxy = proxy }
    assert.equal("connect", attempts(variables, "{ proxy = false }", target)[target])
  end)

  it("is not used with the option proxy", function()
    local variables, options = { http_proxy = "socks4://127.0.0.1:1" }, ("{ proxy = 'http://%s' }"):format(proxy)
    assert.equal("proxy", attempts(variables, options, target)[target])
  end)

  it("is not used for a Unix socket", function()
    local variables, url = { http_proxy = proxy, all_proxy = proxy }, "ws+unix:/nonexistent.sock:/"
    assert.equal("connect", attempts(variables, "{}", url)[url])
  end)

  -- For each no_proxy: hosts that are exempt and hosts that are not. T is a port without a listener.
  local domain = {
    ["example.invalid"] = "dns", ["sub.example.invalid"] = "dns", ["Example.INVALID"] = "dns",
    ["example.invalid."] = "dns",
    ["notexample.invalid"] = "proxy", ["example.invalid.invalid"] = "proxy", ["invalid"] = "proxy",
  }
  local everything = { ["example.invalid"] = "dns", ["0.0.0.0:T"] = "connect", ["[::]:T"] = "connect" }
  for no_proxy, cases in pairs {
    [""] = { ["example.invalid"] = "proxy", ["0.0.0.0:T"] = "proxy" },
    ["*"] = everything,
    ["example.invalid"] = domain,
    [".example.invalid"] = domain,
    ["EXAMPLE.INVALID"] = domain,
    ["other.invalid,example.invalid,third.invalid"] = domain,
    [" other.invalid , example.invalid "] = domain,
    ["other.invalid example.invalid"] = domain,
    ["example.invalid:80"] = { ["example.invalid"] = "dns", ["example.invalid:8080"] = "proxy" },
    ["example.invalid:8080"] = { ["example.invalid"] = "proxy", ["sub.example.invalid:8080"] = "dns" },
    ["0.0.0.0"] = { ["0.0.0.0:T"] = "connect", ["0.0.0.1:T"] = "proxy", ["example.invalid"] = "proxy" },
    ["0.0.0.0:T"] = { ["0.0.0.0:T"] = "connect", ["0.0.0.0"] = "proxy" },
    ["0.0.0.0/8"] = { ["0.0.0.0:T"] = "connect", ["1.0.0.1:T"] = "proxy", ["example.invalid"] = "proxy" },
    ["0.0.0.1/31"] = { ["0.0.0.0:T"] = "connect", ["0.0.0.2:T"] = "proxy" },
    ["0.0.0.0/33,0.0.0.0/x,0.0.0.0/,/8,0.0.0,.0,0,:,::,[,],/"] = { ["0.0.0.0:T"] = "proxy" },
    ["::"] = { ["[::]:T"] = "connect", ["[::2]:T"] = "proxy", ["0.0.0.0:T"] = "proxy" },
    ["[::]"] = { ["[::]:T"] = "connect" },
    ["[::]:T"] = { ["[::]:T"] = "connect", ["[::]"] = "proxy" },
    ["::/64"] = { ["[::]:T"] = "connect", ["[fe80::1]:T"] = "proxy", ["0.0.0.0:T"] = "proxy" },
  } do
    it(("is not used for the hosts of no_proxy = %q"):format(no_proxy), function()
      local urls, expected = {}, {}
      for host, kind in pairs(cases) do
        urls[#urls + 1] = ("ws://%s/"):format((host:gsub("T$", closed)))
        expected[urls[#urls]] = kind
      end
      local variables = { http_proxy = proxy, no_proxy = (no_proxy:gsub("T$", closed)) }
      assert.same(expected, attempts(variables, "{}", table.unpack(urls)))
    end)
  end

  it("is not used for the hosts of NO_PROXY, unless no_proxy is set", function()
    local variables = { http_proxy = proxy, NO_PROXY = "0.0.0.0" }
    assert.equal("connect", attempts(variables, "{}", target)[target])
    variables.no_proxy = "a"
    assert.equal("proxy", attempts(variables, "{}", target)[target])
  end)

  for name, kind in pairs { http_proxy = "raw", https_proxy = "raw-tls" } do
    it("is used to reach the server: " .. name, function()
      finally(helper.stop_servers)
      local server, tinyproxy = helper.serve(kind), helper.proxy("tinyproxy")
      local place = "127.0.0.1:" .. tinyproxy.port
      local output, code = helper.finish(helper.start("env", name .. "=" .. place, helper.lua, helper.write_script([[
        local websocket = require "websocket"
        local url, ca = ...
        local ws
        ws = websocket.WebSocket { url = url, tls = { ca = ca, servername = "localhost" }, onreceive = function(type)
          if type == 1 then io.write(ws.address) ws:close() end
        end }
        ws:connect()
        os.exit(websocket.run(5), false)
      ]]), server:named("0.0.0.0", "/burst"), helper.certificates .. "/ca.pem"))
      assert.equal(0, code, output)
      assert.equal(place, output)
    end)
  end
end)
