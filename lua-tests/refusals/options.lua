-- The constructor reads every option, and refuses wrong ones.

local script, raw = ...
local try, raises, WebSocket = script.host.try, script.host.raises, script.websocket.WebSocket

local function nothing() end
local all = {
  url = raw .. "/request", onreceive = script.handler(), debug = nothing, onattempt = nothing,
  deflate = { level = 9, threshold = 0, clientwindow = 10, serverwindow = 11, clienttakeover = false,
    servertakeover = false },
  minreconnectwait = 0.5, maxreconnectwait = 20, reconnect = 3, connecttimeout = 10, closetimeout = 4,
  maxmessagesize = 2 ^ 20, maxbuffered = 2 ^ 20, maxqueued = 2 ^ 20, pinginterval = 60, pongtimeout = 30,
  headers = { ["X-One"] = "first", ["X-Two"] = { "a", "b" }, ["X-Number"] = 7 }, protocols = { "chat", "superchat" },
  tls = { ca = "/", cert = "c", key = "k", password = "p", verify = false, servername = "name", minversion = 1.3,
    ciphers = "DEFAULT", pin = { "sha256//" .. ("A"):rep(43) .. "=" } },
  proxy = false, localaddress = "127.0.0.1", maxredirects = 2,
}
local ws = try(WebSocket, all)
assert(ws.url == all.url and ws.state == "closed")

local lists = { url = all.url, onreceive = all.onreceive, reconnect = false, deflate = true, proxy = false,
  headers = { { "X-One", "first" }, { "X-Two", 2 } }, tls = { minversion = "1.2", pin = all.tls.pin[1] } }
try(WebSocket, lists)
try(WebSocket)

for text, options in pairs {
  ["WebSocket option 'unknown' is unknown"] = { unknown = 1 },
  ["WebSocket option 'tls.unknown' is unknown"] = { tls = { unknown = 1 } },
  ["WebSocket option 'onreceive' must be a function"] = { onreceive = 1 },
  ["WebSocket option 'url' "] = { url = "http//" },
  ["WebSocket option 'headers' "] = { headers = { ["X-A"] = { {} } } },
  ["WebSocket option 'protocols' must be a list of strings"] = { protocols = { 1 } },
  ["WebSocket options have names"] = { "url" },
  ["WebSocket option 'tls' must have names for keys"] = { tls = { 1 } },
} do
  raises(text, WebSocket, options)
end
raises("can't be set", function() ws.url = 1 end)
raises("bad argument", function() ws.connect() end)
raises("no url", function() WebSocket():connect() end)
raises("WebSocket ", function() ws:close(999) end)
raises("bad argument", function() WebSocket(1) end)
raises("bad argument", function() script.websocket.poll("x") end)
raises("bad argument", function() script.websocket.after(1) end)

-- What the server got.
script.call(ws, "connect")
script.wait(function() return script.count() == 2 end)
script.call(ws, "close")
script.finish()
local request = script.recorded():match "TEXT (%d+ bytes)"
return request
