---@meta websocket

-- The names and types of the module `websocket`, for lua-language-server. No interpreter runs this file: the module is
-- websocket.so. docs/api.md explains the names; lua-tests/names.lua and names_spec.lua compare them with this file.

---Times are seconds, sizes are bytes; `math.huge` and `math.maxinteger` mean no limit.
---@class websocket
---@field _NAME string `"websocket"`
---@field _VERSION string the name and the version, such as `"websocket 1.2.3"`
---@field loop WebSocket.Loop the module as an object for event loops
---Called by `receive`, `messages`, `waitopen`, `flush`, `run` and `poll` in place of waiting, if they run in a
---coroutine. It returns when `fd` is readable or after `timeout` seconds. Default: nil, the wait blocks the thread.
---@field yield? fun(fd: integer, timeout: number)
local websocket = {}

---The first argument of `onreceive`.
---@enum WebSocket.Type
websocket.WebSocketMessageType = {
  TEXT = 0,
  OPEN = 1,
  CLOSE = 2,
  ERROR = 3,
  PING = 4,
  PONG = 5,
  FRAGMENT = 6,
  BINARY = 16,
}

---Makes a websocket; `connect` starts it. An unknown option or a bad value raises an error that names the option.
---@param options? WebSocket.Options
---@return WebSocket
function websocket.WebSocket(options) end

---Starts a server. Raises an error if an option is wrong or the address can't be used.
---@param options WebSocket.ServerOptions
---@return WebSocket.Server
function websocket.listen(options) end

---Sends one text message, the arguments joined, to each websocket of the list.
---@param list WebSocket[]
---@param ... string|number
---@return integer count how many websockets got it
---@return WebSocket[]? missing those that are not open or have too much to send
function websocket.broadcastText(list, ...) end

---Sends one binary message, the arguments joined, to each websocket of the list.
---@param list WebSocket[]
---@param ... string|number
---@return integer count how many websockets got it
---@return WebSocket[]? missing those that are not open or have too much to send
function websocket.broadcastBinary(list, ...) end

---Delivers the queued events on the calling thread. If there are none, waits for the first.
---@param timeout? number longest wait for the first event; default: 0
---@param fd? integer a descriptor that ends the wait when it is readable
---@return integer count of the delivered events
---@return boolean? readable whether `fd` is readable; nil without `fd`
function websocket.poll(timeout, fd) end

---Polls until no websocket of this Lua state is live, no server listens and no timer is set.
---@param timeout? number default: no limit
---@return boolean ended false if something is left after the timeout or `stop`
function websocket.run(timeout) end

---Makes the innermost `run` return, when the current callback has returned.
function websocket.stop() end

---@return number seconds of a clock that only goes forward
function websocket.time() end

---Calls `f` once, after `seconds`, from `poll` or any other wait of the module.
---@param seconds number
---@param f fun()
---@return WebSocket.Timer
function websocket.after(seconds, f) end

---@return integer fd readable when `poll` has something to do
function websocket.fd() end

---@class WebSocket.Timer
local timer = {}

---The function of the timer is not called any more.
function timer:cancel() end

---What cqueues (`pollfd`, `events`, `timeout`) and LuaSocket or copas (`getfd`, `dirty`) ask of an object.
---@class WebSocket.Loop
local loop = {}

---@return integer fd the same as `websocket.fd()`
function loop:pollfd() end

---@return "r"
function loop:events() end

---@return number? seconds until the next timer is due
function loop:timeout() end

---@return integer fd the same as `websocket.fd()`
function loop:getfd() end

---@return boolean waiting whether events wait for `poll`
function loop:dirty() end

---@alias WebSocket.Handler fun(type: WebSocket.Type, data: string, err: string, info: WebSocket.Info, ws: WebSocket)

---@class WebSocket.Options
---@field url? string `ws://`, `wss://`, `http://`, `https://` or `ws+unix:/path.sock:/request`
---@field onreceive? WebSocket.Handler called for each event; default: nil, messages wait for `receive`
---@field deflate? boolean|WebSocket.Deflate offers permessage-deflate; default: false
---@field minreconnectwait? number the shortest wait before the next attempt; default: 0
---@field maxreconnectwait? number the longest wait before the next attempt; default: 10
---@field reconnect? boolean|integer false: never; a number: at most that many attempts in a row; default: true
---@field headers? table<string, string|number|string[]>|[string, string|number][] fields of the request
---@field protocols? string[] subprotocols to offer, the preferred one first
---@field connecttimeout? number for name, connection, proxy, TLS, handshake and redirects together; default: 30
---@field closetimeout? number for the answer of the peer to our Close; default: 5
---@field pinginterval? number seconds of silence before a ping; default: 0, never
---@field pongtimeout? number seconds without a byte after a ping before the connection is given up; default: 20
---@field maxmessagesize? integer of one message after inflating; default: 64 MiB
---@field maxbuffered? integer bytes that were sent by the script but not taken by the kernel; default: 64 MiB
---@field maxqueued? integer bytes that wait for delivery; beyond it the socket is not read; default: 16 MiB
---@field maxredirects? integer redirects that one attempt follows; default: 5
---@field tls? WebSocket.TLS for `wss://`
---@field proxy? string|false `http://`, `socks5://` or `socks5h://`; false: none; default: from the environment
---@field localaddress? string the address to bind before connecting; default: the choice of the system
---@field onattempt? fun(attempt: integer, ws: WebSocket): WebSocket.Attempt|boolean|nil called before each attempt
---@field debug? fun(line: string) called with a line for each step; no line has secrets

---@class WebSocket.Deflate
---@field level? integer 0 to 9; default: 6
---@field threshold? integer smaller messages are not compressed; default: 64
---@field clientwindow? integer 9 to 15 bits; default: 15
---@field serverwindow? integer 9 to 15 bits; default: 15
---@field clienttakeover? boolean our messages may refer to earlier ones; default: true
---@field servertakeover? boolean the messages of the server may refer to earlier ones; default: true

---@class WebSocket.TLS
---@field ca? string trusted CAs: a file, a folder or PEM text; default: those of the system
---@field cert? string the client's certificate: a file or PEM text
---@field key? string the key of the certificate: a file or PEM text; default: it is in `cert`
---@field password? string of the key
---@field verify? boolean false accepts any certificate; default: true
---@field servername? string the name to request and to expect in the certificate; default: the host of the URL
---@field minversion? "1.2"|"1.3"|number default: "1.2"
---@field ciphers? string a list as OpenSSL writes it
---@field pin? string|string[] `sha256//…`: the server must have one of these keys

---What `onattempt` may return: values for this attempt in place of the options. False: no attempt, and no later one.
---@class WebSocket.Attempt
---@field url? string
---@field headers? table<string, string|number|string[]>|[string, string|number][]
---@field protocols? string[]
---@field proxy? string|false

---@alias WebSocket.ErrorKind
---| "dns"
---| "connect"
---| "proxy"
---| "tls"
---| "handshake"
---| "timeout"
---| "protocol"
---| "size"
---| "system"

---The fourth argument of `onreceive`: a table for OPEN, CLOSE, ERROR and FRAGMENT, and nil for the others.
---@class WebSocket.Info
---@field protocol string OPEN: the subprotocol, or ""
---@field extensions string OPEN: the extensions that the server agreed to, or ""
---@field headers table<string, string> OPEN, ERROR: fields of the response, with names in lower case
---@field address string OPEN: the address of the peer
---@field url string OPEN: the URL after redirects
---@field request WebSocket.Request? OPEN: of a websocket that a server has accepted
---@field received integer FRAGMENT: bytes of the message so far
---@field kind WebSocket.ErrorKind ERROR
---@field attempt? integer ERROR: the number of the failed attempt
---@field status? integer ERROR: of the response that refused the handshake
---@field body? string ERROR: the first 1 KiB of that response
---@field retryin? number ERROR, CLOSE: seconds until the next attempt; nil: there is none
---@field code integer CLOSE: the close code
---@field reason string CLOSE: the reason in the Close frame
---@field cause? string CLOSE: why there was no Close frame, in words; nil if there was one
---@field clean boolean CLOSE: both Close frames were exchanged
---@field remote boolean CLOSE: the peer began
---@field unsent integer CLOSE: bytes that the peer's system has not acknowledged

---@alias WebSocket.State
---| "connecting"
---| "open"
---| "closing"
---| "closed"
---| "waiting" # before the next attempt

---The properties are read-only.
---@class WebSocket
---@field url? string as given to the constructor
---@field state WebSocket.State
---@field bufferedamount integer bytes that were sent by the script but not taken by the kernel
---@field attempts integer attempts since a connection was open
---@field latency? number seconds from a ping of the keepalive to its pong; nil before the first
---@field protocol? string of the last OPEN
---@field extensions? string of the last OPEN
---@field headers? table<string, string> of the last OPEN
---@field address? string of the last OPEN
---@field closecode? integer of the last CLOSE
---@field closereason? string of the last CLOSE
---@field server? WebSocket.Server the server that has accepted it
---@field request? WebSocket.Request what the client of the server has asked for
local WebSocket = {}

---Starts connecting and returns at once. Does nothing if the websocket is started.
function WebSocket:connect() end

---Starts the closing handshake and returns at once; CLOSE is delivered later. No reconnect follows.
---@param code? integer default: 1000
---@param reason? string at most 123 bytes
function WebSocket:close(code, reason) end

---Queues one text message: the arguments, joined. Raises an error if the websocket is not open.
---@param ... string|number
function WebSocket:sendText(...) end

---Queues one binary message: the arguments, joined. Raises an error if the websocket is not open.
---@param ... string|number
function WebSocket:sendBinary(...) end

---Queues a ping of at most 125 bytes. Raises an error if the websocket is not open.
---@param ... string|number
function WebSocket:sendPing(...) end

---Waits until at most `bytes` of what was sent still wait for the kernel.
---@param timeout? number default: no limit
---@param bytes? integer default: 0
---@return boolean flushed
---@return "timeout"|"closed"|"interrupted"|nil reason why it is not flushed
function WebSocket:flush(timeout, bytes) end

---Waits for the next message; for websockets without `onreceive`.
---@param timeout? number default: no limit
---@return string? data nil without a message
---@return WebSocket.Type|"timeout"|"closed"|"interrupted" type TEXT or BINARY, or why there is no message
---@return integer? code the close code after "closed"
---@return string? reason the close reason after "closed"
function WebSocket:receive(timeout) end

---`for data, type in ws:messages() do`: ends when the websocket is closed.
---@return fun(): string?, WebSocket.Type?
function WebSocket:messages() end

---Waits until the websocket is open.
---@param timeout? number default: no limit
---@return true? open
---@return string? reason why it is not open: an error, "closed", "timeout" or "interrupted"
function WebSocket:waitopen(timeout) end

---@class WebSocket.ServerOptions
---@field address string `host:port`, `[::1]:port`, `:port` or `unix:/path.sock`; port 0: any free one
---@field onreceive WebSocket.Handler called for each event of each connection
---@field onrequest? fun(request: WebSocket.Request): WebSocket.Answer|WebSocket.Request|boolean|nil
---@field origins? string|string[] websites whose pages may connect; `"*"`: any; default: those of the same host
---@field protocols? string[] subprotocols, the preferred one first
---@field deflate? boolean|WebSocket.Deflate agrees to permessage-deflate; default: false
---@field tls? WebSocket.ServerTLS default: no TLS
---@field headers? table<string, string|number|string[]>|[string, string|number][] fields of the response with 101
---@field maxconnections? integer default: 10000
---@field connecttimeout? number for TLS and the request; default: 10
---@field closetimeout? number default: 5
---@field pinginterval? number default: 30
---@field pongtimeout? number default: 20
---@field maxmessagesize? integer default: 1 MiB
---@field maxbuffered? integer default: 1 MiB
---@field maxqueued? integer default: 1 MiB
---@field reuseport? boolean several processes share the port; default: false
---@field backlog? integer connections that wait in the kernel; default: 1024
---@field debug? fun(line: string)

---@class WebSocket.ServerTLS
---@field cert string a file or PEM text
---@field key? string a file or PEM text; default: it is in `cert`
---@field password? string of the key
---@field ca? string clients must have a certificate of these CAs: a file, a folder or PEM text
---@field minversion? "1.2"|"1.3"|number default: "1.2"
---@field ciphers? string a list as OpenSSL writes it

---What `onrequest` may return. With a status or a body it is a response, else it accepts the request.
---@class WebSocket.Answer
---@field protocol? string
---@field headers? table<string, string|number|string[]>|[string, string|number][]
---@field status? integer 200 to 599
---@field body? string

---A script may add fields of its own.
---@class WebSocket.Request
---@field method string
---@field target string
---@field path string
---@field query? string
---@field headers table<string, string> with names in lower case
---@field protocols string[] subprotocols that the client offers
---@field origin? string of the page that made the request
---@field address string of the client
---@field secure boolean whether the connection has TLS
---@field [any] any
local request = {}

---Answers a request for which `onrequest` has returned the request itself.
---@param decision? WebSocket.Answer|boolean as `onrequest` returns it
---@return boolean sent false if the client waits no longer
function request:answer(decision) end

---@alias WebSocket.ServerState
---| "listening"
---| "closing"
---| "closed"

---The properties are read-only.
---@class WebSocket.Server
---@field address string where it listens
---@field port integer 0 for a Unix socket
---@field connections integer open websockets
---@field state WebSocket.ServerState
local server = {}

---Stops listening at once, and closes every connection.
---@param code? integer default: 1001
---@param reason? string at most 123 bytes
function server:close(code, reason) end

return websocket
