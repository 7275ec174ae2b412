-- Refused attempts, lost connections, violations of the protocol, reconnecting.

local script, raw = ...
local wait, call, expect, make = script.wait, script.call, script.expect, script.make

local function run(path, options)
  options = options or {}
  options.url, options.onreceive = raw .. path, script.handler()
  if options.reconnect == nil then options.reconnect = false end
  local ws = make(options)
  call(ws, "connect")
  return ws
end

run "/status?code=503&body=Sorry"
script.finish()
expect "ERROR %(.*503.*%) {attempt=1 body=Sorry headers={.*x%-reason=because} kind=handshake status=503}"

local ws = make { url = "ws://127.0.0.1:1/", onreceive = script.handler(), reconnect = false }
call(ws, "connect")
script.finish()
expect "ERROR %(.*refused.*%) {attempt=1 kind=connect}"

-- A message and no Close frame; a violation; a Close of the server.
run "/frames?hex=810161&end=reset"
script.finish()
run "/frames?hex=810162ff00"
script.finish()
run "/together"
script.finish()
expect("OPEN {.*}", "TEXT a", "CLOSE %(.+%) {cause=.+ clean=false code=1006 reason= remote=true unsent=0}",
  "OPEN {.*}", "TEXT b", "ERROR %(.+%) {kind=protocol}", "CLOSE %(.+%) {cause=.+ clean=false code=1006 .*}",
  "OPEN {.*}", "TEXT first", "TEXT second", "CLOSE {clean=true code=4001 reason=done remote=true unsent=0}")

-- A reconnect after an ERROR and after a CLOSE.
run("/refuses", { reconnect = 1, maxreconnectwait = 0.02 })
script.finish()
expect("ERROR %(.+%) {attempt=1 kind=handshake retryin=…}", "ERROR %(.+%) {attempt=2 kind=handshake}")
ws = run("/accepts?end=close", { reconnect = true, maxreconnectwait = 0.02 })
wait(function() return script.count() >= 4 end)
call(ws, "close")
script.finish()
local first = script.recorded():match "^(OPEN {[^\n]*}\nCLOSE [^\n]* retryin=…[^\n]*}\nOPEN {[^\n]*}\nCLOSE )"
assert(first)

-- Two websockets at a time, and callbacks that raise.
local raised = 0
local function raise(kind)
  if kind == script.types.TEXT then
    raised = raised + 1
    error "raised"
  end
end
ws = make { url = raw .. "/frames?hex=81016181016281088100", onreceive = script.handler(nil, raise), reconnect = false }
local other = run "/burst"
wait(function() return script.count() == 1 end)
call(ws, "connect")
script.host.raises("raised", function()
  while raised < 1 do script.websocket.poll(1) end
end)
script.host.raises("raised", function()
  while raised < 2 do script.websocket.poll(1) end
end)
call(other, "sendText", "still here")
wait(function() return script.count() >= 5 end)
call(ws, "close")
call(other, "close")
script.finish()
local got = script.recorded()
assert(select(2, got:gsub("TEXT [ab]\n", "")) == 2 and select(2, got:gsub("TEXT still here\n", "")) == 1, got)
return "over"
