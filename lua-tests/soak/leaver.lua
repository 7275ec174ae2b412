-- A client of scripts/soak that leaves without a word: opens connections and sends on each. Prints "open"; run.py then
-- kills it. leaver.lua URL
local websocket = require "websocket"
local types = websocket.WebSocketMessageType
local left = 20
for _ = 1, left do
  websocket.WebSocket{ url = ..., proxy = false, onreceive = function(type, _, _, _, ws)
    if type ~= types.OPEN then return end
    for _ = 1, 10 do ws:sendText(("x"):rep(10000)) end
    left = left - 1
    if left == 0 then
      print "open"
      io.stdout:flush()
    end
  end }:connect()
end
websocket.run()
