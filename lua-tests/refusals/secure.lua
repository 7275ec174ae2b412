-- A conversation over TLS; a certificate that does not verify.

local script, _, _, url, certificates = ...
local ws = script.make { url = url .. "/burst", onreceive = script.handler(), reconnect = false,
  tls = { ca = certificates .. "/ca.pem", minversion = "1.2" } }
script.call(ws, "connect")
script.wait(function() return script.count() == 1 end)
script.call(ws, "sendText", "burst ", 2)
script.wait(function() return script.count() == 3 end)
script.call(ws, "close")
script.finish()
script.expect("OPEN {.*}", "TEXT 1", "TEXT 2", "CLOSE {clean=true code=1000 .*}")
ws = script.make { url = url .. "/burst", onreceive = script.handler(), reconnect = false }
script.call(ws, "connect")
script.finish()
script.expect "ERROR %(.*certificate.*%) {attempt=1 kind=tls}"
return "secure"
