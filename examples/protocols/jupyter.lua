-- Executes Python code, or another language, in a kernel of a Jupyter server, and prints what the code prints.
--
--   jupyter server --IdentityProvider.token=secret
--   curl -X POST -H 'Authorization: token secret' http://127.0.0.1:8888/api/kernels
--   lua5.4 examples/protocols/jupyter.lua http://127.0.0.1:8888/api/kernels/ID secret 'print(6 * 7)'
--
-- curl starts a kernel, because this module speaks no HTTP; ID is the kernel's "id" in the answer. Needs lua-cjson.
local websocket = require "websocket"
local json = require "cjson"

local kernel, token, code = ...
local ws = websocket.WebSocket{
    url = kernel .. "/channels",
    headers = {Authorization = "token " .. token},
    reconnect = false,
}
ws:connect()
assert(ws:waitopen(60)) -- a new kernel needs some seconds

local id = ("lua-%.6f"):format(websocket.time())
ws:sendText(json.encode{
    channel = "shell",
    header = {msg_id = id, msg_type = "execute_request", session = id, username = "", date = "", version = "5.3"},
    parent_header = {},
    metadata = {},
    content = {code = code, silent = false, store_history = true, user_expressions = {}, allow_stdin = false},
})

local status -- of this script: 0 if the code has ended without an error
local on = {} -- by type of the message
function on.stream(content) io[content.name]:write(content.text) end
function on.execute_result(content) print(content.data["text/plain"]) end
on.display_data = on.execute_result
function on.error(content)
    io.stderr:write(table.concat(content.traceback, "\n"), "\n")
    status = 1
end

for data, type in ws:messages() do
    local message = type == websocket.WebSocketMessageType.TEXT and json.decode(data)
    local state = message and message.content.execution_state
    if state == "restarting" or state == "dead" then error "the kernel has died" end
    -- The kernel sends its output to all its clients.
    if message and message.parent_header.msg_id == id then
        if state == "idle" then
            status = status or 0
            ws:close()
        elseif on[message.msg_type] then
            on[message.msg_type](message.content)
        end
    end
end
os.exit(status or error "the connection was lost")
