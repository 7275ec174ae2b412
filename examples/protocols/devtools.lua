-- Takes a screenshot of a web page with Chromium or Chrome, by the DevTools protocol. Needs lua-cjson.
--
--   chromium --headless --remote-debugging-port=0 --window-size=1200,800
--   lua5.4 examples/protocols/devtools.lua ws://127.0.0.1:PORT/devtools/browser/ID https://www.lua.org/ lua.png
--
-- The browser prints the first argument: "DevTools listening on ws://…".
local websocket = require "websocket"
local json = require "cjson"

local browser, page, name = ...
local ws = websocket.WebSocket{url = browser, reconnect = false}
ws:connect()
assert(ws:waitopen(10))

local last = 0 -- the id of the latest command
local session -- the tab that gets the commands; nil: the browser itself
local seen = {} -- the events that have arrived: seen["Page.loadEventFired"] is true

--- Waits for the next message, and returns it as a table.
local function receive()
    local data = assert(ws:receive(30))
    local message = json.decode(data)
    if message.method then seen[message.method] = true end
    return message
end

--- Sends a command, and returns its result.
local function command(method, params)
    last = last + 1
    ws:sendText(json.encode{id = last, method = method, params = params, sessionId = session})
    local answer
    repeat answer = receive() until answer.id == last
    return answer.result or error(method .. ": " .. answer.error.message)
end

local values = {["="] = 0} -- of the digits of Base64
local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
for i = 1, #digits do values[digits:sub(i, i)] = i - 1 end
local function decode(base64)
    local bytes = base64:gsub("(.)(.)(.)(.)", function(a, b, c, d)
        local number = ((values[a] * 64 + values[b]) * 64 + values[c]) * 64 + values[d]
        return string.char(math.floor(number / 65536), math.floor(number / 256) % 256, number % 256)
    end)
    return bytes:sub(1, -1 - #base64:match("=*$"))
end

local tab = command("Target.createTarget", {url = "about:blank"}).targetId
session = command("Target.attachToTarget", {targetId = tab, flatten = true}).sessionId
command "Page.enable"
local failure = command("Page.navigate", {url = page}).errorText
if failure then error(page .. ": " .. failure, 0) end
while not seen["Page.loadEventFired"] do receive() end

local file = assert(io.open(name, "wb"))
assert(file:write(decode(command("Page.captureScreenshot").data)))
assert(file:close())
command("Target.closeTarget", {targetId = tab})
ws:close()
websocket.run(5)
